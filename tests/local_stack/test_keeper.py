"""One part's process, from start to stop."""

import os
import signal
from pathlib import Path

import pytest

from local_stack import PartFailed
from tests.local_stack.standins import STUBBORN, News, a_keeper, a_part, running


async def test_a_part_that_dies_is_started_again_and_said_so(tmp_path: Path) -> None:
    news, restarts = News(), list[int | None]()
    keeper = a_keeper(tmp_path, a_part(tmp_path), news, lambda: restarts.append(keeper.pid))
    await keeper.start()
    first = keeper.pid
    assert first

    os.kill(first, signal.SIGKILL)
    await news.until("is back")

    second = keeper.pid
    assert restarts == [second]
    assert second
    assert second != first
    assert any("was killed by SIGKILL" in heard and "starting it again" in heard for heard in news.heard)
    await keeper.stop()
    assert not running(second)


async def test_a_part_that_dies_while_starting_shows_the_end_of_its_log(tmp_path: Path) -> None:
    keeper = a_keeper(tmp_path, a_part(tmp_path, "import sys; print('no such table'); sys.exit(3)"), News())

    with pytest.raises(PartFailed, match="stand-in ended with status 3 while it was starting") as failure:
        await keeper.start()

    assert "no such table" in str(failure.value)
    assert keeper.pid is None


async def test_a_part_that_is_never_ready_is_given_up(tmp_path: Path) -> None:
    keeper = a_keeper(tmp_path, a_part(tmp_path, "import time; time.sleep(600)", start_within=0.3), News())

    with pytest.raises(PartFailed, match="was not ready within"):
        await keeper.start()

    assert keeper.pid is None


async def test_a_part_that_ignores_the_request_to_stop_is_killed(tmp_path: Path) -> None:
    news = News()
    keeper = a_keeper(tmp_path, a_part(tmp_path, STUBBORN, stop_within=0.3), news)
    await keeper.start()
    pid = keeper.pid

    await keeper.stop()

    assert pid
    assert not running(pid)
    assert news.heard[-1].endswith("killed")


async def test_a_part_does_not_get_the_ctrl_c_of_the_terminal(tmp_path: Path) -> None:
    keeper = a_keeper(tmp_path, a_part(tmp_path), News())
    await keeper.start()

    assert keeper.pid
    assert os.getpgid(keeper.pid) != os.getpgrp()
    await keeper.stop()
