"""What the parts of import files have in common: the base of their models, and types of fields."""

import re
from decimal import Decimal
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from domain.points import MAX_POINTS


def _decimal(value: object) -> object:
    """A JSON number or text as a decimal, also in strict mode, where numbers are refused otherwise."""
    is_number = isinstance(value, int | float | str) and not isinstance(value, bool)
    return Decimal(str(value)) if is_number and re.fullmatch(r"-?\d+(\.\d+)?", str(value), re.ASCII) else value


Text = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
Description = Annotated[str, StringConstraints(max_length=5_000, pattern=r"^[^\x00]*$")]
Link = Annotated[str, StringConstraints(max_length=2_000, pattern=r"^https?://[^\s\x00-\x1f\x7f]+$")]
Number = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,20}$")]
Email = Annotated[str, StringConstraints(max_length=100, pattern=r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+$")]
Points = Annotated[int, Field(gt=0, le=MAX_POINTS, strict=True)]
Multiplier = Annotated[Decimal, Field(gt=0, max_digits=12, decimal_places=2)]
# How many decimals are allowed depends on the shop's currency; none has more than four.
Amount = Annotated[Decimal, BeforeValidator(_decimal), Field(gt=0, max_digits=14, decimal_places=4)]

OMITTED: Any = None
"""Default of a field that a file can leave out and that cannot be null. Never read: see `Part.columns`."""


class Part(BaseModel):
    """A part of a file. A field that it omits keeps its stored value, or gets the column's default in a new row.

    `required`: fields without such a default.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    required: ClassVar[tuple[str, ...]] = ()

    @property
    def columns(self) -> dict[str, Any]:
        """The fields that the file names, by their columns in the database."""
        return self.model_dump(exclude_unset=True, by_alias=True)

    @property
    def missing(self) -> list[str]:
        """Required fields that the file omits."""
        return [name for name in self.required if name not in self.model_fields_set]
