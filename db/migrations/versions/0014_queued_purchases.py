"""Queued purchases, and the event of one that fails."""

from alembic import op

revision = "0014"
down_revision = "0016"
branch_labels = None
depends_on = None

EVENTS = "'reward_redeemed', 'reward_refunded', 'purchase_failed'"


def upgrade() -> None:
    """Each statement is a transaction, so that purchases do not wait for the check of stored rows. Safe to repeat."""
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE redemptions ADD COLUMN IF NOT EXISTS is_queued boolean NOT NULL DEFAULT false")
        for table in ("deliveries", "webhook_deliveries"):
            name = f"ck_{table}_event"
            op.execute(f"""
            ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name},
                ADD CONSTRAINT {name} CHECK (event IN ({EVENTS})) NOT VALID
            """)
            op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")


def downgrade() -> None:
    raise NotImplementedError("the ledger is never dropped; restore a backup instead")
