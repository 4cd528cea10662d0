"""Why attempts failed."""

from alembic import op

revision = "0008"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    CREATE TABLE failed_attempts (
        redemption_id varchar NOT NULL CONSTRAINT fk_failed_attempts_redemption_id REFERENCES redemptions (id),
        attempt integer NOT NULL,
        shop_id integer NOT NULL CONSTRAINT fk_failed_attempts_shop_id REFERENCES shops (id),
        code varchar NOT NULL CONSTRAINT ck_failed_attempts_code CHECK (code IN (
            'configuration_rejected', 'request_rejected', 'shopify_unavailable', 'too_late', 'cancelled',
            'workflow_gone', 'engine_unavailable'
        )),
        reason varchar,
        failed_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT pk_failed_attempts PRIMARY KEY (redemption_id, attempt)
    )
    """)
    op.execute("CREATE INDEX ix_failed_attempts_failed_at ON failed_attempts (failed_at)")


def downgrade() -> None:
    raise NotImplementedError("the ledger is never dropped; restore a backup instead")
