"""Every metric of ours, by process. docs/metrics.md describes them.

No label names a shop, a customer or an id: there are too many of them. Every label has few values, and its series exist
from the start, as Prometheus sees no increase in a series that begins with 1.
"""

from collections.abc import Iterable
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics

from domain.channels import Channel
from domain.deliveries import DeliveryStatus
from domain.eligibility import RefusalCode

disable_created_metrics()

API = CollectorRegistry()
WORKER = CollectorRegistry()
for _registry in (API, WORKER):
    ProcessCollector(registry=_registry)

# API: what callers get.

# 1 s is the objective of the alerts.
_ANSWER_BUCKETS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 25.0)

PURCHASED = "purchased"
REFUSED = "refused"
FAILED = "failed"
REPLAYED = "replayed"

NO_REASON = ""
INTERNAL_ERROR = "internal_error"
FAILURES = ("shopify_unavailable", "shopify_rejected", "engine_unavailable", INTERNAL_ERROR)

REDEMPTIONS = Counter(
    "pointsaga_redemptions", "Answers to purchases, by outcome and reason.", ["outcome", "reason"], registry=API
)
ANSWER_SECONDS = Histogram(
    "pointsaga_answer_seconds",
    "Time from a purchase's arrival to its answer.",
    ["outcome"],
    registry=API,
    buckets=_ANSWER_BUCKETS,
)
OWN_SECONDS = Histogram(
    "pointsaga_own_seconds",
    "Time to answer a purchase that was purchased or refused, without Shopify's own time.",
    registry=API,
    buckets=_ANSWER_BUCKETS,
)
HTTP_REQUESTS = Counter(
    "pointsaga_http_requests",
    "Requests, by route (template of the path) and status.",
    ["route", "status"],
    registry=API,
)
PURCHASES_OPEN = Gauge("pointsaga_purchases_open", "Purchases without an answer, admitted or not.", registry=API)
PURCHASES_ADMITTED = Gauge("pointsaga_purchases_admitted", "Admitted purchases without an answer.", registry=API)

# API: what the database and Temporal show, also while no worker runs.

KINDS = ("undecided", "undelivered", "needs_attention", "refunding", "unfenced")
QUEUES = ("purchases", "background")
SAMPLES = ("redemptions", "queues", "invariants_recent", "invariants_all")

OPEN_REDEMPTIONS = Gauge("pointsaga_open_redemptions", "Unfinished redemptions, by kind.", ["kind"], registry=API)
STUCK_REDEMPTIONS = Gauge(
    "pointsaga_stuck_redemptions", "Unfinished redemptions that are overdue, by kind.", ["kind"], registry=API
)
OLDEST_SECONDS = Gauge(
    "pointsaga_oldest_unfinished_seconds", "Age of the oldest unfinished redemption, by kind.", ["kind"], registry=API
)
WORKERS = Gauge("pointsaga_workers", "Workers that answer and get new tasks.", ["queue"], registry=API)
BACKLOG = Gauge("pointsaga_backlog_tasks", "Tasks that wait for a worker.", ["queue"], registry=API)
VIOLATIONS = Gauge(
    "pointsaga_invariant_violations", "Violations of an invariant of the ledger.", ["invariant", "scope"], registry=API
)
INVARIANTS_SECONDS = Gauge(
    "pointsaga_invariants_check_seconds", "Duration of the last check of the invariants.", ["scope"], registry=API
)
SAMPLED_AT = Gauge(
    "pointsaga_sample_timestamp_seconds", "Unix time of the last sample that succeeded.", ["sample"], registry=API
)

# Worker.

MOVEMENTS = ("reserved", "released", "captured", "refunded", "expired")
RETRIED = "retried"
DELIVERY_OUTCOMES = (*(status for status in DeliveryStatus if status is not DeliveryStatus.PENDING), RETRIED)
CALL_OUTCOMES = ("ok", "not_executed", "held", "unknown", "refused", "refused_configuration")
OPERATIONS = {
    "shopify": (
        "create_discount",
        "fence_code",
        "find_discount",
        "delete_discount",
        "deactivate_discount",
        "set_loyalty_metafield",
    ),
    "klaviyo": ("send_event",),
    "omnisend": ("send_event",),
    "postscript": ("send_event",),
    "subscriber": ("send_webhook",),
}
SETTLED_DRIFTS = ("unpaid_code", "idle_workflow")
DRIFTS = (*SETTLED_DRIFTS, "code_missing", "orphaned_redemption", "orphaned_refund")

POINTS = Counter("pointsaga_points", "Points moved by redemptions and by expiry.", ["movement"], registry=WORKER)
DELIVERIES = Counter("pointsaga_deliveries", "Outcomes of sends, by channel.", ["channel", "outcome"], registry=WORKER)
LAST_DELIVERY_SECONDS = Histogram(
    "pointsaga_last_delivery_seconds",
    "Time from a redemption's capture, or its refund, to the end of its last delivery.",
    registry=WORKER,
    buckets=(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0, 21600.0, 86400.0),
)
VENDOR_CALLS = Counter(
    "pointsaga_vendor_calls",
    "Calls of vendors, by operation and outcome.",
    ["vendor", "operation", "outcome"],
    registry=WORKER,
)
VENDOR_CALL_SECONDS = Histogram(
    "pointsaga_vendor_call_seconds",
    "Duration of the calls of vendors that were made.",
    ["vendor", "operation"],
    registry=WORKER,
    buckets=(0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 12.0),
)
OPEN_BREAKERS = Gauge("pointsaga_circuit_breakers_open", "Open circuit breakers.", ["vendor"], registry=WORKER)
DRIFT_FOUND = Counter("pointsaga_drift_found", "Differences found, by kind.", ["kind"], registry=WORKER)
DRIFT_SETTLED = Counter("pointsaga_drift_settled", "Differences settled by the reconciler.", ["kind"], registry=WORKER)

# Both.

_CONNECTIONS = ("pointsaga_database_connections", "Connections to PostgreSQL, by pool and state.", ["pool", "state"])
CONNECTIONS = {registry: Gauge(*_CONNECTIONS, registry=registry) for registry in (API, WORKER)}


def _create_series() -> None:
    _create(REDEMPTIONS, [REFUSED], RefusalCode)
    _create(REDEMPTIONS, [FAILED], FAILURES)
    _create(REDEMPTIONS, [PURCHASED, REPLAYED], [NO_REASON])
    _create(ANSWER_SECONDS, [PURCHASED, REFUSED, FAILED, REPLAYED])
    _create(POINTS, MOVEMENTS)
    _create(DELIVERIES, Channel, DELIVERY_OUTCOMES)
    _create(OPEN_BREAKERS, OPERATIONS)
    for vendor, operations in OPERATIONS.items():
        _create(VENDOR_CALL_SECONDS, [vendor], operations)
        _create(VENDOR_CALLS, [vendor], operations, CALL_OUTCOMES)
    _create(DRIFT_FOUND, DRIFTS)
    _create(DRIFT_SETTLED, SETTLED_DRIFTS)


def _create(metric: Counter | Gauge | Histogram, *values: Iterable[str]) -> None:
    for labels in product(*values):
        metric.labels(*labels)


_create_series()
