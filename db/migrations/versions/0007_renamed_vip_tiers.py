"""VIP tiers: the time of a rename, until the metafields of all members are marked as stale."""

from alembic import op

revision = "0007"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE vip_tiers ADD COLUMN renamed_at timestamptz")


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; restore a backup instead")
