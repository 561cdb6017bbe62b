"""The bound on open files: raised as far as the connections need, and a warning where it cannot be."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.server.conftest import Serve

Bound = Callable[[int], None]


@pytest.fixture
def bound() -> Iterator[Bound]:
    """Sets this process's soft bound, which the server inherits, until the test is over."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda wanted: resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def soft_limit(pid: int) -> int:
    (line,) = [line for line in Path(f"/proc/{pid}/limits").read_text("ascii").splitlines() if "open files" in line]
    return int(line.split()[3])


def test_the_bound_is_raised_to_what_callers_and_platforms_need(serve: Serve, bound: Bound) -> None:
    bound(600)
    server = serve("--max-connections=1000", "--concurrency=500")
    assert server.address
    assert soft_limit(server.pid) == 2500
    assert not [line for line in server.lines if line.get("level") == "warning"]


def test_a_bound_that_is_high_enough_is_left_alone(serve: Serve, bound: Bound) -> None:
    bound(3000)
    server = serve("--max-connections=1000", "--concurrency=500")
    assert server.address
    assert soft_limit(server.pid) == 3000


def test_where_the_system_does_not_let_it_a_warning_names_the_setting(serve: Serve) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    server = serve("--max-connections=1000000", "--concurrency=500")
    assert server.address
    said = "--max-connections 1000000 with --concurrency 500 needs 1001500"
    (line,) = [line for line in server.lines if said in line.get("message", "")]
    assert line["level"] == "warning"
    assert soft_limit(server.pid) == hard
