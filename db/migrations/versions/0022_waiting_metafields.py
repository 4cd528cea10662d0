"""Metafields that wait for the shop's Shopify budget are retried one after the other."""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Each statement is a transaction, as purchases go on. Safe to repeat."""
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE shopify_budgets ADD COLUMN IF NOT EXISTS metafield_at timestamptz")


def downgrade() -> None:
    raise NotImplementedError("the ledger is never dropped; restore a backup instead")
