"""The boundaries of every step, as the running code shows them: nobody lists them, so a new step joins by itself."""

import os
import signal
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import temporalio.client
import temporalio.worker
from sqlalchemy import event
from sqlalchemy.orm import Session
from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

_step: ContextVar["Step"] = ContextVar("step")


@dataclass
class Step:
    """One try of one activity, and how many commits and calls it has come to."""

    name: str
    commits: int = 0
    calls: int = 0

    @classmethod
    def of(cls, info: activity.Info) -> "Step":
        """The step under way, by its kind, by what tells it apart from others of its kind, and by its try."""
        names = [info.activity_type, *([info.activity_id] if info.activity_id != info.activity_type else [])]
        tries = f", try {info.attempt}" if info.attempt > 1 else ""
        return cls(" ".join(names) + tries)


class Boundaries:
    """Notes each boundary that the process comes to, and kills the process at the deadly one."""

    def __init__(self, notes: Path, *, deadly: str | None) -> None:
        self._notes = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._deadly = deadly

    def reach(self, where: str) -> None:
        """Here is a boundary of the step under way."""
        name = f"{_step.get().name}: {where}"
        os.write(self._notes, f"{name}\n".encode())
        if name == self._deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch_commits(self) -> None:
        """From now on, before and after every commit of this process."""
        event.listen(Session, "before_commit", self._before_commit)
        event.listen(Session, "after_commit", self._after_commit)

    def watch_calls(self, http: httpx.AsyncClient) -> None:
        """From now on, before every request of this client, and once the vendor has answered it."""
        http.event_hooks = {"request": [self._before_call], "response": [self._after_call]}

    def watch_steps(self, client: temporalio.client.Client) -> temporalio.client.Client:
        """The client whose workers stop by before each step starts, and after it, before its result is told."""
        config = client.config()
        config["interceptors"] = [_Watch(self)]
        return temporalio.client.Client(**config)

    def _before_commit(self, _session: Session) -> None:
        _step.get().commits += 1
        self.reach(f"before commit {_step.get().commits}")

    def _after_commit(self, _session: Session) -> None:
        self.reach(f"after commit {_step.get().commits}")

    async def _before_call(self, _request: httpx.Request) -> None:
        _step.get().calls += 1
        self.reach(f"before call {_step.get().calls}")

    async def _after_call(self, _response: httpx.Response) -> None:
        self.reach(f"after call {_step.get().calls}")


class _Watch(temporalio.client.Interceptor, temporalio.worker.Interceptor):
    """A client's interceptors are its workers' too, around those that the worker has of its own."""

    def __init__(self, boundaries: Boundaries) -> None:
        self._boundaries = boundaries

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        return _WatchedStep(next, self._boundaries)


class _WatchedStep(ActivityInboundInterceptor):
    def __init__(self, inner: ActivityInboundInterceptor, boundaries: Boundaries) -> None:
        super().__init__(inner)
        self._boundaries = boundaries

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        _step.set(Step.of(activity.info()))
        self._boundaries.reach("before it starts")
        try:
            return await super().execute_activity(input)
        finally:
            self._boundaries.reach("after it has finished")
