"""Ports on loopback."""

import socket
import subprocess
import sys

import pytest

from local_stack import Misuse, ports
from local_stack.options import APPLICATION, StackOptions, metrics_ports
from local_stack.ports import LOOPBACK, Claim


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


def test_a_preferred_port_gives_way_to_a_free_one() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
        assert ports.free_or([port]) != [port]

    assert ports.free_or([port]) == [port]


def test_metrics_have_two_ports() -> None:
    port, _ = ports.free(2)

    options = StackOptions(parts=APPLICATION, metrics_ports=metrics_ports(port))

    claims = {claim.purpose: claim.port for claim in options.claims(options.parts) if claim.option == "--metrics-port"}
    assert claims == {"the worker's metrics": port, "the API's metrics": port + 1}
