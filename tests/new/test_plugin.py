"""A plugin as ``connectors new`` wrote it: installed beside the service's built wheel, it does what its README says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.author import Author
from tests.docs.blocks import Block, blocks_of
from tests.packaging.workspace import SERVICE

pytestmark = pytest.mark.timeout(900)  # each runs programs, some of them mypy and pip
RUN = """connectors run task.yaml --input 'words=["a", "b"]'"""
OF_THE_README = {
    "pip install -e '.[dev]'",
    "connectors list",
    "connectors check",
    RUN,
    "connectors serve",
    f"{RUN} --endpoint 127.0.0.1:8000",
    "pytest",
    "ruff check",
    "ruff format --check",
    "mypy",
}
"""What a test below runs, on ports that are free; the environment is the author's."""


@dataclass(frozen=True)
class Plugin:
    author: Author
    name: str
    kind: str
    dedupe: str

    @property
    def folder(self) -> Path:
        return self.author.package / f"connectors-{self.name}"

    @property
    def module(self) -> str:
        return self.name.replace("-", "_")

    @property
    def blocks(self) -> list[Block]:
        return blocks_of((self.folder / "README.md").read_text("utf-8"))

    def run(self, command: str, **variables: str) -> str:
        """In the plugin's folder. It must succeed."""
        return self.author.run(f"cd '{self.folder}' && {command}", **variables)


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory) -> Author:
    """One who has the service's wheel, as it would be published."""
    author = Author(tmp_path_factory.mktemp("author"))
    dist = author.package / "dist"
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(dist), str(SERVICE.folder)]
    subprocess.run(command, capture_output=True, check=True)
    author.run("pip install dist/*.whl")
    return author


@pytest.fixture(scope="module", params=["async", "sync"])
def plugin(request: pytest.FixtureRequest, author: Author) -> Plugin:
    """Written and installed."""
    options, name, dedupe = {"async": ("", "my-jobs", "native"), "sync": ("--sync", "my-calls", "-")}[request.param]
    author.run(f"connectors new {name} {options}")
    plugin = Plugin(author, name, request.param, dedupe)
    plugin.run("pip install -e '.[dev]'")
    return plugin


def test_it_is_listed(plugin: Plugin) -> None:
    [row] = [line.split() for line in plugin.run("connectors list").splitlines() if plugin.module in line]
    assert row[:4] == [plugin.module, "0", plugin.kind, plugin.dedupe]
    assert row[-3:] == [plugin.module, f"connectors-{plugin.name}", "0.1.0"]


def test_it_is_without_fault(plugin: Plugin) -> None:
    checked = plugin.run("connectors check")
    assert re.search(rf"^ok +{plugin.module}@0: {plugin.kind}", checked, re.MULTILINE)


def test_its_own_tests_pass(plugin: Plugin) -> None:
    said = plugin.run("python -m pytest -p no:cacheprovider")
    assert re.search(r"^=+ \d+ passed in ", said, re.MULTILINE), said
    assert "skipped" not in said


def test_its_tests_run_what_was_installed(plugin: Plugin) -> None:
    where = plugin.run(f"python -c 'import connectors, connectors_{plugin.module} as own; print(connectors, own)'")
    assert str(SERVICE.folder) not in where
    assert str(plugin.folder) in where


@pytest.mark.parametrize("tool", ["ruff check --no-cache", "ruff format --check --no-cache", "mypy"])
def test_its_tools_find_nothing(plugin: Plugin, tmp_path: Path, tool: str) -> None:
    options = [f"--cache-dir={tmp_path}"] if tool == "mypy" else []
    command = [sys.executable, "-m", *tool.split(), *options]
    done = subprocess.run(command, cwd=plugin.folder, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_is_built_into_a_wheel_with_its_entry_point(plugin: Plugin, tmp_path: Path) -> None:
    plugin.run(f"pip wheel --no-deps --wheel-dir '{tmp_path}' .")
    [wheel] = tmp_path.glob("*.whl")
    shutil.unpack_archive(wheel, tmp_path / "unpacked", "zip")
    [entry_points] = (tmp_path / "unpacked").glob("*.dist-info/entry_points.txt")
    title = "".join(word.capitalize() for word in plugin.name.split("-"))
    line = f"{plugin.module} = connectors_{plugin.module}:{title}Connector"
    assert entry_points.read_text().split("\n", 1) == ["[connectors]", f"{line}\n"]
    assert (tmp_path / "unpacked" / f"connectors_{plugin.module}" / "py.typed").exists()


@pytest.fixture
def stand_in(plugin: Plugin) -> Iterator[str]:
    """The platform's stand-in, as the README has it started, on a free port: its URL."""
    command = [sys.executable, "-m", f"tests.fake_{plugin.module}", "0"]
    with subprocess.Popen(command, cwd=plugin.folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        try:
            yield re.findall(r"http://[\d.:]+\d", said)[0]
        finally:
            process.terminate()


@pytest.fixture
def variables(plugin: Plugin, stand_in: str) -> dict[str, str]:
    """What the README exports, and the stand-in's free port in place of the one in connectors.toml."""
    [block] = [block.text for block in plugin.blocks if "export " in block.text]
    exported = dict(re.findall(r"^export (\w+)=(\S+)$", block, re.MULTILINE))
    return {**exported, f"CONNECTORS_{plugin.module.upper()}__ENDPOINT": stand_in}


def test_its_settings_file_is_for_the_stand_in(plugin: Plugin) -> None:
    settings = tomllib.loads((plugin.folder / "connectors.toml").read_text("utf-8"))
    assert settings == {"store": "memory://", "plugins": {plugin.module: {"endpoint": "http://127.0.0.1:8700"}}}
    source = (plugin.folder / f"tests/fake_{plugin.module}.py").read_text("utf-8")
    assert "port: int = 8700" in source  # where it is served if no port is given


def test_the_script_of_its_readme_runs_the_task(plugin: Plugin, variables: dict[str, str]) -> None:
    [script] = [block.text for block in plugin.blocks if block.language == "python"]
    (plugin.folder / "script.py").write_text(script, "utf-8")
    assert "'arguments': {'words': ['a', 'b']}" in plugin.run("python script.py", **variables)


def test_its_task_runs_by_the_command(plugin: Plugin, variables: dict[str, str]) -> None:
    done = json.loads(plugin.run(f"{RUN} --json", **variables))
    assert done["outputs"]["result"]["arguments"] == {"words": ["a", "b"]}


@pytest.fixture
def served(plugin: Plugin, variables: dict[str, str]) -> Iterator[str]:
    """The address of a server, as the README has it started, on free ports."""
    free = {"CONNECTORS_PORT": "0", "CONNECTORS_METRICS_PORT": "0", "CONNECTORS_LOG_FORMAT": "json"}
    command = f"connectors serve --config '{plugin.folder}/connectors.toml'"
    with plugin.author.start(command, **free, **variables) as process:
        assert process.stderr is not None
        ready = next(line for line in process.stderr if '"ready"' in line)
        yield json.loads(ready)["address"]
        process.terminate()
        process.stderr.read()


def test_its_task_runs_through_a_server(plugin: Plugin, served: str) -> None:
    done = json.loads(plugin.run(f"{RUN} --json --endpoint {served}"))
    assert done["outputs"]["result"]["arguments"] == {"words": ["a", "b"]}


def test_its_readme_names_no_other_command(plugin: Plugin) -> None:
    commands = {command for block in plugin.blocks if block.language == "sh" for command in block.commands}
    assert {command for command in commands if not command.startswith("export ")} == OF_THE_README


def test_its_ci_runs_what_was_run_here(plugin: Plugin) -> None:
    workflow = (plugin.folder / ".github/workflows/tests.yml").read_text("utf-8")
    steps = re.findall(r"^ +- run: (.+)$", workflow, re.MULTILINE)
    assert len(steps) >= 5
    assert set(steps) <= OF_THE_README
    assert "python-version: ${{ matrix.python }}" in workflow
