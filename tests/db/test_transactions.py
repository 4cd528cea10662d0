"""Which errors mean that the database is unreachable, and what is done at a commit."""

import asyncio
from functools import partial

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from database import Sessions
from db import transactions
from db.transactions import is_unreachable
from tests.waiting import locks_waited_for, wait_until


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        PoolTimeoutError(),
        OperationalError(None, None, Exception()),
        InterfaceError(None, None, Exception()),
        InternalError(None, None, Exception()),
        DBAPIError(None, None, Exception("the database system is starting up")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_connection_errors_are_retried(error: Exception) -> None:
    assert is_unreachable(error)


@pytest.mark.parametrize(
    "error", [IntegrityError(None, None, Exception()), DataError(None, None, Exception()), ValueError()], ids=str
)
def test_a_rejected_statement_is_not_retried(error: Exception) -> None:
    assert not is_unreachable(error)


async def test_a_deadlock_is_a_bug_and_no_outage(store: Sessions) -> None:
    async with store.begin() as session:
        await session.execute(text("SET LOCAL deadlock_timeout = '10ms'"))
        await session.execute(text("SELECT pg_advisory_xact_lock(1)"))

        async def lock_in_other_order() -> None:
            async with store.begin() as other:
                await other.execute(text("SET LOCAL deadlock_timeout = '10s'"))
                await other.execute(text("SELECT pg_advisory_xact_lock(2)"))
                await other.execute(text("SELECT pg_advisory_xact_lock(1)"))

        waiting = asyncio.ensure_future(lock_in_other_order())
        await wait_until(lambda: locks_waited_for(store))
        with pytest.raises(DBAPIError, match="deadlock detected") as found:
            await session.execute(text("SELECT pg_advisory_xact_lock(2)"))
        await session.rollback()
        await waiting

    assert not is_unreachable(found.value)


async def test_an_action_waits_for_the_commit(store: Sessions) -> None:
    done: list[str] = []
    async with store.begin() as session:
        await session.execute(text("SELECT 1"))
        transactions.at_commit(session, partial(done.append, "counted"))
        assert done == []
    assert done == ["counted"]


async def test_a_rollback_does_no_action(store: Sessions) -> None:
    done: list[str] = []
    async with store.begin() as session:
        transactions.at_commit(session, partial(done.append, "counted"))
        await session.rollback()
    assert done == []
