"""Recorded histories, and their replay by the workflow code."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from temporalio.api.common.v1 import Payload
from temporalio.client import WorkflowHistory
from temporalio.converter import DataConverter
from temporalio.worker import Replayer
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from clients.sealed_payloads import data_converter
from worker import WORKFLOWS

HISTORIES = Path(__file__).parent / "histories"
RECORDED = {path.stem: path.read_text() for path in sorted(HISTORIES.glob("*.json"))}
"""Workflow type and test → history as JSON."""
SECRETS = re.compile(r"@shopper\.io|\+4477009|Jane|MAGE-\w+|(?:shpat_|pk_|om_|sk_|full-|read-)[0-9a-f]{12}")
"""The discount codes, keys and personal data of every shop in tests."""


# The worker runs workflows without it. Here it stops workflow code that reads the clock, random numbers or files.
SANDBOX = SandboxedWorkflowRunner(
    restrictions=SandboxRestrictions.default.with_passthrough_modules(
        "activities",
        "clients",
        "cryptography",
        "database",
        "db",
        "domain",
        "httpx",
        "metrics",
        "prometheus_client",
        "pydantic",
        "sqlalchemy",
        "structlog",
    )
)


async def readable(history: WorkflowHistory, converter: DataConverter) -> str:
    """The history as JSON, with opened and decoded payloads. `converter`: of the client that wrote it."""
    text = history.to_json()
    payloads = _payloads(text)
    if converter.payload_codec is not None:
        payloads = await converter.payload_codec.decode(payloads)
    return text + "".join(payload.data.decode() for payload in payloads)


def _payloads(text: str) -> list[Payload]:
    """The payloads of a history, wherever they are."""
    found: list[Payload] = []

    def collect(part: dict[str, Any]) -> dict[str, Any]:
        if "encoding" in part.get("metadata", ()):
            found.append(json_format.ParseDict(part, Payload()))
        return part

    json.loads(text, object_hook=collect)
    return found


def replayer(workflows: Sequence[type] = WORKFLOWS, converter: DataConverter | None = None) -> Replayer:
    """`converter`: of the client that wrote the histories. The recorded ones are clear."""
    clear = data_converter((), "default")
    return Replayer(workflows=workflows, workflow_runner=SANDBOX, data_converter=converter or clear)


async def replays(name: str, workflows: Sequence[type] = WORKFLOWS) -> bool:
    """Whether the workflow code takes the same steps as the recorded history."""
    history = WorkflowHistory.from_json(name, RECORDED[name])
    result = await replayer(workflows).replay_workflow(history, raise_on_replay_failure=False)
    return result.replay_failure is None
