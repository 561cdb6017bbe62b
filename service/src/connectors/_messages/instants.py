"""Timestamps and durations in requests and answers, with errors that name the field."""

from __future__ import annotations

from datetime import datetime, timedelta

from connectors._literals.faults import Fault, Unencodable
from connectors._literals.times import datetime_from, duration_parts, timedelta_from, timestamp_parts
from connectors._proto.google.protobuf import Duration, Timestamp
from connectors.errors import InvalidRequest

__all__ = ["read_duration", "read_timestamp", "write_duration", "write_timestamp"]


def read_timestamp(message: Timestamp | None, name: str) -> datetime | None:
    """The instant, in UTC. :raises InvalidRequest: it is outside the years 1 to 9999."""
    try:
        return None if message is None else datetime_from(message.seconds, message.nanos)
    except Fault as fault:
        raise InvalidRequest(fault.at(name)) from None


def read_duration(message: Duration | None, name: str) -> timedelta | None:
    """The duration. :raises InvalidRequest: a timedelta cannot hold it."""
    try:
        return None if message is None else timedelta_from(message.seconds, message.nanos)
    except Fault as fault:
        raise InvalidRequest(fault.at(name)) from None


def write_timestamp(value: datetime | None, name: str) -> Timestamp | None:
    """The message of an instant; what is naive is taken as UTC. :raises Unencodable: outside the years 1 to 9999."""
    if value is None:
        return None
    try:
        seconds, nanos = timestamp_parts(value)
    except Fault as fault:
        raise Unencodable(fault.at(name)) from None
    return Timestamp(seconds=seconds, nanos=nanos)


def write_duration(value: timedelta | None, name: str) -> Duration | None:
    """The message of a duration. :raises Unencodable: it is longer than 10,000 years."""
    if value is None:
        return None
    try:
        seconds, nanos = duration_parts(value)
    except Fault as fault:
        raise Unencodable(fault.at(name)) from None
    return Duration(seconds=seconds, nanos=nanos)
