"""One pooled asynchronous HTTP client for all connectors, the way that requests take out of here, and HTTP's errors as
this project's own.

Nothing is retried here: an error says whether another try may help, and the engine makes it.
"""

from connectors.http._client import HttpClient, HttpResponse
from connectors.http._egress import Egress
from connectors.http._statuses import error_for_status, retry_after_seconds
from connectors.http._watching import WatchedRequest, watched_request

__all__ = [
    "Egress",
    "HttpClient",
    "HttpResponse",
    "WatchedRequest",
    "error_for_status",
    "retry_after_seconds",
    "watched_request",
]
