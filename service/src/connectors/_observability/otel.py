"""Spans of calls and of requests to platforms, by OpenTelemetry's conventions, sent by its own SDK.

A call's span continues the trace that its caller sent along; the span of a request to a platform is its child, and the
request carries its context on. The conventions are those of RPCs (https://opentelemetry.io/docs/specs/semconv/rpc/) and
of HTTP (https://opentelemetry.io/docs/specs/semconv/http/http-spans/), but for ``url.full``: a path or a query may be a
secret. Only the trace context goes to a platform, never the caller's baggage.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from contextvars import Token

from opentelemetry import context as contexts
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from connectors._engine.events import CallEvent, CallSpan, Operation, PlatformRequest, RequestSpan
from connectors._engine.requests import Caller

__all__ = ["Tracing"]

_FAULTS_OF_A_SERVER = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
"""The statuses that make a server's span one that failed: the others are the caller's doing."""
_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"})
_FIRST_OF_FAILURE = 400  # an answer from this status on makes a client's span one that failed


class Tracing:
    """Makes spans; see :class:`connectors._engine.events.Tracer`. The variables are read when it is made."""

    def __init__(self, version: str) -> None:
        # not the process's global provider: two servers in one process have two
        self._provider = TracerProvider(resource=_resource(version), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("connectors", version)
        self._propagator = TraceContextTextMapPropagator()

    def call(self, operation: Operation, task_type: str, caller: Caller) -> CallSpan:
        """A call begins; its span is the current one of this task, and of what it starts, until it ends."""
        about: dict[str, AttributeValue] = {
            "connectors.operation": operation,
            "connectors.task_type": task_type,
            "connectors.protocol": caller.protocol,
        }
        if not caller.method:  # in process, or of the server's own accord
            return _Call(self._tracer.start_span(operation, attributes=about))
        method = caller.method.removeprefix("/")
        about |= {"rpc.system.name": "grpc", "rpc.method": method}
        address, _, port = caller.peer.rpartition(":")
        if address:
            about |= {"client.address": address.strip("[]"), "client.port": int(port)}
        parent = self._propagator.extract(caller.trace, context=contexts.Context())
        return _Call(self._tracer.start_span(method, parent, SpanKind.SERVER, about))

    def request(self, method: str, scheme: str, host: str, port: int | None) -> RequestSpan:
        """A request to a platform begins, of the call that is the current one."""
        known = method.upper() if method.upper() in _METHODS else "_OTHER"
        about: dict[str, AttributeValue] = {
            "http.request.method": known,
            "url.scheme": scheme,
            "server.address": host,
        }
        if port is not None:
            about["server.port"] = port
        name = "HTTP" if known == "_OTHER" else known
        span = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=about)
        headers: dict[str, str] = {}
        self._propagator.inject(headers, set_span_in_context(span))
        return _Request(span, headers)

    async def aclose(self, within: float) -> None:
        """Send what is there, within so many seconds; then nothing more."""
        # the SDK waits for as long as the collector lets it: in a thread that the process does not wait for
        thread = threading.Thread(target=self._provider.shutdown, name="connectors-traces-end", daemon=True)
        thread.start()
        await asyncio.to_thread(thread.join, within)


class _Call:
    def __init__(self, span: Span) -> None:
        self._span = span
        self._token: Token[contexts.Context] = contexts.attach(set_span_in_context(span))

    def end(self, event: CallEvent) -> None:
        contexts.detach(self._token)
        span = self._span
        if span.is_recording():
            span.set_attributes(_of_call(event))
            if event.status != "OK":
                span.set_attribute("error.type", event.error or event.status)
            if event.status in _FAULTS_OF_A_SERVER:
                span.set_status(StatusCode.ERROR)
        span.end()


class _Request:
    def __init__(self, span: Span, headers: Mapping[str, str]) -> None:
        self._span = span
        self.headers = headers

    def end(self, event: PlatformRequest) -> None:
        span = self._span
        if event.status is not None:
            span.set_attribute("http.response.status_code", event.status)
        if event.status is None or event.status >= _FIRST_OF_FAILURE:
            span.set_attribute("error.type", event.fault or str(event.status))
            span.set_status(StatusCode.ERROR)
        span.end()


def _of_call(event: CallEvent) -> dict[str, AttributeValue]:
    known: dict[str, AttributeValue] = {
        "rpc.response.status_code": event.status,
        "connectors.attempts": event.attempts,
        "connectors.repeated": event.repeated,
        "connectors.shielded": event.shielded,
    }
    if event.key:
        known["connectors.key"] = event.key
    if event.phase is not None:
        known["connectors.phase"] = event.phase.name
    if event.error_id:
        known["connectors.error_id"] = event.error_id
    if event.error and event.shielded:
        known["connectors.fault"] = event.error
    its = event.execution
    if its is not None:
        place = (its.project, its.domain, its.execution, its.node_id, str(its.retry_attempt))
        known["connectors.execution"] = "/".join(place)
    return known


def _resource(version: str) -> Resource:
    """What the variables say of this service; its name is ``connectors`` where they say none."""
    found = Resource.create()
    own = {SERVICE_VERSION: version}
    if str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        own[SERVICE_NAME] = "connectors"
    return found.merge(
        Resource({name: own[name] for name in own if name == SERVICE_NAME or name not in found.attributes})
    )
