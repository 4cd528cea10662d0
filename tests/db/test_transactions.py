"""Which errors mean that the database is unreachable."""

import pytest
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from db.transactions import is_unreachable


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
