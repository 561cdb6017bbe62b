"""Where idempotency records are kept. Holds no policy: what a record means is the engine's."""

from __future__ import annotations

from connectors._stores.opening import open_store
from connectors._stores.record import Attention, Deletion, Delivery, Record, State
from connectors._stores.store import Claim, Payload, Store, StoreUnavailable, StoreUnfit, job_of

__all__ = [
    "Attention",
    "Claim",
    "Deletion",
    "Delivery",
    "Payload",
    "Record",
    "State",
    "Store",
    "StoreUnavailable",
    "StoreUnfit",
    "job_of",
    "open_store",
]
