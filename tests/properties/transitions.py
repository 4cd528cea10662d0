"""What must hold of every operation, comparing the customer before and after it. `LEDGER` holds of both moments."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from hypothesis import event

from domain.points import EntryKind
from tests.evidence import Entry, Lot, State
from tests.invariants import LEDGER, violations
from tests.properties.implementation import Snapshot
from tests.properties.model import Model
from tests.properties.operations import (
    REDEEMED,
    REWARDS,
    Operation,
    Outcome,
    Refund,
    Release,
    Reserve,
    Sweep,
    Void,
)

NOTHING = (0, "none")
"""Attempt and status of a redemption without a row."""


@dataclass(kw_only=True)
class Step:
    """One operation. `ids`: redemption ids in the model's order; `voided`: attempts whose void has succeeded."""

    operation: Operation
    outcome: Outcome
    is_repeat: bool
    before: Snapshot
    after: Snapshot
    model: Model
    ids: list[str]
    voided: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])

    @property
    def new_entries(self) -> list[Entry]:
        return self.after.ledger.ledger_entries[len(self.before.ledger.ledger_entries) :]

    @property
    def returns_points(self) -> bool:
        return any(entry.kind in (EntryKind.RELEASE, EntryKind.REFUND) for entry in self.new_entries)


def the_ledger_is_sound(step: Step) -> None:
    """Every invariant of the ledger holds."""
    requested = [key for key, purchase in zip(step.ids, step.model.purchases, strict=True) if purchase.refund_requested]
    state = State(
        ledger=step.after.ledger,
        discounts=step.after.discounts,
        costs={name: reward.cost for name, reward in REWARDS.items()},
        caps={name: reward.cap for name, reward in REWARDS.items() if reward.cap},
        removable=requested,
        voided=step.voided,
    )
    found = violations(state, LEDGER)
    assert not found, "\n".join(map(str, found))


def the_model_agrees(step: Step) -> None:
    """Balance, lots, attempts and statuses are the model's."""
    assert step.after.balance == step.model.balance
    lots = [(lot.points, lot.remaining, lot.is_usable) for lot in step.after.ledger.point_lots]
    assert lots == [(lot.points, lot.left, not lot.expired) for lot in step.model.lots]
    rows = _rows(step.after)
    expected = [(purchase.attempt, purchase.status) for purchase in step.model.purchases]
    assert [rows.get(redemption_id, NOTHING) for redemption_id in step.ids] == expected


def the_oldest_points_go_first(step: Step) -> None:
    """A lot is drawn from only when every older usable lot is empty. Expired lots are not drawn from."""
    if not isinstance(step.operation, Reserve):
        return
    left = {lot.id: lot.remaining for lot in step.after.ledger.point_lots}
    drawn = [lot for lot in step.before.ledger.point_lots if left[lot.id] < lot.remaining]
    assert all(lot.is_usable for lot in drawn)
    assert all(left[older.id] == 0 for lot in drawn for older in _older(step.before, lot))


def _older(snapshot: Snapshot, lot: Lot) -> Iterator[Lot]:
    usable = (one for one in snapshot.ledger.point_lots if one.is_usable)
    return (one for one in usable if (one.earned_at, one.id) < (lot.earned_at, lot.id))


def an_unsuccessful_operation_changes_nothing(step: Step) -> None:
    """Refused, failed and late operations change nothing. Shopify may have executed a failed call all the same."""
    if step.outcome is Outcome.FAILED or (step.outcome is not Outcome.DONE and isinstance(step.operation, Refund)):
        assert (step.after.balance, step.after.ledger) == (step.before.balance, step.before.ledger)
    elif step.outcome is not Outcome.DONE:
        assert step.after == step.before


def exactly_what_was_drawn_is_returned(step: Step) -> None:
    """Drawn points are spendable again, from expired lots too, and no others. Only releases and refunds return any."""
    if not step.returns_points:
        return
    is_new_lot = len(step.after.ledger.point_lots) > len(step.before.ledger.point_lots)
    event("points returned" + (" beside expired ones" if is_new_lot else ""))
    assert isinstance(step.operation, Release | Refund)
    cost = REWARDS[REDEEMED[step.operation.redemption]].cost
    assert step.after.balance - step.before.balance == cost
    row = step.before.ledger.by_id[step.ids[step.operation.redemption]]
    draws = step.before.ledger.redemption_draws
    assert sum(one.points for one in draws if (one.redemption_id, one.attempt) == (row.id, row.attempt)) == cost


def a_repeat_changes_nothing(step: Step) -> None:
    """A successful operation changes nothing when it is repeated, however much later."""
    if step.is_repeat:
        assert step.after == step.before


def statuses_follow_the_state_machine(step: Step) -> None:
    """A row follows the ledger's design, or becomes the tombstone of a later attempt."""
    before, after = _rows(step.before), _rows(step.after)
    assert before.keys() <= after.keys()
    for key, row in after.items():
        assert row == before.get(key) or _may_follow(before.get(key, NOTHING), row)


def _may_follow(before: tuple[int, str], after: tuple[int, str]) -> bool:
    if after[0] == before[0]:
        return (before[1], after[1]) in {("pending", "active"), ("pending", "failed"), ("active", "expired")}
    return before[1] in ("none", "failed") and after[0] > before[0] and after[1] in ("pending", "failed")


def the_ledger_only_grows(step: Step) -> None:
    """Entries, draws, lots and codes are added, and none is changed or removed."""
    before, after = step.before.ledger, step.after.ledger
    assert after.ledger_entries[: len(before.ledger_entries)] == before.ledger_entries
    assert [lot.id for lot in after.point_lots][: len(before.point_lots)] == [lot.id for lot in before.point_lots]
    assert all(draw in after.redemption_draws for draw in before.redemption_draws)
    codes = [code.code for code in before.discount_codes]
    assert [code.code for code in after.discount_codes][: len(codes)] == codes


def a_void_moves_no_points(step: Step) -> None:
    """Nor does it change a status, whatever Shopify does."""
    if isinstance(step.operation, Void):
        assert step.after.ledger.point_lots == step.before.ledger.point_lots
        assert step.new_entries == []
        assert _rows(step.after) == _rows(step.before)


def a_sweep_moves_no_balance(step: Step) -> None:
    """A sweep empties expired lots and changes nothing else."""
    if isinstance(step.operation, Sweep):
        assert step.after.balance == step.before.balance
        assert all(lot.is_usable or lot.remaining == 0 for lot in step.after.ledger.point_lots)
        assert _rows(step.after) == _rows(step.before)


def _rows(snapshot: Snapshot) -> dict[str, tuple[int, str]]:
    return {row.id: (row.attempt, row.status) for row in snapshot.ledger.redemptions}


TRANSITIONS = (
    the_ledger_is_sound,
    the_model_agrees,
    the_oldest_points_go_first,
    an_unsuccessful_operation_changes_nothing,
    exactly_what_was_drawn_is_returned,
    a_repeat_changes_nothing,
    statuses_follow_the_state_machine,
    the_ledger_only_grows,
    a_void_moves_no_points,
    a_sweep_moves_no_balance,
)
