"""A backup that was made while customers bought is restored beside an empty Temporal, as docs/backup.md says."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, update

from activities.drift import COMPARED_EVERY
from db.tables import DiscountCode
from domain.deliveries import UNSENT
from domain.redemptions import RedemptionStatus
from local_stack.postgres import programs
from services.schedules import RECONCILE
from tests.e2e.callers import AWARD, Callers
from tests.e2e.deployment import CHANNELS, COST, Deployment, empty_deployment
from tests.evidence import Evidence
from tests.faults import CREATE_CODE, VendorFault
from tests.invariants import CATALOGUE, everything_has_ended, violations
from tests.waiting import wait_until

BUYERS = 4
CLI = (sys.executable, "-m", "cli")
ITS_OWN = ("DATABASE_URL", "TEMPORAL_ADDRESS", "TEMPORAL_UI_URL")
"""Settings in which the restored deployment differs from the lost one. Keys and vendors are the same."""


def for_postgres(url: str) -> str:
    """The URL for PostgreSQL's own programs."""
    return url.replace("postgresql+asyncpg:", "postgresql:")


@pytest.fixture
async def restored(deployment: Deployment, tmp_path: Path) -> AsyncGenerator[Deployment]:
    """Where the backup is restored: the same keys and vendors, and nothing else."""
    env = {name: value for name, value in deployment.stack.env.items() if name not in ITS_OWN}
    async with empty_deployment(deployment, tmp_path, env) as restored:
        yield restored


async def test_a_restored_backup_is_settled_and_names_what_is_lost(
    deployment: Deployment, restored: Deployment, tmp_path: Path
) -> None:
    callers, dump = await Callers.of(deployment, BUYERS), str(tmp_path / "pointsaga.dump")
    await deployment.start_worker()
    async with callers.buying():
        await callers.get_codes(3 * BUYERS)
        kept = list(callers.purchases)
        # Shopify has this request when the backup is made, and creates the code afterwards.
        await deployment.inject("shopify", VendorFault.SLOW, operation=CREATE_CODE, seconds=5)
        await deployment.code_is_requested()
        source = for_postgres(deployment.stack.database_url)
        await deployment.stack.run("dump", str(programs() / "pg_dump"), "-Fc", "-f", dump, "-d", source)
        await callers.get_codes(2 * BUYERS)
    await deployment.ended(callers.shop, purchases=len(callers.purchases))

    target = for_postgres(restored.stack.database_url)
    await restored.stack.run("restore", str(programs() / "pg_restore"), "--no-owner", "-d", target, dump)
    await restored.stack.run("migrate", *CLI, "migrate")
    await restored.stack.run("ledger", *CLI, "audit", "--ledger-only")
    await restored.stack.run("schedules", *CLI, "schedules", "apply")
    unsent = {one.redemption_id for one in (await gather(restored, callers)).ledger.deliveries if one.status in UNSENT}
    await restored.start_worker()
    await settle(restored, callers)

    evidence = await gather(restored, callers)
    lost = [one.data for bought in callers.purchases for one in bought.successes if not is_kept(evidence, one.data)]
    assert len(lost) >= BUYERS
    assert not {one.data["id"] for bought in kept for one in bought.successes} & {one["id"] for one in lost}
    # Vendors know of purchases that the ledger has forgotten, and get again what it knew as unsent.
    names = {name for one in lost for name in (one["id"], one["attributes"]["discount_code"])} | unsent
    assert {one.subject for one in violations(evidence, CATALOGUE)} <= names
    await restored.audit_ledger()


async def settle(restored: Deployment, callers: Callers) -> None:
    """Wait until the reconciler has brought everything to an end."""
    schedule = restored.temporal.get_schedule_handle(RECONCILE)

    async def has_ended() -> bool:
        # Sooner than the next minute, and than the hour after which a code is compared with Shopify.
        async with restored.store.begin() as session:
            await session.execute(update(DiscountCode).values(checked_at=func.now() - COMPARED_EVERY * 2))
        await schedule.trigger()
        await asyncio.sleep(2)
        evidence = await gather(restored, callers)
        unsent = [one for one in evidence.ledger.deliveries if one.status in UNSENT]
        return not unsent and not list(everything_has_ended(evidence)) and not list(unpaid_codes(evidence))

    await wait_until(has_ended, seconds=90)


async def gather(restored: Deployment, callers: Callers) -> Evidence:
    return await Evidence.gather(
        restored.store,
        restored.vendors,
        callers.shop.domain,
        costs={"reward_abc": COST},
        awards=dict.fromkeys(callers.shop.customers, AWARD),
        channels=CHANNELS,
    )


def unpaid_codes(evidence: Evidence) -> Iterator[str]:
    """Codes of failed redemptions that work."""
    working = {discount["code"] for discount in evidence.discounts if discount["status"] == "live"}
    for code in evidence.ledger.discount_codes:
        if code.code in working and evidence.ledger.by_id[code.redemption_id].status is RedemptionStatus.FAILED:
            yield code.code


def is_kept(evidence: Evidence, answered: dict[str, object]) -> bool:
    """Whether the restored ledger has the purchase."""
    row = evidence.ledger.by_id.get(str(answered["id"]))
    return row is not None and row.status is not RedemptionStatus.FAILED
