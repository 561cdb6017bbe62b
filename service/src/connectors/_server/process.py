"""One server as a process: its event loop, its start, its end in good order."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from typing import Any

from connectors._observability.logs import DebugSwitch
from connectors._registry import Registry
from connectors._server import descriptors
from connectors._server.ending import CLOSE_WITHIN, Signals, UnwaitedThreads, say
from connectors._server.server import Addresses, Server
from connectors._server.starting import version
from connectors._settings import Settings

__all__ = ["DELAY_IN_A_POD", "serve"]

log = logging.getLogger("connectors.server")

DELAY_IN_A_POD = 5.0
"""Seconds: endpoints are gone from proxies and name servers within two or three, seldom more."""

_COLLECTED_EVERY = (100_000, 2, 10)
"""Of :func:`gc.set_threshold`; Python's own are 700, 10, 10. A call under way is some hundreds of objects. To look
through 100,000 takes 6 ms, through the 300,000 of the second generation 20 ms (measured, all of them in use)."""


def serve(settings: Settings, registry: Registry) -> None:
    """Serve until SIGTERM or SIGINT, then end in good order: within the drain's delay, the grace and 5 seconds. A
    second signal ends the process at once: with exit code 1, or 130 for SIGINT.

    Threads may still run afterwards: see :func:`connectors._server.ending.leave`.

    :raises StartError: something cannot be started.
    """
    descriptors.allow(settings.max_connections, settings.concurrency)
    signals = Signals(settings.grace + CLOSE_WITHIN, delay=_drain_delay(settings))
    try:
        with asyncio.Runner(loop_factory=_new_event_loop) as runner:
            runner.run(_run(settings, Server(settings, registry), signals))
    finally:
        signals.ended()


def _drain_delay(settings: Settings) -> float:
    """A kubelet sends SIGTERM while Kubernetes still tells callers of the pod; it sets the variable in every pod."""
    if settings.drain_delay is not None:
        return settings.drain_delay
    return DELAY_IN_A_POD if "KUBERNETES_SERVICE_HOST" in os.environ else 0.0


def _new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, where it is installed: there is none for Windows."""
    try:
        import uvloop  # noqa: PLC0415 - it may be missing
    except ImportError:
        loop = asyncio.new_event_loop()
    else:
        loop = uvloop.new_event_loop()
    loop.set_default_executor(UnwaitedThreads(thread_name_prefix="connectors-threads"))
    return loop


async def _run(settings: Settings, server: Server, signals: Signals) -> None:
    stop = _Stop(signals)
    _turn_debug_by_signal(settings.log_level)
    try:
        addresses = await stop.or_start(server)
        if addresses is not None:
            _spare_the_collector()
            _announce(addresses)
            await stop.wanted.wait()
            _tell_the_end(signals.delay, settings.grace)
            await server.drain(settings.grace, delay=signals.delay)
    finally:
        await server.aclose()
    say("stopped", "stopped")


class _Stop:
    """The first signal, as the event loop sees it."""

    def __init__(self, signals: Signals) -> None:
        self.wanted = asyncio.Event()
        self._starting: asyncio.Task[Any] | None = None
        self._loop = asyncio.get_running_loop()
        signals.handle(self._tell_loop)

    async def or_start(self, server: Server) -> Addresses | None:
        """Start the server in this task; None where a signal broke the start off."""
        task = self._starting = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine that runs has one
        try:
            return await server.start()
        except asyncio.CancelledError:
            if not self.wanted.is_set():
                raise
            task.uncancel()  # it was our own, and it has done its work
            return None
        finally:
            self._starting = None

    def _tell_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._received)

    def _received(self) -> None:
        self.wanted.set()
        if self._starting is not None:
            self._starting.cancel()


def _turn_debug_by_signal(level: str) -> None:
    """SIGUSR1 turns debug lines on, and off again. It needs no file and no restart: ``kill -USR1 1`` in a container."""
    number = getattr(signal, "SIGUSR1", None)
    if number is None:  # on Windows
        return
    loop, switch = asyncio.get_running_loop(), DebugSwitch(level)

    def received(*_: object) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(switch.turn)  # a handler must not write: it may interrupt a line

    signal.signal(number, received)


def _spare_the_collector() -> None:
    """Modules, classes and connectors stay for good: a full collection that looked through them would stop all calls
    for 70 ms each time (measured with one plugin). The little that does not stay is not worth one now.

    What calls make is looked through less often than Python would, too: with 256 calls under way that took a fifth of
    the CPU time, and a tenth still where it was done every 10,000 objects.
    """
    gc.freeze()
    gc.set_threshold(*_COLLECTED_EVERY)
    gc.enable()


def _tell_the_end(delay: float, grace: float) -> None:
    first = f"{delay:g} s for callers to go elsewhere, then " if delay else ""
    say("stopping", "stopping: %sup to %g s for what is in flight", first, grace)


def _announce(addresses: Addresses) -> None:
    """The line that says that calls are served, and where. Scripts read it: it is part of what users see."""
    fields = {"address": addresses.grpc, "metrics": addresses.metrics, "version": version(), "pid": os.getpid()}
    message = "listening on %s with metrics on %s"
    log.info(message, addresses.grpc, addresses.metrics, extra={"fields": {"event": "ready", **fields}})
