"""Hooks at the boundaries of every activity. The running code determines them: a new activity needs no entry here."""

import asyncio
import os
import re
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import temporalio.client
import temporalio.worker
from sqlalchemy import Connection, Engine, event
from sqlalchemy.orm import Session
from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from tests.faults import Boundary, kill

_step: ContextVar["Step"] = ContextVar("step")


@dataclass
class Step:
    """One attempt of one activity, or one of its parallel sends, and how many commits and calls it has made."""

    name: str
    task: asyncio.Task[Any] | None
    commits: int = 0
    calls: int = 0

    @classmethod
    def of(cls, info: activity.Info) -> "Step":
        """Named by activity type, by activity id where several have one type, and by attempt."""
        names = [info.activity_type, *([info.activity_id] if info.activity_id != info.activity_type else [])]
        attempt = f", attempt {info.attempt}" if info.attempt > 1 else ""
        return cls(" ".join(names) + attempt, asyncio.current_task())

    def of_task(self, request: httpx.Request) -> "Step":
        """This step, or the parallel send that makes the request: sends are ordered by their channels only."""
        task = asyncio.current_task()
        if task is self.task:
            return self
        vendor = "shopify" if "/admin/api/" in request.url.path else request.url.path.split("/")[1]
        return Step(f"{self.name} {vendor}", task)


class Boundaries:
    """Records every boundary that the process reaches, and kills the process at `die_at`."""

    def __init__(self, record: Path, *, die_at: str | None) -> None:
        self._record = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._die_at = die_at

    def reach(self, boundary: Boundary, number: int | None = None) -> None:
        """A boundary of the current step, with the number of the commit or call."""
        name = f"{_step.get().name}: {boundary}" + (f" {number}" if number else "")
        os.write(self._record, f"{name}\n".encode())
        if name == self._die_at:
            kill(os.getpid())

    def hook_commits(self) -> None:
        """Before and after every commit of this process, and every write in autocommit."""
        event.listen(Session, "before_commit", self._before_commit)
        event.listen(Session, "after_commit", self._after_commit)
        event.listen(Engine, "before_cursor_execute", self._before_statement)
        event.listen(Engine, "after_cursor_execute", self._after_statement)

    def hook_calls(self, http: httpx.AsyncClient) -> None:
        """Before every request of this client, and after its response."""
        http.event_hooks = {"request": [self._before_call], "response": [self._after_call]}

    def hook_activities(self, client: temporalio.client.Client) -> temporalio.client.Client:
        """A client whose workers pass the boundaries around each activity attempt, before its result is reported."""
        config = client.config()
        config["interceptors"] = [_Interceptor(self)]
        return temporalio.client.Client(**config)

    def _before_commit(self, _session: Session | None = None) -> None:
        _step.get().commits += 1
        self.reach(Boundary.BEFORE_COMMIT, _step.get().commits)

    def _after_commit(self, _session: Session | None = None) -> None:
        self.reach(Boundary.AFTER_COMMIT, _step.get().commits)

    def _before_statement(self, connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if _commits_itself(connection, statement):
            self._before_commit()

    def _after_statement(self, connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if _commits_itself(connection, statement):
            self._after_commit()

    async def _before_call(self, request: httpx.Request) -> None:
        _step.set(_step.get().of_task(request))
        _step.get().calls += 1
        self.reach(Boundary.BEFORE_CALL, _step.get().calls)

    async def _after_call(self, _response: httpx.Response) -> None:
        self.reach(Boundary.AFTER_CALL, _step.get().calls)


def _commits_itself(connection: Connection, statement: str) -> bool:
    is_autocommit = connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"
    return is_autocommit and re.search(r"\b(INSERT|UPDATE|DELETE)\b", statement) is not None


class _Interceptor(temporalio.client.Interceptor, temporalio.worker.Interceptor):
    """Workers inherit the interceptors of their client, outside of their own ones."""

    def __init__(self, boundaries: Boundaries) -> None:
        self._boundaries = boundaries

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        return _ActivityInterceptor(next, self._boundaries)


class _ActivityInterceptor(ActivityInboundInterceptor):
    def __init__(self, inner: ActivityInboundInterceptor, boundaries: Boundaries) -> None:
        super().__init__(inner)
        self._boundaries = boundaries

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        _step.set(Step.of(activity.info()))
        self._boundaries.reach(Boundary.ACTIVITY_START)
        try:
            return await super().execute_activity(input)
        finally:
            self._boundaries.reach(Boundary.ACTIVITY_END)
