"""The product under measurement: a local stack with vendors that answer at once."""

import asyncio
import itertools
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from benchmarks.vendors import DELIVERIES
from database import Sessions, connect
from db.vault import Vault
from local_stack.data_dir import StartedProcesses
from local_stack.options import StackOptions, metrics_ports, process_environment
from local_stack.parts import worker
from local_stack.ports import LOOPBACK
from local_stack.stack import LocalStack, silent
from local_stack.supervisor import Part, Supervisor
from services.import_format import ImportFile
from services.imports import write_import
from settings import Settings, connect_temporal

ROOT = Path(__file__).parents[1]
REWARD = "five_off"
COST = 500
TOO_EXPENSIVE = "too_expensive"
CAPPED = "capped"
LOT = 1_000
BALANCE = 1_000_000
"""At least so many points per customer, whatever the number of lots."""
# The API closes idle connections after five seconds.
UNLIMITED = httpx.Limits(max_connections=None, max_keepalive_connections=1_000, keepalive_expiry=2)

_REJECTED = text("SELECT channel, last_error FROM deliveries WHERE status = 'failed' LIMIT 1")


@dataclass(frozen=True, kw_only=True)
class BenchShop:
    """An imported shop. Its customers purchase in turns."""

    product: "Product"
    domain: str
    key: str
    customers: Sequence[str]
    numbers: "itertools.count[int]"

    async def purchase(self) -> None:
        """Purchase, until the answer. Raises `HTTPStatusError` if it is not a discount code."""
        (await self.try_to_purchase()).raise_for_status()

    async def try_to_purchase(self, reward: str = REWARD, *, queued: bool = False) -> httpx.Response:
        """Purchase for the next customer, until the answer, whatever it is. `queued`: without waiting for the code."""
        number = next(self.numbers)
        prefer = {"Prefer": "respond-async"} if queued else {}
        answer = await self.product.api.post(
            f"/v1/rewards/{reward}/purchase",
            headers={"Authorization": self.key, "Idempotency-Key": f"{self.domain}-{number}", **prefer},
            json={"customer_identifier": self.customers[number % len(self.customers)]},
        )
        self.product.purchased += answer.is_success
        return answer

    async def refund(self, redemption_id: str) -> None:
        """Refund a redemption. Raises `HTTPStatusError`."""
        answer = await self.product.api.post(
            f"/v1/reward-history/{redemption_id}/refund", headers={"Authorization": self.key}
        )
        answer.raise_for_status()

    async def drain(self) -> None:
        """Wait until every purchase of the product is delivered."""
        await self.product.drain()


class Product:
    """Start with `running`. `vendors`: client of the vendors' own endpoints."""

    def __init__(
        self,
        stack: LocalStack,
        vendor_process: Supervisor | None,
        engine: AsyncEngine,
        temporal: Client,
        api: httpx.AsyncClient,
        vendors: httpx.AsyncClient,
    ) -> None:
        self.stack = stack
        self.engine = engine
        self.temporal = temporal
        self.api = api
        self.purchased = 0
        """Successful purchases."""
        self._vendor_process = vendor_process
        self.vendors = vendors

    @classmethod
    @asynccontextmanager
    async def running(
        cls, home: Path, *, sandbox: bool = False, traced: float | None = None, workers: int = 1
    ) -> AsyncGenerator[Self]:
        """Run the product until the block ends. `sandbox`: with the vendors' limits, instead of instant vendors.

        `traced`: with metrics, and with traces of this share of the requests. `workers`: processes.
        """
        parts = ["postgres", "temporal", *(["sandbox"] if sandbox else []), "worker", "api"]
        options = StackOptions.on_free_ports(home, parts=parts, demo_data=False)
        vendors_url = f"http://{LOOPBACK}:{options.vendor_port}"
        settings = {"RATE_LIMIT": "1000000/second", "LOG_LEVEL": "WARNING"}
        if traced is not None:
            options = replace(options, metrics_ports=metrics_ports(None))
            settings["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"{vendors_url}/traces"
            settings["OTEL_TRACES_SAMPLER_ARG"] = str(traced)
        if not sandbox:
            settings |= {
                "SHOPIFY_ADMIN_URL": f"{vendors_url}/shopify/{{shop_domain}}/{{version}}",
                "KLAVIYO_URL": f"{vendors_url}/klaviyo",
                "OMNISEND_URL": f"{vendors_url}/omnisend",
                "POSTSCRIPT_URL": f"{vendors_url}/postscript",
            }

        async def ready() -> bool:
            return await _answers(vendors_url)

        async with AsyncExitStack() as exits:
            stack = await exits.enter_async_context(LocalStack(replace(options, env=settings)))
            process = None
            if not sandbox:
                vendors = beside(stack, "vendors", str(options.vendor_port), ready=ready)
                process = await exits.enter_async_context(vendors)
            for number in range(2, workers + 1):
                await exits.enter_async_context(_supervised(stack, _worker(stack, number)))
            engine = connect(SecretStr(stack.database_url), statement_timeout=None)
            exits.push_async_callback(engine.dispose)
            temporal = await connect_temporal(_settings(stack))
            # They run once a minute, and would compare codes with a Shopify that keeps none.
            for schedule in [one.id async for one in await temporal.list_schedules()]:
                await temporal.get_schedule_handle(schedule).pause()
            api = await exits.enter_async_context(_client(stack.api_url))
            vendors = await exits.enter_async_context(_client(vendors_url))
            product = cls(stack, process, engine, temporal, api, vendors)
            yield product
            await product.check_deliveries()

    async def open_shop(self, name: str, *, customers: int, lots: int = 3, cap: int = 1_000_000_000) -> BenchShop:
        """Import a shop. Each of its customers has so many lots. `cap`: redemptions of its capped reward."""
        shop = _import_file(name, customers, lots, cap)
        vault = Vault(_settings(self.stack).encryption_keys)
        await write_import(Sessions(self.engine), vault, ImportFile.model_validate({"shops": [shop]}))
        return BenchShop(
            product=self,
            domain=shop["domain"],
            key=shop["api_keys"][0]["key"],
            customers=[one["shopify_customer_id"] for one in shop["customers"]],
            numbers=itertools.count(),
        )

    async def set_delay(self, milliseconds: int) -> None:
        """Set how long Shopify takes to create a code."""
        (await self.vendors.post("/delay", params={"ms": milliseconds})).raise_for_status()

    async def vendor_calls(self) -> dict[str, int]:
        """Calls of the vendors since the start, by name."""
        return (await self.vendors.get("/calls")).raise_for_status().json()

    async def drain(self) -> None:
        """Wait until every successful purchase is delivered on four channels. Nothing else may be delivered."""
        while True:
            calls = await self.vendor_calls()
            if all(calls.get(one, 0) >= self.purchased for one in DELIVERIES):
                return
            await asyncio.sleep(0.02)

    @property
    def processes(self) -> dict[str, psutil.Process]:
        """The processes, and the measuring one as `client`."""
        pids: dict[str, int | None] = dict(self.stack.pids)
        if self._vendor_process is not None:
            pids["vendors"] = self._vendor_process.pid
        return {**{name: psutil.Process(pid) for name, pid in pids.items()}, "client": psutil.Process()}

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time of each process and its children."""
        return {name: _cpu_seconds(process, name) for name, process in self.processes.items()}

    async def check_deliveries(self) -> None:
        """Raise `RuntimeError` if a vendor rejected a delivery: what its workflow does then is not to be measured."""
        async with self.engine.connect() as connection:
            rejected = (await connection.execute(_REJECTED)).first()
        if rejected is not None:
            raise RuntimeError(f"{rejected.channel} rejected a delivery of the benchmark: {rejected.last_error}")

    def memory(self) -> dict[str, float]:
        """Resident memory of API and worker, in MiB."""
        return {name: self.processes[name].memory_info().rss / 2**20 for name in ("api", "worker")}


def beside(
    stack: LocalStack, module: str, argument: str, *, ready: Callable[[], Awaitable[bool]], env: Mapping[str, str] = {}
) -> AbstractAsyncContextManager[Supervisor]:
    """Run a module of this package as a process beside the stack's own, until the block ends. `env`: more settings."""
    part = Part(
        name=module,
        command=(sys.executable, "-m", f"benchmarks.{module}", argument),
        # The working directory is the stack's, and this package is not installed.
        env={**process_environment({**stack.env, **env}), "PYTHONPATH": str(ROOT)},
        ready=ready,
    )
    return _supervised(stack, part)


def _worker(stack: LocalStack, number: int) -> Part:
    """One more worker process."""
    home = stack.home / f"worker-{number}"
    home.mkdir()
    return replace(worker(home, process_environment(stack.env)), name=home.name)


@asynccontextmanager
async def _supervised(stack: LocalStack, part: Part) -> AsyncGenerator[Supervisor]:
    started = StartedProcesses(stack.home / f"started-{part.name}.json")
    supervisor = Supervisor(part, home=stack.home, started=started, report=silent, on_restart=lambda: None)
    try:
        await supervisor.start()
        yield supervisor
    finally:
        await supervisor.stop()


def _settings(stack: LocalStack) -> Settings:
    return Settings.model_validate({name.lower(): value for name, value in stack.env.items()})


def _client(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, timeout=120, limits=UNLIMITED, trust_env=False)


async def _answers(vendors_url: str) -> bool:
    async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
        try:
            return (await client.get(f"{vendors_url}/calls")).is_success
        except httpx.HTTPError:
            return False


def _cpu_seconds(process: psutil.Process, name: str) -> float:
    if name == "client":  # the other processes are its children
        return sum(process.cpu_times()[:2])
    seconds = 0.0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            # The first four times are the process's own, and those of its children that have ended.
            seconds += sum(one.cpu_times()[:4])
    return seconds


def _import_file(name: str, customers: int, lots: int, cap: int) -> dict[str, Any]:
    reward = {
        "id": REWARD,
        "name": "£5 off",
        "discount_type": "fixed_amount",
        "discount_amount": "5.00",
        "points_cost": COST,
        "expiry_days": 30,
    }
    return {
        "domain": f"{name}.myshopify.com",
        "name": name,
        "currency": "GBP",
        "shopify": {"access_token": "shpat_bench"},
        "klaviyo": {"api_key": "pk_bench"},
        "omnisend": {"api_key": "om_bench"},
        "postscript": {"api_key": "sk_bench"},
        "api_keys": [{"key": f"bench-key-with-at-least-32-characters-{name}", "scope": "full"}],
        "rewards": [
            reward,
            {**reward, "id": TOO_EXPENSIVE, "points_cost": 1_000_000_000},
            {**reward, "id": CAPPED, "max_redemptions": cap},
        ],
        "customers": [_customer(name, number, lots) for number in range(customers)],
    }


def _customer(name: str, number: int, lots: int) -> dict[str, Any]:
    return {
        "shopify_customer_id": str(8_000_000_000 + number),
        "email": f"member{number}@{name}.io",
        "phone": "+447700900123",
        "lots": [
            {"id": f"{number}-{lot}", "points": max(LOT, BALANCE // lots), "earned_at": "2026-01-05T00:00:00Z"}
            for lot in range(lots)
        ],
    }
