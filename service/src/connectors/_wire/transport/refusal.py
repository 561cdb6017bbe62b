"""How the transport itself says no to a call, with no handler asked."""

from __future__ import annotations

import enum

from connectors._wire.status import Status, StatusError


class Reason(enum.StrEnum):
    """Why the transport ended a call or a connection by itself: a small, fixed set, fit for a metric's label."""

    BAD_REQUEST = "bad_request"
    HTTP_METHOD = "http_method"
    CONTENT_TYPE = "content_type"
    HEADERS_TOO_LARGE = "headers_too_large"
    UNKNOWN_METHOD = "unknown_method"
    BAD_TIMEOUT = "bad_timeout"
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    BAD_FRAME = "bad_frame"
    CORRUPT_MESSAGE = "corrupt_message"
    MESSAGE_TOO_LARGE = "message_too_large"
    TRUNCATED = "truncated"
    CARDINALITY = "cardinality"
    SLOW_REQUEST = "slow_request"
    BUFFERS_FULL = "buffers_full"
    DEADLINE = "deadline"
    SHUTDOWN = "shutdown"
    CONNECTION_AGE = "connection_age"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    PROTOCOL_ERROR = "protocol_error"
    TLS_HANDSHAKE = "tls_handshake"
    SLOW_HANDSHAKE = "slow_handshake"
    SLOW_READER = "slow_reader"
    FLOOD = "flood"
    RAPID_RESET = "rapid_reset"


class Refusal(StatusError):
    """A status that the transport chose itself.

    ``http_status`` is 200 unless the request is no gRPC request at all: then the HTTP status says so too.
    """

    def __init__(self, status: Status, reason: Reason, message: str, *, http_status: int = 200) -> None:
        super().__init__(status, message)
        self.reason = reason
        self.http_status = http_status
