"""What must hold once a purchase, a refund or a reissue has ended, wherever the worker died."""

import json
from dataclasses import dataclass
from functools import partial

import httpx

from domain.channels import Channel
from domain.events import EventKind
from tests.evidence import Answer, Evidence, Purchase, Refund
from tests.invariants import CATALOGUE, violations
from tests.service import Service
from tests.shop import Shop

POINTS, COST = 700, 500
LEFT = POINTS - COST
KEY = "crash"
CHANNELS = (Channel.KLAVIYO, Channel.OMNISEND, Channel.POSTSCRIPT, Channel.METAFIELDS)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What must be exactly so, beside the invariants. `metafields`: the balances in them."""

    workflow: str
    redemptions: list[str]
    lots: list[int]
    balance: int
    metafields: list[int]
    events: set[EventKind]


_captured = partial(Facts, workflow="COMPLETED")
EXPECTED = {
    200: _captured(
        redemptions=["expired"],
        lots=[POINTS],
        balance=POINTS,
        metafields=[POINTS],
        events={EventKind.REWARD_REFUNDED},
    ),
    201: _captured(
        redemptions=["active"], lots=[LEFT], balance=LEFT, metafields=[LEFT], events={EventKind.REWARD_REDEEMED}
    ),
    202: _captured(
        redemptions=["active"], lots=[LEFT], balance=LEFT, metafields=[LEFT], events={EventKind.REWARD_REISSUED}
    ),
    503: Facts(workflow="FAILED", redemptions=["failed"], lots=[POINTS], balance=POINTS, metafields=[], events=set()),
}


async def problems(
    service: Service, shop: Shop, response: httpx.Response, *, redemption_id: str, workflow: str, event: EventKind
) -> list[str]:
    """Everything that is wrong. `workflow`: its final status."""
    [customer] = shop.customers
    answers = [] if event is EventKind.REWARD_REISSUED else [Answer.of(response)]
    purchase = Purchase(key=KEY, customer=customer, reward="reward_abc", answers=answers)
    refund = Refund(redemption_id=redemption_id, answers=answers)
    evidence = await Evidence.gather(
        service.store,
        service.vendors,
        shop.domain,
        costs={"reward_abc": COST},
        awards={customer: POINTS},
        purchases=[purchase] if event is EventKind.REWARD_REDEEMED else [],
        refunds=[refund] if event is EventKind.REWARD_REFUNDED else [],
        channels=CHANNELS,
    )
    metafields = (await service.vendor("shopify"))["metafields"]
    facts = Facts(
        workflow=workflow,
        redemptions=[row.status for row in evidence.ledger.redemptions],
        lots=[lot.remaining for lot in evidence.ledger.point_lots],
        balance=await shop.balance(),
        metafields=[json.loads(one["value"])["points_balance"] for one in metafields if one["shop"] == shop.domain],
        events={one.event for arrived in evidence.arrivals.values() for one in arrived},
    )
    found = [str(violation) for violation in violations(evidence, CATALOGUE)]
    if facts != EXPECTED[response.status_code]:
        found.append(f"{facts} instead of {EXPECTED[response.status_code]}")
    if len(evidence.arrivals[Channel.OMNISEND]) > 2:
        found.append("Omnisend received the event more often than twice")
    return found
