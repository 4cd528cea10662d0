"""/v1/customers/{identifier}/earning-history"""

from typing import Annotated

from fastapi import APIRouter, Query

from api.auth import Reader
from api.openapi import READ, errors
from api.routes.customers import find_customer
from api.schemas.customers import CustomerIdentifier
from api.schemas.earning_history import EarningHistoryList, EarningQuery, earning_history_entry
from api.state import StateOf
from db.histories import page_of_earnings
from domain.points import EarningStatus

router = APIRouter(tags=["Customers"])


@router.get(
    "/v1/customers/{identifier}/earning-history",
    summary="List a customer's earning history",
    responses=errors("invalid_request", "customer_not_found", *READ),
)
async def list_earning_history(
    identifier: CustomerIdentifier, query: Annotated[EarningQuery, Query()], caller: Reader, state: StateOf
) -> EarningHistoryList:
    """List every award and adjustment. `points` is negative where points were deducted."""
    async with state.sessions() as session:
        customer = await find_customer(session, caller, identifier)
        statuses = [query.status] if query.status else list(EarningStatus)
        rows, total = await page_of_earnings(session, customer, query.page(), statuses=statuses)
    return EarningHistoryList(data=[earning_history_entry(*row) for row in rows], meta=query.meta(total))
