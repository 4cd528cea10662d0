"""Ports are looked at before anything starts."""

import socket

import pytest

from local_stack import Misuse, ports
from local_stack.ports import Claim


def test_a_port_in_use_is_named_with_the_option_that_moves_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(Misuse, match=rf"port {port} for the API .* --api-port"):
            ports.check([Claim(port, "the API", "--api-port")])


def test_one_port_for_two_parts_is_refused() -> None:
    (port,) = ports.free(1)

    with pytest.raises(Misuse, match=f"port {port} for Temporal .* --temporal-port"):
        ports.check([Claim(port, "the API", "--api-port"), Claim(port, "Temporal", "--temporal-port")])


def test_free_ports_are_free_and_different() -> None:
    some = ports.free(4)

    assert len(set(some)) == 4
    ports.check([Claim(port, "a test", "nothing") for port in some])
