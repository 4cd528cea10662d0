"""`pointsaga demo`: redeems rewards on a temporary local stack and checks every result."""

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table
from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine

from local_stack import StackError
from local_stack.console import progress, run_until_signal
from local_stack.options import StackOptions
from local_stack.stack import LocalStack

KEY = "demo-full-key"
REWARD = "reward_abc"
COST = 500
JANE = "6789012345"
SAM = "6789012346"
DEADLINE_SECONDS = 5
WAIT_SECONDS = 90
CHANNELS = ("klaviyo", "omnisend", "postscript")
PROPERTIES = ("Reward Name", "Points Spent", "discount_code", "points_balance")

LOTS = "SELECT source, points, remaining FROM point_lots WHERE customer_id = :customer ORDER BY earned_at, id"
UNSENT_DELIVERIES = "SELECT channel FROM deliveries WHERE status <> 'sent'"
PLANNED_CODES = "SELECT code FROM discount_codes WHERE state = 'planned'"


class CheckFailed(StackError):
    """A result differs from what the demo expects."""


def main() -> int:
    """Run the demo. Returns the exit status."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="pointsaga-demo-") as folder:
        env = {"PURCHASE_DEADLINE_SECONDS": str(DEADLINE_SECONDS), "LOG_LEVEL": "WARNING"}
        stack = LocalStack(StackOptions.on_free_ports(Path(folder), env=env), progress(console))
        status = run_until_signal(lambda: _perform(stack, console), stack, failure="demo: failed", interrupted=1)
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
            await Demo(stack, console, api, vendors).run()
    except httpx.HTTPError as error:
        raise CheckFailed(f"request to the stack failed: {error!r}") from error
    except (LookupError, ValueError) as error:
        raise CheckFailed(f"unexpected response: {error!r}") from error


class Demo:
    """The sections of the demo. Each prints its title, makes its requests and checks the results."""

    def __init__(self, stack: LocalStack, console: Console, api: httpx.AsyncClient, vendors: httpx.AsyncClient) -> None:
        self._stack = stack
        self._console = console
        self._api = api
        self._vendors = vendors

    async def run(self) -> None:
        """Run all sections, in order. Raises `CheckFailed`."""
        first = await self.purchase()
        await self.refusal()
        await self.replay(first)
        second = await self.outage(first)
        await self.deliveries(first, second)
        await self.audit()
        self.links(first)

    async def purchase(self) -> httpx.Response:
        """A purchase draws the oldest points first."""
        self._title("A purchase")
        before, lots_before = await self._balance(JANE), await self._rows(LOTS, customer=JANE)

        response = await self._buy(JANE, "first")

        self._claim(response.status_code == 201, f"Jane gets a code: {_code(response)}", response)
        after, lots = await self._balance(JANE), await self._rows(LOTS, customer=JANE)
        self._show_lots(lots_before, lots)
        self._claim(after == before - COST, f"her balance went from {before} to {after}")
        self._claim([lot["remaining"] for lot in lots] == [0, 300, 1200], "her oldest points were spent first")
        self._claim(await self._live_codes() == {_code(response)}, "the code is live at Shopify")
        return response

    async def refusal(self) -> None:
        """A purchase without enough points changes nothing."""
        self._title("A customer without enough points")

        response = await self._buy(SAM, "refused")

        detail = "Customer has 200 points but this reward costs 500"
        self._claim(response.status_code == 422 and _error(response)["detail"] == detail, f"422: {detail}", response)
        self._claim(await self._balance(SAM) == 200, "Sam's 200 points are unchanged")

    async def replay(self, first: httpx.Response) -> None:
        """A repeated request gets the stored response."""
        self._title("The first purchase again, with the same Idempotency-Key")
        before = await self._balance(JANE)

        again = await self._buy(JANE, "first")

        same = (again.status_code, again.content) == (201, first.content)
        self._claim(same, "the same response, byte for byte", again)
        self._claim(again.headers.get("Idempotency-Replayed") == "true", "with the header Idempotency-Replayed: true")
        self._claim(await self._balance(JANE) == before, "no more points were spent")

    async def outage(self, first: httpx.Response) -> httpx.Response:
        """A purchase fails and is compensated while Shopify is down; its retry succeeds."""
        self._title("Shopify is down")
        before = await self._balance(JANE)
        (await self._vendors.post("/_sandbox/shopify/faults", json={"kind": "down", "times": None})).raise_for_status()

        began = time.monotonic()
        with self._console.status(f"purchasing, with a deadline of {DEADLINE_SECONDS} s"):
            failed = await self._buy(JANE, "outage")

        outcome = f"503 after {time.monotonic() - began:.1f} s: {_error(failed).get('detail')}"
        self._claim(failed.status_code == 503 and _error(failed)["code"] == "shopify_unavailable", outcome, failed)
        self._claim(await self._balance(JANE) == before, f"her balance is {before} again")
        (await self._vendors.delete("/_sandbox/shopify/faults")).raise_for_status()
        await self._until("the failed purchase's code to be fenced", PLANNED_CODES)
        self._claim(await self._live_codes() == {_code(first)}, "Shopify is up again, without a code of that purchase")

        bought = await self._buy(JANE, "outage")
        self._claim(bought.status_code == 201, f"the same key now gets a code: {_code(bought)}", bought)
        self._claim(await self._balance(JANE) == before - COST, f"it costs {COST} points, once")
        both = {_code(first), _code(bought)}
        self._claim(await self._live_codes() == both, "Shopify has Jane's two codes and no others")
        return bought

    async def deliveries(self, *bought: httpx.Response) -> None:
        """Each channel received each purchase once."""
        self._title("Deliveries")
        await self._until("all deliveries", UNSENT_DELIVERIES)
        table = Table("vendor", "reward", "points", "code", "balance")
        for vendor in CHANNELS:
            events = [_properties(event) for event in (await self._view(vendor))["events"]]
            for event in events:
                table.add_row(vendor, *(str(event[name]) for name in PROPERTIES))
            codes = sorted(event["discount_code"] for event in events)
            self._check(codes == sorted(map(_code, bought)), f"{vendor} received each purchase once")
        self._console.print(table)
        self._claim(True, "each vendor received each purchase once, and nothing else")
        metafields = (await self._view("shopify"))["metafields"]
        [metafield] = [one for one in metafields if one["ownerId"].endswith(f"/{JANE}")]
        self._claim(str(await self._balance(JANE)) in metafield["value"], f"Shopify's metafield: {metafield['value']}")

    async def audit(self) -> None:
        """The ledger, deliveries and codes are consistent."""
        self._title("Audit")
        await self._stack.run("audit", sys.executable, "-m", "cli", "audit")
        self._claim(True, "`pointsaga audit` finds no discrepancy")

    def links(self, first: httpx.Response) -> None:
        """Addresses of the same pages on a stack that keeps running."""
        redemption = first.json()["data"]["id"]
        workflows = f"{self._stack.temporal_ui_url}/namespaces/default/workflows"
        self._title("Pages for operators (on a stack started with `pointsaga up`)")
        for label, address in (
            ("the first purchase", f"{workflows}/redemption-{redemption}-1"),
            ("all workflows", workflows),
            ("API documentation", f"{self._stack.api_url}/docs"),
            ("Shopify sandbox", f"{self._stack.vendor_url}/_sandbox/shopify"),
        ):
            self._console.print(f"  {label:<20}{address}", soft_wrap=True, highlight=False)

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

    async def _until(self, event: str, unfinished: str) -> None:
        """Wait until the query `unfinished` has no rows. Raises `CheckFailed` after `WAIT_SECONDS`."""
        try:
            with self._console.status(f"waiting for {event}"):
                async with asyncio.timeout(WAIT_SECONDS):
                    while await self._rows(unfinished):  # noqa: ASYNC110 - other processes change the rows
                        await asyncio.sleep(0.2)
        except TimeoutError:
            raise CheckFailed(f"waited {WAIT_SECONDS} s for {event}") from None

    def _title(self, title: str) -> None:
        self._console.print(f"\n{title}", style="bold")

    def _show_lots(self, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
        table = Table("Jane's points, oldest first", "before", "after")
        for old, new in zip(before, after, strict=True):
            table.add_row(old["source"], str(old["remaining"]), str(new["remaining"]))
        self._console.print(table)

    def _claim(self, truth: bool, claim: str, response: httpx.Response | None = None) -> None:
        self._check(truth, claim, response)
        self._console.print(f"  [green]✓[/green] {claim}", soft_wrap=True, highlight=False)

    def _check(self, truth: bool, claim: str, response: httpx.Response | None = None) -> None:
        if not truth:
            details = f"; the response was {response.status_code} {response.text}" if response else ""
            raise CheckFailed(f"expected: {claim}{details}")


def _code(response: httpx.Response) -> str:
    return response.json()["data"]["attributes"]["discount_code"] if response.status_code == 201 else "none"


def _properties(event: dict[str, Any]) -> dict[str, Any]:
    """An event's properties: at the top level, or inside Klaviyo's envelope."""
    return event["data"]["attributes"]["properties"] if "data" in event else event["properties"]


def _error(response: httpx.Response) -> dict[str, Any]:
    return response.json()["errors"][0] if response.is_error else {}
