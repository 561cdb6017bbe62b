"""One server as a process: its event loop, its signals, its end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from typing import Any

from connectors._registry import Registry
from connectors._server.server import Addresses, Server
from connectors._server.starting import version
from connectors._settings import Settings

__all__ = ["serve"]

log = logging.getLogger("connectors.server")


def serve(settings: Settings, registry: Registry) -> None:
    """Serve until SIGTERM or SIGINT, then end in good order. A second signal ends the process at once: with exit code
    1, or 130 for SIGINT.

    :raises StartError: something cannot be started.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_run(settings, Server(settings, registry)))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed: there is none for Windows."""
    try:
        import uvloop  # noqa: PLC0415 - it may be missing
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _run(settings: Settings, server: Server) -> None:
    signals = _Signals()
    try:
        addresses = await signals.unless_stopped(server)
        if addresses is not None:
            _announce(addresses)
            await signals.stopping.wait()
            _say("stopping", "stopping: up to %g s for what is in flight", settings.grace)
            await server.drain(settings.grace)
    finally:
        await server.aclose()
    _say("stopped", "stopped")


class _Signals:
    """The first SIGTERM or SIGINT sets :attr:`stopping`; the second ends the process."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self._starting: asyncio.Task[Any] | None = None
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._received, number)

    async def unless_stopped(self, server: Server) -> Addresses | None:
        """Start the server in this task; None where a signal broke the start off."""
        task = self._starting = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine that runs has one
        try:
            return await server.start()
        except asyncio.CancelledError:
            if not self.stopping.is_set():
                raise
            task.uncancel()  # it was our own, and it has done its work
            return None
        finally:
            self._starting = None

    def _received(self, number: signal.Signals) -> None:
        if self.stopping.is_set():
            _say("killed", "a second signal: ending at once")
            os._exit(130 if number == signal.SIGINT else 1)
        self.stopping.set()
        if self._starting is not None:
            self._starting.cancel()


def _announce(addresses: Addresses) -> None:
    """The line that says that calls are served, and where. Scripts read it: it is part of what users see."""
    fields = {"address": addresses.grpc, "metrics": addresses.metrics, "version": version(), "pid": os.getpid()}
    message = "listening on %s with metrics on %s"
    log.info(message, addresses.grpc, addresses.metrics, extra={"fields": {"event": "ready", **fields}})


def _say(event: str, message: str, *values: object) -> None:
    log.info(message, *values, extra={"fields": {"event": event}})
