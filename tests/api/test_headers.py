"""Headers of responses, and paths with an encoded slash"""

from typing import Any

import pytest
from playwright.async_api import Route, async_playwright

from tests.api.support import attributes_of, code_of
from tests.browser import CHROMIUM, in_a_browser
from tests.builders import a_customer, a_lot, a_reward, a_shop
from tests.service import Service
from tests.shop import Shop


@pytest.mark.parametrize("key", [None, "wrong"])
async def test_an_unauthorized_response_names_the_scheme(shop: Shop, key: str | None) -> None:
    answer = await shop.service.api.get("/v1/rewards", headers={"Authorization": key} if key else {})

    assert code_of(answer) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == 'Bearer realm="Pointsaga"'


@pytest.mark.parametrize("path", ["", "/reward-history", "/earning-history", "/activity", "/unknown"])
async def test_responses_about_customers_are_not_stored(shop: Shop, path: str) -> None:
    answer = await shop.get(f"/v1/customers/{shop.customers[0]}{path}")

    assert answer.headers["cache-control"] == "no-store"


async def test_a_purchase_and_its_errors_are_not_stored(shop: Shop) -> None:
    for answer in (await shop.purchase(), await shop.purchase(customer="unknown@shopper.io")):
        assert answer.headers["cache-control"] == "no-store"


async def test_ids_and_addresses_can_contain_slashes(service: Service) -> None:
    member = a_customer(a_lot(500), email="jane/doe%2F@shopper.io")
    shop = await service.open_shop(a_shop(member, rewards=[a_reward("5/off%2Fnow")]))
    reward, customer = "/v1/rewards/5%2Foff%252Fnow", "/v1/customers/jane%2fdoe%252F@shopper.io"

    assert attributes_of(await shop.get(reward))["points_cost"] == 500
    assert attributes_of(await shop.get(customer))["current_points"] == 500
    assert (await shop.send("PUT", customer, {"is_excluded": False})).status_code == 200
    purchased = await shop.send("POST", f"{reward}/purchase", {"customer_identifier": member["email"]})

    assert attributes_of(purchased)["reward_id"] == "5/off%2Fnow"


async def test_the_documentation_page_loads_from_this_server_only(service: Service) -> None:
    page = await service.api.get("/docs")

    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
    assert page.headers["x-content-type-options"] == "nosniff"


@in_a_browser
async def test_the_documentation_page_works_in_a_browser(service: Service) -> None:
    refused: list[str] = []

    async def answer(route: Route) -> None:
        request = route.request
        got = await service.api.request(request.method, request.url, headers=await request.all_headers())
        await route.fulfill(status=got.status_code, headers=dict(got.headers), body=got.content)

    def on_message(message: Any) -> None:
        if message.type == "error":
            refused.append(message.text)

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM)
        tab = await browser.new_page()
        tab.on("console", on_message)
        await tab.route("**/*", answer)
        await tab.goto("http://test/docs")
        await tab.get_by_text("Purchase a reward", exact=True).click()
        await tab.get_by_role("button", name="Try it out").click()
        await tab.get_by_role("button", name="Execute").click()
        await tab.get_by_text("Missing Authorization header").first.wait_for()
        await browser.close()

    assert [text for text in refused if "401" not in text] == []
