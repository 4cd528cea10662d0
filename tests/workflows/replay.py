"""Recorded histories, and their replay by the workflow code."""

import base64
import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import SecretStr
from temporalio.client import WorkflowHistory
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


def readable(history: WorkflowHistory) -> str:
    """The history as JSON, with decoded payloads."""
    text = history.to_json()
    payloads = re.findall(r'"data": ?"([A-Za-z0-9+/=]+)"', text)
    return text + "".join(base64.b64decode(payload).decode() for payload in payloads)


def replayer(workflows: Sequence[type] = WORKFLOWS, keys: Sequence[SecretStr] = ()) -> Replayer:
    """`keys`: that sealed the histories."""
    return Replayer(workflows=workflows, workflow_runner=SANDBOX, data_converter=data_converter(keys, "default"))


async def replays(name: str, workflows: Sequence[type] = WORKFLOWS) -> bool:
    """Whether the workflow code takes the same steps as the recorded history."""
    history = WorkflowHistory.from_json(name, RECORDED[name])
    result = await replayer(workflows).replay_workflow(history, raise_on_replay_failure=False)
    return result.replay_failure is None
