"""Small creates, of which a part is decoded when it is first asked for.

A task is created many times, and its interface, metadata and id come each time as the same bytes. What was decoded once
without a fault is taken as it comes the next time: an interface of two variables takes 60 µs, most connectors ask for
none, and the verdict on the bytes is known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from types import ModuleType
from typing import Any, Final, Generic, Self, TypeVar, cast, overload

from connectors import models
from connectors._messages.decoding import parse
from connectors._messages.executions import read_execution_metadata, read_identifier
from connectors._messages.schema import Field, Kind, Plan, plan_of
from connectors._messages.templates import (
    TemplateMessage,
    read_interface,
    read_task_metadata,
    read_template,
    read_values,
)

__all__ = ["LateParts"]

T = TypeVar("T")
_MOST_KNOWN = 256
_LONGEST_KNOWN = 2048  # bytes; with the number above, a kind of part takes 512 KiB at most
_new = object.__new__


class _Part(Generic[T]):
    """A kind of message that is kept as bytes, and the bytes that are known to be sound."""

    def __init__(self, cls: type[Any], read: Callable[[Any], T]) -> None:
        self.plan: Plan = plan_of(cls)
        self._cls, self._read = cls, read
        self.known: dict[bytes, T | None] = {}
        """By their bytes: what they are, where that can be shared. The messages lie equally deep wherever these bytes
        are looked up, or hold no messages."""

    def read(self, data: bytes) -> T:
        """The value of bytes that were checked. :raises InvalidRequest: they have none."""
        return self._read(parse(self._cls, data))

    def learn(self, data: bytes, value: T | None = None) -> None:
        """Note that the bytes are sound."""
        if len(data) <= _LONGEST_KNOWN:
            if len(self.known) >= _MOST_KNOWN:
                self.known.clear()
            self.known[data] = value

    def field(self, plan: Plan, name: str) -> Field:
        """A plan's field, kept as bytes."""
        return plan.by_name[name]._replace(kind=Kind.LATE, detail=self)


class _At:
    """What a field's detail has to be: something that has a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan


class _Attribute(Generic[T]):
    """Makes an attribute's value when it is first asked for; from then on the instance holds it."""

    def __init__(self, part: str) -> None:
        self._part = part

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._name = name

    @overload
    def __get__(self, task: None, owner: type[Any]) -> Self: ...

    @overload
    def __get__(self, task: models.TaskTemplate, owner: type[Any]) -> T: ...

    def __get__(self, task: models.TaskTemplate | None, owner: type[Any]) -> Self | T:
        if task is None:
            return self
        part, data = vars(task)[self._part]
        value: T = part.read(data)
        vars(task)[self._name] = value
        return value


class _LateTemplate(models.TaskTemplate):
    """A template whose interface and metadata are bytes until they are asked for; a plain one to whoever looks."""

    interface: Final = cast("models.Interface", _Attribute[models.Interface]("_interface"))
    metadata: Final = cast("models.TaskMetadata", _Attribute[models.TaskMetadata]("_metadata"))

    def _plain(self) -> models.TaskTemplate:
        return models.TaskTemplate(**{each.name: getattr(self, each.name) for each in fields(models.TaskTemplate)})

    def __eq__(self, other: object) -> bool:
        return self._plain() == (other._plain() if isinstance(other, _LateTemplate) else other)

    __hash__ = models.TaskTemplate.__hash__

    def __repr__(self) -> str:
        return repr(self._plain())

    def __reduce__(self) -> tuple[Any, ...]:
        return models.TaskTemplate, tuple(getattr(self, each.name) for each in fields(models.TaskTemplate))


class LateParts:
    """Reads the template and the execution's metadata of a create of one protocol."""

    def __init__(self, core: ModuleType, calls: ModuleType) -> None:
        """:param core: ``flyteidl.core`` or ``flyteidl2.core`` of the generated messages.
        :param calls: ``flyteidl.admin`` or ``flyteidl2.connector``.
        """
        self._core, self._calls = core, calls
        self._identifier = _Part(core.Identifier, read_identifier)
        self._interface = _Part(core.TypedInterface, read_interface)
        self._metadata = _Part(core.TaskMetadata, read_task_metadata)
        template, owner = plan_of(core.TaskTemplate), plan_of(core.TaskExecutionIdentifier)
        self._template = template.with_fields(
            self._identifier.field(template, "id"),
            self._interface.field(template, "interface"),
            self._metadata.field(template, "metadata"),
        )
        execution = plan_of(calls.TaskExecutionMetadata)
        owner = owner.with_fields(self._identifier.field(owner, "task_id"))
        self._execution = execution.with_fields(execution.by_name["task_execution_id"]._replace(detail=_At(owner)))

    def parse_template(self, data: bytes) -> TemplateMessage:
        """The message for :meth:`read_template`. :raises Malformed: its bytes are none."""
        message: TemplateMessage = parse(
            self._core.TaskTemplate, data, part_of=self._calls.CreateTaskRequest, plan=self._template
        )
        return message

    def read_template(self, message: TemplateMessage) -> models.TaskTemplate:
        """As :func:`connectors._messages.templates.read_template`, of what :meth:`parse_template` gave.

        :raises InvalidRequest: a part has no Python form; the message names it.
        """
        held = vars(message)
        late: dict[str, Any] = {}
        for part, name, kept in (
            (self._interface, "interface", "_interface"),
            (self._metadata, "metadata", "_metadata"),
        ):
            if held[name] is not None:
                data = bytes(held[name])
                late[kept] = (part, data)
                if data not in part.known:
                    late[name] = part.read(data)
                    part.learn(data)
                held[name] = None
        identifier = self._identified(held, "id")
        if not late:
            return read_template(message, identifier=identifier)
        # not by the class: a frozen one sets its fields one by one, and would make the two that come late
        task = _new(_LateTemplate)
        its = vars(task)
        its |= read_values(message, identifier=identifier)
        if "_interface" not in late:
            its["interface"] = models.Interface()
        if "_metadata" not in late:
            its["metadata"] = models.TaskMetadata()
        its |= late
        return task

    def read_execution_metadata(self, data: bytes | None) -> models.TaskExecutionMetadata:
        """As :func:`connectors._messages.executions.read_execution_metadata`, of bytes.

        :raises Malformed: they are no such message.
        """
        if data is None:
            return models.TaskExecutionMetadata()
        message = parse(
            self._calls.TaskExecutionMetadata, data, part_of=self._calls.CreateTaskRequest, plan=self._execution
        )
        owner = message.task_execution_id
        task_id = None if owner is None else self._identified(vars(owner), "task_id")
        return read_execution_metadata(message, task_id=task_id)

    def _identified(self, held: dict[str, Any], name: str) -> models.Identifier | None:
        """The identifier in a message's field, which it takes out of there: one object for the same bytes."""
        if held[name] is None:
            return None
        data = bytes(held[name])
        known = self._identifier.known.get(data)
        if known is None:
            known = self._identifier.read(data)
            self._identifier.learn(data, known)
        held[name] = None
        return known
