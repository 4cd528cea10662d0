"""What the API samples of database and Temporal."""

from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import text

import metrics
from db.audit import INVARIANTS
from services.samples import Sampler, Unanswered
from tests.builders import a_customer, a_lot, a_shop
from tests.faults import VendorFault
from tests.service import Service
from tests.shop import Shop
from tests.waiting import wait_until


def sampler_of(service: Service) -> Sampler:
    return Sampler(store=service.store, temporal=service.temporal, task_queue=service.settings.temporal_task_queue)


def sampled(name: str, registry: CollectorRegistry = metrics.API, **labels: str) -> float:
    value = registry.get_sample_value(name, labels)
    assert value is not None
    return value


async def kinds(service: Service) -> dict[str, tuple[float, float]]:
    """Kind → how many redemptions are unfinished, and how many of them are overdue. Only those that are not 0."""
    await sampler_of(service).sample_redemptions()
    counts = {
        kind: (sampled("pointsaga_open_redemptions", kind=kind), sampled("pointsaga_stuck_redemptions", kind=kind))
        for kind in metrics.KINDS
    }
    return {kind: both for kind, both in counts.items() if any(both)}


async def test_rejected_deliveries_are_stuck_at_once(service: Service, shop: Shop) -> None:
    await service.inject("klaviyo", VendorFault.UNAUTHORIZED)
    await service.inject("omnisend", VendorFault.UNAUTHORIZED)
    await shop.purchase()

    async def are_rejected() -> bool:
        return await kinds(service) == {"needs_attention": (1, 1)}

    await wait_until(are_rejected)


async def test_late_deliveries_are_stuck_after_two_minutes(idle: Service) -> None:
    shop = await idle.open_shop(a_shop(a_customer(a_lot(500))))
    async with idle.worker():
        redemption = await shop.buy()
    assert await kinds(idle) == {}
    await execute(idle, "UPDATE deliveries SET status = 'pending' WHERE redemption_id = :id", id=redemption)

    assert await kinds(idle) == {"undelivered": (1, 0)}
    await idle.let_time_pass(timedelta(minutes=3))
    assert await kinds(idle) == {"undelivered": (1, 1)}
    assert sampled("pointsaga_oldest_unfinished_seconds", kind="undelivered") > 180


async def test_points_that_stay_reserved_are_stuck_after_the_deadline(idle: Service) -> None:
    shop = await idle.open_shop(a_shop(a_customer(a_lot(500))))
    async with idle.worker():
        redemption = await shop.buy()
    await execute(idle, "UPDATE redemptions SET status = 'pending', deadline = now() WHERE id = :id", id=redemption)

    assert await kinds(idle) == {"undecided": (1, 0)}
    await idle.let_time_pass(timedelta(minutes=1))
    assert await kinds(idle) == {"undecided": (1, 1)}


async def test_queues_without_a_worker_are_seen(idle: Service) -> None:
    async def workers() -> list[float]:
        await sampler_of(idle).sample_queues()
        return [sampled("pointsaga_workers", queue=queue) for queue in metrics.QUEUES]

    assert await workers() == [0, 0]
    async with idle.worker():

        async def both_have_one() -> bool:
            return await workers() == [1, 1]

        await wait_until(both_have_one)


async def test_without_temporal_the_queues_have_no_sample(without_temporal: Service) -> None:
    with pytest.raises(Unanswered):
        await sampler_of(without_temporal).sample_queues()


@pytest.mark.parametrize("scope", ["recent", "all"])
async def test_a_broken_invariant_is_counted(service: Service, shop: Shop, scope: str) -> None:
    await shop.purchase()
    sampler, name = sampler_of(service), "a customer's totals are the sums of the ledger"
    await sampler.check_invariants(scope)
    before = {one: sampled("pointsaga_invariant_violations", invariant=one, scope=scope) for one in INVARIANTS}
    await execute(service, "UPDATE customers SET points = points + 1")

    await sampler.check_invariants(scope)

    after = {one: sampled("pointsaga_invariant_violations", invariant=one, scope=scope) for one in INVARIANTS}
    assert before == dict.fromkeys(INVARIANTS, 0)
    assert after == {**before, name: 1}


async def test_samples_are_taken_while_the_api_runs(without_temporal: Service) -> None:
    began = {sample: taken_at(sample) for sample in metrics.SAMPLES}

    async def are_new() -> bool:
        return all(taken_at(sample) > began[sample] for sample in metrics.SAMPLES if sample != "queues")

    async with sampler_of(without_temporal).running():
        await wait_until(are_new)
    # Temporal does not answer.
    assert taken_at("queues") == began["queues"]


def taken_at(sample: str) -> float:
    return metrics.API.get_sample_value("pointsaga_sample_timestamp_seconds", {"sample": sample}) or 0


async def execute(service: Service, statement: str, **values: str) -> None:
    async with service.store.begin() as session:
        await session.execute(text(statement), values)
