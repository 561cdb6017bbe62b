"""The demo, run for real: the server, the emulator, both protocols."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.demo.demo_process import Demo

HEADINGS = {
    "plugins": "Plugins, as `connectors list` finds them",
    "flyte1": "Flyte 1: flyteidl.service.AsyncAgentService",
    "flyte2": "Flyte 2: flyteidl2.connector.AsyncConnectorService",
    "metrics": "What the server counted",
}
BOTH = pytest.mark.parametrize("protocol", ["flyte1", "flyte2"])


@dataclass(frozen=True)
class Run:
    demo: Demo
    exit_status: int
    output: str
    errors: str
    leftovers: list[str]

    def section(self, name: str) -> str:
        """What stands between a heading and the blank line before the next one."""
        start = self.output.index(f"\n{HEADINGS[name]}\n")
        return re.split(r"\n\n(?=\S)", self.output[start + 1 :])[0]

    def rows(self, name: str) -> list[list[str]]:
        """The section's table, without its heading."""
        table = self.section(name).partition("───\n")[2]
        return [line.split() for line in table.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose output is no terminal, among settings of the user's that are none of its business."""
    folder = tmp_path_factory.mktemp("plain")
    demo = Demo(
        folder,
        {"XDG_STATE_HOME": str(folder / "state"), "CONNECTORS_STORE": "nonsense://", "CONNECTORS_PORT": "nonsense"},
    )
    (demo.working / "connectors.toml").write_text("nonsense = 1\n")
    with demo.start("--svg", str(folder / "demo.svg")) as process:
        output, errors = process.communicate(timeout=250)
    return Run(demo, process.returncode, output, errors, demo.left_behind())


def test_it_succeeds(plain: Run) -> None:
    assert (plain.exit_status, plain.errors) == (0, "")


def test_it_leaves_neither_processes_nor_files(plain: Run) -> None:
    assert plain.leftovers == []


def test_it_does_not_touch_the_users_store(plain: Run) -> None:
    assert not (plain.demo.folder / "state").exists()
    assert not (plain.demo.home / ".local").exists()


def test_it_writes_no_control_characters_where_there_is_no_terminal(plain: Run) -> None:
    assert [line for line in plain.output.splitlines() if not line.isprintable()] == []


def test_it_lists_the_plugins_that_are_discovered(plain: Run) -> None:
    [task_type, kind, plugin, distribution, version] = plain.rows("plugins")[0]
    assert (task_type, kind, plugin, distribution) == (
        "bigquery_query_job_task",
        "async",
        "bigquery",
        "connectors-bigquery",
    )
    assert version[0].isdigit()


@BOTH
def test_the_job_is_polled_to_its_success(plain: Run, protocol: str) -> None:
    assert re.search(r"^ +job +CreateTask$", plain.section(protocol), re.MULTILINE)
    assert re.search(r"^ +phases +([A-Z]+ → )*SUCCEEDED in \d+\.\d\d s$", plain.section(protocol), re.MULTILINE)


def test_what_is_only_begun_shows_no_time_where_there_is_no_live_line(plain: Run) -> None:
    begun = re.findall(r"^ +(?:starting|job) .*$", plain.output, re.MULTILINE)
    assert len(begun) >= 4
    assert [line for line in begun if re.search(r"\d s$", line)] == []


@BOTH
def test_the_link_names_the_job(plain: Run, protocol: str) -> None:
    link = re.escape("https://console.cloud.google.com/bigquery?project=demo&j=bq:EU:")
    assert re.search(rf"{link}[0-9a-f-]{{36}}&page=queryresults$", plain.section(protocol), re.MULTILINE)


@BOTH
def test_the_output_is_a_table_and_its_rows_are_the_querys(plain: Run, protocol: str) -> None:
    squares = [n * n for n in range(1, 1_000_001)]
    ends: dict[int, list[int]] = {}
    for square in squares:
        ends.setdefault(square % 10, []).append(square)
    expected = [[str(digit), str(len(ends[digit])), str(max(ends[digit]))] for digit in sorted(ends)]
    assert re.search(r"^ +output +bq://demo:\w+\.\w+$", plain.section(protocol), re.MULTILINE)
    assert plain.rows(protocol) == expected


@BOTH
def test_a_second_create_of_the_attempt_gives_the_same_job(plain: Run, protocol: str) -> None:
    assert "a second CreateTask of this attempt: same job\n" in plain.section(protocol)


def test_the_protocols_run_a_job_each(plain: Run) -> None:
    assert len(set(re.findall(r"bq:EU:([0-9a-f-]{36})", plain.output))) == 2


def test_the_servers_metrics_count_the_creates_with_their_repeats_and_the_polls(plain: Run) -> None:
    counted = {row[1]: [int(number) for number in row[2:5]] for row in plain.rows("metrics")}
    assert counted["create"] == [4, 0, 2]
    succeeded, failed, _ = counted["get"]
    assert succeeded >= 2
    assert failed == 0


def test_the_picture_shows_the_run_and_loads_nothing_from_elsewhere(plain: Run) -> None:
    picture = (plain.demo.folder / "demo.svg").read_text("utf-8")
    assert "999994000009" in picture
    assert "url(http" not in picture


def test_a_terminal_gets_a_live_line_that_is_gone_in_the_end(tmp_path: Path) -> None:
    demo = Demo(tmp_path, {"TERM": "xterm-256color", "COLUMNS": "100"})
    reader, writer = pty.openpty()
    with demo.start(stdout=writer) as process:
        os.close(writer)
        output = b"".join(_until_closed(reader)).decode()
    assert process.returncode == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
    assert text.count("CreateTask  ") > 4  # drawn again and again, in one place
    assert "\x1b[?25h" in output.rpartition("\x1b[?25l")[2]  # the cursor is back
    assert demo.left_behind() == []


def _until_closed(reader: int) -> Iterator[bytes]:
    with os.fdopen(reader, "rb", buffering=0) as terminal:
        while select.select([terminal], [], [], 100)[0]:
            try:
                data = terminal.read(65536)
            except OSError:  # Linux says that nobody holds the other end any more
                return
            if not data:
                return
            yield data


# --- ended from outside


@pytest.mark.parametrize(
    "line",
    ["gRPC", "job              CreateTask", "repeat"],
    ids=["between two steps", "while a call is under way", "after a query"],
)
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path, line: str) -> None:
    demo = Demo(tmp_path)
    with demo.start() as process:
        _read_to(process, line)
        os.killpg(process.pid, signal.SIGINT)  # what a terminal does: the whole group gets it
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "demo: interrupted; what it had started is stopped\n")
    assert demo.left_behind() == []


def test_ctrl_c_while_the_emulator_is_installed_leaves_nothing_behind(tmp_path: Path) -> None:
    demo = Demo(tmp_path, {"XDG_CACHE_HOME": str(tmp_path / "cache")})
    with demo.start() as process:
        _read_to(process, "the first time it is installed")
        _wait_for(tmp_path / "cache" / "connectors-tests", "crucible-*/bin/python")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.count("\n")) == (130, 1)
    assert demo.left_behind() == []


def test_a_second_ctrl_c_does_not_cut_the_ending_short(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    with demo.start() as process:
        _read_to(process, "gRPC")
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            time.sleep(0.01)  # an impatient user's
    assert process.returncode == 130
    assert demo.left_behind() == []


def test_sigterm_leaves_nothing_behind(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    with demo.start() as process:
        _read_to(process, "gRPC")
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.count("\n")) == (143, 1)
    assert demo.left_behind() == []


def test_a_reader_that_goes_away_leaves_nothing_behind(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    with demo.start() as process:
        assert process.stdout is not None
        _read_to(process, "gRPC")
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode != 0
    assert demo.left_behind() == []


def _read_to(process: subprocess.Popen[str], start: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if start in line:
            return
    pytest.fail(f"the demo ended before it said {start!r}: {process.communicate()[1]}")


def _wait_for(folder: Path, pattern: str) -> None:
    end = time.monotonic() + 60
    while not list(folder.glob(pattern)):
        assert time.monotonic() < end, f"no {pattern} in {folder}"
        time.sleep(0.01)


# --- what cannot work


def _fails(demo: Demo, *arguments: str, python: tuple[str, ...] = ()) -> str:
    """The one line that a failing run says."""
    with demo.start(*arguments, python=python) as process:
        _, errors = process.communicate(timeout=250)
    assert process.returncode == 1
    assert demo.left_behind() == []
    assert errors.startswith("demo: ")
    assert errors.count("\n") == 1
    return errors


@pytest.mark.parametrize("flag", ["--port", "--metrics-port"])
def test_a_port_that_is_taken_is_told(tmp_path: Path, flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        line = _fails(Demo(tmp_path), flag, str(port))
    assert line.startswith(f"demo: port {port} of 127.0.0.1 cannot be used (address already in use); ")
    assert flag in line


def test_a_server_that_does_not_start_is_told_in_its_own_words(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    line = _fails(Demo(tmp_path), "--port", str(port), "--metrics-port", str(port))
    assert line.startswith("demo: the server did not start: ")
    assert f"cannot listen on 127.0.0.1:{port}" in line


def test_an_index_that_cannot_be_reached_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        nobody = f"http://127.0.0.1:{probe.getsockname()[1]}/simple"
    cache = tmp_path / "cache"
    variables = {
        "PIP_INDEX_URL": nobody,
        "PIP_RETRIES": "0",
        "PIP_CONFIG_FILE": os.devnull,
        "XDG_CACHE_HOME": str(cache),
    }
    line = _fails(Demo(tmp_path, variables))
    assert line.startswith("demo: crucible cannot be installed: ")
    assert "is the package index reachable?" in line


def test_a_python_without_venv_is_told(tmp_path: Path) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "venv.py").write_text("raise ImportError('this Python has none')\n")
    variables = {"PYTHONPATH": str(tmp_path / "modules"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert "cannot make a virtual environment" in _fails(Demo(tmp_path, variables))


def test_a_python_without_the_service_is_told(tmp_path: Path) -> None:
    line = _fails(Demo(tmp_path), python=(sys.executable, "-I", "-S"))
    assert line == "demo: connectors is not installed in this Python; `make demo` installs it first\n"
