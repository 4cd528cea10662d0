"""The command line, run in this process."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import app
from tests.service import Service


@dataclass(frozen=True)
class Result:
    """Exit status and output of a command."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, parsed."""
        return json.loads(self.out)


@dataclass(frozen=True)
class CommandLine:
    """`pointsaga` with these environment variables."""

    env: Mapping[str, str]

    async def __call__(self, *words: str, status: int = 0, stdin: str | None = None, **env: str) -> Result:
        """Run a command, which must end with this exit status."""
        result = await self.run(*words, stdin=stdin, **env)
        assert result.status == status, result
        return result

    async def run(self, *words: str, stdin: str | None = None, **env: str) -> Result:
        """Run a command."""
        run = await asyncio.to_thread(CliRunner(env={**self.env, **env}).invoke, app, words, stdin)
        return Result(run.exit_code, run.stdout, run.stderr)

    async def start(self, *words: str, **env: str) -> Process:
        """Start a command in a process of its own, which can be killed."""
        command = (sys.executable, "-m", "cli", *words)
        env = {**os.environ, **self.env, **env}
        # Tests that run in the background inherit that Ctrl-C is ignored.
        return await asyncio.create_subprocess_exec(
            *command, env=env, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, preexec_fn=_obey_interrupts
        )


def _obey_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def pointsaga(service: Service) -> CommandLine:
    """The command line of the service."""
    return command_line(service)


def command_line(service: Service) -> CommandLine:
    """The command line of a service."""
    urls = {"TEMPORAL_UI_URL": "http://ui.test", "SHOPIFY_ADMIN_URL": service.settings.shopify_admin_url}
    return CommandLine({**service.env, **urls})
