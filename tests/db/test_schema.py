"""The schema in PostgreSQL: as the tables say, and unforgiving."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from database import Sessions
from db.tables import Base
from tests.service import Service, a_customer, a_lot, a_shop


async def test_the_migrations_make_what_the_tables_describe(engine: AsyncEngine) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []


@pytest.mark.parametrize(
    "statement",
    ["UPDATE ledger_entries SET points = points + 1", "DELETE FROM ledger_entries", "TRUNCATE ledger_entries CASCADE"],
)
async def test_nobody_edits_a_ledger_entry(service: Service, store: Sessions, statement: str) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(100))))

    async with store() as session:
        with pytest.raises(DBAPIError, match="append-only"):
            await session.execute(text(statement))

    assert await shop.balance() == 100


async def test_a_lot_can_neither_go_below_zero_nor_above_what_was_earned(service: Service, store: Sessions) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(100))))

    for remaining in (-1, 101):
        statement = text("UPDATE point_lots SET remaining = :remaining WHERE customer_id = :customer")
        async with store() as session:
            with pytest.raises(DBAPIError, match="ck_point_lots_remaining"):
                await session.execute(statement, {"remaining": remaining, "customer": shop.customers[0]})
