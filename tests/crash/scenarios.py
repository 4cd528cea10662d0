"""The purchases, refunds and reissues during which a worker dies."""

from dataclasses import dataclass

from domain.events import EventKind
from tests.faults import CREATE_CODE, FIND_CODE, Json, VendorFault


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A purchase, or a refund or reissue of a captured redemption. A worker's death must not change the answer.

    Attributes:
        status: HTTP status of the answer; of a queued purchase, once it is decided. 202 for a reissue, which no caller
            waits for.
        is_queued: whether the purchase waits for its turn at Shopify.
        fault: at Shopify, once.
        rejection: at Shopify, and again after a death: a repeated call must not change the scenario.
    """

    name: str
    status: int
    event: EventKind = EventKind.REWARD_REDEEMED
    is_queued: bool = False
    fault: Json | None = None
    rejection: Json | None = None


SCENARIOS = (
    Scenario(name="purchased", status=201),
    Scenario(name="queued", status=201, is_queued=True),
    Scenario(name="refunded", status=200, event=EventKind.REWARD_REFUNDED),
    Scenario(
        name="reissued",
        status=202,
        event=EventKind.REWARD_REISSUED,
        fault=VendorFault.LOST.script(operation=CREATE_CODE),
    ),
    Scenario(name="rejected", status=503, rejection=VendorFault.UNAUTHORIZED.script(operation=CREATE_CODE)),
    Scenario(
        name="rejected after an unknown outcome",
        status=503,
        fault=VendorFault.LOST.script(operation=CREATE_CODE),
        rejection=VendorFault.UNAUTHORIZED.script(operation=FIND_CODE),
    ),
)
