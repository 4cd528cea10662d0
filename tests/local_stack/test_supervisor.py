"""Starting, restarting and stopping one part."""

import os
import signal
from pathlib import Path

import pytest

from local_stack import PartFailed
from tests.local_stack.stand_ins import IGNORES_SIGTERM, Messages, running, supervisor


async def test_a_part_that_dies_is_restarted(tmp_path: Path) -> None:
    messages, restarts = Messages(), list[int | None]()
    part = supervisor(tmp_path, messages=messages, on_restart=lambda: restarts.append(part.pid))
    await part.start()
    first = part.pid
    assert first

    os.kill(first, signal.SIGKILL)
    await messages.until("ready again")

    second = part.pid
    assert restarts == [second]
    assert second
    assert second != first
    assert any("was killed by SIGKILL" in message and "restarting in" in message for message in messages.received)
    await part.stop()
    assert not running(second)


async def test_a_failed_start_shows_the_log(tmp_path: Path) -> None:
    part = supervisor(tmp_path, "import sys; print('no such table'); sys.exit(3)")

    with pytest.raises(PartFailed, match="stand-in exited with status 3 while it was starting") as failure:
        await part.start()

    assert "no such table" in str(failure.value)
    assert part.pid is None


async def test_a_start_has_a_time_limit(tmp_path: Path) -> None:
    part = supervisor(tmp_path, "import time; time.sleep(600)", start_within=0.3)

    with pytest.raises(PartFailed, match="was not ready within"):
        await part.start()

    assert part.pid is None


async def test_a_part_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    messages = Messages()
    part = supervisor(tmp_path, IGNORES_SIGTERM, messages, stop_within=0.3)
    await part.start()
    pid = part.pid

    await part.stop()

    assert pid
    assert not running(pid)
    assert messages.received[-1].endswith("killed")


async def test_ctrl_c_does_not_reach_a_part(tmp_path: Path) -> None:
    part = supervisor(tmp_path)
    await part.start()

    assert part.pid
    assert os.getpgid(part.pid) != os.getpgrp()
    await part.stop()
