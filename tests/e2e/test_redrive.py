"""A wrong key at Klaviyo, from the first refusal to the last event: what an operator does, with the real command."""

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE
from typing import Any

from local_stack.options import process_environment
from tests.e2e.deployment import Deployment
from tests.service import Shop, a_customer, a_lot, a_shop, until

PURCHASES = 50


async def test_fifty_purchases_that_klaviyo_refused_are_redriven_and_told_once(deployment: Deployment) -> None:
    shop = await deployment.open_large_shop(a_shop(*(a_customer(a_lot(500)) for _ in range(PURCHASES))))
    await deployment.start_worker()
    await deployment.fault("klaviyo", "status", status=401, times=None)
    ids = await buy(shop)

    await until(lambda: is_stuck(deployment, ids))
    status, rows = await pointsaga(deployment, "stuck", "--older-than", "0s")
    assert status == 1
    assert {row["why"] for row in rows if row["shop"] == shop.domain} == {
        "klaviyo: HTTP 401: authentication_failed Unauthorized"
    }

    await deployment.heal("klaviyo")
    _, preview = await pointsaga(deployment, "redrive", "--dry-run", *ids)
    assert sorted(one["redemption_id"] for one in preview["planned"]) == sorted(ids)
    assert (await deployment.vendor("klaviyo"))["events"] == []

    status, done = await pointsaga(
        deployment, "redrive", "--yes", "--rate", "50", "--reason", "the key is mended", *ids
    )
    assert (status, done["acted"], done["failed"]) == (0, PURCHASES, 0)

    await deployment.settled(shop, purchases=PURCHASES)
    klaviyo = await deployment.vendor("klaviyo")
    assert (len(klaviyo["events"]), klaviyo["duplicates"]) == (PURCHASES, 0)
    assert {one.status for one in await deployment.deliveries_of(shop)} == {"sent"}
    _, rows = await pointsaga(deployment, "stuck", "--older-than", "0s")
    assert not [row for row in rows if row["shop"] == shop.domain]


async def buy(shop: Shop) -> list[str]:
    """Everybody buys."""
    turns = asyncio.Semaphore(4)

    async def one(customer: str) -> str:
        async with turns:
            answer = await shop.purchase(customer=customer)
        assert answer.status_code == 201, answer.text
        return answer.json()["data"]["id"]

    return list(await asyncio.gather(*map(one, shop.customers)))


async def is_stuck(deployment: Deployment, ids: list[str]) -> bool:
    """Whether all of these are listed as refused; the engine's search lags a little."""
    _, rows = await pointsaga(deployment, "stuck", "--older-than", "0s")
    return set(ids) <= {row["redemption_id"] for row in rows if row["kind"] == "needs_attention"}


async def pointsaga(deployment: Deployment, *words: str) -> tuple[int | None, Any]:
    """Run a command in a process of its own; its exit status and what it printed for programs."""
    env = process_environment(deployment.stack.env)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli", *words, "--json", env=env, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
    )
    said, complaints = await process.communicate()
    assert said, complaints.decode()
    return process.returncode, json.loads(said)
