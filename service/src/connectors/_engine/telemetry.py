"""Whom a connector's calls tell what they do: its requests to the platform, and its tokens, in the connector's name."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from time import perf_counter

from connectors._engine.events import Fact, FactObserver, PlatformRequest, RequestSpan, TokenRefresh, Tracer
from connectors._registry import Registered
from connectors._telemetry import Outgoing, RequestFault

__all__ = ["ConnectorTelemetry"]

log = logging.getLogger("connectors.engine")


class ConnectorTelemetry:
    """One connector's; see :class:`connectors._telemetry.Telemetry`."""

    def __init__(self, registered: Registered, facts: Sequence[FactObserver], tracer: Tracer | None = None) -> None:
        self.plugin = registered.plugin
        self.task_type = registered.category.name
        self._facts = tuple(facts)
        self._tracer = tracer

    def request(self, method: str, scheme: str, host: str, port: int | None) -> Outgoing:
        """A request is about to be sent."""
        span = None
        if self._tracer is not None:
            try:
                span = self._tracer.request(method, scheme, host, port)
            except Exception:
                log.exception("a request to a platform could not be traced")
        return _Outgoing(self, method, span)

    def refreshed(self, *, succeeded: bool) -> None:
        """An access token was fetched, or could not be."""
        self.tell(TokenRefresh(self.plugin, self.task_type, succeeded))

    def tell(self, fact: Fact) -> None:
        """Hand it on; what fails of that is logged."""
        for take in self._facts:
            try:
                take(fact)
            except Exception:
                log.exception("an observer of facts failed")


class _Outgoing:
    __slots__ = ("_method", "_of", "_span", "_started")

    def __init__(self, of: ConnectorTelemetry, method: str, span: RequestSpan | None) -> None:
        self._of = of
        self._method = method
        self._span = span
        self._started = perf_counter()

    @property
    def headers(self) -> Mapping[str, str]:
        return {} if self._span is None else self._span.headers

    def ended(self, *, status: int | None = None, fault: RequestFault | None = None) -> None:
        of = self._of
        fact = PlatformRequest(of.plugin, of.task_type, self._method, status, fault, perf_counter() - self._started)
        of.tell(fact)
        if self._span is not None:
            try:
                self._span.end(fact)
            except Exception:
                log.exception("a request to a platform could not be traced")
