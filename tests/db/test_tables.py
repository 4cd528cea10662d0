"""Assignments to loaded rows follow the state machines."""

from pathlib import Path

import pytest

from db.tables import Base, Delivery, DiscountCode, Redemption, Refund
from domain.deliveries import DeliveryStatus
from domain.discounts import CodeState
from domain.redemptions import RedemptionStatus
from domain.refunds import RefundStatus
from domain.states import State

TRANSITIONS = [
    (Redemption, "status", RedemptionStatus.PENDING, RedemptionStatus.ACTIVE, RedemptionStatus.FAILED),
    (DiscountCode, "state", CodeState.PLANNED, CodeState.FENCED, CodeState.LIVE),
    (Delivery, "status", DeliveryStatus.PENDING, DeliveryStatus.SENT, DeliveryStatus.SKIPPED),
    (Refund, "status", RefundStatus.PENDING, RefundStatus.DONE, RefundStatus.REFUSED),
]


@pytest.mark.parametrize(("table", "column", "first", "allowed", "forbidden"), TRANSITIONS)
def test_a_forbidden_assignment_fails(
    table: type[Base], column: str, first: State, allowed: State, forbidden: State
) -> None:
    row = table(**{column: first})
    setattr(row, column, allowed)

    with pytest.raises(AssertionError, match=f"cannot change from {allowed} to {forbidden}"):
        setattr(row, column, forbidden)

    assert getattr(row, column) is allowed


def test_the_page_about_data_names_every_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text()

    assert {name for name in Base.metadata.tables if f"`{name}`" not in page} == set()
