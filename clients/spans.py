"""Spans of calls to vendors and subscribers. They cost next to nothing unless traces are on: docs/traces.md."""

from collections.abc import Generator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode

from clients.outcomes import VendorError

_tracer = trace.get_tracer("pointsaga.clients")


@contextmanager
def call_span(vendor: str, operation: str) -> Generator[Span]:
    """The span of one call. It has neither URL nor bodies nor messages, as those can be personal."""
    attributes = {"pointsaga.vendor": vendor, "pointsaga.operation": operation}
    with _tracer.start_as_current_span(
        f"{vendor} {operation}",
        kind=SpanKind.CLIENT,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield span
        except VendorError as error:
            span.set_attribute("pointsaga.outcome", type(error).__name__)
            span.set_status(StatusCode.ERROR)
            raise
