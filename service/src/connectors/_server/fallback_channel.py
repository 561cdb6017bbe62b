"""The way to the fallback service: one connection, made when it is needed, on which bytes are passed on as they are."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any, cast

from grpclib.config import Configuration
from grpclib.exceptions import StreamTerminatedError
from grpclib.protocol import Stream
from grpclib.utils import Wrapper
from h2.config import H2Configuration
from h2.errors import ErrorCodes
from h2.exceptions import H2Error

from connectors._wire.fallback import Unreachable
from connectors._wire.fallback.other import Headers, Reply
from connectors._wire.transport.limits import MESSAGE_OVERHEAD_BYTES
from connectors.client._channel import GOING_AWAY, DrainingChannel
from connectors.errors import DeadlineExceeded

__all__ = ["FallbackChannel"]

_CONNECT_S = 5.0
_DEAD_AFTER_MS = 20_000
"""A connection on which nothing is confirmed for so long is dead: calls on it fail, and the next one connects anew."""
_MOST_BYTES = 128 * 1024 * 1024
"""Of one message of an answer. Callers take 4 MiB by default."""
_MOST_KEPT_BYTES = 16 * 1024 * 1024
"""Of a call's messages, until it is answered. A caller that sends without end must not fill the server."""
_PREFIX_BYTES = 5
_LONGEST_TIMEOUT_MS = 99_999_999  # grpc-timeout has eight digits
# An answer that its caller does not read holds its own stream's window and no more: the connection's is as large as
# HTTP/2 has it (RFC 9113, section 6.9.1), so that the answers of all others go on.
_WINDOWS = Configuration(http2_stream_window_size=256 * 1024, http2_connection_window_size=2**31 - 1)

# as grpclib words a reset by the server; whether an enum is its name or its number depends on Python's release
_REFUSED = {f"Stream reset by remote party, error_code: {each}" for each in (7, ErrorCodes.REFUSED_STREAM)}


class _Bytes(DrainingChannel):
    """Headers stay bytes: what is passed on need not be ASCII."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._h2_config = H2Configuration(
            client_side=True,
            header_encoding=None,
            validate_inbound_headers=False,
            validate_outbound_headers=False,
            normalize_inbound_headers=False,
            normalize_outbound_headers=False,
        )

    async def _create_connection(self) -> Any:
        made = await super()._create_connection()
        raw = made.connection._transport.get_extra_info("socket")
        if raw is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            with suppress(OSError):  # it is lost already, as the call on it will find
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_AFTER_MS)
        return made


class FallbackChannel:
    """See :class:`connectors._wire.fallback.Other`."""

    def __init__(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        """:param tls: None: without encryption."""
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._channel = _Bytes(host, port, ssl=tls, config=_WINDOWS)
        self._scheme = b"http" if tls is None else b"https"

    async def aclose(self) -> None:
        """Calls under way end as if the other service had gone."""
        await self._channel.aclose()

    async def call(
        self, path: str, metadata: Headers, requests: AsyncGenerator[bytes, None], reply: Reply, *, until: float
    ) -> Headers:
        """Part of the interface. A call that the other service is known not to have begun is made once more, as gRPC's
        own clients do.
        """
        messages = _Requests(requests)
        async with aclosing(messages):
            for last in (False, True):
                # A task of its own: grpclib wakes what has failed by cancelling its task, which then counts as
                # cancelled for good.
                trying = asyncio.create_task(self._try(path, metadata, messages, reply, until))
                try:
                    async with asyncio.timeout_at(until):
                        return await trying
                except TimeoutError:
                    raise DeadlineExceeded(f"the fallback service {self.address} did not answer in time") from None
                except StreamTerminatedError as error:
                    begun = not (str(error) == GOING_AWAY or str(error) in _REFUSED)
                    if begun or last or not messages.whole:
                        raise self._unreachable(f"the connection was lost: {error}") from error
                messages.again()
        raise AssertionError  # the second try returns or raises

    def _unreachable(self, reason: str) -> Unreachable:
        return Unreachable(f"the fallback service {self.address} cannot be reached: {reason}")

    async def _try(self, path: str, metadata: Headers, requests: _Requests, reply: Reply, until: float) -> Headers:
        try:
            async with asyncio.timeout(_CONNECT_S):
                protocol = await self._channel.__connect__()
        except OSError as error:  # a timeout too
            raise self._unreachable(str(error) or "no connection in time") from error
        wrapper = Wrapper()
        stream = protocol.processor.connection.create_stream(wrapper=wrapper)
        sending: asyncio.Task[None] | None = None
        release = None
        try:
            with wrapper:
                headers = self._headers(path, metadata, until)
                release = await stream.send_request(cast(Any, headers), _processor=protocol.processor)
                sending = asyncio.create_task(_send(stream, requests, wrapper))
                return await self._receive(stream, reply)
        except StreamTerminatedError:
            # a server that has answered may reset what it was still being sent
            ended = _bytes(stream.trailers or stream.headers)
            if dict(ended).get(b"grpc-status") not in {None, b"0"}:
                return ended
            raise
        finally:
            if sending is not None:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
            if release is not None:
                if stream.closable:
                    stream.reset_nowait(ErrorCodes.CANCEL)
                release()

    def _headers(self, path: str, metadata: Headers, until: float) -> Headers:
        left = max(1, int(1_000 * (until - asyncio.get_running_loop().time())))
        return [
            (b":method", b"POST"),
            (b":scheme", self._scheme),
            (b":path", path.encode()),
            (b":authority", self.address.encode()),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"grpc-timeout", b"%dm" % min(left, _LONGEST_TIMEOUT_MS)),
            (b"grpc-accept-encoding", b"identity"),
            *metadata,
        ]

    async def _receive(self, stream: Stream, reply: Reply) -> Headers:
        headers = _bytes(await stream.recv_headers())
        said = dict(headers)
        if said.get(b":status") != b"200" and b"grpc-status" not in said:
            code = said.get(b":status", b"").decode("ascii", "replace")
            raise self._unreachable(f"what answers there is no gRPC server: HTTP status {code}")
        if b"grpc-status" in said:
            return headers
        reply.initial(headers)
        while True:
            prefix = await _whole(stream, _PREFIX_BYTES)
            if not prefix:
                break
            size = int.from_bytes(prefix[1:], "big")
            if prefix[0] or size > _MOST_BYTES:
                what = "compressed, unasked" if prefix[0] else f"{size} bytes, over the limit of {_MOST_BYTES}"
                raise self._unreachable(f"a message of its answer is {what}")
            await reply.message(await _whole(stream, size) if size else b"")
        return _bytes(await stream.recv_trailers())


def _bytes(headers: Any) -> Headers:
    """Grpclib's types say that headers are text; by the channel's configuration they are not."""
    return cast(Headers, headers or ())


class _Requests:
    """A call's messages, which can be sent from the beginning again as long as they are few: callers send two."""

    def __init__(self, source: AsyncGenerator[bytes, None]) -> None:
        self._source = source
        self._kept: list[bytes] = []
        self._size = 0
        self._position = 0
        self._coming: asyncio.Task[bytes | None] | None = None
        self.whole = True
        """Whether all that was sent is kept."""

    def again(self) -> None:
        """Begin with the first message."""
        self._position = 0

    async def next(self) -> bytes | None:
        """The next one; None after the last."""
        if self._position < len(self._kept):
            self._position += 1
            return self._kept[self._position - 1]
        if self._coming is None:
            self._coming = asyncio.create_task(self._receive())
        message = await asyncio.shield(self._coming)  # a try that is over leaves it to the next one
        self._coming = None
        if message is not None:
            self._keep(message)
        return message

    async def _receive(self) -> bytes | None:
        return await anext(self._source, None)

    def _keep(self, message: bytes) -> None:
        self._size += len(message) + MESSAGE_OVERHEAD_BYTES
        if self._size > _MOST_KEPT_BYTES:
            self.whole = False
            self._kept.clear()
        else:
            self._kept.append(message)
            self._position += 1

    async def aclose(self) -> None:
        """The call is over."""
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.gather(self._coming, return_exceptions=True)
        await self._source.aclose()


async def _send(stream: Stream, requests: _Requests, wrapper: Wrapper) -> None:
    """Whatever keeps the messages from being sent ends the call."""
    try:
        while (message := await requests.next()) is not None:
            await stream.send_data(b"\0" + len(message).to_bytes(4, "big") + message)
        await stream.end()
    except H2Error:
        pass  # the other service has ended the call: its answer says how
    except Exception as error:  # noqa: BLE001 - it is raised where the answer is waited for
        wrapper.cancel(error)


async def _whole(stream: Stream, size: int) -> bytes:
    """So many bytes; none at the end. :raises StreamTerminatedError: it ends before."""
    try:
        return await stream.recv_data(size)
    except AssertionError:
        raise StreamTerminatedError("the answer ends in the middle of a message") from None
