"""Where idempotency records are kept. Holds no policy: what a record means is the engine's."""

from __future__ import annotations

from connectors._stores.opening import open_store
from connectors._stores.store import Claim, Payload, Record, State, Store, StoreUnavailable

__all__ = ["Claim", "Payload", "Record", "State", "Store", "StoreUnavailable", "open_store"]
