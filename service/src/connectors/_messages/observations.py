"""Log pages and metrics of a job, the same in both protocols but for their classes."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import Any, Literal, TypeAlias, cast

from connectors import models
from connectors._literals import native_to_struct, struct_to_native
from connectors._messages.instants import read_timestamp, write_timestamp
from connectors._proto.flyteidl import admin as admin_v1
from connectors._proto.flyteidl import core as core_v1
from connectors._proto.flyteidl2 import core as core_v2
from connectors._proto.flyteidl2.logs import dataplane as dataplane_v2

__all__ = ["read_line", "read_metrics", "write_line", "write_metric"]

LineMessage: TypeAlias = admin_v1.LogLine | dataplane_v2.LogLine
MetricMessage: TypeAlias = core_v1.ExecutionMetricResult | core_v2.ExecutionMetricResult


def write_line(line: models.LogLine, lines: ModuleType) -> Any:
    """``lines.LogLine``.

    :param lines: ``flyteidl.admin`` or ``flyteidl2.logs.dataplane`` of the generated messages.
    :raises Unencodable: its time is outside the years 1 to 9999.
    """
    return lines.LogLine(
        timestamp=write_timestamp(line.timestamp, "the time of a log line"),
        message=line.message.encode("utf-8", "replace").decode(),
        originator=lines.LogLineOriginator.from_string(line.originator),
    )


def read_line(message: LineMessage) -> models.LogLine:
    """A line of a log. :raises InvalidRequest: its time is one that Python cannot hold."""
    origin = cast('Literal["UNKNOWN", "USER", "SYSTEM"]', message.originator.name or "UNKNOWN")
    return models.LogLine(message.message, read_timestamp(message.timestamp, "the time of a log line"), origin)


def write_metric(result: models.MetricResult, core: ModuleType) -> Any:
    """``core.ExecutionMetricResult``. :raises Unencodable: its data is not JSON-like; the message names the place."""
    return core.ExecutionMetricResult(metric=result.metric, data=native_to_struct(result.data, result.metric))


def read_metrics(messages: Iterable[MetricMessage]) -> tuple[models.MetricResult, ...]:
    """The series of an answer."""
    return tuple(models.MetricResult(each.metric, struct_to_native(each.data, each.metric)) for each in messages)
