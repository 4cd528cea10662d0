"""When a discount code was requested and answered, so that a purchase's time is known without Shopify's own."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("requested_at", "answered_at"):
        op.add_column("discount_codes", sa.Column(name, sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("the ledger is never dropped; restore a backup instead")
