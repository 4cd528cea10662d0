"""The schema in PostgreSQL."""

from collections.abc import AsyncGenerator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from database import Sessions
from db.tables import Base
from tests.builders import a_customer, a_lot, a_shop
from tests.service import Service

SCHEMA = """
    SELECT 'column ' || c.relname || '.' || a.attname,
           concat_ws(' ', format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'NOT NULL' END,
                     nullif(a.attidentity, ''), pg_get_expr(d.adbin, d.adrelid))
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'r'
    JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
    LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
    WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relname <> 'alembic_version'
    UNION ALL
    SELECT 'constraint ' || conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conrelid <> 0 AND conrelid::regclass::text <> 'alembic_version'
    UNION ALL
    SELECT 'index ' || indexname, indexdef FROM pg_indexes
    WHERE schemaname = 'public' AND tablename <> 'alembic_version'
"""
FUNCTIONS = [f"SELECT pg_get_functiondef('{name}'::regproc)" for name in ("address_parts", "creation_time")]


@pytest.fixture
async def created_from_tables(engine: AsyncEngine) -> AsyncGenerator[AsyncEngine]:
    """A database made by `Base.metadata`, with the functions that its indexes and defaults need."""
    admin = create_async_engine(engine.url, isolation_level="AUTOCOMMIT")
    async with admin.connect() as connection:
        functions = [await connection.scalar(text(query)) for query in FUNCTIONS]
        await connection.execute(text("DROP DATABASE IF EXISTS from_tables"))
        await connection.execute(text("CREATE DATABASE from_tables"))
    created = create_async_engine(engine.url.set(database="from_tables"))
    async with created.begin() as connection:
        for function in functions:
            await connection.exec_driver_sql(str(function))
        await connection.run_sync(Base.metadata.create_all)
    yield created
    await created.dispose()
    await admin.dispose()


async def test_migrations_create_the_tables(engine: AsyncEngine, created_from_tables: AsyncEngine) -> None:
    assert await _schema(engine) == await _schema(created_from_tables)


async def _schema(engine: AsyncEngine) -> dict[str, str]:
    async with engine.connect() as connection:
        return {row[0]: row[1] for row in await connection.execute(text(SCHEMA))}


@pytest.mark.parametrize(
    "statement",
    ["UPDATE ledger_entries SET points = points + 1", "DELETE FROM ledger_entries", "TRUNCATE ledger_entries CASCADE"],
)
async def test_ledger_entries_cannot_be_changed(service: Service, store: Sessions, statement: str) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(100))))

    async with store() as session:
        with pytest.raises(DBAPIError, match="append-only"):
            await session.execute(text(statement))

    assert await shop.balance() == 100


async def test_a_lot_stays_between_zero_and_its_points(service: Service, store: Sessions) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(100))))

    for remaining in (-1, 101):
        statement = text("UPDATE point_lots SET remaining = :remaining WHERE customer_id = :customer")
        async with store() as session:
            with pytest.raises(DBAPIError, match="ck_point_lots_remaining"):
                await session.execute(statement, {"remaining": remaining, "customer": shop.customers[0]})
