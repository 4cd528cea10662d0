"""What is wrong: one line each, with the command that settles it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from activities.credentials import MISSING, UNREADABLE
from db.status import FailingDeliveries, FailingPurchases
from domain.channels import Channel
from domain.deliveries import DeliveryStatus
from domain.failures import FailureCode
from services.schedules import ScheduleCondition, ScheduleState
from services.stuck import REDRIVE_SHOP, Stuck, StuckKind
from services.workers import Dispatch, QueueState

MAX_ALIKE = 3
"""What concerns more than this of a shop and reason is one finding."""

KEY_COMMAND = "add the key that encrypted them to ENCRYPTION_KEYS and restart the processes"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is wrong. The names are keys of `status --json`.

    Attributes:
        what: one sentence.
        since: None: as of now.
        shop: domain of the shop. None: it concerns all of them.
        command: what settles it.
        blocks_purchases: customers cannot buy.
    """

    what: str
    since: datetime | None = None
    shop: str | None = None
    command: str
    blocks_purchases: bool = False


DATABASE_AWAY = Finding(
    what="the database does not answer", command="check PostgreSQL and DATABASE_URL", blocks_purchases=True
)
UNMIGRATED = Finding(
    what="the database lacks tables or columns of this release", command="pointsaga migrate", blocks_purchases=True
)
WORKFLOW_SERVICE_AWAY = Finding(
    what="the workflow service does not answer", command="check Temporal and TEMPORAL_ADDRESS", blocks_purchases=True
)


def of_queue(queue: QueueState, *, for_purchases: bool) -> Iterator[Finding]:
    """Whether workers answer on a task queue."""
    silent, waiting = queue.silent_worker, "purchases wait" if for_purchases else "deliveries wait"
    if silent is not None:
        what = f"no worker answers on {queue.name}: {silent.identity} is frozen, dead or cut off, {waiting}"
        command = f"kill process {silent.identity}, then start: python -m worker"
        yield Finding(what=what, since=silent.seen_at, command=command, blocks_purchases=for_purchases)
    elif queue.dispatch is Dispatch.NO_WORKER:
        what = f"no worker polls {queue.name}, {waiting}"
        yield Finding(what=what, command="python -m worker", blocks_purchases=for_purchases)
    elif queue.dispatch is Dispatch.NOT_CURRENT:
        builds = sorted({one.build_id or "unversioned" for one in queue.workers})
        what = f"no worker on {queue.name} has the current version, only {', '.join(builds)}: {waiting}"
        command = f"temporal worker deployment set-current-version --build-id {builds[-1]} (docs/deploying.md)"
        yield Finding(what=what, command=command, blocks_purchases=for_purchases)


def of_schedule(schedule: ScheduleState) -> Iterator[Finding]:
    """A schedule that starts no workflows."""
    if schedule.state is not ScheduleCondition.ALIVE:
        what = f"the schedule {schedule.id} is {schedule.state}"
        yield Finding(what=what, since=schedule.last_run, command="pointsaga schedules apply")


def of_unreadable(credentials: Sequence[str], webhook_secrets: Sequence[str]) -> Iterator[Finding]:
    """What this process cannot decrypt of these shops: one wrong key, however many shops."""
    if credentials:
        what = f"none of ENCRYPTION_KEYS decrypts the credentials of {_named(credentials)}"
        yield Finding(what=what, shop=_only(credentials), command=KEY_COMMAND, blocks_purchases=True)
    elif webhook_secrets:
        what = f"none of ENCRYPTION_KEYS decrypts the webhook secret of {_named(webhook_secrets)}: webhooks get 503"
        yield Finding(what=what, shop=_only(webhook_secrets), command=KEY_COMMAND)


def of_purchases(failing: FailingPurchases) -> Iterator[Finding]:
    """Purchases that fail for a reason of their own. Those without a worker, say, have theirs elsewhere."""
    command = _PURCHASE_COMMANDS.get(FailureCode(failing.code))
    if command is not None:
        reason = failing.reason or failing.code
        command = KEY_COMMAND if UNREADABLE in reason else command.format(shop=failing.shop, last=failing.last)
        what = f"purchases fail ({failing.number}): {reason}"
        # Shopify rejects one customer or product. The others can be sold.
        blocks = failing.code != FailureCode.REQUEST_REJECTED
        yield Finding(what=what, since=failing.since, shop=failing.shop, command=command, blocks_purchases=blocks)


_PURCHASE_COMMANDS = {
    FailureCode.CONFIGURATION_REJECTED: "pointsaga credentials set {shop} shopify",
    FailureCode.REQUEST_REJECTED: "pointsaga show {last}",
    FailureCode.SHOPIFY_UNAVAILABLE: "wait for Shopify; pointsaga show {last}",
    FailureCode.ENGINE_UNAVAILABLE: "read the worker's log; pointsaga show {last}",
}


def of_deliveries(failing: Iterable[FailingDeliveries]) -> Iterator[Finding]:
    """One finding per shop, channel and status, with the most frequent reason."""
    for (shop, channel, status), rows in groupby(failing, key=lambda one: (one.shop, one.channel, one.status)):
        reasons = sorted(rows, key=lambda one: -one.number)
        number, since = sum(one.number for one in reasons), min(one.since for one in reasons)
        reason = reasons[0].reason + (f" and {len(reasons) - 1} other reasons" if len(reasons) > 1 else "")
        if status == DeliveryStatus.FAILED:
            what = f"deliveries were rejected by {channel} ({number}): {reason}"
            command = f"{_fix(shop, Channel(channel), reasons[0].reason)}, then {REDRIVE_SHOP.format(shop=shop)}"
        else:
            what = f"deliveries to {channel} are retried ({number}): {reason}"
            command = "wait, they are retried for a day; pointsaga stuck"
        yield Finding(what=what, since=since, shop=shop, command=command)


def concerns_credentials(reason: str) -> bool:
    """Whether a vendor rejected the key, or there is none to send."""
    return any(words in reason for words in ("HTTP 401", "HTTP 403", MISSING, UNREADABLE))


def _fix(shop: str, channel: Channel, reason: str) -> str:
    if UNREADABLE in reason:
        return KEY_COMMAND
    if channel.vendor and concerns_credentials(reason):
        return f"pointsaga credentials set {shop} {channel.vendor}"
    return "fix what it rejects"


def of_stuck(found: Iterable[Stuck]) -> Iterator[Finding]:
    """One finding per kind, shop and reason. Deliveries with an error and task queues have findings of their own."""
    elsewhere = (StuckKind.NEEDS_ATTENTION, StuckKind.VENDOR_DOWN, StuckKind.NO_WORKER)
    others = [one for one in found if one.kind not in elsewhere]
    for rows in group(others):
        oldest = rows[0]
        yield Finding(
            what=f"{oldest.label} ({len(rows)}): {oldest.why}",
            since=min(one.since for one in rows),
            shop=oldest.shop,
            command=f"{oldest.advice} {oldest.command if len(rows) == 1 else oldest.command_for_many}",
            # Without unsent deliveries it has not come to the capture.
            blocks_purchases=oldest.kind is StuckKind.WORKFLOW_FAILING and not oldest.channels,
        )


def group(found: Iterable[Stuck]) -> list[list[Stuck]]:
    """What is stuck by kind, shop and reason, the oldest first in each group."""
    ordered = sorted(found, key=lambda one: (*_group_key(one), one.since))
    return [list(rows) for _, rows in groupby(ordered, key=_group_key)]


def _group_key(one: Stuck) -> tuple[str, str, str]:
    return one.kind, one.shop or "", one.why


def merge(findings: Iterable[Finding]) -> list[Finding]:
    """The findings, those that block purchases first. What concerns more than three shops alike is one line."""
    merged: list[Finding] = []
    ordered = sorted(findings, key=lambda one: (not one.blocks_purchases, one.what, one.shop or ""))
    for what, rows in groupby(ordered, key=lambda one: one.what):
        same = list(rows)
        merged += same if len(same) <= MAX_ALIKE else [_merged(what, same)]
    return merged


def _merged(what: str, same: Sequence[Finding]) -> Finding:
    since = min((one.since for one in same if one.since), default=None)
    shops = [one.shop for one in same if one.shop]
    blocks = any(one.blocks_purchases for one in same)
    what, command = f"{what}, at {_named(shops)}", f"{same[0].command}, likewise for each shop"
    return Finding(what=what, since=since, command=command, blocks_purchases=blocks)


def _named(shops: Sequence[str]) -> str:
    return shops[0] if len(shops) == 1 else f"{len(shops)} shops"


def _only(shops: Sequence[str]) -> str | None:
    return shops[0] if len(shops) == 1 else None
