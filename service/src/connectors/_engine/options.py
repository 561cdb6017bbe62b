"""The engine's options, with their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["ConnectorLimits", "EngineOptions"]


@dataclass(frozen=True)
class ConnectorLimits:
    """How much one connector may take. Each connector has its own."""

    concurrency: int = 256
    """Calls to the connector at once; 1 or more."""
    queue: int = 1_024
    """Calls that may wait for their turn; 0 or more."""
    threads: int = 16
    """Threads for methods that are a plain ``def``; 1 or more."""
    attempts: int = 10
    """How often one call tries at the most; 1 is no retry."""
    retry_budget: float = 50.0
    """Retries per second over all calls to the connector, with a burst of ten times as many; 0 is none."""


@dataclass(frozen=True)
class EngineOptions:
    """Times are in seconds."""

    key_namespace: str = ""
    """Names the cluster: a part of every derived key."""
    concurrency: int = 4_096
    """Calls to all connectors at once."""
    default_timeout: float = 10.0
    """For a call whose caller set no deadline."""
    max_timeout: float = 60.0
    """The longest deadline a caller can ask for."""
    margin: float = 0.5
    """The answer leaves this long before the caller's deadline (a tenth of the time, where that is less)."""
    create_timeout: float = 60.0
    """How long a create may go on, whatever its caller does."""
    do_timeout: float = 600.0
    """How long a ``do`` that runs as a job (Flyte 2) may take."""
    lease: float = 8.0
    """For how long a create's reservation outlives a server that died. It is below the callers' 10 s, so that the first
    repeat after a death finds the key free.
    """
    retry_initial: float = 0.1
    """The first pause between tries is a random time up to this; each further bound is twice the last."""
    retry_max: float = 5.0
    """The longest such bound."""
    result_ttl: float = 3_600.0
    """How long a sync connector's result is kept."""
    result_max_bytes: int = 1024 * 1024
    """A larger result is not kept: the call is made again."""
    answer_max_bytes: int = 4 * 1024 * 1024 - 64 * 1024
    """A larger resource does not fit into the 4 MiB that gRPC clients take by default."""
    store_retention: float = 7 * 86_400.0
    """How long a record is kept after its last change."""
    rerun_after: float = 600.0
    """A create that comes this long after a terminal phase was delivered is a new run of the same name."""
    orphan_after: float = 600.0
    """A job whose meta reached nobody, and that nobody asked for within this time, is cancelled."""
    unpolled_after: float = 7_200.0
    """A job that is not known to have ended and was not polled for this long is reported."""
    cancel_unpolled: bool = False
    """Whether it is cancelled, too."""
    reap_every: float = 5.0
    """How often, a quarter more or less, a server looks for jobs that are to be cancelled; for those that nobody asks
    for, six times less often, or as often as ``orphan_after`` makes it necessary."""
    fail_after_fault: float = 0.0
    """A job whose polls have met a fault for this long is cancelled and fails as RETRYABLE_FAILED; 0 is never."""
    limits: ConnectorLimits = ConnectorLimits()
    per_connector: Mapping[str, ConnectorLimits] = field(default_factory=dict)
    """Limits by task type, in place of ``limits``."""

    def limits_for(self, task_type: str) -> ConnectorLimits:
        """The limits of one task type."""
        return self.per_connector.get(task_type, self.limits)
