"""Which VIP tier lifetime points lead to."""

import pytest

from domain.tiers import tier_after

REQUIRED = {"gold": 1000, "bronze": 0, "silver": 500}


@pytest.mark.parametrize(
    ("current", "before", "after", "expected"),
    [
        ("bronze", 0, 499, "bronze"),
        ("bronze", 0, 500, "silver"),
        ("bronze", 499, 5000, "gold"),
        ("gold", 1000, 999, "silver"),
        ("gold", 1000, 0, "bronze"),
        # Assigned, not earned.
        ("gold", 0, 600, "gold"),
        ("gold", 600, 0, "gold"),
        ("silver", 10, 1000, "gold"),
        ("silver", 1500, 1400, "gold"),
        (None, 1500, 1400, "gold"),
        # Lifetime points that do not change.
        (None, 1500, 1500, None),
        ("silver", 1500, 1500, "silver"),
    ],
)
def test_an_earned_tier_follows_the_points(current: str | None, before: int, after: int, expected: str) -> None:
    assert tier_after(current, REQUIRED, before=before, after=after) == expected


def test_there_can_be_no_tier() -> None:
    assert tier_after("gold", {"gold": 1000}, before=1000, after=999) is None
    assert tier_after(None, {}, before=0, after=10) is None
