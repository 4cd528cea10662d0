"""Catalogue of the faults that tests inject: into vendors, processes and workflows."""

import os
import signal
from datetime import timedelta
from enum import Enum, StrEnum
from typing import Any

from temporalio.client import WorkflowHandle

Json = dict[str, Any]

# Shopify operations, as the sandbox's fault script names them.
CREATE_CODE = "discountCodeBasicCreate"
FIND_CODE = "codeDiscountNodeByCode"
DEACTIVATE_CODE = "discountCodeDeactivate"
DELETE_CODE = "discountCodeDelete"


_REJECTION: Json = {"field": ["basicCodeDiscount", "context"], "code": "INVALID", "message": "Customer is invalid"}
REJECTED_CUSTOMER: Json = {
    "operation": CREATE_CODE,
    "kind": "status",
    "status": 200,
    "body": {"data": {CREATE_CODE: {"codeDiscountNode": None, "userErrors": [_REJECTION]}}},
    "times": None,
}
"""A line of the fault script: Shopify rejects every new discount for its customer, until it is cleared."""


class VendorFault(Enum):
    """What a vendor does to a request, and the line of the sandbox's fault script for it."""

    SLOW = "executes and answers after `seconds`", {"kind": "latency"}
    SERVER_ERROR = "answers 5xx without executing", {"kind": "status", "status": 500}
    UNAUTHORIZED = "rejects the credentials", {"kind": "status", "status": 401}
    FORBIDDEN = "rejects the request for good", {"kind": "status", "status": 403}
    TOO_MANY_REQUESTS = "answers 429 without executing", {"kind": "status", "status": 429}
    THROTTLED = "requests a pause of `retry_after` seconds in its own format", {"kind": "throttled"}
    DROPPED = "breaks the connection without executing", {"kind": "drop"}
    LOST = "executes and breaks the connection", {"kind": "execute_then_drop"}
    LATE = "breaks the connection and executes `seconds` later", {"kind": "execute_late"}
    GARBLED = "executes and answers with half a document", {"kind": "broken_json"}
    HANGING = "accepts the connection and answers nothing for `seconds`", {"kind": "hang"}
    TRICKLING = "executes and answers one byte per second", {"kind": "trickle"}
    DOWN = "refuses connections", {"kind": "down"}

    def __init__(self, sentence: str, line: Json) -> None:
        self.sentence = sentence
        self._line = line

    def script(self, **settings: Any) -> Json:
        """The script line: `operation`, `times` (default 1, None until cleared), `seconds`, `probability`, …"""
        return {**self._line, **settings}


class Boundary(StrEnum):
    """Where a worker can die: around each activity attempt, and around each commit and vendor call of it."""

    ACTIVITY_START = "before it starts"
    ACTIVITY_END = "after it has finished"
    BEFORE_COMMIT = "before commit"
    AFTER_COMMIT = "after commit"
    BEFORE_CALL = "before call"
    AFTER_CALL = "after call"


class OperatorAction(StrEnum):
    """How an operator ends a workflow early in the Temporal UI."""

    CANCEL = "cancel"
    TERMINATE = "terminate"


def kill(pid: int) -> bool:
    """Kill a process without warning. False: it is dead already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


async def end_workflow(
    handle: "WorkflowHandle[Any, Any]", action: OperatorAction, *, rpc_timeout: timedelta | None = None
) -> None:
    """End a workflow as an operator does. Raises `RPCError`."""
    if action is OperatorAction.CANCEL:
        await handle.cancel(rpc_timeout=rpc_timeout)
    else:
        await handle.terminate(reason="a test ends it early", rpc_timeout=rpc_timeout)
