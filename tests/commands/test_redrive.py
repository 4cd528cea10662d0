"""`pointsaga redrive`: many redemptions, interrupted and repeated."""

import signal
from asyncio.subprocess import Process

import pytest

from services import actions, redrive
from tests.commands.conftest import CommandLine, command_line
from tests.commands.scenes import (
    an_hour_later,
    buy_rejected,
    buy_terminated,
    delivery_statuses,
    logged_actions,
    open_shop,
    wait_until_delivered,
)
from tests.service import Service
from tests.shop import Shop
from tests.waiting import wait_until

MANY = 12


@pytest.fixture
async def stalled(service: Service, pointsaga: CommandLine) -> Shop:
    """Many purchases with an event that Klaviyo rejected, and would now accept. The search lists all of them."""
    shop = await open_shop(service, MANY)
    await buy_rejected(shop)
    await service.clear_faults("klaviyo")

    async def are_listed() -> bool:
        return len((await pointsaga("redrive", "--dry-run", "--json")).json["planned"]) == MANY

    await wait_until(are_listed)
    return shop


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Waits one second for a worker."""
    monkeypatch.setattr(actions, "UPDATE_TIMEOUT", actions.UPDATE_TIMEOUT / 10)
    return monkeypatch


async def delivered_once(shop: Shop) -> None:
    """Wait until Klaviyo has every event, after one rejected and one accepted request each."""
    await wait_until_delivered(shop)
    klaviyo = await shop.service.vendor("klaviyo")
    customers = len(shop.customers)
    assert (len(klaviyo["events"]), klaviyo["duplicates"], klaviyo["requests"]) == (customers, 0, 2 * customers)
    assert len(await logged_actions(shop.service)) == customers


async def start_slowly(pointsaga: CommandLine, service: Service) -> Process:
    """Start a redrive, and wait for its first events."""
    process = await pointsaga.start("redrive", "--yes", "--rate", "5")

    async def has_begun() -> bool:
        return len((await service.vendor("klaviyo"))["events"]) >= 3

    await wait_until(has_begun)
    return process


async def test_everything_stalled_is_retried_once(stalled: Shop, pointsaga: CommandLine) -> None:
    preview = await pointsaga("redrive", "--dry-run")
    result = await pointsaga("redrive", "--yes", "--rate", "100", "--reason", "key replaced")

    assert f"stuck: {MANY}" in preview.out
    assert f"acted: {MANY}, nothing to do: 0, failed: 0" in result.out
    await delivered_once(stalled)


async def test_a_dry_run_changes_nothing(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    [redemption] = await buy_rejected(shop)

    planned = (await pointsaga("redrive", redemption, "--dry-run", "--json")).json["planned"]

    assert [one["redemption_id"] for one in planned] == [redemption]
    assert await delivery_statuses(shop) == {"failed": 1, "sent": 3}
    assert await logged_actions(service) == []


async def test_terminated_workflows_are_found_by_query(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    redemption = await buy_terminated(shop)
    await an_hour_later(service)
    query = f"ShopDomain = '{shop.domain}' AND ExecutionStatus = 'Terminated'"

    [one] = (await pointsaga("redrive", "--query", query, "--yes", "--json")).json["redemptions"]

    assert (one["redemption_id"], one["result"], one["detail"]) == (redemption, "acted", "recover attempt 1")
    await wait_until_delivered(shop)


async def test_what_is_not_stalled_is_skipped(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    await service.add_fault("klaviyo", kind="down")
    redemption = (await shop.purchase()).json()["data"]["id"]
    await an_hour_later(service)

    result = await pointsaga("redrive", redemption, "--yes", "--json")

    assert (result.json["acted"], result.json["nothing_to_do"]) == (0, 1)
    await service.clear_faults("klaviyo")


async def test_a_killed_redrive_can_be_repeated(service: Service, stalled: Shop, pointsaga: CommandLine) -> None:
    process = await start_slowly(pointsaga, service)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    sent = len((await service.vendor("klaviyo"))["events"])
    await pointsaga("redrive", "--yes", "--rate", "100")

    assert sent < MANY, "it was killed midway"
    await delivered_once(stalled)


@pytest.mark.usefixtures("stalled")
async def test_an_interrupted_redrive_says_how_to_continue(service: Service, pointsaga: CommandLine) -> None:
    process = await start_slowly(pointsaga, service)
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()

    assert process.returncode == 1
    assert b"repeat the command to continue" in err
    assert b"Traceback" not in err


async def test_repeats_without_a_worker_act_once(idle: Service, impatient: pytest.MonkeyPatch) -> None:
    pointsaga = command_line(idle)
    shop = await open_shop(idle, 3)
    async with idle.worker():
        ids = await buy_rejected(shop)
    await idle.clear_faults("klaviyo")

    for _ in range(2):
        result = await pointsaga("redrive", *ids, "--yes", "--json", status=1)
        assert result.json["failed"] == 3
        assert "no worker responded" in result.json["redemptions"][0]["detail"]
    impatient.undo()
    async with idle.worker():
        await pointsaga("redrive", *ids, "--yes")
        await delivered_once(shop)


async def test_consecutive_failures_stop_the_redrive(idle: Service, impatient: pytest.MonkeyPatch) -> None:
    shop = await open_shop(idle, 3)
    async with idle.worker():
        ids = await buy_rejected(shop)
    impatient.setattr(redrive, "CONCURRENCY", 1)
    impatient.setattr(redrive, "MAX_CONSECUTIVE_FAILURES", 2)

    result = await command_line(idle)("redrive", *ids, "--yes", status=1)

    assert "failed: 3" in result.out
    assert "not attempted after 2 consecutive failures" in result.err
    assert len(await logged_actions(idle)) == 2


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["cr_unknown"], "there is no redemption cr_unknown"),
        (["--query", "what is this"], "invalid query"),
        (["--rate", "0"], "--rate"),
        (["cr_unknown", "--query", "x"], "not both"),
    ],
)
async def test_wrong_usage_is_reported(pointsaga: CommandLine, words: list[str], complaint: str) -> None:
    assert complaint in (await pointsaga("redrive", *words, "--yes", status=2)).err
