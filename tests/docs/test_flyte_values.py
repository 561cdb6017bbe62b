"""The operators' pages: blocks that cannot be run without a cluster, and facts that stand in tables.

Values for Flyte's charts are held against the names that the backends read (``READ`` and its like, taken from flyte
v1.16.8 and v2.0.43). When the pages were written, the same values were also rendered by Helm with those releases'
charts, and loaded by their own configuration code.
"""

from __future__ import annotations

import asyncio
import re
import tomllib
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # it publishes no types
from lightkube import codecs

from connectors import Phase, errors
from connectors._engine.outcome import status_of
from connectors._server.discovery import discover
from connectors._server.ending import CLOSE_WITHIN
from connectors._server.process import DELAY_IN_A_POD
from connectors._settings import Settings
from connectors._settings.secrets import SecretsOfPlugin
from connectors.secrets import SecretRules, SecretScope
from connectors.testing.server import ConnectorServer
from tests.docs.blocks import ROOT, Block, blocks_of

PAGES = {
    name: (ROOT / "docs" / "operate" / f"{name}.md").read_text("utf-8")
    for name in ("run-it", "secrets", "errors-and-phases", "flyte", "moving-over")
}
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
DOCKERFILE = (ROOT / "service" / "Dockerfile").read_text("utf-8")

READ = {"defaultConnector", "connectors", "connectorForTaskTypes", "supportedTaskTypes", "pollInterval"}
"""Of ``plugins.connector-service``, as far as the pages have a use for it."""
READ_OF_A_DEPLOYMENT = {"endpoint", "insecure", "defaultServiceConfig", "defaultTimeout", "timeouts"}
READ_BY_FLYTE2 = {*READ_OF_A_DEPLOYMENT, "project", "domain"}
TIMED = {"CreateTask", "GetTask", "DeleteTask", "ListConnectors"}
TIMED_BY_FLYTE1 = {*TIMED, "ExecuteTaskSync"}
ROUND_ROBIN = '{"loadBalancingConfig": [{"round_robin": {}}]}'


def checked_here(test: str) -> list[Block]:
    """The blocks that say that this test checks them."""
    blocks = [block for page in PAGES.values() for block in blocks_of(page)]
    found = [block for block in blocks if block.notes.get("checked by", "").endswith(f"test_flyte_values.py::{test}")]
    assert found, test
    return found


def by_title(block: Block) -> str:
    return block.title


def rows(page: str, heading: str) -> list[list[str]]:
    """The rows of the first table under a heading, each a list of its cells."""
    section = PAGES[page].split(f"\n## {heading}\n")[1].split("\n## ")[0]
    table = re.search(r"(?m)^\|.*\n\|[-|]+\|\n((?:\|.*\n)+)", section)
    assert table is not None, heading
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1].splitlines()]


def served() -> Mapping[str, str]:
    """What the installed plugins serve, by task type: async or sync."""
    plugins = ("bigquery", "databricks", "http", "openai", "snowflake")
    found = discover(Settings(allow_plugins=plugins, plugins={"databricks": {"spark": True}}))
    return {item.category.name: item.kind for item in found}


# --- containers


def test_the_compose_commands_find_what_they_need() -> None:
    first, second = checked_here("test_the_compose_commands_find_what_they_need")
    assert [command.split()[0] for command in first.commands] == ["docker", "curl", "docker"]
    [task] = second.commands
    assert COMPOSE[task.split()[-1]]["image"] == COMPOSE["connectors"]["image"]
    service = COMPOSE["connectors"]
    assert (ROOT / service["build"]["dockerfile"]).is_file()
    assert [port.rpartition(":127.0.0.1")[0] for port in service["ports"]] == ["", ""]
    assert {port.partition("}:")[2] for port in service["ports"]} == {"8000-8001:8000", "9090-9091:9090"}
    assert service["deploy"]["replicas"] == 2
    plugins = re.search(r":-(.*)}", service["build"]["args"]["PLUGINS"])
    assert plugins is not None
    assert set(plugins[1].split()) == {path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml")}
    *_, last = service["env_file"]
    assert last["path"] == "connectors.env"  # what it says wins
    assert float(service["stop_grace_period"].removesuffix("s")) > Settings().grace + CLOSE_WITHIN


def test_the_override_adds_to_the_compose_file() -> None:
    [block] = checked_here("test_the_override_adds_to_the_compose_file")
    [(service, added)] = yaml.safe_load(block.text)["services"].items()
    assert service in COMPOSE
    mounted = [volume.split(":")[1] for volume in added["volumes"]]
    assert mounted == ["/data/connectors.toml", *Settings().secret_folders]
    assert "\nWORKDIR /data\n" in DOCKERFILE
    assert "\nUSER 10001\n" in DOCKERFILE


# --- Kubernetes

OBJECTS = checked_here("test_the_objects_are_kubernetes_own")


def objects(block: Block) -> Iterator[dict[str, Any]]:
    yield from yaml.safe_load_all(block.text)


@pytest.mark.parametrize("block", OBJECTS, ids=by_title)
def test_the_objects_are_kubernetes_own(block: Block) -> None:
    for written in objects(block):
        known: Any = codecs.from_dict(written)
        assert known.to_dict() == written  # what Kubernetes does not know is lost


def test_the_fallback_is_a_setting_that_can_be_used() -> None:
    [block] = checked_here("test_the_fallback_is_a_setting_that_can_be_used")
    given = tomllib.loads(block.text)
    assert Settings(**given).fallback == given["fallback"]


def deployment() -> dict[str, Any]:
    [found] = [each for block in OBJECTS for each in objects(block) if each["kind"] == "Deployment"]
    pod: dict[str, Any] = found["spec"]["template"]["spec"]
    return pod


def test_the_pods_variables_are_settings_that_can_be_used() -> None:
    [container] = deployment()["containers"]
    variables = {each["name"]: each.get("value") for each in container["env"]}
    given = {name.removeprefix("CONNECTORS_").lower(): value for name, value in variables.items() if value is not None}
    assert Settings(**given).store.startswith("postgresql://")
    assert variables.keys() - {f"CONNECTORS_{name.upper()}" for name in given} == {"PGPASSWORD"}


def test_the_pod_has_time_to_end() -> None:
    assert deployment()["terminationGracePeriodSeconds"] > DELAY_IN_A_POD + Settings().grace + CLOSE_WITHIN


def test_the_pod_runs_as_the_images_user_and_is_asked_on_the_images_ports() -> None:
    pod = deployment()
    [container] = pod["containers"]
    assert f"\nUSER {pod['securityContext']['runAsUser']}\n" in DOCKERFILE
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": Settings().port, "metrics": Settings().metrics_port}
    for probe in (container["readinessProbe"], container["livenessProbe"]):
        assert probe["httpGet"]["port"] == "metrics"
        assert f"`{probe['httpGet']['path']}`" in PAGES["run-it"]


# --- Flyte

VALUES = checked_here("test_the_values_are_those_that_flyte_reads")


def plugin_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """``plugins.connector-service``, at the place that a chart has for it."""
    place = values["configuration"]["inline"] if "configuration" in values else values["configmap"]["enabled_plugins"]
    plugin: dict[str, Any] = place["plugins"]["connector-service"]
    return plugin


def check_deployment(deployment: Mapping[str, Any], *, is_entry: bool) -> None:
    scheme = deployment["endpoint"].partition(":")[0]
    is_flyte2 = scheme == "dns"
    assert scheme in ("k8s", "dns")
    assert deployment["endpoint"].startswith("dns:///" if is_flyte2 else "k8s://")
    assert deployment["endpoint"].endswith(f":{Settings().port}")
    assert deployment.keys() <= (READ_BY_FLYTE2 if is_flyte2 else READ_OF_A_DEPLOYMENT)
    assert deployment["insecure"] is True
    if is_entry:  # it has no defaults
        assert deployment["defaultServiceConfig"] == ROUND_ROBIN
        assert re.fullmatch(r"\d+s", deployment["defaultTimeout"])
    timeouts = deployment.get("timeouts", [])
    assert isinstance(timeouts, list)  # a map's keys lose their capitals
    for name, time in [item for entry in timeouts for item in entry.items()]:
        assert name in (TIMED if is_flyte2 else TIMED_BY_FLYTE1)
        assert float(time.removesuffix("s")) <= min(Settings().max_timeout, Settings().create_timeout)


@pytest.mark.parametrize("block", VALUES, ids=by_title)
def test_the_values_are_those_that_flyte_reads(block: Block) -> None:
    plugin = plugin_of(yaml.safe_load(block.text))
    assert plugin.keys() <= READ
    check_deployment(plugin["defaultConnector"], is_entry=False)
    entries = plugin.get("connectors", {})
    for name, entry in entries.items():
        assert name == name.lower()
        check_deployment(entry, is_entry=True)
    for task_type, entry in plugin.get("connectorForTaskTypes", {}).items():
        assert entry in entries
        assert served()[task_type] == "async"
    assert set(plugin.get("supportedTaskTypes", [])) <= served().keys()


@pytest.mark.parametrize("title", ["flyte-core-values.yaml", "flyte-binary-values.yaml", "flyte2-values.yaml"])
def test_the_first_values_list_every_task_type_that_is_served_without_a_setting(title: str) -> None:
    [block] = [block for block in VALUES if block.title == title]
    assert set(plugin_of(yaml.safe_load(block.text))["supportedTaskTypes"]) == served().keys() - {"spark"}


def test_a_claimed_task_type_is_given_to_the_connector_plugin() -> None:
    [block] = checked_here("test_a_claimed_task_type_is_given_to_the_connector_plugin")
    values = yaml.safe_load(block.text)
    given = values["configmap"]["enabled_plugins"]["tasks"]["task-plugins"]["default-for-task-types"]
    assert set(given.values()) == {"connector-service"}
    assert given.keys() <= set(plugin_of(values)["supportedTaskTypes"]) <= served().keys()


# --- what is told


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - an address of this machine
        text: str = answer.read().decode()
    return text


@pytest.fixture(scope="module")
def told() -> frozenset[str]:
    """The names of what a server tells."""

    async def ask() -> str:
        async with ConnectorServer(fallback="127.0.0.1:1") as server:  # out of reach, which has a metric as well
            return await asyncio.to_thread(_read, f"http://{server.metrics}/metrics")

    return frozenset(re.findall(r"(?m)^# TYPE (\w+) ", asyncio.run(ask())))


@pytest.mark.parametrize("page", PAGES)
def test_every_metric_that_is_named_is_told(page: str, told: frozenset[str]) -> None:
    assert set(re.findall(r"\bflyte_connector_\w+\b(?!')", PAGES[page])) <= told


def test_the_limits_have_these_flags_and_defaults() -> None:
    table = rows("run-it", "Limits")
    assert len(table) > 10
    for flag, default, _ in table:
        field = flag.strip("`").removeprefix("--").replace("-", "_")
        assert float(default) == Settings.model_fields[field].default


def test_the_table_of_errors_is_the_engines() -> None:
    kinds: dict[str, type[errors.ConnectorError]] = {name: getattr(errors, name) for name in errors.__all__}
    *table, (anything, internal, *_) = rows("errors-and-phases", "Statuses")
    assert (anything, internal) == ("anything else", "INTERNAL")
    assert {name.strip("`") for name, *_ in table} == kinds.keys()
    for name, status, retried, proves, _ in table:
        kind = kinds[name.strip("`")]
        assert status == status_of(kind()), name
        assert (retried == "yes", proves == "yes") == (kind.retryable, kind.proves_no_job), name


def test_the_table_of_phases_has_all_of_them() -> None:
    table = {name: over for names, over, _ in rows("errors-and-phases", "Phases") for name in names.split(", ")}
    assert table.pop("UNDEFINED") == ""
    assert table.keys() == set(Phase.__members__) - {"UNDEFINED"}
    for name, over in table.items():
        assert (over == "yes") == Phase[name].is_terminal, name


def test_the_projects_credentials_are_those_of_the_table() -> None:
    [text] = [block.text for block in blocks_of(PAGES["secrets"]) if "secret_namespaces" in block.text]
    own = SecretsOfPlugin(**tomllib.loads(text)["secrets"]["bigquery"])
    rules = SecretRules(by_project=own.projects)
    asked = "google_application_credentials"
    for where, used in rows("secrets", "Give a project, or a domain, credentials of its own"):
        project, domain = re.findall(r"`([^`]+)`", where)
        place = rules.place_for(asked, SecretScope(project=project, domain=domain))
        name, _, key = (rules.instead(asked, place) or asked).partition("/")
        assert set(re.findall(r"`([^`]+)`", used)) == {name, key} - {""}
