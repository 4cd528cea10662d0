"""Orders that are cancelled or fully refunded: once per order, in any order of their webhooks, whatever fails."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import func, select

from activities.attempt import Attempt
from activities.order_webhooks import Requested, order_cancelled, order_created, refund_created
from clients.outcomes import NotExecuted, Unknown
from clients.shopify_webhooks import Order, Refund
from db import refunds, shops
from db.merges import merge_customers
from db.personal_data import erase_customer
from db.refunds import request_refund
from db.tables import Redemption, Reissue
from domain.events import EventKind
from tests.builders import Json, a_lot, a_reward
from tests.faults import CREATE_CODE, VendorFault
from tests.service import Service
from tests.steps import Steps, steps_for

NOW = datetime.now(UTC)
CREATED, CANCELLED, HALF, REST = "created", "cancelled", "half refunded", "rest refunded"
_REISSUED, _REFUNDED = EventKind.REWARD_REISSUED, EventKind.REWARD_REFUNDED


@pytest.fixture
async def steps(service: Service) -> Steps:
    """A captured redemption of a reward whose codes are reissued."""
    return await captured(service, "reissue")


async def captured(service: Service, policy: str | None, **changes: Any) -> Steps:
    reward = a_reward(on_order_cancelled=policy)
    steps = await steps_for(service, a_lot(700), rewards=[reward], **changes)
    await steps.capture()
    return steps


async def receive(steps: Steps, *webhooks: str, order_id: str = "1", code: str | None = None) -> Requested:
    """Process webhooks of an order of two lines, 30 in total, that used the code. Returns what they requested."""
    code = code or (await steps.codes())[-1].code
    order: Json = {"id": order_id, "created_at": NOW, "discount_codes": [{"code": code}], "total_price": "30.00"}
    order["line_items"] = [{"id": 8, "quantity": 1}, {"id": 9, "quantity": 2}]
    requested: Requested = []
    for webhook in webhooks:
        async with steps.service.store.begin() as session:
            shop = await shops.get_shop(session, steps.first.shop_id)
            match webhook:
                case "created":
                    requested += await order_created(session, shop, Order.model_validate(order))
                case "cancelled":
                    cancelled = Order.model_validate({**order, "cancelled_at": NOW})
                    requested += await order_cancelled(session, shop, cancelled)
                case _:
                    refund = a_refund(order_id, webhook)
                    requested += await refund_created(session, shop, Refund.model_validate(refund))
    return requested


def a_refund(order_id: str, part: str) -> Json:
    """Half of the money without a line, or the rest of it with one."""
    lines = [] if part == HALF else [{"line_item_id": 8, "quantity": 1}]
    money = {"kind": "refund", "status": "success", "amount": "15.00"}
    return {"id": f"{order_id} {part}", "order_id": order_id, "refund_line_items": lines, "transactions": [money]}


def reissue_of(steps: Steps, order_id: str = "1") -> Attempt:
    return steps.first.model_copy(update={"order_id": order_id})


async def reissue(steps: Steps, order_id: str = "1") -> bool:
    """The steps of the workflow."""
    attempt = reissue_of(steps, order_id)
    await steps.reissues.retire_discount_code(attempt)
    return await steps.reissues.reissue_discount_code(attempt) or not await steps.reissues.void_reissued_code(attempt)


async def ask_for_refund(steps: Steps) -> None:
    async with steps.service.store.begin() as session:
        row = await session.get_one(Redemption, steps.first.redemption_id)
        await request_refund(session, row, actor="test", reason=None, channels=[])


async def usable(steps: Steps) -> list[str]:
    return [one["code"] for one in await steps.shop.discounts("live")]


async def test_a_cancelled_order_gives_a_new_code_on_the_same_terms(steps: Steps) -> None:
    [old] = await steps.codes()
    [before] = await steps.shop.discounts()

    assert await receive(steps, CREATED, CANCELLED) == [(_REISSUED, steps.first.redemption_id)]
    assert await reissue(steps)

    row, codes = await steps.row(), await steps.codes()
    assert (row.status, row.discount_code_redeemed_at, row.points_spent) == ("active", None, 500)
    assert [(code.state, code.is_current) for code in codes] == [("void", False), ("live", True)]
    assert await usable(steps) == [codes[1].code] != [old.code]
    after = (await steps.shop.discounts("live"))[0]
    same = ("title", "tags", "context", "customerGets", "usageLimit", "combinesWith", "endsAt")
    assert [after["asked"][name] for name in same] == [before["asked"][name] for name in same]
    assert set((await steps.shop.deliveries("reward_reissued")).values()) == {"pending"}
    assert [entry.kind for entry in await steps.shop.activity_log()] == [
        *("reward_redeemed", "discount_code_used", "order_cancelled", "reward_reissued"),
    ]
    assert await steps.service.audit() == []


@pytest.mark.parametrize("webhooks", list(permutations([CREATED, HALF, REST])), ids=" ".join)
async def test_webhooks_of_a_refunded_order_request_one_reissue(steps: Steps, webhooks: Sequence[str]) -> None:
    first, second, last = webhooks

    assert await receive(steps, first, second) == []
    assert await receive(steps, last) == [(_REISSUED, steps.first.redemption_id)]
    assert await reissue(steps)
    assert await receive(steps, CANCELLED, *webhooks, code=(await steps.codes())[0].code) == []

    assert len(await usable(steps)) == 1
    assert (await steps.row()).status == "active"
    assert await steps.service.audit() == []


async def test_repeated_webhooks_request_one_reissue(steps: Steps) -> None:
    await receive(steps, CANCELLED, CREATED, CANCELLED, REST)
    assert await reissue(steps)
    await receive(steps, HALF, CANCELLED, code=(await steps.codes())[0].code)

    assert [code.state for code in await steps.codes()] == ["void", "live"]
    assert len(await steps.shop.activity_log("order_cancelled")) == 1


async def test_units_alone_can_refund_an_order(steps: Steps) -> None:
    await receive(steps, CREATED)
    async with steps.service.store.begin() as session:
        shop = await shops.get_shop(session, steps.first.shop_id)
        returned = [{"line_item_id": 8, "quantity": 1}, {"line_item_id": 9, "quantity": 2}]
        body = {"id": 1, "order_id": 1, "refund_line_items": returned, "transactions": []}

        assert await refund_created(session, shop, Refund.model_validate(body)) != []


async def test_a_partly_refunded_order_changes_nothing(steps: Steps) -> None:
    assert await receive(steps, CREATED, HALF, HALF) == []

    assert (await steps.row()).status == "used"


async def test_each_order_of_a_redemption_gives_a_code(steps: Steps) -> None:
    await receive(steps, CREATED, CANCELLED)
    await reissue(steps)

    assert await receive(steps, CREATED, order_id="2") == []
    assert (await steps.row()).status == "used"
    assert await receive(steps, CANCELLED, order_id="2") == [(_REISSUED, steps.first.redemption_id)]
    assert await reissue(steps, "2")

    assert [code.state for code in await steps.codes()] == ["void", "void", "live"]
    assert set((await steps.shop.deliveries("reward_reissued")).values()) == {"pending"}
    assert await steps.service.audit() == []


@pytest.mark.parametrize(("days", "expected"), [(2, 7), (20, 20), (None, None)])
async def test_the_new_code_works_as_long_but_seven_days(steps: Steps, days: int | None, expected: int | None) -> None:
    row = await steps.row()
    await steps.change_row(expires_at=None if days is None else func.now() + timedelta(days=days))

    await receive(steps, CREATED, CANCELLED)
    await reissue(steps)

    row = await steps.row()
    assert expected == (None if row.expires_at is None else round((row.expires_at - NOW) / timedelta(days=1)))


async def test_points_are_refunded_instead(service: Service) -> None:
    steps = await captured(service, "refund_points")

    assert await receive(steps, CANCELLED) == [(_REFUNDED, steps.first.redemption_id)]
    assert await receive(steps, CREATED, HALF, REST) == []
    assert await steps.refunds.remove_discount_code(steps.first)
    assert await steps.refunds.refund_points(steps.first)
    assert await receive(steps, CREATED, CANCELLED) == []

    row = await steps.row()
    assert (row.status, row.is_refunded, await steps.shop.lots()) == ("expired", True, [700])
    assert await usable(steps) == []
    assert await steps.service.audit() == []


async def test_a_used_code_can_be_refunded_for_its_cancelled_order_only(service: Service) -> None:
    steps = await captured(service, "refund_points")
    await receive(steps, CANCELLED)
    await steps.shop.use_code((await steps.codes())[0].code)

    assert await steps.refunds.remove_discount_code(steps.first)
    await receive(steps, CREATED, order_id="2")
    assert not await steps.refunds.refund_points(steps.first)

    assert ((await steps.row()).status, await steps.shop.lots()) == ("used", [200])


@pytest.mark.parametrize("moment", ["before the steps", "after the count of uses", "before the refusal"])
async def test_a_refund_in_progress_becomes_that_of_the_cancelled_order(
    service: Service, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Otherwise it is refused for the use by that order, and the customer has neither code nor points."""
    steps = await captured(service, "refund_points")
    await ask_for_refund(steps)
    requested: Requested = []

    async def cancel() -> None:
        requested.extend(await receive(steps, CREATED, CANCELLED))

    match moment:
        case "before the steps":
            await steps.shop.use_code((await steps.codes())[0].code)
            await cancel()
        case "after the count of uses":
            await steps.shop.use_code((await steps.codes())[0].code)
            _once(monkeypatch, steps.shopify, "deactivate_discount", after=cancel)
        case _:
            # Shopify counts the use late, and the webhook of the order comes first.
            await receive(steps, CREATED)
            _once(monkeypatch, refunds, "refuse", before=cancel)

    assert await steps.refunds.remove_discount_code(steps.first)
    assert await steps.refunds.refund_points(steps.first)

    assert set(requested) == {(_REFUNDED, steps.first.redemption_id)}
    row = await steps.row()
    assert (row.status, row.is_refunded, await steps.shop.lots()) == ("expired", True, [700])
    assert await usable(steps) == []
    assert await steps.service.audit() == []


def _once(
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    *,
    before: Callable[[], Awaitable[None]] | None = None,
    after: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Do something before or after the first call of a function."""
    call = getattr(owner, name)

    async def first_call(*arguments: Any, **more: Any) -> object:
        monkeypatch.setattr(owner, name, call)
        if before is not None:
            await before()
        result = await call(*arguments, **more)
        if after is not None:
            await after()
        return result

    monkeypatch.setattr(owner, name, first_call)


async def test_by_default_nothing_is_given_back(service: Service) -> None:
    steps = await captured(service, None)

    assert await receive(steps, CREATED, CANCELLED) == []

    assert ((await steps.row()).status, await steps.shop.lots()) == ("used", [200])


async def test_a_code_that_another_order_used_is_not_reissued(steps: Steps) -> None:
    await receive(steps, CREATED)
    await receive(steps, CREATED, order_id="2")

    assert await receive(steps, CANCELLED) == []
    assert await receive(steps, CANCELLED, order_id="2") == [(_REISSUED, steps.first.redemption_id)]


async def test_an_order_that_comes_during_the_reissue_refuses_it(steps: Steps) -> None:
    await receive(steps, CREATED, CANCELLED)
    await steps.service.inject("shopify", VendorFault.LOST, operation=CREATE_CODE)
    with pytest.raises(Unknown):
        await reissue(steps)
    await receive(steps, CREATED, order_id="2", code=(await steps.codes())[0].code)

    assert not await reissue(steps)
    assert not await reissue(steps)

    assert (await steps.row()).status == "used"
    assert await usable(steps) == []
    assert [code.state for code in await steps.codes()] == ["live", "fenced"]
    assert await steps.service.audit() == []


@pytest.mark.parametrize("fault", [VendorFault.LOST, VendorFault.GARBLED, VendorFault.DROPPED, VendorFault.DOWN])
async def test_an_unknown_outcome_gives_one_code(steps: Steps, fault: VendorFault) -> None:
    await receive(steps, CREATED, CANCELLED)
    await steps.reissues.retire_discount_code(reissue_of(steps))
    await steps.service.inject("shopify", fault, operation=CREATE_CODE)
    with pytest.raises((Unknown, NotExecuted)):
        await steps.reissues.reissue_discount_code(reissue_of(steps))
    await steps.service.clear_faults("shopify")

    assert await reissue(steps)
    assert await reissue(steps)

    codes = await steps.codes()
    assert await usable(steps) == [codes[1].code]
    assert await steps.service.audit() == []


async def test_the_old_code_ends_before_there_is_a_new_one(steps: Steps) -> None:
    await receive(steps, CREATED, CANCELLED)

    await steps.reissues.retire_discount_code(reissue_of(steps))

    assert await usable(steps) == []


async def test_a_use_of_the_old_code_after_the_reissue_is_logged(steps: Steps) -> None:
    await receive(steps, CREATED, CANCELLED)
    await reissue(steps)

    await receive(steps, CREATED, order_id="2", code=(await steps.codes())[0].code)

    assert (await steps.row()).status == "active"
    [entry] = await steps.shop.activity_log("discount_code_used_after_reissue")
    assert entry.facts == {"order_id": "2"}


async def test_a_refunded_code_is_not_announced(steps: Steps) -> None:
    await receive(steps, CANCELLED)
    assert await reissue(steps)
    assert set((await steps.shop.deliveries("reward_reissued")).values()) == {"pending"}
    await ask_for_refund(steps)

    await steps.refunds.remove_discount_code(steps.first)
    assert await steps.refunds.refund_points(steps.first)

    assert set((await steps.shop.deliveries("reward_reissued")).values()) == {"skipped"}


async def test_the_survivor_of_a_merge_gets_the_new_code(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    await receive(steps, CANCELLED)
    create, sam = steps.shopify.create_discount, "4711"

    async def create_and_merge(*arguments: Any) -> str:
        gid = await create(*arguments)
        ids = {"kept_id": sam, "merged_id": steps.first.customer_id}
        async with steps.service.store.begin() as session:
            await merge_customers(session, steps.first.shop_id, **ids, actor="Shopify")
        return gid

    monkeypatch.setattr(steps.shopify, "create_discount", create_and_merge)
    await steps.reissues.retire_discount_code(reissue_of(steps))
    for _ in range(2):
        with pytest.raises(NotExecuted):
            await steps.reissues.reissue_discount_code(reissue_of(steps))
    assert await steps.reissues.reissue_discount_code(reissue_of(steps))

    assert [code["customers"] for code in await steps.shop.discounts("live")] == [[sam]]


async def test_an_erased_customer_gets_no_code(steps: Steps) -> None:
    async with steps.service.store.begin() as session:
        await erase_customer(session, steps.first.shop_id, steps.first.customer_id)

    assert await receive(steps, CREATED, CANCELLED) == []

    async with steps.service.store() as session:
        assert (await session.scalars(select(Reissue).where(Reissue.shop_id == steps.first.shop_id))).all() == []
