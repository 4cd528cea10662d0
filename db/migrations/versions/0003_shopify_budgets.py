"""The Shopify budget of a shop, and the turns of its purchases."""

from alembic import op

revision = "0003"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE shopify_budgets (
            shop_id integer NOT NULL,
            maximum double precision NOT NULL,
            restore_rate double precision NOT NULL,
            full_at timestamptz NOT NULL,
            CONSTRAINT pk_shopify_budgets PRIMARY KEY (shop_id),
            CONSTRAINT fk_shopify_budgets_shop_id FOREIGN KEY (shop_id) REFERENCES shops (id)
        )
    """)
    op.execute("ALTER TABLE discount_codes ADD COLUMN not_before timestamptz")


def downgrade() -> None:
    raise NotImplementedError("the ledger is never dropped; restore a backup instead")
