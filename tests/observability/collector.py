"""An OpenTelemetry collector, as far as tests need one: it takes OTLP over HTTP and keeps the spans."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

__all__ = ["Collector", "Taken", "collecting"]


@dataclass(frozen=True)
class Taken:
    """One span as it arrived."""

    name: str
    kind: str
    trace: str
    span: str
    parent: str
    failed: bool
    about: Mapping[str, Any]
    resource: Mapping[str, Any]


class Collector:
    """What was sent to it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.bodies: list[bytes] = []

    @property
    def spans(self) -> list[Taken]:
        """Every span, in the order of their beginnings."""
        found = []
        for body in self.bodies:
            for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                resource = _values(of_resource.resource.attributes)
                found += [(s, resource) for of_scope in of_resource.scope_spans for s in of_scope.spans]
        return [
            _taken(span, resource) for span, resource in sorted(found, key=lambda each: each[0].start_time_unix_nano)
        ]

    def one(self, kind: str) -> Taken:
        """The one span of a kind."""
        (span,) = (each for each in self.spans if each.kind == kind)
        return span


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run one on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            assert self.headers["Content-Type"] == "application/x-protobuf"
            collector.bodies.append(body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing is to be written."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def _taken(span: Span, resource: Mapping[str, Any]) -> Taken:
    return Taken(
        name=span.name,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace=span.trace_id.hex(),
        span=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        failed=span.status.code == 2,
        about=_values(span.attributes),
        resource=resource,
    )


def _values(attributes: Any) -> dict[str, Any]:
    def value(each: KeyValue) -> Any:
        kind = each.value.WhichOneof("value")
        return getattr(each.value, kind) if kind else None

    return {each.key: value(each) for each in attributes}
