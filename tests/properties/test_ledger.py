"""The ledger beside a model of it, through sequences of operations that hypothesis generates.

The operations (`operations.py`) are applied to one customer in PostgreSQL by the activities (`implementation.py`) and
to a model in memory (`model.py`). After each one the invariants of the ledger hold (`tests/invariants.py`), and the
change was a right one (`transitions.py`).

Every run generates other sequences. A failure prints the shortest one that fails, and `--hypothesis-seed=N` repeats a
run. `--hypothesis-show-statistics` prints how often each operation met each outcome.
"""

import pytest
from hypothesis import event, example, given, note, settings

from database import Sessions
from db.audit import audit
from settings import Settings
from tests.conftest import QUICK
from tests.faults import VendorFault
from tests.properties.implementation import Backend, Implementation, Snapshot
from tests.properties.model import Model
from tests.properties.operations import (
    Cancel,
    Earn,
    Expire,
    Generate,
    Message,
    Operation,
    Outcome,
    Overdue,
    Refund,
    Release,
    Reserve,
    Sweep,
    Use,
    Void,
    sequences,
)
from tests.properties.transitions import TRANSITIONS, Step

EXAMPLES = 100 if settings.get_current_profile_name() == QUICK else 500
_AWARD = Earn(100, day=0, expires=False)
_EXPIRING = Earn(100, day=0, expires=True)
_LOST, _DROPPED = VendorFault.LOST, VendorFault.DROPPED


@pytest.fixture(scope="module")
def backend(store: Sessions, settings: Settings) -> Backend:
    return Backend(store, settings)


class Comparison:
    """One customer, in the implementation and in the model."""

    def __init__(self, implementation: Implementation, before: Snapshot) -> None:
        self._implementation = implementation
        self._model = Model()
        self._before = before
        self._done: set[tuple[str, int, int]] = set()

    async def apply(self, operation: Operation) -> None:
        """Apply one operation to both, and compare."""
        if isinstance(operation, Void) and _name(operation, Release) not in self._done:
            return
        is_repeat = isinstance(operation, Message | Refund) and _name(operation) in self._done
        outcome = await self._run(operation)
        note(f"{operation} -> {outcome.name}")
        event(f"{type(operation).__name__} -> {outcome.name}{' (repeated)' if is_repeat else ''}")
        expected = self._model.expect(operation)
        after = await self._implementation.snapshot()
        self._remember(operation, outcome)
        assert outcome is expected or expected is None
        self._check(operation, outcome, after, is_repeat=is_repeat)
        self._before = after

    async def _run(self, operation: Operation) -> Outcome:
        match operation:
            case Earn():
                await self._implementation.earn(operation)
            case Expire():
                index = self._model.lot_to_expire(operation)
                if index is not None:
                    await self._implementation.expire(self._before.ledger.point_lots[index].id)
            case Sweep():
                await self._implementation.sweep()
            case Overdue():
                await self._implementation.overdue(operation.redemption, operation.attempt)
            case Use():
                await self._implementation.use(operation.redemption)
            case Cancel():
                await self._implementation.cancel(operation)
            case Refund():
                return await self._implementation.refund(operation)
            case _:
                return await self._implementation.send(operation)
        return Outcome.DONE

    def _remember(self, operation: Operation, outcome: Outcome) -> None:
        if not isinstance(operation, Message | Refund) or outcome is not Outcome.DONE:
            return
        # While an earlier attempt holds points, the row has no place for the tombstone of a later one.
        purchase = self._model.purchases[operation.redemption]
        if not isinstance(operation, Release) or purchase.is_over_for(operation.attempt):
            self._done.add(_name(operation))

    def _check(self, operation: Operation, outcome: Outcome, after: Snapshot, *, is_repeat: bool) -> None:
        ids = self._implementation.ids
        step = Step(
            operation=operation,
            outcome=outcome,
            is_repeat=is_repeat,
            before=self._before,
            after=after,
            model=self._model,
            ids=ids,
            voided={(ids[redemption], attempt) for kind, redemption, attempt in self._done if kind == "Void"},
        )
        for check in TRANSITIONS:
            check(step)


def _name(message: Message | Refund, kind: type[Message] | None = None) -> tuple[str, int, int]:
    attempt = 0 if isinstance(message, Refund) else message.attempt
    return (kind or type(message)).__name__, message.redemption, attempt


# Sequences that are rarely generated: points returned beside expired or swept ones, a void after an unknown outcome,
# two redemptions of the last place, a deadline that passes before anything is reserved, a refund of a code that was
# requested twice.
@example(operations=[_EXPIRING, Reserve(0, 1), Expire(0), Release(0, 1), Reserve(0, 2)])
@example(operations=[_EXPIRING, Reserve(0, 1), Expire(0), Sweep(), Release(0, 1), Expire(0), Sweep()])
@example(operations=[_AWARD, Reserve(0, 1), Generate(0, 1, _LOST), Release(0, 1), Void(0, 1), Reserve(0, 1)])
@example(operations=[_AWARD, Reserve(2, 1), Reserve(3, 1), Generate(2, 1), Reserve(3, 1)])
@example(operations=[_EXPIRING, Reserve(0, 1), Generate(0, 1), Expire(0), Refund(0), Release(0, 1)])
@example(
    operations=[_AWARD, Reserve(2, 1), Generate(2, 1), Refund(2, VendorFault.LOST), Use(2), Refund(2), Reserve(3, 1)]
)
@example(
    operations=[_AWARD, Reserve(0, 1), Generate(0, 1), Refund(0, VendorFault.DROPPED), Use(0), Refund(0), Refund(0)]
)
@example(operations=[_AWARD, Reserve(4, 1), Generate(4, 1), Cancel(4, _LOST), Reserve(5, 1), Refund(4), Reserve(5, 1)])
@example(operations=[_AWARD, Reserve(1, 1), Generate(1, 1), Use(1), Refund(1), Cancel(1), Refund(1)])
@example(operations=[_AWARD, Overdue(0, 1), Reserve(0, 1), Generate(0, 1), Reserve(0, 2)])
@example(operations=[_AWARD, Reserve(0, 1), Generate(0, 1, _LOST), Generate(0, 1), Refund(0, _LOST), Reserve(0, 2)])
@example(operations=[_AWARD, Reserve(4, 1), Generate(4, 1), Cancel(4, _LOST), Refund(4, _LOST), Refund(4)])
@settings(max_examples=EXAMPLES, deadline=None, derandomize=False, print_blob=True)
@given(operations=sequences())
async def test_the_ledger_agrees_with_the_model(backend: Backend, operations: list[Operation]) -> None:
    customer = await backend.new_customer()
    comparison = Comparison(customer, await customer.snapshot())

    for operation in operations:
        await comparison.apply(operation)


async def test_a_released_attempt_never_reserves(backend: Backend) -> None:
    customer = await backend.new_customer()
    await customer.earn(_AWARD)
    await customer.send(Reserve(0, 1))
    assert await customer.send(Release(0, 2)) is Outcome.WAIT
    await customer.send(Release(0, 1))
    assert await customer.send(Release(0, 2)) is Outcome.DONE

    assert await customer.send(Reserve(0, 2)) is Outcome.CLOSED


async def test_the_audit_finds_nothing_afterwards(store: Sessions) -> None:
    async with store.snapshot() as session:
        assert await audit(session) == []
