"""Reading requests: bad input gets a clear error, and costs nothing."""

from collections.abc import Awaitable, Callable
from datetime import date, datetime
from typing import Annotated, Any, Generic, TypeVar
from uuid import uuid4

from fastapi import Header, Request
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import ErrorDetails, from_json
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import Reader
from api.errors import KINDS, ApiError, ErrorSource
from domain.points import MOST_POINTS

MAX_BODY_BYTES = 16 * 1024

# Orders are large.
LARGER = {"/webhooks/shopify": 2 * 1024 * 1024}

Body = TypeVar("Body", bound=BaseModel)

# No control characters: PostgreSQL takes no NUL, and no id or e-mail address has any. Something besides blanks.
PlainText = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, pattern=r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$"
    ),
]


class PurchaseRequest(BaseModel):
    """Who buys. `customer_identifier` is the customer's Shopify id or e-mail address."""

    customer_identifier: Annotated[PlainText, StringConstraints(max_length=320)]


class RefundRequest(BaseModel):
    """Why a redemption is refunded, for the activity log."""

    reason: Annotated[PlainText, StringConstraints(max_length=500)] | None = None


def _day(value: object) -> object:
    # A time of day, as answers have it, says nothing more.
    return datetime.fromisoformat(value).date() if isinstance(value, str) else value


Day = Annotated[date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]


def without_defaults(schema: dict[str, Any]) -> None:
    """For the schema of a change: what is left out stays as it is, whatever stands for it in the code."""
    for part in schema["properties"].values():
        part.pop("default", None)


class CustomerChanges(BaseModel):
    """What can be changed about a customer: what is named, and nothing else."""

    model_config = ConfigDict(json_schema_extra=without_defaults)

    date_of_birth: Day | None = None
    anniversary_date: Day | None = None
    excluded: Annotated[bool, Field(alias="is_excluded")] = False

    @property
    def changes(self) -> dict[str, Any]:
        """Column → new value."""
        return self.model_dump(exclude_unset=True)


def _whole(value: object) -> object:
    # JSON has one kind of number: to some clients 500.0 is how 500 is written.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _not_zero(points: int) -> int:
    if points == 0:
        raise ValueError("must not be zero")
    return points


class AdjustmentRequest(BaseModel):
    """Points to give, or, when negative, to take. No e-mail is sent, whatever `send_email` says."""

    adjustment: Annotated[
        int,
        Field(ge=-MOST_POINTS, le=MOST_POINTS, json_schema_extra={"not": {"const": 0}}),
        BeforeValidator(_whole),
        AfterValidator(_not_zero),
    ]
    note: Annotated[str, StringConstraints(max_length=1000, pattern=r"^[^\x00]*$")] | None = None
    update_lifetime_points: bool = True
    send_email: bool = True


class _Resource(BaseModel, Generic[Body]):
    attributes: Body


class _Document(BaseModel, Generic[Body]):
    """JSON:API's way of saying it."""

    data: _Resource[Body]


def json_body(model: type[Body], *, empty: bytes = b"") -> Callable[[Request, Reader], Awaitable[Body]]:
    """A dependency that reads a JSON object, after the caller is known. Ask for a `Writer`, if need be, before it.

    The members are in the object itself, or where JSON:API has them, in `data.attributes`. `empty` is what a body
    without a byte stands for.
    """

    async def read(request: Request, _: Reader) -> Body:
        kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if kind not in ("application/json", "application/vnd.api+json"):
            raise ApiError("unsupported_media_type", f"Send the body as application/json, not {kind}")
        body = await request.body() or empty
        try:
            if _has_data(body):
                return _Document[model].model_validate_json(body, strict=True).data.attributes
            return model.model_validate_json(body, strict=True)
        except ValidationError as error:
            raise _bad_body(error.errors(include_url=False, include_input=True)[0]) from None

    return read


def _has_data(body: bytes) -> bool:
    try:
        content: Any = from_json(body)
    except ValueError:
        return False
    return isinstance(content, dict) and "data" in content


def body_schema(model: type[BaseModel], example: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    """What OpenAPI says of such a body."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": required, "content": content}}


def _bad_body(error: ErrorDetails) -> ApiError:
    if not error["loc"]:
        detail = "The body is not valid JSON" if error["type"] == "json_invalid" else "The body is not a JSON object"
        return ApiError("invalid_json", detail)
    field = "/".join(str(part) for part in error["loc"])
    source = ErrorSource(pointer=f"/{field}")
    missing = f"{error['loc'][-1]}_missing"
    if missing in KINDS and error["type"] in ("missing", "string_too_short", "string_type"):
        return ApiError(missing, f"{field} is required and must be a non-empty string", source=source)
    return ApiError("invalid_request", f"{field}: {error['msg']}", source=source)


async def idempotency_key(
    request: Request,
    given: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            description="Names one intention: 1 to 255 printable characters. Without it one is made up.",
            min_length=1,
            max_length=255,
            pattern=r"^[\x21-\x7e\xa0-\xff][\x20-\x7e\xa0-\xff]*$",
            examples=["order-17"],
        ),
    ] = None,
) -> str:
    """The client's key, or a fresh one. Kept with the request, so that errors can tell it too."""
    key = given or str(uuid4())
    request.state.idempotency_key = key
    return key


class RequestLimits:
    """Refuses what no endpoint could use.

    That is bodies over 16 KiB (a webhook's: over 2 MiB), and paths with a NUL, which PostgreSQL does not take.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting what comes in."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if "\x00" in scope["path"]:
            return await ApiError("not_found", "There is nothing at this path").response()(scope, receive, send)
        taken, limit = 0, LARGER.get(scope["path"], MAX_BODY_BYTES)

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit:
                raise ApiError("payload_too_large", f"A body may have {limit} bytes at most")
            return message

        return await self._app(scope, counted, send)
