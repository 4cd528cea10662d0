"""A wrong key at Klaviyo, from the first rejection to the last event: what an operator does, with the real command."""

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE
from typing import Any

from domain.channels import Channel
from local_stack.options import process_environment
from tests.builders import a_customer, a_lot, a_shop
from tests.e2e.deployment import COST, Deployment
from tests.evidence import arrivals
from tests.faults import VendorFault
from tests.shop import Shop
from tests.waiting import A_PROGRAM, wait_until

PURCHASES = 50


async def test_fifty_rejected_events_are_redriven_once(deployment: Deployment) -> None:
    shop = await deployment.open_large_shop(a_shop(*(a_customer(a_lot(COST)) for _ in range(PURCHASES))))
    await deployment.start_worker()
    await deployment.inject("klaviyo", VendorFault.UNAUTHORIZED, times=None)
    ids = await buy(shop)

    await wait_until(lambda: are_stuck(deployment, ids), every=A_PROGRAM)
    status, rows = await stuck(deployment, shop)
    assert status == 1
    assert {row["why"] for row in rows} == {"klaviyo: HTTP 401: authentication_failed Unauthorized"}

    await deployment.clear_faults("klaviyo")
    _, preview = await pointsaga(deployment, "redrive", "--dry-run", *ids)
    assert sorted(one["redemption_id"] for one in preview["planned"]) == sorted(ids)
    assert await redeemed_at_klaviyo(deployment, shop) == []

    status, done = await pointsaga(deployment, "redrive", "--yes", "--rate", "50", "--reason", "key replaced", *ids)
    assert (status, done["acted"], done["failed"]) == (0, PURCHASES, 0)

    await deployment.ended(shop, purchases=PURCHASES)
    evidence = await deployment.check(shop, award=COST)
    assert {delivery.status for delivery in evidence.ledger.deliveries} == {"sent"}
    assert sorted(await redeemed_at_klaviyo(deployment, shop)) == sorted(ids)
    assert (await deployment.vendor("klaviyo"))["duplicates"] == 0
    _, rows = await stuck(deployment, shop)
    assert rows == []


async def buy(shop: Shop) -> list[str]:
    """Every customer buys. Returns the redemptions."""
    places = asyncio.Semaphore(4)

    async def buy_one(customer: str) -> str:
        async with places:
            response = await shop.purchase(customer=customer)
        assert response.status_code == 201, response.text
        return response.json()["data"]["id"]

    return list(await asyncio.gather(*map(buy_one, shop.customers)))


async def redeemed_at_klaviyo(deployment: Deployment, shop: Shop) -> list[str]:
    """The redemptions of the shop whose event Klaviyo has accepted."""
    own = {row.id for row in await shop.redemptions()}
    arrived = arrivals(Channel.KLAVIYO, (await deployment.vendor("klaviyo"))["events"])
    return [one.redemption_id for one in arrived if one.redemption_id in own]


async def are_stuck(deployment: Deployment, ids: list[str]) -> bool:
    """Whether all of these are listed as rejected. Temporal's search lags a little."""
    _, rows = await pointsaga(deployment, "stuck", "--older-than", "0s")
    return set(ids) <= {row["redemption_id"] for row in rows if row["kind"] == "needs_attention"}


async def stuck(deployment: Deployment, shop: Shop) -> tuple[int | None, list[Any]]:
    """Exit status of `pointsaga stuck`, and its rows of this shop."""
    status, rows = await pointsaga(deployment, "stuck", "--older-than", "0s")
    return status, [row for row in rows if row["shop"] == shop.domain]


async def pointsaga(deployment: Deployment, *words: str) -> tuple[int | None, Any]:
    """Run a command in its own process. Returns its exit status and its JSON output."""
    env = process_environment(deployment.stack.env)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli", *words, "--json", env=env, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
    )
    output, errors = await process.communicate()
    assert output, errors.decode()
    return process.returncode, json.loads(output)
