from __future__ import annotations

from connectors.testing.fixtures import http, serve

__all__ = ["http", "serve"]
