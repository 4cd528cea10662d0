"""How long the retries of an activity wait."""

from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio.common import RetryPolicy
from temporalio.testing import ActivityEnvironment

from activities.failures import retryable

POLICY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1))


def waits_of(attempt: int, *, retry_after: timedelta | None = None, policy: RetryPolicy | None = POLICY) -> set[float]:
    """Seconds until the next attempt, of twenty activities that fail together."""
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, attempt=attempt, retry_policy=policy)

    def wait() -> float:
        delay = retryable("Unknown", "no answer", retry_after=retry_after).next_retry_delay
        return -1 if delay is None else delay.total_seconds()

    return {environment.run(wait) for _ in range(20)}


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 1), (3, 4), (7, 60), (5000, 60)])
def test_activities_that_fail_together_are_not_retried_together(attempt: int, seconds: float) -> None:
    waits = waits_of(attempt)

    assert len(waits) > 10
    assert seconds * 0.75 <= min(waits) <= max(waits) <= seconds


def test_a_requested_wait_is_a_minimum() -> None:
    waits = waits_of(1, retry_after=timedelta(seconds=10))

    assert len(waits) > 10
    assert 10 <= min(waits) <= max(waits) <= 11


def test_without_a_known_policy_the_server_decides() -> None:
    assert waits_of(1, policy=None) == {-1}
