"""Record permanent rejections of codes, and keep amounts of currencies with three decimals."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE redemptions ADD COLUMN rejected_at timestamptz")
    for table in ("rewards", "redemptions"):
        for column in ("discount_amount", "minimum_spend"):
            # Without precision and scale: no rewrite of the table, and the old code reads it too.
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE numeric")


def downgrade() -> None:
    raise NotImplementedError("the ledger is never dropped; restore a backup instead")
