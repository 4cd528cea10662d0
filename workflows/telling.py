"""What a run tells whoever opens it in the Temporal UI: what it is doing, what it waits for, and what to do about it.

Markdown for a person who has never seen the code. Ids and vendors' scrubbed words only, nothing of the customer's.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from temporalio.exceptions import ActivityError, ApplicationError

from activities.attempt import Attempt
from activities.discounts import Discounts
from activities.drift import Drift
from activities.housekeeping import Housekeeping
from activities.metafields import Metafields
from activities.points import Points
from activities.refunds import Refunds
from activities.webhooks import Webhooks
from domain.eligibility import Refusal
from domain.events import EventKind
from domain.redemptions import settlement_id
from workflows.stages import Stage

RESERVE = Points.reserve_points.__name__
GENERATE = Discounts.generate_discount_code.__name__

_NAMES = {
    RESERVE: "Reserve the points",
    GENERATE: "Make the discount code, spend the points",
    Refunds.remove_discount_code.__name__: "Remove the discount code at Shopify",
    Refunds.refund_points.__name__: "Give the points back",
    Housekeeping.find_stranded_refunds.__name__: "Refunds without a live run",
    Housekeeping.wake_idle_runs.__name__: "Runs with nothing left to wait for",
    Webhooks.find_waiting_webhooks.__name__: "Webhooks that nobody was processing",
    Metafields.sync_metafields.__name__: "Customers whose metafield was behind",
    Drift.check_codes.__name__: "Codes that had drifted from Shopify",
    Housekeeping.prune_idempotency_keys.__name__: "Idempotency keys forgotten",
    Webhooks.prune_webhooks.__name__: "Webhooks forgotten",
}

PENDING = "*Pending Activities* tells what a vendor answered last, and when the next try comes."


class State(StrEnum):
    """How far a step has come."""

    NOT_YET = "not yet"
    UNDER_WAY = "under way"
    DONE = "done"
    REFUSED = "refused"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"
    UNDOING = "being undone"
    UNDONE = "undone"


@dataclass(frozen=True)
class Step:
    """One step of an attempt; `reason` says why it is where it is, in the words of the vendor or the operator."""

    state: State = State.NOT_YET
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Story:
    """What a run is about.

    Attributes:
        event: what is announced once the pivot is passed.
        steps: those up to the pivot.
        passed: what is true after it.
        told: what is said at each stage.
    """

    event: EventKind
    steps: tuple[str, ...]
    passed: str
    told: "Mapping[Stage, Callable[[Page], list[str]]]"


@dataclass
class Page:
    """What is told of an attempt. `why` it did not become a purchase; `steps` by activity id, in order."""

    attempt: Attempt
    story: Story
    stage: Stage
    why: str = ""
    refusal: Refusal | None = None
    steps: dict[str, Step] = field(default_factory=dict[str, Step])

    def __post_init__(self) -> None:
        self.steps |= dict.fromkeys((*self.story.steps, *self.attempt.channels), Step())

    def those(self, state: State) -> list[str]:
        """The steps in this state."""
        return [name for name, step in self.steps.items() if step.state is state]


def current_details(page: Page) -> str:
    """The page of an attempt, as of now."""
    return paragraphs(*page.story.told[page.stage](page))


def static_details(attempt: Attempt) -> str:
    """What holds for as long as the run exists."""
    return paragraphs(
        f"Points for a discount code: redemption `{attempt.redemption_id}`, attempt {attempt.number}, "
        f"at `{attempt.shop_domain}`.",
        look_closer(attempt),
    )


def settlement_details(attempt: Attempt) -> str:
    """What holds for a settlement."""
    return paragraphs(
        "The run of this attempt is gone: terminated, timed out or lost. This run brings it to its end.",
        static_details(attempt),
    )


def webhook_details(topic: str) -> str:
    """A webhook, from its coming to its end."""
    return paragraphs(
        f"**Shopify told of {quoted(topic)}.** That is processed once, and tried until it is done.",
        f"**What to do:** nothing. {PENDING}",
    )


def round_details(stranded: Sequence[Attempt], results: Mapping[str, str]) -> str:
    """A round of the reconciler, so far."""
    settlements = (f"`{settlement_id(one.redemption_id, one.number)}`" for one in stranded)
    return paragraphs(
        f"**Redemptions without a live run: {len(stranded)}.** "
        + ("Each is brought to its end by a settlement:" if stranded else "Nothing to settle."),
        _list(settlements),
        _list(f"{_name(step)}: **{result}**" for step, result in results.items()),
    )


def reason_of(error: BaseException) -> str:
    """Why a saga was given up, in the words of whoever said no."""
    cause = error.cause if isinstance(error, ActivityError) else error
    if isinstance(cause, ApplicationError):
        return cause.message
    return "the run was cancelled" if isinstance(error, asyncio.CancelledError) else "no answer in time"


def quoted(words: str) -> str:
    """Somebody else's words, which are shown as they are and not as Markdown."""
    return "`" + " ".join(words.split()).replace("`", "'") + "`"


def _redeeming(page: Page) -> list[str]:
    return [
        "**A customer waits for a discount code.** "
        f"If there is none by {page.attempt.deadline:%H:%M:%S} UTC, the points are given back.",
        steps_of(page),
        f"**What to do:** nothing. {PENDING}",
    ]


def _compensating(page: Page) -> list[str]:
    if page.steps[RESERVE].state is not State.UNDONE:
        what = "**The points are being given back,** unless the purchase turns out to be made."
        to_do = "nothing: it is tried until it is done."
    else:
        what = (
            "**No purchase: the points are back.** Now it is made sure that their code can never be used: "
            "an answer of Shopify's may have been lost, and with it whether there is a code."
        )
        to_do = (
            f"it waits for Shopify, for as long as that takes. {PENDING} "
            "If that is a refusal, mend the shop's access to Shopify; the run then goes on by itself."
        )
    return [what, _because(page), steps_of(page), f"**What to do:** {to_do}"]


def delivering(page: Page) -> list[str]:
    """Past the pivot, of any story."""
    waiting = page.those(State.UNDER_WAY)
    return [
        f"{page.story.passed} Now those who should know of it are told.",
        steps_of(page),
        f"**Waits for** {' and '.join(f'`{name}`' for name in waiting)}. {PENDING}",
        "**What to do:** nothing: a vendor that is down is asked again.",
        _list(_skip(page.attempt.redemption_id, name) for name in waiting),
    ]


def needs_attention(page: Page) -> list[str]:
    """Past the pivot, of any story, when a vendor has said no."""
    refused, about = page.those(State.REFUSED), page.attempt.redemption_id
    return [
        f"{page.story.passed} But {' and '.join(f'`{name}`' for name in refused)} refused to be told of it.",
        steps_of(page),
        "**Waits for** an operator: asking again is no use before the reason is mended. "
        "Mostly that is a key: `pointsaga import` brings a new one.",
        "**What to do:**",
        _list(
            [
                *(f"when it is mended, `pointsaga retry {about} --channel {name}`" for name in refused),
                *(_skip(about, name) for name in refused),
            ]
        ),
    ]


def _done(page: Page) -> list[str]:
    if page.refusal is not None:
        return [f"**Refused: nothing was changed.** The customer was told why: {_figures(page.refusal)}."]
    if page.steps[GENERATE].state is State.DONE:
        return [page.story.passed, steps_of(page), "**What to do:** nothing; this is the end."]
    return [
        "**No purchase: the points are back, and no code can be used.**",
        _because(page),
        steps_of(page),
        "**What to do:** nothing for this purchase; the customer can try again. What a vendor refuses is to be mended.",
    ]


PURCHASE = Story(
    event=EventKind.REWARD_REDEEMED,
    steps=(RESERVE, GENERATE),
    passed="**Purchased: the points are spent, and the customer has the code.**",
    told={
        Stage.REDEEMING: _redeeming,
        Stage.COMPENSATING: _compensating,
        Stage.DELIVERING: delivering,
        Stage.NEEDS_ATTENTION: needs_attention,
        Stage.DONE: _done,
    },
)


def look_closer(attempt: Attempt) -> str:
    """Where more is told."""
    return (
        f"Look closer with `pointsaga show {attempt.redemption_id}`. "
        "What its stages mean and what to do is in docs/operations.md, *Reading a run*."
    )


def _because(page: Page) -> str:
    return f"**Because:** {quoted(page.why)}" if page.why else ""


def steps_of(page: Page) -> str:
    """Steps that will never come are left out: of a purchase that is not made, and of any run at its end."""
    over = page.stage is Stage.DONE or (page.stage is Stage.COMPENSATING and page.story is PURCHASE)
    listed = [(name, step) for name, step in page.steps.items() if not (over and step.state is State.NOT_YET)]
    return _list(_line(name, step) for name, step in listed)


def _line(name: str, step: Step) -> str:
    line = f"{_name(name)}: **{step.state}**"
    return f"{line}, {quoted(step.reason)}" if step.reason else line


def _name(step: str) -> str:
    if step in _NAMES:
        return _NAMES[step]
    return step.replace("_", " ").capitalize() if "_" in step else f"Tell `{step}`"


def _figures(refusal: Refusal) -> str:
    figures = {name: value for name, value in asdict(refusal).items() if name != "code" and value is not None}
    told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in figures.items())
    return quoted(f"{refusal.code}: {told}" if told else refusal.code)


def _skip(redemption_id: str, channel: str) -> str:
    return f'to leave it untold, `pointsaga skip {redemption_id} --channel {channel} --reason "…"`'


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def paragraphs(*some: str) -> str:
    """One text of those that there are."""
    return "\n\n".join(one for one in some if one)
