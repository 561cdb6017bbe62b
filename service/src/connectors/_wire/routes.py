"""Every method that the server has."""

from __future__ import annotations

from connectors._engine.engine import Engine
from connectors._wire import health as health_service
from connectors._wire import reflection as reflection_service
from connectors._wire import v1, v2
from connectors._wire.fallback import Fallback
from connectors._wire.health import Health
from connectors._wire.rejection import OnRejected, guarded
from connectors._wire.transport import Route

__all__ = ["SERVICES", "routes"]

SERVICES = (*v1.SERVICES, *v2.SERVICES, health_service.SERVICE)
"""The services by their full names; reflection comes beside them where it is on."""


def routes(
    engine: Engine, *, health: Health, reflection: bool, on_rejected: OnRejected, fallback: Fallback | None = None
) -> dict[str, Route]:
    """The routes by path, ``/package.Service/Method``.

    :param health: ``Health(SERVICES)``, which the server sets.
    :param reflection: whether the server describes itself to tools such as grpcurl.
    :param on_rejected: told of each call that ends before the engine sees it, with a reason out of a small, fixed set.
        The engine tells of the others by its events.
    :param fallback: takes the calls for task types that the engine does not serve.
    """
    served = {**v1.routes(engine, fallback), **v2.routes(engine, fallback), **health.routes()}
    if reflection:
        served |= reflection_service.routes(SERVICES)
    return {path: guarded(route, on_rejected) for path, route in served.items()}
