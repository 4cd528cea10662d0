"""Migrations of a database with data, while an older version runs."""

from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from pydantic import SecretStr
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from database import connect, migrate

ALEMBIC = Path(__file__).parents[2] / "db" / "alembic.ini"


@pytest.fixture
async def older(engine: AsyncEngine) -> AsyncGenerator[AsyncEngine]:
    """A database of the version before the keys of e-mail addresses."""
    admin = create_async_engine(engine.url, isolation_level="AUTOCOMMIT")
    async with admin.connect() as connection:
        await connection.execute(text("DROP DATABASE IF EXISTS older"))
        await connection.execute(text("CREATE DATABASE older TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"))
    url = engine.url.set(database="older").render_as_string(hide_password=False)
    older = connect(SecretStr(url), statement_timeout=None)
    await on_connection(older, lambda config: command.upgrade(config, "0005-1"))
    yield older
    await older.dispose()
    await admin.dispose()


async def on_connection(engine: AsyncEngine, run: Callable[[Config], None]) -> None:
    """Run a command of alembic."""

    def with_config(connection: Connection) -> None:
        config = Config(ALEMBIC)
        config.attributes["connection"] = connection
        run(config)

    async with engine.connect() as connection:
        await connection.run_sync(with_config)


async def write(engine: AsyncEngine, statement: str, **values: Any) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(statement), values)


async def add_customer(engine: AsyncEngine, customer_id: str, email: str | None) -> None:
    """Add a customer as the older version does."""
    statement = "INSERT INTO customers (shop_id, id, email) VALUES (1, :id, :email)"
    await write(engine, statement, id=customer_id, email=email)


async def keys(engine: AsyncEngine) -> dict[str, str | None]:
    """Customer → key of the e-mail address."""
    async with engine.connect() as connection:
        rows = await connection.execute(text("SELECT id, email_key FROM customers ORDER BY id"))
        return {row.id: row.email_key for row in rows}


async def test_existing_addresses_get_their_keys(older: AsyncEngine) -> None:
    await write(older, "INSERT INTO shops (id, domain, name, currency) VALUES (1, 'a.myshopify.com', 'A', 'GBP')")
    emails = {"1": "Ünal@Shopper.io", "2": None, "3": "ünal@shopper.io", "4": "JANE@shopper.io", "5": "sam@shopper.io"}
    for customer, email in emails.items():
        await add_customer(older, customer, email)

    await migrate(older)
    await migrate(older)

    # In this locale the first could not be found before either: another customer has its address.
    assert await keys(older) == {
        "1": None,
        "2": None,
        "3": "ünal@shopper.io",
        "4": "jane@shopper.io",
        "5": "sam@shopper.io",
    }


async def test_addresses_written_by_the_older_version_get_keys(older: AsyncEngine) -> None:
    await migrate(older)
    await write(older, "INSERT INTO shops (id, domain, name, currency) VALUES (1, 'a.myshopify.com', 'A', 'GBP')")
    for customer in ("1", "2", "3"):
        await add_customer(older, customer, f"Jane.{customer}@Shopper.io")
    await write(older, "UPDATE customers SET email = 'Sam@Shopper.io' WHERE id = '2'")
    await write(older, "UPDATE customers SET email = NULL WHERE id = '3'")

    assert await keys(older) == {"1": "jane.1@shopper.io", "2": "sam@shopper.io", "3": None}


async def test_a_change_of_case_keeps_the_key(older: AsyncEngine) -> None:
    await migrate(older)
    await write(older, "INSERT INTO shops (id, domain, name, currency) VALUES (1, 'a.myshopify.com', 'A', 'GBP')")
    values = {"email": "ünal@shopper.io", "key": "ünal@shopper.io"}
    await write(older, "INSERT INTO customers (shop_id, id, email, email_key) VALUES (1, '1', :email, :key)", **values)

    await write(
        older, "UPDATE customers SET email = :email, email_key = :key", **{**values, "email": "Ünal@Shopper.io"}
    )

    assert await keys(older) == {"1": "ünal@shopper.io"}


async def test_a_rollback_leaves_the_schema_of_the_newer_release(older: AsyncEngine) -> None:
    await write(older, "UPDATE alembic_version SET version_num = 'of-a-newer-release'")

    assert not await migrate(older)

    async with older.connect() as connection:
        revisions = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalars().all()
    assert revisions == ["of-a-newer-release"]
