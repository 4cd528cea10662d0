"""Purchases."""

from typing import Annotated

from pydantic import Field, StringConstraints

from api.schemas.documents import PlainText, Request
from domain.points import MAX_POINTS


class PurchaseRequest(Request):
    """The customer who purchases: `customer_identifier` is the Shopify customer id or the email address.

    `points_to_spend`: for a reward with variable pricing, and only for one.
    """

    customer_identifier: Annotated[PlainText, StringConstraints(max_length=320)]
    points_to_spend: Annotated[int, Field(ge=0, le=MAX_POINTS, examples=[1_500])] | None = None
