"""What a session sees and may do."""

import pytest
from sqlalchemy import delete, func, select
from sqlalchemy.exc import DBAPIError

from database import Sessions
from db.tables import PointLot
from tests.builders import a_customer, a_lot, a_shop
from tests.service import Service


async def test_a_snapshot_does_not_see_later_purchases(service: Service, store: Sessions) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(600))))
    points = select(func.sum(PointLot.remaining))
    async with store.snapshot() as session:
        assert await session.scalar(points) == 600

        assert (await shop.purchase()).status_code == 201

        assert await session.scalar(points) == 600
    assert await shop.balance() == 100


async def test_a_snapshot_cannot_be_written_to(store: Sessions) -> None:
    async with store.snapshot() as session:
        with pytest.raises(DBAPIError, match="read-only transaction"):
            await session.execute(delete(PointLot))
