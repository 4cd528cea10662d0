"""Evidence of the run once everything has ended: from the clients, the ledger, the vendors and Temporal."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Self

from temporalio.client import Client

from database import Sessions
from db.vault import Vault
from domain.channels import Channel
from domain.orders import CancelledOrderPolicy
from tests.chaos.merges import LoggedMerges
from tests.chaos.operators import WORKFLOWS, of_shop
from tests.chaos.privacy import ErasedCustomers
from tests.chaos.requests import EXCLUDED, AnyRequest, Cancellation, Erasure, Order, Requests
from tests.chaos.shop import CANCELLED, COSTS, ChaosShop
from tests.chaos.subscriber import Condition, Webhook
from tests.chaos.vendors import Vendors
from tests.evidence import Answer, Arrival, Evidence, Purchase, survivor


@dataclass(frozen=True, kw_only=True)
class ChaosEvidence(Evidence):
    """What chaos knows about a shop beside the shared evidence.

    Attributes:
        webhooks: what the subscriber received. None: there is no subscriber.
        unfinished: what had not ended when the recovery gave up.
        deaths: when a process was killed.
        failed_imports: although the database was there.
        gone: what is left of erased customers.
        logged_merges: the merges in the activity log.
    """

    shop: ChaosShop
    requests: Requests
    webhooks: Sequence[Webhook]
    unfinished: Mapping[str, int]
    deaths: Sequence[datetime]
    failed_imports: Sequence[str]
    gone: ErasedCustomers
    logged_merges: LoggedMerges

    @classmethod
    async def of_run(
        cls,
        store: Sessions,
        vault: Vault,
        vendors: Vendors,
        temporal: Client,
        *,
        shop: ChaosShop,
        requests: Requests,
        webhooks: Sequence[Webhook] | None,
        **known: Any,
    ) -> Self:
        accepted = [one for one in webhooks or () if one.condition is Condition.HEALTHY]
        merged = {merge.customer: merge.kept for merge in requests.merges}
        adjusted = dict.fromkeys(shop.awards, 0)
        for adjustment in requests.adjustments:
            for answer in adjustment.final[:1]:
                adjusted[survivor(adjustment.customer, merged)] += answer.data["attributes"]["adjustment"]
        return await cls.gather(
            store,
            vendors.http,
            shop.domain,
            shop=shop,
            requests=requests,
            webhooks=webhooks or (),
            gone=await ErasedCustomers.read(store, vault, vendors.http, shop),
            logged_merges=await LoggedMerges.read(store, shop),
            costs=COSTS,
            caps=shop.caps,
            limits=shop.limits,
            removable={order.code for order in requests.orders},
            merged=merged,
            awards=_awards(shop, merged),
            adjusted=adjusted,
            purchases=requests.purchases,
            refunds=requests.refunds,
            channels=[one for one in Channel if one is not Channel.WEBHOOKS or webhooks is not None],
            erased={erasure.customer for erasure in requests.erasures},
            arrivals={Channel.WEBHOOKS: [Arrival(one.code, one.code, one.event, one.id) for one in accepted]},
            workflows={
                one.id: one.status.name if one.status else "?"
                async for one in temporal.list_workflows(f"{of_shop(shop)} AND {WORKFLOWS}")
            },
            **known,
        )

    @cached_property
    def purchase_of(self) -> dict[str, Purchase]:
        """Purchase request by redemption."""
        by_key = {purchase.key: purchase for purchase in self.purchases}
        known = {id_: by_key[key] for key, id_ in self.redemption_ids.items() if key in by_key}
        rows = ((self.row_of(purchase), purchase) for purchase in self.purchases if purchase.customer in self.erased)
        return known | {row.id: purchase for row, purchase in rows if row is not None}

    @cached_property
    def order_of(self) -> dict[str, Order]:
        """Order by redemption."""
        return {order.redemption_id: order for order in self.requests.orders}

    @cached_property
    def cancellation_of(self) -> dict[str, Cancellation]:
        """Cancellation by redemption."""
        return {one.redemption_id: one for one in self.requests.cancellations}

    @property
    def returned(self) -> frozenset[str]:
        refunded = CancelledOrderPolicy.REFUND_POINTS
        rewards = {redemption_id: self.ledger.by_id[redemption_id].reward_id for redemption_id in self.cancellation_of}
        return frozenset(one for one, reward in rewards.items() if CANCELLED.get(reward) is refunded)

    @cached_property
    def erasure_of(self) -> dict[str, Erasure]:
        """Erasure by customer."""
        return {erasure.customer: erasure for erasure in self.requests.erasures}

    def is_of_erasure(self, request: AnyRequest, answer: Answer) -> bool:
        """Whether the answer refuses a purchase as its customer is being erased, with the answers to earlier ones."""
        erasure = self.erasure_of.get(request.customer) if isinstance(request, Purchase) else None
        return erasure is not None and str(answer) == EXCLUDED and answer.ended >= erasure.sent_at

    def arrived(self, redemption_id: str) -> Mapping[Channel, Sequence[Arrival]]:
        """What receivers accepted of this redemption."""
        codes = {code.code for code in self.ledger.discount_codes if code.redemption_id == redemption_id}
        return {channel: [one for one in arrived if one.code in codes] for channel, arrived in self.arrivals.items()}

    @property
    def unanswered(self) -> Iterator[AnyRequest]:
        """Purchases and refunds that were executed, queued ones, and all adjustments, without a final answer."""
        for purchase in self.purchases:
            row = self.row_of(purchase)
            is_captured = row is not None and row.status.is_captured
            if not purchase.final and (is_captured or purchase.was_queued):
                yield purchase
        for refund in self.refunds:
            if refund.redemption_id in self.refund_rows and not refund.final:
                yield refund
        yield from (adjustment for adjustment in self.requests.adjustments if not adjustment.final)


def _awards(shop: ChaosShop, merged: Mapping[str, str]) -> dict[str, int]:
    """Points by customer. The awards of merged customers are those of the survivor."""
    points = dict.fromkeys(shop.awards, 0)
    for customer, awards in shop.awards.items():
        points[survivor(customer, merged)] += sum(award.points for award in awards)
    return points
