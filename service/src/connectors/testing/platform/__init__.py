"""A hosted job platform as a real HTTP server, for the faults that no emulator makes.

It counts its jobs by key and by task, keeps their whole history, and loses, delays or spoils its answers as it is told.
:class:`FakePlatform` runs in the test's own process; ``python -m connectors.testing.platform`` runs it as a process of
its own. It runs nothing: a job is a row that ends when its time has come.
"""

from connectors.testing.platform._connectors import (
    CONNECTORS,
    NativeConnector,
    NativePrefixConnector,
    NoneConnector,
    NonePrefixConnector,
    PlatformConnector,
    PlatformRun,
    PlatformSettings,
    SearchConnector,
    SearchPrefixConnector,
)
from connectors.testing.platform._faults import Fault, Operation
from connectors.testing.platform._jobs import Job, JobState
from connectors.testing.platform._server import FakePlatform

__all__ = [
    "CONNECTORS",
    "FakePlatform",
    "Fault",
    "Job",
    "JobState",
    "NativeConnector",
    "NativePrefixConnector",
    "NoneConnector",
    "NonePrefixConnector",
    "Operation",
    "PlatformConnector",
    "PlatformRun",
    "PlatformSettings",
    "SearchConnector",
    "SearchPrefixConnector",
]
