"""A state machine: an enum. Its members know which states may follow them."""

from enum import StrEnum
from typing import Self


class State(StrEnum):
    """Base of the state machines. A subclass implements `successors`."""

    @property
    def successors(self) -> frozenset[Self]:
        """The states that may follow this one."""
        raise NotImplementedError

    @property
    def predecessors(self) -> list[Self]:
        """The states that this one may follow."""
        return [state for state in type(self) if self in state.successors]

    def check_transition(self, to: Self) -> None:
        """Assert that `to` is this state, or may follow it."""
        assert to is self or to in self.successors, f"{type(self).__name__} cannot change from {self} to {to}"
