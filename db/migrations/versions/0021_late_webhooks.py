"""Accounts that are enabled again, and readers of redemptions who miss none that is committed late."""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Each statement is a transaction, as purchases go on. Safe to repeat."""
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE customers ADD COLUMN IF NOT EXISTS account_as_of timestamptz")
        op.execute("ALTER TABLE customers ADD COLUMN IF NOT EXISTS excluded_by_account boolean NOT NULL DEFAULT false")
        _announce_creations()


def downgrade() -> None:
    raise NotImplementedError("the ledger is never dropped; restore a backup instead")


def _announce_creations() -> None:
    """Have each transaction that adds a redemption hold a lock with its second: see `db.reward_history`."""
    op.execute("""
        CREATE OR REPLACE FUNCTION creation_time() RETURNS timestamptz LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_advisory_xact_lock_shared(
                (7246356::bigint << 32) + floor(extract(epoch FROM clock_timestamp()))::bigint
            );
            -- After the lock is held: whoever read the locks before has an earlier time.
            RETURN clock_timestamp();
        END $$
    """)
    op.execute("ALTER TABLE redemptions ALTER COLUMN created_at SET DEFAULT creation_time()")
    # Not before `created_at`.
    op.execute("ALTER TABLE redemptions ALTER COLUMN updated_at SET DEFAULT clock_timestamp()")
