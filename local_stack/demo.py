"""`pointsaga demo`: redeems rewards for real on a stack of its own, and checks every claim it makes."""

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table
from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine

from local_stack import LocalStack, StackError, StackOptions
from local_stack.console import conclude, progress

KEY = "demo-full-key"
REWARD = "reward_abc"
COST = 500
JANE = "6789012345"
SAM = "6789012346"
DEADLINE_SECONDS = 5
CHANNELS = ("klaviyo", "omnisend", "postscript")
FACTS = ("Reward Name", "Points Spent", "discount_code", "points_balance")

LOTS = "SELECT source, points, remaining FROM point_lots WHERE customer_id = :customer ORDER BY earned_at, id"
UNTOLD = "SELECT channel FROM deliveries WHERE status <> 'sent'"
UNSETTLED_CODES = "SELECT code FROM discount_codes WHERE state = 'planned'"


class ClaimFailed(StackError):
    """Something was not as the demo says it is."""


def main() -> int:
    """Run the demo; the exit status."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="pointsaga-demo-") as folder:
        env = {"PURCHASE_DEADLINE_SECONDS": str(DEADLINE_SECONDS), "LOG_LEVEL": "WARNING"}
        stack = LocalStack(StackOptions.on_free_ports(Path(folder), env=env), progress(console))
        status = conclude(lambda: _perform(stack, console), stack, complaint="demo: failed", interrupted=1)
    if status == 0:
        console.print("demo: ok", style="bold green")
    return status


async def _perform(stack: LocalStack, console: Console) -> None:
    try:
        async with (
            stack,
            httpx.AsyncClient(
                base_url=stack.api_url, headers={"Authorization": KEY}, timeout=60, trust_env=False
            ) as api,
            httpx.AsyncClient(base_url=stack.vendor_url, trust_env=False) as vendors,
        ):
            await Demo(stack, console, api, vendors).play()
    except httpx.HTTPError as error:
        raise ClaimFailed(f"{error!r} while it talked to the stack") from error
    except (LookupError, ValueError) as error:
        raise ClaimFailed(f"an answer is not what was promised: {error!r}") from error


class Demo:
    """The scenes, in order. Each says what it shows, does it, and checks it."""

    def __init__(self, stack: LocalStack, console: Console, api: httpx.AsyncClient, vendors: httpx.AsyncClient) -> None:
        self._stack = stack
        self._console = console
        self._api = api
        self._vendors = vendors

    async def play(self) -> None:
        """All of it."""
        first = await self.purchase()
        await self.refusal()
        await self.replay(first)
        second = await self.outage(first)
        await self.announcements(first, second)
        await self.audit()
        self.links(first)

    async def purchase(self) -> httpx.Response:
        """Points for a code, the oldest points first."""
        self._scene("A purchase")
        before, lots_before = await self._balance(JANE), await self._lots(JANE)

        response = await self._buy(JANE, "first")

        self._claim(response.status_code == 201, f"Jane gets a code: {_code(response)}", response)
        after, lots = await self._balance(JANE), await self._lots(JANE)
        self._show_lots(lots_before, lots)
        self._claim(after == before - COST, f"her balance went from {before} to {after}")
        self._claim([lot["remaining"] for lot in lots] == [0, 300, 1200], "her oldest points were spent first")
        self._claim(await self._live_codes() == {_code(response)}, "the code is live at Shopify")
        return response

    async def refusal(self) -> None:
        """Too few points."""
        self._scene("A customer without enough points")

        response = await self._buy(SAM, "refused")

        detail = "Customer has 200 points but this reward costs 500"
        self._claim(response.status_code == 422 and _error(response)["detail"] == detail, f"422: {detail}", response)
        self._claim(await self._balance(SAM) == 200, "Sam's 200 points were not touched")

    async def replay(self, first: httpx.Response) -> None:
        """The same request twice."""
        self._scene("The first purchase again, with the same Idempotency-Key")
        before = await self._balance(JANE)

        again = await self._buy(JANE, "first")

        self._claim((again.status_code, again.content) == (201, first.content), "the same answer, byte for byte", again)
        self._claim(again.headers.get("Idempotency-Replayed") == "true", "marked Idempotency-Replayed: true")
        self._claim(await self._balance(JANE) == before, "points were taken once")

    async def outage(self, first: httpx.Response) -> httpx.Response:
        """Shopify goes away, and comes back."""
        self._scene("Shopify is down")
        before = await self._balance(JANE)
        (await self._vendors.post("/_sandbox/shopify/faults", json={"kind": "down", "times": None})).raise_for_status()

        began = time.monotonic()
        with self._console.status(f"asking for a code, for {DEADLINE_SECONDS} s at most"):
            refused = await self._buy(JANE, "outage")

        words = f"503 after {time.monotonic() - began:.1f} s: {_error(refused).get('detail')}"
        self._claim(refused.status_code == 503 and _error(refused)["code"] == "shopify_unavailable", words, refused)
        self._claim(await self._balance(JANE) == before, f"her {before} points are back")
        (await self._vendors.delete("/_sandbox/shopify/faults")).raise_for_status()
        await self._until("the fence to stand", self._no_unsettled_code)
        self._claim(await self._live_codes() == {_code(first)}, "Shopify is up again, and no stray code appeared there")

        bought = await self._buy(JANE, "outage")
        self._claim(bought.status_code == 201, f"the same key now gets a code: {_code(bought)}", bought)
        self._claim(await self._balance(JANE) == before - COST, f"and costs {COST} points, once")
        self._claim(await self._live_codes() == {_code(first), _code(bought)}, "Jane's two codes are all there is")
        return bought

    async def announcements(self, *bought: httpx.Response) -> None:
        """What the vendors were told."""
        self._scene("Who was told")
        await self._until("every channel to be told of both purchases", self._all_told)
        table = Table("vendor", "reward", "points", "code", "balance")
        for vendor in CHANNELS:
            told = [_properties(event) for event in (await self._view(vendor))["events"]]
            for facts in told:
                table.add_row(vendor, *(str(facts[name]) for name in FACTS))
            codes = sorted(facts["discount_code"] for facts in told)
            self._check(codes == sorted(map(_code, bought)), f"{vendor} was told of each purchase once")
        self._console.print(table)
        self._claim(True, "each purchase once, and nothing of what did not happen")
        metafields = (await self._view("shopify"))["metafields"]
        [metafield] = [one for one in metafields if one["ownerId"].endswith(f"/{JANE}")]
        self._claim(str(await self._balance(JANE)) in metafield["value"], f"Shopify's metafield: {metafield['value']}")

    async def audit(self) -> None:
        """The books."""
        self._scene("The books")
        await self._stack.run("audit", sys.executable, "-m", "cli", "audit")
        self._claim(True, "`pointsaga audit` finds nothing wrong")

    def links(self, first: httpx.Response) -> None:
        """Where an operator would look."""
        redemption = first.json()["data"]["id"]
        runs = f"{self._stack.temporal_ui_url}/namespaces/default/workflows"
        self._scene("Where an operator would look, had this been `pointsaga up`")
        for what, address in (
            ("the first purchase", f"{runs}/redemption-{redemption}-1"),
            ("every run", runs),
            ("the API", f"{self._stack.api_url}/docs"),
            ("Shopify's side", f"{self._stack.vendor_url}/_sandbox/shopify"),
        ):
            self._console.print(f"  {what:<20}{address}", soft_wrap=True, highlight=False)

    async def _buy(self, customer: str, key: str) -> httpx.Response:
        return await self._api.post(
            f"/v1/rewards/{REWARD}/purchase",
            json={"customer_identifier": customer},
            headers={"Idempotency-Key": f"demo-{key}"},
        )

    async def _balance(self, customer: str) -> int:
        response = await self._api.get(f"/v1/customers/{customer}")
        self._check(response.status_code == 200, f"the balance of customer {customer}", response)
        return response.json()["data"]["attributes"]["current_points"]

    async def _lots(self, customer: str) -> list[dict[str, Any]]:
        return await self._rows(LOTS, customer=customer)

    async def _rows(self, query: str, **values: str) -> list[dict[str, Any]]:
        engine = create_async_engine(self._stack.database_url, poolclass=NullPool)
        async with engine.connect() as connection:
            await connection.execute(text("SET TRANSACTION READ ONLY"))
            return [dict(row) for row in (await connection.execute(text(query), values)).mappings()]

    async def _view(self, vendor: str) -> dict[str, Any]:
        return (await self._vendors.get(f"/_sandbox/{vendor}")).raise_for_status().json()

    async def _live_codes(self) -> set[str]:
        discounts = (await self._view("shopify"))["discounts"]
        return {discount["code"] for discount in discounts if discount["status"] == "live"}

    async def _no_unsettled_code(self) -> bool:
        return not await self._rows(UNSETTLED_CODES)

    async def _all_told(self) -> bool:
        return not await self._rows(UNTOLD)

    async def _until(self, what: str, done: Callable[[], Awaitable[bool]], *, seconds: float = 90) -> None:
        try:
            with self._console.status(f"waiting for {what}"):
                async with asyncio.timeout(seconds):
                    while not await done():  # noqa: ASYNC110 - what happens, happens in other processes
                        await asyncio.sleep(0.2)
        except TimeoutError:
            raise ClaimFailed(f"waited {seconds:.0f} s for {what}") from None

    def _scene(self, title: str) -> None:
        self._console.print(f"\n{title}", style="bold")

    def _show_lots(self, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
        table = Table("Jane's points, oldest first", "before", "after")
        for old, new in zip(before, after, strict=True):
            table.add_row(old["source"], str(old["remaining"]), str(new["remaining"]))
        self._console.print(table)

    def _claim(self, truth: bool, words: str, response: httpx.Response | None = None) -> None:
        self._check(truth, words, response)
        self._console.print(f"  [green]✓[/green] {words}", soft_wrap=True, highlight=False)

    def _check(self, truth: bool, words: str, response: httpx.Response | None = None) -> None:
        if not truth:
            answer = f"; the answer was {response.status_code} {response.text}" if response else ""
            raise ClaimFailed(f"not true: {words}{answer}")


def _code(response: httpx.Response) -> str:
    return response.json()["data"]["attributes"]["discount_code"] if response.status_code == 201 else "none"


def _properties(event: dict[str, Any]) -> dict[str, Any]:
    """Of an event: at the top, or inside Klaviyo's envelope."""
    return event["data"]["attributes"]["properties"] if "data" in event else event["properties"]


def _error(response: httpx.Response) -> dict[str, Any]:
    return response.json()["errors"][0] if response.is_error else {}
