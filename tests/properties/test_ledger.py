"""The ledger, side by side with a model of it, through lives that hypothesis makes up.

A life is a list of operations (`operations.py`). They are done to one customer in PostgreSQL by the steps themselves
(`world.py`) and to a model in memory (`model.py`). After every one of them, each of these holds (`invariants.py`):

 1. Conservation: entries add up to what remains, per lot and per customer; a redemption holds its cost or nothing.
 2. Balance, lots, statuses and answers are the model's.
 3. No lot is below zero or above what was awarded.
 4. An older usable lot is never skipped, an expired one never drawn.
 5. A refused or failed operation changes nothing.
 6. Releases and refunds restore exactly what was drawn, spendable again; points beside it that have expired stay so.
 7. A repeated step changes nothing.
 8. A captured redemption has one live code at Shopify; a failed one whose void has run, or a refunded one, has none.
 9. Caps are never overshot.
10. A status changes only along the arrows of the ledger's design.
11. The ledger only grows.
12. A void moves no points and no status.
13. A sweep empties the expired lots, and no balance moves.

Every run tries other lives. A failure prints the shortest life it found, and `--hypothesis-seed=N` repeats a run;
`--hypothesis-show-statistics` tells how often each step met each outcome.
"""

from collections.abc import AsyncGenerator

import pytest
from hypothesis import event, example, given, note, settings

from database import Sessions
from db.audit import audit
from settings import Settings
from tests.properties.invariants import INVARIANTS, Step
from tests.properties.model import Model
from tests.properties.operations import (
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
    Weather,
    lives,
)
from tests.properties.world import Bench, Snapshot, World

LIVES = 500
_AWARD = Earn(100, day=0, expires=False)


@pytest.fixture(scope="module")
async def bench(store: Sessions, settings: Settings) -> AsyncGenerator[Bench]:
    """What all lives share; each begins with a shop of its own."""
    bench = Bench(store, settings)
    yield bench
    await bench.aclose()


class Life:
    """One customer, in the world and in the model."""

    def __init__(self, world: World, before: Snapshot) -> None:
        self._world = world
        self._model = Model()
        self._before = before
        self._done: set[tuple[str, int, int]] = set()

    async def go_on(self, operation: Operation) -> None:
        """Do one thing to both, and compare."""
        if isinstance(operation, Void) and _name(operation, Release) not in self._done:
            return
        is_repeat = isinstance(operation, Message | Refund) and _name(operation) in self._done
        outcome = await self._do(operation)
        note(f"{operation} -> {outcome.name}")
        event(f"{type(operation).__name__} -> {outcome.name}{' (repeated)' if is_repeat else ''}")
        expected = self._model.expect(operation)
        after = await self._world.look()
        self._remember(operation, outcome)
        assert outcome is expected or expected is None
        self._check(operation, outcome, after, is_repeat=is_repeat)
        self._before = after

    async def _do(self, operation: Operation) -> Outcome:
        match operation:
            case Earn():
                await self._world.earn(operation)
            case Expire():
                place = self._model.lot_to_expire(operation)
                if place is not None:
                    await self._world.expire(self._before.lots[place].id)
            case Sweep():
                await self._world.sweep()
            case Overdue():
                await self._world.overdue(operation.redemption, operation.attempt)
            case Use():
                await self._world.use(operation.redemption)
            case Refund():
                return await self._world.refund(operation)
            case _:
                return await self._world.send(operation)
        return Outcome.DONE

    def _remember(self, operation: Operation, outcome: Outcome) -> None:
        if not isinstance(operation, Message | Refund) or outcome is not Outcome.DONE:
            return
        # While an earlier attempt holds points there is nowhere to write the tombstone of a later one.
        purchase = self._model.purchases[operation.redemption]
        if not isinstance(operation, Release) or purchase.is_over_for(operation.attempt):
            self._done.add(_name(operation))

    def _check(self, operation: Operation, outcome: Outcome, after: Snapshot, *, is_repeat: bool) -> None:
        step = Step(
            operation=operation,
            outcome=outcome,
            is_repeat=is_repeat,
            before=self._before,
            after=after,
            model=self._model,
            ids=[self._world.id_of(redemption) for redemption in range(len(self._model.purchases))],
            voided={(redemption, attempt) for kind, redemption, attempt in self._done if kind == "Void"},
        )
        for holds in INVARIANTS:
            holds(step)


def _name(message: Message | Refund, kind: type[Message] | None = None) -> tuple[str, int, int]:
    attempt = 0 if isinstance(message, Refund) else message.attempt
    return (kind or type(message)).__name__, message.redemption, attempt


# Lives that chance leads to only now and then: points beside expired ones, or swept ones, a lost answer voided, a place
# that two want, a deadline that passes before anything was reserved.
@example(life=[Earn(100, day=0, expires=True), Reserve(0, 1), Expire(0), Release(0, 1), Reserve(0, 2)])
@example(life=[Earn(100, day=0, expires=True), Reserve(0, 1), Expire(0), Sweep(), Release(0, 1), Expire(0), Sweep()])
@example(life=[_AWARD, Reserve(0, 1), Generate(0, 1, Weather.LOST), Release(0, 1), Void(0, 1), Reserve(0, 1)])
@example(life=[_AWARD, Reserve(2, 1), Reserve(3, 1), Generate(2, 1), Reserve(3, 1)])
@example(life=[Earn(100, day=0, expires=True), Reserve(0, 1), Generate(0, 1), Expire(0), Refund(0), Release(0, 1)])
@example(life=[_AWARD, Reserve(2, 1), Generate(2, 1), Refund(2, Weather.LOST), Use(2), Refund(2), Reserve(3, 1)])
@example(life=[_AWARD, Reserve(0, 1), Generate(0, 1), Refund(0, Weather.DROPPED), Use(0), Refund(0), Refund(0)])
@example(life=[_AWARD, Overdue(0, 1), Reserve(0, 1), Generate(0, 1), Reserve(0, 2)])
@settings(max_examples=LIVES, deadline=None, derandomize=False, print_blob=True)
@given(life=lives())
async def test_the_ledger_is_the_models_through_any_life(bench: Bench, life: list[Operation]) -> None:
    world = await bench.new_world()
    real = Life(world, await world.look())

    for operation in life:
        await real.go_on(operation)


async def test_an_attempt_released_while_an_earlier_one_held_points_never_reserves(bench: Bench) -> None:
    world = await bench.new_world()
    await world.earn(_AWARD)
    await world.send(Reserve(0, 1))
    assert await world.send(Release(0, 2)) is Outcome.WAIT
    await world.send(Release(0, 1))
    assert await world.send(Release(0, 2)) is Outcome.DONE

    assert await world.send(Reserve(0, 2)) is Outcome.CLOSED


async def test_the_audit_finds_nothing_in_what_all_those_lives_left(store: Sessions) -> None:
    async with store.begin() as session:
        assert await audit(session) == []
