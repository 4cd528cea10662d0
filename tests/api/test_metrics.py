"""What is counted and timed of purchases, refunds and deliveries. Counters are compared with what they were before."""

from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

import metrics
from activities.expiry import Expiry
from tests.api.support import code_of
from tests.builders import a_customer, a_lot, a_shop
from tests.faults import CREATE_CODE, FIND_CODE, VendorFault
from tests.service import Service
from tests.shop import Shop


def value_of(registry: CollectorRegistry, name: str, **labels: str) -> float:
    value = registry.get_sample_value(name, labels)
    assert value is not None, f"no series {name} {labels}"
    return value


class Changes:
    """How much series have changed since this was made."""

    def __init__(self) -> None:
        self._before = {id(registry): self._read(registry) for registry in (metrics.API, metrics.WORKER)}

    def of(self, registry: CollectorRegistry, name: str, **labels: str) -> float:
        before = self._before[id(registry)][name, frozenset(labels.items())]
        return round(value_of(registry, name, **labels) - before, 6)

    @staticmethod
    def _read(registry: CollectorRegistry) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        samples = (sample for metric in registry.collect() for sample in metric.samples)
        return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}


@pytest.fixture
def changes(service: Service) -> Changes:
    return Changes()


async def test_a_purchase_is_counted(service: Service, changes: Changes, shop: Shop) -> None:
    await shop.buy()

    assert changes.of(metrics.API, "pointsaga_redemptions_total", outcome="purchased", reason="") == 1
    assert changes.of(metrics.API, "pointsaga_answer_seconds_count", outcome="purchased") == 1
    assert changes.of(metrics.WORKER, "pointsaga_points_total", movement="reserved") == 500
    assert changes.of(metrics.WORKER, "pointsaga_points_total", movement="captured") == 500
    for channel in ("klaviyo", "omnisend", "postscript", "metafields"):
        assert changes.of(metrics.WORKER, "pointsaga_deliveries_total", channel=channel, outcome="sent") == 1
    assert changes.of(metrics.WORKER, "pointsaga_last_delivery_seconds_count") == 1
    created = {"vendor": "shopify", "operation": "create_discount"}
    assert changes.of(metrics.WORKER, "pointsaga_vendor_calls_total", **created, outcome="ok") == 1
    assert changes.of(metrics.WORKER, "pointsaga_vendor_call_seconds_count", **created) == 1


async def test_a_repeated_request_is_no_redemption(service: Service, changes: Changes, shop: Shop) -> None:
    await shop.purchase(key="once")
    await shop.purchase(key="once")

    assert changes.of(metrics.API, "pointsaga_redemptions_total", outcome="purchased", reason="") == 1
    assert changes.of(metrics.API, "pointsaga_redemptions_total", outcome="replayed", reason="") == 1


async def test_a_refusal_is_counted_by_its_reason(service: Service, changes: Changes) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(499))))

    await shop.purchase()

    refused = {"outcome": "refused", "reason": "insufficient_points"}
    assert changes.of(metrics.API, "pointsaga_redemptions_total", **refused) == 1
    assert changes.of(metrics.API, "pointsaga_own_seconds_count") == 1
    assert changes.of(metrics.WORKER, "pointsaga_points_total", movement="reserved") == 0


async def test_a_bad_request_is_no_purchase(service: Service, changes: Changes, shop: Shop) -> None:
    before = metrics.API.get_sample_value(
        "pointsaga_http_requests_total", {"route": "/v1/rewards/{reward_id}/purchase", "status": "401"}
    )
    shop.full_key = "unknown"

    assert code_of(await shop.purchase()) == (401, "unauthorized")

    after = value_of(
        metrics.API, "pointsaga_http_requests_total", route="/v1/rewards/{reward_id}/purchase", status="401"
    )
    assert after == (before or 0) + 1
    assert changes.of(metrics.API, "pointsaga_answer_seconds_count", outcome="failed") == 0


async def test_released_points_are_counted(service: Service, changes: Changes, shop: Shop) -> None:
    await service.inject("shopify", VendorFault.UNAUTHORIZED, operation=CREATE_CODE)

    assert code_of(await shop.purchase()) == (503, "shopify_unavailable")

    failed = {"outcome": "failed", "reason": "shopify_unavailable"}
    assert changes.of(metrics.API, "pointsaga_redemptions_total", **failed) == 1
    assert changes.of(metrics.API, "pointsaga_own_seconds_count") == 0
    assert changes.of(metrics.WORKER, "pointsaga_points_total", movement="released") == 500
    refused = {"vendor": "shopify", "operation": "create_discount", "outcome": "refused_configuration"}
    assert changes.of(metrics.WORKER, "pointsaga_vendor_calls_total", **refused) == 1


async def test_refunded_points_are_counted(service: Service, changes: Changes, shop: Shop) -> None:
    assert (await shop.refund(await shop.buy())).status_code == 200

    assert changes.of(metrics.WORKER, "pointsaga_points_total", movement="refunded") == 500


async def test_shopifys_own_time_is_not_ours(service: Service, changes: Changes, shop: Shop) -> None:
    await service.inject("shopify", VendorFault.SLOW, operation=CREATE_CODE, seconds=1.5)

    assert (await shop.purchase()).status_code == 201

    answer = changes.of(metrics.API, "pointsaga_answer_seconds_sum", outcome="purchased")
    own = changes.of(metrics.API, "pointsaga_own_seconds_sum")
    assert 1.4 < answer - own < answer


async def test_shopifys_time_includes_its_retries(service: Service, changes: Changes, shop: Shop) -> None:
    await service.inject("shopify", VendorFault.LOST, operation=CREATE_CODE)
    await service.inject("shopify", VendorFault.SLOW, operation=FIND_CODE, seconds=1)

    assert (await shop.purchase()).status_code == 201

    answer = changes.of(metrics.API, "pointsaga_answer_seconds_sum", outcome="purchased")
    assert answer - changes.of(metrics.API, "pointsaga_own_seconds_sum") > 1


async def test_the_last_delivery_ends_an_event(service: Service, changes: Changes, shop: Shop) -> None:
    await service.inject("klaviyo", VendorFault.SERVER_ERROR)

    await shop.buy()

    assert changes.of(metrics.WORKER, "pointsaga_deliveries_total", channel="klaviyo", outcome="retried") == 1
    assert changes.of(metrics.WORKER, "pointsaga_deliveries_total", channel="klaviyo", outcome="sent") == 1
    assert changes.of(metrics.WORKER, "pointsaga_last_delivery_seconds_count") == 1


async def test_expired_points_are_counted(service: Service, changes: Changes) -> None:
    await service.open_shop(a_shop(a_customer(a_lot(70, expires_in=-timedelta(days=1)))))

    await Expiry(service.store).expire_points(None)

    assert changes.of(metrics.WORKER, "pointsaga_points_total", movement="expired") == 70
