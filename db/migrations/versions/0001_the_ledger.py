"""The ledger"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "shops",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("domain", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("code_prefix", sa.String(), server_default="MAGE", nullable=False),
        sa.Column("release_grace", sa.Interval(), server_default=sa.text("interval '7 days'"), nullable=False),
        sa.Column(
            "credentials", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("customers", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shops")),
        sa.UniqueConstraint("domain", name=op.f("uq_shops_domain")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("shop_id", sa.Integer(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("label", sa.String(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("scope IN ('full', 'read_only')", name=op.f("ck_api_keys_scope")),
        sa.ForeignKeyConstraint(["shop_id"], ["shops.id"], name=op.f("fk_api_keys_shop_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_api_keys_key_hash")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("shop_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("redemption_id", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("body", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["shop_id"], ["shops.id"], name=op.f("fk_idempotency_keys_shop_id")),
        sa.PrimaryKeyConstraint("shop_id", "key", name=op.f("pk_idempotency_keys")),
        sa.UniqueConstraint("redemption_id", name=op.f("uq_idempotency_keys_redemption_id")),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "shopify_webhooks",
        sa.Column("shop_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=True),
        sa.Column("triggered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("processed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["shop_id"], ["shops.id"], name=op.f("fk_shopify_webhooks_shop_id")),
        sa.PrimaryKeyConstraint("shop_id", "id", name=op.f("pk_shopify_webhooks")),
    )
    op.create_index(
        "ix_shopify_webhooks_waiting",
        "shopify_webhooks",
        ["received_at"],
        unique=False,
        postgresql_where=sa.text("processed_at IS NULL"),
    )
    op.create_table(
        "vip_tiers",
        sa.Column("shop_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("points_required", sa.Integer(), nullable=False),
        sa.Column("points_multiplier", sa.Numeric(precision=12, scale=2), server_default=sa.text("1"), nullable=False),
        sa.Column("badge_image_url", sa.String(), nullable=True),
        sa.Column("badge_color", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["shop_id"], ["shops.id"], name=op.f("fk_vip_tiers_shop_id")),
        sa.PrimaryKeyConstraint("shop_id", "id", name=op.f("pk_vip_tiers")),
    )
    op.create_table(
        "customers",
        sa.Column("shop_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("email", sa.String(), nullable=True),
        sa.Column("phone", sa.String(), nullable=True),
        sa.Column("first_name", sa.String(), nullable=True),
        sa.Column("last_name", sa.String(), nullable=True),
        sa.Column("date_of_birth", sa.Date(), nullable=True),
        sa.Column("anniversary_date", sa.Date(), nullable=True),
        sa.Column("referral_code", sa.String(), nullable=True),
        sa.Column("referral_url", sa.String(), nullable=True),
        sa.Column("excluded", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("vip_tier_id", sa.String(), nullable=True),
        sa.Column("profile_as_of", sa.DateTime(timezone=True), nullable=True),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("points", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("lifetime_points", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("redeemed_points", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["shop_id", "vip_tier_id"],
            ["vip_tiers.shop_id", "vip_tiers.id"],
            name=op.f("fk_customers_shop_id_vip_tier_id"),
        ),
        sa.ForeignKeyConstraint(["shop_id"], ["shops.id"], name=op.f("fk_customers_shop_id")),
        sa.PrimaryKeyConstraint("shop_id", "id", name=op.f("pk_customers")),
    )
    op.create_index(
        "uq_customers_shop_id_email", "customers", ["shop_id", sa.literal_column("lower(email)")], unique=True
    )
    op.execute(
        """
        -- Every three letters in a row, in lower case, each with the shop that it is searched in.
        CREATE FUNCTION address_parts(shop_id integer, address text) RETURNS text[]
        LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 1000
        RETURN ARRAY(
            SELECT DISTINCT shop_id || ':' || substr(lower(address), n, 3)
            FROM generate_series(1, length(address) - 2) n
        )
        """
    )
    op.create_index(
        "ix_customers_by_address",
        "customers",
        [sa.text("address_parts(shop_id, email)")],
        unique=False,
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
    )
    op.create_index("ix_customers_by_creation", "customers", ["shop_id", "excluded", "created_at", "id"], unique=False)
    op.create_index("ix_customers_by_points", "customers", ["shop_id", "excluded", "points", "id"], unique=False)
    op.create_index(
        "ix_customers_by_lifetime_points", "customers", ["shop_id", "excluded", "lifetime_points", "id"], unique=False
    )
    op.create_index(
        "ix_customers_by_redeemed_points", "customers", ["shop_id", "excluded", "redeemed_points", "id"], unique=False
    )
    op.create_table(
        "rewards",
        sa.Column("shop_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("discount_type", sa.String(), nullable=False),
        sa.Column("discount_amount", sa.Numeric(precision=12, scale=2), nullable=True),
        sa.Column("product_variant_id", sa.String(), nullable=True),
        sa.Column("points_cost", sa.Integer(), nullable=False),
        sa.Column("minimum_spend", sa.Numeric(precision=12, scale=2), nullable=True),
        sa.Column("vip_tier_id", sa.String(), nullable=True),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("expiry_days", sa.Integer(), nullable=True),
        sa.Column("max_redemptions", sa.Integer(), nullable=True),
        sa.Column(
            "combines_with", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False
        ),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "discount_type IN ('fixed_amount', 'percentage', 'free_shipping', 'free_product')",
            name=op.f("ck_rewards_discount_type"),
        ),
        sa.CheckConstraint("points_cost > 0", name=op.f("ck_rewards_points_cost")),
        sa.ForeignKeyConstraint(
            ["shop_id", "vip_tier_id"],
            ["vip_tiers.shop_id", "vip_tiers.id"],
            name=op.f("fk_rewards_shop_id_vip_tier_id"),
        ),
        sa.ForeignKeyConstraint(["shop_id"], ["shops.id"], name=op.f("fk_rewards_shop_id")),
        sa.PrimaryKeyConstraint("shop_id", "id", name=op.f("pk_rewards")),
    )
    op.create_table(
        "point_lots",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("shop_id", sa.Integer(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("import_id", sa.String(), nullable=True),
        sa.Column("points", sa.Integer(), nullable=False),
        sa.Column("remaining", sa.Integer(), nullable=False),
        sa.Column("earned_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("source", sa.String(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("0 <= remaining AND remaining <= points", name=op.f("ck_point_lots_remaining")),
        sa.ForeignKeyConstraint(
            ["shop_id", "customer_id"],
            ["customers.shop_id", "customers.id"],
            name=op.f("fk_point_lots_shop_id_customer_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_point_lots")),
    )
    op.create_index(
        "ix_point_lots_spendable",
        "point_lots",
        ["shop_id", "customer_id", "earned_at", "id"],
        unique=False,
        postgresql_where=sa.text("remaining > 0"),
    )
    op.create_index(
        "ix_point_lots_expiring",
        "point_lots",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("remaining > 0"),
    )
    op.create_index("uq_point_lots_import", "point_lots", ["shop_id", "customer_id", "import_id"], unique=True)
    op.create_table(
        "earnings",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("shop_id", sa.Integer(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("lot_id", sa.BigInteger(), nullable=True),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("points", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), server_default="approved", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("action IN ('import', 'adjustment')", name=op.f("ck_earnings_action")),
        sa.CheckConstraint("status IN ('pending', 'approved', 'rejected')", name=op.f("ck_earnings_status")),
        sa.ForeignKeyConstraint(["lot_id"], ["point_lots.id"], name=op.f("fk_earnings_lot_id")),
        sa.ForeignKeyConstraint(
            ["shop_id", "customer_id"],
            ["customers.shop_id", "customers.id"],
            name=op.f("fk_earnings_shop_id_customer_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_earnings")),
    )
    op.create_index(
        "ix_earnings_by_creation",
        "earnings",
        ["shop_id", "customer_id", "status", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_earnings_by_points", "earnings", ["shop_id", "customer_id", "status", "points", "id"], unique=False
    )
    op.create_table(
        "history_counts",
        sa.Column("shop_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("history", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "customer_id", "history", "status", name=op.f("pk_history_counts")),
    )
    op.create_table(
        "redemptions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("shop_id", sa.Integer(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("reward_id", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("deadline", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reward_name", sa.String(), nullable=False),
        sa.Column("discount_type", sa.String(), nullable=False),
        sa.Column("discount_amount", sa.Numeric(precision=12, scale=2), nullable=True),
        sa.Column("minimum_spend", sa.Numeric(precision=12, scale=2), nullable=True),
        sa.Column("product_variant_id", sa.String(), nullable=True),
        sa.Column("combines_with", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("points_spent", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("captured_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("balance_after", sa.BigInteger(), nullable=True),
        sa.Column("discount_code_redeemed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_refunded", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint(
            "status IN ('pending', 'failed', 'active', 'used', 'expired')", name=op.f("ck_redemptions_status")
        ),
        sa.ForeignKeyConstraint(
            ["shop_id", "customer_id"],
            ["customers.shop_id", "customers.id"],
            name=op.f("fk_redemptions_shop_id_customer_id"),
        ),
        sa.ForeignKeyConstraint(
            ["shop_id", "reward_id"], ["rewards.shop_id", "rewards.id"], name=op.f("fk_redemptions_shop_id_reward_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_redemptions")),
    )
    op.create_index(
        "ix_redemptions_by_creation",
        "redemptions",
        ["shop_id", "customer_id", "status", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_redemptions_by_points",
        "redemptions",
        ["shop_id", "customer_id", "status", "points_spent", "id"],
        unique=False,
    )
    op.create_index("ix_redemptions_reward", "redemptions", ["shop_id", "reward_id", "status"], unique=False)
    op.create_index(
        "ix_redemptions_expiring",
        "redemptions",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("status = 'active'"),
    )
    op.create_table(
        "stale_metafields",
        sa.Column("shop_id", sa.Integer(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["shop_id", "customer_id"],
            ["customers.shop_id", "customers.id"],
            name=op.f("fk_stale_metafields_shop_id_customer_id"),
        ),
        sa.PrimaryKeyConstraint("shop_id", "customer_id", name=op.f("pk_stale_metafields")),
    )
    op.create_index("ix_stale_metafields_due", "stale_metafields", ["shop_id", "due_at"], unique=False)
    op.create_index(
        "ix_redemptions_pending",
        "redemptions",
        ["deadline"],
        unique=False,
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_table(
        "activity_log",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("shop_id", sa.Integer(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("redemption_id", sa.String(), nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("action_key", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["redemption_id"], ["redemptions.id"], name=op.f("fk_activity_log_redemption_id")),
        sa.ForeignKeyConstraint(
            ["shop_id", "customer_id"],
            ["customers.shop_id", "customers.id"],
            name=op.f("fk_activity_log_shop_id_customer_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_activity_log")),
    )
    op.create_index("ix_activity_log_customer", "activity_log", ["shop_id", "customer_id", "created_at"], unique=False)
    op.create_index("uq_activity_log_action_key", "activity_log", ["redemption_id", "action_key"], unique=True)
    op.create_table(
        "deliveries",
        sa.Column("redemption_id", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("shop_id", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), server_default="pending", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.String(), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("event IN ('reward_redeemed', 'reward_refunded')", name=op.f("ck_deliveries_event")),
        sa.CheckConstraint(
            "status IN ('pending', 'sent', 'failed', 'unknown', 'skipped')", name=op.f("ck_deliveries_status")
        ),
        sa.ForeignKeyConstraint(["redemption_id"], ["redemptions.id"], name=op.f("fk_deliveries_redemption_id")),
        sa.ForeignKeyConstraint(["shop_id"], ["shops.id"], name=op.f("fk_deliveries_shop_id")),
        sa.PrimaryKeyConstraint("redemption_id", "channel", "event", name=op.f("pk_deliveries")),
    )
    op.create_table(
        "refunds",
        sa.Column("redemption_id", sa.String(), nullable=False),
        sa.Column("shop_id", sa.Integer(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("channels", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("status", sa.String(), server_default="pending", nullable=False),
        sa.Column("code_removed", sa.Boolean(), nullable=True),
        sa.Column("balance_after", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("refunded_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('pending', 'done', 'refused')", name=op.f("ck_refunds_status")),
        sa.ForeignKeyConstraint(["redemption_id"], ["redemptions.id"], name=op.f("fk_refunds_redemption_id")),
        sa.ForeignKeyConstraint(["shop_id"], ["shops.id"], name=op.f("fk_refunds_shop_id")),
        sa.PrimaryKeyConstraint("redemption_id", name=op.f("pk_refunds")),
    )
    op.create_index(
        "ix_refunds_pending",
        "refunds",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        "ix_deliveries_unsent",
        "deliveries",
        ["redemption_id"],
        unique=False,
        postgresql_where=sa.text("status IN ('pending', 'failed')"),
    )
    op.create_table(
        "discount_codes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("shop_id", sa.Integer(), nullable=False),
        sa.Column("redemption_id", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("shopify_id", sa.String(), nullable=True),
        sa.Column("state", sa.String(), server_default="planned", nullable=False),
        sa.Column("unknown_outcomes", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "state IN ('planned', 'live', 'void', 'fenced', 'foreign')", name=op.f("ck_discount_codes_state")
        ),
        sa.CheckConstraint("unknown_outcomes >= 0", name=op.f("ck_discount_codes_unknown_outcomes")),
        sa.ForeignKeyConstraint(["redemption_id"], ["redemptions.id"], name=op.f("fk_discount_codes_redemption_id")),
        sa.ForeignKeyConstraint(["shop_id"], ["shops.id"], name=op.f("fk_discount_codes_shop_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_discount_codes")),
    )
    op.create_index(
        "uq_discount_codes_code", "discount_codes", ["shop_id", sa.literal_column("upper(code)")], unique=True
    )
    op.create_index(
        "uq_discount_codes_current",
        "discount_codes",
        ["redemption_id", "attempt"],
        unique=True,
        postgresql_where=sa.text("state != 'foreign'"),
    )
    op.create_index(
        "ix_discount_codes_planned",
        "discount_codes",
        ["redemption_id"],
        unique=False,
        postgresql_where=sa.text("state = 'planned'"),
    )
    op.create_table(
        "ledger_entries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("shop_id", sa.Integer(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("lot_id", sa.BigInteger(), nullable=False),
        sa.Column("points", sa.Integer(), nullable=False),
        sa.Column("lifetime_points", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("redemption_id", sa.String(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "kind IN ('earn', 'reserve', 'release', 'refund', 'expire', 'adjust')", name=op.f("ck_ledger_entries_kind")
        ),
        sa.CheckConstraint("points <> 0", name=op.f("ck_ledger_entries_points")),
        sa.CheckConstraint(
            "CASE kind WHEN 'earn' THEN lifetime_points = points WHEN 'adjust' THEN true ELSE lifetime_points = 0 END",
            name=op.f("ck_ledger_entries_lifetime_points"),
        ),
        sa.ForeignKeyConstraint(["lot_id"], ["point_lots.id"], name=op.f("fk_ledger_entries_lot_id")),
        sa.ForeignKeyConstraint(["redemption_id"], ["redemptions.id"], name=op.f("fk_ledger_entries_redemption_id")),
        sa.ForeignKeyConstraint(
            ["shop_id", "customer_id"],
            ["customers.shop_id", "customers.id"],
            name=op.f("fk_ledger_entries_shop_id_customer_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entries")),
    )
    op.create_index("ix_ledger_entries_lot", "ledger_entries", ["lot_id"], unique=False)
    op.create_index(
        "uq_ledger_entries_step", "ledger_entries", ["redemption_id", "attempt", "lot_id", "kind"], unique=True
    )
    op.create_table(
        "redemption_draws",
        sa.Column("redemption_id", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lot_id", sa.BigInteger(), nullable=False),
        sa.Column("points", sa.Integer(), nullable=False),
        sa.CheckConstraint("points > 0", name=op.f("ck_redemption_draws_points")),
        sa.ForeignKeyConstraint(["lot_id"], ["point_lots.id"], name=op.f("fk_redemption_draws_lot_id")),
        sa.ForeignKeyConstraint(["redemption_id"], ["redemptions.id"], name=op.f("fk_redemption_draws_redemption_id")),
        sa.PrimaryKeyConstraint("redemption_id", "attempt", "lot_id", name=op.f("pk_redemption_draws")),
    )
    op.create_table(
        "webhook_subscriptions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("shop_id", sa.Integer(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("events", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["shop_id"], ["shops.id"], name=op.f("fk_webhook_subscriptions_shop_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_subscriptions")),
    )
    op.create_index(
        "ix_webhook_subscriptions_by_creation", "webhook_subscriptions", ["shop_id", "created_at", "id"], unique=False
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("redemption_id", sa.String(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("subscription_id", sa.String(), nullable=False),
        sa.Column("status", sa.String(), server_default="unsent", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("event IN ('reward_redeemed', 'reward_refunded')", name=op.f("ck_webhook_deliveries_event")),
        sa.CheckConstraint("status IN ('unsent', 'sent', 'refused')", name=op.f("ck_webhook_deliveries_status")),
        sa.ForeignKeyConstraint(
            ["redemption_id"], ["redemptions.id"], name=op.f("fk_webhook_deliveries_redemption_id")
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["webhook_subscriptions.id"],
            name=op.f("fk_webhook_deliveries_subscription_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
    )
    op.create_index("ix_webhook_deliveries_event", "webhook_deliveries", ["redemption_id", "event"], unique=False)
    op.create_index("ix_webhook_deliveries_subscription", "webhook_deliveries", ["subscription_id"], unique=False)
    op.execute(
        """
        CREATE FUNCTION refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'ledger_entries is append-only: write a reversal instead';
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER ledger_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change()
        """
    )
    op.execute(
        """
        CREATE FUNCTION total_ledger() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            -- Whoever moves points holds the customer's lock already.
            UPDATE customers
            SET points = customers.points + moved.points,
                lifetime_points = customers.lifetime_points + moved.lifetime_points,
                redeemed_points = customers.redeemed_points + moved.redeemed_points
            FROM (
                SELECT shop_id, customer_id, sum(points) AS points, sum(lifetime_points) AS lifetime_points,
                       coalesce(-sum(points) FILTER (WHERE kind IN ('reserve', 'release', 'refund')), 0)
                           AS redeemed_points
                FROM added GROUP BY shop_id, customer_id
            ) moved
            WHERE (customers.shop_id, customers.id) = (moved.shop_id, moved.customer_id);
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER ledger_entries_totalled AFTER INSERT ON ledger_entries REFERENCING NEW TABLE AS added
        FOR EACH STATEMENT EXECUTE FUNCTION total_ledger()
        """
    )
    op.execute(
        """
        CREATE FUNCTION count_history() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO history_counts AS counts (shop_id, customer_id, history, status, entries)
            SELECT NEW.shop_id, NEW.customer_id, TG_TABLE_NAME, moved.status, moved.entries
            FROM (VALUES (OLD.status, -1), (NEW.status, 1)) AS moved (status, entries)
            -- OLD is all null on INSERT. One order for everybody, so that no two wait for each other.
            WHERE moved.status IS NOT NULL AND OLD.status IS DISTINCT FROM NEW.status ORDER BY moved.status
            ON CONFLICT (shop_id, customer_id, history, status)
            DO UPDATE SET entries = counts.entries + EXCLUDED.entries;
            RETURN NULL;
        END $$
        """
    )
    for history in ("earnings", "redemptions"):
        op.execute(
            f"""
            CREATE TRIGGER {history}_counted AFTER INSERT OR UPDATE OF status ON {history}
            FOR EACH ROW EXECUTE FUNCTION count_history()
            """
        )


def downgrade() -> None:
    raise NotImplementedError("the ledger is never dropped; restore a backup instead")
