"""SQL statements that name states, such as `:captured`. The values are those of the domain."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ARRAY, String, TextClause, bindparam, text

from domain.deliveries import UNSENT, DeliveryStatus
from domain.discounts import CodeState
from domain.events import EventKind
from domain.failures import FailureCode
from domain.points import REVERSALS, EntryKind
from domain.redemptions import CAPTURED, RedemptionStatus
from domain.refunds import RefundStatus

_STATES: Mapping[str, str | Sequence[str]] = {
    "pending": RedemptionStatus.PENDING,
    "active": RedemptionStatus.ACTIVE,
    "failed": RedemptionStatus.FAILED,
    "expired": RedemptionStatus.EXPIRED,
    "captured": sorted(CAPTURED),
    "capped": sorted({RedemptionStatus.PENDING, *CAPTURED}),
    "planned": CodeState.PLANNED,
    "live": CodeState.LIVE,
    "foreign": CodeState.FOREIGN,
    "undelivered": DeliveryStatus.PENDING,
    "sent": DeliveryStatus.SENT,
    "skipped": DeliveryStatus.SKIPPED,
    "unsent": sorted(UNSENT),
    "requested": RefundStatus.PENDING,
    "done": RefundStatus.DONE,
    "earn": EntryKind.EARN,
    "reserve": EntryKind.RESERVE,
    "refund": EntryKind.REFUND,
    "redeeming": [EntryKind.RESERVE, *REVERSALS],
    "redeemed": EventKind.REWARD_REDEEMED,
    "refunded": EventKind.REWARD_REFUNDED,
    "configuration_rejected": FailureCode.CONFIGURATION_REJECTED,
    "purchase_failed": EventKind.PURCHASE_FAILED,
    "reissued": EventKind.REWARD_REISSUED,
    "used": RedemptionStatus.USED,
}


def statement(sql: str, **types: Any) -> TextClause:
    """The statement with its states bound. `types`: of other parameters, where the driver needs them."""
    named = {name: _STATES[name] for name in set(re.findall(r"(?<!:):(\w+)", sql)) & _STATES.keys()}
    states = [
        bindparam(name, value, type_=String if isinstance(value, str) else ARRAY(String))
        for name, value in named.items()
    ]
    return text(sql).bindparams(*states, *(bindparam(name, type_=kind) for name, kind in types.items()))
