"""/v1/customers/{identifier}/activity"""

from typing import Annotated

from fastapi import APIRouter, Query

from api.auth import Reader
from api.openapi import READ, errors
from api.routes.customers import find_customer
from api.schemas.activity import ActivityList, ActivityQuery, activity_entry
from api.schemas.customers import CustomerIdentifier
from api.state import StateOf
from db.activity_log import page_of_activity

router = APIRouter(tags=["Customers"])


@router.get(
    "/v1/customers/{identifier}/activity",
    summary="List a customer's activity",
    responses=errors("invalid_request", "customer_not_found", *READ),
)
async def list_activity(
    identifier: CustomerIdentifier, query: Annotated[ActivityQuery, Query()], caller: Reader, state: StateOf
) -> ActivityList:
    """List what happened to a customer and their redemptions, newest first, and who asked for it."""
    async with state.sessions() as session:
        customer = await find_customer(session, caller, identifier)
        rows, total = await page_of_activity(session, customer, query.page())
    return ActivityList(data=[activity_entry(row) for row in rows], meta=query.meta(total))
