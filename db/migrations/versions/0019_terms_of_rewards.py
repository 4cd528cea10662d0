"""Variable pricing, scope, purchase type, period and limits of rewards, and what a cancelled order does."""

from alembic import op

revision = "0019"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Columns with constant defaults: no rewrite of the tables.
    op.execute("""
    ALTER TABLE rewards
        ADD COLUMN pricing varchar NOT NULL DEFAULT 'fixed',
        ADD COLUMN points_step integer,
        ADD COLUMN value_per_step numeric,
        ADD COLUMN min_points integer,
        ADD COLUMN max_points integer,
        ADD COLUMN max_value numeric,
        ADD COLUMN applies_to jsonb,
        ADD COLUMN purchase_type varchar,
        ADD COLUMN billing_cycles integer,
        ADD COLUMN starts_at timestamptz,
        ADD COLUMN ends_at timestamptz,
        ADD COLUMN cooldown_days integer,
        ADD COLUMN max_per_customer integer,
        ADD COLUMN on_order_cancelled varchar,
        ADD CONSTRAINT ck_rewards_pricing CHECK (pricing IN ('fixed', 'variable')),
        ADD CONSTRAINT ck_rewards_points_step CHECK (
            pricing = 'fixed' OR coalesce(points_step = points_cost AND value_per_step > 0, false)
        ),
        ADD CONSTRAINT ck_rewards_purchase_type CHECK (purchase_type IN ('one_time', 'subscription', 'both')),
        ADD CONSTRAINT ck_rewards_on_order_cancelled CHECK (
            on_order_cancelled IN ('none', 'reissue', 'refund_points')
        )
    """)
    op.execute("""
    ALTER TABLE redemptions
        ADD COLUMN applies_to jsonb,
        ADD COLUMN purchase_type varchar,
        ADD COLUMN billing_cycles integer
    """)


def downgrade() -> None:
    raise NotImplementedError("the ledger is never dropped; restore a backup instead")
