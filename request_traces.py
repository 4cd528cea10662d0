"""Spans of traced requests, and of nothing else. Needs the extra `traces`."""

from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace import INVALID_SPAN, Span, Tracer, use_span
from temporalio.contrib.opentelemetry import ReplaySafeTracerProvider
from temporalio.contrib.opentelemetry._id_generator import TemporalIdGenerator


class RequestTracerProvider(ReplaySafeTracerProvider):
    """Makes spans below a span that is recorded, or with a context of their own, as the span of a request has."""

    def __init__(self, *, sampler: Sampler, resource: Resource) -> None:
        ids = TemporalIdGenerator(RandomIdGenerator())
        super().__init__(TracerProvider(sampler=sampler, resource=resource, id_generator=ids), ids)

    def get_tracer(self, instrumenting_module_name: str, *args: Any, **more: Any) -> Tracer:
        """The tracer of a module."""
        return _RequestTracer(super().get_tracer(instrumenting_module_name, *args, **more))


class _RequestTracer(Tracer):
    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def start_span(self, name: str, context: Context | None = None, *args: Any, **more: Any) -> Span:
        # An activity's parent is a span of another process, which is not recorded in this one.
        if context is None and not trace.get_current_span().get_span_context().trace_flags.sampled:
            return INVALID_SPAN
        span = self._tracer.start_span(name, context, *args, **more)
        return span if span.is_recording() else INVALID_SPAN

    def start_as_current_span(
        self,
        name: str,
        context: Context | None = None,
        *args: Any,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
        **more: Any,
    ) -> Any:
        return use_span(
            self.start_span(name, context, *args, **more),
            end_on_exit=end_on_exit,
            record_exception=record_exception,
            set_status_on_exception=set_status_on_exception,
        )
