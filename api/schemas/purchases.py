"""Purchases."""

from typing import Annotated

from pydantic import StringConstraints

from api.schemas.documents import PlainText, Request


class PurchaseRequest(Request):
    """The customer who purchases: `customer_identifier` is the Shopify customer id or the email address."""

    customer_identifier: Annotated[PlainText, StringConstraints(max_length=320)]
