from __future__ import annotations

import gzip
import tracemalloc
from contextlib import suppress
from itertools import pairwise
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors._wire.status import Status, StatusError
from connectors._wire.transport.framing import MessageReader, prefix
from connectors._wire.transport.limits import Limits
from connectors._wire.transport.outbound import MAX_STATUS_MESSAGE_BYTES, encode_status_message
from connectors._wire.transport.refusal import Reason, Refusal
from connectors._wire.transport.request import read_metadata, read_timeout
from tests.wire.transport_peers import message


@given(payloads=st.lists(st.binary(max_size=300), max_size=8), cuts=st.lists(st.integers(0, 2500), max_size=20))
def test_messages_come_out_whole_wherever_the_data_was_cut(payloads: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(message(payload) for payload in payloads)
    edges = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    reader = MessageReader(300)
    out = [found for start, end in pairwise(edges) for found in reader.feed(wire[start:end])]
    reader.end()
    assert out == payloads


@given(payload=st.binary(max_size=2000))
def test_a_gzip_message_comes_out_decompressed(payload: bytes) -> None:
    assert MessageReader(2000, "gzip").feed(message(gzip.compress(payload), 1)) == [payload]


@given(payload=st.binary(max_size=200))
def test_a_frame_is_read_back_as_its_message(payload: bytes) -> None:
    assert MessageReader(200).feed(prefix(payload) + payload) == [payload]


@given(data=st.binary(max_size=400), encoding=st.sampled_from(["identity", "gzip"]))
def test_garbage_is_read_or_refused_and_nothing_else(data: bytes, encoding: str) -> None:
    reader = MessageReader(100, encoding)
    found: list[bytes] = []
    with suppress(Refusal):
        found = reader.feed(data)
        reader.end()
    assert all(len(payload) <= 100 for payload in found)


def test_a_message_of_exactly_the_limit_is_taken() -> None:
    assert MessageReader(10).feed(message(b"x" * 10)) == [b"x" * 10]


def test_a_length_over_the_limit_is_refused_at_its_prefix() -> None:
    with pytest.raises(Refusal, match="the message is 11 bytes, the limit is 10"):
        MessageReader(10).feed(message(b"x" * 11)[:5])


def test_a_small_message_that_expands_to_a_huge_one_costs_no_more_memory_than_the_limit() -> None:
    bomb = message(gzip.compress(bytes(64 * 1024 * 1024)), 1)
    reader = MessageReader(100_000, "gzip")
    tracemalloc.start()
    try:
        with pytest.raises(Refusal, match="over the limit of 100000 bytes once decompressed"):
            reader.feed(bomb)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_message_cut_at_any_byte_is_refused_at_the_end() -> None:
    wire = message(b"four")
    for size in range(1, len(wire)):
        reader = MessageReader(10)
        reader.feed(wire[:size])
        with pytest.raises(Refusal) as refused:
            reader.end()
        assert refused.value.reason is Reason.TRUNCATED


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"2H", 7200), (b"3M", 180), (b"10S", 10), (b"250m", 0.25), (b"5u", 5e-6), (b"0n", 0), (b"99999999S", 99999999)],
)
def test_a_timeout_is_read_in_seconds(value: bytes, seconds: float) -> None:
    assert read_timeout(value) == pytest.approx(seconds)


@pytest.mark.parametrize("value", [b"", b"10", b"S", b"-1S", b"1.5S", b"10s", b"100000000S", b"1S ", b"\xff1S"])
def test_a_malformed_timeout_is_refused(value: bytes) -> None:
    with pytest.raises(Refusal, match="grpc-timeout"):
        read_timeout(value)


def test_metadata_is_lower_case_and_repeated_names_are_joined() -> None:
    headers = [(b"a", b"1"), (b"A", b"2"), (b":path", b"/x"), (b"grpc-timeout", b"1S"), (b"te", b"trailers")]
    assert read_metadata(headers) == ({"a": "1,2"}, frozenset())


def test_metadata_that_is_not_printable_ascii_is_left_out_and_named() -> None:
    headers = [(b"good", b"yes"), (b"Bad", b"\xc3\xa9"), (b"worse", b"a\nb"), (b"x-bin", b"\0"), (b":path", b"\xff")]
    assert read_metadata(headers) == ({"good": "yes"}, frozenset({"bad", "worse"}))


@given(text=st.text(max_size=6000))
def test_a_status_message_is_printable_ascii_bounded_and_reads_back_as_its_beginning(text: str) -> None:
    encoded = encode_status_message(text)
    assert len(encoded) <= MAX_STATUS_MESSAGE_BYTES
    assert all(0x20 <= byte < 0x7F for byte in encoded)
    assert text.startswith(unquote(encoded.decode("ascii"), errors="strict"))


def test_a_status_message_with_a_lone_surrogate_is_sent_all_the_same() -> None:
    assert encode_status_message("a\ud800b") == b"a?b"


@pytest.mark.parametrize("limits", [{"max_message_bytes": 0}, {"max_connections": -1}, {"max_concurrent_streams": 0}])
def test_a_limit_that_lets_nothing_in_is_an_error(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        Limits(**limits)


def test_a_status_error_cannot_be_ok() -> None:
    with pytest.raises(ValueError, match="other than OK"):
        StatusError(Status.OK, "fine")
