"""The message that every step of a redemption takes."""

from collections.abc import Sequence
from datetime import datetime
from typing import Self

from pydantic import BaseModel

from domain.channels import Channel
from domain.failures import FailureCode


class Failure(BaseModel):
    """Why an attempt failed. `reason`: in the words of the vendor or of Pointsaga, without personal data and keys."""

    code: FailureCode
    reason: str


class Attempt(BaseModel):
    """One attempt at one redemption. Contains ids only, as it is stored in the workflow's history.

    Attributes:
        number: 1 for the first attempt. A new attempt follows one whose points were released.
        customer_id: Shopify's numeric customer id.
        deadline: before the pivot the attempt is compensated at this time.
        channels: the channels that the redemption is delivered on.
        retry_channels: the channels whose failed deliveries a recovery workflow retries.
        order_id: the cancelled order, for the reissue of a code.
        points_to_spend: as the customer chose it, for a reward with variable pricing.
        failure: why the attempt is compensated. None before the compensation.
        is_queued: the client does not wait for the code, which is created at its turn in the shop's Shopify budget.
        reserve_by: until when a queued purchase can reserve its points, as the client waits for that. None: `deadline`.
    """

    shop_id: int
    shop_domain: str
    redemption_id: str
    number: int
    customer_id: str
    reward_id: str
    deadline: datetime
    channels: list[Channel]
    retry_channels: Sequence[Channel] = ()
    failure: Failure | None = None
    points_to_spend: int | None = None
    is_queued: bool = False
    reserve_by: datetime | None = None
    order_id: str | None = None

    def of(self, customer_id: str) -> Self:
        """The attempt of this customer: the surviving one, if the customer was merged since."""
        return self if customer_id == self.customer_id else self.model_copy(update={"customer_id": customer_id})
