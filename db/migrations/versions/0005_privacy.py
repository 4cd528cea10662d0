"""Contact data and currency of events, keys made by the API, and the key of e-mail addresses."""

from collections.abc import Iterator

from alembic import op
from sqlalchemy import Connection, text

from domain.addresses import address_key

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

PAGE = 1000


def upgrade() -> None:
    """Each statement is a transaction: purchases go on, and must neither wait nor deadlock. Safe to repeat."""
    with op.get_context().autocommit_block():
        _fix_events()
        _mark_made_keys()
        _add_email_keys()
        _fill_email_keys(op.get_bind())


def downgrade() -> None:
    raise NotImplementedError("the ledger is never dropped; restore a backup instead")


def _fix_events() -> None:
    op.execute("ALTER TABLE redemptions ADD COLUMN IF NOT EXISTS currency varchar(3)")
    op.execute("ALTER TABLE redemptions ADD COLUMN IF NOT EXISTS contact bytea")
    op.execute("ALTER TABLE refunds ADD COLUMN IF NOT EXISTS contact bytea")


def _mark_made_keys() -> None:
    op.execute("ALTER TABLE idempotency_keys ADD COLUMN IF NOT EXISTS is_made boolean NOT NULL DEFAULT false")
    op.execute("""
        CREATE INDEX IF NOT EXISTS ix_idempotency_keys_made_refused ON idempotency_keys (created_at)
        WHERE is_made IS TRUE AND status >= 400
    """)
    op.execute("CREATE INDEX IF NOT EXISTS ix_shopify_webhooks_processed_at ON shopify_webhooks (processed_at)")


def _add_email_keys() -> None:
    op.execute("ALTER TABLE customers ADD COLUMN IF NOT EXISTS email_key varchar")
    # The indexes are built while the column is empty, which takes a moment.
    op.execute("CREATE UNIQUE INDEX IF NOT EXISTS uq_customers_shop_id_email_key ON customers (shop_id, email_key)")
    op.execute("DROP INDEX IF EXISTS ix_customers_by_address")
    op.execute("""
        CREATE INDEX IF NOT EXISTS ix_customers_by_address_key
        ON customers USING gin (address_parts(shop_id, email_key)) WITH (fastupdate = off)
    """)
    _key_emails_of_older_versions()


def _key_emails_of_older_versions() -> None:
    """Set the key where the writer does not know the column: an older version, which runs beside the new one.

    Exact for ASCII. Other letters stay as they are, as lower-casing them depends on the database's locale.
    """
    op.execute("""
        CREATE OR REPLACE FUNCTION key_email() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.email_key := lower(NEW.email COLLATE "C");
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE OR REPLACE TRIGGER customers_email_keyed BEFORE INSERT ON customers FOR EACH ROW
        WHEN (NEW.email IS NOT NULL AND NEW.email_key IS NULL) EXECUTE FUNCTION key_email()
    """)
    # The key can be the same as before because only the case has changed. Then it fits the address, at least in ASCII.
    op.execute(r"""
        CREATE OR REPLACE TRIGGER customers_email_changed BEFORE UPDATE OF email ON customers FOR EACH ROW
        WHEN (NEW.email IS DISTINCT FROM OLD.email AND NEW.email_key IS NOT DISTINCT FROM OLD.email_key
              AND regexp_replace(NEW.email_key, '[^\x01-\x7f]+', '', 'g')
                  IS DISTINCT FROM regexp_replace(lower(NEW.email COLLATE "C"), '[^\x01-\x7f]+', '', 'g'))
        EXECUTE FUNCTION key_email()
    """)


def _fill_email_keys(connection: Connection) -> None:
    """Set the missing keys. Of two addresses with one key, the one that equals the key has been found so far."""
    for shop_id, customer_id, email in _without_key(connection):
        if address_key(email) == email:
            _fill(connection, shop_id, customer_id, email)
    for row in _without_key(connection):
        _fill(connection, *row)


_PAGE = text("""
    SELECT shop_id, id, email FROM customers
    WHERE email IS NOT NULL AND email_key IS NULL AND (shop_id, id) > (:shop_id, :id)
    ORDER BY shop_id, id LIMIT :page
""")


def _without_key(connection: Connection) -> Iterator[tuple[int, str, str]]:
    after = (0, "")
    while rows := connection.execute(_PAGE, {"shop_id": after[0], "id": after[1], "page": PAGE}).all():
        for row in rows:
            yield row.shop_id, row.id, row.email
        after = (rows[-1].shop_id, rows[-1].id)


_FILL = text("""
    UPDATE customers SET email_key = :key
    WHERE shop_id = :shop_id AND id = :id AND email = :email AND email_key IS NULL
      AND NOT EXISTS (SELECT FROM customers o WHERE o.shop_id = :shop_id AND o.email_key = :key)
""")


def _fill(connection: Connection, shop_id: int, customer_id: str, email: str) -> None:
    values = {"shop_id": shop_id, "id": customer_id, "email": email, "key": address_key(email)}
    connection.execute(_FILL, values)
