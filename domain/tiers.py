"""Which VIP tier lifetime points lead to."""

from collections.abc import Mapping


def tier_after(current: str | None, required: Mapping[str, int], *, before: int, after: int) -> str | None:
    """The tier of a customer on `current` whose lifetime points have moved from `before` to `after`.

    A tier that their points had earned follows the points, down as well as up. One that was given to them otherwise
    (an import can) is theirs until their points earn a higher one.

    Args:
        required: tier → the lifetime points that it takes.
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
