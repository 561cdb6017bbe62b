"""Every query of the alerts and of the dashboard, asked of a real Prometheus over a real server: each has a series."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
import urllib.request
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from cryptography import x509

from connectors.testing.platform import FakePlatform
from tests.deploy.prometheus import Prometheus, prometheus_server
from tests.deploy.queries import RULES, alerts, panels, sides, targets_of
from tests.deploy.troubles import PLUGIN, SETTINGS, happen
from tests.registry.distributions import write_distribution
from tests.server.processes import ServerProcess
from tests.stores.redis_server import RedisServer, free_port, redis_server
from tests.wire.tls import certify

ALERTS = {alert["alert"]: alert["expr"] for alert in alerts()}
PANELS = {panel["title"]: panel for panel in panels()}
_PATIENCE = 60.0  # seconds, for what the server does by itself
_SCRAPES = 20.0  # seconds, in which a series has been read twice


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """It has seen a server to which everything happened that there is a metric for."""
    folder = tmp_path_factory.mktemp("deploy")
    for name in ("plugins", "prometheus", "server", "tls"):
        (folder / name).mkdir()
    plugins = {"native": "Platform", "talk": "Talk", "threads": "Threads"}
    write_distribution(folder / "plugins", "troubles", PLUGIN, entry_points=plugins)
    write_distribution(folder / "plugins", "broken", "raise RuntimeError('it cannot be imported')")
    port = free_port()
    settings = f'{SETTINGS}\n[plugins.native]\nurl = "http://127.0.0.1:{port}"\n'
    (folder / "server" / "connectors.toml").write_text(settings, "utf-8")
    with redis_server(folder / "redis") as redis:
        server = ServerProcess(f"--store={redis.url}", plugins=folder / "plugins", cwd=folder / "server")
        certificate, key = certify(folder / "tls", x509.IPAddress(ip_address("127.0.0.1")))
        arguments = (f"--tls-certificate={certificate}", f"--tls-key={key}", "--store=memory://")
        tls = ServerProcess(*arguments, plugins=folder / "plugins", cwd=folder / "tls")
        try:
            targets = [each.metrics.removeprefix("http://") for each in (server, tls)]
            with prometheus_server(folder / "prometheus", targets=targets, rules=RULES) as started:
                key.write_text("no key", "ascii")
                asyncio.run(trouble(server, redis, port))
                until_told(tls, '_tls_reloads_total{outcome="failed"')
                yield started
        finally:
            server.close()
            tls.close()


async def trouble(server: ServerProcess, redis: RedisServer, port: int) -> None:
    async with FakePlatform(port=port) as platform:
        await happen(server.address, platform)
        for text in ('_orphans_total{fate="reported",kind="unknown"', 'operation="reap"'):
            await asyncio.to_thread(until_told, server, text)
    redis.kill()
    for text in ("_store_errors_total{", "_store_up 0.0"):
        await asyncio.to_thread(until_told, server, text)


def until_told(server: ServerProcess, text: str) -> None:
    until = time.monotonic() + _PATIENCE
    page = ""
    while time.monotonic() < until:
        with urllib.request.urlopen(f"{server.metrics}/metrics", timeout=10) as answer:  # noqa: S310 - of this machine
            page = answer.read().decode()
        if text in page:
            return
        time.sleep(0.1)
    raise AssertionError(f"no {text} in {page}")


def without_series(prometheus: Prometheus, queries: list[str]) -> list[str]:
    """Which of the queries have none, though there was time for it."""
    until = time.monotonic() + _SCRAPES
    while True:
        missing = [query for query in queries if not prometheus.query(query)]
        if not missing or time.monotonic() > until:
            return missing
        time.sleep(0.5)


@pytest.mark.parametrize("name", ALERTS)
def test_whatever_an_alert_compares_is_there(prometheus: Prometheus, name: str) -> None:
    assert without_series(prometheus, list(sides(ALERTS[name]))) == []


@pytest.mark.parametrize("title", PANELS)
def test_a_panel_has_something_to_show(prometheus: Prometheus, title: str) -> None:
    assert without_series(prometheus, list(targets_of(PANELS[title]))) == []


def test_the_dashboard_shows_whatever_the_server_tells(prometheus: Prometheus) -> None:
    asked = " ".join(itertools.chain.from_iterable(targets_of(panel) for panel in panels()))
    told = {series["metric"]["__name__"] for series in prometheus.query('{__name__=~"flyte_connector_.+"}')}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in told if not name.endswith("_created")}
    # The same calls are in the histogram of durations, and what went well is what did not fail.
    shown_otherwise = {
        "flyte_connector_request_latency_seconds",
        "flyte_connector_requests_success_total",
    }
    assert {name for name in families if name not in asked} <= shown_otherwise


def test_prometheus_evaluates_every_alert(prometheus: Prometheus) -> None:
    assert prometheus.alerts() == ALERTS.keys()
