"""Operators: they end workflows early during the run, and retry rejected deliveries afterwards."""

from datetime import timedelta

from sqlalchemy import select
from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.service import RPCError

from database import Sessions
from db.tables import Delivery, Redemption, Reissue
from domain.channels import Channel
from domain.deliveries import DeliveryStatus
from domain.ids import attempt_workflow_ids, refund_workflow_id, reissue_workflow_id
from services.schedules import EXPIRE
from tests.chaos.log import RunLog
from tests.chaos.randomness import Clock, random_stream
from tests.chaos.shop import ChaosShop
from tests.faults import OperatorAction, end_workflow
from workflows.deliveries import DeliversEvent

EVERY_SECONDS = 2.5
EXPIRY_EVERY_SECONDS = 5.0
WORKFLOWS = (
    "WorkflowType IN ('RedeemReward', 'SettleRedemption', 'RefundRedemption', 'ReissueReward', 'ProcessWebhook')"
)
RPC_TIMEOUT = timedelta(seconds=5)


def of_shop(shop: ChaosShop) -> str:
    """The condition of a search for workflows of this shop."""
    return f"ShopDomain = '{shop.domain}'"


class Operators:
    """People with access to the Temporal UI. They end workflows of one shop."""

    def __init__(self, temporal: Client, shop: ChaosShop, log: RunLog, *, seed: int) -> None:
        self._temporal = temporal
        self._shop = shop
        self._log = log
        self._random = random_stream(seed, "operators")

    async def run(self, clock: Clock) -> None:
        while await clock.sleep(self._random.expovariate(1 / EVERY_SECONDS)):
            action, position = self._random.choice(list(OperatorAction)), self._random.random()
            try:
                await self._end_any(action, position)
            except RPCError as error:
                self._log.add(f"{action} failed: {error.status.name}")

    async def open_workflows(self, *conditions: str) -> list[str]:
        """Ids of the open workflows, as far as Temporal's search knows them."""
        query = " AND ".join(("ExecutionStatus = 'Running'", WORKFLOWS, *conditions))
        return [one.id async for one in self._temporal.list_workflows(query, rpc_timeout=RPC_TIMEOUT)]

    async def retry_rejected(self, store: Sessions) -> None:
        """Retry rejected deliveries, as the documentation says of `NeedsAttention`."""
        query = (
            select(Delivery.redemption_id, Delivery.channel, Redemption.attempt, Reissue.order_id)
            .select_from(Delivery)
            .join(Redemption, Redemption.id == Delivery.redemption_id)
            .outerjoin(Reissue, Reissue.redemption_id == Redemption.id)
            .where(Delivery.status == DeliveryStatus.FAILED)
        )
        async with store() as session:
            found = (await session.execute(query)).all()
        for redemption_id, channel, attempt, order_id in found:
            # Without a reissue there is no order, and no such workflow.
            others = (refund_workflow_id(redemption_id), reissue_workflow_id(redemption_id, str(order_id)))
            for workflow_id in (*attempt_workflow_ids(redemption_id, attempt), *others):
                await self._retry(workflow_id, Channel(channel))

    async def _end_any(self, action: OperatorAction, position: float) -> None:
        workflows = sorted(await self.open_workflows(of_shop(self._shop)))
        if not workflows:
            self._log.add(f"no workflow to {action}")
            return
        workflow_id = workflows[int(position * len(workflows))]
        await end_workflow(self._temporal.get_workflow_handle(workflow_id), action, rpc_timeout=RPC_TIMEOUT)
        self._log.actions[f"{action} {workflow_id.partition('-')[0]}"] += 1
        self._log.add(f"{action} {workflow_id}")

    async def _retry(self, workflow_id: str, channel: Channel) -> None:
        """In the workflow that waits for it. The others are closed, or do not exist."""
        handle = self._temporal.get_workflow_handle(workflow_id)
        try:
            await handle.execute_update(  # pyright: ignore[reportUnknownMemberType] - the SDK's own annotation
                DeliversEvent.retry_deliveries, [channel], rpc_timeout=RPC_TIMEOUT
            )
        except (RPCError, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError):
            return
        self._log.actions["retry_deliveries"] += 1
        self._log.add(f"retry {channel} of {workflow_id}")


class ExpirySchedule:
    """Triggers the schedule that expires points, every few seconds instead of every hour."""

    def __init__(self, temporal: Client, log: RunLog, *, seed: int) -> None:
        self._schedule = temporal.get_schedule_handle(EXPIRE)
        self._log = log
        self._random = random_stream(seed, "expiry")

    async def run(self, clock: Clock) -> None:
        while await clock.sleep(self._random.expovariate(1 / EXPIRY_EVERY_SECONDS)):
            try:
                await self.trigger()
            except RPCError as error:
                self._log.add(f"expiry not triggered: {error.status.name}")

    async def trigger(self) -> None:
        """Start the workflow, unless it runs. Raises `RPCError`."""
        await self._schedule.trigger(rpc_timeout=RPC_TIMEOUT)
        self._log.actions["expiry"] += 1
