"""What a run without a backend needs of the messages: a task and its values as a server would see them, and the files
``inputs.pb`` and ``outputs.pb``.

Both files hold the same bytes in both protocols: ``flyteidl.core.LiteralMap`` is written as ``flyteidl2.task.Inputs``
and ``Outputs`` are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors._literals import described, literal_map, natives_from_literal_map
from connectors._messages.decoding import Malformed, parse
from connectors._messages.encoding import serialise
from connectors._messages.templates import read_template, write_template
from connectors._proto.flyteidl import core
from connectors._proto.flyteidl2 import core as core_v2
from connectors.errors import InvalidRequest
from connectors.models import Interface, LiteralType, Schema, StructuredDataset, TaskTemplate

__all__ = [
    "fitting_outputs",
    "inputs_file",
    "outputs_file",
    "read_inputs_file",
    "read_outputs_file",
    "read_template_file",
    "read_template_file_v2",
    "sent_template",
]


def sent_template(template: TaskTemplate) -> TaskTemplate:
    """The template as a connector behind a server gets it: through the wire and back.

    :raises InvalidRequest: a part of it has no form on the wire; the message names it.
    """
    try:
        return read_template(parse(core.TaskTemplate, serialise(write_template(template, core))))
    except (ValueError, TypeError) as error:
        raise InvalidRequest(f"the task cannot be sent: {error}") from error


def read_template_file(data: bytes) -> TaskTemplate:
    """A serialised ``TaskTemplate`` of Flyte 1. :raises InvalidRequest: the bytes are none."""
    return _read_template(core.TaskTemplate, data)


def read_template_file_v2(data: bytes) -> TaskTemplate:
    """A serialised ``TaskTemplate`` of Flyte 2. :raises InvalidRequest: the bytes are none."""
    return _read_template(core_v2.TaskTemplate, data)


def _read_template(message: type[core.TaskTemplate] | type[core_v2.TaskTemplate], data: bytes) -> TaskTemplate:
    try:
        return read_template(parse(message, data))
    except Malformed as error:
        raise InvalidRequest(str(error)) from error


def inputs_file(values: Mapping[str, Any], interface: Interface) -> bytes:
    """The inputs as ``inputs.pb`` holds them. One that is not given and may be None is None.

    :raises InvalidRequest: an input is missing, unknown, or not of its declared type; the message names it.
    """
    declared = interface.inputs
    if declared and (unknown := sorted(values.keys() - declared.keys())):
        raise InvalidRequest(f"there is no input {unknown[0]!r}; there are: {', '.join(declared)}")
    if missing := [name for name, kind in declared.items() if name not in values and not _may_be_none(kind)]:
        raise InvalidRequest(f"the input {missing[0]!r} is missing")
    given = {name: values.get(name) for name in declared} if declared else values
    try:
        return serialise(literal_map(given, declared, role="input"))
    except ValueError as error:
        raise InvalidRequest(str(error)) from error


def outputs_file(values: Mapping[str, Any], interface: Interface) -> bytes:
    """The outputs as ``outputs.pb`` holds them. :raises InvalidRequest: one is not of its declared type."""
    try:
        return serialise(literal_map(values, interface.outputs))
    except ValueError as error:
        raise InvalidRequest(str(error)) from error


def fitting_outputs(values: Mapping[str, Any], interface: Interface) -> dict[str, Any]:
    """What a job brought, held against what its task declares. Where it declares none, all is taken; one that may be
    None and is not there is None.

    :raises InvalidRequest: an output is missing, unknown, or not of its declared type; the message names it, what was
        declared and what came.
    """
    declared = interface.outputs
    if not declared:
        return dict(values)
    for name, kind in declared.items():
        if name not in values and not _may_be_none(kind):
            came = ", ".join(sorted(values)) or "none"
            raise InvalidRequest(f"output {name}: {described(kind)} is declared, and it is missing; what came: {came}")
    if unknown := sorted(values.keys() - declared.keys()):
        names = ", ".join(declared)
        raise InvalidRequest(f"output {unknown[0]}: is not declared; what is declared: {names}")
    found = {name: values.get(name) for name in declared}
    try:
        # for Flyte, either of the two kinds of table is the other
        literal_map(found, {name: kind for name, kind in declared.items() if not _is_table(found[name], kind)})
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
    return found


def _is_table(value: Any, declared: LiteralType) -> bool:
    return declared.kind in {"schema", "structured_dataset"} and isinstance(value, Schema | StructuredDataset)


def read_inputs_file(data: bytes) -> dict[str, Any]:
    """The native values in an ``inputs.pb``. :raises InvalidRequest: it is none."""
    return _read(data, "input")


def read_outputs_file(data: bytes) -> dict[str, Any]:
    """The native values in an ``outputs.pb``. :raises InvalidRequest: it is none."""
    return _read(data, "output")


def _read(data: bytes, role: str) -> dict[str, Any]:
    try:
        return natives_from_literal_map(parse(core.LiteralMap, data), role)
    except Malformed as error:
        raise InvalidRequest(str(error)) from error


def _may_be_none(declared: LiteralType) -> bool:
    return declared.kind == "none" or any(map(_may_be_none, declared.variants))
