"""`pointsaga doctor` and `pointsaga shopify subscribe`."""

import httpx
import pytest

import commands.doctor
from tests.builders import a_shop, encrypt_with_lost_key
from tests.commands.conftest import CommandLine
from tests.service import Service
from tests.shop import Shop

URL = ("--url", "https://points.example")


@pytest.fixture
def service(without_temporal: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    """These tests run no workflow. Vendors are the sandbox's."""
    http = without_temporal.worker_http

    def in_sandbox() -> httpx.AsyncClient:
        transport = http._transport  # pyright: ignore[reportPrivateUsage]
        return httpx.AsyncClient(transport=transport)

    monkeypatch.setattr(commands.doctor, "vendor_connections", in_sandbox)
    return without_temporal


@pytest.fixture
async def shop(service: Service) -> Shop:
    return await service.open_shop(a_shop())


@pytest.fixture
def pointsaga(service: Service) -> CommandLine:
    """The command line, with the sandbox's addresses."""
    names = ("shopify_admin_url", "klaviyo_url", "omnisend_url", "postscript_url")
    addresses = {name.upper(): getattr(service.settings, name) for name in names}
    return CommandLine({**service.env, **addresses, "SHOPIFY_WEBHOOK_SECRETS": "a-secret"})


async def set_up(service: Service, shop: Shop, **settings: object) -> None:
    answer = await service.vendors.put(f"/_sandbox/shopify/shops/{shop.domain}", json=settings)
    assert answer.is_success, answer.text


async def test_a_subscribed_shop_has_no_problem(shop: Shop, pointsaga: CommandLine) -> None:
    first = await pointsaga("shopify", "subscribe", shop.domain, *URL)
    again = await pointsaga("shopify", "subscribe", shop.domain, *URL, "--json")
    found = (await pointsaga("doctor", shop.domain, "--json")).json

    assert "customers/merge: subscribed" in first.out
    assert {one["is_new"] for one in again.json} == {False}
    assert {one["level"] for one in found if one["check"] != "settings"} == {"ok"}
    assert {one["check"] for one in found} >= {"shopify", "klaviyo", "webhooks", "scopes", "webhook secret", "rewards"}


async def test_what_is_missing_is_named_with_its_remedy(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    await set_up(service, shop, scopes=["write_discounts", "write_customers", "read_orders"])
    await shop.set_credentials(shopify=(await shop.row()).credentials["shopify"], **encrypted_by_a_lost_key("klaviyo"))
    refused = await pointsaga("shopify", "subscribe", shop.domain, *URL, status=1)

    found = await pointsaga("doctor", shop.domain, status=1, SHOPIFY_WEBHOOK_SECRETS="")

    assert "customers/merge: The topic requires the scope read_customer_merge" in refused.out
    for line in (
        "PROBLEM scopes: read_products is missing",
        "PROBLEM scopes: read_customer_merge is missing",
        "PROBLEM webhooks: not subscribed: customers/merge",
        "PROBLEM webhook secret: unset",
        "PROBLEM klaviyo: none of ENCRYPTION_KEYS decrypts it",
        "note    omnisend: unset: it gets no events",
        f"→ pointsaga credentials set {shop.domain} webhook_secret",
    ):
        assert line in found.out, line
    assert "read_discounts is missing" not in found.out


def encrypted_by_a_lost_key(vendor: str) -> dict[str, str]:
    return {vendor: encrypt_with_lost_key(api_key="pk_1")}


async def test_an_unreachable_vendor_is_a_problem(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    await service.add_fault("klaviyo", kind="down")

    found = await pointsaga("doctor", shop.domain, status=1)

    assert "PROBLEM klaviyo: cannot be reached" in found.out


async def test_wrong_usage_changes_nothing(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    await pointsaga("doctor", "unknown.myshopify.com", status=2)
    await pointsaga("shopify", "subscribe", shop.domain, "--url", "http://points.example", status=2)

    assert (await service.vendor("shopify"))["calls"] == []
