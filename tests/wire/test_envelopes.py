"""Envelopes hold what the full messages hold, and decode nothing before it is asked for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import InvalidRequest, TaskCategory
from connectors._engine.requests import Caller, CreateRequest
from connectors._messages.decoding import Malformed, parse
from connectors._messages.encoding import serialise
from connectors._messages.schema import plan_of
from connectors._proto.flyteidl import admin
from connectors._proto.flyteidl import core as core_v1
from connectors._proto.flyteidl2 import connector, task
from connectors._proto.flyteidl2 import core as core_v2
from connectors._wire.envelopes import Envelope, Once, task_category_in
from connectors._wire.large_messages import LARGE
from connectors._wire.tasks import create_request
from connectors._wire.v2 import FLYTE2
from tests.wire.test_decoding import fill, peak_bytes, randoms, runtime

CREATES = [admin.CreateTaskRequest, connector.CreateTaskRequest]
requests = st.sampled_from(
    [
        (admin.CreateTaskRequest, "flyteidl.admin.CreateTaskRequest"),
        (connector.CreateTaskRequest, "flyteidl2.connector.CreateTaskRequest"),
    ]
)


def random_request(name: str, random: Any, pieces: int) -> bytes:
    """A request that comes in pieces: protobuf allows it, and merges them."""
    return b"".join(fill(runtime(name)(), random, depth=3).SerializeToString() for _ in range(pieces))


def made(data: bytes) -> CreateRequest:
    """What a Flyte 2 create's handler makes of it."""
    envelope = Envelope(connector.CreateTaskRequest, data)
    return create_request(FLYTE2, envelope, Caller("flyte2", secrets=FLYTE2.secrets_in(envelope)))


@given(requests, randoms, st.integers(1, 3))
def test_every_part_equals_that_of_the_full_message(kind: tuple[type[Any], str], random: Any, pieces: int) -> None:
    cls, name = kind
    data = random_request(name, random, pieces)
    whole, envelope = parse(cls, data), Envelope(cls, data)
    for part in ("inputs", "template", "task_execution_metadata", "connection"):
        if hasattr(whole, part):
            raw, expected = envelope.raw(part), getattr(whole, part)
            assert (raw is None) == (expected is None)
            assert raw is None or parse(type(expected), raw) == expected
    assert envelope.text("output_prefix") == whole.output_prefix


@given(requests, randoms, st.integers(1, 2))
def test_the_task_category_is_that_of_the_full_template(kind: tuple[type[Any], str], random: Any, pieces: int) -> None:
    cls, name = kind
    data = random_request(name, random, pieces)
    core = core_v1 if cls is admin.CreateTaskRequest else core_v2
    template = parse(cls, data).template
    raw = Envelope(cls, data).raw("template")
    expected = TaskCategory("") if template is None else TaskCategory(template.type, template.task_type_version)
    assert task_category_in(core.TaskTemplate, raw or b"") == expected


@given(randoms)
def test_what_is_left_out_is_left_out_and_nothing_else(random: Any) -> None:
    data = random_request("flyteidl2.connector.CreateTaskRequest", random, 2)
    left = parse(connector.CreateTaskRequest, Envelope(connector.CreateTaskRequest, data).without("connection"))
    whole = parse(connector.CreateTaskRequest, data)
    whole.connection = None
    assert left == whole


def test_the_stored_form_holds_no_secret() -> None:
    secret = "fake-token-0123456789"
    request = connector.CreateTaskRequest(
        template=core_v2.TaskTemplate(type="acme"), connection=core_v2.Connection(secrets={"token": secret})
    )
    data = serialise(request)
    envelope = Envelope(connector.CreateTaskRequest, data)
    stored = create_request(FLYTE2, envelope, Caller("flyte2")).stored_form()
    assert secret.encode() in data
    assert secret.encode() not in stored
    assert parse(connector.CreateTaskRequest, stored).template is not None


@pytest.mark.parametrize("size", [0, LARGE])
@pytest.mark.parametrize("part", ["inputs", "template", "task_execution_metadata", "connection"])
def test_what_is_wrong_in_a_part_is_found_before_it_is_asked_for(part: str, size: int) -> None:
    template = core_v2.TaskTemplate(type="acme", config={"x": "y" * size})
    tag = plan_of(connector.CreateTaskRequest).by_name[part].key
    broken = serialise(connector.CreateTaskRequest(template=template)) + tag + b"\x03\x0a\x01\xff"
    with pytest.raises(Malformed, match=r"flyteidl2\.connector\.CreateTaskRequest"):
        made(broken)


def test_a_message_in_pieces_is_broken_where_a_piece_is() -> None:
    halves = b"\x0a\x02\x0a\x04" + b"\x0a\x04\x0a\x02\x0a\x00"
    with pytest.raises(Malformed):
        Envelope(connector.CreateTaskRequest, halves)


def test_template_and_inputs_are_decoded_once_and_when_they_are_asked_for() -> None:
    inputs = task.Inputs(literals=[task.NamedLiteral(name="broken", value=core_v2.Literal())])
    request = connector.CreateTaskRequest(template=core_v2.TaskTemplate(type="acme"), inputs=inputs)
    envelope = Envelope(connector.CreateTaskRequest, serialise(request))
    made = create_request(FLYTE2, envelope, Caller("flyte2"))  # an input without a value: no error yet
    assert made.template() is made.template()
    assert made.input_bytes == len(serialise(inputs))
    assert made.template_bytes == len(serialise(core_v2.TaskTemplate(type="acme")))
    with pytest.raises(InvalidRequest, match="input broken"):
        made.inputs()


def test_what_a_later_release_added_is_not_in_the_stored_form() -> None:
    data = serialise(connector.CreateTaskRequest(output_prefix="s3://b"))
    envelope = Envelope(connector.CreateTaskRequest, b"\xa2\x06\x03new" + data)
    assert envelope.without("connection") == data


@pytest.mark.parametrize("piece", [serialise(admin.CreateTaskRequest(output_prefix="s")), b"\x0a\x00", b"\xf8\x07\x01"])
def test_a_request_in_many_pieces_takes_no_more_memory_than_its_parts(piece: bytes) -> None:
    data = piece * 20_000
    Envelope(admin.CreateTaskRequest, b"")
    assert peak_bytes(lambda: Envelope(admin.CreateTaskRequest, data)) < 100_000


def test_a_large_create_is_decoded_when_it_is_made_and_its_error_comes_when_it_is_asked_for() -> None:
    literal = core_v2.Literal(scalar=core_v2.Scalar(primitive=core_v2.Primitive(string_value="x" * LARGE)))
    broken = task.Inputs(literals=[task.NamedLiteral(name="a", value=literal), task.NamedLiteral(name="broken")])
    request = connector.CreateTaskRequest(template=core_v2.TaskTemplate(type="acme"), inputs=broken)
    made = create_request(FLYTE2, Envelope(connector.CreateTaskRequest, serialise(request)), Caller("flyte2"))
    assert isinstance(made.inputs, Once)
    assert made.inputs.prepared
    for _ in range(2):
        with pytest.raises(InvalidRequest, match="input broken"):
            made.inputs()


@pytest.mark.parametrize("fault", [None, InvalidRequest("input a: no")])
def test_what_is_asked_for_again_is_not_read_again(fault: InvalidRequest | None) -> None:
    reads = 0

    def read() -> int:
        nonlocal reads
        reads += 1
        if fault is not None:
            raise fault
        return 7

    once = Once(read)
    for _ in range(3):
        if fault is None:
            assert once() == 7
        else:
            with pytest.raises(InvalidRequest, match=r"^input a: no$"):
                once()
    assert reads == 1
