"""/v1/customers"""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Caller, Reader, Writer
from api.bodies import json_body
from api.errors import ApiError
from api.openapi import BODY, READ, WRITE, body_schema, errors
from api.schemas.customers import (
    CustomerChanges,
    CustomerDocument,
    CustomerIdentifier,
    CustomerList,
    CustomerQuery,
    customer_resource,
)
from api.state import StateOf
from db import customers
from db.tables import Customer

router = APIRouter(tags=["Customers"])


async def find_customer(session: AsyncSession, caller: Caller, identifier: str, *, locked: bool = False) -> Customer:
    """A customer of the caller's shop. Raises the error 404 if there is none."""
    row = await customers.find_customer(session, caller.shop.id, identifier, locked=locked)
    if row is None:
        raise ApiError("customer_not_found", f"Customer '{identifier}' not found")
    return row


@router.get("/v1/customers", summary="List customers", responses=errors("invalid_request", *READ))
async def list_customers(query: Annotated[CustomerQuery, Query()], caller: Reader, state: StateOf) -> CustomerList:
    """List the shop's customers.

    `current_points` has no expired points. The sort order by `points` counts them until they are written off, hourly.
    """
    async with state.sessions() as session:
        rows, total = await customers.page_of_customers(
            session, caller.shop.id, query.page(), email=query.email, excluded=query.is_excluded
        )
        profiles = await customers.profiles(session, caller.shop.id, rows)
    return CustomerList(data=[customer_resource(profile) for profile in profiles], meta=query.meta(total))


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
    exclude_vip: Annotated[bool, Query(description="Leave out the VIP tier: `vip_tier` is null.")] = False,
) -> CustomerDocument:
    """Retrieve a customer by Shopify id or email address, with current, lifetime and redeemed points."""
    async with state.sessions() as session:
        row = await find_customer(session, caller, identifier)
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
    """Change the fields in the body; the others stay as they are.

    `is_excluded` sets `loyalty_status`. An excluded customer keeps their points and cannot spend them.
    """
    async with state.sessions.begin() as session:
        row = await find_customer(session, caller, identifier, locked=True)
        if row.erased_at is not None:
            raise ApiError("customer_excluded", "Customer was erased and stays excluded")
        await customers.change(session, row, body.given, actor=caller.name)
        [profile] = await customers.profiles(session, caller.shop.id, [row])
    return CustomerDocument(data=customer_resource(profile))
