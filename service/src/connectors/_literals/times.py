"""Timestamps and durations: nanoseconds on the wire, microseconds in Python.

The ranges are those of https://protobuf.dev/reference/protobuf/google.protobuf/ (Timestamp, Duration). Nanoseconds are
rounded to the nearest microsecond, a half to the even one; nothing is cut off.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from connectors._literals.faults import Fault

__all__ = ["as_utc", "datetime_from", "duration_parts", "timedelta_from", "timestamp_parts"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NANOS = 1_000_000_000
_FIRST_SECOND = -62_135_596_800  # 0001-01-01T00:00:00Z
_LAST_SECOND = 253_402_300_799  # 9999-12-31T23:59:59Z
_LONGEST_DURATION = 315_576_000_000  # seconds: 10,000 years, as Duration defines it


def datetime_from(seconds: int, nanos: int) -> datetime:
    """The instant, aware and in UTC.

    :raises Fault: outside the years 1 to 9999, also when only rounding leads out of them, and for nanos that are not
        from 0 to 999,999,999.
    """
    if not 0 <= nanos < _NANOS:
        raise Fault("a timestamp whose nanoseconds are not from 0 to 999999999")
    try:
        # Both parts are bounded by their wire types, so the sum of microseconds is exact.
        return _EPOCH + timedelta(seconds=seconds, microseconds=_rounded(nanos))
    except OverflowError:
        raise Fault("a timestamp outside the years 1 to 9999") from None


def timedelta_from(seconds: int, nanos: int) -> timedelta:
    """The duration.

    :raises Fault: when a timedelta cannot hold it (about 2.7 million years), and for nanos that are out of range or
        differ in sign from the seconds.
    """
    if abs(nanos) >= _NANOS or seconds * nanos < 0:
        raise Fault("a duration whose nanoseconds are out of range, or differ in sign from its seconds")
    try:
        return timedelta(seconds=seconds, microseconds=_rounded(nanos))
    except OverflowError:
        raise Fault("a duration longer than Python's timedelta holds (999999999 days)") from None


def timestamp_parts(value: date) -> tuple[int, int]:
    """Seconds since 1970 and nanoseconds of a datetime, or of a date's midnight in UTC. What is naive is taken as UTC.

    :raises Fault: outside the years 1 to 9999 in UTC.
    """
    since = as_utc(value) - _EPOCH
    seconds = since.days * 86_400 + since.seconds
    if not _FIRST_SECOND <= seconds <= _LAST_SECOND:
        raise Fault("a datetime outside the years 1 to 9999 in UTC")
    return seconds, since.microseconds * 1_000


def duration_parts(value: timedelta) -> tuple[int, int]:
    """Seconds and nanoseconds of a timedelta, both of the same sign.

    :raises Fault: beyond the 10,000 years that a Duration may have.
    """
    microseconds = value // timedelta(microseconds=1)
    seconds, rest = divmod(abs(microseconds), 1_000_000)
    if seconds > _LONGEST_DURATION:
        raise Fault("a timedelta longer than 10000 years")
    sign = -1 if microseconds < 0 else 1
    return sign * seconds, sign * rest * 1_000


def as_utc(value: date) -> datetime:
    """The datetime made aware (the offset of one that is aware already stays); a date is its midnight."""
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value.replace(tzinfo=UTC) if value.utcoffset() is None else value


def _rounded(nanos: int) -> int:
    """Microseconds: the nearest, and of two equally near the even one."""
    whole, rest = divmod(nanos, 1_000)
    return whole + (rest > 500 or (rest == 500 and whole % 2 == 1))
