"""`pointsaga redrive`: many at once, interrupted and repeated, and nothing twice."""

import signal

import pytest

from services import redrive, reprocessing
from tests.commands.conftest import Pointsaga, a_process, command_line
from tests.commands.scenes import (
    a_shop_of,
    all_sent,
    mended,
    much_later,
    refused_by_klaviyo,
    requests_logged,
    statuses,
    terminated_while_klaviyo_is_down,
)
from tests.service import Service, Shop, until

MANY = 12


async def told_once(service: Service, shop: Shop, *, tries: int) -> None:
    """Each event arrived, after this many requests in all, and none came twice."""
    await all_sent(shop)
    klaviyo = await service.vendor("klaviyo")
    assert (len(klaviyo["events"]), klaviyo["duplicates"], klaviyo["requests"]) == (len(shop.customers), 0, tries)


async def test_all_that_is_parked_is_retried_once(service: Service, pointsaga: Pointsaga) -> None:
    shop = await a_shop_of(service, MANY)
    await refused_by_klaviyo(shop)
    await mended(service)
    await until(lambda: _listed(pointsaga))

    preview = await pointsaga("redrive", "--dry-run")
    said = await pointsaga("redrive", "--yes", "--rate", "100", "--reason", "the key is mended")

    assert f"stuck: {MANY}" in preview.out
    assert f"acted: {MANY}, nothing to do: 0, failed: 0" in said.out
    await told_once(service, shop, tries=2 * MANY)
    assert len(await requests_logged(service)) == MANY


async def test_a_dry_run_does_nothing(service: Service, pointsaga: Pointsaga) -> None:
    shop = await a_shop_of(service)
    [redemption] = await refused_by_klaviyo(shop)

    planned = (await pointsaga("redrive", redemption, "--dry-run", "--json")).json["planned"]

    assert [one["redemption_id"] for one in planned] == [redemption]
    assert await statuses(shop) == {"failed": 1, "sent": 3}
    assert await requests_logged(service) == []


async def test_what_was_terminated_is_found_by_a_query_and_settled(service: Service, pointsaga: Pointsaga) -> None:
    shop = await a_shop_of(service)
    redemption = await terminated_while_klaviyo_is_down(shop)
    await much_later(service)
    query = f"ShopDomain = '{shop.domain}' AND ExecutionStatus = 'Terminated'"

    said = await pointsaga("redrive", "--query", query, "--yes", "--json")

    [one] = said.json["redemptions"]
    assert (one["redemption_id"], one["result"], one["detail"]) == (redemption, "acted", "settle attempt 1")
    await all_sent(shop)


async def test_what_does_not_wait_for_a_redrive_is_left_alone(service: Service, pointsaga: Pointsaga) -> None:
    await service.fault("klaviyo", kind="down")
    shop = await a_shop_of(service)
    redemption = (await shop.purchase()).json()["data"]["id"]
    await much_later(service)

    said = await pointsaga("redrive", redemption, "--yes", "--json")

    assert (said.json["acted"], said.json["nothing_to_do"]) == (0, 1)
    await service.heal("klaviyo")


async def test_a_redrive_that_is_killed_goes_on_where_it_was(service: Service, pointsaga: Pointsaga) -> None:
    shop = await a_shop_of(service, MANY)
    await refused_by_klaviyo(shop)
    await mended(service)
    await until(lambda: _listed(pointsaga))

    redriving = await a_process(pointsaga, "redrive", "--yes", "--rate", "5")
    await until(lambda: _sent_to_klaviyo(service, 3))
    redriving.send_signal(signal.SIGKILL)
    await redriving.wait()
    sent = len((await service.vendor("klaviyo"))["events"])
    await pointsaga("redrive", "--yes", "--rate", "100")

    assert sent < MANY, "it was killed in the middle"
    await told_once(service, shop, tries=2 * MANY)
    assert len(await requests_logged(service)) == MANY


async def test_a_redrive_that_is_interrupted_says_so_and_how_to_go_on(service: Service, pointsaga: Pointsaga) -> None:
    shop = await a_shop_of(service, MANY)
    await refused_by_klaviyo(shop)
    await mended(service)
    await until(lambda: _listed(pointsaga))

    redriving = await a_process(pointsaga, "redrive", "--yes", "--rate", "5")
    await until(lambda: _sent_to_klaviyo(service, 2))
    redriving.send_signal(signal.SIGINT)
    _, said = await redriving.communicate()

    assert redriving.returncode == 1
    assert b"run it again to go on" in said
    assert b"Traceback" not in said


async def test_asked_for_twice_while_no_worker_runs_it_is_done_once(
    idle: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    pointsaga = command_line(idle)
    shop = await a_shop_of(idle, 3)
    async with idle.worker():
        ids = await refused_by_klaviyo(shop)
    await mended(idle)

    with monkeypatch.context() as impatient:
        impatient.setattr(reprocessing, "ANSWERED_WITHIN", reprocessing.ANSWERED_WITHIN / 10)
        for _ in range(2):
            said = await pointsaga("redrive", *ids, "--yes", "--json", status=1)
            assert said.json["failed"] == 3
            assert "no worker answered" in said.json["redemptions"][0]["detail"]
    async with idle.worker():
        await pointsaga("redrive", *ids, "--yes")
        await told_once(idle, shop, tries=6)

    assert len(await requests_logged(idle)) == 3


async def test_where_nobody_answers_it_gives_up_before_it_has_asked_for_everything(
    idle: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await a_shop_of(idle, 3)
    async with idle.worker():
        ids = await refused_by_klaviyo(shop)
    monkeypatch.setattr(reprocessing, "ANSWERED_WITHIN", reprocessing.ANSWERED_WITHIN / 10)
    monkeypatch.setattr(redrive, "AT_ONCE", 1)
    monkeypatch.setattr(redrive, "GIVE_UP_AFTER", 2)

    said = await command_line(idle)("redrive", *ids, "--yes", status=1)

    assert "failed: 3" in said.out
    assert "not tried, as 2 in a row had failed" in said.err
    assert len(await requests_logged(idle)) == 2


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["cr_nobody"], "there is no redemption cr_nobody"),
        (["--query", "what is this"], "Temporal does not understand the query"),
        (["--rate", "0"], "--rate"),
        (["cr_nobody", "--query", "x"], "not both"),
    ],
)
async def test_a_slip_is_said_to_be_one(pointsaga: Pointsaga, words: list[str], complaint: str) -> None:
    assert complaint in (await pointsaga("redrive", *words, "--yes", status=2)).err


async def _sent_to_klaviyo(service: Service, number: int) -> bool:
    return len((await service.vendor("klaviyo"))["events"]) >= number


async def _listed(pointsaga: Pointsaga) -> bool:
    """The engine's search lags a little."""
    return len((await pointsaga("redrive", "--dry-run", "--json")).json["planned"]) == MANY
