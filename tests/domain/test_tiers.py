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
        # Given, not earned.
        ("gold", 0, 600, "gold"),
        ("gold", 600, 0, "gold"),
        ("silver", 10, 1000, "gold"),
        ("silver", 1500, 1400, "gold"),
        (None, 1500, 1400, "gold"),
        # Points that do not count change nothing.
        (None, 1500, 1500, None),
        ("silver", 1500, 1500, "silver"),
    ],
)
def test_the_tier_follows_the_points_unless_it_was_given(
    current: str | None, before: int, after: int, expected: str
) -> None:
    assert tier_after(current, REQUIRED, before=before, after=after) == expected


def test_below_the_first_tier_there_is_none() -> None:
    assert tier_after("gold", {"gold": 1000}, before=1000, after=999) is None


def test_a_shop_without_tiers_has_nobody_on_one() -> None:
    assert tier_after(None, {}, before=0, after=10) is None
