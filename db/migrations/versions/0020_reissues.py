"""Orders that used codes, and the codes that are reissued when an order is cancelled or fully refunded."""

from alembic import op

revision = "0020"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Each statement is a transaction, as indexes and checks are built while purchases go on. Safe to repeat."""
    with op.get_context().autocommit_block():
        _add_second_codes()
        _allow_reissued_events()
        _add_orders()
        _add_reissues()
        op.execute("ALTER TABLE refunds ADD COLUMN IF NOT EXISTS order_id varchar")


def downgrade() -> None:
    raise NotImplementedError("the ledger is never dropped; restore a backup instead")


def _add_second_codes() -> None:
    op.execute("ALTER TABLE discount_codes ADD COLUMN IF NOT EXISTS is_current boolean NOT NULL DEFAULT true")
    op.execute("""
        CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS uq_discount_codes_in_use
        ON discount_codes (redemption_id, attempt) WHERE state <> 'foreign' AND is_current
    """)
    # For the rows of the older version the two are the same.
    op.execute("DROP INDEX CONCURRENTLY IF EXISTS uq_discount_codes_current")


def _allow_reissued_events() -> None:
    events = "'reward_redeemed', 'reward_refunded', 'reward_reissued', 'purchase_failed'"
    for table in ("deliveries", "webhook_deliveries"):
        # Validated by a statement of its own, which does not lock out writes.
        op.execute(f"""
            ALTER TABLE {table} DROP CONSTRAINT IF EXISTS ck_{table}_event,
            ADD CONSTRAINT ck_{table}_event CHECK (event IN ({events})) NOT VALID
        """)
        op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT ck_{table}_event")


def _add_orders() -> None:
    op.execute("""
        CREATE TABLE IF NOT EXISTS orders (
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
        CREATE TABLE IF NOT EXISTS order_codes (
            shop_id integer NOT NULL,
            order_id varchar NOT NULL,
            code_id bigint NOT NULL CONSTRAINT fk_order_codes_code_id REFERENCES discount_codes (id),
            redemption_id varchar NOT NULL CONSTRAINT fk_order_codes_redemption_id REFERENCES redemptions (id),
            CONSTRAINT pk_order_codes PRIMARY KEY (shop_id, order_id, code_id),
            CONSTRAINT fk_order_codes_shop_id_order_id FOREIGN KEY (shop_id, order_id) REFERENCES orders (shop_id, id)
        )
    """)
    op.execute("CREATE INDEX IF NOT EXISTS ix_order_codes_redemption_id ON order_codes (redemption_id)")
    op.execute("CREATE INDEX IF NOT EXISTS ix_order_codes_code_id ON order_codes (code_id)")
    op.execute("CREATE INDEX IF NOT EXISTS ix_orders_updated_at ON orders (updated_at)")


def _add_reissues() -> None:
    op.execute("""
        CREATE TABLE IF NOT EXISTS reissues (
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
    op.execute("CREATE UNIQUE INDEX IF NOT EXISTS uq_reissues_code_id ON reissues (code_id)")
    op.execute("CREATE INDEX IF NOT EXISTS ix_reissues_pending ON reissues (created_at) WHERE status = 'pending'")
