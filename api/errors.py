"""Every error of the API, in one table, and the one shape they all have."""

from dataclasses import dataclass
from typing import Literal

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from db.transactions import is_away
from domain.eligibility import Refusal, RefusalCode

Retry = Literal["same_key", "new_key", "never"]

log = structlog.stdlib.get_logger("api")


@dataclass(frozen=True)
class Kind:
    """One row of the table."""

    status: int
    title: str
    retry: Retry
    example: str
    """Such a `detail`, for the documentation."""


KINDS = {
    "invalid_json": Kind(400, "Bad Request", "never", "The body is not valid JSON"),
    "customer_identifier_missing": Kind(
        400, "Bad Request", "never", "customer_identifier is required and must be a non-empty string"
    ),
    "invalid_request": Kind(400, "Bad Request", "never", "page[size]: Input should be less than or equal to 100"),
    "unauthorized": Kind(401, "Unauthorized", "never", "Missing Authorization header"),
    "read_only_key": Kind(403, "Forbidden", "never", "This API key is read-only and cannot perform write operations"),
    "customer_excluded": Kind(403, "Forbidden", "new_key", "Customer is excluded from the loyalty program"),
    "vip_tier_required": Kind(
        403, "Forbidden", "new_key", "This reward is only available to customers on the Gold tier"
    ),
    "not_found": Kind(404, "Not Found", "never", "There is nothing at this path"),
    "customer_not_found": Kind(404, "Not Found", "new_key", "Customer '6789012345' not found"),
    "reward_not_found": Kind(404, "Not Found", "new_key", "Reward 'reward_abc' not found"),
    "reward_history_entry_not_found": Kind(
        404, "Not Found", "never", "Reward history entry 'cr_4k1t9zq0m2x7c8v5b3n6' not found"
    ),
    "webhook_subscription_not_found": Kind(
        404, "Not Found", "never", "Webhook subscription 'whsub_4k1t9zq0m2x7c8v5b3n6' not found"
    ),
    "method_not_allowed": Kind(405, "Method Not Allowed", "never", "This path does not answer to that method"),
    "payload_too_large": Kind(413, "Payload Too Large", "never", "A body may have 16384 bytes at most"),
    "unsupported_media_type": Kind(
        415, "Unsupported Media Type", "never", "Send the body as application/json, not text/plain"
    ),
    "insufficient_points": Kind(
        422, "Insufficient Points", "new_key", "Customer has 200 points but this reward costs 500"
    ),
    "reward_sold_out": Kind(422, "Reward Sold Out", "new_key", "This reward has been redeemed 100 times, its maximum"),
    "reward_already_used": Kind(422, "Reward Already Used", "never", "The discount code of this entry has been used"),
    "reward_not_redeemed": Kind(
        422,
        "Reward Not Redeemed",
        "never",
        "This entry is pending or failed: it holds no points that could be refunded",
    ),
    "idempotency_key_reused": Kind(
        422, "Idempotency Key Reused", "new_key", "This Idempotency-Key stands for another request; use a new key"
    ),
    "rate_limited": Kind(
        429, "Too Many Requests", "same_key", "Rate limit exceeded. Please retry after a short delay."
    ),
    "internal_error": Kind(500, "Internal Server Error", "same_key", "Something went wrong on our side"),
    "shopify_unavailable": Kind(
        503, "Service Unavailable", "same_key", "Unable to connect to Shopify to generate the discount code"
    ),
    "engine_unavailable": Kind(
        503,
        "Service Unavailable",
        "same_key",
        "The service cannot reach its database; the same request, sent again, tells what has happened",
    ),
}

# The one 503 that can follow a purchase: without the database nobody can know what became of an earlier request.
NO_DATABASE = "The service cannot reach its database; the same request, sent again, tells what has happened"

# Long enough for a worker to come back or a vendor to breathe, short enough for a customer who is waiting.
RETRY_AFTER_SECONDS = 5


class ErrorSource(BaseModel):
    """Where in the request the error is."""

    pointer: str | None = None
    parameter: str | None = None
    header: str | None = None


class ErrorMeta(BaseModel):
    """What a client can do."""

    retry: Retry


class ErrorObject(BaseModel):
    """One error."""

    status: str
    code: str
    title: str
    detail: str
    source: ErrorSource | None = None
    meta: ErrorMeta


class ErrorDocument(BaseModel):
    """The body of every answer that is not a success."""

    errors: list[ErrorObject]


class ApiError(Exception):
    """An answer from the table. `detail` is for the client's developer, and never holds a stack trace."""

    def __init__(
        self, code: str, detail: str, *, source: ErrorSource | None = None, retry_after: int = RETRY_AFTER_SECONDS
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.kind = KINDS[code]
        self.detail = detail
        self.source = source
        self.retry_after = retry_after

    def document(self) -> ErrorDocument:
        """What the client is told."""
        error = ErrorObject(
            status=str(self.kind.status),
            code=self.code,
            title=self.kind.title,
            detail=self.detail,
            source=self.source,
            meta=ErrorMeta(retry=self.kind.retry),
        )
        return ErrorDocument(errors=[error])

    def body(self) -> str:
        """It as JSON."""
        return self.document().model_dump_json(exclude_none=True)

    def response(self) -> Response:
        """The HTTP answer."""
        headers = {"Retry-After": str(self.retry_after)} if self.kind.status in (429, 503) else {}
        return Response(self.body(), self.kind.status, headers, media_type="application/json")


def refused(refusal: Refusal, *, reward_id: str, customer_identifier: str) -> ApiError:
    """The error that tells a client why its purchase was refused."""
    details = {
        RefusalCode.CUSTOMER_NOT_FOUND: f"Customer '{customer_identifier}' not found",
        RefusalCode.CUSTOMER_EXCLUDED: "Customer is excluded from the loyalty program",
        RefusalCode.REWARD_NOT_FOUND: f"Reward '{reward_id}' not found",
        RefusalCode.VIP_TIER_REQUIRED: f"This reward is only available to customers on the {refusal.vip_tier} tier",
        RefusalCode.INSUFFICIENT_POINTS: (
            f"Customer has {refusal.points_available} points but this reward costs {refusal.points_cost}"
        ),
        RefusalCode.REWARD_SOLD_OUT: f"This reward has been redeemed {refusal.max_redemptions} times, its maximum",
    }
    return ApiError(refusal.code, details[refusal.code])


def install(app: FastAPI) -> None:
    """Give every failure the one shape."""
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(RequestValidationError, _bad_parameter)
    app.add_exception_handler(HTTPException, _http_error)
    for kind in (OSError, DBAPIError, PoolTimeoutError):
        app.add_exception_handler(kind, _database_error)
    app.add_exception_handler(Exception, _bug)


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    response = error.response()
    # Whatever went wrong, the client can repeat the purchase safely.
    if key := getattr(request.state, "idempotency_key", None):
        response.headers["Idempotency-Key"] = key
    return response


async def _bad_parameter(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    kind, name = first["loc"][0], str(first["loc"][-1])
    source = ErrorSource(header=name) if kind == "header" else ErrorSource(parameter=name)
    return await _api_error(request, ApiError("invalid_request", f"{name}: {first['msg']}", source=source))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        response = ApiError("method_not_allowed", "This path does not answer to that method").response()
        response.headers.update(error.headers or {})
        if allowed := _methods(request):
            response.headers["Allow"] = allowed
        return response
    return ApiError("not_found", "There is nothing at this path").response()


def _methods(request: Request) -> str:
    """All that a documented path answers to; the framework names those of one of its endpoints."""
    route = getattr(request.scope.get("route"), "path", None)
    return ", ".join(sorted(method.upper() for method in request.app.openapi()["paths"].get(route, ())))


async def _database_error(request: Request, error: Exception) -> Response:
    if not is_away(error):
        return await _bug(request, error)
    log.error("database unavailable", kind=type(error).__name__)
    return await _api_error(request, ApiError("engine_unavailable", NO_DATABASE))


async def _bug(request: Request, error: Exception) -> Response:
    log.error("unexpected error", exc_info=error)
    response = await _api_error(request, ApiError("internal_error", "Something went wrong on our side"))
    # This answer is made outside of all middleware.
    if allowance := getattr(request.state, "allowance", None):
        response.headers.update(allowance.headers)
    return response
