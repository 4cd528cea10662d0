"""`pointsaga audit`."""

import asyncio
from contextlib import nullcontext

import pytest
from sqlalchemy import text

from db.audit import INVARIANTS
from services.audit import CODE_CHECKED, DRIFTS, HAS_WORKFLOW, NO_UNPAID_CODE, PAID_CODE_EXISTS
from tests.builders import Json, a_customer, a_lot, a_shop, encrypt_with_lost_key
from tests.commands.conftest import CommandLine, command_line
from tests.commands.scenes import an_hour_later, buy, buy_delivered, buy_terminated, open_shop
from tests.service import Service
from tests.shop import Shop


@pytest.fixture(autouse=True)
def sandboxed(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shopify is the sandbox."""
    monkeypatch.setattr("commands.audit.vendor_connections", lambda: nullcontext(service.worker_http))


async def findings(pointsaga: CommandLine) -> list[Json]:
    return (await pointsaga("audit", "--json", status=1)).json["findings"]


async def test_a_consistent_deployment_is_clean(shop: Shop, pointsaga: CommandLine) -> None:
    await buy_delivered(shop)

    assert (await pointsaga("audit")).out == f"audit: clean ({len(INVARIANTS) + len(DRIFTS)} invariants hold)\n"
    assert (await pointsaga("audit", "--json")).json == {"invariants": [*INVARIANTS, *DRIFTS], "findings": []}


async def test_a_missing_paid_code_is_reported(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    redemption = await buy_delivered(shop)
    (await service.vendors.delete("/_sandbox")).raise_for_status()

    [finding] = await findings(pointsaga)

    assert (finding["invariant"], finding["subject"]) == (PAID_CODE_EXISTS, f"redemption {redemption}")
    assert redemption in (await pointsaga("audit", status=1)).out
    assert [one.status for one in await shop.redemptions()] == ["active"]


async def test_an_unpaid_code_is_reported_not_deleted(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    await buy_delivered(shop)
    async with service.store.begin() as session:
        await session.execute(text("UPDATE discount_codes SET state = 'void'"))

    assert NO_UNPAID_CODE in [one["invariant"] for one in await findings(pointsaga)]
    assert len(await shop.discounts("live")) == 1


async def test_an_unreachable_shop_is_not_clean(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    await buy_delivered(shop)
    await service.add_fault("shopify", kind="status", status=401, times=None)

    assert [one["invariant"] for one in await findings(pointsaga)] == [CODE_CHECKED]
    await pointsaga("audit", "--ledger-only")


async def test_a_dead_token_is_one_finding(service: Service, pointsaga: CommandLine) -> None:
    shop = await open_shop(service, 4)
    await asyncio.gather(*(service.wait_for_purchase(one) for one in await buy(shop)))
    await service.add_fault("shopify", kind="status", status=401, times=None)

    [finding] = await findings(pointsaga)

    assert (finding["invariant"], finding["shop"]) == (CODE_CHECKED, shop.domain)
    assert finding["detail"].startswith("4 codes: Shopify: ")
    assert finding["command"] == f"pointsaga credentials set {shop.domain} shopify"


async def test_unreadable_credentials_do_not_stop_the_audit(
    service: Service, shop: Shop, pointsaga: CommandLine
) -> None:
    await buy_delivered(shop)
    missing = await buy_delivered(await open_shop(service))
    await shop.set_credentials(shopify=encrypt_with_lost_key(access_token="shpat_lost"))
    (await service.vendors.delete("/_sandbox")).raise_for_status()

    found = {one["subject"]: (one["invariant"], one["detail"]) for one in await findings(pointsaga)}

    credentials = "Shopify: none of ENCRYPTION_KEYS decrypts the shop's credentials"
    assert found == {
        f"shop {shop.domain}": (CODE_CHECKED, f"1 codes: {credentials}"),
        f"redemption {missing}": (PAID_CODE_EXISTS, "code of attempt 1: does not exist"),
    }


async def test_an_orphaned_redemption_is_reported(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    await buy_terminated(shop)
    await an_hour_later(service)

    assert [one["invariant"] for one in await findings(pointsaga)] == [HAS_WORKFLOW]


async def test_a_broken_ledger_names_the_shop(without_temporal: Service) -> None:
    pointsaga = command_line(without_temporal)
    shop = await without_temporal.open_shop(a_shop(*(a_customer(a_lot(500)) for _ in range(4))))
    async with without_temporal.store.begin() as session:
        await session.execute(text("UPDATE customers SET lifetime_points = 0"))

    found = (await pointsaga("audit", "--ledger-only", "--json", status=1)).json["findings"]
    lines = (await pointsaga("audit", "--ledger-only", status=1)).out.splitlines()

    assert [one["shop"] for one in found] == [shop.domain] * 4
    assert lines[0] == "audit: 4 findings"
    assert lines[1].startswith(f"- {shop.domain}: 4 findings (--json lists all): customer ")
    assert len(lines) == 2


async def test_a_ledger_is_audited_without_temporal(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    await buy_delivered(shop)
    async with service.store.begin() as session:
        await session.execute(text("UPDATE point_lots SET remaining = remaining + 1"))

    result = await pointsaga("audit", "--ledger-only", status=1, TEMPORAL_ADDRESS="127.0.0.1:1")

    assert "audit: 2 findings" in result.out
