"""The descriptors that the service ships, and those of its callers, loaded side by side by the protobuf runtime."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.resources import files

from flyteidl.service import agent_pb2
from flyteidl2.connector import service_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

OURS = descriptor_pb2.FileDescriptorSet.FromString(
    files("connectors").joinpath("_proto", "descriptors.binpb").read_bytes()
)
POOL = descriptor_pool.DescriptorPool()
"""Our files alone, apart from the runtime's default pool, which holds those of the callers."""
for _file in OURS.file:
    POOL.Add(_file)

CALLERS: dict[str, FileDescriptorProto] = {}
"""The callers' files by name, with every file that they import."""


def _collect(file: FileDescriptor) -> None:
    if file.name not in CALLERS:
        CALLERS[file.name] = proto = FileDescriptorProto()
        file.CopyToProto(proto)
        for dependency in file.dependencies:
            _collect(dependency)


for _root in (agent_pb2, service_pb2, health_pb2, reflection_pb2):
    _collect(_root.DESCRIPTOR)


def messages(file: FileDescriptorProto) -> Iterator[tuple[str, DescriptorProto]]:
    """Yields every message of a file with its full name, nested ones and map entries too."""
    yield from _messages(file.package, file.message_type)


def _messages(scope: str, siblings: Iterable[DescriptorProto]) -> Iterator[tuple[str, DescriptorProto]]:
    for message in siblings:
        name = f"{scope}.{message.name}"
        yield name, message
        yield from _messages(name, message.nested_type)


def enums(file: FileDescriptorProto) -> Iterator[tuple[str, EnumDescriptorProto]]:
    """Yields every enum of a file with its full name, nested ones too."""
    for enum in file.enum_type:
        yield f"{file.package}.{enum.name}", enum
    for scope, message in messages(file):
        for enum in message.enum_type:
            yield f"{scope}.{enum.name}", enum
