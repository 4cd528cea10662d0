"""Webhooks from Shopify."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator

# Without this, a number would be read as seconds since 1970.
Time = Annotated[AwareDatetime, BeforeValidator(datetime.fromisoformat)]


class Received(BaseModel):
    """`ignored`: the shop is unknown, or the topic is not processed."""

    status: Literal["accepted", "ignored"]
