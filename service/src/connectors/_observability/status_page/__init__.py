"""The status page: one HTML page on the metrics port that shows a server to people, made from the engine's events.

It shows no inputs, no outputs and no metas, changes nothing, and asks no other host for anything.
"""

from connectors._observability.status_page.page import StatusPage

__all__ = ["StatusPage"]
