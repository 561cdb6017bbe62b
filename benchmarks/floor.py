"""What is below this service: raw grpclib with no codec; below that, a server that reads nothing and answers at once.

    python -m benchmarks.floor grpclib --core 0 --answer /the.Service/Method=0a00
    python -m benchmarks.floor canned --core 0 --answer /the.Service/Method=0a00

It prints its address and serves until it is killed. Both take bytes and give bytes. ``canned`` is there to tell what
the generator can do.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import uvloop
from grpclib.const import Cardinality, Handler
from grpclib.encoding.base import CodecBase
from grpclib.server import Server

from benchmarks.http2 import frame

if TYPE_CHECKING:
    from grpclib.server import Stream

__all__ = ["main"]

_PREFACE_BYTES = 24
_HEADERS_OF_ANSWER = b"\x88\x0f\x10\x10application/grpc"
"""``:status: 200`` of the static table, and content-type as it stands: https://www.rfc-editor.org/rfc/rfc7541#section-6."""
_TRAILERS = b"\x00\x0bgrpc-status\x010"


class _Bytes(CodecBase):
    """No codec at all."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> Any:
        return data


class _Methods:
    """Unary methods, each with one answer. :param pauses: seconds before it, by a word that is in the request."""

    def __init__(self, answers: Mapping[str, bytes], pauses: Mapping[str, float]) -> None:
        self._answers = answers
        self._pauses = {word.encode(): seconds for word, seconds in pauses.items()}

    def __mapping__(self) -> dict[str, Handler]:
        return {
            path: Handler(self._method(answer), Cardinality.UNARY_UNARY, bytes, bytes)
            for path, answer in self._answers.items()
        }

    def _method(self, answer: bytes) -> Callable[[Stream[Any, Any]], Awaitable[None]]:
        async def method(stream: Stream[Any, Any]) -> None:
            request = await stream.recv_message()
            for word, pause in self._pauses.items():
                if request is not None and word in request:
                    await asyncio.sleep(pause)
            await stream.send_message(answer)

        return method


async def _grpclib(answers: Mapping[str, bytes], pauses: Mapping[str, float]) -> None:
    server = Server([_Methods(answers, pauses)], codec=_Bytes())
    await server.start("127.0.0.1", 0)
    listening = cast("asyncio.Server", server._server)  # grpclib has no word for the port that it was given
    _tell(listening.sockets[0].getsockname()[1])
    await server.wait_closed()


class _Canned(asyncio.Protocol):
    """Answers the end of each stream with the same bytes, whatever was asked."""

    def __init__(self, answer: bytes) -> None:
        message = b"\0" + struct.pack(">L", len(answer)) + answer
        self._heads = (len(_HEADERS_OF_ANSWER), len(message), len(_TRAILERS))
        self._parts = (_HEADERS_OF_ANSWER, message, _TRAILERS)
        self._skip = _PREFACE_BYTES
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # of TCP; uvloop's is of no class of asyncio's
        self._transport.write(frame(0x4, 0, 0) + frame(0x8, 0, 0, struct.pack(">L", 2**30)))

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        position, end = self._skip, len(data)
        out: list[bytes] = []
        pack, (first, second, third), (headers, message, trailers) = (
            struct.Struct(">LBL").pack,
            self._heads,
            self._parts,
        )
        while end - position >= 9:
            stop = position + 9 + int.from_bytes(data[position : position + 3], "big")
            if stop > end:
                break
            kind, flags, stream = data[position + 3], data[position + 4], data[position + 5 : position + 9]
            if kind == 0x0 and flags & 0x1:
                number = int.from_bytes(stream, "big")
                out += (
                    pack(first << 8 | 0x1, 0x4, number),
                    headers,
                    pack(second << 8, 0, number),
                    message,
                    pack(third << 8 | 0x1, 0x5, number),
                    trailers,
                )
            elif kind == 0x0:
                raise ValueError("a request in several frames of DATA")
            position = stop
        if position < end and position < self._skip:
            raise ValueError("half a preface")
        self._skip = 0
        self._rest = data[position:]
        # what was taken of the connection's window is given back at once
        taken = end - len(self._rest)
        out.append(frame(0x8, 0, 0, struct.pack(">L", max(taken, 1))))
        self._transport.write(b"".join(out))


async def _canned(answers: Mapping[str, bytes], pauses: Mapping[str, float]) -> None:
    (answer,) = answers.values()
    server = await asyncio.get_running_loop().create_server(lambda: _Canned(answer), "127.0.0.1", 0)
    _tell(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def _tell(port: int) -> None:
    print(f"127.0.0.1:{port}", flush=True)


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floor", description=__doc__)
    parser.add_argument("what", choices=["grpclib", "canned"])
    parser.add_argument("--core", type=int, help="to be kept on (default: any)")
    parser.add_argument(
        "--answer", action="append", default=[], metavar="PATH=HEX", help="a method and what it answers"
    )
    parser.add_argument(
        "--pause",
        action="append",
        default=[],
        metavar="WORD=SECONDS",
        help="before an answer, where the request holds the word",
    )
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    answers = {path: bytes.fromhex(text) for path, _, text in (each.partition("=") for each in options.answer)}
    pauses = {word: float(text) for word, _, text in (each.partition("=") for each in options.pause)}
    serve = {"grpclib": _grpclib, "canned": _canned}[options.what]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(answers, pauses))


if __name__ == "__main__":
    main()
