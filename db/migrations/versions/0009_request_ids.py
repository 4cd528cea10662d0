"""The request that claimed an idempotency key, so that operators find its redemption."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("idempotency_keys", sa.Column("request_id", sa.String(), nullable=True))
    op.create_index(
        "ix_idempotency_keys_request_id",
        "idempotency_keys",
        ["request_id"],
        postgresql_where=sa.text("request_id IS NOT NULL"),
    )


def downgrade() -> None:
    raise NotImplementedError("the ledger is never dropped; restore a backup instead")
