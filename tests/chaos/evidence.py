"""Evidence of the run once everything has ended: from the clients, the ledger, the vendors and Temporal."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from temporalio.client import Client

from database import Sessions
from domain.channels import Channel
from tests.chaos.operators import WORKFLOWS
from tests.chaos.requests import AnyRequest, Order, Requests
from tests.chaos.shop import CAPPED, COSTS, DOMAIN, ChaosShop
from tests.chaos.subscriber import Condition, Webhook
from tests.chaos.vendors import Vendors
from tests.evidence import Arrival, Evidence, Purchase


@dataclass(frozen=True, kw_only=True)
class ChaosEvidence(Evidence):
    """What chaos knows beside the shared evidence. `unfinished`: what had not ended when the recovery gave up."""

    shop: ChaosShop
    requests: Requests
    webhooks: Sequence[Webhook]
    unfinished: Mapping[str, int]

    @classmethod
    async def of_run(
        cls,
        store: Sessions,
        vendors: Vendors,
        temporal: Client,
        *,
        shop: ChaosShop,
        requests: Requests,
        webhooks: Sequence[Webhook],
        unfinished: Mapping[str, int],
    ) -> Self:
        accepted = [one for one in webhooks if one.condition is Condition.HEALTHY]
        adjusted = dict.fromkeys(shop.awards, 0)
        for adjustment in requests.adjustments:
            for answer in adjustment.final[:1]:
                adjusted[adjustment.customer] += answer.data["attributes"]["adjustment"]
        return await cls.gather(
            store,
            vendors.http,
            DOMAIN,
            shop=shop,
            requests=requests,
            webhooks=webhooks,
            unfinished=unfinished,
            costs=COSTS,
            caps={CAPPED: shop.cap},
            removable={order.redemption_id for order in requests.orders},
            awards={customer: sum(award.points for award in awards) for customer, awards in shop.awards.items()},
            adjusted=adjusted,
            purchases=requests.purchases,
            refunds=requests.refunds,
            channels=list(Channel),
            arrivals={Channel.WEBHOOKS: [Arrival(one.code, one.code, one.event, one.id) for one in accepted]},
            workflows={
                one.id: one.status.name if one.status else "?" async for one in temporal.list_workflows(WORKFLOWS)
            },
        )

    @cached_property
    def purchase_of(self) -> dict[str, Purchase]:
        """Purchase request by redemption."""
        by_key = {purchase.key: purchase for purchase in self.purchases}
        return {id_: by_key[key] for key, id_ in self.redemption_ids.items() if key in by_key}

    @cached_property
    def order_of(self) -> dict[str, Order]:
        """Order by redemption."""
        return {order.redemption_id: order for order in self.requests.orders}

    @property
    def unanswered(self) -> Iterator[AnyRequest]:
        """Purchases and refunds that were executed, and all adjustments, without a final answer."""
        for purchase in self.purchases:
            row = self.row_of(purchase)
            if row is not None and row.status.is_captured and not purchase.successes:
                yield purchase
        for refund in self.refunds:
            if refund.redemption_id in self.refund_rows and not refund.final:
                yield refund
        yield from (adjustment for adjustment in self.requests.adjustments if not adjustment.final)
