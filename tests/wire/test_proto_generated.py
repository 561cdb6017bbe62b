"""The generated classes: they speak the wire format, are what the generator makes, and need no protobuf runtime.

Values are built by the protobuf runtime from our descriptors, decoded and encoded by our classes, and read back by the
runtime.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import betterproto2
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors._proto.message_pool import default_message_pool
from tests.wire.descriptors import OURS, POOL, enums, messages

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = sorted({file.package for file in OURS.file})
for _package in PACKAGES:
    importlib.import_module(f"connectors._proto.{_package}")

MESSAGES = sorted(name for file in OURS.file for name, message in messages(file) if not message.options.map_entry)
CALLS = sorted(
    {
        type_name.removeprefix(".")
        for file in OURS.file
        for service in file.service
        for method in service.method
        for type_name in (method.input_type, method.output_type)
    }
)
EDGES: dict[int, list[Any]] = {
    FieldDescriptor.TYPE_INT32: [-(2**31), -1, 1, 127, 128, 2**31 - 1],
    FieldDescriptor.TYPE_INT64: [-(2**63), -1, 1, 2**53 + 1, 2**63 - 1],
    FieldDescriptor.TYPE_UINT32: [1, 2**32 - 1],
    FieldDescriptor.TYPE_UINT64: [1, 2**53 + 1, 2**64 - 1],
    FieldDescriptor.TYPE_BOOL: [True],
    FieldDescriptor.TYPE_STRING: ["x", "\0é\U0001f600", "long " * 100],
    FieldDescriptor.TYPE_BYTES: [b"\0", b"\xff\xfe", bytes(range(256)) * 2],
    FieldDescriptor.TYPE_DOUBLE: [1.5, -1e308, 5e-324, math.inf, -math.inf, math.nan],
    FieldDescriptor.TYPE_FLOAT: [1.5, -(2.0**127), math.inf, -math.inf, math.nan],
}
UNKNOWN_ENUM_VALUES = [12345, 2**31 - 1, -1]


def our_class(name: str) -> type[betterproto2.Message]:
    return default_message_pool.url_to_type[f"type.googleapis.com/{name}"]


def their_class(descriptor: Descriptor) -> type[Message]:
    return message_factory.GetMessageClass(descriptor)


def find(name: str) -> Descriptor:
    return POOL.FindMessageTypeByName(name)


def canonical(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


def survives(message: Message) -> bool:
    """Whether our class reads the same values from the message's bytes, and writes bytes that mean the same."""
    ours = our_class(message.DESCRIPTOR.full_name).parse(message.SerializeToString())
    back = type(message)()
    back.ParseFromString(bytes(ours))
    return same(ours, message) and canonical(back) == canonical(message)


def same(ours: Any, theirs: Any) -> bool:
    """Whether two values are equal, field by field.

    Bytes alone would not show a field whose type is wrong both ways, such as sint64 for int64.
    """
    if isinstance(theirs, Message):
        fields: Any = theirs.DESCRIPTOR.fields
        if not isinstance(ours, betterproto2.Message):  # BoolValue and its like are plain values in the generated code
            return same(ours, getattr(theirs, fields[0].name))
        names = [field.name for field in dataclasses.fields(ours)]  # type: ignore[arg-type]
        return all(same_field(getattr(ours, name), theirs, field) for name, field in zip(names, fields, strict=True))
    if isinstance(theirs, float) and math.isnan(theirs):
        return isinstance(ours, float) and math.isnan(ours)
    return isinstance(ours, type(theirs)) and bool(ours == theirs)


def same_field(ours: Any, message: Message, field: FieldDescriptor) -> bool:
    theirs = getattr(message, field.name)
    if is_map(field):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in theirs)
    if is_repeated(field):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if field.has_presence and not message.HasField(field.name):
        return ours is None
    return same(ours, theirs)


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def entry(field: FieldDescriptor) -> tuple[FieldDescriptor, FieldDescriptor]:
    """The key and the value of a map field."""
    assert field.message_type is not None
    key, value = field.message_type.fields
    return key, value


def is_repeated(field: FieldDescriptor) -> bool:
    return field.is_repeated


def scalars(field: FieldDescriptor) -> list[Any]:
    """The edges of what the field's type can hold, and its zero where the wire tells that from absence."""
    if field.enum_type is not None:
        return [value.number for value in field.enum_type.values if value.number] + UNKNOWN_ENUM_VALUES
    zero = [type(field.default_value)()] if field.has_presence else []
    return EDGES[field.type] + zero


def values(field: FieldDescriptor) -> list[Any]:
    """Values of one element of the field: scalars, or an empty and a filled message."""
    if field.message_type is None:
        return scalars(field)
    generator = random.Random(field.number)
    return [their_class(field.message_type)(), filled(field.message_type, generator, depth=2)]


def cases(descriptor: Descriptor, field: FieldDescriptor) -> Iterator[Message]:
    """Yields messages that have this one field set, to each value that a wrong number or type would spoil."""
    if is_map(field):
        key, value = entry(field)
        for entry_key in scalars(key):
            for entry_value in values(value):
                yield with_field(descriptor, field, {entry_key: entry_value})
    elif is_repeated(field):
        yield with_field(descriptor, field, values(field))
        for value in values(field):
            yield with_field(descriptor, field, [value])
    else:
        for value in values(field):
            yield with_field(descriptor, field, value)


def with_field(descriptor: Descriptor, field: FieldDescriptor, value: object) -> Message:
    message = their_class(descriptor)()
    assign(message, field, value)
    return message


def assign(message: Message, field: FieldDescriptor, value: Any) -> None:
    target = getattr(message, field.name)
    if is_map(field):
        for key, element in value.items():
            if isinstance(element, Message):
                target[key].CopyFrom(element)
            else:
                target[key] = element
    elif is_repeated(field):
        target.extend(value)
    elif isinstance(value, Message):
        target.SetInParent()
        target.CopyFrom(value)
    else:
        setattr(message, field.name, value)


def filled(descriptor: Descriptor, generator: random.Random, depth: int) -> Message:
    """A message with one member of each oneof and about half of its other fields set, nested at most `depth` deep."""
    message = their_class(descriptor)()
    chosen = [generator.choice(oneof.fields) for oneof in descriptor.oneofs]
    for field in descriptor.fields:
        left_out = field not in chosen if field.containing_oneof else generator.random() < 0.5
        if left_out:
            continue
        if is_map(field):
            key, value = entry(field)
            assign(message, field, {generator.choice(scalars(key)): element(value, generator, depth) for _ in "ab"})
        elif is_repeated(field):
            assign(message, field, [element(field, generator, depth) for _ in range(generator.randrange(4))])
        else:
            assign(message, field, element(field, generator, depth))
    return message


def element(field: FieldDescriptor, generator: random.Random, depth: int) -> Any:
    if field.message_type is None:
        return generator.choice(scalars(field))
    if depth == 0:
        return their_class(field.message_type)()
    return filled(field.message_type, generator, depth - 1)


@pytest.mark.parametrize("name", MESSAGES)
def test_a_class_has_the_field_numbers_of_its_message(name: str) -> None:
    """The comparisons below pair the fields of the two sides by their order."""
    numbers = [field.metadata["betterproto"].number for field in dataclasses.fields(our_class(name))]  # type: ignore[arg-type]
    assert numbers == [field.number for field in find(name).fields]


@pytest.mark.parametrize("name", MESSAGES)
def test_each_field_alone_survives_a_round_trip_at_the_edges_of_its_type(name: str) -> None:
    descriptor = find(name)
    for field in descriptor.fields:
        for message in cases(descriptor, field):
            assert survives(message), (field.full_name, message)


@pytest.mark.parametrize("name", CALLS)
@settings(max_examples=100, deadline=None)
@given(seed=st.integers(min_value=0, max_value=2**32 - 1))
def test_what_a_call_carries_survives_a_round_trip(name: str, seed: int) -> None:
    message = filled(find(name), random.Random(seed), depth=5)
    assert survives(message)


@pytest.mark.parametrize("name", sorted(name for file in OURS.file for name, _ in enums(file)))
def test_an_enum_class_has_the_numbers_and_the_names_of_its_enum(name: str) -> None:
    descriptor: EnumDescriptor = POOL.FindEnumTypeByName(name)
    package = descriptor.file.package
    classes = vars(importlib.import_module(f"connectors._proto.{package}"))
    flat_name = name.removeprefix(f"{package}.").replace(".", "")  # the generator writes IOStrategy as IoStrategy
    enum = next(value for key, value in classes.items() if key.lower() == flat_name.lower())
    expected = {value.number: value.name for value in descriptor.values}
    assert {member.value: member.proto_name or member.name for member in enum} == expected


@pytest.mark.parametrize("module", ["flyteidl.core", "flyteidl2.core"])
@pytest.mark.parametrize("seconds", [-(2**63), -62135596801, 0, 253402300800, 2**63 - 1])
def test_nanoseconds_and_dates_that_python_cannot_hold_survive_decoding(module: str, seconds: int) -> None:
    descriptor = find(f"{module}.Primitive")
    timestamp: Any = their_class(find("google.protobuf.Timestamp"))(seconds=seconds, nanos=123_456_789)
    message = with_field(descriptor, descriptor.fields_by_name["datetime"], timestamp)
    ours: Any = our_class(f"{module}.Primitive").parse(canonical(message))
    assert (ours.datetime.seconds, ours.datetime.nanos) == (seconds, 123_456_789)


def test_filling_a_deprecated_field_does_not_warn() -> None:
    """Warnings are errors here: a service that has to fill such fields could not otherwise be tested."""
    agent: Any = our_class("flyteidl.admin.Agent")
    assert agent(supported_task_types=["x"]).supported_task_types == ["x"]


def run_with_every_module(program: str) -> tuple[str, str]:
    """What a new interpreter prints, and what it says on standard error, where no message has been used."""
    imports = "\n".join(f"import connectors._proto.{package}" for package in PACKAGES)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{imports}\n{program}"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip(), done.stderr


def test_importing_every_generated_module_needs_no_protobuf_runtime() -> None:
    program = 'import sys\nprint(sorted(name for name in sys.modules if name.partition(".")[0] == "google"))'
    assert run_with_every_module(program) == ("[]", "")


def test_importing_every_generated_module_makes_no_message_a_dataclass() -> None:
    program = """
from connectors._proto.message_pool import default_message_pool
print([url for url, message in default_message_pool.url_to_type.items() if "__dataclass_fields__" in vars(message)])
"""
    assert run_with_every_module(program) == ("[]", "")


def test_threads_that_are_the_first_to_use_a_message_all_get_whole_ones() -> None:
    program = """
import dataclasses, sys, threading
from connectors._proto.message_pool import default_message_pool

sys.setswitchinterval(1e-6)
together, messages, wrong = threading.Barrier(4), list(default_message_pool.url_to_type.values()), []

def use_all(begin_with_fields):
    for message in messages:
        together.wait()
        try:
            names = {field.name for field in dataclasses.fields(message)} if begin_with_fields else None
            held = vars(message()).keys() - {"_unknown_fields"}
            if held != (names or {field.name for field in dataclasses.fields(message)}):
                wrong.append((message, held))
        except Exception as error:
            wrong.append((message, error))

threads = [threading.Thread(target=use_all, args=(number % 2,)) for number in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(messages) > 200, wrong)
"""
    assert run_with_every_module(program) == ("True []", "")


def check_generated(root: Path) -> subprocess.CompletedProcess[str]:
    script = root / "proto" / "generate.py"
    return subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)


def test_the_committed_code_is_what_the_generator_makes() -> None:
    done = check_generated(ROOT)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_check_names_every_file_that_differs_is_missing_or_is_not_generated(tmp_path: Path) -> None:
    generated = Path("service", "src", "connectors", "_proto")
    shutil.copytree(ROOT / "proto", tmp_path / "proto")
    shutil.copytree(ROOT / generated, tmp_path / generated)
    with (tmp_path / generated / "flyteidl" / "admin" / "__init__.py").open("a") as module:
        module.write("edited = True\n")
    (tmp_path / generated / "message_pool.py").unlink()
    (tmp_path / generated / "by_hand.py").touch()
    done = check_generated(tmp_path)
    assert done.returncode == 1
    assert [line.rpartition(" ")[2] for line in done.stderr.splitlines()] == [
        "by_hand.py",
        "flyteidl/admin/__init__.py",
        "message_pool.py",
    ]
