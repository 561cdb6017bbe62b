"""A request's headers: what gRPC says they mean, and which requests are refused for them.

Source: the gRPC protocol over HTTP/2 (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). A missing
`te: trailers` is let pass, as the Go and C servers do: it warns of proxies, and the proxy that dropped it forwards the
call all the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from connectors._wire.status import Status
from connectors._wire.transport.refusal import Reason, Refusal

Headers = Sequence[tuple[bytes, bytes]]

_HEADER_OVERHEAD_BYTES = 32  # RFC 9113, section 6.5.2
_CONTENT_TYPE = re.compile(rb"application/grpc(?:\+proto)?(?:\s*;.*)?", re.IGNORECASE)
_TIMEOUT_DIGITS = 8
_TIMEOUT_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_ENCODINGS = {b"": "identity", b"identity": "identity", b"gzip": "gzip"}
# The names of every call first, so that most are known by one look.
_PROTOCOL_HEADERS = frozenset(
    {b":method", b":scheme", b":path", b":authority", b"content-type", b"te", b"grpc-timeout", b"grpc-accept-encoding"}
)
_PROTOCOL_PREFIXES = (b":", b"grpc-")


class RequestHead(NamedTuple):
    """What the headers of one request say."""

    method: str
    """The path, `/package.Service/Method`."""
    encoding: str
    """How messages may be compressed: `identity` or `gzip`."""
    timeout: float | None
    """Seconds that the caller waits from now on, None when it did not say."""


def method_of(headers: Headers) -> str:
    """The path of a request, "" when it has none."""
    for name, value in headers:
        if name == b":path":
            return value.decode("utf-8", "replace")
    return ""


def read_head(headers: Headers, max_header_list_bytes: int) -> RequestHead:
    """What ``headers`` say. :raises Refusal: this is no gRPC request, or one that cannot be served."""
    # A request that repeats one of these is read by its first value; everything else is metadata.
    known = dict(reversed(headers))
    if known.get(b":method") != b"POST":
        raise Refusal(Status.UNKNOWN, Reason.HTTP_METHOD, "gRPC requests are HTTP POST requests", http_status=405)
    content_type = known.get(b"content-type", b"")
    if content_type != b"application/grpc" and not _CONTENT_TYPE.fullmatch(content_type):
        raise Refusal(Status.UNKNOWN, Reason.CONTENT_TYPE, "the content-type must be application/grpc", http_status=415)
    path = known.get(b":path", b"")
    if not path.startswith(b"/"):
        raise Refusal(Status.INTERNAL, Reason.BAD_REQUEST, "the request has no path", http_status=400)
    size = sum([_HEADER_OVERHEAD_BYTES + len(name) + len(value) for name, value in headers])
    if size > max_header_list_bytes:
        raise Refusal(
            Status.RESOURCE_EXHAUSTED,
            Reason.HEADERS_TOO_LARGE,
            f"the request's headers are {size} bytes, the limit is {max_header_list_bytes}",
        )
    return RequestHead(
        method=path.decode("utf-8", "replace"),
        encoding=_read_encoding(known.get(b"grpc-encoding", b"")),
        timeout=read_timeout(known.get(b"grpc-timeout")),
    )


def _read_encoding(value: bytes) -> str:
    try:
        return _ENCODINGS[value]
    except KeyError:
        name = value[:40].decode("ascii", "replace")
        raise Refusal(
            Status.UNIMPLEMENTED,
            Reason.UNSUPPORTED_ENCODING,
            f"grpc-encoding {name!r} is not supported; identity and gzip are",
        ) from None


def read_timeout(value: bytes | None) -> float | None:
    """A `grpc-timeout` in seconds, None for none. :raises Refusal: it is malformed."""
    if value is None:
        return None
    digits, unit = value[:-1], _TIMEOUT_SECONDS.get(value[-1:])
    if unit is None or not digits.isdigit() or len(digits) > _TIMEOUT_DIGITS:
        raise Refusal(Status.INTERNAL, Reason.BAD_TIMEOUT, "the grpc-timeout header is malformed")
    return int(digits) * unit


def read_metadata(headers: Headers) -> tuple[dict[str, str], frozenset[str]]:
    """The caller's ASCII metadata, values of a repeated name joined with a comma as HTTP does; and the names of entries
    that are left out because their values are not printable ASCII.

    gRPC allows no such value, and one broken entry is no reason to fail a call. Names that belong to the protocol are
    left out too.
    """
    metadata: dict[str, str] = {}
    undecodable: frozenset[str] = frozenset()
    for name, value in headers:
        if name in _PROTOCOL_HEADERS or name.startswith(_PROTOCOL_PREFIXES) or name.endswith(b"-bin"):
            continue
        key = name.decode("ascii", "replace").lower()
        text = value.decode("ascii", "replace")
        if value.isascii() and text.isprintable():
            metadata[key] = f"{metadata[key]},{text}" if key in metadata else text
        else:
            undecodable |= {key}
    return metadata, undecodable
