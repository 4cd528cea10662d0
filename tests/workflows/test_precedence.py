"""Purchases come before the first sends of their events."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest

from activities import precedence
from activities.precedence import FIRST_SENDS, Precedence
from clients.shopify import CALL_SECONDS
from tests.builders import a_customer, a_lot, a_shop
from tests.service import Service
from tests.waiting import wait_until
from workflows.deliveries import FIRST_SENDS_TIMEOUT

Advance = Callable[[float], None]


@pytest.fixture
def advance(monkeypatch: pytest.MonkeyPatch) -> Advance:
    """Moves the clock of `Precedence`. Else it stands still: after a step the worker remains busy with purchases."""
    clock = SimpleNamespace(now=time.monotonic(), monotonic=lambda: clock.now)
    monkeypatch.setattr(precedence, "time", clock)

    def advance(seconds: float) -> None:
        clock.now += seconds

    return advance


@pytest.fixture
def busy(advance: Advance) -> Precedence:
    busy = Precedence()
    busy.note_step()
    return busy


def first_sends(waiting: Precedence, number: int) -> tuple[list[int], list[Awaitable[None]]]:
    """Which of them have been made, and all of them."""
    made: list[int] = []

    async def send(name: int) -> None:
        await waiting.give_way()
        made.append(name)

    return made, [asyncio.ensure_future(send(name)) for name in range(number)]


async def test_a_first_send_starts_at_once_without_purchases() -> None:
    made, _ = first_sends(Precedence(), 1)

    await asyncio.sleep(0)

    assert made == [0]


async def test_first_sends_wait_for_purchases_and_keep_their_order(busy: Precedence, advance: Advance) -> None:
    made, sends = first_sends(busy, 5)
    await asyncio.sleep(0)
    assert made == []

    advance(precedence.QUIET_SECONDS)
    await asyncio.gather(*sends)

    assert made == [0, 1, 2, 3, 4]


async def test_deliveries_keep_up_with_purchases_that_never_pause(
    busy: Precedence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precedence, "MOST_WAITING", 3)
    made, sends = first_sends(busy, 5)

    await asyncio.gather(*sends[:2])

    assert made == [0, 1]
    for one in sends[2:]:
        asyncio.ensure_future(one).cancel()


async def test_no_first_send_waits_for_ever(busy: Precedence, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precedence, "LONGEST_WAIT_SECONDS", 0.01)

    made, sends = first_sends(busy, 2)
    await asyncio.gather(*sends)

    assert made == [0, 1]


def test_first_sends_that_wait_are_not_timed_out() -> None:
    assert FIRST_SENDS_TIMEOUT.total_seconds() > precedence.LONGEST_WAIT_SECONDS + CALL_SECONDS


async def test_purchases_are_answered_before_deliveries_are_sent(service: Service, advance: Advance) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(1_000)), a_customer(a_lot(1_000))))
    first, second = shop.customers
    redemption = (await shop.purchase(customer=first)).json()["data"]["id"]
    workflow = service.purchase_workflow(redemption)

    async def waits() -> bool:
        pending = (await workflow.describe()).raw_description.pending_activities
        return any(one.activity_type.name == FIRST_SENDS and one.HasField("last_started_time") for one in pending)

    await wait_until(waits)
    # If it did not wait, it would be over before this purchase is.
    assert (await shop.purchase(customer=second)).status_code == 201
    assert set((await shop.deliveries()).values()) == {"pending"}
    assert [await service.requests(vendor) for vendor in ("klaviyo", "omnisend", "postscript")] == [0, 0, 0]

    advance(precedence.QUIET_SECONDS)
    assert await service.wait_for_purchase(redemption) == "COMPLETED"
