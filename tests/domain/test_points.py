"""Drawing points. The invariants, for any lots and any cost:

1. A draw takes exactly the requested points, or raises and takes nothing.
2. No lot is overdrawn.
3. An expired lot is never drawn.
4. Lots are drawn oldest first: only the last one may have points left.
5. A draw is never refused if the usable lots have enough points.
"""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InsufficientPoints
from domain.points import Draw, Lot, draw_fifo, expiry_after_release

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def a_lot(lot_id: int = 1, *, points: int = 100, days_old: int = 10, expires_in: timedelta | None = None) -> Lot:
    return Lot(
        id=lot_id,
        remaining=points,
        earned_at=NOW - timedelta(days=days_old),
        expires_at=None if expires_in is None else NOW + expires_in,
    )


_expiries = st.one_of(st.none(), st.timedeltas(min_value=timedelta(days=-2), max_value=timedelta(days=2)))
_lots = st.lists(
    st.builds(
        a_lot,
        st.integers(1, 10_000),
        points=st.integers(0, 500),
        days_old=st.integers(0, 5),
        expires_in=_expiries,
    ),
    max_size=12,
    unique_by=lambda lot: lot.id,
)


@given(lots=_lots, points=st.integers(1, 3_000))
def test_a_draw_is_exact_and_oldest_first(lots: list[Lot], points: int) -> None:
    usable = sorted((lot for lot in lots if lot.is_usable(NOW)), key=lambda lot: (lot.earned_at, lot.id))
    available = sum(lot.remaining for lot in usable)

    if available < points:
        with pytest.raises(InsufficientPoints) as refusal:
            draw_fifo(lots, points, now=NOW)
        assert (refusal.value.requested, refusal.value.available) == (points, available)
        return
    draws = draw_fifo(lots, points, now=NOW)

    assert sum(draw.points for draw in draws) == points
    assert [draw.lot_id for draw in draws] == [lot.id for lot in usable[: len(draws)]]
    assert all(0 < draw.points <= lot.remaining for draw, lot in zip(draws, usable, strict=False))
    assert all(draw.points == lot.remaining for draw, lot in zip(draws[:-1], usable, strict=False))


def test_the_older_lot_is_drawn_first() -> None:
    lots = [a_lot(1, points=500, days_old=1), a_lot(2, points=300, days_old=9)]

    assert draw_fifo(lots, 400, now=NOW) == [Draw(lot_id=2, points=300), Draw(lot_id=1, points=100)]


def test_lots_of_the_same_time_are_drawn_by_id() -> None:
    assert draw_fifo([a_lot(7), a_lot(3)], 100, now=NOW) == [Draw(lot_id=3, points=100)]


def test_a_lot_is_unusable_when_it_expires() -> None:
    with pytest.raises(InsufficientPoints) as refusal:
        draw_fifo([a_lot(expires_in=timedelta())], 1, now=NOW)

    assert refusal.value.available == 0


def test_returned_points_expire_after_a_grace_period() -> None:
    week = timedelta(days=7)

    assert expiry_after_release(NOW - timedelta(seconds=1), now=NOW, grace=week) == NOW + week
    assert expiry_after_release(NOW, now=NOW, grace=week) == NOW + week
    assert expiry_after_release(NOW + timedelta(days=1), now=NOW, grace=week) == NOW + timedelta(days=1)
    assert expiry_after_release(None, now=NOW, grace=week) is None
