"""The tables. Points are integers, times are UTC, and everything belongs to one shop."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, synonym

from domain.events import EventKind
from domain.redemptions import ACTIVE, STATUSES
from domain.refunds import STATES
from domain.subscriptions import STATES as WEBHOOK_STATES

EARNING_STATUSES = ("pending", "approved", "rejected")

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """What all tables share: names of constraints, and times with a zone."""

    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: DateTime(timezone=True),
        timedelta: Interval(),
        Decimal: Numeric(12, 2),
        str: String(),
        dict[str, Any]: JSONB(),
        dict[str, str]: JSONB(),
        list[str]: JSONB(),
    }


def _now() -> Mapped[datetime]:
    return mapped_column(server_default=func.now())


def _updated() -> Mapped[datetime]:
    return mapped_column(server_default=func.now(), onupdate=func.now())


def _one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def _personal(erased: object = None, **column: Any) -> Mapped[Any]:
    """A column that can tell who somebody is, and what is left in it when they are erased."""
    return mapped_column(info={"erased": erased}, **column)


def _of_customer() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["shop_id", "customer_id"], ["customers.shop_id", "customers.id"])


class Shop(Base):
    """A merchant's shop, and how Pointsaga speaks for it."""

    __tablename__ = "shops"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    domain: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    currency: Mapped[str] = mapped_column(String(3))
    code_prefix: Mapped[str] = mapped_column(server_default="MAGE")
    release_grace: Mapped[timedelta] = mapped_column(server_default=text("interval '7 days'"))
    """How long points that come back to an expired lot can still be spent."""
    credentials: Mapped[dict[str, str]] = mapped_column(server_default=text("'{}'"))
    """Vendor → its credentials, encrypted. A vendor that is absent is not configured."""
    customers: Mapped[int] = mapped_column(server_default=text("0"))
    """How many members there are, counted by each import: nothing else adds any."""
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _updated()


class ApiKey(Base):
    """A key of one shop. Only its hash is kept."""

    __tablename__ = "api_keys"
    __table_args__ = (_one_of("scope", ("full", "read_only")),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id"))
    key_hash: Mapped[bytes] = mapped_column(LargeBinary(), unique=True)
    scope: Mapped[str]
    label: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[datetime] = _now()
    revoked_at: Mapped[datetime | None]


class VipTier(Base):
    """A level that customers reach; some rewards are only for one."""

    __tablename__ = "vip_tiers"

    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id"), primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    description: Mapped[str | None]
    points_required: Mapped[int]
    """Lifetime points that lead to it."""
    points_multiplier: Mapped[Decimal] = mapped_column(server_default=text("1"))
    """What the shop's earning rules multiply points by; told to clients, not applied here."""
    badge_image_url: Mapped[str | None]
    badge_color: Mapped[str | None]
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _updated()


class Reward(Base):
    """What points can be spent on."""

    __tablename__ = "rewards"
    __table_args__ = (
        ForeignKeyConstraint(["shop_id", "vip_tier_id"], ["vip_tiers.shop_id", "vip_tiers.id"]),
        _one_of("discount_type", ("fixed_amount", "percentage", "free_shipping", "free_product")),
        CheckConstraint("points_cost > 0", name="points_cost"),
    )

    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id"), primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    description: Mapped[str | None]
    discount_type: Mapped[str]
    discount_amount: Mapped[Decimal | None]
    """In the shop's currency for `fixed_amount`, in percent for `percentage`."""
    product_variant_id: Mapped[str | None]
    points_cost: Mapped[int]
    minimum_spend: Mapped[Decimal | None]
    vip_tier_id: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    expiry_days: Mapped[int | None]
    """How long a code lives after its redemption."""
    max_redemptions: Mapped[int | None]
    """Over all customers; None is unlimited."""
    combines_with: Mapped[list[str]] = mapped_column(server_default=text("'[]'"))
    deleted_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _updated()

    @property
    def reward_type(self) -> str:
        """`tier` when only one VIP tier can have it, else `discount`."""
        return "tier" if self.vip_tier_id else "discount"


class Customer(Base):
    """A member of a shop's programme; `id` is Shopify's numeric customer id.

    The three totals follow the ledger by a trigger; nothing else writes them, and the audit adds them up.
    """

    __tablename__ = "customers"
    __table_args__ = (
        ForeignKeyConstraint(["shop_id", "vip_tier_id"], ["vip_tiers.shop_id", "vip_tiers.id"]),
        # Each list's index: what is filtered by, what is sorted by, and the id, so that a page is read off it.
        Index("ix_customers_by_creation", "shop_id", "excluded", "created_at", "id"),
        Index("ix_customers_by_points", "shop_id", "excluded", "points", "id"),
        Index("ix_customers_by_lifetime_points", "shop_id", "excluded", "lifetime_points", "id"),
        Index("ix_customers_by_redeemed_points", "shop_id", "excluded", "redeemed_points", "id"),
    )

    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id"), primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str | None] = _personal()
    phone: Mapped[str | None] = _personal()
    first_name: Mapped[str | None] = _personal()
    last_name: Mapped[str | None] = _personal()
    date_of_birth: Mapped[date | None] = _personal()
    anniversary_date: Mapped[date | None] = _personal()
    referral_code: Mapped[str | None] = _personal()
    referral_url: Mapped[str | None] = _personal()
    excluded: Mapped[bool] = mapped_column(server_default=text("false"))
    vip_tier_id: Mapped[str | None]
    profile_as_of: Mapped[datetime | None]
    """Shopify's time of the last change of name, e-mail address and phone that was taken over."""
    erased_at: Mapped[datetime | None]
    """When everything personal was erased, for good: nothing brings it back."""
    points: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """All entries: what remains in the lots, expired ones included until their points are written off."""
    lifetime_points: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    redeemed_points: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """Spent on rewards and not given back."""
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _updated()


Index("uq_customers_shop_id_email", Customer.shop_id, func.lower(Customer.email), unique=True)

ADDRESS_PARTS = func.address_parts(Customer.shop_id, Customer.email, type_=ARRAY(String()))
"""Every three letters in a row of the e-mail address, by which any part of it is found."""
# Without a list of pending entries: each change of a customer costs a little more, and none costs much.
Index("ix_customers_by_address", ADDRESS_PARTS, postgresql_using="gin", postgresql_with={"fastupdate": "off"})


class StaleMetafield(Base):
    """A customer whose points or standing changed outside a redemption, of which the shop's theme is still to learn."""

    __tablename__ = "stale_metafields"
    __table_args__ = (_of_customer(), Index("ix_stale_metafields_due", "shop_id", "due_at"))

    shop_id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[str] = mapped_column(primary_key=True)
    changed_at: Mapped[datetime]
    """The last change. A write that began before it does not count."""
    due_at: Mapped[datetime]
    """When it is next tried to write the metafield."""


class PointLot(Base):
    """Points of one award. `remaining` is the sum of its ledger entries, kept so that it can be locked and added up."""

    __tablename__ = "point_lots"
    __table_args__ = (
        _of_customer(),
        CheckConstraint("0 <= remaining AND remaining <= points", name="remaining"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    shop_id: Mapped[int]
    customer_id: Mapped[str]
    import_id: Mapped[str | None] = _personal()
    """The id the lot has in import files, so that it is not added twice."""
    points: Mapped[int]
    remaining: Mapped[int]
    earned_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    source: Mapped[str] = _personal("", server_default="")
    created_at: Mapped[datetime] = _now()


Index(
    "uq_point_lots_import",
    PointLot.shop_id,
    PointLot.customer_id,
    PointLot.import_id,
    unique=True,
)
Index(
    "ix_point_lots_spendable",
    PointLot.shop_id,
    PointLot.customer_id,
    PointLot.earned_at,
    PointLot.id,
    postgresql_where=PointLot.remaining > 0,
)
Index("ix_point_lots_expiring", PointLot.expires_at, postgresql_where=PointLot.remaining > 0)


class Earning(Base):
    """An award or an adjustment, as the earning history shows it."""

    __tablename__ = "earnings"
    __table_args__ = (
        _of_customer(),
        _one_of("action", ("import", "adjustment")),
        _one_of("status", EARNING_STATUSES),
        Index("ix_earnings_by_creation", "shop_id", "customer_id", "status", "created_at", "id"),
        Index("ix_earnings_by_points", "shop_id", "customer_id", "status", "points", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    shop_id: Mapped[int]
    customer_id: Mapped[str]
    lot_id: Mapped[int | None] = mapped_column(ForeignKey("point_lots.id"))
    """The lot that was made; None when points were taken."""
    action: Mapped[str]
    points: Mapped[int]
    """Signed."""
    status: Mapped[str] = mapped_column(server_default="approved")
    created_at: Mapped[datetime] = _now()
    """When the points were given or taken; clients can also call it `points_given_at`."""
    points_given_at: Mapped[datetime] = synonym("created_at")


class HistoryCount(Base):
    """How many entries of a status a customer's history has: triggers keep it, so that a total is exact at once.

    No foreign key: its check would lock the customer after the redemption, against the order of locks.
    """

    __tablename__ = "history_counts"

    shop_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    customer_id: Mapped[str] = mapped_column(primary_key=True)
    history: Mapped[str] = mapped_column(primary_key=True)
    """The table that is counted: `earnings` or `redemptions`."""
    status: Mapped[str] = mapped_column(primary_key=True)
    entries: Mapped[int]


class Redemption(Base):
    """A customer's intention to spend points on a reward, with what the reward was at that time."""

    __tablename__ = "redemptions"
    __table_args__ = (
        _of_customer(),
        ForeignKeyConstraint(["shop_id", "reward_id"], ["rewards.shop_id", "rewards.id"]),
        _one_of("status", STATUSES),
        Index("ix_redemptions_by_creation", "shop_id", "customer_id", "status", "created_at", "id"),
        Index("ix_redemptions_by_points", "shop_id", "customer_id", "status", "points_spent", "id"),
        Index("ix_redemptions_reward", "shop_id", "reward_id", "status"),
        Index("ix_redemptions_pending", "deadline", postgresql_where=text("status = 'pending'")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    shop_id: Mapped[int]
    customer_id: Mapped[str]
    reward_id: Mapped[str]
    attempt: Mapped[int]
    status: Mapped[str]
    deadline: Mapped[datetime]
    """After it this attempt can not be captured."""
    reward_name: Mapped[str]
    discount_type: Mapped[str]
    discount_amount: Mapped[Decimal | None]
    minimum_spend: Mapped[Decimal | None]
    product_variant_id: Mapped[str | None]
    combines_with: Mapped[list[str]]
    points_spent: Mapped[int]
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _updated()
    expires_at: Mapped[datetime | None]
    """When the discount code stops working."""
    captured_at: Mapped[datetime | None]
    balance_after: Mapped[int | None] = mapped_column(BigInteger)
    """The customer's balance right after the capture: what every announcement says, however late."""
    discount_code_redeemed_at: Mapped[datetime | None]
    is_refunded: Mapped[bool] = mapped_column(server_default=text("false"))


Index("ix_redemptions_expiring", Redemption.expires_at, postgresql_where=Redemption.status == ACTIVE)


class DiscountCode(Base):
    """A code that Shopify was, or will be, asked for. The code of one attempt is never that of another."""

    __tablename__ = "discount_codes"
    __table_args__ = (
        _one_of("state", ("planned", "live", "void", "fenced", "foreign")),
        CheckConstraint("unanswered >= 0", name="unanswered"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id"))
    redemption_id: Mapped[str] = mapped_column(ForeignKey("redemptions.id"))
    attempt: Mapped[int]
    code: Mapped[str]
    shopify_id: Mapped[str | None]
    state: Mapped[str] = mapped_column(server_default="planned")
    unanswered: Mapped[int] = mapped_column(server_default=text("0"))
    """Creations asked of Shopify whose outcome is not known: while there is one, the code may yet appear."""
    checked_at: Mapped[datetime | None]
    """When it was last compared with Shopify."""
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _updated()


Index("uq_discount_codes_code", DiscountCode.shop_id, func.upper(DiscountCode.code), unique=True)
Index(
    "uq_discount_codes_current",
    DiscountCode.redemption_id,
    DiscountCode.attempt,
    unique=True,
    postgresql_where=DiscountCode.state != "foreign",
)
Index("ix_discount_codes_planned", DiscountCode.redemption_id, postgresql_where=DiscountCode.state == "planned")


class RedemptionDraw(Base):
    """Points that one attempt took from one lot."""

    __tablename__ = "redemption_draws"
    __table_args__ = (CheckConstraint("points > 0", name="points"),)

    redemption_id: Mapped[str] = mapped_column(ForeignKey("redemptions.id"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    lot_id: Mapped[int] = mapped_column(ForeignKey("point_lots.id"), primary_key=True)
    points: Mapped[int]


class LedgerEntry(Base):
    """One movement of points of one lot. Append-only: a trigger refuses UPDATE and DELETE."""

    __tablename__ = "ledger_entries"
    __table_args__ = (
        _of_customer(),
        _one_of("kind", ("earn", "reserve", "release", "refund", "expire", "adjust")),
        CheckConstraint("points <> 0", name="points"),
        CheckConstraint(
            "CASE kind WHEN 'earn' THEN lifetime_points = points WHEN 'adjust' THEN true ELSE lifetime_points = 0 END",
            name="lifetime_points",
        ),
        Index("uq_ledger_entries_step", "redemption_id", "attempt", "lot_id", "kind", unique=True),
        Index("ix_ledger_entries_lot", "lot_id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    shop_id: Mapped[int]
    customer_id: Mapped[str]
    lot_id: Mapped[int] = mapped_column(ForeignKey("point_lots.id"))
    points: Mapped[int]
    """Signed: what the customer gained."""
    lifetime_points: Mapped[int] = mapped_column(server_default=text("0"))
    """Signed: what it adds to the points ever earned."""
    kind: Mapped[str]
    redemption_id: Mapped[str | None] = mapped_column(ForeignKey("redemptions.id"))
    attempt: Mapped[int | None]
    created_at: Mapped[datetime] = _now()


class IdempotencyKey(Base):
    """One intention, to buy or to adjust points, as a client named it, and how it was answered."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_created_at", "created_at"),)

    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes]
    redemption_id: Mapped[str] = mapped_column(unique=True)
    """What the intention makes: a redemption, or, when points are adjusted, an earning."""
    attempt: Mapped[int] = mapped_column(server_default=text("1"))
    """The attempt that the next request with this key makes or joins."""
    customer_id: Mapped[str | None]
    """Who buys, as first resolved: an e-mail address can move to another customer. None when refused at once."""
    status: Mapped[int | None]
    """HTTP status of the decided answer; None while undecided."""
    body: Mapped[str | None]
    """The decided answer. Tells an unknown customer's identifier, which may be an e-mail address."""
    created_at: Mapped[datetime] = _now()


class ActivityLog(Base):
    """What a merchant reads about a customer."""

    __tablename__ = "activity_log"
    __table_args__ = (
        _of_customer(),
        Index("ix_activity_log_customer", "shop_id", "customer_id", "created_at"),
        Index("uq_activity_log_mark", "redemption_id", "mark", unique=True),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    shop_id: Mapped[int]
    customer_id: Mapped[str]
    redemption_id: Mapped[str | None] = mapped_column(ForeignKey("redemptions.id"))
    kind: Mapped[str]
    facts: Mapped[dict[str, Any]] = _personal({})
    mark: Mapped[str | None]
    """What an entry that may be written again is known by."""
    created_at: Mapped[datetime] = _now()


class Refund(Base):
    """The wish to take a redemption back, and what became of it. Written before anything is done about it."""

    __tablename__ = "refunds"
    __table_args__ = (_one_of("state", STATES),)

    redemption_id: Mapped[str] = mapped_column(ForeignKey("redemptions.id"), primary_key=True)
    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id"))
    actor: Mapped[str]
    """Who asked for it: an API key or an operator."""
    reason: Mapped[str | None] = _personal()
    """In their words; it goes to the activity log and to nobody else."""
    channels: Mapped[list[str]]
    """Where it will be announced."""
    state: Mapped[str] = mapped_column(server_default="pending")
    code_removed: Mapped[bool | None]
    """Whether the code was still at Shopify and had to be removed; None until Shopify was asked."""
    balance_after: Mapped[int | None] = mapped_column(BigInteger)
    """The customer's balance right after the points came back."""
    created_at: Mapped[datetime] = _now()
    refunded_at: Mapped[datetime | None]


Index("ix_refunds_pending", Refund.created_at, postgresql_where=Refund.state == "pending")


class Delivery(Base):
    """One event of one redemption, announced on one channel."""

    __tablename__ = "deliveries"
    __table_args__ = (
        _one_of("event", tuple(EventKind)),
        _one_of("status", ("pending", "sent", "failed", "unknown", "skipped")),
        Index("ix_deliveries_undelivered", "redemption_id", postgresql_where=text("status IN ('pending', 'failed')")),
    )

    redemption_id: Mapped[str] = mapped_column(ForeignKey("redemptions.id"), primary_key=True)
    channel: Mapped[str] = mapped_column(primary_key=True)
    event: Mapped[str] = mapped_column(primary_key=True)
    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id"))
    status: Mapped[str] = mapped_column(server_default="pending")
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    attempted_at: Mapped[datetime | None]
    """Set before a send that must not be repeated, cleared when it surely did not happen."""
    last_error: Mapped[str | None] = _personal()
    """A vendor's own words."""
    sent_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _updated()


class ShopifyWebhook(Base):
    """Something that Shopify told us of a shop. Shopify repeats itself, with the same id."""

    __tablename__ = "shopify_webhooks"
    __table_args__ = (
        Index("ix_shopify_webhooks_waiting", "received_at", postgresql_where=text("processed_at IS NULL")),
    )

    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id"), primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    """`X-Shopify-Webhook-Id`."""
    topic: Mapped[str]
    payload: Mapped[bytes | None]
    """The body, encrypted, as it tells of people. None once it is processed."""
    triggered_at: Mapped[datetime]
    """When it happened, by Shopify's clock."""
    received_at: Mapped[datetime] = _now()
    processed_at: Mapped[datetime | None]


class WebhookSubscription(Base):
    """An address of the merchant's that wants to hear of events."""

    __tablename__ = "webhook_subscriptions"
    __table_args__ = (Index("ix_webhook_subscriptions_by_creation", "shop_id", "created_at", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id"))
    url: Mapped[str]
    events: Mapped[list[str]]
    description: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    secret: Mapped[bytes]
    """What deliveries are signed with, encrypted."""
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _updated()


class WebhookDelivery(Base):
    """One event of one redemption for one subscriber: what the channel `webhooks` consists of."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        _one_of("event", tuple(EventKind)),
        _one_of("status", WEBHOOK_STATES),
        Index("ix_webhook_deliveries_event", "redemption_id", "event"),
        Index("ix_webhook_deliveries_subscription", "subscription_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    """The same on every try, and what the subscriber knows a repeat by."""
    redemption_id: Mapped[str] = mapped_column(ForeignKey("redemptions.id"))
    event: Mapped[str]
    subscription_id: Mapped[str] = mapped_column(ForeignKey("webhook_subscriptions.id", ondelete="CASCADE"))
    status: Mapped[str] = mapped_column(server_default="unsent")
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    last_status: Mapped[int | None]
    """The HTTP status of the last try; None where there was no answer."""
    sent_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _updated()
