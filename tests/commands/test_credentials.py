"""`pointsaga credentials`, with the sandbox's vendors."""

from contextlib import nullcontext
from datetime import timedelta

import pytest

from db.vault import Vault
from settings import Settings
from tests.builders import ALL_VENDORS, a_customer, a_lot, a_shop, encrypt_with_lost_key
from tests.commands.conftest import CommandLine
from tests.faults import VendorFault
from tests.service import Service
from tests.shop import Shop

SECRETS = {"shopify": "shpat_new", "klaviyo": "pk_new", "omnisend": "om_new", "postscript": "sk_new"}


@pytest.fixture(autouse=True)
def sandboxed(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The vendors are the sandbox."""
    monkeypatch.setattr("commands.credentials.vendor_connections", lambda: nullcontext(service.worker_http))
    for vendor in ("klaviyo", "omnisend", "postscript"):
        monkeypatch.setenv(f"{vendor}_url".upper(), getattr(service.settings, f"{vendor}_url"))


@pytest.mark.parametrize("vendor", ALL_VENDORS)
async def test_a_secret_is_set_and_never_shown(
    shop: Shop, pointsaga: CommandLine, settings: Settings, vendor: str
) -> None:
    before, secret = (await shop.row()).credentials, SECRETS[vendor]

    result = await pointsaga("credentials", "set", shop.domain, vendor, "--check", stdin=f"{secret}\n")

    row = await shop.row()
    field = "access_token" if vendor == "shopify" else "api_key"
    assert Vault(settings.encryption_keys).open(row, vendor, field).get_secret_value() == secret
    assert {**row.credentials, vendor: ""} == {**before, vendor: ""}
    assert result.out == f"{shop.domain}: {vendor} set, accepted\n"
    assert secret not in result.out + result.err


async def test_the_webhook_secret_stays(service: Service, pointsaga: CommandLine) -> None:
    shop = await service.open_shop(a_shop(shopify={"access_token": "shpat_old", "webhook_secret": "kept"}))
    before = await shop.row()

    await pointsaga("credentials", "set", shop.domain, "shopify", stdin="shpat_new")

    assert (await shop.row()).webhook_secrets == before.webhook_secrets


@pytest.mark.parametrize("vendor", ALL_VENDORS)
async def test_a_refused_secret_is_not_set(service: Service, shop: Shop, pointsaga: CommandLine, vendor: str) -> None:
    before = (await shop.row()).credentials
    await service.add_fault(vendor, kind="status", status=401, times=None)

    words = ("credentials", "set", shop.domain, vendor, "--check", "--json")
    result = await pointsaga(*words, stdin=SECRETS[vendor], status=1)

    assert (result.json["is_stored"], result.json["check"]["answer"]) == (False, "refused")
    assert (await shop.row()).credentials == before


async def test_a_vendor_that_is_down_refuses_nothing(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    await service.add_fault("klaviyo", kind="down", times=None)

    result = await pointsaga("credentials", "set", shop.domain, "klaviyo", "--check", stdin="pk_new")

    assert "klaviyo set, unknown" in result.out


async def test_a_check_stores_nothing_at_the_vendors(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    listed = (await pointsaga("credentials", "list", shop.domain, "--check", "--json")).json

    assert [(row["vendor"], row["check"]["answer"]) for row in listed] == [(name, "accepted") for name in ALL_VENDORS]
    stored = [(await service.vendor(name))["events"] for name in ALL_VENDORS if name != "shopify"]
    assert (stored, await shop.discounts()) == ([[], [], []], [])


async def test_the_list_says_what_is_refused(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    await service.add_fault("omnisend", kind="status", status=403, times=None)

    listed = (await pointsaga("credentials", "list", "--check", "--json", status=1)).json

    assert [row["vendor"] for row in listed if row["check"]["answer"] == "refused"] == ["omnisend"]


async def test_the_list_has_the_answers_to_the_workers_calls(service: Service, pointsaga: CommandLine) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(1500))))
    assert await last_answers(pointsaga) == dict.fromkeys(ALL_VENDORS)

    await service.inject("klaviyo", VendorFault.UNAUTHORIZED)
    assert (await shop.purchase()).status_code == 201
    await shop.wait_for_delivery("klaviyo", "failed")
    await shop.wait_for_delivery("postscript", "sent")
    accepted = {**dict.fromkeys(ALL_VENDORS, "accepted"), "klaviyo": "refused"}
    assert await last_answers(pointsaga) == accepted
    assert "HTTP 401" in (await pointsaga("credentials", "list", COLUMNS="250")).out

    await service.inject("shopify", VendorFault.UNAUTHORIZED)
    assert (await shop.purchase()).status_code == 503
    assert (await last_answers(pointsaga))["shopify"] == "refused"

    # Encryption has a resolution of a second.
    await service.let_time_pass(timedelta(seconds=2))
    await pointsaga("credentials", "set", shop.domain, "klaviyo", stdin="pk_new")
    assert (await last_answers(pointsaga))["klaviyo"] is None


async def last_answers(pointsaga: CommandLine) -> dict[str, str | None]:
    """Vendor → its answer to the last call of the worker. None: not called."""
    rows = (await pointsaga("credentials", "list", "--json")).json
    return {row["vendor"]: row["last_call"] and row["last_call"]["answer"] for row in rows}


async def test_missing_and_unreadable_credentials_are_listed(shop: Shop, pointsaga: CommandLine) -> None:
    await shop.set_credentials(klaviyo=encrypt_with_lost_key(api_key="pk_lost"))

    listed = (await pointsaga("credentials", "list", shop.domain, "--check", "--json")).json

    assert [row["vendor"] for row in listed if row["is_set"]] == ["klaviyo"]
    assert [row["set_at"] for row in listed] == [None] * 4
    assert "not set" in (await pointsaga("credentials", "list", shop.domain)).out


async def test_an_unknown_shop_and_an_empty_secret_are_wrong_usage(shop: Shop, pointsaga: CommandLine) -> None:
    assert "no shop" in (await pointsaga("credentials", "set", "x.myshopify.com", "klaviyo", stdin="k", status=2)).err
    assert "no shop" in (await pointsaga("credentials", "list", "x.myshopify.com", status=2)).err
    assert "no secret" in (await pointsaga("credentials", "set", shop.domain, "klaviyo", stdin="\n", status=2)).err
