"""The worker dies at every boundary of every step of a purchase, a refund and a reissue."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.crash.matrix import Case, Matrix, Result
from tests.crash.scenarios import SCENARIOS
from tests.faults import Boundary


async def test_no_death_changes_the_outcome(matrix: Matrix) -> None:
    rehearsals = await asyncio.gather(*(matrix.run(Case(scenario=scenario)) for scenario in SCENARIOS))
    _assert_no_problems(rehearsals)
    assert all(_is_complete(rehearsal) for rehearsal in rehearsals)

    cases = [Case(scenario=one.case.scenario, die_at=boundary) for one in rehearsals for boundary in one.boundaries]
    _assert_no_problems(await asyncio.gather(*map(matrix.run, cases)))
    assert await matrix.audit() == []


def _is_complete(rehearsal: Result) -> bool:
    """Whether every kind of boundary was recorded: a hook that is never called would find nothing."""
    return all(any(kind in boundary for boundary in rehearsal.boundaries) for kind in Boundary)


def _assert_no_problems(results: Sequence[Result]) -> None:
    """Fail with one line for each problem."""
    lines = [f"{result.case}: {problem}" for result in results for problem in result.problems]
    if lines:
        pytest.fail("\n".join(lines), pytrace=False)
