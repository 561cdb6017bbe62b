"""The Flyte backends as a connector service meets them: what FlytePropeller (Flyte 1) and the executor (Flyte 2) call,
when, and what they make of the answers.

:class:`Backend` runs tasks through a service's servers and tells each task's :class:`Fate`. It holds no workflow and
writes no data; it knows nothing of how a service works. All its times are those of the event loop's clock.
"""

from connectors.testing.backend._backend import Backend
from connectors.testing.backend._fates import Call, Fate, Outcome
from connectors.testing.backend._mishaps import Mishaps
from connectors.testing.backend._tasks import BackendTask, Protocol, distinct_tasks
from connectors.testing.backend._transport import ClientTransport, Connect, Transport

__all__ = [
    "Backend",
    "BackendTask",
    "Call",
    "ClientTransport",
    "Connect",
    "Fate",
    "Mishaps",
    "Outcome",
    "Protocol",
    "Transport",
    "distinct_tasks",
]
