"""A database that is away is told from one that refuses a statement."""

import pytest
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from db.transactions import is_away


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
def test_a_database_that_is_away_is_worth_waiting_for(error: Exception) -> None:
    assert is_away(error)


@pytest.mark.parametrize(
    "error", [IntegrityError(None, None, Exception()), DataError(None, None, Exception()), ValueError()], ids=str
)
def test_a_statement_that_is_refused_is_not(error: Exception) -> None:
    assert not is_away(error)
