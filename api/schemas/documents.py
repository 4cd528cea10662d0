"""Documents and field types that all resources share."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Generic, TypeVar, cast

from fastapi import Path
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

Json = dict[str, Any]
Resource = TypeVar("Resource", bound=BaseModel)


def format_time(time: datetime) -> str:
    """A UTC time, as all responses have it."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


Timestamp = Annotated[
    datetime,
    PlainSerializer(format_time, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-06-01T12:00:00.000Z"]}),
]

Number = Annotated[Decimal, PlainSerializer(float, return_type=float), WithJsonSchema({"type": "number"})]

# Stripped only after the pattern was checked, because strip() would remove control characters at the ends.
PlainText = Annotated[
    str,
    StringConstraints(min_length=1, pattern=r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$"),
    AfterValidator(str.strip),
]
"""Text that is not blank and has no control characters."""


Absent = Field(exclude_if=lambda value: value is None)
"""A field beyond Mage's API: left out if there is nothing to say, so that responses stay as in its reference."""


def path_parameter(description: str, example: str, **schema: Any) -> Any:
    """A path parameter. The schema is documented but not enforced: an impossible id is unknown, 404."""
    return Path(description=description, examples=[example], json_schema_extra=schema)


class ListMeta(BaseModel):
    """Position of a page in its list. `total`: number of resources that match the filters."""

    total: int
    page: int
    per_page: int = Field(examples=[20])
    total_pages: int


class Document(BaseModel, Generic[Resource]):
    """One resource."""

    data: Resource

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """Name in the OpenAPI document, such as `CustomerDocument`."""
        return f"{_stem(*params)}Document"


class ListDocument(BaseModel, Generic[Resource]):
    """One page of a list."""

    data: list[Resource]
    meta: ListMeta

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """Name in the OpenAPI document, such as `CustomerList`."""
        return f"{_stem(*params)}List"


class Links(BaseModel):
    """Paths of further pages. `next`: null on the last page."""

    next: str | None = Field(examples=["/v1/reward-history?page%5Bafter%5D=1780315200000000_cr_4k1t9zq0m2x7c8v5b3n6"])


class CursorDocument(BaseModel, Generic[Resource]):
    """One page of a list that is read from a cursor."""

    data: list[Resource]
    links: Links

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """Name in the OpenAPI document, such as `RewardHistoryPage`."""
        return f"{_stem(*params)}Page"


def _stem(resource: type[BaseModel]) -> str:
    return resource.__name__.removesuffix("Resource").removesuffix("Entry")


def without_defaults(schema: dict[str, Any]) -> None:
    """Leave the defaults out of a schema: a field that is left out is not changed, or the database has its default."""
    for field in schema["properties"].values():
        field.pop("default", None)


class Request(BaseModel):
    """Base of request bodies. An unknown field is refused: ignored, it would not do what the client expects."""

    model_config = ConfigDict(extra="forbid")


class Changes(Request):
    """Base of partial updates. The defaults are not documented, as a field that is left out is not changed.

    Attributes:
        read_only: further fields of the resource, ignored, so that clients can send back what they received.
    """

    model_config = ConfigDict(json_schema_extra=without_defaults)
    read_only: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _drop_read_only(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {name: one for name, one in cast("Json", value).items() if name not in cls.read_only}

    @property
    def given(self) -> dict[str, Any]:
        """Field → new value, for the fields in the request."""
        return self.model_dump(exclude_unset=True)
