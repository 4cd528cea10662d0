"""Admission of purchases, shops in turn."""

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from services.admission import HELD_FOR, Admission, NotAdmitted
from tests.waiting import wait_until

LONG = timedelta(seconds=30)


class Scene:
    """Purchases that hold a place until the test lets them leave."""

    def __init__(self, places: int) -> None:
        self.admission = Admission(places)
        self.admitted: list[str] = []
        self._leave: dict[str, asyncio.Event] = {}

    async def arrive(self, purchase: str, *, within: timedelta = LONG, pauses: bool = True) -> "asyncio.Task[None]":
        """A purchase like `7.1`: the first of shop 7."""
        task = asyncio.create_task(self._purchase(purchase, within, pauses))
        await settle()
        return task

    async def leave(self, purchase: str) -> None:
        self._leave[purchase].set()
        await settle()

    async def _purchase(self, purchase: str, within: timedelta, pauses: bool) -> None:
        leave = self._leave[purchase] = asyncio.Event()
        async with self.admission.place(int(purchase.partition(".")[0]), within=within, pauses=pauses):
            self.admitted.append(purchase)
            await leave.wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_burst_of_one_shop_does_not_delay_another() -> None:
    scene = Scene(places=1)
    for purchase in ("1.1", "1.2", "1.3", "1.4", "2.1", "2.2", "3.1"):
        await scene.arrive(purchase)

    for number in range(7):
        assert len(scene.admitted) == number + 1, "at most one at a time"
        await scene.leave(scene.admitted[-1])

    assert scene.admitted == ["1.1", "1.2", "2.1", "3.1", "1.3", "2.2", "1.4"]


async def test_beside_another_shop_a_burst_has_fewer_places() -> None:
    scene = Scene(places=8)
    for number in range(1, 13):
        await scene.arrive(f"1.{number}")
    assert len(scene.admitted) == 8, "alone it has all of them"

    await scene.arrive("2.1")
    for number in range(1, 8):
        await scene.leave(f"1.{number}")

    assert scene.admitted[8:] == ["2.1"], "none of the burst while one is left"
    await scene.leave("2.1")
    assert scene.admitted[9:] == [], "the other shop's next purchase may be on its way"
    await scene.leave("1.8")
    assert scene.admitted[9:] == ["1.9"]


async def test_a_burst_has_all_places_again_when_the_other_shop_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.admission.RECENT", timedelta(milliseconds=50))
    scene = Scene(places=4)
    await scene.arrive("2.1")
    for number in range(1, 9):
        await scene.arrive(f"1.{number}")
    await scene.leave("2.1")
    await asyncio.sleep(0.1)

    await scene.leave("1.1")

    assert scene.admitted == ["2.1", *(f"1.{number}" for number in range(1, 6))]


async def test_shops_that_purchase_as_much_share_the_places() -> None:
    scene = Scene(places=8)
    for number in range(1, 7):
        await scene.arrive(f"1.{number}")
        await scene.arrive(f"2.{number}")

    assert Counter(one[0] for one in scene.admitted) == {"1": 4, "2": 4}


async def test_how_many_of_a_burst_are_admitted_beside_another_shop_depends_on_what_they_do_to_it() -> None:
    scene = Scene(places=8)
    await scene.arrive("1.1")
    scene.admission.observe(2, timedelta(milliseconds=50))
    for _ in range(48):
        scene.admission.observe(2, timedelta(milliseconds=60))
    await scene.arrive("2.1")
    for number in range(2, 9):
        await scene.arrive(f"1.{number}")
    assert len(scene.admitted) == 5, "four of the burst: they do no harm"

    for _ in range(50):
        scene.admission.observe(2, timedelta(milliseconds=500))
    # As long as a purchase takes, and then the pause after it.
    await asyncio.sleep(0.2)
    for number in range(1, 5):
        await scene.leave(f"1.{number}")
    assert scene.admitted[5:] == [], "none: they slowed the other shop down, and the burst pauses"

    async def next_is_admitted() -> bool:
        return scene.admitted[5:] == ["1.5"]

    await wait_until(next_is_admitted)


async def test_queued_purchases_do_not_pause() -> None:
    scene = Scene(places=8)
    scene.admission.observe(2, timedelta(milliseconds=50))
    await scene.arrive("2.1")
    for number in range(1, 4):
        await scene.arrive(f"1.{number}", pauses=False)
    for _ in range(50):
        scene.admission.observe(2, timedelta(milliseconds=500))
    await asyncio.sleep(0.2)

    await scene.leave("1.1")

    assert scene.admitted == ["2.1", "1.1", "1.2"]


async def test_a_shop_that_slows_down_no_other_does_not_pause() -> None:
    scene = Scene(places=1)
    for _ in range(50):
        scene.admission.observe(2, timedelta(milliseconds=500))
    for number in range(1, 4):
        await scene.arrive(f"1.{number}")

    await scene.leave("1.1")

    assert scene.admitted == ["1.1", "1.2"]


async def test_without_a_place_in_time_the_answer_says_when_to_retry() -> None:
    scene = Scene(places=1)
    await scene.arrive("1.1")
    late = await scene.arrive("1.2", within=timedelta(milliseconds=20))
    await scene.arrive("1.3")

    with pytest.raises(NotAdmitted) as refused:
        await late

    assert timedelta(seconds=1) <= refused.value.retry_after <= 3 * HELD_FOR
    await scene.leave("1.1")
    assert scene.admitted == ["1.1", "1.3"]


@pytest.mark.parametrize("given", [False, True], ids=["waiting", "just admitted"])
async def test_a_place_is_not_lost_with_a_customer_who_leaves(given: bool) -> None:
    scene = Scene(places=1)
    await scene.arrive("1.1")
    gone = await scene.arrive("1.2")
    await scene.arrive("1.3")

    if given:
        # In the same turn of the loop, so that it has the place but does not know yet.
        scene.admission._leave(1)  # pyright: ignore[reportPrivateUsage]
    gone.cancel()
    await settle()
    if not given:
        await scene.leave("1.1")

    assert scene.admitted == ["1.1", "1.3"]


async def test_a_purchase_that_waits_for_shopify_gives_its_place_back() -> None:
    scene = Scene(places=1)
    await scene.arrive("1.1")
    await scene.arrive("2.1", within=HELD_FOR * 2)
    await scene.arrive("2.2")

    await asyncio.sleep(HELD_FOR.total_seconds() + 0.1)
    assert scene.admitted == ["1.1", "2.1"]

    await scene.leave("1.1")
    assert scene.admitted == ["1.1", "2.1"], "its place is given back once"
