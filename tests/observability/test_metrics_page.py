"""docs/operate/metrics.md names every metric that there is, as it is."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from connectors import AsyncConnectorBase, Context, Phase, Resource, TaskTemplate
from connectors._engine.events import CallEvent, KeyOutcome, PlatformRequest, RateLimit, RateLimitPause, TokenRefresh
from connectors._observability.families import PREFIX
from connectors._observability.metrics import Metrics
from connectors._registry import LoadFailure
from connectors._stores.memory import MemoryStore
from tests.engine.harness import Bench, Job, job_request
from tests.observability.scraping import Page

pytestmark = pytest.mark.anyio

GUIDE = Path(__file__).parents[2] / "docs/operate/metrics.md"
ROW = re.compile(r"\| `(\w+)` \| (\w+) \| ([`\w ]*)\| (.+) \|")
OK = CallEvent(operation="get", task_type="t", protocol="flyte1", status="OK", seconds=0.1, input_bytes=1, attempts=2)


class Blocking(AsyncConnectorBase[Job]):
    task_type = "blocking"

    async def create(self, task: TaskTemplate, ctx: Context) -> Job:
        return Job("j")

    def get(self, job: Job, ctx: Context) -> Resource:
        return Resource(Phase.RUNNING)

    async def delete(self, job: Job, ctx: Context) -> None:
        pass


async def everything() -> Page:
    """A page on which each metric has a series."""
    metrics = Metrics(version="1")
    bench = Bench(store=MemoryStore(), extra=(Blocking(),))
    async with bench.engine() as engine:
        metrics.show_engine(engine)
        metrics.show_store(lambda: True, lambda: 0)
        metrics.show_fallback(lambda: True)
        await engine.get(job_request(Job("j").encode(), "blocking"))
        metrics.connectors(engine.registry)
        metrics.plugin_failures([LoadFailure("p", "d", "x", "import")])
        for told in (
            OK,
            dataclasses.replace(OK, status="NOT_FOUND", error="NotFound"),
            dataclasses.replace(OK, status="RESOURCE_EXHAUSTED", error="AdmissionRefused", retry_denied=True),
            dataclasses.replace(OK, shielded=True, error="Unavailable", unknown_states=("NEW",)),
            dataclasses.replace(OK, operation="delete", shielded=True, error="Unavailable"),
            dataclasses.replace(OK, repeated=True),
            dataclasses.replace(OK, operation="reap_lost"),
        ):
            metrics.observe(told)
        for fact in (
            KeyOutcome("t", "new", "k"),
            PlatformRequest("p", "t", "GET", 200, None, 0.1),
            TokenRefresh("p", "t", succeeded=True),
            RateLimit("t"),
            RateLimitPause("t", 1.0),
        ):
            metrics.fact(fact)
        metrics.used("t", {"tokens": 1})
        metrics.store("reserve", 0.1, "unavailable")
        metrics.rejected("/m", "r")
        metrics.lagged(0.001)
        metrics.blocked("t")
        metrics.ready(True)
        metrics.tls_reloaded(True)
        return Page(metrics.render()[0].decode())


async def test_the_guide_s_tables_are_the_metrics_that_there_are() -> None:
    rows = [row.groups() for line in GUIDE.read_text().splitlines() if (row := ROW.fullmatch(line)) is not None]
    told = {name: (kind, frozenset(re.findall(r"\w+", labels))) for name, kind, labels, _ in rows}
    page = await everything()
    ours = {name: (family.kind, family.labels) for name, family in page.families.items() if name.startswith(PREFIX)}
    without_series = {name for name in ours if not any(found.startswith(name) for found, _ in page.samples)}
    created = {name for name in ours if name.endswith("_created")}
    assert without_series == set()
    assert told == {name: ours[name] for name in ours.keys() - created}


async def test_every_metric_has_a_text_that_is_a_sentence() -> None:
    texts = [family.text for name, family in (await everything()).families.items() if name.startswith(PREFIX)]
    assert all(text[0].isupper() or text[0].isdigit() for text in texts)
    assert all(text.endswith(".") for text in texts)
