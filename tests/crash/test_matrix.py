"""The worker dies at every boundary of every step: there is a code, or there are the points, as the caller was told."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.crash.matrix import Case, Matrix, Outcome
from tests.crash.stories import STORIES

KINDS = ("before it starts", "after it has finished", "before commit", "after commit", "before call", "after call")


async def test_wherever_the_worker_dies_there_is_a_code_or_there_are_the_points(matrix: Matrix) -> None:
    rehearsals = await asyncio.gather(*(matrix.run(Case(story=story)) for story in STORIES))
    _all_is_well(rehearsals)
    assert all(_is_watched(rehearsal) for rehearsal in rehearsals)

    cases = [Case(story=one.case.story, deadly=boundary) for one in rehearsals for boundary in one.boundaries]
    outcomes = await asyncio.gather(*map(matrix.run, cases))

    _all_is_well(outcomes)
    assert await matrix.findings() == []


def _is_watched(rehearsal: Outcome) -> bool:
    """Whether every kind of boundary occurs: a hook that hangs on nothing finds nothing."""
    return all(any(kind in boundary for boundary in rehearsal.boundaries) for kind in KINDS)


def _all_is_well(outcomes: Sequence[Outcome]) -> None:
    """Fail with all that is wrong, a line each."""
    objections = [f"{one.case}: {objection}" for one in outcomes for objection in one.objections]
    if objections:
        pytest.fail("\n".join(objections), pytrace=False)
