"""Ports on loopback."""

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
