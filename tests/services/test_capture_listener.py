"""A purchase is answered when its capture is committed, before its workflow reports it."""

import asyncio

from sqlalchemy import select, text

from db.captures import NOTIFICATIONS
from db.tables import IdempotencyKey
from tests.builders import a_lot
from tests.service import Service
from tests.steps import steps_for
from tests.waiting import wait_until

LISTENERS = f"FROM pg_stat_activity WHERE query ILIKE 'LISTEN%{NOTIFICATIONS}%'"


async def test_a_committed_capture_is_answered(idle: Service) -> None:
    """Also after the connection that reports captures was lost."""
    steps = await steps_for(idle, a_lot(500))
    await wait_until(lambda: selected(idle, f"SELECT count(*) {LISTENERS}"))
    await selected(idle, f"SELECT pg_terminate_backend(pid) {LISTENERS}")
    await wait_until(lambda: selected(idle, f"SELECT count(*) {LISTENERS}"))

    # After the deadline the API looks without being notified.
    async with asyncio.timeout(idle.settings.purchase_deadline_seconds):
        purchase = asyncio.ensure_future(steps.shop.purchase())
        redemption = await claimed(idle)
        await steps.capture(steps.first.model_copy(update={"redemption_id": redemption}))
        answer = await purchase

    assert answer.status_code == 201


async def claimed(service: Service) -> str:
    """The redemption that is purchased."""
    await wait_until(lambda: selected(service, "SELECT count(*) FROM idempotency_keys"))
    async with service.store() as session:
        return (await session.execute(select(IdempotencyKey.redemption_id))).scalar_one()


async def selected(service: Service, query: str) -> object:
    async with service.store() as session:
        return (await session.execute(text(query))).scalar()
