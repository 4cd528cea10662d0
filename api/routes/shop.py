"""/v1/shop"""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from sqlalchemy.ext.asyncio import AsyncSession

from api import idempotency
from api.auth import Admin, Reader
from api.bodies import json_body
from api.openapi import ADMIN, BODY, READ, body_schema, errors
from api.schemas.shops import ShopChanges, ShopDocument, shop_resource
from api.state import StateOf
from db.idempotency import DecidedAnswer, request_fingerprint
from services.idempotency import answer_once
from services.shops import change_shop

router = APIRouter(tags=["Shop"])


@router.get("/v1/shop", summary="Retrieve the shop", responses=errors(*READ))
async def retrieve_shop(caller: Reader) -> ShopDocument:
    """Retrieve the settings of the key's shop, and which credentials are set."""
    return ShopDocument(data=shop_resource(caller.shop))


@router.put(
    "/v1/shop",
    summary="Update the shop",
    response_model=ShopDocument,
    responses=errors(*BODY, *ADMIN, "idempotency_key_reused"),
    openapi_extra=body_schema(ShopChanges, {"enroll_customers": True, "on_order_cancelled": "refund_points"}),
)
async def update_shop(
    key: idempotency.Key, caller: Admin, body: Annotated[ShopChanges, Depends(json_body(ShopChanges))], state: StateOf
) -> Response:
    """Change the fields in the body; the others stay as they are. Needs a key of scope `admin`.

    A currency is refused that cannot express the amounts of the shop's rewards. Amounts are not converted.
    """

    async def work(session: AsyncSession) -> tuple[DecidedAnswer, None]:
        shop = await change_shop(session, caller.shop.id, body, actor=caller.name)
        return DecidedAnswer(status=200, body=ShopDocument(data=shop_resource(shop)).model_dump_json()), None

    fingerprint = request_fingerprint("shop", body.model_dump_json(exclude_unset=True))
    return idempotency.response(
        key, await answer_once(state.sessions, caller.shop, work, key=key, fingerprint=fingerprint)
    )
