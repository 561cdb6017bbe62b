"""Header blocks are read as hpack reads them, and ready ones mean the same on every connection."""

from __future__ import annotations

import gc
import secrets
from collections import deque
from functools import lru_cache
from typing import Any

import hpack
import pytest
from hpack.exceptions import HPACKError
from hypothesis import given
from hypothesis import strategies as st

from connectors._wire.status import Status
from connectors._wire.transport import Call, unary
from connectors._wire.transport.header_blocks import AnswerEncoder, RequestDecoder, literal_block
from tests.wire.transport_peers import REQUEST, RawClient, message, raw_client, serving, until

ANSWER = [(b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-status", b"0")]
NAMES = st.sampled_from([b":path", b"te", b"grpc-timeout", b"x", b"content-type", b"n" * 130])
VALUES = st.one_of(st.sampled_from([b"POST", b"trailers", b"9999873u", b"v" * 200]), st.binary(max_size=40))
FIELDS = st.lists(st.tuples(NAMES, VALUES, st.booleans()), max_size=8)
TABLE_SIZES = st.sampled_from([None, 0, 100, 4096])


def read(decoder: hpack.Decoder, block: bytes) -> object:
    """The fields with whether each may be indexed, or that there are none."""
    try:
        fields = decoder.decode(block, raw=True)
    except (HPACKError, IndexError):
        return "malformed"
    return [(*field, not isinstance(field, hpack.NeverIndexedHeaderTuple)) for field in fields]


@given(blocks=st.lists(st.tuples(FIELDS, st.booleans(), TABLE_SIZES), max_size=6))
def test_whatever_an_encoder_writes_is_read_as_hpack_reads_it(
    blocks: list[tuple[list[tuple[bytes, bytes, bool]], bool, int | None]],
) -> None:
    encoder, ours, theirs = hpack.Encoder(), RequestDecoder(), hpack.Decoder()
    for fields, huffman, table_size in blocks:
        if table_size is not None:
            encoder.header_table_size = table_size
        block = encoder.encode(fields, huffman=huffman)
        found = read(ours, block)
        assert found == read(theirs, block)
        assert isinstance(found, list)
        assert [field[:2] for field in found] == [field[:2] for field in fields]
        assert ours.header_table.dynamic_entries == theirs.header_table.dynamic_entries


@given(blocks=st.lists(st.binary(max_size=30), max_size=5))
def test_blocks_without_sense_are_read_or_refused_as_hpack_does(blocks: list[bytes]) -> None:
    ours, theirs = RequestDecoder(), hpack.Decoder()
    for block in blocks:
        answers = read(ours, block), read(theirs, block)
        assert answers[0] == answers[1]
        if "malformed" in answers:
            return
        assert ours.header_table.dynamic_entries == theirs.header_table.dynamic_entries


def test_a_list_of_fields_over_the_limit_is_refused() -> None:
    block = hpack.Encoder().encode([("x", "y" * 100)])
    decoder = RequestDecoder()
    decoder.max_header_list_size = 132
    with pytest.raises(hpack.OversizedHeaderListError):
        decoder.fields(block)
    decoder.max_header_list_size = 133
    assert decoder.fields(block) == [(b"x", b"y" * 100)]


def test_a_ready_block_says_the_same_on_every_connection_and_leaves_its_table_alone() -> None:
    block = literal_block([*ANSWER])
    decoder = hpack.Decoder()
    decoder.decode(hpack.Encoder().encode([("x", "y")]))
    before = list(decoder.header_table.dynamic_entries)
    assert decoder.decode(block, raw=True) == [*ANSWER]
    assert list(decoder.header_table.dynamic_entries) == before


class Watched(bytes):
    """Counts the bytes that are copied out of it."""

    copied = 0

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        if isinstance(found, bytes):
            self.copied += len(found)
        return found


ONE_FIELD = [b"\0\1x\1y", b"\x10\1x\1y", b"\x40\1x\1y", b"\x0f\x01\1y", b"\x7f\x00\0", b"\xff\x00"]


@pytest.mark.parametrize("field", ONE_FIELD)
def test_what_a_block_costs_grows_with_its_length_and_no_faster(field: bytes) -> None:
    block, decoder = Watched(b"\x40\1x\1y" * 100 + field * 1000), RequestDecoder()
    assert len(decoder.fields(block)) == 1100
    assert block.copied < 8 * len(block)


def test_a_table_is_not_resized_without_end() -> None:
    decoder = RequestDecoder()
    assert decoder.fields(b"\x20" * 32 + b"\x82") == [(b":method", b"GET")]
    with pytest.raises(HPACKError):
        decoder.fields(b"\x20" * 33)


def test_a_table_for_answers_is_no_larger_than_at_first_whatever_a_caller_allows() -> None:
    encoder, decoder = AnswerEncoder(), hpack.Decoder()
    for size in (2**32 - 1, 100, 2**32 - 1):
        encoder.header_table_size = size
        fields = [(b"grpc-message", b"%d" % number) for number in range(200)]
        assert decoder.decode(encoder.encode(fields), raw=True) == fields
        assert len(encoder.header_table.dynamic_entries) <= 4096 // 32
    assert encoder.header_table_size == 4096


def test_a_table_size_that_a_caller_repeats_is_announced_all_the_same() -> None:
    encoder, decoder = AnswerEncoder(), hpack.Decoder()
    encoder.header_table_size = decoder.max_allowed_table_size = 100
    encoder.header_table_size = 100
    decoder.decode(encoder.encode(ANSWER))
    assert decoder.header_table_size == 100


_CONTAINERS = (dict, list, tuple, set, frozenset, deque, type(lru_cache(len)))
_PACKAGES = {"connectors", "grpclib", "h2", "hpack", "hyperframe"}


def may_hold(kind: type[object]) -> bool:
    """Whether objects of this kind are looked into: to ask just any object of a C extension, or a frame that runs, what
    it refers to may crash the interpreter.
    """
    return issubclass(kind, _CONTAINERS) or str(kind.__module__).partition(".")[0] in _PACKAGES


def is_held(backwards: str) -> bool:
    """Whether a container, a cache or an object of the server's packages holds a text, which is given backwards so that
    this does not.
    """
    gc.collect()
    queue = [each for each in gc.get_objects() if may_hold(type(each))]
    seen = {id(each) for each in queue}
    encoded = backwards.encode()
    while queue:
        for other in gc.get_referents(queue.pop()):
            kind = type(other)
            if issubclass(kind, str):
                if backwards in other[::-1]:
                    return True
            elif issubclass(kind, bytes | bytearray):
                if encoded in other[::-1]:
                    return True
            elif id(other) not in seen and may_hold(kind):
                seen.add(id(other))
                queue.append(other)
    return False


async def call_with(client: RawClient, name: str, backwards: str, kind: type[hpack.HeaderTuple]) -> None:
    """Calls with one more header, by the Huffman code."""
    client.open(1, [*REQUEST.items(), kind(name, backwards[::-1])])
    client.data(1, message(b"x"), end=True)
    assert (await client.answer(1)).status is Status.OK
    await client.round_trip()


async def echo(_: Call, request: bytes) -> bytes:
    return request


@pytest.mark.anyio
async def test_a_callers_credentials_are_held_by_nothing_once_its_call_is_over() -> None:
    backwards = secrets.token_hex(8)
    async with serving({REQUEST[":path"]: unary(echo)}) as served, raw_client(served) as client:
        await call_with(client, "authorization", backwards, hpack.NeverIndexedHeaderTuple)
        assert not is_held(backwards)


@pytest.mark.anyio
async def test_credentials_that_a_caller_has_put_into_its_connections_table_go_with_the_connection() -> None:
    backwards = secrets.token_hex(8)
    async with serving({REQUEST[":path"]: unary(echo)}) as served:
        async with raw_client(served) as client:
            await call_with(client, "authorization", backwards, hpack.HeaderTuple)
            (session,) = served.server._sessions
            table = session._h2.decoder.header_table.dynamic_entries
            assert b"authorization" in [name for name, _ in table]
        del client, session, table
        await until(lambda: not served.connections)
        assert not is_held(backwards)


@pytest.mark.anyio
async def test_a_timeout_outlives_its_connection() -> None:
    backwards = f"m{10**7 + secrets.randbelow(9 * 10**7)}"
    async with serving({REQUEST[":path"]: unary(echo)}) as served:
        async with raw_client(served) as client:
            await call_with(client, "grpc-timeout", backwards, hpack.NeverIndexedHeaderTuple)
        del client
        await until(lambda: not served.connections)
        assert is_held(backwards)
