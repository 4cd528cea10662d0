"""Which VIP tier a customer reaches by lifetime points."""

from collections.abc import Mapping


def tier_after(current: str | None, required: Mapping[str, int], *, before: int, after: int) -> str | None:
    """The tier of a customer on tier `current` whose lifetime points change from `before` to `after`.

    A tier earned by points follows the points, up and down. A tier assigned by an import is kept until the points earn
    a higher one.

    Args:
        required: tier id → lifetime points needed.
    """
    if before == after:
        return current
    earned = _earned(required, after)
    if current == _earned(required, before):
        return earned
    return max(current, earned, key=lambda tier: -1 if tier is None else required[tier])


def _earned(required: Mapping[str, int], points: int) -> str | None:
    reached = [tier for tier in required if required[tier] <= points]
    return max(reached, key=lambda tier: (required[tier], tier), default=None)
