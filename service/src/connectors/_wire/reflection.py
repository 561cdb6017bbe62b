"""Server reflection, v1 and v1alpha: the server's own descriptors, for grpcurl, ``buf curl`` and their like.

Source: https://github.com/grpc/grpc/blob/master/doc/server-reflection.md. The descriptors are shipped as bytes; of
each file only the names in it are read, when the first question comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from types import ModuleType
from typing import Any, NamedTuple

from connectors._messages.decoding import payloads
from connectors._messages.encoding import serialise
from connectors._proto.grpc.reflection import v1, v1alpha
from connectors._wire.large_messages import parsed
from connectors._wire.status import Status
from connectors._wire.transport import Call, Route

__all__ = ["routes"]

_VERSIONS = {"grpc.reflection.v1.ServerReflection": v1, "grpc.reflection.v1alpha.ServerReflection": v1alpha}


def routes(services: Iterable[str]) -> dict[str, Route]:
    """The routes of both versions.

    :param services: the other services of the server, by their full names.
    """
    names = sorted((*services, *_VERSIONS))
    return {
        f"/{service}/ServerReflectionInfo": Route(
            _Reflection(version, names).answer, client_streaming=True, server_streaming=True, endless=True
        )
        for service, version in _VERSIONS.items()
    }


class _Reflection:
    """One version: its messages differ from the other's by their package alone."""

    def __init__(self, version: ModuleType, services: list[str]) -> None:
        self._version = version
        self._services = services

    async def answer(self, call: Call) -> None:
        """An answer to each question of the stream; what is not known is an answer too."""
        while (data := await call.receive()) is not None:
            request = await parsed(self._version.ServerReflectionRequest, data)
            response = self._version.ServerReflectionResponse(
                valid_host=request.host, original_request=request, **self._answer(request)
            )
            await call.send(serialise(response))

    def _answer(self, request: Any) -> dict[str, Any]:
        version, known = self._version, _descriptors()
        if request.list_services is not None:
            listed = [version.ServiceResponse(name=name) for name in self._services]
            return {"list_services_response": version.ListServiceResponse(service=listed)}
        if (filename := request.file_by_filename) is not None:
            return self._files(filename if filename in known.files else None, f"file {filename[:200]!r}")
        if (symbol := request.file_containing_symbol) is not None:
            return self._files(known.symbols.get(symbol), f"symbol {symbol[:200]!r}")
        if (extension := request.file_containing_extension) is not None:
            return self._error(Status.NOT_FOUND, f"{extension.containing_type[:200]!r} has no extensions here")
        if (extended := request.all_extension_numbers_of_type) is not None:
            if extended not in known.symbols:
                return self._error(Status.NOT_FOUND, f"this server has no type {extended[:200]!r}")
            return {"all_extension_numbers_response": version.ExtensionNumberResponse(base_type_name=extended)}
        return self._error(Status.INVALID_ARGUMENT, "the request asks for nothing that this server knows of")

    def _files(self, filename: str | None, asked: str) -> dict[str, Any]:
        if filename is None:
            return self._error(Status.NOT_FOUND, f"this server has no {asked}")
        found = self._version.FileDescriptorResponse(file_descriptor_proto=list(_descriptors().with_imports(filename)))
        return {"file_descriptor_response": found}

    def _error(self, status: Status, message: str) -> dict[str, Any]:
        return {"error_response": self._version.ErrorResponse(error_code=int(status), error_message=message)}


class _File(NamedTuple):
    data: bytes
    imports: tuple[str, ...]


class _Descriptors:
    """A ``google.protobuf.FileDescriptorSet``, by file and by symbol.

    The field numbers are those of https://github.com/protocolbuffers/protobuf/blob/main/src/google/protobuf/descriptor.proto
    """

    def __init__(self, data: bytes) -> None:
        self.files: dict[str, _File] = {}
        self.symbols: dict[str, str] = {}
        """The name of the file that defines a message, an enum, a service or a method."""
        for file in _contents(data, 1):
            name = _name(file)
            package = "".join(part.decode() + "." for part in _contents(file, 2))
            self.files[name] = _File(file, tuple(part.decode() for part in _contents(file, 3)))
            for symbol in _symbols_of_file(file, package):
                self.symbols[symbol] = name

    def with_imports(self, filename: str) -> Iterator[bytes]:
        """The file, and every file that it needs, each once."""
        wanted = {filename: None}
        queue = [filename]
        while queue:
            file = self.files[queue.pop(0)]
            queue += [each for each in file.imports if each not in wanted]
            wanted |= dict.fromkeys(file.imports)
        return (self.files[each].data for each in wanted)


@cache
def _descriptors() -> _Descriptors:
    return _Descriptors(files("connectors").joinpath("_proto", "descriptors.binpb").read_bytes())


def _symbols_of_file(file: bytes, package: str) -> Iterator[str]:
    for message in _contents(file, 4):
        yield from _symbols_of_message(message, package)
    for enum in _contents(file, 5):
        yield package + _name(enum)
    for service in _contents(file, 6):
        name = package + _name(service)
        yield name
        for method in _contents(service, 2):
            yield f"{name}.{_name(method)}"


def _symbols_of_message(message: bytes, scope: str) -> Iterator[str]:
    name = scope + _name(message)
    yield name
    for nested in _contents(message, 3):
        yield from _symbols_of_message(nested, name + ".")
    for enum in _contents(message, 4):
        yield f"{name}.{_name(enum)}"


def _name(descriptor: bytes) -> str:
    return next(iter(_contents(descriptor, 1))).decode()


def _contents(data: bytes, number: int) -> list[bytes]:
    return [content for its, content, _ in payloads(data) if its == number and isinstance(content, bytes)]
