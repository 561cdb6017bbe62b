"""``grpc.health.v1.Health``: whether the server, and each of its services, takes calls.

Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from connectors._messages.encoding import serialise
from connectors._proto.grpc.health.v1 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthCheckResponseServingStatus,
    HealthListRequest,
    HealthListResponse,
)
from connectors._wire.large_messages import parsed
from connectors._wire.rejection import Reason, Rejected
from connectors._wire.status import Status
from connectors._wire.transport import Call, Route, unary

__all__ = ["SERVICE", "Health"]

SERVICE = "grpc.health.v1.Health"


class Health:
    """The health of one server. All its services share one state, SERVING to begin with."""

    def __init__(self, services: Iterable[str], *, most_watchers: int = 1_024) -> None:
        """:param services: full names; the server as a whole, "", is always among them.
        :param most_watchers: how many watches may be open at once; further ones are refused.
        """
        self._services = frozenset({"", *services})
        self._serving = True
        self._changed = asyncio.Event()
        self._watchers = 0
        self._most_watchers = most_watchers

    def set_serving(self, serving: bool) -> None:
        """Say whether calls are taken from now on; False while the server drains."""
        if serving != self._serving:
            self._serving = serving
            self._changed.set()
            self._changed = asyncio.Event()

    def routes(self) -> dict[str, Route]:
        """The service's routes."""
        return {
            f"/{SERVICE}/Check": unary(self._check),
            f"/{SERVICE}/List": unary(self._list),
            f"/{SERVICE}/Watch": Route(self._watch, server_streaming=True, endless=True),
        }

    async def _check(self, _: Call, data: bytes) -> bytes:
        service = (await parsed(HealthCheckRequest, data)).service
        if service not in self._services:
            raise Rejected(Status.NOT_FOUND, Reason.UNKNOWN_NAME, f"this server has no service {service[:200]!r}")
        return serialise(self._response(service))

    async def _list(self, _: Call, data: bytes) -> bytes:
        await parsed(HealthListRequest, data)
        statuses = {service: self._response(service) for service in sorted(self._services)}
        return serialise(HealthListResponse(statuses=statuses))

    async def _watch(self, call: Call) -> None:
        """The status now, and again whenever it changes. A watcher that reads slowly is told the latest one."""
        data = await call.receive()
        service = (await parsed(HealthCheckRequest, data or b"")).service
        if self._watchers >= self._most_watchers:
            message = f"{self._most_watchers} watches are open, which is the limit"
            raise Rejected(Status.RESOURCE_EXHAUSTED, Reason.TOO_MANY_WATCHERS, message)
        self._watchers += 1
        try:
            told = None
            while True:
                changed, response = self._changed, self._response(service)
                if response.status != told:
                    told = response.status
                    await call.send(serialise(response))
                await changed.wait()
        finally:
            self._watchers -= 1

    def _response(self, service: str) -> HealthCheckResponse:
        status = HealthCheckResponseServingStatus
        if service not in self._services:
            return HealthCheckResponse(status=status.SERVICE_UNKNOWN)
        return HealthCheckResponse(status=status.SERVING if self._serving else status.NOT_SERVING)
