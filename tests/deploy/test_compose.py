"""The compose stack's files, without an engine for containers; ``make compose-test`` runs it."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # it publishes no types

from connectors._settings import Settings
from demo.emulators import CRUCIBLE
from tests.deploy.queries import DEPLOY

STACK = yaml.safe_load((DEPLOY.parent / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = STACK["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_change_nothing_and_gain_nothing(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_port_is_published_on_the_loopback(name: str) -> None:
    for port in SERVICES[name].get("ports", ()):
        assert port.startswith(("127.0.0.1:", "${CONNECTORS_PUBLISH:-127.0.0.1}:"))


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_is_in_the_checkout_and_read_only(name: str) -> None:
    for volume in SERVICES[name].get("volumes", ()):
        source, _, rest = volume.partition(":")
        if source.startswith("."):
            assert (DEPLOY.parent / source).exists()
            assert rest.endswith(":ro")
        else:
            assert source in STACK["volumes"]


def test_the_two_servers_share_a_store_that_servers_can_share() -> None:
    text = (DEPLOY / "compose" / "servers.env").read_text("utf-8")
    given = dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
    settings = {name.removeprefix("CONNECTORS_").lower(): value for name, value in given.items()}
    assert Settings.model_validate(settings).store.startswith("redis://redis:")


def test_the_emulator_is_the_one_that_the_demo_uses() -> None:
    text = (DEPLOY / "compose" / "bigquery-emulator" / "requirements.txt").read_text("utf-8")
    pinned = dict(re.findall(r"(?m)^([\w.-]+)==([\w.]+) \\$", text))
    wanted = dict(each.split("==") for each in CRUCIBLE.requirements)
    assert {name.replace("_", "-").lower(): version for name, version in wanted.items()} == pinned


def test_grafana_finds_the_dashboard_and_prometheus() -> None:
    folder = DEPLOY / "grafana" / "provisioning"
    [source] = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text("utf-8"))["datasources"]
    assert source["url"] == "http://prometheus:9090"
    [provider] = yaml.safe_load((folder / "dashboards" / "connectors.yaml").read_text("utf-8"))["providers"]
    mounted = [volume.split(":")[1] for volume in SERVICES["grafana"]["volumes"]]
    assert provider["options"]["path"] in {path.rpartition("/")[0] for path in mounted}
