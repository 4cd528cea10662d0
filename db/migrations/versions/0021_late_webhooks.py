"""Accounts that are enabled again."""

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


def downgrade() -> None:
    raise NotImplementedError("the ledger is never dropped; restore a backup instead")
