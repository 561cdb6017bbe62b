"""The connector that does nothing, on a real server: what is measured with it is what it is taken for."""

from __future__ import annotations

import time
from collections.abc import Iterator

import grpc
import pytest
from flyteidl.admin import agent_pb2

from benchmarks.load import NUMBER, Generator, Plan
from benchmarks.nothing import CREATE, CREATED, GET, GOT, create_task, get_task
from benchmarks.servers import Serving, connectors, floor

NAMED = int(NUMBER)
"""The call whose number is the place of the number itself."""


@pytest.fixture(scope="module")
def server() -> Iterator[Serving]:
    with connectors(variables={"SLOW": "0.5"}) as serving:
        yield serving


def asked(server: Serving, path: str, body: bytes) -> bytes:
    with grpc.insecure_channel(server.address) as channel:
        answer: bytes = channel.unary_unary(path, bytes, bytes)(body, timeout=30)
        return answer


def test_a_create_is_as_large_as_in_life_and_its_job_is_its_output_prefix(server: Serving) -> None:
    body = create_task().numbered(NAMED)
    assert 840 <= len(body) <= 880
    assert asked(server, CREATE, body) == CREATED


def test_a_poll_is_about_the_job_that_the_create_of_its_number_made(server: Serving) -> None:
    made = agent_pb2.CreateTaskResponse.FromString(asked(server, CREATE, create_task().numbered(3)))
    poll = agent_pb2.GetTaskRequest.FromString(get_task().numbered(3))
    assert poll.resource_meta == made.resource_meta


def test_a_poll_is_answered_with_what_raw_grpclib_is_made_to_answer(server: Serving) -> None:
    assert asked(server, GET, get_task().numbered(NAMED)) == GOT
    with floor() as raw:
        assert asked(raw, GET, get_task().numbered(NAMED)) == GOT
        assert asked(raw, CREATE, create_task().numbered(NAMED)) == CREATED


@pytest.mark.parametrize("task_type", ["slow", "blocking"])
def test_the_slow_ones_take_as_long_as_they_are_told_to(server: Serving, task_type: str) -> None:
    began = time.monotonic()
    assert asked(server, GET, get_task(task_type).numbered(1)) == GOT
    assert time.monotonic() - began >= 0.5


def test_the_generator_gets_through_to_both(server: Serving) -> None:
    with Generator() as generator, floor() as raw:
        for each in (server, raw):
            for path, body in ((CREATE, create_task()), (GET, get_task())):
                result = generator.run(Plan(each.address, path, body, servers=(each.pid,), calls=100, outstanding=16))
                assert result.require().calls == 100
                assert result.server_cpu > 0
