"""Operator actions on unfinished purchases and refunds: plan them, and perform them.

An action has an idempotency key, derived from the delivery attempt that it follows: `retry-reward_redeemed-klaviyo-3`
follows the third one. The key identifies both the activity-log entry and the workflow update, so a repeated action is
neither performed nor logged twice.
"""

import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetActivityRequest
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.attempt import Attempt
from activities.deliveries import Deliveries, SkipDelivery
from activities.reconciliation import ORPHANED_AFTER
from clients.temporal import describe_workflow, find_open_workflow
from database import Sessions
from db import transactions
from db.activity_log import log_operator_action
from db.stuck import UnfinishedDetails
from db.tables import Delivery
from domain.activity_log import ActivityKind
from domain.channels import Channel
from domain.deliveries import UNSENT, DeliveryStatus
from domain.events import EventKind, channel_label
from services.gateway import Gateway
from services.stuck import list_details
from workflows.deliveries import DeliversEvent
from workflows.progress import attempt_attributes
from workflows.recovery import recovery_workflow

UPDATE_TIMEOUT = timedelta(seconds=10)
# Enough for a vendor that answers. One that does not answer is not waited for.
OUTCOME_WITHIN = timedelta(seconds=5)
_PAUSE_SECONDS = 0.2


class NothingToDo(Exception):
    """The action is in progress or done."""


class ActionFailed(Exception):
    """The action could not be performed. Safe to repeat."""


class ActionKind(StrEnum):
    RETRY = "retry"
    """Retry a rejected delivery."""
    RETRY_NOW = "try_now"
    """Make the next attempt of a pending delivery now."""
    SKIP = "skip"
    """Skip an unsent delivery."""
    RESTART = "restart"
    """Start a recovery workflow, as no workflow is open."""


_RECOVER = {EventKind.REWARD_REFUNDED: "recover the refund", EventKind.REWARD_REISSUED: "recover the reissue"}


@dataclass(frozen=True, kw_only=True)
class Operator:
    actor: str
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Action:
    """One action on an attempt or its refund.

    Attributes:
        workflow_id: the open workflow, if there is one.
        delivery: the delivery to retry or skip. A restart has none.
        retry_channels: channels on which a restart retries the rejected delivery.
    """

    kind: ActionKind
    details: UnfinishedDetails
    workflow_id: str | None = None
    delivery: Delivery | None = None
    retry_channels: Sequence[Channel] = ()

    @property
    def channel(self) -> Channel:
        assert self.delivery is not None
        return Channel(self.delivery.channel)

    @property
    def deliveries(self) -> Sequence[Delivery]:
        """The deliveries that it concerns."""
        return [self.delivery] if self.delivery else self.details.undelivered

    @property
    def key(self) -> str:
        """Idempotency key: one operator action per event, channel and attempt."""
        assert self.delivery is not None
        verb = "skip" if self.kind is ActionKind.SKIP else "retry"
        return f"{verb}-{self.details.event}-{self.channel}-{self.delivery.attempts}"

    def as_json(self) -> dict[str, Any]:
        channels = self.retry_channels if self.kind is ActionKind.RESTART else [self.channel]
        return {"action": self.kind, "event": self.details.event, "channels": channels, "run": self.workflow_id}

    def __str__(self) -> str:
        if self.kind is ActionKind.RESTART:
            recover = _RECOVER.get(self.details.event, f"recover attempt {self.details.attempt.number}")
            return f"{recover}, retry {', '.join(self.retry_channels)}" if self.retry_channels else recover
        label = channel_label(self.channel, self.details.event)
        return f"retry {label} now" if self.kind is ActionKind.RETRY_NOW else f"{self.kind} {label}"


@dataclass(frozen=True, kw_only=True)
class Actions:
    store: Sessions
    temporal: Client
    gateway: Gateway

    async def plan_retry(self, redemption_id: str, channels: Collection[Channel] = ()) -> list[Action]:
        """Retry the deliveries on these channels, or on all. Without an open workflow: start a recovery workflow."""
        planned: list[Action] = []
        async for details, workflow_id in self._unfinished(redemption_id):
            deliveries = _on_channels(channels, details.undelivered)
            if workflow_id is not None:
                planned += [
                    Action(kind=_retry_kind(one), details=details, workflow_id=workflow_id, delivery=one)
                    for one in deliveries
                    if one.attempts > 0 or one.last_error is not None
                ]
            elif deliveries or not channels:
                planned += await self._plan_restart(details, deliveries)
        return planned

    async def plan_skip(self, redemption_id: str, channels: Collection[Channel]) -> list[Action]:
        """Skip the unsent deliveries on these channels."""
        return [
            Action(kind=ActionKind.SKIP, details=details, workflow_id=workflow_id, delivery=one)
            async for details, workflow_id in self._unfinished(redemption_id)
            for one in _on_channels(channels, details.undelivered)
        ]

    async def plan_redrive(self, redemption_id: str) -> list[Action]:
        """Retry rejected deliveries. Without an open workflow: start a recovery workflow."""
        return [one for one in await self.plan_retry(redemption_id) if one.kind is not ActionKind.RETRY_NOW]

    async def perform(self, action: Action, operator: Operator) -> None:
        """Log the action, then perform it.

        Raises:
            NothingToDo: it is in progress or done.
            ActionFailed: it could not be performed.
        """
        perform = {
            ActionKind.RETRY: self._retry,
            ActionKind.RETRY_NOW: self._retry_now,
            ActionKind.SKIP: self._skip,
            ActionKind.RESTART: self._restart,
        }
        try:
            await perform[action.kind](action, operator)
        except WorkflowUpdateFailedError as error:
            # Rejected by the validator: the workflow has progressed since the action was planned.
            raise NothingToDo(str(error.cause)) from None
        except RPCError as error:
            raise ActionFailed(f"{error.status.name}: {error.message}") from None

    async def outcomes(self, performed: Sequence[Action]) -> list[Delivery]:
        """The deliveries that these actions concern, once each has an outcome, or as they are after 5 s."""
        concerned = [one for action in performed for one in action.deliveries]
        with suppress(TimeoutError):
            async with asyncio.timeout(OUTCOME_WITHIN.total_seconds()):
                while not all([_has_outcome(old, await self._delivery(old)) for old in concerned]):  # noqa: ASYNC110
                    await asyncio.sleep(_PAUSE_SECONDS)
        return [await self._delivery(one) for one in concerned]

    async def _delivery(self, one: Delivery) -> Delivery:
        async with self.store() as session:
            return await session.get_one(Delivery, (one.redemption_id, one.channel, one.event))

    async def _unfinished(self, redemption_id: str) -> AsyncGenerator[tuple[UnfinishedDetails, str | None]]:
        """What is unfinished about the redemption, each with its open workflow."""
        async with self.store() as session:
            now = await transactions.now(session)
        async for page in list_details(self.store, before=now, among=[redemption_id]):
            for details in page:
                yield details, await find_open_workflow(self.temporal, details.attempt.workflow_ids)

    async def _plan_restart(self, details: UnfinishedDetails, deliveries: Sequence[Delivery]) -> list[Action]:
        async with self.store() as session:
            is_recent = details.since >= await transactions.now(session) - ORPHANED_AFTER
        # An activity of the closed workflow may still be sending. After ORPHANED_AFTER it is not.
        if is_recent and (details.undecided or any(one.attempted_at for one in details.undelivered)):
            return []
        rejected = [Channel(one.channel) for one in deliveries if one.status is DeliveryStatus.FAILED]
        return [Action(kind=ActionKind.RESTART, details=details, retry_channels=rejected)]

    async def _retry(self, action: Action, operator: Operator) -> None:
        await self._log_delivery(action, operator, ActivityKind.DELIVERY_RETRY_REQUESTED)
        await self._update(action, DeliversEvent.retry_deliveries, [[action.channel]])

    async def _retry_now(self, action: Action, operator: Operator) -> None:
        await self._log_delivery(action, operator, ActivityKind.DELIVERY_RETRY_REQUESTED)
        try:
            await self._reset_activity(action, action.channel, operator)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            # The first send on every channel is one activity.
            await self._reset_activity(action, Deliveries.deliver_all.__name__, operator)

    async def _reset_activity(self, action: Action, activity_id: str, operator: Operator) -> None:
        await self.temporal.workflow_service.reset_activity(
            ResetActivityRequest(
                namespace=self.temporal.namespace,
                execution=WorkflowExecution(workflow_id=action.workflow_id or ""),
                id=activity_id,
                identity=operator.actor,
            )
        )

    async def _skip(self, action: Action, operator: Operator) -> None:
        reason = operator.reason or ""
        await self._log_delivery(action, operator, ActivityKind.DELIVERY_SKIP_REQUESTED)
        if action.workflow_id is not None:
            await self._update(action, DeliversEvent.skip_deliveries, [[action.channel], reason])
            return
        assert action.delivery is not None
        attempt = action.details.attempt
        skip = SkipDelivery(
            shop_id=attempt.shop_id,
            redemption_id=attempt.redemption_id,
            event=EventKind(action.delivery.event),
            channel=action.channel,
            reason=reason,
        )
        await Deliveries(self.store, {}).skip_delivery(skip)

    async def _restart(self, action: Action, operator: Operator) -> None:
        unfinished = asdict(action.details.attempt)
        attempt = Attempt.model_validate({**unfinished, "retry_channels": action.retry_channels})
        recovery = recovery_workflow(attempt, action.details.event)
        previous = await describe_workflow(self.temporal, recovery.id)
        key = f"start-{recovery.id}" + (f"-after-{previous.run_id}" if previous else "")
        facts = {"attempt": attempt.number, "channels": action.retry_channels}
        await self._log(action, operator, ActivityKind.RESTART_REQUESTED, key, facts)
        try:
            await self.gateway.start(
                recovery.run,
                attempt,
                workflow_id=recovery.id,
                shop_id=attempt.shop_id,
                search_attributes=attempt_attributes(attempt, recovery.stage),
                summary=recovery.summary,
                details=recovery.details,
            )
        except WorkflowAlreadyStartedError:
            raise NothingToDo("a recovery workflow is running") from None

    async def _log_delivery(self, action: Action, operator: Operator, kind: ActivityKind) -> None:
        await self._log(action, operator, kind, action.key, {"channels": [action.channel]})

    async def _log(
        self, action: Action, operator: Operator, kind: ActivityKind, key: str, facts: dict[str, Any]
    ) -> None:
        details = action.details
        facts = {"event": details.event, **facts, "by": operator.actor, "reason": operator.reason}
        async with self.store.begin() as session:
            await log_operator_action(session, details.attempt, kind, action_key=key, facts=facts)

    async def _update(self, action: Action, update: Any, arguments: list[Any]) -> None:
        assert action.workflow_id is not None
        try:
            await self.gateway.update(
                action.workflow_id, update, arguments, update_id=action.key, within=UPDATE_TIMEOUT
            )
        except TimeoutError:
            seconds = UPDATE_TIMEOUT.total_seconds()
            raise ActionFailed(f"no worker responded within {seconds:.0f} s; it may still be performed") from None


def _has_outcome(before: Delivery, after: Delivery) -> bool:
    """Whether a delivery was settled or attempted since, and no attempt is in progress."""
    is_in_progress = after.status is DeliveryStatus.PENDING and after.attempted_at is not None
    return after.status not in UNSENT or (after.attempts > before.attempts and not is_in_progress)


def _on_channels(channels: Collection[Channel], deliveries: Sequence[Delivery]) -> list[Delivery]:
    return [one for one in deliveries if not channels or one.channel in channels]


def _retry_kind(delivery: Delivery) -> ActionKind:
    return ActionKind.RETRY if delivery.status is DeliveryStatus.FAILED else ActionKind.RETRY_NOW
