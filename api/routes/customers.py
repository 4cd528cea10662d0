"""/v1/customers"""

import hashlib
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from api import idempotency
from api.auth import Admin, Caller, Reader, Writer
from api.bodies import LINES_TYPES, json_body, read_lines
from api.errors import ApiError
from api.openapi import ADMIN, BODY, READ, WRITE, body_schema, errors
from api.schemas.customers import (
    BulkAttributes,
    BulkResultDocument,
    BulkResultResource,
    CustomerChanges,
    CustomerDocument,
    CustomerIdentifier,
    CustomerList,
    CustomerQuery,
    CustomerUpsert,
    customer_resource,
)
from api.state import StateOf
from db import customers
from db.idempotency import DecidedAnswer, request_fingerprint
from db.tables import Customer
from services.customers import MAX_LINES, upsert_customer, upsert_lines
from services.idempotency import answer_once, answer_when_done

router = APIRouter(tags=["Customers"])


async def find_customer(session: AsyncSession, caller: Caller, identifier: str, *, locked: bool = False) -> Customer:
    """A customer of the caller's shop. Raises the error 404 if there is none."""
    return _found(await customers.find_customer(session, caller.shop.id, identifier, locked=locked), identifier)


async def find_member(session: AsyncSession, caller: Caller, identifier: str) -> Customer:
    """Whose points a purchase spends, see `db.customers.find_member`. Raises the error 404 if there is no customer."""
    return _found(await customers.find_member(session, caller.shop.id, identifier), identifier)


def _found(row: Customer | None, identifier: str) -> Customer:
    if row is None:
        raise ApiError("customer_not_found", f"Customer '{identifier}' not found")
    return row


_LINES = """{"shopify_customer_id": "6789012345", "email": "jane@shopper.io"}
{"shopify_customer_id": "6789012346", "first_name": "Sam"}
"""


# Before the path of one customer, of which `bulk` would be the id.
@router.post(
    "/v1/customers/bulk",
    summary="Create or update many customers",
    response_model=BulkResultDocument,
    responses=errors(*BODY, *ADMIN, "idempotency_key_reused"),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {media_type: {"schema": {"type": "string"}, "example": _LINES} for media_type in LINES_TYPES},
        }
    },
)
async def write_customers(request: Request, key: idempotency.Key, caller: Admin, state: StateOf) -> Response:
    """Create or update a customer for each line of JSON Lines, as `POST /v1/customers` does.

    Needs a key of scope `admin`. At most 20,000 lines and 8 MiB. Each line has its own outcome; one that fails changes
    nothing. The lines are written in short transactions: a request that was interrupted can be repeated.
    """
    lines = await read_lines(request, at_most=MAX_LINES)

    async def work() -> DecidedAnswer:
        result = await upsert_lines(state.sessions, caller.shop.id, lines, actor=caller.name)
        resource = BulkResultResource(attributes=BulkAttributes.model_validate(result))
        return DecidedAnswer(status=200, body=BulkResultDocument(data=resource).model_dump_json())

    fingerprint = request_fingerprint("customers", hashlib.sha256(await request.body()).hexdigest())
    return idempotency.response(
        key, await answer_when_done(state.sessions, caller.shop, work, key=key, fingerprint=fingerprint)
    )


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
        if row.is_closed:
            raise ApiError("customer_excluded", "Customer was erased or merged, and stays excluded")
        await customers.change(session, row, body.given, actor=caller.name)
        [profile] = await customers.profiles(session, caller.shop.id, [row])
    return CustomerDocument(data=customer_resource(profile))


@router.post(
    "/v1/customers",
    status_code=201,
    summary="Create or update a customer",
    response_model=CustomerDocument,
    responses={
        200: {"model": CustomerDocument, "description": "The customer existed and was updated."},
        **errors(*BODY, *ADMIN, "customer_excluded", "customer_email_taken", "idempotency_key_reused"),
    },
    openapi_extra=body_schema(CustomerUpsert, {"shopify_customer_id": "6789012345", "email": "jane@shopper.io"}),
)
async def write_customer(
    key: idempotency.Key,
    caller: Admin,
    body: Annotated[CustomerUpsert, Depends(json_body(CustomerUpsert))],
    state: StateOf,
) -> Response:
    """Create the customer with this Shopify id, 201, or change the fields in the body, 200.

    Points are added by adjustments. Needs a key of scope `admin`.
    """

    async def work(session: AsyncSession) -> tuple[DecidedAnswer, str]:
        row, is_new = await upsert_customer(session, caller.shop.id, body, actor=caller.name)
        [profile] = await customers.profiles(session, caller.shop.id, [row])
        document = CustomerDocument(data=customer_resource(profile))
        return DecidedAnswer(status=201 if is_new else 200, body=document.model_dump_json()), row.id

    fingerprint = request_fingerprint("customer", body.model_dump_json(exclude_unset=True))
    return idempotency.response(
        key, await answer_once(state.sessions, caller.shop, work, key=key, fingerprint=fingerprint)
    )
