"""``connectors new`` as a process: what it writes, says and refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from connectors._new.names import Names
from connectors._new.writing import CannotWrite, Kind, write_plugin

ROOT = Path(__file__).parents[2]
CONNECTORS = str(Path(sys.executable).with_name("connectors"))


def new(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [CONNECTORS, "new", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_it_writes_a_folder_and_says_what_is_in_it_and_what_comes_next(tmp_path: Path) -> None:
    done = new(tmp_path, "my-jobs")
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["connectors-my-jobs"]
    written, _, after = done.stdout.partition("\n\n")
    assert set(written.splitlines()) == files(tmp_path)
    assert "  cd connectors-my-jobs\n  pip install -e '.[dev]'\n" in after


def test_it_writes_where_it_is_told_to(tmp_path: Path) -> None:
    elsewhere = tmp_path / "my plugins"
    elsewhere.mkdir()
    done = new(tmp_path, "acme", "--directory", "my plugins")
    assert done.returncode == 0
    assert [path.name for path in elsewhere.iterdir()] == ["connectors-acme"]
    assert "cd 'my plugins/connectors-acme'" in done.stdout


@pytest.mark.parametrize(("arguments", "base"), [((), "AsyncConnectorBase"), (("--sync",), "SyncConnectorBase")])
def test_it_writes_the_kind_of_connector_that_was_asked_for(
    tmp_path: Path, arguments: tuple[str, ...], base: str
) -> None:
    assert new(tmp_path, "acme", *arguments).returncode == 0
    source = (tmp_path / "connectors-acme/src/connectors_acme/connector.py").read_text()
    assert f"class AcmeConnector({base}" in source


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_a_plugin_has_its_parts(tmp_path: Path, kind: Kind) -> None:
    folder, written = write_plugin(Names.of("my-jobs"), kind, tmp_path)
    assert files(folder) == {path.as_posix() for path in written}
    assert files(folder) == {
        ".github/workflows/tests.yml",
        ".gitignore",
        "README.md",
        "connectors.toml",
        "pyproject.toml",
        "task.yaml",
        *(
            f"src/connectors_my_jobs/{name}"
            for name in (
                "__init__.py",
                "_api.py",
                "connector.py",
                "py.typed",
                "settings.py",
                "task.py",
                "task_config.py",
            )
        ),
        *(
            f"tests/{name}"
            for name in (
                "__init__.py",
                "conftest.py",
                "fake_my_jobs.py",
                "test_connector.py",
                "test_contract.py",
                "test_task.py",
            )
        ),
    }


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_nothing_of_the_template_s_name_is_left(tmp_path: Path, kind: Kind) -> None:
    folder, _ = write_plugin(Names.of("zebra"), kind, tmp_path)
    assert [path for path in folder.rglob("*") if path.is_file() and "acme" in path.read_text().lower()] == []


@pytest.mark.parametrize("kind", ["async", "sync"])
@pytest.mark.parametrize(
    "name", ["x", "y1", "class", "async", "request", "fake", "task", "acme", "acme-acme", "a" * 32, "-".join("a" * 16)]
)
def test_whatever_the_name_the_files_are_well_formed_and_formatted(tmp_path: Path, name: str, kind: Kind) -> None:
    folder, _ = write_plugin(Names.of(name), kind, tmp_path)
    for command in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--no-cache"]
        done = subprocess.run(ruff, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_is_there_already_is_left_as_it_is(tmp_path: Path, what: str) -> None:
    there = tmp_path / "connectors-acme"
    kept = there
    if what == "folder":
        there.mkdir()
        kept = there / "README.md"
    kept.write_text("mine")
    done = new(tmp_path, "acme")
    assert done.returncode == 1
    assert done.stderr == "connectors: connectors-acme is there already, and is left as it is\n"
    assert kept.read_text() == "mine"
    assert files(tmp_path) == {kept.relative_to(tmp_path).as_posix()}


def test_a_directory_that_is_missing_is_not_made(tmp_path: Path) -> None:
    done = new(tmp_path, "acme", "--directory", "nowhere")
    assert (done.returncode, done.stderr) == (1, "connectors: there is no directory nowhere\n")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = new(tmp_path, "acme", "--directory", "file")
    assert done.returncode == 1
    assert done.stderr == "connectors: file/connectors-acme cannot be made: Not a directory\n"


def test_a_bad_name_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    done = new(tmp_path, "../acme")
    assert done.returncode == 1
    assert "'../acme' cannot name a plugin" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_the_end_is_gone_again(tmp_path: Path) -> None:
    names = Names.of("a" * 32)
    deep = tmp_path
    while len(str(deep)) < os.pathconf(tmp_path, "PC_PATH_MAX") - 150:
        deep /= "d" * 50
    deep /= "d" * (os.pathconf(tmp_path, "PC_PATH_MAX") - len(str(deep)) - len(names.distribution) - 60)
    deep.mkdir(parents=True)
    with pytest.raises(CannotWrite, match="cannot be written: File name too long"):
        write_plugin(names, "async", deep)
    assert list(deep.iterdir()) == []


def test_help_says_what_it_takes(tmp_path: Path) -> None:
    text = new(tmp_path, "--help").stdout
    assert all(word in text for word in ("NAME", "--sync", "--directory"))
