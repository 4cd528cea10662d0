"""Metrics of requests, observed once their answer is known."""

from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import metrics
from domain.eligibility import RefusalCode

PURCHASE_ROUTE = "/v1/rewards/{reward_id}/purchase"


def observe_request(
    route: str | None, status: int, error: str | None, seconds: float, state: Mapping[str, Any]
) -> None:
    """Count a request. `error`: the error's code. `state`: what the endpoint has recorded."""
    metrics.HTTP_REQUESTS.labels(route or "unknown", status).inc()
    # A queued purchase is observed with the request that gets its outcome.
    if route == PURCHASE_ROUTE and status != HTTPStatus.ACCEPTED:
        _observe_purchase(error, seconds, state.get("shopify_time", timedelta()), replayed=state.get("replayed", False))


def _observe_purchase(error: str | None, seconds: float, shopify_time: timedelta, *, replayed: bool) -> None:
    outcome = metrics.REPLAYED if replayed else _outcome(error)
    if outcome is None:
        return
    metrics.REDEMPTIONS.labels(outcome, metrics.NO_REASON if replayed or error is None else error).inc()
    metrics.ANSWER_SECONDS.labels(outcome).observe(seconds)
    if outcome in (metrics.PURCHASED, metrics.REFUSED):
        metrics.OWN_SECONDS.observe(seconds - shopify_time.total_seconds())


def _outcome(error: str | None) -> str | None:
    """The outcome of a purchase. None: the request was no valid purchase."""
    if error is None:
        return metrics.PURCHASED
    if error in metrics.FAILURES:
        return metrics.FAILED
    return metrics.REFUSED if error in set(RefusalCode) else None
