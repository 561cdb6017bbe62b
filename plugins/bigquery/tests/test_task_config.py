"""A task's ``custom``, as its author writes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from connectors import TaskTemplate
from connectors.testing.contexts import NewContext
from connectors_bigquery import BigQueryConfig
from connectors_bigquery._job_request import JobRequest

pytestmark = pytest.mark.anyio
Query = Callable[..., TaskTemplate]


async def test_the_custom_of_a_config_has_the_references_keys() -> None:
    config = BigQueryConfig(
        project="p", location="EU", domain="production", query_job_config={"priority": "BATCH"}, labels={"team": "a"}
    )
    assert config.to_custom() == {
        "ProjectID": "p",
        "Location": "EU",
        "Domain": "production",
        "priority": "BATCH",
        "labels": {"team": "a"},
    }


async def test_the_shortest_config_has_the_location_that_flytes_own_connector_must_find() -> None:
    assert BigQueryConfig(project="p").to_custom() == {"ProjectID": "p", "Location": None}


async def test_a_config_becomes_the_job_that_it_describes(query: Query, new_context: NewContext) -> None:
    config = BigQueryConfig(
        project="p",
        query_job_config={"priority": "BATCH", "maxSlots": "5"},
        labels={"team": "a"},
        google_application_credentials="team-key",
    )
    request = JobRequest.of(replace(query("SELECT 1"), custom=config.to_custom()), new_context())
    assert (request.project, request.location, request.secret_name) == ("p", None, "team-key")
    assert request.configuration["maxSlots"] == "5"
    assert request.configuration["query"]["priority"] == "BATCH"
    assert request.configuration["labels"]["team"] == "a"
