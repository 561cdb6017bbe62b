"""The fake BigQuery that is measured with: it answers the real connector in a real server, and counts the requests."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import bigquery, platform
from benchmarks.load import Generator, Plan
from benchmarks.nothing import CREATE, GET
from benchmarks.servers import Serving
from connectors import Phase, Sql, TaskCategory, TaskTemplate
from connectors.client import ConnectorClient

TASK_TYPE = "bigquery_query_job_task"
JOBS = "/bigquery/v2/projects/example-project/jobs"


@pytest.fixture
def place() -> Iterator[platform.Platform]:
    with platform.running(0.02) as running:
        yield running


@pytest.fixture
def server(place: platform.Platform, tmp_path: Path) -> Iterator[Serving]:
    with bigquery.ours(tmp_path, place.url) as serving:
        yield serving


@pytest.mark.anyio
async def test_a_job_that_the_connector_makes_is_found_running(server: Serving, place: platform.Platform) -> None:
    task = TaskTemplate(
        TASK_TYPE, custom={"ProjectID": "example-project", "Location": "EU"}, sql=Sql("SELECT 1", "ANSI")
    )
    async with ConnectorClient(server.address) as client:
        meta = await client.create(task)
        job = await client.get(TaskCategory(TASK_TYPE), meta)
    assert job.phase is Phase.RUNNING
    assert place.counts() == platform.Counts(tokens=1, gets=1, jobs_asked_for=1, inserts=1, jobs_made=1)


def test_each_of_the_measured_calls_is_about_a_job_of_its_own(server: Serving, place: platform.Platform) -> None:
    with Generator() as generator:
        for path, body in ((GET, bigquery.get_task()), (CREATE, bigquery.create_task())):
            generator.run(Plan(server.address, path, body, calls=100, outstanding=20)).require()
    counts = place.counts()
    assert (counts.gets, counts.jobs_asked_for, counts.inserts, counts.jobs_made) == (100, 100, 100, 100)
    assert counts.tokens == 1


def test_a_job_id_that_is_taken_is_a_conflict(place: platform.Platform) -> None:
    body = b'{"jobReference": {"jobId": "a"}}'

    def insert() -> int:
        request = urllib.request.Request(place.url + JOBS, body)  # noqa: S310 - http, and our own
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
            return int(answer.status)

    assert insert() == 200
    with pytest.raises(urllib.error.HTTPError) as refused:
        insert()
    with refused.value:
        assert refused.value.code == 409


def test_every_answer_takes_the_time_that_was_asked_for(place: platform.Platform) -> None:
    answers = place.asked_directly(connections=4, requests=40)
    assert answers.median >= 0.02
    assert answers.per_second <= 4 / 0.02
    assert place.counts().gets == 40
