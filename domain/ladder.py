"""The ladder of a reward with variable pricing: the numbers of points that can be spent, and what each is worth."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """Every multiple of `step` from `first` to `last`. `last` is None: only the balance bounds it.

    `value_per_step` is in the shop's currency, and exact in its smallest unit. So is every value.
    """

    step: int
    value_per_step: Decimal
    first: int
    last: int | None

    @classmethod
    def of(
        cls,
        *,
        step: int,
        value_per_step: Decimal,
        min_points: int | None,
        max_points: int | None,
        max_value: Decimal | None,
    ) -> "Ladder":
        """The ladder of a reward. `max_value` bounds the value of one code, and so the points."""
        bounds = [] if max_points is None else [max_points]
        if max_value is not None:
            bounds.append(int(max_value // value_per_step) * step)
        return cls(step=step, value_per_step=value_per_step, first=min_points or step, last=min(bounds, default=None))

    def value_of(self, points: int) -> Decimal:
        """What the points are worth. They must be a multiple of the step."""
        assert points % self.step == 0, "only multiples of the step have a value"
        return self.value_per_step * (points // self.step)

    def nearest(self, points: int) -> list[int]:
        """The valid numbers of points around this one: one or two, the lower one first. Itself, if it is valid."""
        below, above = points // self.step * self.step, -(-points // self.step) * self.step
        return sorted({self._bounded(below), self._bounded(above)})

    def best(self, balance: int) -> int | None:
        """The most that a customer with this balance can spend. None: not even the first."""
        best = self._bounded(balance // self.step * self.step)
        return best if best <= balance else None

    def _bounded(self, points: int) -> int:
        return max(self.first, points if self.last is None else min(points, self.last))
