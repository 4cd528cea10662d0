"""What OpenAPI says of errors."""

from typing import Any

from api.errors import KINDS, ErrorDocument

_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait before trying again.", "schema": {"type": "integer"}}}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of an endpoint, with the codes that each status can have."""
    return {status: _response(status) for status in statuses}


def _response(status: int) -> dict[str, Any]:
    codes = [code for code, kind in KINDS.items() if kind.status == status]
    described = {"model": ErrorDocument, "description": "One of: " + ", ".join(f"`{code}`" for code in codes)}
    return {**described, "headers": _RETRY_AFTER} if status == 503 else described
