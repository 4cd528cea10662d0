"""The tables. Points are integers, times are UTC, and every row belongs to one shop."""

from collections.abc import Iterable
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
    TypeDecorator,
    and_,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column, synonym, validates

from domain.addresses import address_key
from domain.api_keys import KeyScope
from domain.deliveries import UNSENT, DeliveryStatus
from domain.discounts import CodeState, DiscountType
from domain.events import EventKind
from domain.failures import FailureCode
from domain.orders import CancelledOrderPolicy
from domain.points import EarningAction, EarningStatus, EntryKind
from domain.redemptions import RedemptionStatus
from domain.refunds import RefundStatus
from domain.reissues import ReissueStatus
from domain.reward_terms import Pricing, PurchaseType
from domain.states import State
from domain.subscriptions import WebhookDeliveryStatus

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class _StateType(TypeDecorator[Any]):
    """A state, stored as text."""

    impl = String
    cache_ok = True

    def __init__(self, machine: type[State]) -> None:
        super().__init__()
        self.machine = machine

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Any) -> State | None:
        return None if value is None else self.machine(value)


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: DateTime(timezone=True),
        timedelta: Interval(),
        Decimal: Numeric(12, 2),
        str: String(),
        dict[str, Any]: JSONB(),
        dict[str, str]: JSONB(),
        list[str]: JSONB(),
        dict[str, list[str]]: JSONB(none_as_null=True),
        dict[str, int]: JSONB(none_as_null=True),
        CodeState: _StateType(CodeState),
        DeliveryStatus: _StateType(DeliveryStatus),
        RedemptionStatus: _StateType(RedemptionStatus),
        RefundStatus: _StateType(RefundStatus),
        ReissueStatus: _StateType(ReissueStatus),
        WebhookDeliveryStatus: _StateType(WebhookDeliveryStatus),
    }


def _now() -> Mapped[datetime]:
    return mapped_column(server_default=func.now())


def _updated() -> Mapped[datetime]:
    return mapped_column(server_default=func.now(), onupdate=func.now())


def _money() -> Mapped[Decimal | None]:
    """An amount with as many decimals as its currency has."""
    return mapped_column(Numeric())


def _one_of(column: str, values: Iterable[str]) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({_listed(values)})", name=column)


def _listed(values: Iterable[str]) -> str:
    return ", ".join(f"'{value}'" for value in values)


def _check_transition(row: Base, column: str, to: State) -> State:
    """Assert that an assignment to a loaded row follows the state machine. SQL updates are conditional instead."""
    old = row.__dict__.get(column)
    if isinstance(old, State):
        old.check_transition(to)
    return to


def _personal(erased: object = None, **column: Any) -> Mapped[Any]:
    """A column with personal data. `erased`: its value after an erasure."""
    return mapped_column(info={"erased": erased}, **column)


def _of_customer() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["shop_id", "customer_id"], ["customers.shop_id", "customers.id"])


class Shop(Base):
    __tablename__ = "shops"
    __table_args__ = (_one_of("on_order_cancelled", CancelledOrderPolicy),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    domain: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    currency: Mapped[str] = mapped_column(String(3))
    code_prefix: Mapped[str] = mapped_column(server_default="MAGE")
    release_grace: Mapped[timedelta] = mapped_column(server_default=text("interval '7 days'"))
    """How long points that return to an expired lot can be spent."""
    enroll_customers: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether new customers at Shopify become members."""
    exclude_disabled_customers: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether customers with a disabled account at Shopify are excluded."""
    on_order_cancelled: Mapped[str] = mapped_column(server_default=CancelledOrderPolicy.NONE)
    """What happens to a redemption whose code was used by an order that is cancelled. A reward can override it."""
    credentials: Mapped[dict[str, str]] = mapped_column(server_default=text("'{}'"))
    """Vendor → encrypted credentials. A missing vendor is not configured."""
    webhook_secrets: Mapped[list[str]] = mapped_column(server_default=text("'[]'"))
    """Encrypted secrets that sign this shop's webhooks. Without any, the app's secrets in the settings do.

    Kept apart from `credentials`: an uninstalled shop still gets webhooks.
    """
    customers: Mapped[int] = mapped_column(server_default=text("0"))
    """Number of customers. Updated with the shop locked, by everything that adds customers."""
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _updated()


class ShopifyBudget(Base):
    """What Shopify's rate limit permits a shop, less what purchases have taken of it. Missing: no limit."""

    __tablename__ = "shopify_budgets"

    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id"), primary_key=True, autoincrement=False)
    maximum: Mapped[float]
    """Query cost that can be used at once."""
    restore_rate: Mapped[float]
    """Query cost per second."""
    full_at: Mapped[datetime]
    """When the maximum is available again, if nothing more is taken."""
    metafield_at: Mapped[datetime | None]
    """When the next metafield without a turn is retried, at the earliest. None: there was no such metafield yet."""


class ApiKey(Base):
    """An API key of one shop. Only its hash is stored."""

    __tablename__ = "api_keys"
    __table_args__ = (_one_of("scope", KeyScope),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id"))
    key_hash: Mapped[bytes] = mapped_column(LargeBinary(), unique=True)
    scope: Mapped[str]
    label: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[datetime] = _now()
    expires_at: Mapped[datetime | None]
    """From then on the key is refused. None: never."""
    last_used_on: Mapped[date | None]
    """The last day, in UTC, on which a request had this key. None: no request had it."""
    revoked_at: Mapped[datetime | None]


class VipTier(Base):
    """A VIP tier. Rewards can be restricted to one."""

    __tablename__ = "vip_tiers"

    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id"), primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    description: Mapped[str | None]
    points_required: Mapped[int]
    """Lifetime points needed."""
    points_multiplier: Mapped[Decimal] = mapped_column(server_default=text("1"))
    """Factor of the shop's earning rules. Shown to clients, not applied here."""
    badge_image_url: Mapped[str | None]
    badge_color: Mapped[str | None]
    renamed_at: Mapped[datetime | None]
    """Time of a rename. None: the metafields of all members are marked as stale since."""
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _updated()


class Reward(Base):
    __tablename__ = "rewards"
    __table_args__ = (
        ForeignKeyConstraint(["shop_id", "vip_tier_id"], ["vip_tiers.shop_id", "vip_tiers.id"]),
        _one_of("discount_type", DiscountType),
        CheckConstraint("points_cost > 0", name="points_cost"),
        _one_of("pricing", Pricing),
        CheckConstraint(
            "pricing = 'fixed' OR coalesce(points_step = points_cost AND value_per_step > 0, false)",
            name="points_step",
        ),
        _one_of("purchase_type", PurchaseType),
        _one_of("on_order_cancelled", CancelledOrderPolicy),
    )

    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id"), primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    description: Mapped[str | None]
    discount_type: Mapped[str]
    discount_amount: Mapped[Decimal | None] = _money()
    """In the shop's currency for `fixed_amount`, in percent for `percentage`."""
    product_variant_id: Mapped[str | None]
    points_cost: Mapped[int]
    minimum_spend: Mapped[Decimal | None] = _money()
    vip_tier_id: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    expiry_days: Mapped[int | None]
    """Days from the redemption until the code expires. None: never."""
    max_redemptions: Mapped[int | None]
    """Cap over all customers. None: no cap."""
    combines_with: Mapped[list[str]] = mapped_column(server_default=text("'[]'"))
    pricing: Mapped[str] = mapped_column(server_default=Pricing.FIXED)
    points_step: Mapped[int | None]
    """Of variable pricing only, like the next four. Equals `points_cost`."""
    value_per_step: Mapped[Decimal | None] = _money()
    """In the shop's currency."""
    min_points: Mapped[int | None]
    max_points: Mapped[int | None]
    max_value: Mapped[Decimal | None] = _money()
    """Maximum value of one code, in the shop's currency. None: no maximum."""
    applies_to: Mapped[dict[str, list[str]] | None]
    """`collections`, `products` or `variants` → Shopify's numeric ids. None: the whole order."""
    purchase_type: Mapped[str | None]
    """None: Shopify's default, one-time purchases."""
    billing_cycles: Mapped[int | None]
    """Of a subscription. 0: all."""
    starts_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    """From then on the reward is not on offer. None: no end."""
    cooldown_days: Mapped[int | None]
    """Days between two purchases of one customer."""
    max_per_customer: Mapped[int | None]
    on_order_cancelled: Mapped[str | None]
    """None: as the shop has it."""
    deleted_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _updated()

    @property
    def reward_type(self) -> str:
        """`tier` if restricted to a VIP tier, else `discount`."""
        return "tier" if self.vip_tier_id else "discount"


class Customer(Base):
    """A member of a shop's loyalty program. `id` is Shopify's numeric customer id.

    A trigger keeps the three totals equal to the sums of the ledger; the audit checks them.
    """

    __tablename__ = "customers"
    __table_args__ = (
        ForeignKeyConstraint(["shop_id", "vip_tier_id"], ["vip_tiers.shop_id", "vip_tiers.id"]),
        # One index per sort order: filtered column, sorted column, id. See `db.lists`.
        Index("ix_customers_by_creation", "shop_id", "excluded", "created_at", "id"),
        Index("ix_customers_by_points", "shop_id", "excluded", "points", "id"),
        Index("ix_customers_by_lifetime_points", "shop_id", "excluded", "lifetime_points", "id"),
        Index("ix_customers_by_redeemed_points", "shop_id", "excluded", "redeemed_points", "id"),
    )

    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id"), primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str | None] = _personal()
    email_key: Mapped[str | None] = _personal()
    """`domain.addresses.address_key` of the address, by which it is found. Set with `email`."""
    phone: Mapped[str | None] = _personal()
    first_name: Mapped[str | None] = _personal()
    last_name: Mapped[str | None] = _personal()
    date_of_birth: Mapped[date | None] = _personal()
    anniversary_date: Mapped[date | None] = _personal()
    referral_code: Mapped[str | None] = _personal()
    referral_url: Mapped[str | None] = _personal()
    excluded: Mapped[bool] = mapped_column(server_default=text("false"))
    excluded_by_account: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether the customer is excluded because the account at Shopify was disabled, and by nothing else since."""
    vip_tier_id: Mapped[str | None]
    profile_as_of: Mapped[datetime | None]
    """Shopify's time of the profile that was last applied."""
    account_as_of: Mapped[datetime | None]
    """Shopify's time of the account's state, enabled or disabled, that was last applied."""
    erased_at: Mapped[datetime | None]
    """When the personal data was erased. Later updates and imports are ignored."""
    merged_into: Mapped[str | None]
    """The surviving customer of a merge, who has this one's points and history. Later updates and imports are ignored.
    """
    points: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """Sum of all entries. Includes expired points until the sweep removes them."""
    lifetime_points: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    redeemed_points: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """Points spent on rewards, without released and refunded ones."""
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _updated()

    @property
    def is_closed(self) -> bool:
        """Whether the customer was erased or merged into another, and stays excluded."""
        return self.erased_at is not None or self.merged_into is not None

    @validates("email")
    def _set_email_key(self, _: str, email: str | None) -> str | None:
        self.email_key = None if email is None else address_key(email)
        return email


Index("uq_customers_shop_id_email_key", Customer.shop_id, Customer.email_key, unique=True)
# The version before 0005 finds addresses by it.
Index("uq_customers_shop_id_email", Customer.shop_id, func.lower(Customer.email), unique=True)

ADDRESS_PARTS = func.address_parts(Customer.shop_id, Customer.email_key, type_=ARRAY(String()))
"""The trigrams of the e-mail address: an index for searching any part of it."""
# Without a pending list: every write costs slightly more, and no write has to clean up the list.
Index("ix_customers_by_address_key", ADDRESS_PARTS, postgresql_using="gin", postgresql_with={"fastupdate": "off"})


class StaleMetafield(Base):
    """A customer whose metafield at Shopify must be written, as points or status changed without an event."""

    __tablename__ = "stale_metafields"
    __table_args__ = (_of_customer(), Index("ix_stale_metafields_due", "shop_id", "due_at"))

    shop_id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[str] = mapped_column(primary_key=True)
    changed_at: Mapped[datetime]
    """Time of the last change. A write that began earlier does not clear the mark."""
    due_at: Mapped[datetime]
    """Time of the next write."""


class PointLot(Base):
    """Points of one award. `remaining`: sum of the lot's ledger entries, stored so that it can be locked and added."""

    __tablename__ = "point_lots"
    __table_args__ = (
        _of_customer(),
        CheckConstraint("0 <= remaining AND remaining <= points", name="remaining"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    shop_id: Mapped[int]
    customer_id: Mapped[str]
    import_id: Mapped[str | None] = _personal()
    """The lot's id in import files, so that it is not added twice."""
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
    """An entry of the earning history: an award or an adjustment."""

    __tablename__ = "earnings"
    __table_args__ = (
        _of_customer(),
        _one_of("action", EarningAction),
        _one_of("status", EarningStatus),
        Index("ix_earnings_by_creation", "shop_id", "customer_id", "status", "created_at", "id"),
        Index("ix_earnings_by_points", "shop_id", "customer_id", "status", "points", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    shop_id: Mapped[int]
    customer_id: Mapped[str]
    lot_id: Mapped[int | None] = mapped_column(ForeignKey("point_lots.id"))
    """The added lot. None if points were deducted."""
    action: Mapped[str]
    points: Mapped[int]
    """Signed."""
    status: Mapped[str] = mapped_column(server_default="approved")
    created_at: Mapped[datetime] = _now()
    """Time of the award or adjustment. Clients also sort by it as `points_given_at`."""
    points_given_at: Mapped[datetime] = synonym("created_at")


class HistoryCount(Base):
    """Number of entries of a customer's history by status. Maintained by triggers.

    Has no foreign key to the customer: its check would lock the customer after the redemption, against the lock order.
    """

    __tablename__ = "history_counts"

    shop_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    customer_id: Mapped[str] = mapped_column(primary_key=True)
    history: Mapped[str] = mapped_column(primary_key=True)
    """Counted table: `earnings` or `redemptions`."""
    status: Mapped[str] = mapped_column(primary_key=True)
    entries: Mapped[int]


class Redemption(Base):
    """A redemption, with a snapshot of the reward."""

    __tablename__ = "redemptions"
    __table_args__ = (
        _of_customer(),
        ForeignKeyConstraint(["shop_id", "reward_id"], ["rewards.shop_id", "rewards.id"]),
        _one_of("status", RedemptionStatus),
        Index("ix_redemptions_by_creation", "shop_id", "customer_id", "status", "created_at", "id"),
        Index("ix_redemptions_by_points", "shop_id", "customer_id", "status", "points_spent", "id"),
        # The ranges of the reward history of a shop: see `db.reward_history`.
        Index("ix_redemptions_of_shop", "shop_id", "status", "created_at", "id"),
        Index("ix_redemptions_of_reward", "shop_id", "reward_id", "status", "created_at", "id"),
        Index("ix_redemptions_pending", "deadline", postgresql_where=text(f"status = '{RedemptionStatus.PENDING}'")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    shop_id: Mapped[int]
    customer_id: Mapped[str]
    reward_id: Mapped[str]
    attempt: Mapped[int]
    status: Mapped[RedemptionStatus] = mapped_column(_StateType(RedemptionStatus))
    deadline: Mapped[datetime]
    """After this time the attempt cannot be captured."""
    reward_name: Mapped[str]
    discount_type: Mapped[str]
    discount_amount: Mapped[Decimal | None] = _money()
    minimum_spend: Mapped[Decimal | None] = _money()
    product_variant_id: Mapped[str | None]
    combines_with: Mapped[list[str]]
    applies_to: Mapped[dict[str, list[str]] | None]
    purchase_type: Mapped[str | None]
    billing_cycles: Mapped[int | None]
    points_spent: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=text("creation_time()"))
    """Readers learn which of these times can still be committed: see `db.reward_history`."""
    updated_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp(), onupdate=func.now())
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When the discount code expires."""
    captured_at: Mapped[datetime | None]
    balance_after: Mapped[int | None] = mapped_column(BigInteger)
    """The customer's balance right after the capture or the failure, as every delivery reports it."""
    currency: Mapped[str | None] = mapped_column(String(3))
    """The shop's currency at the capture, as every delivery reports it. None: not captured, or by an older version."""
    contact: Mapped[bytes | None] = _personal()
    """The encrypted contact data at the capture or the failure, as every delivery addresses it.

    None: like `currency`, or erased.
    """
    discount_code_redeemed_at: Mapped[datetime | None]
    rejected_at: Mapped[datetime | None]
    """When Shopify rejected the code of an attempt permanently."""
    is_refunded: Mapped[bool] = mapped_column(server_default=text("false"))
    is_queued: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether the client does not wait for the code: it was answered with 202 once the points were reserved."""

    has_ended: Mapped[bool] = column_property(
        and_(status == RedemptionStatus.ACTIVE, func.coalesce(expires_at <= func.now(), text("false")))
    )
    """Whether the code has expired and the sweep has not set the status yet, when the row was read."""

    @property
    def shown_status(self) -> RedemptionStatus:
        """The status that clients and operators see: `expired` from the code's end, not from the next sweep."""
        return RedemptionStatus.EXPIRED if self.has_ended else self.status

    @property
    def redemption_id(self) -> str:
        """The id, by the name that other rows have for it."""
        return self.id

    _check_transition = validates("status")(_check_transition)


Index(
    "ix_redemptions_expiring",
    Redemption.expires_at,
    postgresql_where=Redemption.status == RedemptionStatus.ACTIVE,
)


class DiscountCode(Base):
    """A discount code of one attempt. Attempts never share a code. A reissue gives an attempt another one."""

    __tablename__ = "discount_codes"
    __table_args__ = (
        _one_of("state", CodeState),
        CheckConstraint("unknown_outcomes >= 0", name="unknown_outcomes"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id"))
    redemption_id: Mapped[str] = mapped_column(ForeignKey("redemptions.id"))
    attempt: Mapped[int]
    code: Mapped[str]
    shopify_id: Mapped[str | None]
    state: Mapped[CodeState] = mapped_column(server_default=CodeState.PLANNED)
    is_current: Mapped[bool] = mapped_column(server_default=text("true"))
    """False for a code that was replaced by a reissue, and for one that is not reissued yet."""
    unknown_outcomes: Mapped[int] = mapped_column(server_default=text("0"))
    """Creations at Shopify whose outcome is unknown. While there is one, the code may still appear."""
    not_before: Mapped[datetime | None]
    """The attempt's turn in the shop's Shopify budget. None: at once."""
    requested_at: Mapped[datetime | None]
    """Time of the first request to create it."""
    answered_at: Mapped[datetime | None]
    """When the answer to a request led to the capture."""
    checked_at: Mapped[datetime | None]
    """When it was last compared with Shopify."""
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _updated()

    _check_transition = validates("state")(_check_transition)


Index("uq_discount_codes_code", DiscountCode.shop_id, func.upper(DiscountCode.code), unique=True)
Index(
    "uq_discount_codes_in_use",
    DiscountCode.redemption_id,
    DiscountCode.attempt,
    unique=True,
    postgresql_where=and_(DiscountCode.state != CodeState.FOREIGN, DiscountCode.is_current),
)
Index(
    "ix_discount_codes_planned",
    DiscountCode.redemption_id,
    postgresql_where=DiscountCode.state == CodeState.PLANNED,
)


class RedemptionDraw(Base):
    """Points that one attempt drew from one lot."""

    __tablename__ = "redemption_draws"
    __table_args__ = (CheckConstraint("points > 0", name="points"),)

    redemption_id: Mapped[str] = mapped_column(ForeignKey("redemptions.id"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    lot_id: Mapped[int] = mapped_column(ForeignKey("point_lots.id"), primary_key=True)
    points: Mapped[int]


class FailedAttempt(Base):
    """Why an attempt failed. Written with its release, and kept when Temporal has deleted the history."""

    __tablename__ = "failed_attempts"
    __table_args__ = (_one_of("code", FailureCode), Index("ix_failed_attempts_failed_at", "failed_at"))

    redemption_id: Mapped[str] = mapped_column(ForeignKey("redemptions.id"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id"))
    code: Mapped[str]
    reason: Mapped[str | None] = _personal()
    """The words of the vendor, or of Pointsaga."""
    failed_at: Mapped[datetime] = _now()


class LedgerEntry(Base):
    """One movement of points of one lot. Append-only: triggers reject DELETE and UPDATE.

    They permit one change: a merge gives a customer's entries to the surviving customer.
    """

    __tablename__ = "ledger_entries"
    __table_args__ = (
        _of_customer(),
        _one_of("kind", EntryKind),
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
    """Signed."""
    lifetime_points: Mapped[int] = mapped_column(server_default=text("0"))
    """Signed change of the lifetime points."""
    kind: Mapped[str]
    redemption_id: Mapped[str | None] = mapped_column(ForeignKey("redemptions.id"))
    attempt: Mapped[int | None]
    created_at: Mapped[datetime] = _now()


class IdempotencyKey(Base):
    """An idempotency key of a purchase or adjustment, and the answer."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        Index("ix_idempotency_keys_created_at", "created_at"),
        Index(
            "ix_idempotency_keys_made_refused", "created_at", postgresql_where=text("is_made IS TRUE AND status >= 400")
        ),
        Index("ix_idempotency_keys_request_id", "request_id", postgresql_where=text("request_id IS NOT NULL")),
    )

    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes]
    redemption_id: Mapped[str] = mapped_column(unique=True)
    """Id of the redemption, or of the earning of an adjustment."""
    attempt: Mapped[int] = mapped_column(server_default=text("1"))
    """The attempt that the next request with this key starts or joins."""
    customer_id: Mapped[str | None]
    """The customer as first resolved, as an e-mail address can move to another customer. None if unknown."""
    status: Mapped[int | None]
    """HTTP status of the answer. None while undecided."""
    body: Mapped[str | None]
    """Body of the answer. Can contain an unknown customer's identifier, which can be an e-mail address."""
    actor: Mapped[str | None]
    """The API key of the purchase that claimed the key, as the activity log names it."""
    is_made: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether the key was made here, as the client sent none."""
    created_at: Mapped[datetime] = _now()
    request_id: Mapped[str | None]
    """`X-Request-Id` of the purchase that claimed the key."""


class ActivityLog(Base):
    """The activity log, which merchants read."""

    __tablename__ = "activity_log"
    __table_args__ = (
        _of_customer(),
        Index("ix_activity_log_customer", "shop_id", "customer_id", "created_at"),
        Index("uq_activity_log_action_key", "redemption_id", "action_key", unique=True),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    shop_id: Mapped[int]
    customer_id: Mapped[str | None]
    """None: the entry concerns the whole shop."""
    redemption_id: Mapped[str | None] = mapped_column(ForeignKey("redemptions.id"))
    kind: Mapped[str]
    facts: Mapped[dict[str, Any]] = _personal({})
    action_key: Mapped[str | None]
    """Idempotency key: one operator action per event, channel and attempt."""
    created_at: Mapped[datetime] = _now()


class Refund(Base):
    """A refund request and its result. Written before anything is done about it."""

    __tablename__ = "refunds"
    __table_args__ = (_one_of("status", RefundStatus),)

    redemption_id: Mapped[str] = mapped_column(ForeignKey("redemptions.id"), primary_key=True)
    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id"))
    actor: Mapped[str]
    """An API key or an operator."""
    reason: Mapped[str | None] = _personal()
    """In the actor's words. Shown in the activity log only."""
    order_id: Mapped[str | None]
    """The cancelled order that the refund is for. Its use of the code does not refuse the refund."""
    channels: Mapped[list[str]]
    """The channels that the refund is delivered on."""
    status: Mapped[RefundStatus] = mapped_column(server_default=RefundStatus.PENDING)
    code_removed: Mapped[bool | None]
    """Whether the code was found at Shopify and removed. None: Shopify was not called yet."""
    balance_after: Mapped[int | None] = mapped_column(BigInteger)
    """The customer's balance right after the refund."""
    contact: Mapped[bytes | None] = _personal()
    """The encrypted contact data at the refund, as every delivery addresses it."""
    created_at: Mapped[datetime] = _now()
    refunded_at: Mapped[datetime | None]

    _check_transition = validates("status")(_check_transition)


Index("ix_refunds_pending", Refund.created_at, postgresql_where=Refund.status == RefundStatus.PENDING)


class Order(Base):
    """An order that used a code, or a refunded one whose own webhook has not come yet. Has ids and amounts only."""

    __tablename__ = "orders"
    __table_args__ = (Index("ix_orders_updated_at", "updated_at"),)

    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id"), primary_key=True, autoincrement=False)
    id: Mapped[str] = mapped_column(primary_key=True)
    total: Mapped[Decimal | None] = _money()
    """What the customer paid, in the shop's currency. None: not known yet, like `lines`."""
    lines: Mapped[dict[str, int] | None]
    """Line item → units."""
    refunds: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    """Refund → `amount` and `lines`."""
    cancelled_at: Mapped[datetime | None]
    voided_at: Mapped[datetime | None]
    """When it was cancelled or fully refunded, by our clock."""
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _updated()


class OrderCode(Base):
    """A discount code that an order used."""

    __tablename__ = "order_codes"
    __table_args__ = (
        ForeignKeyConstraint(["shop_id", "order_id"], ["orders.shop_id", "orders.id"]),
        Index("ix_order_codes_redemption_id", "redemption_id"),
        Index("ix_order_codes_code_id", "code_id"),
    )

    shop_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    order_id: Mapped[str] = mapped_column(primary_key=True)
    code_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("discount_codes.id"), primary_key=True)
    redemption_id: Mapped[str] = mapped_column(ForeignKey("redemptions.id"))


class Reissue(Base):
    """The reissue of a redemption's code after an order, and its result. Written before anything is done about it."""

    __tablename__ = "reissues"
    __table_args__ = (_one_of("status", ReissueStatus), Index("uq_reissues_code_id", "code_id", unique=True))

    redemption_id: Mapped[str] = mapped_column(ForeignKey("redemptions.id"), primary_key=True)
    order_id: Mapped[str] = mapped_column(primary_key=True)
    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id"))
    number: Mapped[int]
    """Of the redemption's reissues, from 1."""
    code_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("discount_codes.id"))
    """The new code."""
    channels: Mapped[list[str]]
    """The channels that the reissue is delivered on."""
    status: Mapped[ReissueStatus] = mapped_column(server_default=ReissueStatus.PENDING)
    expires_at: Mapped[datetime | None]
    """When the new code expires."""
    balance_after: Mapped[int | None] = mapped_column(BigInteger)
    """The customer's balance at the reissue."""
    contact: Mapped[bytes | None] = _personal()
    """The encrypted contact data at the reissue, as every delivery addresses it."""
    created_at: Mapped[datetime] = _now()
    reissued_at: Mapped[datetime | None]

    _check_transition = validates("status")(_check_transition)


Index("ix_reissues_pending", Reissue.created_at, postgresql_where=Reissue.status == ReissueStatus.PENDING)


class Delivery(Base):
    """The delivery of one event of one redemption on one channel."""

    __tablename__ = "deliveries"
    __table_args__ = (
        _one_of("event", EventKind),
        _one_of("status", DeliveryStatus),
        Index("ix_deliveries_unsent", "redemption_id", postgresql_where=text(f"status IN ({_listed(UNSENT)})")),
    )

    redemption_id: Mapped[str] = mapped_column(ForeignKey("redemptions.id"), primary_key=True)
    channel: Mapped[str] = mapped_column(primary_key=True)
    event: Mapped[str] = mapped_column(primary_key=True)
    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id"))
    status: Mapped[DeliveryStatus] = mapped_column(server_default=DeliveryStatus.PENDING)
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    attempted_at: Mapped[datetime | None]
    """Set before each send, cleared when the send was surely not executed."""
    last_error: Mapped[str | None] = _personal()
    """The vendor's words, or the reason of a skip."""
    sent_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _updated()

    _check_transition = validates("status")(_check_transition)


class ShopifyWebhook(Base):
    """A webhook from Shopify. Shopify redelivers webhooks with the same id."""

    __tablename__ = "shopify_webhooks"
    __table_args__ = (
        Index("ix_shopify_webhooks_waiting", "received_at", postgresql_where=text("processed_at IS NULL")),
        Index("ix_shopify_webhooks_processed_at", "processed_at"),
    )

    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id"), primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    """`X-Shopify-Webhook-Id`."""
    topic: Mapped[str]
    payload: Mapped[bytes | None]
    """The encrypted body, as it contains personal data. None once processed."""
    triggered_at: Mapped[datetime]
    """Time of the event, by Shopify's clock."""
    received_at: Mapped[datetime] = _now()
    processed_at: Mapped[datetime | None]


class WebhookSubscription(Base):
    """An address of the merchant that receives events."""

    __tablename__ = "webhook_subscriptions"
    __table_args__ = (Index("ix_webhook_subscriptions_by_creation", "shop_id", "created_at", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id"))
    url: Mapped[str]
    events: Mapped[list[str]]
    description: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    secret: Mapped[bytes]
    """Encrypted signing secret."""
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _updated()


class WebhookDelivery(Base):
    """The delivery of one event of one redemption to one subscriber, on the channel `webhooks`."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        _one_of("event", EventKind),
        _one_of("status", WebhookDeliveryStatus),
        Index("ix_webhook_deliveries_event", "redemption_id", "event"),
        Index("ix_webhook_deliveries_subscription", "subscription_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    """The same on every attempt, so that the subscriber can drop duplicates."""
    redemption_id: Mapped[str] = mapped_column(ForeignKey("redemptions.id"))
    event: Mapped[str]
    subscription_id: Mapped[str] = mapped_column(ForeignKey("webhook_subscriptions.id", ondelete="CASCADE"))
    status: Mapped[WebhookDeliveryStatus] = mapped_column(server_default=WebhookDeliveryStatus.UNSENT)
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    last_status: Mapped[int | None]
    """HTTP status of the last attempt. None: no answer."""
    sent_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _updated()
