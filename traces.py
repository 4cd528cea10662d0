"""Traces with OpenTelemetry: off, and its SDK not loaded, unless an endpoint is configured. See docs/traces.md."""

import sys
from collections.abc import Callable
from importlib.util import find_spec

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode
from sqlalchemy import Connection, ExceptionContext, event
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Plugin

from settings import Settings

_tracer = trace.get_tracer("pointsaga.database")
_SPAN = "pointsaga_span"


def start_traces(settings: Settings, service: str) -> Callable[[], None]:
    """Export the spans of this process, if an endpoint is configured. Returns what sends the last ones.

    Exits with status 2 if OpenTelemetry's SDK is not installed.
    """
    if settings.otel_exporter_otlp_endpoint is None:
        return _nothing
    if find_spec("opentelemetry.sdk") is None or find_spec("opentelemetry.exporter") is None:
        sys.stderr.write(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but traces are not installed: pip install 'pointsaga[traces]'\n"
        )
        raise SystemExit(2)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    from request_traces import RequestTracerProvider

    provider = RequestTracerProvider(
        sampler=ParentBasedTraceIdRatio(settings.otel_traces_sampler_arg),
        # Further attributes: OTEL_RESOURCE_ATTRIBUTES.
        resource=Resource.create({"service.name": service}),
    )
    endpoint = settings.otel_exporter_otlp_endpoint.rstrip("/") + "/v1/traces"
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))
    trace.set_tracer_provider(provider)
    # `exit_process` runs no exit handlers.
    return provider.shutdown


def temporal_plugins(settings: Settings) -> list[Plugin]:
    """What makes spans of workflows and activities."""
    if settings.otel_exporter_otlp_endpoint is None:
        return []
    from temporalio.contrib.opentelemetry import OpenTelemetryPlugin

    return [OpenTelemetryPlugin(add_temporal_spans=True)]


def trace_statements(settings: Settings, *engines: AsyncEngine) -> None:
    """Make a span of every statement: its text without parameters, which hold e-mail addresses and codes."""
    if settings.otel_exporter_otlp_endpoint is None:
        return
    for engine in engines:
        event.listen(engine.sync_engine, "before_cursor_execute", _begin)
        event.listen(engine.sync_engine, "after_cursor_execute", _end)
        event.listen(engine.sync_engine, "handle_error", _fail)


def _nothing() -> None:
    pass


def _begin(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
    # Most statements: those of requests that are not sampled, and of none.
    if not trace.get_current_span().is_recording():
        return
    words = statement.split(maxsplit=1)
    connection.info[_SPAN] = _tracer.start_span(
        words[0] if words else "statement",
        kind=SpanKind.CLIENT,
        attributes={"db.system.name": "postgresql", "db.query.text": statement},
    )


def _end(connection: Connection, *_: object) -> None:
    if (span := _current(connection)) is not None:
        span.end()


def _fail(context: ExceptionContext) -> None:
    if context.connection is not None and (span := _current(context.connection)) is not None:
        span.set_attribute("error.type", type(context.original_exception).__name__)
        span.set_status(StatusCode.ERROR)
        span.end()


def _current(connection: Connection) -> Span | None:
    return connection.info.pop(_SPAN, None)
