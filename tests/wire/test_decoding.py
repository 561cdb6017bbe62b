"""Our reader and writer of protobuf against the protobuf runtime, over every message that we have."""

from __future__ import annotations

import enum
import math
import struct
import tracemalloc
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from connectors._literals import natives_from_literal_map
from connectors._messages.decoding import MAX_DEPTH, Malformed, check, parse, payloads
from connectors._messages.encoding import serialise
from connectors._proto.flyteidl import admin, core
from connectors._proto.flyteidl2 import connector, task  # noqa: F401 - its messages are found through the pool
from connectors._proto.flyteidl2 import core as core_v2
from connectors._proto.google.protobuf import Duration, ListValue, Struct, Value
from connectors._proto.grpc import health, reflection  # noqa: F401 - as above
from connectors._proto.message_pool import default_message_pool
from tests.wire.descriptors import OURS, POOL, messages

OUR_CLASSES = {url.partition("/")[2]: kind for url, kind in default_message_pool.url_to_type.items()}
NAMES = [
    name
    for file in OURS.file
    for name, _ in messages(file)
    if name in OUR_CLASSES and not name.startswith("google.protobuf.")
]
names = st.sampled_from(NAMES)
randoms = st.randoms(use_true_random=False)


def runtime(name: str) -> Any:
    """The runtime's class of a message."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))


def fill(message: Any, random: Random, depth: int = 4) -> Any:
    """Gives a message of the runtime random fields."""
    for field in message.DESCRIPTOR.fields:
        if random.random() < 0.5:
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            key, item = field.message_type.fields_by_name["key"], field.message_type.fields_by_name["value"]
            for _ in range(random.randint(0, 2)):
                target = getattr(message, field.name)
                if item.message_type is not None:
                    fill(target[value(key, random)], random, depth - 1)
                else:
                    target[value(key, random)] = value(item, random)
        elif field.message_type is not None:
            if depth and field.is_repeated:
                for _ in range(random.randint(0, 2)):
                    fill(getattr(message, field.name).add(), random, depth - 1)
            elif depth:
                part = getattr(message, field.name)
                part.SetInParent()
                fill(part, random, depth - 1)
        elif field.is_repeated:
            getattr(message, field.name).extend(value(field, random) for _ in range(random.randint(0, 3)))
        else:
            setattr(message, field.name, value(field, random))
    return message


def value(field: FieldDescriptor, random: Random) -> Any:
    bits = {
        FieldDescriptor.TYPE_INT32: (-(1 << 31), (1 << 31) - 1),
        FieldDescriptor.TYPE_INT64: (-(1 << 63), (1 << 63) - 1),
        FieldDescriptor.TYPE_UINT32: (0, (1 << 32) - 1),
        FieldDescriptor.TYPE_UINT64: (0, (1 << 64) - 1),
        FieldDescriptor.TYPE_ENUM: (-3, 700),
    }
    if field.type in bits:
        low, high = bits[field.type]
        return random.choice([0, 1, low, high, random.randint(low, high)])
    if field.type == FieldDescriptor.TYPE_BOOL:
        return random.choice([True, False])
    if field.type == FieldDescriptor.TYPE_STRING:
        return random.choice(["", "a", "ö€😀", "x" * 200])
    if field.type == FieldDescriptor.TYPE_BYTES:
        return random.choice([b"", b"\xff\x00", b"y" * 300])
    assert field.type == FieldDescriptor.TYPE_DOUBLE, field.full_name
    return random.choice([0.0, -0.0, 1.5, -math.inf, 1e300, random.random()])


def test_every_message_is_compared() -> None:
    assert len(NAMES) > 180


@given(names, randoms)
def test_what_the_runtime_writes_is_read_and_written_back_the_same(name: str, random: Random) -> None:
    message = fill(runtime(name)(), random)
    ours = parse(OUR_CLASSES[name], message.SerializeToString())
    assert runtime(name).FromString(serialise(ours)) == message


@given(names, randoms)
def test_betterproto2_writes_the_same_message(name: str, random: Random) -> None:
    message = fill(runtime(name)(), random)
    ours = parse(OUR_CLASSES[name], message.SerializeToString(deterministic=True))
    assert parse(OUR_CLASSES[name], bytes(ours)) == ours


@given(names, randoms)
def test_two_messages_in_a_row_are_merged_as_the_runtime_does(name: str, random: Random) -> None:
    data = b"".join(fill(runtime(name)(), random).SerializeToString() for _ in range(2))
    ours = parse(OUR_CLASSES[name], data)
    assert runtime(name).FromString(serialise(ours)) == runtime(name).FromString(data)


@given(names, randoms, st.binary(max_size=6), st.floats(0, 1), st.integers(0, 6))
def test_damaged_bytes_are_refused_where_the_runtime_refuses_and_read_the_same_where_we_do_not(
    name: str, random: Random, noise: bytes, place: float, removed: int
) -> None:
    data = fill(runtime(name)(), random, depth=2).SerializeToString()
    start = int(place * len(data))
    damaged = data[:start] + noise + data[start + removed :]
    try:
        ours = parse(OUR_CLASSES[name], damaged)
    except Malformed:
        with pytest.raises(Malformed):
            check(OUR_CLASSES[name], damaged)
        return
    check(OUR_CLASSES[name], damaged)
    theirs = runtime(name).FromString(damaged)  # DecodeError here: we took what the runtime refuses
    again = runtime(name).FromString(serialise(ours))
    theirs.DiscardUnknownFields()
    again.DiscardUnknownFields()
    assert str(again) == str(theirs)  # as text: NaN is not equal to itself


@given(st.binary(max_size=40))
def test_no_bytes_raise_anything_but_malformed(data: bytes) -> None:
    for kind in (admin.CreateTaskRequest, core.LiteralMap, Struct):
        try:
            parse(kind, data)
        except Malformed:
            with pytest.raises(Malformed):
                check(kind, data)
        else:
            check(kind, data)


@given(names, randoms)
def test_a_cut_message_is_refused_or_shorter_by_whole_fields(name: str, random: Random) -> None:
    data = fill(runtime(name)(), random, depth=2).SerializeToString()
    whole = {0}
    for _, _, field in payloads(data):
        whole.add(max(whole) + len(field))
    for end in range(len(data)):
        if end in whole:
            parse(OUR_CLASSES[name], data[:end])
        else:
            with pytest.raises(Malformed):
                parse(OUR_CLASSES[name], data[:end])


def nested(depth: int) -> bytes:
    """A Value that holds a list that holds a Value …: as many messages inside each other as ``depth``, and one."""
    data = b""
    for level in range(depth):
        data = (b"\x32" if level % 2 else b"\x0a") + _length(data) + data
    return data


def _length(data: bytes) -> bytes:
    size = len(data)
    return bytes([size]) if size < 0x80 else bytes([size & 0x7F | 0x80, size >> 7])


@pytest.mark.parametrize("depth", [1, 2, MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, MAX_DEPTH + 50])
def test_messages_may_be_nested_as_deep_as_the_runtime_allows(depth: int) -> None:
    # written from the inside out, so the outermost is a list where the depth is odd
    kind, name = (ListValue, "google.protobuf.ListValue") if depth % 2 else (Value, "google.protobuf.Value")
    data = nested(depth)
    try:
        runtime(name).FromString(data)
        allowed = True
    except DecodeError:
        allowed = False
    assert allowed == (depth <= MAX_DEPTH)
    if allowed:
        assert serialise(parse(kind, data)) == data
    else:
        with pytest.raises(Malformed, match="nested more than 100"):
            parse(kind, data)


@pytest.mark.parametrize("data", [b"\x0a\x05ab", b"\x0a", b"\x80", b"\x0a\x80"])
def test_the_error_of_cut_bytes_says_so_and_names_the_message(data: bytes) -> None:
    with pytest.raises(Malformed, match=r"no flyteidl\.admin\.GetTaskRequest: they end in the middle of a field"):
        parse(admin.GetTaskRequest, data)


def test_a_known_field_of_another_wire_type_is_refused() -> None:
    with pytest.raises(Malformed, match="field 2 is of another type"):
        parse(admin.GetTaskRequest, b"\x10\x01")


@pytest.mark.parametrize(("first", "last"), [(b"\x10\x01", b"\x1a\x01x"), (b"\x1a\x01x", b"\x10\x01")])
def test_of_two_members_of_a_oneof_the_last_one_stays(first: bytes, last: bytes) -> None:
    # partition_size_value: `unpartitioned` has number 2, `partition_size` 3
    message = parse(core.GpuAccelerator, first + last)
    assert [message.unpartitioned, message.partition_size].count(None) == 1
    assert serialise(message) == last


@pytest.mark.parametrize("data", [b"\x8a\x80\x80\x80\x80\x00\x01a", b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"])
def test_a_field_number_in_more_bytes_than_it_can_take_is_refused(data: bytes) -> None:
    for read in (parse, check):
        with pytest.raises(Malformed, match=r"flyteidl\.admin\.GetAgentRequest"):
            read(admin.GetAgentRequest, data)


def test_a_field_that_a_later_release_added_is_read_over() -> None:
    data = b"\xa2\x06\x03new" + serialise(admin.GetAgentRequest(name="a"))
    assert parse(admin.GetAgentRequest, data) == admin.GetAgentRequest(name="a")


def peak_bytes(work: Callable[[], object]) -> int:
    """The most memory that the work held at once beyond what there was before it; the least of three times, as what
    other threads of the tests' process allocate meanwhile is counted as well.
    """
    return min(_peak_bytes_once(work) for _ in range(3))


def _peak_bytes_once(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("read", [parse, check])
def test_fields_that_are_read_over_leave_nothing_behind_however_many_they_are(read: Callable[..., object]) -> None:
    data = b"\xf8\x07\x01" * 20_000
    read(admin.GetAgentRequest, b"")
    assert peak_bytes(lambda: read(admin.GetAgentRequest, data)) < 10_000


STREAMED = frozenset({core.LiteralMap, core.LiteralCollection, core_v2.LiteralMap, task.Inputs, Struct, ListValue})


def held(value: Any) -> Any:
    """The value with its streams gone through, as lists and dicts."""
    if hasattr(value, "items"):
        return {key: held(item) for key, item in value.items()}
    if hasattr(value, "__iter__") and not isinstance(value, str | bytes):
        return [held(item) for item in value]
    if hasattr(value, "__dict__") and not isinstance(value, enum.Enum):
        for name, part in vars(value).items():
            vars(value)[name] = held(part)
    return value


@given(st.sampled_from(["flyteidl.core.LiteralMap", "flyteidl2.task.Inputs", "flyteidl.core.TaskTemplate"]), randoms)
def test_a_stream_gives_the_elements_that_are_held_without_it(name: str, random: Random) -> None:
    data = b"".join(fill(runtime(name)(), random, depth=6).SerializeToString() for _ in range(2))
    assert held(parse(OUR_CLASSES[name], data, streamed=STREAMED)) == parse(OUR_CLASSES[name], data)


def test_a_stream_may_be_gone_through_again_and_knows_its_length() -> None:
    data = serialise(core.LiteralCollection(literals=[core.Literal(hash="a"), core.Literal(hash="b")]))
    stream = parse(core.LiteralCollection, data + data, streamed=STREAMED).literals
    assert [[each.hash for each in stream] for _ in range(2)] == [["a", "b", "a", "b"]] * 2
    assert len(stream) == 4


def test_a_stream_holds_one_element_at_a_time() -> None:
    true = core.Literal(scalar=core.Scalar(primitive=core.Primitive(boolean=True)))
    many = core.Literal(collection=core.LiteralCollection(literals=[true] * 20_000))
    data = serialise(core.LiteralMap(literals={"a": many}))
    natives_from_literal_map(parse(core.LiteralMap, b"", streamed=STREAMED))

    def work() -> None:
        natives = natives_from_literal_map(parse(core.LiteralMap, data, streamed=STREAMED))
        assert natives == {"a": [True] * 20_000}

    assert peak_bytes(work) < 1_000_000  # two lists of 20,000 references, and a slice of the bytes at the most


def test_numbers_that_their_field_cannot_hold_are_not_written() -> None:
    with pytest.raises(ValueError, match="seconds"):
        serialise(Duration(seconds=1 << 63))
    with pytest.raises(ValueError, match="version"):
        serialise(admin.TaskCategory(version=1 << 31))


@pytest.mark.parametrize("number", [math.nan, -0.0, 5e-324, -math.inf])
def test_doubles_are_written_bit_by_bit(number: float) -> None:
    data = serialise(core.Primitive(float_value=number))
    assert data == b"\x11" + struct.pack("<d", number)
    read = parse(core.Primitive, data).float_value
    assert read is not None
    assert struct.pack("<d", read) == struct.pack("<d", number)
