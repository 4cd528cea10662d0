"""Render progress as Markdown: the current details and static details of a workflow in the Temporal UI.

Written for operators who do not know the code. Contains ids and scrubbed vendor messages, no customer data.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict

from activities.attempt import Attempt
from activities.discounts import Discounts
from activities.drift import Drift
from activities.metafields import Metafields
from activities.points import Points
from activities.reconciliation import Reconciliation
from activities.refunds import Refunds
from activities.reissues import Reissues
from activities.webhooks import Webhooks
from domain.eligibility import Refusal
from domain.events import EventKind
from domain.ids import refund_workflow_id, reissue_workflow_id, settlement_workflow_id
from workflows.progress import Progress, Stage, StepProgress, StepState

RESERVE = Points.reserve_points.__name__
GENERATE = Discounts.generate_discount_code.__name__
REFUND_POINTS = Refunds.refund_points.__name__
REISSUE = Reissues.reissue_discount_code.__name__

_STEP_NAMES = {
    RESERVE: "Reserve points",
    GENERATE: "Generate discount code and capture",
    Refunds.remove_discount_code.__name__: "Remove discount code at Shopify",
    REFUND_POINTS: "Refund points",
    Reissues.retire_discount_code.__name__: "Deactivate the old code at Shopify",
    REISSUE: "Create the new code and exchange the two",
    Reconciliation.find_orphaned_refunds.__name__: "Refunds without open workflow",
    Reconciliation.find_orphaned_reissues.__name__: "Reissues without open workflow",
    Reconciliation.recheck_idle_workflows.__name__: "Workflows rechecked because nothing is left to deliver",
    Webhooks.find_unprocessed_webhooks.__name__: "Webhooks without open workflow",
    Metafields.sync_metafields.__name__: "Metafields updated",
    Drift.check_codes.__name__: "Codes that differed from Shopify",
    Reconciliation.prune_idempotency_keys.__name__: "Idempotency keys deleted",
    Webhooks.prune_webhooks.__name__: "Webhooks deleted",
}

_PENDING_ACTIVITIES = "*Pending Activities* shows the vendor's last answer and the time of the next retry."
_NO_ACTION = "**Action:** none."

_AFTER_PIVOT = {
    EventKind.REWARD_REDEEMED: "**Purchased.** The points are spent and the customer has the code.",
    EventKind.REWARD_REFUNDED: "**Refunded.** The code is removed and the points are returned.",
    EventKind.PURCHASE_FAILED: "**Not purchased.** The points are released and the code cannot be used.",
    EventKind.REWARD_REISSUED: "**Reissued.** The customer has a new code; the old one no longer works.",
}


_NOT_REISSUED = "**Not reissued:** another order has used the code, or the customer was erased."


def current_details(progress: Progress) -> str:
    """Current details of a purchase, settlement or refund."""
    return _paragraphs(*_STAGES[progress.stage](progress))


def static_details(attempt: Attempt) -> str:
    """Static details of a purchase."""
    return _paragraphs(
        f"Purchase: redemption `{attempt.redemption_id}`, attempt {attempt.number}, shop `{attempt.shop_domain}`.",
        _recovered_by(settlement_workflow_id(attempt.redemption_id, attempt.number), is_queued=attempt.is_queued),
        _where_to_look(attempt),
    )


def settlement_details(attempt: Attempt) -> str:
    """Static details of a settlement."""
    return _paragraphs(
        "The workflow of this attempt was terminated, timed out or lost. This recovery workflow settles the attempt.",
        static_details(attempt),
    )


def refund_details(attempt: Attempt) -> str:
    """Static details of a refund."""
    return _paragraphs(
        f"Refund of redemption `{attempt.redemption_id}`, shop `{attempt.shop_domain}`. "
        "The activity log has the actor and the reason.",
        _recovered_by(refund_workflow_id(attempt.redemption_id)),
        _where_to_look(attempt),
    )


def reissue_details(attempt: Attempt) -> str:
    """Static details of a reissue."""
    assert attempt.order_id is not None, "a reissue has its order"
    return _paragraphs(
        f"New code for redemption `{attempt.redemption_id}`, shop `{attempt.shop_domain}`: its order "
        f"{quoted(attempt.order_id)} was cancelled or fully refunded.",
        _recovered_by(reissue_workflow_id(attempt.redemption_id, attempt.order_id)),
        _where_to_look(attempt),
    )


def webhook_details(topic: str) -> str:
    """Current details of a webhook."""
    return _paragraphs(
        f"**Shopify webhook {quoted(topic)}.** It is processed once, and retried until it succeeds.",
        f"{_NO_ACTION} {_PENDING_ACTIVITIES}",
    )


def reconciliation_details(orphaned: Sequence[Attempt], results: Mapping[str, str]) -> str:
    """Current details of a reconciliation."""
    workflows = (f"`{settlement_workflow_id(one.redemption_id, one.number)}`" for one in orphaned)
    return _paragraphs(
        f"**Redemptions without open workflow: {len(orphaned)}.** "
        + ("Recovery workflows started:" if orphaned else "Nothing to settle."),
        _bullets(workflows),
        _bullets(f"{_step_name(step)}: **{result}**" for step, result in results.items()),
    )


def quoted(words: str) -> str:
    """Text from elsewhere, shown verbatim instead of as Markdown."""
    return "`" + " ".join(words.split()).replace("`", "'") + "`"


def _redeeming(progress: Progress) -> list[str]:
    return [
        "**Purchase in progress.** The customer waits for a discount code. "
        f"Without one by {progress.attempt.deadline:%H:%M:%S} UTC, the points are released.",
        _turn(progress),
        _steps(progress),
        f"{_NO_ACTION} {_PENDING_ACTIVITIES}",
    ]


def _turn(progress: Progress) -> str:
    if progress.turn is None:
        return ""
    return f"The code is requested at {progress.turn:%H:%M:%S} UTC, the purchase's turn in the shop's rate limit."


def _compensating(progress: Progress) -> list[str]:
    if progress.steps[RESERVE].state is not StepState.COMPENSATED:
        status = "**Compensating.** The points are being released, unless the purchase turns out to be captured."
        action = "none. This is retried until it succeeds."
    else:
        status = (
            "**Not purchased, points released.** The discount code is being blocked at Shopify, because the outcome of "
            "its creation is unknown and it may exist."
        )
        action = (
            f"none while Shopify is down: this is retried until it succeeds. {_PENDING_ACTIVITIES} "
            "If Shopify rejects the request, restore the shop's access to Shopify. The workflow then continues."
        )
    return [status, _failure(progress), _steps(progress), f"**Action:** {action}"]


def _refunding(progress: Progress) -> list[str]:
    return [
        "**Refund in progress.** The code is removed first, then the points are returned. "
        "A code that was used is not refunded.",
        _steps(progress),
        f"{_NO_ACTION} This is retried until it succeeds. {_PENDING_ACTIVITIES} "
        "If Shopify rejects the request, restore the shop's access to Shopify. The workflow then continues.",
    ]


def _reissuing(progress: Progress) -> list[str]:
    return [
        "**Reissue in progress.** The old code is deactivated first, then the redemption gets a new one.",
        _steps(progress),
        f"{_NO_ACTION} This is retried until it succeeds. {_PENDING_ACTIVITIES} "
        "If Shopify rejects the request, restore the shop's access to Shopify. The workflow then continues.",
    ]


def _delivering(progress: Progress) -> list[str]:
    waiting = progress.steps_in(StepState.IN_PROGRESS)
    return [
        f"{_AFTER_PIVOT[progress.event]} Deliveries are in progress.",
        _steps(progress),
        f"**Waiting for** {_joined(waiting)}. {_PENDING_ACTIVITIES}",
        f"{_NO_ACTION} A vendor that is down is retried.",
        _bullets(_skip_command(progress, name) for name in waiting),
    ]


def _needs_attention(progress: Progress) -> list[str]:
    rejected, redemption_id = progress.steps_in(StepState.REJECTED), progress.attempt.redemption_id
    return [
        f"{_AFTER_PIVOT[progress.event]} **Delivery failed:** {_joined(rejected)} rejected the event.",
        _steps(progress),
        "**Waiting for** an operator. Retrying fails until the cause is fixed. "
        "Usually that is an API key: set the new one with "
        f"`pointsaga credentials set {progress.attempt.shop_domain} VENDOR`.",
        "**Action:**",
        _bullets(
            [
                *(f"after the fix, `pointsaga retry {redemption_id} --channel {name}`" for name in rejected),
                *(_skip_command(progress, name) for name in rejected),
            ]
        ),
    ]


def _done(progress: Progress) -> list[str]:
    if progress.refusal is not None:
        return [f"**Refused, nothing was changed.** The customer got the reason: {_refusal(progress.refusal)}."]
    if progress.event is EventKind.REWARD_REFUNDED:
        is_refunded = progress.steps[REFUND_POINTS].state is StepState.DONE
        status = (
            _AFTER_PIVOT[progress.event]
            if is_refunded
            else "**Not refunded:** the code was used. The points stay spent."
        )
        return [status, _steps(progress), f"{_NO_ACTION} The workflow is finished."]
    if progress.event is EventKind.REWARD_REISSUED:
        is_reissued = progress.steps[REISSUE].state is StepState.DONE
        status = _AFTER_PIVOT[progress.event] if is_reissued else _NOT_REISSUED
        return [status, _steps(progress), f"{_NO_ACTION} The workflow is finished."]
    if progress.steps[GENERATE].state is StepState.DONE:
        return [_AFTER_PIVOT[progress.event], _steps(progress), f"{_NO_ACTION} The workflow is finished."]
    return [
        "**Not purchased.** The points are released and the code cannot be used.",
        _failure(progress),
        _steps(progress),
        "**Action:** none for this purchase; the customer can retry. If a vendor rejected the request, fix the cause.",
    ]


_STAGES: dict[Stage, Callable[[Progress], list[str]]] = {
    Stage.REDEEMING: _redeeming,
    Stage.COMPENSATING: _compensating,
    Stage.REFUNDING: _refunding,
    Stage.REISSUING: _reissuing,
    Stage.DELIVERING: _delivering,
    Stage.NEEDS_ATTENTION: _needs_attention,
    Stage.DONE: _done,
}


def _recovered_by(workflow_id: str, *, is_queued: bool = False) -> str:
    # Static details are all that a terminated workflow shows: it has no current details any more.
    return (
        f"If this workflow was terminated, timed out or lost, the workflow `{workflow_id}` finishes its work. "
        f"The reconciler starts it within two minutes{' after the deadline' if is_queued else ''}."
    )


def _where_to_look(attempt: Attempt) -> str:
    return (
        f"More: `pointsaga show {attempt.redemption_id}`. "
        "Stages and actions are explained in docs/operations.md, *Reading a workflow*."
    )


def _failure(progress: Progress) -> str:
    return f"**Reason:** {quoted(progress.failure.reason)}" if progress.failure else ""


def _steps(progress: Progress) -> str:
    """The steps; without those that will not run any more."""
    over = progress.stage is Stage.DONE or progress.stage is Stage.COMPENSATING
    listed = [
        (name, step) for name, step in progress.steps.items() if not (over and step.state is StepState.NOT_STARTED)
    ]
    return _bullets(_step(name, step) for name, step in listed)


def _step(name: str, step: StepProgress) -> str:
    line = f"{_step_name(name)}: **{step.state}**"
    return f"{line}, {quoted(step.reason)}" if step.reason else line


def _step_name(step: str) -> str:
    if step in _STEP_NAMES:
        return _STEP_NAMES[step]
    return step.replace("_", " ").capitalize() if "_" in step else f"Deliver to `{step}`"


def _refusal(refusal: Refusal) -> str:
    figures = {name: value for name, value in asdict(refusal).items() if name != "code" and value is not None}
    listed = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in figures.items())
    return quoted(f"{refusal.code}: {listed}" if listed else refusal.code)


def _skip_command(progress: Progress, channel: str) -> str:
    return f'to skip this delivery, `pointsaga skip {progress.attempt.redemption_id} --channel {channel} --reason "…"`'


def _joined(names: Iterable[str]) -> str:
    return " and ".join(f"`{name}`" for name in names)


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _paragraphs(*paragraphs: str) -> str:
    return "\n\n".join(one for one in paragraphs if one)
