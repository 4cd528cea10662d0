"""What an operator sees in the Temporal UI of the local stack, in a real browser."""

import re
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.async_api import Error, Page, async_playwright

from local_stack.views import VIEWS, view_url
from tests.browser import CHROMIUM, in_a_browser
from tests.builders import a_customer, a_lot, a_shop, account_of
from tests.e2e.deployment import COST, Deployment
from tests.faults import CREATE_CODE, VendorFault
from tests.shop import Shop
from tests.waiting import wait_until

INVALID_TOKEN = {"errors": "[API] Invalid API key or access token"}

# As the UI asks.
ASK = """endpoint => fetch(endpoint, {
  method: 'POST', headers: {'Content-Type': 'application/json', 'X-Namespace': 'default'}, body: '{"payloads": []}'
}).then(answer => answer.status, () => 'refused')"""


@pytest.fixture(scope="module")
async def tab() -> AsyncGenerator[Page]:
    """A tab of a headless browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM)
        yield await browser.new_page(viewport={"width": 1600, "height": 1200})
        await browser.close()


@pytest.fixture
async def shop(deployment: Deployment) -> Shop:
    """A shop, and a worker."""
    await deployment.start_worker()
    return await deployment.open_shop(a_shop(a_customer(a_lot(COST))))


@in_a_browser
async def test_a_purchase_is_found_by_its_customer(deployment: Deployment, shop: Shop, tab: Page) -> None:
    redemption = (await shop.purchase()).json()["data"]["id"]
    await deployment.ended(shop)

    page = await open_workflow(deployment, tab, f'CustomerId="{shop.customers[0]}"')

    assert "500 points → £5 off your next order" in page
    assert f"pointsaga show {redemption}" in page
    assert "Purchased. The points are spent and the customer has the code." in page
    assert "Deliver to klaviyo: done" in page


async def reject(deployment: Deployment, shop: Shop, vendor: str, **more: Any) -> None:
    """Let the vendor reject the shop's next request. Shops of earlier tests can have retries open."""
    await deployment.inject(vendor, VendorFault.UNAUTHORIZED, account=account_of(shop.domain, vendor), **more)


@in_a_browser
async def test_a_compensated_purchase_quotes_shopify(deployment: Deployment, shop: Shop, tab: Page) -> None:
    await reject(deployment, shop, "shopify", operation=CREATE_CODE, body=INVALID_TOKEN)
    assert (await shop.purchase()).status_code == 503
    await deployment.ended(shop)

    page = await open_workflow(deployment, tab, f'ShopDomain="{shop.domain}" AND ExecutionStatus="Failed"')

    assert "Not purchased. The points are released and the code cannot be used." in page
    assert "Invalid API key or access token" in page
    assert "Reserve points: compensated" in page


@in_a_browser
async def test_a_stuck_purchase_shows_the_remedy(deployment: Deployment, shop: Shop, tab: Page) -> None:
    await reject(deployment, shop, "klaviyo")
    redemption = (await shop.purchase()).json()["data"]["id"]

    page = await open_workflow(deployment, tab, f'ShopDomain="{shop.domain}" AND RedemptionStage="NeedsAttention"')

    assert "Delivery failed: klaviyo rejected the event." in page
    assert "Deliver to klaviyo: rejected, HTTP 401" in page
    assert f"pointsaga retry {redemption} --channel klaviyo" in page
    assert f"pointsaga skip {redemption} --channel klaviyo" in page


@in_a_browser
async def test_the_timeline_says_that_a_purchase_waits_for_an_operator(
    deployment: Deployment, shop: Shop, tab: Page
) -> None:
    await reject(deployment, shop, "klaviyo")
    redemption = (await shop.purchase()).json()["data"]["id"]
    workflow = f"redemption-{redemption}-1"

    async def is_listed() -> bool:
        found = await deployment.temporal.count_workflows(f'{VIEWS["operator needed"]} AND WorkflowId="{workflow}"')
        return found.count == 1

    await wait_until(is_listed)
    await tab.goto(view_url(deployment.stack.temporal_ui_url, VIEWS["operator needed"]))
    await tab.get_by_role("link", name=workflow).click()

    async def is_shown() -> bool:
        return "waits for an operator: klaviyo rejected the event" in await text_of(tab)

    await wait_until(is_shown)


@in_a_browser
async def test_another_page_cannot_read_sealed_data(deployment: Deployment, tab: Page) -> None:
    """The browser lets only the UI's own page ask the codec server, whatever key another page has."""
    stack = deployment.stack
    endpoint = f"{stack.codec_url}/key/{stack.env['CODEC_KEYS']}/decode"

    await tab.goto(stack.temporal_ui_url)
    assert await tab.evaluate(ASK, endpoint) == 200

    await tab.goto(stack.temporal_ui_url.replace("127.0.0.1", "localhost"))
    assert await tab.evaluate(ASK, endpoint) == "refused"


async def test_every_documented_query_is_valid(deployment: Deployment) -> None:
    document = (Path(__file__).parents[2] / "docs" / "searches.md").read_text()
    queries: list[str] = re.findall(r"^\| .+ \| `(.+)` \|$", document, re.MULTILINE)
    assert len(queries) > 10

    for query in [*queries, *VIEWS.values()]:
        await deployment.temporal.count_workflows(query)


async def open_workflow(deployment: Deployment, tab: Page, query: str) -> str:
    """Search, open the only workflow that is found, and read its details."""

    async def is_found() -> bool:
        # The list of workflows is written a moment after the workflows.
        return (await deployment.temporal.count_workflows(query)).count == 1

    async def shows_details() -> bool:
        text = await text_of(tab)
        return all(words in text for words in ("500 points", "pointsaga show", "Action:"))

    await wait_until(is_found)
    await tab.goto(f"{deployment.stack.temporal_ui_url}/namespaces/default/workflows?query={quote(query)}")
    await tab.get_by_role("link", name="redemption-cr_").click()
    await tab.get_by_text("User Metadata").click()
    await wait_until(shows_details)
    return await text_of(tab)


async def text_of(tab: Page) -> str:
    """All visible text as one line. Details are in frames of their own."""
    texts: list[str] = []
    for frame in tab.frames:
        # A frame can be replaced meanwhile: the page refreshes itself.
        with suppress(Error):
            texts.append(await frame.locator("body").inner_text())
    return " ".join(" ".join(texts).split())
