"""The gRPC transport: an asyncio server of bytes in and bytes out over HTTP/2.

Everything that touches grpclib, h2 and HTTP/2 frames is in this package: limits, metadata, deadlines, message framing,
flow control, GOAWAY and the drain. It knows no protobuf, no connector and no engine. It sets no policy beyond the
limits it is given, and it keeps no metrics or logs: it reports what it refused through a callback.
"""

from connectors._wire.transport.call import Call, Route, unary
from connectors._wire.transport.inbox import CallEnded
from connectors._wire.transport.limits import Limits
from connectors._wire.transport.refusal import Reason
from connectors._wire.transport.server import GrpcServer

__all__ = ["Call", "CallEnded", "GrpcServer", "Limits", "Reason", "Route", "unary"]
