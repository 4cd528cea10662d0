"""What an operator sees in the Temporal UI of the local stack, in a real browser."""

import re
import shutil
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.async_api import Error, Page, async_playwright

from tests.e2e.deployment import CREATE, Deployment
from tests.service import Shop, a_customer, a_lot, a_shop, until

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
KEY_REFUSED = {"errors": "[API] Invalid API key or access token"}

in_a_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="needs a browser: install chromium (Debian: apt-get install chromium), none is downloaded"
)


@pytest.fixture(scope="module")
async def tab() -> AsyncGenerator[Page]:
    """A tab of a browser that nobody sees."""
    async with async_playwright() as playwright:
        # Playwright starts it without its sandbox, which root can not have, and without errands of the browser's own.
        browser = await playwright.chromium.launch(executable_path=CHROMIUM)
        yield await browser.new_page(viewport={"width": 1600, "height": 1200})
        await browser.close()


@pytest.fixture
async def shop(deployment: Deployment) -> Shop:
    """Jane's shop, and a worker."""
    await deployment.start_worker()
    return await deployment.open_shop(a_shop(a_customer(a_lot(500))))


@in_a_browser
async def test_a_finished_purchase_is_found_by_its_customer(deployment: Deployment, shop: Shop, tab: Page) -> None:
    redemption = (await shop.purchase()).json()["data"]["id"]
    await deployment.settled(shop)

    page = await open_run(deployment, tab, f'CustomerId="{shop.customers[0]}"')

    assert "500 points → £5 off your next order" in page
    assert f"pointsaga show {redemption}" in page
    assert "Purchased: the points are spent, and the customer has the code." in page
    assert "Tell klaviyo: done" in page


@in_a_browser
async def test_a_compensated_purchase_tells_shopifys_own_words(deployment: Deployment, shop: Shop, tab: Page) -> None:
    await deployment.fault("shopify", "status", operation=CREATE, status=401, body=KEY_REFUSED, times=1)
    assert (await shop.purchase()).status_code == 503
    await deployment.settled(shop)

    page = await open_run(deployment, tab, f'ShopDomain="{shop.domain}" AND ExecutionStatus="Failed"')

    assert "No purchase: the points are back, and no code can be used." in page
    assert "Invalid API key or access token" in page
    assert "Reserve the points: undone" in page


@in_a_browser
async def test_a_stuck_purchase_tells_what_to_do(deployment: Deployment, shop: Shop, tab: Page) -> None:
    await deployment.fault("klaviyo", "status", status=401, times=1)
    redemption = (await shop.purchase()).json()["data"]["id"]

    page = await open_run(deployment, tab, f'ShopDomain="{shop.domain}" AND RedemptionStage="NeedsAttention"')

    assert "But klaviyo refused to be told of it." in page
    assert "Tell klaviyo: refused, HTTP 401" in page
    assert f"pointsaga retry {redemption} --channel klaviyo" in page
    assert f"pointsaga skip {redemption} --channel klaviyo" in page


async def test_every_query_of_the_runbook_is_understood(deployment: Deployment) -> None:
    runbook = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    section = runbook.partition("## Finding runs")[2].partition("\n## ")[0]
    queries: list[str] = re.findall(r"^\| .+ \| `(.+)` \|$", section, re.MULTILINE)
    assert len(queries) > 10

    for query in queries:
        await deployment.temporal.count_workflows(query)


async def open_run(deployment: Deployment, tab: Page, query: str) -> str:
    """Search, open the one run that is found, and read what it says of itself."""
    await until(lambda: is_found(deployment, query))
    await tab.goto(f"{deployment.stack.temporal_ui_url}/namespaces/default/workflows?query={quote(query)}")
    await tab.get_by_role("link", name="redemption-cr_").click()
    await tab.get_by_text("User Metadata").click()
    await until(lambda: has_told(tab))
    return await text_of(tab)


async def is_found(deployment: Deployment, query: str) -> bool:
    """The list of runs is written a moment after the runs."""
    return (await deployment.temporal.count_workflows(query)).count == 1


async def has_told(tab: Page) -> bool:
    text = await text_of(tab)
    return all(words in text for words in ("500 points", "pointsaga show", "What to do"))


async def text_of(tab: Page) -> str:
    """All that can be read, as one line; what comes from runs is in frames of its own."""
    texts: list[str] = []
    for frame in tab.frames:
        # A frame can be replaced under the reader: the page refreshes itself.
        with suppress(Error):
            texts.append(await frame.locator("body").inner_text())
    return " ".join(" ".join(texts).split())
