"""Steps that make a discount code and make it impossible.

Shopify has no idempotency key for discounts, so the code itself is the key: stored before the first call, asked for
again with the same code, and recognised by its fingerprint.
"""

from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.attempt import Attempt
from clients.outcomes import NotExecuted, Refused, Unknown
from clients.shopify import CodeTaken, Shopify, Store
from db import catalogue, points, redemptions
from db.engine import Sessions
from db.tables import DiscountCode, Redemption
from db.vault import Vault
from domain.discounts import Discount, DiscountType, new_code
from domain.errors import RedemptionClosed
from domain.redemptions import CAPTURED, Standing, standing


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
        asked_before = await self._count_ask(attempt)
        if asked_before is None:
            return
        store, discount = await self._load(attempt)
        shopify_id = await self._find_ours(attempt, store, discount) if asked_before else None
        if shopify_id is None:
            shopify_id = await self._create(attempt, store, discount)
        if not await self._capture(attempt, shopify_id):
            await self._shopify.delete_discount(store, shopify_id)
            raise RedemptionClosed("the points were released before the code could be captured")

    @activity.defn
    async def void_discount_code(self, attempt: Attempt) -> bool:
        """Make sure that the attempt's code does not exist and can never appear. Comes after the release.

        A creation whose answer never came may be committed late. So the code is occupied by a discount that has
        already expired: the late one is then refused as a duplicate. Asks Shopify nothing when nothing is in doubt.
        """
        async with self._sessions.begin() as session:
            code = await redemptions.current_code(session, attempt.redemption_id, attempt.number)
            if code is None or code.state != "planned":
                return True
            if code.unanswered == 0:
                code.state = "void"
                return True
        store, discount = await self._load(attempt)
        await self._fence(store, discount)
        await self._settle(attempt, state="fenced")
        return True

    async def _count_ask(self, attempt: Attempt) -> bool | None:
        """Note that Shopify is about to be asked; tells whether it may have been before, or None when all is done."""
        async with self._sessions.begin() as session:
            row = await redemptions.find_redemption(session, attempt.shop_id, attempt.redemption_id)
            if row is None:
                raise RedemptionClosed("there is no reservation")
            match standing(attempt.number, row_attempt=row.attempt, row_status=row.status):
                case Standing.CAPTURED:
                    return None
                case Standing.HELD:
                    if await catalogue.now(session) >= row.deadline:
                        raise RedemptionClosed("the deadline has passed")
                case _:
                    raise RedemptionClosed("the points were released")
            code = await self._code(session, attempt)
            code.unanswered += 1
            return code.unanswered > 1

    async def _load(self, attempt: Attempt) -> tuple[Store, Discount]:
        async with self._sessions() as session:
            shop = await catalogue.shop_by_id(session, attempt.shop_id)
            row = await session.get_one(Redemption, attempt.redemption_id)
            code = await self._code(session, attempt)
            if "shopify" not in shop.credentials:
                raise Refused("shopify", "the shop has no Shopify access token", alarm=True)
            store = Store(shop.domain, self._vault.open(shop, "shopify", "access_token"))
            return store, discount_of(row, code.code)

    async def _code(self, session: AsyncSession, attempt: Attempt) -> DiscountCode:
        code = await redemptions.current_code(session, attempt.redemption_id, attempt.number)
        assert code is not None, "a reservation plans its code"
        return code

    async def _create(self, attempt: Attempt, store: Store, discount: Discount) -> str:
        try:
            return await self._shopify.create_discount(store, discount)
        except CodeTaken:
            # Also on what looks like the first try: an earlier one may have been lost with its worker.
            shopify_id = await self._find_ours(attempt, store, discount)
            if shopify_id is None:
                raise Unknown("shopify", "the code is taken, but can not be read yet") from None
            return shopify_id
        except (NotExecuted, Refused):
            await self._answered(attempt)
            raise

    async def _find_ours(self, attempt: Attempt, store: Store, discount: Discount) -> str | None:
        """The id of the discount that an earlier ask made; None when there is none."""
        found = await self._shopify.find_discount(store, discount.code)
        if found is None:
            return None
        if found.is_the_work_of(discount):
            return found.id
        await self._replace_code(attempt)
        raise NotExecuted("shopify", "somebody else has a discount with this code; trying a new code")

    async def _answered(self, attempt: Attempt) -> None:
        async with self._sessions.begin() as session:
            code = await self._code(session, attempt)
            code.unanswered -= 1

    async def _replace_code(self, attempt: Attempt) -> None:
        async with self._sessions.begin() as session:
            shop = await catalogue.shop_by_id(session, attempt.shop_id)
            code = await self._code(session, attempt)
            code.state = "foreign"
            await session.flush()
            fresh = new_code(shop.code_prefix)
            session.add(
                DiscountCode(shop_id=shop.id, redemption_id=code.redemption_id, attempt=code.attempt, code=fresh)
            )

    async def _capture(self, attempt: Attempt, shopify_id: str) -> bool:
        async with self._sessions.begin() as session:
            now = await catalogue.now(session)
            balance = await points.balance(session, attempt.shop_id, attempt.customer_id, now=now)
            won = await redemptions.capture(session, attempt.redemption_id, attempt.number, now=now, balance=balance)
            row = await session.get_one(Redemption, attempt.redemption_id)
            if won:
                code = await self._code(session, attempt)
                code.state, code.shopify_id = "live", shopify_id
                redemptions.log_redemption(session, row)
                redemptions.add_deliveries(session, row, attempt.channels)
            # An overlapping try of this same attempt may have captured this same code first: that is a success too.
            return won or (row.status in CAPTURED and row.attempt == attempt.number)

    async def _fence(self, store: Store, discount: Discount) -> None:
        found = await self._shopify.find_discount(store, discount.code)
        if found is not None and found.is_the_work_of(discount):
            await self._shopify.delete_discount(store, found.id)
        elif found is not None:
            # Our fence already, or somebody else's discount: either way the code can not become ours any more.
            return
        try:
            await self._shopify.occupy_code(store, discount)
        except CodeTaken:
            raise Unknown("shopify", "the code appeared while it was being fenced; looking again") from None

    async def _settle(self, attempt: Attempt, *, state: str) -> None:
        async with self._sessions.begin() as session:
            code = await self._code(session, attempt)
            code.state = state


def discount_of(row: Redemption, code: str) -> Discount:
    """What Shopify is asked for: the same on every try, as all of it is stored with the redemption."""
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
