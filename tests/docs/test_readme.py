"""What README.md says, done: every command is run, every Python block executed, every TOML block used.

Two things are not done here in full. ``make demo`` is run by tests/demo, and the other make targets set up and check
this checkout itself, so that from within it only make's own plan of them is asked for. And there is no container
engine: of the compose file it is checked that it builds and publishes what README's commands rely on.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from connectors._run.exit_codes import ExitCode
from connectors._settings import Settings, load
from tests.docs.author import Author
from tests.docs.blocks import ROOT, blocks_of
from tests.emulators.fixtures import crucible_url

__all__ = ["crucible_url"]

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = blocks_of(README)
PACKAGES = ["service", *sorted(str(each.parent.relative_to(ROOT)) for each in ROOT.glob("plugins/*/pyproject.toml"))]

MADE = ["make demo", "make test", "make install", "make check", "make serve", "make wheels"]
BY_THE_AUTHOR = ["pip install -e .", "connectors list", "connectors serve", "connectors check", "python call.py"]
BY_A_NEW_PLUGIN_S = ["connectors new acme", "cd connectors-acme", "pip install -e '.[dev]'", "pytest"]
"""tests/new/test_plugin.py runs these."""
RUNS = [
    "connectors run timer.yaml --input seconds=2",
    "connectors run timer.yaml --input seconds=2 --endpoint 127.0.0.1:8000 --protocol flyte2",
]
STEPS = [
    "connectors create timer.yaml --input seconds=2",
    """connectors get timer '{"rings_at": 1715938200.0}'""",
    """connectors delete timer '{"rings_at": 1715938200.0}'""",
]
IN_CONTAINERS = ["docker compose up --build --wait", "docker compose down"]
READY = "curl http://127.0.0.1:9090/readyz"
RUN_HERE = [*MADE, "make help", *BY_THE_AUTHOR, *BY_A_NEW_PLUGIN_S, *RUNS, *STEPS, *IN_CONTAINERS, READY]
"""Every command that a test below runs, or stands for as the module's docstring says."""
OF_WHEELS = "pip install dist/*.whl"
OF_A_PACKAGE = {"make wheels", OF_WHEELS, "connectors list", "connectors serve"}
"""Every command of a package's own README."""

PARTS = {
    "the connector": ("python", "class TimerConnector"),
    "the call": ("python", "ConnectorClient("),
    "the package": ("toml", "[build-system]"),
    "the list": ("text", "TASK TYPE"),
    "the task": ("yaml", "type: timer"),
    "the task in Python": ("python", "ConnectorTask("),
    "the query": ("yaml", "type: bigquery"),
    "the configuration": ("toml", "[plugins.bigquery]"),
    "the secrets": ("toml", "[secrets.bigquery]"),
}
"""Every other block that a test below uses: its language, and what tells it from the others."""


def part(name: str) -> str:
    language, mark = PARTS[name]
    [text] = [block.text for block in BLOCKS if block.language == language and mark in block.text]
    return text


# --- nothing is left out


def test_every_command_is_one_that_a_test_runs() -> None:
    commands = {command for block in BLOCKS if block.language == "sh" for command in block.commands}
    assert commands == set(RUN_HERE)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_command_of_a_package_is_one_that_a_test_runs(package: str) -> None:
    blocks = blocks_of((ROOT / package / "README.md").read_text("utf-8"))
    commands = {command for block in blocks if block.language == "sh" for command in block.commands}
    assert OF_WHEELS in commands
    assert commands <= OF_A_PACKAGE


def test_every_other_block_is_one_that_a_test_uses() -> None:
    assert [block.text for block in BLOCKS if block.language != "sh" and block.text not in map(part, PARTS)] == []


def test_every_fence_is_part_of_a_block_with_a_language() -> None:
    assert README.count("```") == 2 * len(BLOCKS)
    assert all(block.language for block in BLOCKS)


# --- make


@pytest.mark.parametrize("command", MADE)
def test_make_knows_the_target(command: str) -> None:
    plan = subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (plan.returncode, plan.stderr) == (0, "")


def test_make_demo_runs_the_demo() -> None:
    plan = subprocess.run(["make", "--dry-run", "demo"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "demo/run_demo.py" in plan
    assert (ROOT / "demo" / "run_demo.py").exists()


def test_make_help_names_every_target_that_the_readme_names() -> None:
    text = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = {" ".join(line.split()[:2]) for line in text.splitlines()}
    assert {*MADE} <= listed


@pytest.fixture(scope="module")
def of_wheels(tmp_path_factory: pytest.TempPathFactory) -> Author:
    """One who has installed what ``make wheels`` builds."""
    author = Author(tmp_path_factory.mktemp("of_wheels"))
    plan = subprocess.run(["make", "--dry-run", "wheels"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for package in PACKAGES:
        assert re.search(rf"\b{package}\b", plan)
        dist = str(author.package / "dist")
        command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", dist, str(ROOT / package)]
        subprocess.run(command, capture_output=True, check=True)
    author.run(OF_WHEELS)
    return author


def test_the_wheels_are_what_is_installed_and_listed(of_wheels: Author) -> None:
    code = "import connectors, connectors_bigquery as plugin; print(connectors.__file__, plugin.__file__)"
    installed = of_wheels.run(f"python -c '{code}'").split()
    assert [path for path in installed if path.startswith(str(ROOT))] == []
    assert "bigquery_query_job_task" in of_wheels.run("connectors list")


# --- the first connector


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory) -> Author:
    """One who has followed the README up to the package's installation."""
    author = Author(tmp_path_factory.mktemp("author"))
    (author.package / "connectors_timer.py").write_text(part("the connector"), "utf-8")
    (author.package / "pyproject.toml").write_text(part("the package"), "utf-8")
    author.run("pip install -e .")
    return author


@dataclass(frozen=True)
class Served:
    address: str
    metrics: str


@pytest.fixture(scope="module")
def served(author: Author) -> Iterator[Served]:
    """``connectors serve``, on free ports: those of the README may be taken."""
    free = {"CONNECTORS_PORT": "0", "CONNECTORS_METRICS_PORT": "0", "CONNECTORS_LOG_FORMAT": "json"}
    with author.start("connectors serve", **free) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if '"ready"' in line:
                ready = json.loads(line)
                yield Served(ready["address"], ready["metrics"])
                break
        process.terminate()
        process.stderr.read()
    assert process.returncode == 0, lines


def test_the_list_shows_the_connector_as_the_readme_does(author: Author) -> None:
    shown = [line.rstrip() for line in author.run("connectors list").splitlines()]
    assert shown == part("the list").splitlines()


def test_check_finds_no_fault_with_it(author: Author) -> None:
    assert re.search(r"^ok +timer@0: async", author.run("connectors check"), re.MULTILINE)


def test_the_call_polls_the_job_to_its_success(author: Author, served: Served) -> None:
    assert "127.0.0.1:8000" in part("the call")
    (author.package / "call.py").write_text(part("the call").replace("127.0.0.1:8000", served.address), "utf-8")
    started = time.time()
    *before, last = author.run("python call.py").splitlines()
    assert set(before) == {"RUNNING"}
    found = re.fullmatch(r"SUCCEEDED \{'rang_at': (\d+\.\d+)\}", last)
    assert found is not None
    assert started < float(found[1]) < time.time()


@pytest.mark.parametrize("command", RUNS)
def test_the_task_runs_here_and_through_the_server(author: Author, served: Served, command: str) -> None:
    (author.package / "timer.yaml").write_text(part("the task"), "utf-8")
    found = re.fullmatch(r"rang_at: (\d+\.\d+)\n", author.run(command.replace("127.0.0.1:8000", served.address)))
    assert found is not None
    assert time.time() - 60 < float(found[1]) < time.time()


def test_the_task_runs_in_python(author: Author) -> None:
    (author.package / "ring.py").write_text(part("the task in Python"), "utf-8")
    assert time.time() - 60 < float(author.run("python ring.py")) < time.time()


def test_the_steps_of_a_run_are_commands(author: Author) -> None:
    (author.package / "timer.yaml").write_text(part("the task"), "utf-8")
    created, asked, deleted = map(author.run, STEPS)
    assert re.fullmatch(r'\{"rings_at":\d+\.\d+\}\n', created)
    assert (asked, deleted) == ("SUCCEEDED\nrang_at: 1715938200.0\n", "")


def test_the_query_runs_on_an_emulator(author: Author, crucible_url: str) -> None:
    (author.package / "query.yaml").write_text(part("the query"), "utf-8")
    shown = author.run("connectors run query.yaml", BIGQUERY_EMULATOR_HOST=crucible_url)
    assert '"uri": "bq://my-project:' in shown


def test_the_exit_codes_are_those_of_the_command() -> None:
    rows = re.findall(r"^\| (\d+) \|", README, re.MULTILINE)
    assert sorted(map(int, rows)) == sorted(ExitCode)


def test_the_server_says_that_it_is_ready_at_the_path_of_the_readme(served: Served) -> None:
    url = READY.removeprefix("curl ").replace("127.0.0.1:9090", served.metrics)
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - an address of this machine
        assert answer.status == 200


# --- configuration


def test_the_configuration_file_is_read(author: Author, tmp_path: Path) -> None:
    path = tmp_path / "connectors.toml"
    path.write_text(part("the configuration"), "utf-8")
    settings = load({"config": str(path)})
    written = tomllib.loads(part("the configuration"))
    assert (settings.log_format, settings.key_namespace) == (written["log_format"], written["key_namespace"])
    limits = settings.engine_options().limits_for("bigquery_query_job_task")
    assert limits.concurrency == written["connectors"]["bigquery_query_job_task"]["concurrency"]
    author.run(f"connectors check --config '{path}'")


def test_the_file_with_secrets_is_read(author: Author, tmp_path: Path) -> None:
    path = tmp_path / "connectors.toml"
    path.write_text(part("the secrets"), "utf-8")
    own = load({"config": str(path)}).plugin_secrets()["bigquery"]
    written = tomllib.loads(part("the secrets"))["secrets"]["bigquery"]
    assert (list(own.names), own.by_project) == (written["names"], written["projects"])
    author.run(f"connectors check --config '{path}'")


def settings_table() -> list[tuple[str, str, str]]:
    rows = re.findall(r"^\| `--([a-z-]+)` \| `(\w+)` \|(.*?)\|", README, re.MULTILINE)
    return [(flag, variable, default.strip(" `")) for flag, variable, default in rows]


@pytest.mark.parametrize(("flag", "variable", "default"), settings_table())
def test_the_settings_have_these_names_and_defaults(flag: str, variable: str, default: str) -> None:
    field = flag.replace("-", "_")
    assert variable == f"CONNECTORS_{field.upper()}"
    actual = "connectors.toml" if field == "config" else Settings.model_fields[field].default
    assert default == shown(actual)


def shown(default: object) -> str:
    if isinstance(default, tuple):
        return ",".join(default)
    return "" if default is None else f"{default:g}" if isinstance(default, float) else str(default).lower()


def test_the_table_of_settings_is_found() -> None:
    assert len(settings_table()) >= 5


# --- the rest


def test_the_compose_file_builds_the_image_and_publishes_the_ports_of_the_readme() -> None:
    compose = (ROOT / "docker-compose.yml").read_text("utf-8")
    [dockerfile] = re.findall(r"^ +dockerfile: (.+)$", compose, re.MULTILINE)
    assert (ROOT / dockerfile).exists()
    assert "${CONNECTORS_PUBLISH:-127.0.0.1}:8000:8000" in compose
    assert "${CONNECTORS_PUBLISH:-127.0.0.1}:9090:9090" in compose
    assert "path: connectors.env" in compose


def test_every_file_that_is_linked_to_exists() -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", README)
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []
