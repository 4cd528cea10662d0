"""Which spans are made, and which requests Temporal is given a trace of."""

import pytest
from opentelemetry.context import Context
from opentelemetry.propagate import inject
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, Tracer, use_span

from request_traces import RequestTracerProvider


class Process:
    """A process that traces this share of its requests."""

    def __init__(self, share: float) -> None:
        self._exporter = InMemorySpanExporter()
        self._provider = RequestTracerProvider(sampler=ParentBasedTraceIdRatio(share), resource=Resource.create())
        self._provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def tracer(self) -> Tracer:
        return self._provider.get_tracer("tests")

    def spans(self) -> list[str]:
        return [span.name for span in self._exporter.get_finished_spans()]


def headers() -> dict[str, str]:
    """What Temporal's plugin sends to the worker."""
    carrier = dict[str, str]()
    inject(carrier)
    return carrier


def test_a_traced_request_has_spans_and_headers() -> None:
    process = Process(share=1)

    request = process.tracer().start_as_current_span("request", Context())
    with request, process.tracer().start_as_current_span("update"):
        sent = headers()

    assert process.spans() == ["update", "request"]
    assert list(sent) == ["traceparent"]


def test_another_request_has_neither() -> None:
    process = Process(share=0)

    with process.tracer().start_as_current_span("request", Context()):
        assert headers() == {}
        with process.tracer().start_as_current_span("update"):
            assert headers() == {}

    assert process.spans() == []


@pytest.mark.parametrize(("flags", "spans"), [(TraceFlags.SAMPLED, ["activity"]), (TraceFlags.DEFAULT, [])])
def test_a_worker_traces_what_the_api_traces(flags: int, spans: list[str]) -> None:
    process, parent = Process(share=1), SpanContext(1, 1, is_remote=True, trace_flags=TraceFlags(flags))

    with use_span(NonRecordingSpan(parent)), process.tracer().start_as_current_span("activity"):
        pass

    assert process.spans() == spans


def test_what_no_request_began_is_not_traced() -> None:
    process = Process(share=1)

    with process.tracer().start_as_current_span("sweep"):
        assert headers() == {}
    process.tracer().start_span("statement").end()

    assert process.spans() == []
