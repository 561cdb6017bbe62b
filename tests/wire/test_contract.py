"""What our descriptors say is what the descriptors of the callers say, and nothing that a call can carry is missing.

The callers are the PyPI packages flyteidl and flyteidl2, and gRPC's own health and reflection packages. The last holds
v1alpha alone: the messages of v1 are the same in another package, and are compared as such.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)

from tests.wire.descriptors import CALLERS, OURS, enums, messages

REFLECTION_V1, REFLECTION_V1ALPHA = "grpc.reflection.v1.", "grpc.reflection.v1alpha."

OUR_MESSAGES = {name: message for file in OURS.file for name, message in messages(file)}
OUR_ENUMS = {name: enum for file in OURS.file for name, enum in enums(file)}
OUR_SERVICES = {f"{file.package}.{service.name}": service for file in OURS.file for service in file.service}
THEIR_MESSAGES = {name: message for file in CALLERS.values() for name, message in messages(file)}
THEIR_ENUMS = {name: enum for file in CALLERS.values() for name, enum in enums(file)}
THEIR_SERVICES = {f"{file.package}.{service.name}": service for file in CALLERS.values() for service in file.service}

SERVICES = {
    "flyteidl.service.AsyncAgentService",
    "flyteidl.service.SyncAgentService",
    "flyteidl.service.AgentMetadataService",
    "flyteidl2.connector.AsyncConnectorService",
    "flyteidl2.connector.ConnectorMetadataService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
}

Fact = tuple[object, ...]


def theirs(name: str) -> str:
    """The name under which the callers' packages hold what we call `name`."""
    return name.replace(REFLECTION_V1, REFLECTION_V1ALPHA)


def describe_field(field: FieldDescriptorProto, message: DescriptorProto) -> Fact:
    return (
        field.number,
        field.name,
        FieldDescriptorProto.Type.Name(field.type),
        FieldDescriptorProto.Label.Name(field.label),
        theirs(field.type_name),
        message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else None,
        field.proto3_optional,
        field.options.deprecated,
        field.options.packed if field.options.HasField("packed") else None,
        field.json_name or default_json_name(field.name),
    )


def default_json_name(name: str) -> str:
    """The name that a descriptor without one stands for: some packages of gRPC leave it out."""
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def describe_fields(message: DescriptorProto) -> dict[str, Fact]:
    return {field.name: describe_field(field, message) for field in message.field}


def describe_message(message: DescriptorProto) -> Fact:
    return (
        message.options.map_entry,
        message.options.deprecated,
        [oneof.name for oneof in message.oneof_decl],
        sorted((reserved.start, reserved.end) for reserved in message.reserved_range),
        sorted(message.reserved_name),
    )


def describe_enum(enum: EnumDescriptorProto) -> Fact:
    values = [(value.number, value.name, value.options.deprecated) for value in enum.value]
    return values, enum.options.allow_alias, enum.options.deprecated


def describe_method(method: MethodDescriptorProto) -> Fact:
    return (
        theirs(method.input_type),
        theirs(method.output_type),
        method.client_streaming,
        method.server_streaming,
        method.options.deprecated,
    )


def describe_service(service: ServiceDescriptorProto) -> dict[str, Fact]:
    return {method.name: describe_method(method) for method in service.method}


def reachable(services: Iterable[ServiceDescriptorProto]) -> tuple[set[str], set[str]]:
    """The names of every message and every enum that a call of these services of the callers' can carry."""
    found: set[str] = set()
    found_enums: set[str] = set()
    names = [
        name for service in services for method in service.method for name in (method.input_type, method.output_type)
    ]
    while names:
        name = names.pop().removeprefix(".")
        if name in THEIR_ENUMS:
            found_enums.add(name)
        elif name not in found:
            found.add(name)
            names += [field.type_name for field in THEIR_MESSAGES[name].field if field.type_name]
    return found, found_enums


REACHABLE_MESSAGES, REACHABLE_ENUMS = reachable(THEIR_SERVICES[theirs(name)] for name in SERVICES)


def test_the_services_are_those_of_both_protocols_and_of_grpc() -> None:
    assert OUR_SERVICES.keys() == SERVICES


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_has_exactly_the_methods_of_the_callers(name: str) -> None:
    assert describe_service(OUR_SERVICES[name]) == describe_service(THEIR_SERVICES[theirs(name)])


@pytest.mark.parametrize("name", sorted(OUR_MESSAGES))
def test_a_message_has_exactly_the_fields_of_the_callers(name: str) -> None:
    assert describe_fields(OUR_MESSAGES[name]) == describe_fields(THEIR_MESSAGES[theirs(name)])


@pytest.mark.parametrize("name", sorted(OUR_MESSAGES))
def test_a_message_has_the_oneofs_the_reserved_numbers_and_the_kind_of_the_callers(name: str) -> None:
    assert describe_message(OUR_MESSAGES[name]) == describe_message(THEIR_MESSAGES[theirs(name)])


@pytest.mark.parametrize("name", sorted(OUR_ENUMS))
def test_an_enum_has_exactly_the_values_of_the_callers(name: str) -> None:
    assert describe_enum(OUR_ENUMS[name]) == describe_enum(THEIR_ENUMS[theirs(name)])


def test_every_message_that_a_call_can_carry_is_defined() -> None:
    assert REACHABLE_MESSAGES - OUR_MESSAGES.keys() == set()


def test_every_enum_that_a_call_can_carry_is_defined() -> None:
    assert REACHABLE_ENUMS - OUR_ENUMS.keys() == set()


def test_the_callers_reach_more_than_a_handful_of_messages() -> None:
    """A closure that silently came out empty would make the two tests above true of nothing."""
    assert len(REACHABLE_MESSAGES) > 150
    assert len(REACHABLE_ENUMS) > 20


@pytest.mark.parametrize("name", sorted(file.name for file in OURS.file if file.name.startswith("flyteidl")))
def test_a_file_has_the_name_the_package_and_the_syntax_of_the_callers(name: str) -> None:
    ours = next(file for file in OURS.file if file.name == name)
    assert (ours.package, ours.syntax) == (CALLERS[name].package, CALLERS[name].syntax)
