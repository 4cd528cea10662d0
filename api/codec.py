"""The codec server: opens sealed workflow data for the Temporal UI and command line. A process of its own.

Not part of the API, which storefronts reach: `python -m uvicorn api.codec:create_app --factory`.
Protocol: https://github.com/temporalio/samples-go/blob/main/codec-server/protocol.md
"""

import hmac
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated

import structlog
from fastapi import Depends, FastAPI, Header, Request
from fastapi.responses import Response
from google.protobuf import json_format
from pydantic import SecretStr
from starlette.middleware.cors import CORSMiddleware
from temporalio.api.common.v1 import Payloads

from api import errors
from api.errors import ApiError
from api.middleware import AccessLog, RequestLimits
from clients.sealed_payloads import SealedPayloads, UnreadablePayload
from settings import CodecSettings, read_codec_settings
from telemetry import configure_logging

# A page of a history at once. Temporal's own limit for one payload is 2 MiB.
MAX_BODY_BYTES = 8 * 1024 * 1024

log = structlog.stdlib.get_logger("codec")


def create_app(settings: CodecSettings | None = None) -> FastAPI:
    """The ASGI application. Exits with status 2 unless `PAYLOAD_KEYS` and `CODEC_KEYS` are set."""
    settings = settings or read_codec_settings()
    configure_logging(settings.log_level, settings.log_format)
    for name, keys in (("PAYLOAD_KEYS", settings.payload_keys), ("CODEC_KEYS", settings.codec_keys)):
        if not keys:
            sys.stderr.write(f"the codec server needs {name}, see docs/sealing.md\n")
            raise SystemExit(2)
    app = FastAPI(openapi_url=None, telemetry={"tracing": False, "metrics": False, "logs": False})
    errors.install(app)
    app.add_middleware(RequestLimits, max_body_bytes=MAX_BODY_BYTES)
    # Answers preflight requests, which browsers send without a key. The header: of a login in front of this server.
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.codec_origins,
        allow_methods=["POST"],
        allow_headers=["Authorization", "Content-Type", "X-Namespace"],
        allow_credentials=True,
    )
    app.add_middleware(AccessLog)
    _add_routes(app, settings)
    return app


def _add_routes(app: FastAPI, settings: CodecSettings) -> None:
    codec = SealedPayloads(settings.payload_keys, settings.temporal_namespace)

    def check(request: Request, authorization: Annotated[str, Header()] = "", x_namespace: str = Header("")) -> None:
        given = request.path_params.get("key") or authorization.removeprefix("Bearer ").strip()
        if not _is_one_of(settings.codec_keys, given):
            raise ApiError("unauthorized", "Missing or unknown codec key")
        namespace = request.path_params.get("namespace") or x_namespace
        if namespace != settings.temporal_namespace:
            raise ApiError("not_found", "This codec server serves another namespace, or X-Namespace is missing")

    async def encode(request: Request) -> Response:
        return await _converted(request, codec.encode_wrapper)

    async def decode(request: Request) -> Response:
        return await _converted(request, codec.decode_wrapper)

    # The key in the path is for a UI that sends neither header nor cookie, like the local stack's.
    for prefix in ("", "/{namespace}", "/key/{key}"):
        app.add_api_route(f"{prefix}/encode", encode, methods=["POST"], dependencies=[Depends(check)])
        app.add_api_route(f"{prefix}/decode", decode, methods=["POST"], dependencies=[Depends(check)])
    app.add_api_route("/healthz", _health, methods=["GET"])


def _is_one_of(keys: tuple[SecretStr, ...], given: str) -> bool:
    return any(hmac.compare_digest(key.get_secret_value().encode(), given.encode()) for key in keys)


async def _converted(request: Request, convert: Callable[[Payloads], Awaitable[None]]) -> Response:
    payloads = Payloads()
    try:
        json_format.Parse(await request.body(), payloads)
        await convert(payloads)
    except (json_format.ParseError, UnicodeDecodeError):
        raise ApiError("invalid_json", "The body is not a JSON object with payloads") from None
    except UnreadablePayload as error:
        raise ApiError("invalid_request", str(error)) from None
    return Response(json_format.MessageToJson(payloads), media_type="application/json")


async def _health() -> dict[str, str]:
    return {"status": "ok"}
