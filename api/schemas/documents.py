"""What the shapes of all nouns share."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, Field, PlainSerializer, WithJsonSchema


def _format(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


Timestamp = Annotated[
    datetime,
    PlainSerializer(_format, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-06-01T12:00:00.000Z"]}),
]

Number = Annotated[Decimal, PlainSerializer(float, return_type=float), WithJsonSchema({"type": "number"})]


class ListMeta(BaseModel):
    """Where in the list this page is. `total` counts everything that the filters let through."""

    total: int
    page: int
    per_page: int = Field(examples=[20])
    total_pages: int
