"""Create discount codes, and make sure that a released code can never be used.

Shopify has no idempotency key for discounts, so the code serves as one: it is stored before the first call, every call
uses the same code, and the discount is recognised by its fingerprint.
"""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.attempt import Attempt
from activities.credentials import store_of
from clients.outcomes import NotExecuted, Refused, Unknown
from clients.shopify import CodeTaken, FoundDiscount, Shopify, Store
from database import Sessions
from db import deliveries, discount_codes, points, redemptions, shops, transactions
from db.activity_log import log_redemption
from db.customers import lock_customer
from db.tables import DiscountCode, Redemption
from db.vault import Vault
from domain.activity_log import ActivityKind
from domain.discounts import CodeState, Discount, DiscountType, new_code
from domain.errors import RedemptionClosed
from domain.events import EventKind
from domain.redemptions import Standing, standing


@dataclass(frozen=True, kw_only=True)
class CodeRequest:
    """One code of one attempt, as it is requested from Shopify. The same on every call."""

    store: Store
    discount: Discount
    code_id: int


class Discounts:
    """Generates and voids discount codes."""

    def __init__(self, sessions: Sessions, vault: Vault, shopify: Shopify) -> None:
        self._sessions = sessions
        self._vault = vault
        self._shopify = shopify

    @activity.defn
    async def generate_discount_code(self, attempt: Attempt) -> None:
        """Create the code at Shopify, then capture. The commit of the capture is the pivot.

        Raises:
            RedemptionClosed: the points are released, or the deadline has passed. A created code is deleted.
            NotExecuted, Refused, Unknown: Shopify's outcome.
        """
        if await self._is_captured(attempt):
            return
        request = await self._load(attempt)
        requested_before = await self._count_request(request)
        shopify_id = await self._find_own(request) if requested_before else None
        if shopify_id is None:
            shopify_id = await self._create(request)
        if not await self._capture(attempt, request, shopify_id):
            await self._shopify.delete_discount(request.store, shopify_id)
            raise RedemptionClosed("the points were released before the code could be captured")

    @activity.defn
    async def void_discount_code(self, attempt: Attempt) -> bool:
        """Make sure that the attempt's code does not exist and cannot appear. Runs after the release.

        A creation with an unknown outcome may be committed late. A fence prevents that: a discount with the same code
        that has already expired, so that the late creation is rejected as a duplicate. Without an unknown outcome
        Shopify is not called.
        """
        async with self._sessions.begin() as session:
            code = await discount_codes.lock_current_code(session, attempt.redemption_id, attempt.number)
            if code is None or code.state is not CodeState.PLANNED:
                return True
            if code.unknown_outcomes == 0:
                code.state = CodeState.VOID
                return True
        request = await self._load(attempt)
        await self._fence(request)
        async with self._sessions.begin() as session:
            code = await discount_codes.lock_code(session, request.code_id)
            code.state = CodeState.FENCED
        return True

    async def _is_captured(self, attempt: Attempt) -> bool:
        async with self._sessions() as session:
            row = await redemptions.find_redemption(session, attempt.shop_id, attempt.redemption_id)
            if row is None:
                raise RedemptionClosed("there is no reservation")
            match standing(attempt.number, row_attempt=row.attempt, row_status=row.status):
                case Standing.CAPTURED:
                    return True
                case Standing.HELD:
                    if await transactions.now(session) >= row.deadline:
                        raise RedemptionClosed("the deadline has passed")
                    return False
                case _:
                    raise RedemptionClosed("the points were released")

    async def _load(self, attempt: Attempt) -> CodeRequest:
        async with self._sessions() as session:
            shop = await shops.get_shop(session, attempt.shop_id)
            row = await session.get_one(Redemption, attempt.redemption_id)
            code = await discount_codes.lock_current_code(session, attempt.redemption_id, attempt.number)
            assert code is not None, "a reservation has a planned code"
            store = store_of(self._vault, shop)
            return CodeRequest(store=store, discount=_discount(row, code.code), code_id=code.id)

    async def _count_request(self, request: CodeRequest) -> bool:
        """Count the request before it is made. Returns whether an earlier one has an unknown outcome."""
        async with self._sessions.begin() as session:
            code = await discount_codes.lock_code(session, request.code_id)
            if code.state is not CodeState.PLANNED:
                raise RedemptionClosed("the code was voided")
            code.unknown_outcomes += 1
            return code.unknown_outcomes > 1

    async def _create(self, request: CodeRequest) -> str:
        try:
            return await self._shopify.create_discount(request.store, request.discount)
        except CodeTaken:
            # Possible on a first request too: an earlier one may have been lost with its worker.
            shopify_id = await self._find_own(request)
            if shopify_id is None:
                raise Unknown("Shopify", "the code is taken, but cannot be read yet") from None
            return shopify_id
        except (NotExecuted, Refused):
            async with self._sessions.begin() as session:
                code = await discount_codes.lock_code(session, request.code_id)
                code.unknown_outcomes -= 1
            raise

    async def _find_own(self, request: CodeRequest) -> str | None:
        """Id of the discount that an earlier request created. None: there is none."""
        found = await self._shopify.find_discount(request.store, request.discount.code)
        if found is None:
            return None
        if found.matches(request.discount):
            return found.id
        await self._release_code(request, found)
        raise NotExecuted("Shopify", "another discount has this code; retrying with a new code")

    async def _release_code(self, request: CodeRequest, found: FoundDiscount) -> None:
        if found.is_fence_of(request.discount):
            raise RedemptionClosed("the code is fenced")
        if found.was_created_for(request.discount.redemption_id):
            # Created for this redemption, but changed since. The customer does not have it, so it can be replaced.
            await self._shopify.delete_discount(request.store, found.id)
            return
        async with self._sessions.begin() as session:
            code = await discount_codes.lock_code(session, request.code_id)
            if code.state is CodeState.PLANNED:
                shop = await shops.get_shop(session, code.shop_id)
                await _replace(session, code, prefix=shop.code_prefix)

    async def _capture(self, attempt: Attempt, request: CodeRequest, shopify_id: str) -> bool:
        async with self._sessions.begin() as session:
            # The customer first, like everything that moves points. The lock also makes the balance exact.
            await lock_customer(session, attempt.shop_id, attempt.customer_id)
            code = await discount_codes.lock_code(session, request.code_id)
            if code.state is CodeState.LIVE:
                # Captured by an overlapping execution of this activity.
                return code.shopify_id == shopify_id
            now = await transactions.now(session)
            balance = await points.balance(session, attempt.shop_id, attempt.customer_id, now=now)
            if code.state is not CodeState.PLANNED or not await redemptions.capture(
                session, attempt.redemption_id, attempt.number, now=now, balance=balance
            ):
                return False
            code.state, code.shopify_id = CodeState.LIVE, shopify_id
            row = await session.get_one(Redemption, attempt.redemption_id)
            facts = {"reward_id": row.reward_id, "reward_name": row.reward_name, "points_spent": row.points_spent}
            log_redemption(session, row, ActivityKind.REWARD_REDEEMED, facts)
            deliveries.add_deliveries(session, row, attempt.channels, EventKind.REWARD_REDEEMED)
            return True

    async def _fence(self, request: CodeRequest) -> None:
        found = await self._shopify.find_discount(request.store, request.discount.code)
        if found is not None and found.was_created_for(request.discount.redemption_id):
            await self._shopify.delete_discount(request.store, found.id)
        elif found is not None:
            # Our fence, or another discount: a late creation is rejected either way.
            return
        try:
            await self._shopify.fence_code(request.store, request.discount)
        except CodeTaken:
            raise Unknown("Shopify", "the code appeared while it was being fenced; retrying") from None


async def _replace(session: AsyncSession, code: DiscountCode, *, prefix: str) -> None:
    code.state = CodeState.FOREIGN
    await session.flush()
    ids = {"shop_id": code.shop_id, "redemption_id": code.redemption_id, "attempt": code.attempt}
    session.add(DiscountCode(**ids, code=new_code(prefix)))


def _discount(row: Redemption, code: str) -> Discount:
    return Discount(
        code=code,
        redemption_id=row.id,
        title=row.reward_name,
        type=DiscountType(row.discount_type),
        amount=row.discount_amount,
        minimum_spend=row.minimum_spend,
        product_variant_id=row.product_variant_id,
        customer_id=row.customer_id,
        starts_at=row.created_at,
        ends_at=row.expires_at,
        combines_with=tuple(row.combines_with),
    )
