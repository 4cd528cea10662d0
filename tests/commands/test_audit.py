"""`pointsaga audit`: the ledger's own invariants, and what others say."""

from contextlib import nullcontext

import pytest
from sqlalchemy import text

from db.audit import INVARIANTS
from services.audit import ASKED, DRIFTS, LIVE, PAID, UNPAID
from tests.commands.conftest import Pointsaga
from tests.commands.scenes import a_shop_of, buy, much_later, terminated_while_klaviyo_is_down
from tests.service import Service, Shop, sealed_by_a_lost_key


@pytest.fixture(autouse=True)
def sandboxed(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shopify is the sandbox."""
    monkeypatch.setattr("commands.audit.vendors", lambda: nullcontext(service.worker_http))


async def bought(service: Service) -> Shop:
    shop = await a_shop_of(service)
    [redemption] = await buy(shop)
    await service.end_of(redemption)
    return shop


async def test_where_all_agree_the_audit_is_clean(service: Service, pointsaga: Pointsaga) -> None:
    await bought(service)

    assert (await pointsaga("audit")).out == f"audit: clean ({len(INVARIANTS) + len(DRIFTS)} invariants hold)\n"
    assert (await pointsaga("audit", "--json")).json == {"invariants": [*INVARIANTS, *DRIFTS], "findings": []}


async def test_a_paid_code_that_is_gone_is_found_and_left_as_it_is(service: Service, pointsaga: Pointsaga) -> None:
    shop = await bought(service)
    (await service.vendors.delete("/_sandbox")).raise_for_status()

    said = await pointsaga("audit", status=1)
    found = (await pointsaga("audit", "--json", status=1)).json["findings"]

    [redemption] = await shop.redemptions()
    assert [(one["invariant"], one["subject"]) for one in found] == [(PAID, f"redemption {redemption.id}")]
    assert redemption.id in said.out
    assert redemption.status == "active"


async def test_a_code_that_nobody_paid_for_is_found_and_not_deleted(service: Service, pointsaga: Pointsaga) -> None:
    shop = await bought(service)
    async with service.store.begin() as session:
        await session.execute(text("UPDATE discount_codes SET state = 'void'"))

    found = (await pointsaga("audit", "--json", status=1)).json["findings"]

    assert UNPAID in [one["invariant"] for one in found]
    assert len(await shop.discounts("live")) == 1


async def test_a_shop_that_cannot_be_asked_is_not_called_clean(service: Service, pointsaga: Pointsaga) -> None:
    await bought(service)
    await service.fault("shopify", kind="status", status=401, times=None)

    found = (await pointsaga("audit", "--json", status=1)).json["findings"]

    assert [one["invariant"] for one in found] == [ASKED]
    await pointsaga("audit", "--ledger-only")


async def test_a_shop_whose_credentials_cannot_be_read_is_named_and_the_others_are_looked_at(
    service: Service, pointsaga: Pointsaga
) -> None:
    unreadable, sound = await bought(service), await bought(service)
    await unreadable.keep_credentials(shopify=sealed_by_a_lost_key(access_token="shpat_lost"))
    (await service.vendors.delete("/_sandbox")).raise_for_status()

    found = (await pointsaga("audit", "--json", status=1)).json["findings"]

    said = {one["subject"]: (one["invariant"], one["detail"]) for one in found}
    [lost], [gone] = await unreadable.redemptions(), await sound.redemptions()
    assert said == {
        f"redemption {lost.id}": (
            ASKED,
            "code of attempt 1: Shopify: none of ENCRYPTION_KEYS opens the shop's credentials",
        ),
        f"redemption {gone.id}": (PAID, "code of attempt 1: it is gone"),
    }


async def test_a_redemption_that_nobody_works_on_is_found(service: Service, pointsaga: Pointsaga) -> None:
    await terminated_while_klaviyo_is_down(await a_shop_of(service))
    await much_later(service)

    found = (await pointsaga("audit", "--json", status=1)).json["findings"]

    assert [one["invariant"] for one in found] == [LIVE]


async def test_a_broken_ledger_is_found_without_asking_anybody(service: Service, pointsaga: Pointsaga) -> None:
    await bought(service)
    async with service.store.begin() as session:
        await session.execute(text("UPDATE point_lots SET remaining = remaining + 1"))

    said = await pointsaga("audit", "--ledger-only", status=1, TEMPORAL_ADDRESS="127.0.0.1:1")

    assert "audit: 2 findings" in said.out
