"""`pointsaga status`: whether customers can buy, and what to do if they cannot."""

from datetime import timedelta

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import PollWorkflowTaskQueueRequest

from clients.temporal import PROBLEMS
from commands.status import print_findings
from db import tables
from db.vault import Vault
from services.findings import Finding, merge
from services.schedules import RECONCILE, apply_schedules
from tests.builders import Json, a_customer, a_lot, a_shop, encrypt_with_lost_key
from tests.commands.conftest import CommandLine, command_line
from tests.commands.scenes import buy_delivered, buy_rejected, buy_terminated, open_shop
from tests.faults import REJECTED_CUSTOMER, VendorFault
from tests.service import Service
from tests.shop import Shop
from tests.waiting import wait_until


async def findings(pointsaga: CommandLine, *, status: int) -> list[Json]:
    """What `status` finds, without the schedules, which most tests do without."""
    found = (await pointsaga("status", "--json", status=status)).json["findings"]
    return [one for one in found if "schedule" not in one["what"]]


async def test_a_working_deployment_has_no_findings(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    await buy_delivered(shop)

    report = (await pointsaga("status", "--json")).json

    assert report["customers_can_buy"]
    assert (report["database"], report["workflow_service"]) == (True, True)
    assert [queue["dispatch"] for queue in report["task_queues"]] == ["ok", "ok"]
    [mine] = report["shops"]
    assert mine["shop"] == shop.domain
    assert mine["credentials"] == dict.fromkeys(["klaviyo", "omnisend", "postscript", "shopify"], "accepted")
    assert [(one["outcome"], one["number"]) for one in mine["purchases"]] == [("purchased", 1)]
    assert (mine["failing_deliveries"], mine["backlog"]) == ([], None)
    assert await findings(pointsaga, status=0) == []
    assert "customers can buy: yes" in (await pointsaga("status")).out


async def test_refusals_are_counted_by_their_code(service: Service, pointsaga: CommandLine) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(5))))
    assert (await shop.purchase()).status_code == 422

    [mine] = (await pointsaga("status", "--json")).json["shops"]

    [refused] = mine["purchases"]
    assert (refused["outcome"], refused["code"], refused["number"]) == ("refused", "insufficient_points", 1)


async def test_a_dead_token_is_one_finding_until_a_purchase_succeeds(
    service: Service, shop: Shop, pointsaga: CommandLine
) -> None:
    await service.inject("shopify", VendorFault.UNAUTHORIZED, times=None)
    for _ in range(3):
        assert (await shop.purchase()).status_code == 503

    [finding] = await findings(pointsaga, status=1)
    [listed] = (await pointsaga("stuck", "--json", status=1)).json
    [mine] = (await pointsaga("status", "--json", status=1)).json["shops"]

    assert (finding["shop"], finding["blocks_purchases"]) == (shop.domain, True)
    assert finding["what"].startswith("purchases fail (3): Shopify: ")
    assert finding["command"] == f"pointsaga credentials set {shop.domain} shopify"
    assert finding["since"]
    assert mine["credentials"]["shopify"] == "rejected"
    assert (listed["kind"], listed["shop"], listed["command"]) == ("blocks_purchases", shop.domain, finding["command"])
    await service.clear_faults("shopify")
    await buy_delivered(shop)
    assert await findings(pointsaga, status=0) == []


async def test_a_rejected_customer_does_not_block_the_others(
    service: Service, shop: Shop, pointsaga: CommandLine
) -> None:
    await service.add_fault("shopify", **REJECTED_CUSTOMER)
    assert (await shop.purchase()).status_code == 503

    [finding] = await findings(pointsaga, status=0)

    assert finding["what"].startswith("purchases fail (1): Shopify: ")
    assert "Customer is invalid" in finding["what"]
    assert not finding["blocks_purchases"]


async def test_a_new_token_settles_the_finding(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    await service.inject("shopify", VendorFault.UNAUTHORIZED)
    assert (await shop.purchase()).status_code == 503
    assert await findings(pointsaga, status=1)

    await service.import_shop({**a_shop(), "domain": shop.domain, "api_keys": []})

    assert await findings(pointsaga, status=0) == []


async def test_shopify_being_down_is_a_finding(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    await service.inject("shopify", VendorFault.DOWN)
    assert (await shop.purchase()).status_code == 503

    [finding] = await findings(pointsaga, status=1)

    assert "Shopify: ConnectError" in finding["what"]
    assert finding["command"].startswith("wait for Shopify")
    await service.clear_faults("shopify")


async def test_a_wrong_encryption_key_is_one_finding(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    for one in (shop, await open_shop(service), await open_shop(service)):
        await one.set_credentials(shopify=encrypt_with_lost_key(access_token="shpat_lost"))
    assert (await shop.purchase()).status_code == 503

    [finding] = await findings(pointsaga, status=1)

    assert finding["what"] == "none of ENCRYPTION_KEYS decrypts the credentials of 3 shops"
    assert finding["command"].startswith("add the key")


async def test_an_unreadable_webhook_secret_is_a_finding(without_temporal: Service) -> None:
    pointsaga, secret = command_line(without_temporal), {"access_token": "shpat_own", "webhook_secret": "own"}
    shop = await without_temporal.open_shop(a_shop(shopify=secret))
    lost = Vault([SecretStr(Fernet.generate_key().decode())]).seal_text(SecretStr("own"))
    async with without_temporal.store.begin() as session:
        (await session.get_one(tables.Shop, (await shop.row()).id)).webhook_secrets = [lost]

    [finding] = [one for one in await findings(pointsaga, status=1) if one["shop"]]

    assert finding["what"] == f"none of ENCRYPTION_KEYS decrypts the webhook secret of {shop.domain}: webhooks get 503"
    assert (finding["shop"], finding["blocks_purchases"]) == (shop.domain, False)
    assert finding["command"].startswith("add the key")


async def test_a_rejected_channel_prevents_no_purchase(service: Service, pointsaga: CommandLine) -> None:
    shop = await open_shop(service, 3)
    await buy_rejected(shop)

    [finding] = await findings(pointsaga, status=0)

    assert finding["what"].startswith("deliveries were rejected by klaviyo (3): HTTP 401")
    command = f"pointsaga credentials set {shop.domain} klaviyo, then pointsaga redrive --query "
    assert finding["command"].startswith(command)
    await service.clear_faults("klaviyo")
    await pointsaga("redrive", "--yes", "--query", finding["command"].partition('"')[2].rstrip('"'))
    await wait_until(lambda: _has_no_findings(pointsaga))


async def _has_no_findings(pointsaga: CommandLine) -> bool:
    return await findings(pointsaga, status=0) == []


async def test_a_vendor_that_is_down_is_a_finding(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    await service.inject("klaviyo", VendorFault.DOWN)
    assert (await shop.purchase()).status_code == 201

    async def is_found() -> bool:
        return any("to klaviyo are retried (1)" in one["what"] for one in await findings(pointsaga, status=0))

    await wait_until(is_found)
    await service.clear_faults("klaviyo")


async def test_a_terminated_purchase_is_found_at_once(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    await buy_terminated(shop)

    found = await findings(pointsaga, status=0)

    [gone] = [one for one in found if "run gone" in one["what"]]
    assert "the workflow is terminated" in gone["what"]
    advice, _, redemption = gone["command"].rpartition(" ")
    assert advice == "wait a minute, or pointsaga redrive"
    await pointsaga("redrive", redemption, "--yes")
    await wait_until(lambda: _has_no_findings(pointsaga))


async def test_a_missing_worker_is_found(idle: Service) -> None:
    pointsaga = command_line(idle)

    purchases, background = await findings(pointsaga, status=1)
    rows = (await pointsaga("stuck", "--json", status=1)).json

    assert purchases["what"].startswith("no worker polls ")
    assert (purchases["blocks_purchases"], background["blocks_purchases"]) == (True, False)
    assert purchases["command"] == "python -m worker"
    assert [row["why"] for row in rows] == [purchases["what"]]
    async with idle.worker():
        await wait_until(lambda: _has_no_findings(pointsaga))


async def test_schedules_that_are_missing_or_paused_are_found(service: Service, pointsaga: CommandLine) -> None:
    async def schedules() -> dict[str, str]:
        return {one["id"]: one["state"] for one in (await pointsaga("status", "--json")).json["schedules"]}

    queue = service.settings.temporal_task_queue
    # Other tests leave schedules.
    for schedule, state in (await schedules()).items():
        if state != "missing":
            await service.temporal.get_schedule_handle(schedule).delete()
    assert set((await schedules()).values()) == {"missing"}
    for schedule in await apply_schedules(service.temporal, task_queue=queue):
        handle = service.temporal.get_schedule_handle(schedule)
        if schedule == RECONCILE:
            await handle.pause()
    assert (await schedules())[RECONCILE] == "paused"
    assert "pointsaga schedules apply" in (await pointsaga("status")).out
    await pointsaga("schedules", "apply")
    assert set((await schedules()).values()) == {"alive"}
    for schedule in await schedules():
        await service.temporal.get_schedule_handle(schedule).delete()


async def test_database_and_workflow_service_away_are_found(pointsaga: CommandLine) -> None:
    nowhere = {"DATABASE_URL": "postgresql+asyncpg://user@127.0.0.1:1/none", "TEMPORAL_ADDRESS": "127.0.0.1:1"}

    result = await pointsaga("status", status=1, **nowhere)

    assert "customers can buy: NO" in result.out
    assert "the database does not answer" in result.out
    assert "the workflow service does not answer" in result.out


async def test_a_workflow_task_that_timed_out_is_no_bug(idle: Service) -> None:
    """A worker takes the task and freezes."""
    pointsaga, queue = command_line(idle), TaskQueue(name=idle.settings.temporal_task_queue)
    await idle.temporal.start_workflow("RedeemReward", id="redemption-cr_frozen-1", task_queue=queue.name)
    poll = PollWorkflowTaskQueueRequest(namespace="default", task_queue=queue, identity="frozen")
    await idle.temporal.workflow_service.poll_workflow_task_queue(poll, timeout=timedelta(seconds=20))
    handle = idle.temporal.get_workflow_handle("redemption-cr_frozen-1")

    async def has_timed_out() -> bool:
        attributes = (await handle.describe()).typed_search_attributes
        return "category=WorkflowTaskTimedOut" in (attributes.get(PROBLEMS) or [])

    await wait_until(has_timed_out)

    async def is_listed() -> bool:
        rows = (await pointsaga("stuck", "--older-than", "0s", "--json", status=1, PURCHASE_DEADLINE_SECONDS="1")).json
        found = [row for row in rows if row["run"] == "redemption-cr_frozen-1"]
        return [row["kind"] for row in found] in (["no_worker"], ["undecided"])

    await wait_until(is_listed)
    await handle.terminate()


def test_more_than_three_shops_alike_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    alike = [Finding(what="purchases fail", shop=f"shop-{number}", command="wait") for number in range(4)]

    print_findings(merge(alike))

    assert capsys.readouterr().out == "- now: purchases fail, at 4 shops. To settle it: wait, likewise for each shop\n"
