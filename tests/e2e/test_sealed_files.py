"""What a thief of the disks finds: the raw files of Temporal and PostgreSQL, while workflow data is sealed."""

import sys
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import text
from temporalio.client import Client

from clients.sealed_payloads import data_converter
from tests.builders import ALL_VENDORS, a_customer, a_lot, a_shop
from tests.e2e.deployment import COST, Deployment
from tests.faults import VendorFault
from tests.workflows.replay import replayer
from workflows.redeem_reward import RedeemReward


async def test_files_hold_no_secret_and_no_workflow_data(deployment: Deployment) -> None:
    customer = a_customer(a_lot(COST))
    document = a_shop(customer)
    shop = await deployment.open_shop(document)
    await deployment.start_worker()
    await deployment.inject("klaviyo", VendorFault.UNAUTHORIZED, times=None)
    bought = (await shop.purchase()).json()["data"]
    await shop.wait_for_delivery("klaviyo", "failed")
    # Operators write what they like into a reason.
    personal = [customer["email"], customer["phone"], bought["attributes"]["discount_code"]]
    words = ("skip", bought["id"], "--channel", "klaviyo", "--reason", f"asked by {' '.join(personal)}", "--yes")
    await deployment.stack.run("skip", sys.executable, "-m", "cli", *words)
    await deployment.ended(shop)

    temporal, postgres = await raw_files(deployment)

    # Workflow ids are clear. It also shows that the files are the right ones.
    assert bought["id"].encode() in temporal
    assert bought["id"].encode() in postgres
    tokens = [value for vendor in ALL_VENDORS for value in document[vendor].values()]
    fields = ["redemption_id", "shop_domain", "£5 off your next order", "HTTP 401", "authentication_failed"]
    assert [one for one in (*tokens, *personal, *fields) if one.encode() in temporal] == []
    assert [one for one in tokens if one.encode() in postgres] == []


async def test_a_sealed_history_is_replayed(deployment: Deployment) -> None:
    shop = await deployment.open_shop(a_shop(a_customer(a_lot(COST))))
    await deployment.start_worker()
    redemption = (await shop.purchase()).json()["data"]["id"]
    await deployment.ended(shop)

    history = await deployment.purchase_workflow(redemption).fetch_history()

    await replayer(converter=deployment.temporal.data_converter).replay_workflow(history)
    assert "shop_domain" not in str(history.to_json_dict())


async def test_clear_workflow_data_would_be_found(deployment: Deployment) -> None:
    """The search of the test above finds what is not sealed."""
    unsealed = await Client.connect(deployment.stack.temporal_address, data_converter=data_converter((), "default"))
    await unsealed.start_workflow(
        RedeemReward.run.__name__, "jane@clear.example", id="unsealed", task_queue="nobody", static_summary="£6 off"
    )

    temporal, _ = await raw_files(deployment)

    assert b"jane@clear.example" in temporal
    assert "£6 off".encode() in temporal
    await unsealed.get_workflow_handle("unsealed").terminate()


async def raw_files(deployment: Deployment) -> tuple[bytes, bytes]:
    """The files of Temporal's database and of PostgreSQL's."""
    async with deployment.store() as session:
        await session.execute(text("CHECKPOINT"))
    home = deployment.stack.home
    return contents(home.glob("temporal.db*")), contents((home / "postgres").rglob("*"))


def contents(paths: Iterable[Path]) -> bytes:
    return b"\n".join(path.read_bytes() for path in paths if path.is_file())
