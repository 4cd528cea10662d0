"""The whole service in one process: API, worker and vendors."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
from fastapi import FastAPI
from sqlalchemy import DateTime, delete, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client, WorkflowHandle

from api.app import create_app, open_state
from database import Sessions
from db.audit import Finding, audit
from db.tables import Base, LedgerEntry, StaleMetafield
from db.vault import Vault
from domain.ids import purchase_workflow_id, refund_workflow_id
from sandbox.app import create_app as create_sandbox
from sandbox.transport import SandboxTransport
from services.import_format import ImportFile
from services.imports import write_import
from settings import Settings
from telemetry import configure_logging
from tests.builders import Json
from tests.faults import VendorFault
from tests.shop import Shop
from tests.waiting import wait_for_end
from worker import BACKGROUND_CONNECTIONS, PURCHASE_CONNECTIONS, open_pools, run_workers
from workflows.reconcile_redemptions import ReconcileRedemptions
from workflows.redeem_reward import RedeemReward
from workflows.refund_redemption import RefundRedemption

DEADLOCK = "40P01"
"""SQLSTATE. Source: PostgreSQL, appendix A."""


@dataclass(kw_only=True)
class Service:
    """API, worker and vendors, connected as in production."""

    settings: Settings
    store: Sessions
    temporal: Client
    api: httpx.AsyncClient
    vendors: httpx.AsyncClient
    worker_http: httpx.AsyncClient

    @classmethod
    @asynccontextmanager
    async def running(
        cls, settings: Settings, engine: AsyncEngine, temporal: Client, *, working: bool = True
    ) -> "AsyncGenerator[Service]":
        """Run the service until the block ends. `working`: with a worker."""
        settings = settings.model_copy(update={"temporal_task_queue": f"test-{uuid4().hex}"})
        sandbox = create_sandbox()
        async with AsyncExitStack() as stack:
            service = cls(
                settings=settings,
                store=Sessions(engine),
                temporal=temporal,
                api=await stack.enter_async_context(serving(settings, temporal)),
                vendors=await stack.enter_async_context(in_process(httpx.ASGITransport(sandbox))),
                worker_http=await stack.enter_async_context(in_process(SandboxTransport(sandbox))),
            )
            if working:
                await stack.enter_async_context(service.worker())
            yield service

    @property
    def env(self) -> dict[str, str]:
        """Settings of further processes of this service."""
        return {
            "DATABASE_URL": self.settings.database_url.get_secret_value(),
            "ENCRYPTION_KEYS": self.settings.encryption_keys[0].get_secret_value(),
            "PAYLOAD_KEYS": ",".join(key.get_secret_value() for key in self.settings.payload_keys),
            "TEMPORAL_ADDRESS": self.temporal.service_client.config.target_host,
            "TEMPORAL_TASK_QUEUE": self.settings.temporal_task_queue,
        }

    @asynccontextmanager
    async def worker(self) -> AsyncGenerator[None]:
        """A worker."""
        async with (
            open_pools(self.settings, name="purchases", connections=PURCHASE_CONNECTIONS) as purchases,
            open_pools(self.settings, name="background", connections=BACKGROUND_CONNECTIONS) as background,
        ):
            pools = [replace(one, http=self.worker_http) for one in (purchases, background)]
            async with run_workers(self.temporal, self.settings, *pools):
                yield

    async def import_shop(self, shop: Json) -> None:
        vault = Vault(self.settings.encryption_keys)
        await write_import(self.store, vault, ImportFile.model_validate({"shops": [shop]}))

    async def open_shop(self, shop: Json) -> Shop:
        """Import a shop without stale metafields."""
        await self.import_shop(shop)
        opened = Shop(
            service=self,
            domain=shop["domain"],
            full_key=shop["api_keys"][0]["key"],
            read_key=shop["api_keys"][1]["key"],
            admin_key=shop["api_keys"][2]["key"],
            customers=[customer["shopify_customer_id"] for customer in shop["customers"]],
        )
        async with self.store.begin() as session:
            await session.execute(delete(StaleMetafield).where(StaleMetafield.shop_id == (await opened.row()).id))
        return opened

    async def vendor(self, name: str) -> Json:
        """The sandbox's state of a vendor."""
        return (await self.vendors.get(f"/_sandbox/{name}")).raise_for_status().json()

    async def requests(self, vendor: str) -> int:
        """Number of requests that a vendor has received."""
        return (await self.vendor(vendor))["requests"]

    async def add_fault(self, vendor: str, kind: str, **more: Any) -> None:
        answer = await self.vendors.post(f"/_sandbox/{vendor}/faults", json={"kind": kind, **more})
        assert answer.is_success, answer.text

    async def inject(self, vendor: str, fault: VendorFault, **settings: Any) -> None:
        """Add a fault of the catalogue to a vendor's script."""
        await self.add_fault(vendor, **fault.script(**settings))

    async def clear_faults(self, vendor: str) -> None:
        (await self.vendors.delete(f"/_sandbox/{vendor}/faults")).raise_for_status()

    def purchase_workflow(self, redemption_id: str, attempt: int = 1) -> "WorkflowHandle[RedeemReward, Any]":
        return self.temporal.get_workflow_handle_for(RedeemReward.run, purchase_workflow_id(redemption_id, attempt))

    def refund_workflow(self, redemption_id: str) -> "WorkflowHandle[RefundRedemption, Any]":
        return self.temporal.get_workflow_handle_for(RefundRedemption.run, refund_workflow_id(redemption_id))

    async def wait_for_purchase(self, redemption_id: str, attempt: int = 1) -> str:
        """Wait until the attempt's workflow is closed; returns its status."""
        return await wait_for_end(self.purchase_workflow(redemption_id, attempt))

    async def wait_for_refund(self, redemption_id: str) -> str:
        """Wait until the refund's workflow is closed; returns its status."""
        return await wait_for_end(self.refund_workflow(redemption_id))

    async def reconcile(self) -> None:
        queue = self.settings.temporal_task_queue
        await self.temporal.execute_workflow(ReconcileRedemptions.run, id=f"reconcile-{queue}", task_queue=queue)

    async def let_time_pass(self, time: timedelta) -> None:
        """Move every time in the database back, except those of the ledger, which is append-only.

        Deliveries of the test's purchases can be in progress. They lock rows in the product's order, this in another:
        in a deadlock, this is the one that is rolled back, and tries again.
        """
        while not await self._moves_back(time):
            pass

    async def _moves_back(self, time: timedelta) -> bool:
        try:
            async with self.store.begin() as session:
                await session.execute(text("SET LOCAL deadlock_timeout = '20ms'"))
                for table in Base.metadata.sorted_tables:
                    times = [column for column in table.columns if isinstance(column.type, DateTime)]
                    if times and table.name != LedgerEntry.__tablename__:
                        await session.execute(table.update().values({column.name: column - time for column in times}))
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != DEADLOCK:
                raise
            return False
        return True

    async def audit(self) -> list[Finding]:
        async with self.store.snapshot() as session:
            return await audit(session)


_idle_apps: list[FastAPI] = []
"""They serve one test after the other: building one takes 0.1 s."""


@asynccontextmanager
async def serving(settings: Settings, temporal: Client | None = None) -> AsyncGenerator[httpx.AsyncClient]:
    """An API in this process, as a server starts it."""
    app = _idle_apps.pop() if _idle_apps else create_app(settings, temporal)
    configure_logging(settings.log_level, settings.log_format)
    async with (
        open_state(settings, temporal) as app.state.pointsaga,
        in_process(httpx.ASGITransport(app, raise_app_exceptions=False)) as api,
    ):
        yield api
    _idle_apps.append(app)


def in_process(transport: httpx.AsyncBaseTransport) -> httpx.AsyncClient:
    """A client that reaches its app without a network."""
    return httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60)
