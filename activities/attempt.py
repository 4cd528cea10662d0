"""The message that every step of a redemption takes."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel

from domain.channels import Channel


class Attempt(BaseModel):
    """One attempt at one redemption. Holds ids only, as it stays in the workflow's history.

    Attributes:
        number: 1 for the first; a new attempt is made when the one before gave the points back.
        customer_id: Shopify's numeric customer id.
        deadline: before the pivot the attempt gives up at this time.
        channels: where the redemption is announced.
        again: those of them to try although they refused before; an operator's wish when a run that is gone is
            followed by another.
    """

    shop_id: int
    shop_domain: str
    redemption_id: str
    number: int
    customer_id: str
    reward_id: str
    deadline: datetime
    channels: list[Channel]
    again: Sequence[Channel] = ()
