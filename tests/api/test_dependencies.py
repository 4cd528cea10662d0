"""Dependencies of the API's routes."""

from collections.abc import Callable, Iterator
from importlib import import_module
from inspect import iscoroutinefunction
from pkgutil import iter_modules

from fastapi import APIRouter
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

import api.routes


def routes() -> Iterator[APIRoute]:
    for module in iter_modules(api.routes.__path__, "api.routes."):
        router = getattr(import_module(module.name), "router", None)
        if isinstance(router, APIRouter):
            yield from (route for route in router.routes if isinstance(route, APIRoute))


def called(dependant: Dependant) -> Iterator[Callable[..., object]]:
    for one in dependant.dependencies:
        assert one.call is not None
        yield one.call
        yield from called(one)


def is_async(call: Callable[..., object]) -> bool:
    return iscoroutinefunction(call) or iscoroutinefunction(getattr(call, "__call__", None))  # noqa: B004 - of its class


def test_dependencies_run_in_the_event_loop() -> None:
    """FastAPI gives any other to a thread: a purchase that asks for four of them waits for four threads."""
    functions = {call for route in routes() for call in called(route.dependant)}

    assert len(functions) > 5
    assert [call for call in functions if not is_async(call)] == []
