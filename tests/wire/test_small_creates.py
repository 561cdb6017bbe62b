"""Small creates are decoded late and by short ways, to what the general way makes of them."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import InvalidRequest
from connectors._literals import literal_map, literal_type, natives_from_inputs, natives_from_literal_map
from connectors._messages.decoding import Malformed, parse
from connectors._messages.encoding import serialise
from connectors._messages.executions import read_execution_metadata
from connectors._messages.late_parts import LateParts
from connectors._messages.plain_inputs import plain_inputs
from connectors._messages.templates import read_template, write_template
from connectors._proto.flyteidl import admin
from connectors._proto.flyteidl import core as core_v1
from connectors._proto.flyteidl2 import connector, task
from connectors._proto.flyteidl2 import core as core_v2
from connectors._proto.google.protobuf import Duration
from connectors.models import Identifier, Interface, TaskMetadata, TaskTemplate
from tests.wire.test_decoding import fill, randoms, runtime

PROTOCOLS = {"flyteidl": (core_v1, admin, LateParts(core_v1, admin))}
PROTOCOLS["flyteidl2"] = (core_v2, connector, LateParts(core_v2, connector))
protocols = st.sampled_from(sorted(PROTOCOLS))
INPUTS: dict[str, tuple[type[Any], Any]] = {
    "flyteidl.core.LiteralMap": (core_v1.LiteralMap, natives_from_literal_map),
    "flyteidl2.task.Inputs": (task.Inputs, natives_from_inputs),
}
text = core_v1.LiteralType(simple=core_v1.SimpleType.STRING)
TASK = TaskTemplate(
    type="acme",
    id=Identifier(project="p", name="n", resource_type="TASK"),
    interface=Interface({"day": literal_type(text)}, {}),
    metadata=TaskMetadata(retries=3, tags={"a": "b"}),
)


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes, or what is left of them after a fault on the way."""
    if not data or draw(st.booleans()):
        return data
    place = draw(st.integers(0, len(data) - 1))
    return (
        data[:place]
        + draw(st.sampled_from([b"", bytes([draw(st.integers(0, 255))]), b"\xff" * 11]))
        + data[place + 1 :]
    )


def outcome(read: Any) -> Any:
    """What comes of it, errors as well; their text, too, but for the name of the whole."""
    try:
        value = read()
    except (Malformed, InvalidRequest) as error:
        return type(error), str(error)
    return repr(value)  # as NaN is not itself


def late_template(data: bytes, parts: LateParts) -> TaskTemplate:
    return parts.read_template(parts.parse_template(data))


@given(protocols, randoms, st.integers(1, 3), st.data())
def test_a_template_is_what_the_general_way_makes_of_it(
    name: str, random: Any, pieces: int, data: st.DataObject
) -> None:
    core, calls, parts = PROTOCOLS[name]
    kind = runtime(f"{name}.core.TaskTemplate")
    sent = b"".join(fill(kind(), random, depth=3).SerializeToString() for _ in range(pieces))
    sent = data.draw(damaged(sent))
    expected = outcome(lambda: read_template(parse(core.TaskTemplate, sent, part_of=calls.CreateTaskRequest)))
    for _ in range(2):  # the second time its parts are known
        assert outcome(lambda: late_template(sent, parts)) == expected


@given(protocols, randoms, st.integers(1, 3), st.data())
def test_an_executions_metadata_is_what_the_general_way_makes_of_it(
    name: str, random: Any, pieces: int, data: st.DataObject
) -> None:
    _, calls, parts = PROTOCOLS[name]
    package = "flyteidl.admin" if name == "flyteidl" else "flyteidl2.connector"
    kind = runtime(f"{package}.TaskExecutionMetadata")
    sent = b"".join(fill(kind(), random, depth=4).SerializeToString() for _ in range(pieces))
    sent = data.draw(damaged(sent))

    def general() -> Any:
        return read_execution_metadata(parse(calls.TaskExecutionMetadata, sent, part_of=calls.CreateTaskRequest))

    for _ in range(2):
        assert outcome(lambda: parts.read_execution_metadata(sent)) == outcome(general)


def agrees(name: str, sent: bytes) -> Mapping[str, Any] | None:
    """What the short way makes of inputs, which is what the general way makes of them, or nothing."""
    cls, natives = INPUTS[name]
    plain = plain_inputs(sent)
    if plain is not None:
        assert repr(plain) == outcome(lambda: natives(parse(cls, sent)))
    return plain


@given(st.sampled_from(sorted(INPUTS)), randoms, st.integers(1, 3), st.data())
def test_inputs_read_the_short_way_are_what_the_general_way_makes_of_them(
    name: str, random: Any, pieces: int, data: st.DataObject
) -> None:
    sent = b"".join(fill(runtime(name)(), random, depth=6).SerializeToString() for _ in range(pieces))
    agrees(name, data.draw(damaged(sent)))


plain_values = st.one_of(
    st.text(), st.text(min_size=130, max_size=140), st.integers(-(2**63), 2**63 - 1), st.floats(), st.booleans()
)


@given(
    st.sampled_from(sorted(INPUTS)),
    st.dictionaries(st.text(min_size=1, max_size=31), plain_values, max_size=4),
    st.data(),
)
def test_plain_inputs_take_the_short_way(name: str, values: dict[str, Any], data: st.DataObject) -> None:
    sent = serialise(literal_map(values))
    assert repr(agrees(name, sent)) == repr(values)
    agrees(name, data.draw(damaged(sent)))


@pytest.mark.parametrize("name", sorted(INPUTS))
def test_an_input_that_comes_twice_is_left_to_the_general_way(name: str) -> None:
    assert plain_inputs(serialise(literal_map({"a": 1})) * 2) is None


def template_bytes(task_: TaskTemplate = TASK, core: ModuleType = core_v1) -> bytes:
    return serialise(write_template(task_, core))


def known_template() -> TaskTemplate:
    """A template of which nothing but the outermost fields was decoded."""
    parts = LateParts(core_v1, admin)
    late_template(template_bytes(), parts)
    return late_template(template_bytes(), parts)


def test_a_known_interface_is_decoded_when_it_is_asked_for() -> None:
    task_ = known_template()
    assert "interface" not in vars(task_)
    assert task_.interface == TASK.interface
    assert task_.interface is task_.interface


def test_each_request_has_an_interface_of_its_own() -> None:
    parts = LateParts(core_v1, admin)
    first, second, third = (late_template(template_bytes(), parts) for _ in range(3))
    assert isinstance(first.interface.inputs, dict)
    first.interface.inputs.clear()
    assert second.interface == third.interface == TASK.interface


def test_the_same_identifier_is_one_object() -> None:
    parts = LateParts(core_v1, admin)
    assert late_template(template_bytes(), parts).id is late_template(template_bytes(), parts).id


def test_a_late_template_equals_a_plain_one_both_ways() -> None:
    assert known_template() == TASK
    assert TASK == known_template()  # noqa: SIM300
    assert known_template() == known_template()
    assert known_template() != replace(TASK, interface=Interface())
    assert replace(TASK, metadata=TaskMetadata()) != known_template()
    assert known_template() != object()


def test_a_late_template_looks_like_a_plain_one() -> None:
    assert repr(known_template()) == repr(TASK)


def test_a_late_templates_class_can_be_looked_through() -> None:
    names = [name for name, _ in inspect.getmembers(type(known_template()))]
    assert {"interface", "metadata"} < set(names)


def test_a_late_template_is_replaced_as_a_plain_one() -> None:
    assert replace(known_template(), type="b") == replace(TASK, type="b")
    assert replace(known_template(), type="b").interface == TASK.interface
    assert replace(known_template(), interface=Interface()) == replace(TASK, interface=Interface())


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])  # noqa: S301
def test_a_late_templates_copy_is_a_plain_one(twin: Any) -> None:
    copied = twin(known_template())
    assert type(copied) is TaskTemplate
    assert copied == TASK


def test_what_is_known_is_bounded() -> None:
    parts = LateParts(core_v1, admin)
    for number in range(600):
        late_template(template_bytes(replace(TASK, id=Identifier(name=str(number)))), parts)
    assert len(parts._identifier.known) <= 256


def test_long_parts_are_not_kept() -> None:
    parts = LateParts(core_v1, admin)
    late_template(template_bytes(replace(TASK, id=Identifier(name="x" * 3000))), parts)
    assert not parts._identifier.known


def test_a_part_that_has_no_form_is_refused_each_time() -> None:
    duration = Duration(seconds=2**62)
    sent = serialise(core_v1.TaskTemplate(type="acme", metadata=core_v1.TaskMetadata(timeout=duration)))
    parts = LateParts(core_v1, admin)
    for _ in range(2):
        with pytest.raises(InvalidRequest, match="timeout"):
            late_template(sent, parts)
