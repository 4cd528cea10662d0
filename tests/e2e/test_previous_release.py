"""The previous release's code runs on this release's schema: while a release is rolled out, and after a rollback."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.builders import a_customer, a_lot, a_shop
from tests.e2e.deployment import COST, Deployment, api_process

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


@pytest.mark.parametrize("worker_code", ["previous", "this"])
async def test_the_previous_release_sells_on_this_schema(
    deployment: Deployment, previous_code: str, worker_code: str
) -> None:
    """With its own worker after a rollback, and with this release's, which is replaced first, during a release."""
    shop = await deployment.open_shop(a_shop(a_customer(a_lot(2 * COST))))
    await deployment.start_worker(code=previous_code if worker_code == "previous" else "")
    async with api_process(deployment.stack, {"PYTHONPATH": previous_code}) as (_, api):
        bought = [await shop.purchase(key=f"{worker_code}-{number}", api=api) for number in range(2)]
        assert [one.status_code for one in bought] == [201, 201], [one.text for one in bought]
        refund = f"/v1/reward-history/{bought[0].json()['data']['id']}/refund"
        assert (await shop.send("POST", refund, None, api=api)).status_code == 200

    await deployment.ended(shop, purchases=2)
    assert await shop.balance() == COST
    await deployment.audit_ledger()
