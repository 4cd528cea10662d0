"""The previous release's code runs on this release's schema: while a release is rolled out, and after a rollback."""

import io
import signal
import subprocess
import sys
import tarfile
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from local_stack.options import vendor_settings
from tests.builders import a_customer, a_lot, a_shop
from tests.e2e.deployment import COST, Deployment, api_process, empty_deployment

PREVIOUS = "379b431"
"""Commit of the previous release. To be set when a release is made."""
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def previous_code(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A directory with the previous release."""
    archive = subprocess.run(["git", "archive", PREVIOUS], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode != 0:
        pytest.skip(f"needs the git history with commit {PREVIOUS}: clone without --depth")
    folder = tmp_path_factory.mktemp("previous")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return str(folder)


@pytest.fixture
async def unsealed(deployment: Deployment, tmp_path: Path) -> AsyncGenerator[Deployment]:
    """A migrated deployment. Workflow data is sealed once no process of the previous release is left."""
    vendors = vendor_settings(deployment.stack.vendor_url)
    async with empty_deployment(deployment, tmp_path, vendors) as unsealed:
        await unsealed.stack.run("migrate", sys.executable, "-m", "cli", "migrate")
        yield unsealed


async def test_the_previous_release_sells_on_this_schema(unsealed: Deployment, previous_code: str) -> None:
    """During a release its API runs beside this release's workers, after a rollback with its own."""
    shop = await unsealed.open_shop(a_shop(a_customer(a_lot(3 * COST))))
    async with api_process(unsealed.stack, {"PYTHONPATH": previous_code}) as (_, api):
        worker = await unsealed.start_worker()
        first = await shop.purchase(key="during", api=api)
        await worker.end(signal.SIGTERM)
        await unsealed.start_worker(code=previous_code)
        bought = [first, await shop.purchase(key="after", api=api), await shop.purchase(key="refunded", api=api)]
        assert [one.status_code for one in bought] == [201, 201, 201], [one.text for one in bought]
        refund = f"/v1/reward-history/{bought[2].json()['data']['id']}/refund"
        assert (await shop.send("POST", refund, None, api=api)).status_code == 200
        await unsealed.ended(shop, purchases=3)
        customer = await shop.send("GET", f"/v1/customers/{shop.customers[0]}", None, api=api)

    assert customer.json()["data"]["attributes"]["current_points"] == COST
    await unsealed.audit_ledger()
