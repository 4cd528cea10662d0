"""Orders that used a code."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class CancelledOrderPolicy(StrEnum):
    """What happens to a redemption whose code was used by an order that is cancelled or fully refunded."""

    NONE = "none"
    REISSUE = "reissue"
    """A new code on the same terms."""
    REFUND_POINTS = "refund_points"


@dataclass(frozen=True, kw_only=True)
class RefundedPart:
    """What one refund of an order returned: money in the shop's currency, and units by line item."""

    amount: Decimal
    lines: Mapping[str, int]


def is_fully_refunded(total: Decimal | None, lines: Mapping[str, int] | None, refunds: Iterable[RefundedPart]) -> bool:
    """Whether the refunds return all money of the order, or every unit of every line item.

    `total` and `lines` are None if they are not known yet. Of an order without anything to pay, only units count.
    """
    amount, units = Decimal(), Counter[str]()
    for refund in refunds:
        amount += refund.amount
        units.update(refund.lines)
    has_all_money = bool(total) and amount >= (total or 0)
    return has_all_money or (bool(lines) and all(units[line] >= ordered for line, ordered in (lines or {}).items()))
