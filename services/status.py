"""Whether customers can buy, right now, in every shop; and what is wrong, since when, and which command helps."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from cryptography.fernet import InvalidToken
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError
from temporalio.client import Client
from temporalio.service import RPCError

from database import Sessions
from db import status as ledger
from db.status import Backlog, FailingDeliveries, FailingPurchases, Purchases
from db.tables import Shop
from db.vault import Vault
from domain.channels import Channel
from domain.failures import FailureCode
from services import findings
from services.findings import Finding
from services.health import queue_states, reaches_database, reaches_temporal
from services.schedules import ScheduleState, schedule_states
from services.stuck import Stuck, StuckFinder
from services.workers import QueueState

Credentials = Literal["accepted", "rejected", "unused", "unreadable"]
"""`accepted`, `rejected`: by the last calls. `unused`: not called lately."""


@dataclass(frozen=True, kw_only=True)
class ShopStatus:
    """One shop. The names are keys of `status --json`.

    Attributes:
        credentials: by vendor; one without credentials is left out.
        purchases: of the last 15 minutes.
        backlog: the unfinished redemptions. None: there are none.
    """

    shop: str
    credentials: Mapping[str, Credentials]
    purchases: Sequence[Purchases]
    failing_deliveries: Sequence[FailingDeliveries]
    backlog: Backlog | None


@dataclass(frozen=True, kw_only=True)
class Status:
    """The state of a deployment. The names are keys of `status --json`."""

    database: bool
    workflow_service: bool
    task_queues: Sequence[QueueState] = ()
    schedules: Sequence[ScheduleState] = ()
    shops: Sequence[ShopStatus] = ()
    findings: Sequence[Finding] = ()

    @property
    def customers_can_buy(self) -> bool:
        """In every shop."""
        return not any(one.blocks_purchases for one in self.findings)


@dataclass(frozen=True, kw_only=True)
class _Ledger:
    """What the database shows."""

    shops: Sequence[ShopStatus] = ()
    findings: Sequence[Finding] = ()


@dataclass(frozen=True, kw_only=True)
class _Engine:
    """What Temporal shows."""

    task_queues: Sequence[QueueState] = ()
    schedules: Sequence[ScheduleState] = ()
    findings: Sequence[Finding] = ()


@dataclass(frozen=True, kw_only=True)
class StatusCheck:
    """Asks database and Temporal, and changes nothing.

    Attributes:
        temporal: a lazy client, as Temporal may be away.
        deadline: after which a purchase without a workflow counts as unanswered.
    """

    store: Sessions
    temporal: Client
    vault: Vault
    task_queue: str
    deadline: timedelta

    async def check(self) -> Status:
        """Everything, with the findings that block purchases first."""
        database, workflow_service = await asyncio.gather(reaches_database(self.store), reaches_temporal(self.temporal))
        of_ledger, of_engine = await asyncio.gather(self._ledger(database), self._engine(workflow_service))
        found = [*of_ledger.findings, *of_engine.findings]
        if database and workflow_service:
            found += await self._stuck()
        return Status(
            database=database,
            workflow_service=workflow_service,
            task_queues=of_engine.task_queues,
            schedules=of_engine.schedules,
            shops=of_ledger.shops,
            findings=findings.merge(found),
        )

    async def _ledger(self, reachable: bool) -> _Ledger:
        if not reachable:
            return _Ledger(findings=[findings.DATABASE_AWAY])
        try:
            return await self._read_ledger()
        except ProgrammingError:
            return _Ledger(findings=[findings.UNMIGRATED])
        except (SQLAlchemyError, OSError):
            return _Ledger(findings=[findings.DATABASE_AWAY])

    async def _read_ledger(self) -> _Ledger:
        async with self.store() as session:
            shops = await ledger.list_shops(session)
            purchases = await ledger.recent_purchases(session, deadline=self.deadline)
            failing = await ledger.failing_purchases(session)
            deliveries = await ledger.failing_deliveries(session)
            backlogs = {one.shop: one for one in await ledger.backlogs(session)}
            sending = await ledger.sending_channels(session)
        reader = _ShopReader(self.vault, purchases, failing, deliveries, backlogs, sending)
        states = [reader.read(shop) for shop in shops]
        unreadable = [one.shop for one in states if "unreadable" in one.credentials.values()]
        unverifiable = [
            one.domain for one in shops if len(self.vault.open_texts(one.webhook_secrets)) < len(one.webhook_secrets)
        ]
        found = [
            *findings.of_unreadable(unreadable, unverifiable),
            *(finding for one in failing if one.shop not in unreadable for finding in findings.of_purchases(one)),
            *findings.of_deliveries(deliveries),
        ]
        return _Ledger(shops=states, findings=found)

    async def _engine(self, reachable: bool) -> _Engine:
        if not reachable:
            return _Engine(findings=[findings.WORKFLOW_SERVICE_AWAY])
        purchases, background = queues = await queue_states(self.temporal, self.task_queue)
        schedules = await schedule_states(self.temporal)
        found = [
            *findings.of_queue(purchases, for_purchases=True),
            *findings.of_queue(background, for_purchases=False),
            *(finding for one in schedules for finding in findings.of_schedule(one)),
        ]
        return _Engine(task_queues=queues, schedules=schedules, findings=found)

    async def _stuck(self) -> list[Finding]:
        finder = StuckFinder(
            store=self.store, temporal=self.temporal, task_queue=self.task_queue, deadline=self.deadline
        )
        found: dict[tuple[Any, ...], Stuck] = {}
        try:
            async for one in finder.find():
                found[one.redemption_id, one.event, one.run] = one
            async for one in finder.find_ended_early():
                found.setdefault((one.redemption_id, one.event, one.run), one)
        except (RPCError, SQLAlchemyError, OSError):
            # Database or Temporal went away meanwhile. The next check says so.
            return []
        return list(findings.of_stuck(found.values()))


@dataclass(frozen=True)
class _ShopReader:
    """Puts together what was read about one shop."""

    vault: Vault
    purchases: Iterable[Purchases]
    failing: Iterable[FailingPurchases]
    deliveries: Iterable[FailingDeliveries]
    backlogs: Mapping[str, Backlog]
    sending: Collection[tuple[str, str]]

    def read(self, shop: Shop) -> ShopStatus:
        domain = shop.domain
        return ShopStatus(
            shop=domain,
            credentials={vendor: self._credentials(shop, vendor) for vendor in sorted(shop.credentials)},
            purchases=[one for one in self.purchases if one.shop == domain],
            failing_deliveries=[one for one in self.deliveries if one.shop == domain],
            backlog=self.backlogs.get(domain),
        )

    def _credentials(self, shop: Shop, vendor: str) -> Credentials:
        try:
            self.vault.check(shop, vendor)
        except InvalidToken:
            return "unreadable"
        channels = {channel for channel in Channel if channel.vendor == vendor}
        if self._are_rejected(shop.domain, vendor, channels):
            return "rejected"
        return "accepted" if any((shop.domain, channel) in self.sending for channel in channels) else "unused"

    def _are_rejected(self, shop: str, vendor: str, channels: Collection[str]) -> bool:
        rejected = FailureCode.CONFIGURATION_REJECTED
        purchases = vendor == "shopify" and any(one.shop == shop and one.code == rejected for one in self.failing)
        mine = [one for one in self.deliveries if one.shop == shop and one.channel in channels]
        return purchases or any(findings.concerns_credentials(one.reason) for one in mine)
