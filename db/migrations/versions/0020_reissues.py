"""Orders that used codes, and the codes that are reissued when an order is cancelled or fully refunded."""

from alembic import op

revision = "0020"
down_revision = "0018"
branch_labels = None
depends_on = None

EVENTS = "'reward_redeemed', 'reward_refunded', 'reward_reissued'"


def upgrade() -> None:
    op.execute("ALTER TABLE discount_codes ADD COLUMN is_current boolean NOT NULL DEFAULT true")
    # The older version keeps it: for its rows the two conditions are the same.
    op.execute("DROP INDEX uq_discount_codes_current")
    op.execute("""
    CREATE UNIQUE INDEX uq_discount_codes_current ON discount_codes (redemption_id, attempt)
    WHERE state <> 'foreign' AND is_current
    """)
    op.execute("""
    CREATE TABLE orders (
        shop_id integer NOT NULL CONSTRAINT fk_orders_shop_id REFERENCES shops (id),
        id varchar NOT NULL,
        total numeric,
        lines jsonb,
        refunds jsonb NOT NULL DEFAULT '{}',
        cancelled_at timestamptz,
        voided_at timestamptz,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT pk_orders PRIMARY KEY (shop_id, id)
    )
    """)
    op.execute("""
    CREATE TABLE order_codes (
        shop_id integer NOT NULL,
        order_id varchar NOT NULL,
        code_id bigint NOT NULL CONSTRAINT fk_order_codes_code_id REFERENCES discount_codes (id),
        redemption_id varchar NOT NULL CONSTRAINT fk_order_codes_redemption_id REFERENCES redemptions (id),
        CONSTRAINT pk_order_codes PRIMARY KEY (shop_id, order_id, code_id),
        CONSTRAINT fk_order_codes_shop_id FOREIGN KEY (shop_id, order_id) REFERENCES orders (shop_id, id)
    )
    """)
    op.execute("CREATE INDEX ix_order_codes_redemption_id ON order_codes (redemption_id)")
    op.execute("CREATE INDEX ix_orders_updated_at ON orders (updated_at)")
    op.execute("""
    CREATE TABLE reissues (
        redemption_id varchar NOT NULL CONSTRAINT fk_reissues_redemption_id REFERENCES redemptions (id),
        order_id varchar NOT NULL,
        shop_id integer NOT NULL CONSTRAINT fk_reissues_shop_id REFERENCES shops (id),
        number integer NOT NULL,
        code_id bigint NOT NULL CONSTRAINT fk_reissues_code_id REFERENCES discount_codes (id),
        channels jsonb NOT NULL,
        status varchar NOT NULL DEFAULT 'pending'
            CONSTRAINT ck_reissues_status CHECK (status IN ('pending', 'done', 'refused')),
        expires_at timestamptz,
        balance_after bigint,
        contact bytea,
        created_at timestamptz NOT NULL DEFAULT now(),
        reissued_at timestamptz,
        CONSTRAINT pk_reissues PRIMARY KEY (redemption_id, order_id)
    )
    """)
    op.execute("CREATE UNIQUE INDEX uq_reissues_code_id ON reissues (code_id)")
    op.execute("CREATE INDEX ix_reissues_pending ON reissues (created_at) WHERE status = 'pending'")
    op.execute("ALTER TABLE refunds ADD COLUMN order_id varchar")
    for table in ("deliveries", "webhook_deliveries"):
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_event")
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT ck_{table}_event CHECK (event IN ({EVENTS})) NOT VALID")
        op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT ck_{table}_event")


def downgrade() -> None:
    raise NotImplementedError("the ledger is never dropped; restore a backup instead")
