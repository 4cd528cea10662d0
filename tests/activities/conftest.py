"""Activities without a workflow."""

import pytest

from tests.builders import a_lot
from tests.service import Service
from tests.steps import Steps, steps_for


@pytest.fixture
def service(without_temporal: Service) -> Service:
    return without_temporal


@pytest.fixture
async def steps(service: Service) -> Steps:
    """Steps of a customer with 300 older and 400 newer points."""
    return await steps_for(service, a_lot(300, days_old=20), a_lot(400))
