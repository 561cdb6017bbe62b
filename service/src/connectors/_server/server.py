"""One server: its parts, started in order, ended in the reverse order."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import secrets
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from connectors._engine.engine import Engine
from connectors._engine.events import Observer
from connectors._engine.invocation import task_name
from connectors._engine.telemetry import ConnectorTelemetry
from connectors._observability.audit import audit_call, audit_fact
from connectors._observability.event_loop import LoopProbe
from connectors._observability.http_endpoint import Answer, HttpEndpoint, Page, text
from connectors._observability.logs import UnknownStateLog, log_call, log_registry
from connectors._observability.metrics import Metrics
from connectors._observability.traces import open_tracing
from connectors._registry import LoadFailure, Registered, Registry
from connectors._server import outside, pausing, tls
from connectors._server.discovery import mistakes, nothing_served
from connectors._server.ending import CLOSE_WITHIN
from connectors._server.starting import (
    CLOSE_TIMEOUT,
    StartError,
    close_connectors,
    listen,
    start_connectors,
    start_store,
    store_in_use,
    version,
)
from connectors._settings import Settings
from connectors._stores.watched import WatchedStore
from connectors._wire.fallback import Fallback
from connectors._wire.health import Health
from connectors._wire.routes import SERVICES, routes
from connectors._wire.status import Status
from connectors._wire.stored_forms import MessageForms
from connectors._wire.transport import GrpcServer, Limits
from connectors.http import HttpClient

if TYPE_CHECKING:
    from connectors._observability.otel import Tracing
    from connectors._observability.status_page import StatusPage
    from connectors._server.fallback import FallbackService

__all__ = ["Addresses", "Server"]

log = logging.getLogger("connectors.server")

_TRACES_WITHIN = 3.0  # seconds for the traces that are not sent yet, where there is time
_REST = 1.0  # seconds for what is closed after the connectors; these have as much in any case


@dataclass(frozen=True)
class Addresses:
    """Where a server can be reached, each as ``host:port``."""

    grpc: str
    metrics: str


class Server:
    """The service in one process. Its methods are called by one task, in the order in which they stand here."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings = settings
        self._registry = registry
        self._metrics = Metrics(version=version())
        self._facts = (self._metrics.fact, *((audit_fact,) if settings.audit_log else ()))
        self._stack = AsyncExitStack()
        self._state = "starting"
        self._close_by = math.inf  # the event loop's time
        self._tracing: Tracing | None = None
        self._fallback: FallbackService | None = None
        self._status_page: StatusPage | None = None
        self._store: WatchedStore
        self._health: Health
        self._engine: Engine
        self._grpc: GrpcServer

    async def start(self) -> Addresses:
        """Start everything; from then on calls are served.

        :raises StartError: something cannot be started.
        """
        settings, stack = self._settings, self._stack
        unusable = [*outside.faults(settings), *tls.faults(settings), *pausing.faults(settings)]
        if unusable:
            raise StartError("; ".join(unusable))
        outside.hide_password(settings)
        self._tracing = open_tracing(os.environ, version())
        stack.push_async_callback(self._close_tracing)
        if settings.status_page:
            self._status_page = self._new_status_page()
        endpoint = HttpEndpoint(self._pages())
        stack.push_async_callback(endpoint.aclose)
        metrics_at = await listen(
            endpoint.start,
            settings.metrics_host or settings.host,
            settings.metrics_port,
            host_flag="--metrics-host" if settings.metrics_host else "--host",
            port_flag="--metrics-port",
        )
        self._store = await start_store(settings.store, self._metrics.store)
        stack.push_async_callback(self._store.aclose)
        in_use = store_in_use(settings.store)
        log.info("idempotency records are in %s", in_use, extra={"fields": {"event": "store", "store": in_use}})
        self._metrics.show_store(lambda: self._store.down_since is None, lambda: self._store.outages)
        http = await stack.enter_async_context(
            HttpClient(
                connections=settings.concurrency,  # fewer, and the calls to a slow platform would keep others waiting
                user_agent=f"connectors/{version()}",
                egress=settings.egress(),
            )
        )
        registry = await self._start_connectors(http)
        self._engine = await stack.enter_async_context(
            Engine(
                registry,
                self._store,
                http,
                MessageForms(),
                options=settings.engine_options(),
                observers=self._observers(),
                meters=(self._metrics.used,),
                facts=self._facts,
                tracer=self._tracing,
                secret_sources=outside.secret_sources(settings),
                plugin_secrets=settings.plugin_secrets(),
            )
        )
        self._metrics.show_engine(self._engine)
        if self._status_page is not None:
            self._status_page.engine = self._engine
        self._watch_loop(registry)
        passing = await self._start_fallback()
        await self._follow_pauses(registry)
        grpc_at = await self._start_grpc(passing)
        self._set_state("ready")
        return Addresses(grpc_at, metrics_at)

    async def drain(self, grace: float, *, delay: float = 0.0) -> None:
        """Say that calls belong elsewhere, and take them for ``delay`` seconds more. Then take no new ones; let those
        in flight, and the creates behind them, end within ``grace`` seconds.
        """
        give_up = asyncio.get_running_loop().time() + delay + grace
        self._close_by = give_up + CLOSE_WITHIN
        self._set_state("draining")
        self._health.set_serving(False)
        if delay:
            await asyncio.sleep(delay)
            log.info("taking no more calls", extra={"fields": {"event": "draining"}})
        cut_off = await self._grpc.drain(grace)
        if cut_off:
            log.warning("%d calls did not end within %g s and were answered UNAVAILABLE", cut_off, grace)
        try:
            async with asyncio.timeout_at(give_up):
                await self._engine.drain()
        except TimeoutError:
            log.warning("creates or sync calls did not end within %g s: their repeats will look for them", grace)

    async def aclose(self) -> None:
        """End everything that was started, whatever came of it."""
        self._set_state("closing")
        await self._stack.aclose()

    async def _start_connectors(self, http: HttpClient) -> Registry:
        _refuse(self._settings, self._registry.failures)
        registry = await start_connectors(self._registry, http, self._telemetry_of)
        self._stack.push_async_callback(self._close_connectors, registry)
        self._metrics.plugin_failures(registry.failures)
        self._metrics.connectors(registry)
        log_registry(registry)
        for line in [*mistakes(self._settings, registry), *outside.doubts(self._settings)]:
            log.warning("%s", line)
        _refuse(self._settings, registry.failures)
        if not len(registry) and self._settings.fallback is None:
            log.warning("%s", nothing_served(self._settings, registry))
        return registry

    def _telemetry_of(self, item: Registered) -> ConnectorTelemetry:
        return ConnectorTelemetry(item, self._facts, self._tracing)

    async def _close_tracing(self) -> None:
        if self._tracing is not None:
            left = self._close_by - asyncio.get_running_loop().time() - _REST / 2
            await self._tracing.aclose(min(_TRACES_WITHIN, max(left, _REST / 4)))

    def _observers(self) -> tuple[Observer, ...]:
        observers: tuple[Observer, ...] = (self._metrics.observe, log_call, UnknownStateLog())
        if self._status_page is not None:
            observers = (*observers, self._status_page.observe)
        return (*observers, audit_call) if self._settings.audit_log else observers

    def _watch_loop(self, registry: Registry) -> None:
        probe = LoopProbe(
            lagged=self._metrics.lagged,
            blocked=self._metrics.blocked,
            task_types={
                task_name(operation, item.category.name): item.category.name
                for item in registry
                for operation in ("create", "do", "get", "delete", "get_logs", "get_metrics")
            },
            in_flight=lambda: [task_type for (task_type, _), calls in self._engine.in_flight.items() if calls],
        )
        self._stack.callback(probe.stop)
        probe.start()

    async def _start_fallback(self) -> Fallback | None:
        if self._settings.fallback is None:
            return None
        from connectors._server.fallback import FallbackService  # noqa: PLC0415 - few servers need a client

        try:
            self._fallback = FallbackService(self._settings)
        except ValueError as fault:
            raise StartError(f"--fallback-ca-file: {fault}") from None
        self._stack.push_async_callback(self._fallback.aclose)
        service = self._fallback
        await service.start()
        self._metrics.show_fallback(lambda: not service.fault)
        return Fallback(service.other, service.lists, self._engine)

    async def _follow_pauses(self, registry: Registry) -> None:
        if self._settings.paused_file is None:
            return
        names = {name for item in registry for name in (item.category.name, item.plugin)}

        def known() -> Collection[str]:
            return names if self._fallback is None else names.union(self._fallback.lists.task_types)

        file = pausing.PausedFile(self._settings.paused_file, self._engine.pauses, known)
        self._stack.push_async_callback(file.aclose)
        await file.start()

    def _set_state(self, state: str) -> None:
        self._state = state
        self._metrics.ready(state == "ready")

    async def _close_connectors(self, registry: Registry) -> None:
        left = self._close_by - asyncio.get_running_loop().time() - _REST
        await close_connectors(registry, within=min(CLOSE_TIMEOUT, max(left, _REST)))

    async def _start_grpc(self, passing: Fallback | None) -> str:
        settings = self._settings
        self._health = Health(SERVICES)
        served = routes(
            self._engine,
            health=self._health,
            reflection=settings.reflection,
            on_rejected=self._on_rejected,
            fallback=passing,
        )
        self._metrics.methods = served.keys()
        self._grpc = GrpcServer(
            served,
            limits=_limits(settings),
            on_rejected=self._on_rejected,
            on_unhandled=_on_unhandled,
        )
        self._metrics.show_connections(lambda: self._grpc.connections)
        start = self._grpc.start
        if (files := tls.files_of(settings)) is not None:
            certificate = tls.Certificate(files, on_reload=self._metrics.tls_reloaded)
            self._stack.push_async_callback(certificate.aclose)
            try:
                await certificate.start()
            except tls.TlsFault as fault:  # the files were changed just now
                raise StartError(str(fault)) from fault
            start = partial(start, tls=certificate.context)
        self._stack.push_async_callback(self._grpc.close)
        return await listen(start, settings.host, settings.port, host_flag="--host", port_flag="--port")

    def _on_rejected(self, method: str, status: Status, reason: str) -> None:
        self._metrics.rejected(method, reason)
        log.debug("%s of %r: %s", status.name, method[:200], reason)

    def _pages(self) -> Mapping[str, Page]:
        def metrics(headers: Mapping[str, str]) -> Answer:
            return Answer(*self._metrics.render(headers.get("accept", "")))

        def healthy(_: Mapping[str, str]) -> Answer:
            return text("ok")

        def ready(_: Mapping[str, str]) -> Answer:
            if self._state != "ready":
                return text(self._state, HTTPStatus.SERVICE_UNAVAILABLE)
            paused = self._engine.pauses.names
            return text((self._degraded() or self._state) + (f"\npaused: {pausing.listed(paused)}" if paused else ""))

        pages = {"/metrics": metrics, "/healthz": healthy, "/readyz": ready}
        return pages if self._status_page is None else {**self._status_page.pages(), **pages}

    def _new_status_page(self) -> StatusPage:
        from connectors._observability.status_page import StatusPage  # noqa: PLC0415 - 8 ms, where it is wanted

        return StatusPage(
            version=version(),
            store=store_in_use(self._settings.store),
            options=self._settings.engine_options(),
            state=lambda: self._state,
            fault=lambda: self._degraded() if self._state == "ready" else "",
        )

    def _degraded(self) -> str:
        """What does not work, if anything: the server goes on without, and is not to be replaced for it."""
        faults = []
        if (since := self._store.down_since) is not None:
            seconds = asyncio.get_running_loop().time() - since
            faults.append(f"the idempotency store is out of reach for {seconds:.0f} s")
        if self._fallback is not None and self._fallback.fault:
            faults.append(self._fallback.fault)
        return f"degraded: {'; '.join(faults)}" if faults else ""


def _refuse(settings: Settings, failures: Sequence[LoadFailure]) -> None:
    if settings.strict_plugins and failures:
        raise StartError(f"--strict-plugins: {'; '.join(str(failure) for failure in failures)}")


def _limits(settings: Settings) -> Limits:
    return Limits(
        max_message_bytes=settings.max_message_bytes,
        max_connections=settings.max_connections,
        max_connection_age=settings.max_connection_age or math.inf,
        max_connection_age_grace=settings.max_connection_age_grace,
    )


def _on_unhandled(method: str, error: BaseException) -> str:
    error_id = secrets.token_hex(6)
    log.error("%s failed, error id %s", method, error_id, exc_info=error)
    return f"an internal error; the server's log has error id {error_id}"
