"""Steps that make a discount code and make it impossible.

Shopify has no idempotency key for discounts, so the code itself is the key: stored before the first call, asked for
again with the same code, and recognised by its fingerprint.
"""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.attempt import Attempt
from activities.credentials import store_of
from clients.outcomes import NotExecuted, Refused, Unknown
from clients.shopify import CodeTaken, FoundDiscount, Shopify, Store
from database import Sessions
from db import customers, deliveries, discount_codes, points, redemptions, shops, transactions
from db.tables import DiscountCode, Redemption
from db.vault import Vault
from domain.discounts import Discount, DiscountType, new_code
from domain.errors import RedemptionClosed
from domain.events import EventKind
from domain.redemptions import Standing, standing


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What Shopify is asked about: one code of one attempt, the same on every try."""

    store: Store
    discount: Discount
    code_id: int


class Discounts:
    """Generates discount codes and voids them."""

    def __init__(self, sessions: Sessions, vault: Vault, shopify: Shopify) -> None:
        self._sessions = sessions
        self._vault = vault
        self._shopify = shopify

    @activity.defn
    async def generate_discount_code(self, attempt: Attempt) -> None:
        """Make the code at Shopify, then capture. The capture's commit is the pivot.

        Raises:
            RedemptionClosed: the reservation is gone or late; what was made is voided.
            NotExecuted, Refused, Unknown: what Shopify answered.
        """
        if await self._is_captured(attempt):
            return
        ask = await self._load(attempt)
        asked_before = await self._count(ask)
        shopify_id = await self._find_ours(ask) if asked_before else None
        if shopify_id is None:
            shopify_id = await self._create(ask)
        if not await self._capture(attempt, ask, shopify_id):
            await self._shopify.delete_discount(ask.store, shopify_id)
            raise RedemptionClosed("the points were released before the code could be captured")

    @activity.defn
    async def void_discount_code(self, attempt: Attempt) -> bool:
        """Make sure that the attempt's code does not exist and can never appear. Comes after the release.

        A creation whose answer never came may be committed late. So the code is occupied by a discount that has
        already expired: the late one is then refused as a duplicate. Asks Shopify nothing when nothing is in doubt.
        """
        async with self._sessions.begin() as session:
            code = await discount_codes.current_code(session, attempt.redemption_id, attempt.number)
            if code is None or code.state != "planned":
                return True
            if code.unanswered == 0:
                code.state = "void"
                return True
        ask = await self._load(attempt)
        await self._fence(ask)
        async with self._sessions.begin() as session:
            code = await discount_codes.lock_code(session, ask.code_id)
            code.state = "fenced"
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

    async def _load(self, attempt: Attempt) -> Ask:
        async with self._sessions() as session:
            shop = await shops.shop_by_id(session, attempt.shop_id)
            row = await session.get_one(Redemption, attempt.redemption_id)
            code = await discount_codes.current_code(session, attempt.redemption_id, attempt.number)
            assert code is not None, "a reservation plans its code"
            return Ask(store=store_of(self._vault, shop), discount=_discount(row, code.code), code_id=code.id)

    async def _count(self, ask: Ask) -> bool:
        """Note that Shopify is about to be asked for the code; tells whether an earlier ask is unanswered."""
        async with self._sessions.begin() as session:
            code = await discount_codes.lock_code(session, ask.code_id)
            if code.state != "planned":
                raise RedemptionClosed("the code was voided")
            code.unanswered += 1
            return code.unanswered > 1

    async def _create(self, ask: Ask) -> str:
        try:
            return await self._shopify.create_discount(ask.store, ask.discount)
        except CodeTaken:
            # Also on what looks like the first try: an earlier one may have been lost with its worker.
            shopify_id = await self._find_ours(ask)
            if shopify_id is None:
                raise Unknown("Shopify", "the code is taken, but can not be read yet") from None
            return shopify_id
        except (NotExecuted, Refused):
            async with self._sessions.begin() as session:
                code = await discount_codes.lock_code(session, ask.code_id)
                code.unanswered -= 1
            raise

    async def _find_ours(self, ask: Ask) -> str | None:
        """The id of the discount that an earlier ask made; None when there is none."""
        found = await self._shopify.find_discount(ask.store, ask.discount.code)
        if found is None:
            return None
        if found.matches(ask.discount):
            return found.id
        await self._give_way(ask, found)
        raise NotExecuted("Shopify", "another discount has this code; trying again without it")

    async def _give_way(self, ask: Ask, found: FoundDiscount) -> None:
        if found.is_fence_of(ask.discount):
            raise RedemptionClosed("the code is fenced")
        if found.was_created_for(ask.discount.redemption_id):
            # Ours, but no longer as it was asked for. Nobody has seen it, so it can be made anew.
            await self._shopify.delete_discount(ask.store, found.id)
            return
        async with self._sessions.begin() as session:
            code = await discount_codes.lock_code(session, ask.code_id)
            if code.state == "planned":
                await _replace(session, code, prefix=(await shops.shop_by_id(session, code.shop_id)).code_prefix)

    async def _capture(self, attempt: Attempt, ask: Ask, shopify_id: str) -> bool:
        async with self._sessions.begin() as session:
            # The customer first, as everything that moves points does; it makes the balance exact, too.
            await customers.lock_customer(session, attempt.shop_id, attempt.customer_id)
            code = await discount_codes.lock_code(session, ask.code_id)
            if code.state == "live":
                # An overlapping try of this attempt has captured this very code.
                return code.shopify_id == shopify_id
            now = await transactions.now(session)
            balance = await points.balance(session, attempt.shop_id, attempt.customer_id, now=now)
            if code.state != "planned" or not await redemptions.capture(
                session, attempt.redemption_id, attempt.number, now=now, balance=balance
            ):
                return False
            code.state, code.shopify_id = "live", shopify_id
            row = await session.get_one(Redemption, attempt.redemption_id)
            redemptions.log_redemption(session, row)
            deliveries.add_deliveries(session, row, attempt.channels, EventKind.REWARD_REDEEMED)
            return True

    async def _fence(self, ask: Ask) -> None:
        found = await self._shopify.find_discount(ask.store, ask.discount.code)
        if found is not None and found.was_created_for(ask.discount.redemption_id):
            await self._shopify.delete_discount(ask.store, found.id)
        elif found is not None:
            # Our fence already, or somebody else's discount: either way the code can not become ours any more.
            return
        try:
            await self._shopify.fence_code(ask.store, ask.discount)
        except CodeTaken:
            raise Unknown("Shopify", "the code appeared while it was being fenced; looking again") from None


async def _replace(session: AsyncSession, code: DiscountCode, *, prefix: str) -> None:
    code.state = "foreign"
    await session.flush()
    fresh = new_code(prefix)
    session.add(DiscountCode(shop_id=code.shop_id, redemption_id=code.redemption_id, attempt=code.attempt, code=fresh))


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
