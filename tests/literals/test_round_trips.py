"""Every kind of value, through the bytes that really travel, against the callers' own message classes."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import flyteidl.core.literals_pb2
import flyteidl2.task.common_pb2
from hypothesis import given
from hypothesis import strategies as st

from connectors import models
from connectors._literals import (
    inputs,
    literal_map,
    literal_type,
    natives_from_inputs,
    natives_from_literal_map,
    outputs,
    to_native,
)
from connectors._proto.flyteidl import core as core_v1
from connectors._proto.flyteidl2 import task as task_v2
from connectors.models import LiteralType
from tests.literals.protocols import FLYTE_1, FLYTE_2, Protocol
from tests.literals.typed_values import DATETIMES, DURATIONS, INTEGERS, PACKABLE, TEXT, TYPED_VALUES, reference, same

NAMED = st.dictionaries(TEXT, TYPED_VALUES, max_size=4)


@given(typed=TYPED_VALUES)
def test_a_value_of_a_declared_type_is_written_as_the_callers_classes_write_it(protocol: Protocol, typed: Any) -> None:
    expected, value = typed
    assert protocol.theirs(value, expected) == reference(expected, value, protocol)


@given(typed=TYPED_VALUES)
def test_a_literal_that_a_caller_wrote_is_read_as_the_value_it_holds(protocol: Protocol, typed: Any) -> None:
    expected, value = typed
    assert same(to_native(protocol.ours(reference(expected, value, protocol))), value)


@given(
    value=st.recursive(
        st.none() | st.booleans() | INTEGERS | st.floats() | TEXT | DATETIMES | DURATIONS | st.binary(max_size=8),
        lambda inner: st.lists(inner, max_size=4),
    )
)
def test_a_value_without_a_declared_type_comes_back_as_it_was(protocol: Protocol, value: Any) -> None:
    assert same(to_native(protocol.ours(protocol.theirs(value))), value)


@given(value=st.lists(st.dictionaries(TEXT | INTEGERS, PACKABLE, max_size=4), max_size=2))
def test_a_dict_without_a_declared_type_comes_back_as_it_was(protocol: Protocol, value: Any) -> None:
    assert same(to_native(protocol.ours(protocol.theirs(value))), value)


@given(uri=TEXT, size=st.integers(0, 2**64 - 1), inferred=st.none() | st.just(LiteralType("string")))
def test_an_offloaded_literal_comes_back_as_the_reference_it_is(
    protocol: Protocol, uri: str, size: int, inferred: LiteralType | None
) -> None:
    value = models.OffloadedLiteral(uri, size, inferred)
    theirs = protocol.theirs(value, LiteralType("collection", element=LiteralType("string")))
    assert (theirs.offloaded_metadata.uri, theirs.offloaded_metadata.size_bytes) == (uri, size)
    assert to_native(protocol.ours(theirs)) == value


@given(named=NAMED)
def test_flyte_1_reads_our_outputs_from_a_map_and_sends_its_inputs_in_one(named: dict[str, Any]) -> None:
    values = {name: value for name, (_, value) in named.items()}
    sent = bytes(literal_map(values, {name: expected for name, (expected, _) in named.items()}))
    theirs = flyteidl.core.literals_pb2.LiteralMap.FromString(sent)
    assert dict(theirs.literals) == {
        name: reference(expected, value, FLYTE_1) for name, (expected, value) in named.items()
    }
    assert same(natives_from_literal_map(core_v1.LiteralMap.parse(theirs.SerializeToString())), values)


@given(named=NAMED)
def test_flyte_2_reads_our_outputs_from_a_list_in_their_order_and_sends_its_inputs_in_one(
    named: dict[str, Any],
) -> None:
    values = {name: value for name, (_, value) in named.items()}
    types = {name: expected for name, (expected, _) in named.items()}
    theirs = flyteidl2.task.common_pb2.Outputs.FromString(bytes(outputs(values, types)))
    written = [(each.name, each.value) for each in theirs.literals]
    assert written == [(name, reference(expected, value, FLYTE_2)) for name, (expected, value) in named.items()]
    sent = flyteidl2.task.common_pb2.Inputs.FromString(bytes(inputs(values, types)))
    assert list(sent.literals) == list(theirs.literals)
    assert same(natives_from_inputs(task_v2.Inputs.parse(sent.SerializeToString())), values)


@given(typed=TYPED_VALUES, tag=TEXT)
def test_a_union_records_the_variant_with_its_tag(protocol: Protocol, typed: Any, tag: str) -> None:
    variant, value = typed
    tagged = LiteralType(**{**vars(variant), "tag": tag})
    theirs = protocol.theirs(value, LiteralType("union", variants=(tagged,)))
    recorded = protocol.core.LiteralType.parse(theirs.scalar.union.type.SerializeToString())
    assert literal_type(recorded) == tagged


@given(value=st.datetimes(timezones=st.none() | st.timezones()))
def test_a_datetime_is_sent_as_its_instant_and_a_naive_one_as_utc(protocol: Protocol, value: Any) -> None:
    try:
        instant = (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:  # in UTC it lies outside the years 1 to 9999: an error, tested with the times
        return
    assert to_native(protocol.ours(protocol.theirs(value))) == instant
