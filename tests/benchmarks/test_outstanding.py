"""What is told of calls that are outstanding: of those that were not answered, too."""

from __future__ import annotations

from typing import Any

from benchmarks.line import Line
from benchmarks.load import Result
from benchmarks.nothing import SLOW
from benchmarks.outstanding import FEW, MANY, Held, told


def result(**more: Any) -> Result:
    parts = {"calls": 500, "elapsed": 1.0, "median": 0.01, "p99": 0.02, "longest": 0.02, "server_cpu": 0.1}
    return Result(**parts | {"generator_cpu": 0.1, "next": 500} | more)


def held(answered: int = MANY, **more: Any) -> Held:
    many = result(held_answered=answered, held_bytes=100_000_000, **more)
    return Held(SLOW, many, result(held_answered=FEW))


def lines(ours: Held, raw: Held) -> tuple[Line, Line, Line]:
    """Of three rounds, in the second of which this was seen."""
    answered, memory, cost = told([held(), ours, held()], [held(), raw, held()])
    return answered, memory, cost


def test_all_are_answered() -> None:
    answered, memory, cost = lines(held(), held())
    assert (answered.verdict, answered.figure) == ("met", 5_000.0)
    assert (memory.figure, memory.ours) == (1.0, (20.0, 20.0, 20.0))
    assert cost.figure == 1.0


def test_calls_that_are_not_answered_in_one_round_are_missed_and_the_other_lines_are_kept() -> None:
    answered, memory, cost = lines(held(4_000, held_errors={"grpc-status 14: too many": 1_000}), held())
    assert (answered.verdict, answered.figure) == ("missed", 4_000.0)
    assert "Calls to this service that failed: grpc-status 14: too many (1,000)." in answered.notes
    assert memory.ours == (20.0, 25.0, 20.0)
    assert cost.figure == 1.0


def test_what_failed_of_raw_grpclib_leaves_its_round_without_a_pair() -> None:
    answered, memory, _ = lines(held(), held(0, held_errors={"the connection was lost": MANY}))
    assert answered.verdict == "met"
    assert (memory.theirs, memory.ratios) == ((20.0, None, 20.0), (1.0, 1.0))


def test_the_cost_of_calls_of_which_one_failed_is_not_known() -> None:
    _, _, cost = lines(held(errors={"RST_STREAM 8": 1}), held())
    assert cost.ours[1] is None
    assert cost.ratios == (1.0, 1.0)
