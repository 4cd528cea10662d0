"""What must hold after every operation, one function each. `test_ledger.py` lists them."""

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import event

from tests.properties.model import Model
from tests.properties.operations import BUYS, REWARDS, Operation, Outcome, Refund, Release, Reserve, Sweep, Void
from tests.properties.world import LotRow, Row, Snapshot, without_shopify

CHANGED = Outcome.DONE
"""The only outcome that may have changed anything."""


@dataclass(kw_only=True)
class Step:
    """One operation, what it was done to and what came of it; `ids` are the redemptions' in their order."""

    operation: Operation
    outcome: Outcome
    is_repeat: bool
    before: Snapshot
    after: Snapshot
    model: Model
    ids: list[str]
    voided: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])

    @property
    def gives_back(self) -> bool:
        """Whether this very step gave points back."""
        grown = self.after.entries[len(self.before.entries) :]
        return any(entry.kind in ("release", "refund") for entry in grown)


def conservation(step: Step) -> None:
    """1. The entries add up to what remains, in each lot and all together; draws are the reserve entries."""
    now = step.after
    moved: Counter[int] = Counter()
    for entry in now.entries:
        moved[entry.lot] += entry.points
    assert {lot.id: lot.remaining for lot in now.lots} == {lot.id: moved[lot.id] for lot in now.lots}
    assert sum(lot.remaining for lot in now.lots) == sum(entry.points for entry in now.entries)
    reserved = [[one.redemption, one.attempt, one.lot, -one.points] for one in now.entries if one.kind == "reserve"]
    assert sorted(now.draws) == sorted(reserved)
    for redemption, redemption_id in enumerate(step.ids):
        _holds_its_cost(now, redemption_id, REWARDS[BUYS[redemption]].cost)


def _holds_its_cost(now: Snapshot, redemption_id: str, cost: int) -> None:
    held = -sum(entry.points for entry in now.entries if entry.redemption == redemption_id)
    row = now.rows.get(redemption_id)
    assert held == (cost if row and row.status in ("pending", "active") else 0)


def the_model_agrees(step: Step) -> None:
    """2. Balance, lots and statuses are the model's, and so is the step's answer."""
    assert step.after.balance == step.model.balance
    theirs = [(lot.points, lot.remaining, lot.usable) for lot in step.after.lots]
    assert theirs == [(lot.points, lot.left, not lot.expired) for lot in step.model.lots]
    nothing = Row(0, "none")
    rows = [step.after.rows.get(redemption_id, nothing) for redemption_id in step.ids]
    assert rows == [Row(purchase.attempt, purchase.status) for purchase in step.model.purchases]


def no_lot_leaves_its_bounds(step: Step) -> None:
    """3. A lot holds neither less than nothing nor more than was awarded."""
    assert all(0 <= lot.remaining <= lot.points for lot in step.after.lots)


def the_oldest_points_go_first(step: Step) -> None:
    """4. A lot is touched only when every older usable one has been emptied; expired ones are not touched."""
    if not isinstance(step.operation, Reserve):
        return
    left = {lot.id: lot.remaining for lot in step.after.lots}
    touched = [lot for lot in step.before.lots if left[lot.id] < lot.remaining]
    assert all(lot.usable for lot in touched)
    for lot in touched:
        older = [one for one in step.before.lots if one.usable and _age(one) < _age(lot)]
        assert all(left[one.id] == 0 for one in older)


def _age(lot: LotRow) -> tuple[str, int]:
    return lot.earned_at, lot.id


def a_no_changes_nothing(step: Step) -> None:
    """5. What was refused, failed or came too late has changed nothing of ours."""
    if step.outcome is CHANGED:
        return
    if step.outcome is Outcome.FAILED or isinstance(step.operation, Refund):
        assert without_shopify(step.after) == without_shopify(step.before)
    else:
        assert step.after == step.before


def what_is_given_back_is_exact(step: Step) -> None:
    """6. What was drawn is spendable again, from expired lots too, and nothing beside it; nothing else gives back."""
    if not step.gives_back:
        return
    event("points came back" + (" beside expired ones" if len(step.after.lots) > len(step.before.lots) else ""))
    assert isinstance(step.operation, Release | Refund)
    cost = REWARDS[BUYS[step.operation.redemption]].cost
    assert step.after.balance - step.before.balance == cost
    redemption_id = step.ids[step.operation.redemption]
    attempt = step.before.rows[redemption_id].attempt
    assert sum(draw[3] for draw in step.before.draws if draw[:2] == [redemption_id, attempt]) == cost


def a_repeat_changes_nothing(step: Step) -> None:
    """7. A step that has done its work changes nothing when it comes again, however much later."""
    if step.is_repeat:
        assert step.after == step.before


def codes_are_live_or_gone(step: Step) -> None:
    """8. A captured redemption has one live code at Shopify while nobody wants it refunded. A failed one whose void has
    run has none, and a refunded one neither.
    """
    live = Counter(step.after.live)
    for redemption, redemption_id in enumerate(step.ids):
        row = step.after.rows.get(redemption_id)
        for code in step.after.codes:
            if row and code.redemption == redemption_id:
                is_captured = row.status == "active" and code.attempt == row.attempt
                is_sure = is_captured and not step.model.purchases[redemption].is_wished_back
                assert (code.state == "live") == is_captured
                assert live[code.code] == 1 if is_sure else live[code.code] <= 1
                assert live[code.code] == 0 or row.status != "expired"
                assert live[code.code] == 0 or (redemption, code.attempt) not in step.voided


def caps_hold(step: Step) -> None:
    """9. No reward has more pending and captured redemptions than its cap."""
    rows = [(reward, step.after.rows.get(key)) for reward, key in zip(BUYS, step.ids, strict=True)]
    taken = Counter(reward for reward, row in rows if row and row.status in ("pending", "active"))
    for name, reward in REWARDS.items():
        assert reward.cap is None or taken[name] <= reward.cap


def statuses_follow_the_arrows(step: Step) -> None:
    """10. A row changes only along the arrows of `ledger.md`, or into a tombstone of an attempt of its own."""
    assert step.before.rows.keys() <= step.after.rows.keys()
    for key, row in step.after.rows.items():
        was = step.before.rows.get(key, Row(0, "none"))
        assert row == was or _is_arrow(was, row)


def _is_arrow(was: Row, row: Row) -> bool:
    if row.attempt == was.attempt:
        return (was.status, row.status) in {("pending", "active"), ("pending", "failed"), ("active", "expired")}
    opens = was.status in ("none", "failed") and row.attempt > was.attempt
    return opens and row.status in ("pending", "failed")


def the_ledger_only_grows(step: Step) -> None:
    """11. Entries, draws, lots and codes are added, and none is changed or taken away."""
    before, after = step.before, step.after
    assert after.entries[: len(before.entries)] == before.entries
    assert [lot.id for lot in after.lots][: len(before.lots)] == [lot.id for lot in before.lots]
    assert all(draw in after.draws for draw in before.draws)
    assert [code.code for code in after.codes][: len(before.codes)] == [code.code for code in before.codes]


def undos_and_shopify_leave_points_alone(step: Step) -> None:
    """12. A void moves no points and no status, whatever Shopify did to it."""
    if isinstance(step.operation, Void):
        assert (step.after.lots, step.after.entries) == (step.before.lots, step.before.entries)
        assert step.after.rows == step.before.rows


def a_sweep_moves_no_balance(step: Step) -> None:
    """13. A sweep takes what has expired out of the lots, and nothing that anybody could have spent."""
    if isinstance(step.operation, Sweep):
        assert step.after.balance == step.before.balance
        assert all(lot.usable or lot.remaining == 0 for lot in step.after.lots)
        assert step.after.rows == step.before.rows


INVARIANTS = (
    conservation,
    the_model_agrees,
    no_lot_leaves_its_bounds,
    the_oldest_points_go_first,
    a_no_changes_nothing,
    what_is_given_back_is_exact,
    a_repeat_changes_nothing,
    codes_are_live_or_gone,
    caps_hold,
    statuses_follow_the_arrows,
    the_ledger_only_grows,
    undos_and_shopify_leave_points_alone,
    a_sweep_moves_no_balance,
)
