"""What strangers may do to a server. Each attack is bounded in count and time, and random ones have a seed."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial

from tests.hostile.peers import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GREETING,
    HEADERS,
    PATIENCE_S,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    blocks,
    call,
    frame,
    message,
    peer,
    together,
)

__all__ = ["ATTACKS", "ATTACKS_ON_TLS", "SEED", "Place", "floods", "idle", "other_protocols", "rapid_resets"]

Place = tuple[str, int]

SEED = int(os.environ.get("HOSTILE_SEED") or random.SystemRandom().randrange(2**32))
"""Another one in each run, so that each tries other bytes; a run that failed is repeated by giving its seed."""

CHECK, LIST = "/grpc.health.v1.Health/Check", "/flyteidl.service.AgentMetadataService/ListAgents"
REFLECT = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
DO, UNKNOWN = "/flyteidl.service.SyncAgentService/ExecuteTaskSync", "/no.Such/Method"
_SYMBOL = b"flyteidl.service.AgentMetadataService"
_ALL_FILES_OF = message(b"\x22" + bytes([len(_SYMBOL)]) + _SYMBOL)  # file_containing_symbol
_THEIR_BYTES = 20_000
"""The answer has more: the descriptors of nine files."""
_FIRST, _NEXT = blocks(CHECK)
_TALK = GREETING + call(1, _FIRST, message(b"")) + call(3, _NEXT, message(b"")) + frame(PING, b"12345678")


async def cut_frames(place: Place) -> None:
    """A conversation that ends at every byte: half of the time by a reset."""

    async def end_at(length: int) -> None:
        async with peer(place, _TALK[:length]) as attacker:
            if length % 2:
                attacker.reset()

    await together([partial(end_at, length) for length in range(len(_TALK))], 50)


async def oversized_frames(place: Place) -> None:
    """Frames of each kind that say they are larger than allowed, by one byte and by all that can be said."""

    async def send(kind: int, size: int) -> None:
        head = size.to_bytes(3, "big") + bytes([kind, 0]) + (1).to_bytes(4, "big")
        async with peer(place, GREETING + head) as attacker:
            await attacker.pour(b"x" * 65_536, 20)
            await attacker.read()

    await together([partial(send, kind, size) for kind in range(12) for size in (16_385, 2**24 - 1)], 12)


async def bad_header_blocks(place: Place) -> None:
    """Compressed headers that cannot be: numbers without end, tables that are not there, a small block that stands for
    a large list, and large blocks that stand for nothing.
    """
    rng = random.Random(SEED)
    bomb = b"\x40\x01a" + b"\x7f\x81\x1e" + b"x" * 4000 + b"\xbe" * 12_000  # one entry of the table, 12,000 times
    bad = [
        b"\xff" * 30,
        b"\x80",
        b"\xfe\xff\xff\xff\x0f",
        b"\x3f\xff\xff\xff\xff\x0f",
        b"\x40\x7f\xff\xff\xff\x7f",
        bomb,
    ]
    bad += [rng.randbytes(rng.randrange(1, 400)) for _ in range(200)]

    async def send(block: bytes) -> None:
        async with peer(place, GREETING + frame(HEADERS, block[:16_384], stream=1, flags=END_HEADERS)) as attacker:
            await attacker.write(frame(HEADERS, block[:16_384], stream=3, flags=END_HEADERS) + PREFACE)
            await attacker.read()

    async def send_long(block: bytes) -> None:
        first, *others = [block[start : start + 16_384] for start in range(0, len(block), 16_384)]
        frames = [frame(HEADERS, first, stream=1), *(frame(CONTINUATION, each, stream=1) for each in others)]
        async with peer(place, GREETING + b"".join(frames[:4])) as attacker:
            await attacker.write(b"".join(frames[4:]) + frame(CONTINUATION, stream=1, flags=END_HEADERS))
            await attacker.read()

    await together([partial(send, block) for block in bad], 20)
    # A megabyte of it, where each byte asks for work and none is a field; and many small fields before much else.
    long = [b"\x20" * 1_000_000, b"\0\0\0" * 2000 + b"\0" * 900_000, b"\x20" * 65_000, b"\0\0\0" * 21_000]
    await together([partial(send_long, block) for block in long * 2], 4)


async def flow_control(place: Place) -> None:
    """Windows that are overrun, overflow, or shrink below nothing while answers wait for them."""
    many = b"".join(call(2 * each + 1, _NEXT if each else _FIRST, message(b"")) for each in range(200))
    first, _ = blocks(DO)
    talks = [
        GREETING + call(1, first) + frame(DATA, b"\0\0\x3f\xff\xff" + b"x" * 16_000, stream=1),
        GREETING + frame(WINDOW_UPDATE, (2**31 - 1).to_bytes(4, "big")) * 3,
        GREETING + call(1, first) + frame(WINDOW_UPDATE, (2**31 - 1).to_bytes(4, "big"), stream=1) * 3,
        GREETING + frame(WINDOW_UPDATE, bytes(4)),
        GREETING + call(1, first) + frame(WINDOW_UPDATE, bytes(4), stream=1),
        PREFACE + frame(SETTINGS, b"\0\4" + bytes(4)) + many,
        PREFACE
        + frame(SETTINGS, b"\0\4" + bytes(4))
        + many
        + frame(SETTINGS, b"\0\4\x7f\xff\xff\xff")
        + frame(SETTINGS),
        PREFACE + (frame(SETTINGS, b"\0\4\x7f\xff\xff\xff") + frame(SETTINGS, b"\0\4" + bytes(4))) * 20 + many,
    ]

    async def send(talk: bytes) -> None:
        async with peer(place, talk) as attacker:
            await attacker.pour(frame(DATA, b"x" * 16_384, stream=1), 1200)  # more than the connection's window
            await asyncio.sleep(0.2)

    await together([partial(send, talk) for talk in talks], 4)


async def slow_writers(place: Place) -> None:
    """Requests that stop in the middle of a message, on many connections."""
    first, following = blocks(DO)
    part = message(b"x" * 5000)[:3000]
    begun = b"".join(
        call(2 * each + 1, following if each else first) + frame(DATA, part, stream=2 * each + 1) for each in range(10)
    )

    async def send(number: int) -> None:
        async with peer(place, GREETING + begun) as attacker:
            await asyncio.sleep(1)
            if number % 2:
                attacker.reset()

    await together([partial(send, number) for number in range(200)], 200)


async def slow_readers(place: Place) -> None:
    """Answers that nobody takes: without window, and with all the window there is but a socket that is not read."""
    first, following = blocks(LIST)
    listing = b"".join(call(2 * each + 1, following if each else first, message(b"")) for each in range(300))
    shut = PREFACE + frame(SETTINGS, b"\0\4" + bytes(4))
    open_ = PREFACE + frame(SETTINGS, b"\0\4\x7f\xff\xff\xff") + frame(WINDOW_UPDATE, (2**30).to_bytes(4, "big"))
    reflect, _ = blocks(REFLECT)
    asked = frame(DATA, _ALL_FILES_OF, stream=1) * 100

    async def without_window() -> None:
        async with peer(place, shut + listing):
            await asyncio.sleep(2)

    async def without_reading() -> None:
        async with peer(place, open_ + call(1, reflect)) as attacker:
            attacker.deafen()
            await attacker.pour(asked, 20)
            await asyncio.sleep(2)
            assert attacker.unread() > 3 * _THEIR_BYTES

    async with peer(place, open_ + call(1, reflect, _ALL_FILES_OF)) as reader:
        assert await reader.answer() > _THEIR_BYTES
    await together([*[without_window] * 20, *[without_reading] * 20], 40)


async def rapid_resets(place: Place) -> None:
    """Streams that are reset as soon as they are opened (CVE-2023-44487), by clients that come again."""
    cancel = (8).to_bytes(4, "big")

    def pairs(first: int, count: int) -> bytes:
        streams = range(2 * first + 1, 2 * (first + count) + 1, 2)
        return b"".join(
            call(each, _FIRST if each == 1 else _NEXT) + frame(RST_STREAM, cancel, stream=each) for each in streams
        )

    parts = [pairs(at, 500) for at in range(0, 5000, 500)]

    async def send() -> None:
        async with peer(place) as attacker:
            for part in parts:
                await attacker.pour(part, 1)
            await attacker.read()

    await together([send] * 6, 3)


async def floods(place: Place) -> None:
    """Each frame that costs its sender nothing, over and over."""
    open_ = call(1, blocks(DO)[0])
    kinds = [
        frame(PING, b"12345678"),
        frame(PING, b"12345678", flags=1),
        frame(SETTINGS),
        frame(SETTINGS, flags=1),
        frame(SETTINGS, b"".join(each.to_bytes(2, "big") + b"\0\0\0\1" for each in range(0x1000, 0x1040))),
        frame(PRIORITY, bytes(4) + b"\1", stream=1),
        frame(WINDOW_UPDATE, (1).to_bytes(4, "big")),
        frame(WINDOW_UPDATE, (1).to_bytes(4, "big"), stream=1),
        frame(DATA, stream=1),
        frame(0xFA),
        frame(0x10, bytes(4) + b"u=0"),
        frame(RST_STREAM, bytes(4), stream=99),
    ]
    continued = [(frame(HEADERS, stream=3), frame(CONTINUATION, stream=3)), (open_, frame(CONTINUATION, stream=3))]

    async def send(before: bytes, each: bytes) -> None:
        async with peer(place, GREETING + before) as attacker:
            await attacker.pour(each * 1000, 20)
            await attacker.read()

    # Answered and reset before it is whole: what opens and ends a stream comes too late.
    unknown = frame(HEADERS, blocks(UNKNOWN)[0], stream=1, flags=END_HEADERS)
    late = [(unknown, frame(DATA, stream=1, flags=END_STREAM)), (unknown, frame(HEADERS, stream=1, flags=END_HEADERS))]
    all_ = [*[(open_, kind) for kind in kinds], *continued, *late]
    await together([partial(send, before, each) for before, each in all_ * 2], 6)


async def calls_without_end(place: Place) -> None:
    """As many calls as a connection takes, to methods that are there and to one that is not, from several at once."""

    async def send(path: str) -> None:
        first, following = blocks(path)
        async with peer(place) as attacker:
            reading = asyncio.ensure_future(attacker.read())
            for at in range(0, 4000, 200):
                streams = range(2 * at + 1, 2 * (at + 200) + 1, 2)
                await attacker.pour(
                    b"".join(call(each, first if each == 1 else following, message(b"")) for each in streams), 1
                )
                await asyncio.sleep(0.02)
            reading.cancel()

    await together([partial(send, path) for path in (CHECK, UNKNOWN, LIST, UNKNOWN)], 4)


async def other_protocols(place: Place) -> None:
    """HTTP/1.1, TLS, and nothing at all."""
    texts = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"x" * 500,
        b"",
    ]

    async def send(text: bytes) -> None:
        async with peer(place, text) as attacker:
            if text:
                await attacker.read()

    await together([partial(send, text) for text in texts * 60], 180)


async def random_bytes(place: Place) -> None:
    """Bytes without sense; and a conversation with sense, of which some are turned."""
    rng = random.Random(SEED)

    def spoiled() -> bytes:
        talk = bytearray(_TALK)
        for _ in range(rng.randrange(1, 8)):
            talk[rng.randrange(len(PREFACE) * rng.randrange(2), len(talk))] = rng.randrange(256)
        return bytes(talk)

    def framed() -> bytes:
        kinds = (rng.choice((*range(10), rng.randrange(256))) for _ in range(rng.randrange(1, 30)))
        streams = (0, 1, 1, 3, 5, 2, 2**31 - 1)
        return GREETING + b"".join(
            frame(kind, rng.randbytes(rng.randrange(20)), stream=rng.choice(streams), flags=rng.randrange(256))
            for kind in kinds
        )

    made: list[Callable[[], bytes]] = [lambda: rng.randbytes(rng.randrange(2000)), spoiled, framed]
    made.append(lambda: GREETING + rng.randbytes(rng.randrange(2000)))

    async def send(data: bytes) -> None:
        async with peer(place, data):
            await asyncio.sleep(0.05)

    await together([partial(send, made[number % len(made)]()) for number in range(1600)], 60)


async def comings_and_goings(place: Place) -> None:
    """Clients that connect and leave."""

    async def send() -> None:
        async with peer(place):
            pass

    await together([send] * 1500, 100)


async def handshakes(place: Place) -> None:
    """The beginning of TLS: cut at any byte, spoiled, said again, kept waiting, and done with nothing behind it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    said = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), said).do_handshake()
    hello = said.read()
    rng = random.Random(SEED)

    def spoiled() -> bytes:
        turned = bytearray(hello)
        turned[rng.randrange(len(turned))] = rng.randrange(256)
        return bytes(turned)

    async def send(data: bytes) -> None:
        async with peer(place, data):
            await asyncio.sleep(0.05)

    async def wait() -> None:
        async with peer(place, hello[:-1]):
            await asyncio.sleep(1.5)

    def shake_hands_and_leave() -> None:
        with suppress(OSError), socket.create_connection(place, PATIENCE_S) as plain, context.wrap_socket(plain):
            pass

    async def finish() -> None:
        await asyncio.to_thread(shake_hands_and_leave)

    cut = [partial(send, hello[:length]) for length in range(0, len(hello), 3)]
    await together([*cut, *(partial(send, spoiled()) for _ in range(200)), *[partial(send, hello * 20)] * 20], 50)
    await together([*[wait] * 300, *[finish] * 200], 350)


async def idle(place: Place, count: int, meanwhile: Callable[[], Awaitable[None]]) -> None:
    """So many clients that are connected and say no more."""
    async with AsyncExitStack() as stack:
        turns = asyncio.Semaphore(200)

        async def connect() -> None:
            async with turns:
                await stack.enter_async_context(peer(place))

        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(connect())
        await meanwhile()


ATTACKS: list[Callable[[Place], Awaitable[None]]] = [
    cut_frames,
    oversized_frames,
    bad_header_blocks,
    flow_control,
    slow_writers,
    slow_readers,
    rapid_resets,
    floods,
    calls_without_end,
    other_protocols,
    random_bytes,
    comings_and_goings,
]
ATTACKS_ON_TLS = [handshakes, other_protocols, random_bytes, comings_and_goings, cut_frames]
