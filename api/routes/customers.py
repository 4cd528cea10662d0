"""The endpoints that tell of customers, and the one that changes them."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Caller, Reader, Writer
from api.errors import ApiError
from api.openapi import BODY, READ, WRITE, errors
from api.paging import ListQuery
from api.parameters import CustomerIdentifier
from api.requests import CustomerChanges, PlainText, body_schema, json_body
from api.schemas.customers import CustomerDocument, CustomerList, customer_resource
from api.state import StateOf
from db import customers
from db.tables import Customer

router = APIRouter(tags=["Customers"])


class CustomerQuery(ListQuery):
    """What the list of customers can be asked for."""

    sort: Literal[
        "created_at",
        "-created_at",
        "points",
        "-points",
        "lifetime_points",
        "-lifetime_points",
        "redeemed_points",
        "-redeemed_points",
    ] = "-created_at"
    email: Annotated[
        PlainText | None,
        Field(alias="filter[email]", description="Any part of the address, in any case."),
    ] = None
    loyalty_status: Annotated[Literal["member", "excluded"] | None, Field(alias="filter[loyalty_status]")] = None


async def customer_of(session: AsyncSession, caller: Caller, identifier: str, *, locked: bool = False) -> Customer:
    """The customer of the caller's shop that a path names.

    Raises:
        ApiError: there is none.
    """
    row = await customers.find_customer(session, caller.shop.id, identifier, locked=locked)
    if row is None:
        raise ApiError("customer_not_found", f"Customer '{identifier}' not found")
    return row


@router.get("/v1/customers", summary="List customers", responses=errors("invalid_request", *READ))
async def list_customers(query: Annotated[CustomerQuery, Query()], caller: Reader, state: StateOf) -> CustomerList:
    """The shop's customers.

    Sorting by `points` counts expired points until they are written off, within minutes; `current_points` never does.
    """
    excluded = None if query.loyalty_status is None else query.loyalty_status == "excluded"
    async with state.sessions() as session:
        rows, total = await customers.page_of_customers(
            session, caller.shop.id, query.page(), email=query.email, excluded=excluded
        )
        found = await customers.profiles(session, caller.shop.id, rows)
    return CustomerList(data=[customer_resource(profile) for profile in found], meta=query.meta(total))


@router.get(
    "/v1/customers/{identifier}",
    summary="Retrieve a customer",
    responses=errors("invalid_request", "customer_not_found", *READ),
)
async def retrieve_customer(
    identifier: CustomerIdentifier,
    caller: Reader,
    state: StateOf,
    *,
    exclude_vip: Annotated[bool, Query(description="Answer without the VIP tier: `vip_tier` is null.")] = False,
) -> CustomerDocument:
    """One customer, by Shopify id or e-mail address, with the points they have, ever earned and have spent."""
    async with state.sessions() as session:
        row = await customer_of(session, caller, identifier)
        [profile] = await customers.profiles(session, caller.shop.id, [row])
    return CustomerDocument(data=customer_resource(profile, without_tier=exclude_vip))


@router.put(
    "/v1/customers/{identifier}",
    summary="Update a customer",
    responses=errors(*BODY, *WRITE, "customer_excluded", "customer_not_found"),
    openapi_extra=body_schema(CustomerChanges, {"date_of_birth": "1990-05-15", "is_excluded": False}),
)
async def update_customer(
    identifier: CustomerIdentifier,
    caller: Writer,
    body: Annotated[CustomerChanges, Depends(json_body(CustomerChanges))],
    state: StateOf,
) -> CustomerDocument:
    """Change what the body names; the rest stays.

    `is_excluded` is read as `loyalty_status`. An excluded customer keeps their points and can spend none.
    """
    async with state.sessions.begin() as session:
        row = await customer_of(session, caller, identifier, locked=True)
        if row.erased_at is not None:
            raise ApiError("customer_excluded", "Customer was erased, and is excluded for good")
        await customers.change(session, row, body.changes)
        [profile] = await customers.profiles(session, caller.shop.id, [row])
    return CustomerDocument(data=customer_resource(profile))
