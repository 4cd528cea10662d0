"""The purchases and refunds during which a worker dies."""

from dataclasses import dataclass

from tests.faults import CREATE_CODE, FIND_CODE, Json, VendorFault


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A purchase, or the refund of a captured redemption. A worker's death must not change the answer.

    Attributes:
        status: HTTP status of the answer.
        fault: at Shopify, once.
        rejection: at Shopify, and again after a death: a repeated call must not change the scenario.
    """

    name: str
    status: int
    is_refund: bool = False
    fault: Json | None = None
    rejection: Json | None = None


SCENARIOS = (
    Scenario(name="purchased", status=201),
    Scenario(name="refunded", status=200, is_refund=True),
    Scenario(name="rejected", status=503, rejection=VendorFault.UNAUTHORIZED.script(operation=CREATE_CODE)),
    Scenario(
        name="rejected after an unknown outcome",
        status=503,
        fault=VendorFault.LOST.script(operation=CREATE_CODE),
        rejection=VendorFault.UNAUTHORIZED.script(operation=FIND_CODE),
    ),
)
