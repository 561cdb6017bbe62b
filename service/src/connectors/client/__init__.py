"""A typed client that calls a connector service as the Flyte backends do, over either protocol.

It retries nothing that a backend does not. It does not find servers: it is told their addresses.
"""

from connectors.client._client import CallFailed, ConnectorClient, ListedConnector
from connectors.client._tls import tls

__all__ = ["CallFailed", "ConnectorClient", "ListedConnector", "tls"]
