"""Timestamps and durations: the edges of both ranges, and the nanoseconds that Python cannot hold."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors._literals import Unencodable, to_literal, to_native
from connectors.errors import InvalidRequest
from tests.literals.protocols import Protocol

YEAR_1 = -62_135_596_800  # seconds, as https://protobuf.dev/reference/protobuf/google.protobuf/#timestamp gives them
YEAR_9999_END = 253_402_300_799


def _instant(protocol: Protocol, seconds: int, nanos: int) -> Any:
    return to_native(protocol.ours(protocol.primitive(datetime={"seconds": seconds, "nanos": nanos})), "when")


def _duration(protocol: Protocol, seconds: int, nanos: int) -> Any:
    return to_native(protocol.ours(protocol.primitive(duration={"seconds": seconds, "nanos": nanos})), "span")


@pytest.mark.parametrize(
    ("nanos", "microseconds"),
    [(0, 0), (499, 0), (500, 0), (501, 1), (999, 1), (1_499, 1), (1_500, 2), (2_500, 2), (999_999_499, 999_999)],
)
def test_nanoseconds_are_rounded_to_the_nearest_microsecond_and_a_half_to_the_even_one(
    protocol: Protocol, nanos: int, microseconds: int
) -> None:
    assert _instant(protocol, 0, nanos) == datetime(1970, 1, 1, microsecond=microseconds, tzinfo=UTC)
    assert _duration(protocol, 0, nanos) == timedelta(microseconds=microseconds)
    assert _duration(protocol, 0, -nanos) == timedelta(microseconds=-microseconds)


@given(seconds=st.integers(YEAR_1, YEAR_9999_END), nanos=st.integers(0, 999_999_499))
def test_an_instant_is_less_than_a_microsecond_from_what_was_sent(protocol: Protocol, seconds: int, nanos: int) -> None:
    read = _instant(protocol, seconds, nanos) - datetime(1970, 1, 1, tzinfo=UTC)
    assert abs(Fraction(read // timedelta(microseconds=1), 10**6) - seconds - Fraction(nanos, 10**9)) <= Fraction(
        1, 2 * 10**6
    )


def test_the_last_nanosecond_of_a_second_rounds_into_the_next_one(protocol: Protocol) -> None:
    assert _instant(protocol, 59, 999_999_999) == datetime(1970, 1, 1, 0, 1, tzinfo=UTC)


def test_the_first_instant_of_year_1_is_held(protocol: Protocol) -> None:
    assert _instant(protocol, YEAR_1, 0) == datetime.min.replace(tzinfo=UTC)


def test_the_last_microsecond_of_year_9999_is_held(protocol: Protocol) -> None:
    assert _instant(protocol, YEAR_9999_END, 999_999_000) == datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "nanos"),
    [(YEAR_1 - 1, 999_999_000), (YEAR_9999_END + 1, 0), (YEAR_9999_END, 999_999_999), (2**63 - 1, 0), (-(2**63), 0)],
)
def test_an_instant_outside_the_years_1_to_9999_is_an_error(protocol: Protocol, seconds: int, nanos: int) -> None:
    with pytest.raises(InvalidRequest, match=r"^when: a timestamp outside the years 1 to 9999$"):
        _instant(protocol, seconds, nanos)


@pytest.mark.parametrize("nanos", [-1, 1_000_000_000])
def test_a_timestamp_with_nanoseconds_that_protobuf_does_not_allow_is_an_error(protocol: Protocol, nanos: int) -> None:
    with pytest.raises(InvalidRequest, match=r"^when: a timestamp whose nanoseconds are not from 0 to 999999999$"):
        _instant(protocol, 0, nanos)


@pytest.mark.parametrize(("seconds", "nanos"), [(1, -1), (-1, 1), (0, 1_000_000_000), (0, -1_000_000_000)])
def test_a_duration_with_nanoseconds_that_protobuf_does_not_allow_is_an_error(
    protocol: Protocol, seconds: int, nanos: int
) -> None:
    with pytest.raises(InvalidRequest, match=r"^span: a duration whose nanoseconds are out of range"):
        _duration(protocol, seconds, nanos)


@pytest.mark.parametrize("seconds", [2**63 - 1, -(2**63), 86_400 * 1_000_000_000])
def test_a_duration_that_a_timedelta_cannot_hold_is_an_error(protocol: Protocol, seconds: int) -> None:
    with pytest.raises(InvalidRequest, match=r"^span: a duration longer than Python's timedelta holds"):
        _duration(protocol, seconds, 0)


def test_a_negative_duration_is_sent_with_both_parts_negative(protocol: Protocol) -> None:
    sent = protocol.theirs(timedelta(days=-1, microseconds=7)).scalar.primitive.duration
    assert (sent.seconds, sent.nanos) == (-86_399, -999_993_000)


def test_a_timedelta_longer_than_a_duration_may_be_is_an_error(protocol: Protocol) -> None:
    with pytest.raises(Unencodable, match=r"^span: a timedelta longer than 10000 years$"):
        to_literal(timedelta.max, protocol.core, name="span")


def test_a_datetime_that_its_offset_puts_before_year_1_is_an_error(protocol: Protocol) -> None:
    with pytest.raises(Unencodable, match=r"^when: a datetime outside the years 1 to 9999 in UTC$"):
        to_literal(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))), protocol.core, name="when")


def test_a_datetime_that_its_offset_puts_after_year_9999_is_an_error(protocol: Protocol) -> None:
    late = datetime(9999, 12, 31, 23, 30, tzinfo=timezone(-timedelta(hours=1)))
    with pytest.raises(Unencodable, match=r"^when: a datetime outside the years 1 to 9999 in UTC$"):
        to_literal(late, protocol.core, name="when")


def test_a_date_is_sent_as_its_midnight_in_utc(protocol: Protocol) -> None:
    sent = protocol.theirs(date(2024, 2, 29)).scalar.primitive.datetime
    assert sent.ToDatetime(tzinfo=UTC) == datetime(2024, 2, 29, tzinfo=UTC)
