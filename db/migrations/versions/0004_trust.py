"""Webhook secrets of a shop, expiry and last use of API keys, actors of purchases, activity-log entries of shops."""

from alembic import op

revision = "0004"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE shops ADD COLUMN webhook_secrets jsonb NOT NULL DEFAULT '[]'")
    op.execute("ALTER TABLE api_keys ADD COLUMN expires_at timestamptz, ADD COLUMN last_used_on date")
    op.execute("ALTER TABLE idempotency_keys ADD COLUMN actor varchar")
    op.execute("ALTER TABLE activity_log ALTER COLUMN customer_id DROP NOT NULL")


def downgrade() -> None:
    raise NotImplementedError("the ledger is never dropped; restore a backup instead")
