"""Ports on loopback."""

import subprocess
import sys

import pytest

from local_stack import Misuse, ports
from local_stack.ports import Claim


def test_two_parts_cannot_share_a_port() -> None:
    (port,) = ports.free(1)

    with pytest.raises(Misuse, match=f"port {port} for Temporal .* --temporal-port"):
        ports.check([Claim(port, "the API", "--api-port"), Claim(port, "Temporal", "--temporal-port")])


def test_free_ports_are_free_and_different() -> None:
    numbers = ports.free(4)

    assert len(set(numbers)) == 4
    ports.check([Claim(number, "a test", "none") for number in numbers])


def test_two_processes_do_not_choose_the_same_port() -> None:
    (port,) = ports.free(1)
    choice = f"from local_stack import ports; ports.CANDIDATES = range({port}, {port + 1}); ports.free(1)"

    other = subprocess.run([sys.executable, "-c", choice], capture_output=True, text=True, check=False)

    assert f"no free port between {port} and {port + 1}" in other.stderr
