"""Keys that may administrate, settings of shops, merged customers, and indexes for the reward history of a shop."""

from alembic import op

revision = "0018"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Each statement is a transaction, as the indexes are built while purchases go on. Safe to repeat."""
    with op.get_context().autocommit_block():
        _allow_admin_keys()
        _add_shop_settings()
        _allow_merges()
        _add_indexes()


def downgrade() -> None:
    raise NotImplementedError("the ledger is never dropped; restore a backup instead")


def _allow_admin_keys() -> None:
    op.execute("""
        ALTER TABLE api_keys DROP CONSTRAINT IF EXISTS ck_api_keys_scope, ADD CONSTRAINT ck_api_keys_scope
        CHECK (scope IN ('full', 'read_only', 'admin'))
    """)


def _add_shop_settings() -> None:
    op.execute("ALTER TABLE shops ADD COLUMN IF NOT EXISTS enroll_customers boolean NOT NULL DEFAULT false")
    op.execute("ALTER TABLE shops ADD COLUMN IF NOT EXISTS exclude_disabled_customers boolean NOT NULL DEFAULT false")
    op.execute("ALTER TABLE shops ADD COLUMN IF NOT EXISTS on_order_cancelled varchar NOT NULL DEFAULT 'none'")
    op.execute("""
        ALTER TABLE shops DROP CONSTRAINT IF EXISTS ck_shops_on_order_cancelled,
        ADD CONSTRAINT ck_shops_on_order_cancelled CHECK (on_order_cancelled IN ('none', 'reissue', 'refund_points'))
    """)


def _allow_merges() -> None:
    """Entries of the ledger stay as they are, but those of a merged customer get the surviving customer's id."""
    op.execute("ALTER TABLE customers ADD COLUMN IF NOT EXISTS merged_into varchar")
    op.execute("""
        CREATE OR REPLACE FUNCTION refuse_other_owner() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF EXISTS (SELECT FROM customers WHERE shop_id = OLD.shop_id AND id = OLD.customer_id
                       AND merged_into = NEW.customer_id) THEN
                RETURN NEW;
            END IF;
            RAISE EXCEPTION 'ledger_entries is append-only: only a merge changes the customer of an entry';
        END $$
    """)
    op.execute("""
        CREATE OR REPLACE TRIGGER ledger_entries_moved_by_merges BEFORE UPDATE OF customer_id ON ledger_entries
        FOR EACH ROW EXECUTE FUNCTION refuse_other_owner()
    """)
    # One statement, so that there is no instant without a trigger.
    op.execute("""
        CREATE OR REPLACE TRIGGER ledger_entries_append_only
        BEFORE UPDATE OF id, shop_id, lot_id, points, lifetime_points, kind, redemption_id, attempt, created_at
        OR DELETE OR TRUNCATE ON ledger_entries
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change()
    """)


def _add_indexes() -> None:
    for name, columns in {
        "ix_redemptions_of_shop": "shop_id, status, created_at, id",
        "ix_redemptions_of_reward": "shop_id, reward_id, status, created_at, id",
    }.items():
        op.execute(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON redemptions ({columns})")
    # Its columns are the first ones of the new index.
    op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_redemptions_reward")
