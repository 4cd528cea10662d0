"""GET /v1/reward-history/{id}/receipt"""

from fastapi import APIRouter

from api.auth import Reader
from api.errors import ApiError
from api.openapi import READ, errors
from api.schemas.receipts import ReceiptDocument, receipt_resource
from api.schemas.reward_history import EntryId
from api.state import StateOf
from db.receipts import find_receipt

router = APIRouter(tags=["Reward history"])


@router.get(
    "/v1/reward-history/{entry_id}/receipt",
    summary="Retrieve the receipt of a redemption",
    responses=errors("reward_history_entry_not_found", *READ),
)
async def retrieve_receipt(entry_id: EntryId, caller: Reader, state: StateOf) -> ReceiptDocument:
    """Retrieve everything that happened to a redemption: steps with their times, lots drawn, deliveries, reversals.

    It is read from the ledger, so it stays complete however old the redemption is.
    """
    async with state.sessions() as session:
        receipt = await find_receipt(session, entry_id, shop_id=caller.shop.id)
    if receipt is None:
        raise ApiError("reward_history_entry_not_found", f"Reward history entry '{entry_id}' not found")
    return ReceiptDocument(data=receipt_resource(receipt))
