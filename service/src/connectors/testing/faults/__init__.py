"""Faults between a connector and its platform, over real HTTP, whatever the platform is: an emulator, or a fake.

:class:`FaultProxy` stands before it and forwards, but for what it was told to spoil; :class:`ForeignHost` is a host
that nobody may be led to, and counts who comes. Neither needs pytest. A proxy knows no platform's states and no jobs:
those faults are ``connectors.testing.platform``'s.
"""

from connectors.testing.faults._foreign import ForeignHost
from connectors.testing.faults._proxied import EVERY_REQUEST, Fault, ProxiedRequest, Route
from connectors.testing.faults._proxy import FaultProxy
from connectors.testing.faults._script import FaultScript, Scripted

__all__ = ["EVERY_REQUEST", "Fault", "FaultProxy", "FaultScript", "ForeignHost", "ProxiedRequest", "Route", "Scripted"]
