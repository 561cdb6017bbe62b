"""Several processes over one SQLite file, one of which may die."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio
import pytest

from connectors._stores import State
from connectors._stores.sqlite import SqliteStore

PROGRAM = Path(__file__).with_name("server_process.py")


@contextmanager
def server(role: str, path: Path, owner: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(PROGRAM), role, str(path), owner]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_three_servers_that_start_on_a_new_file_and_reserve_the_same_keys_are_granted_each_key_once(
    tmp_path: Path,
) -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(server("hammer", tmp_path / "store.db", owner)) for owner in ("a", "b", "c")]
        assert [line(process) for process in servers] == ["ready"] * 3
        for process in servers:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.communicate(timeout=60)[0] for process in servers]
        assert [process.returncode for process in servers] == [0, 0, 0]
    granted = [word for out in said for word in out.split() if word != "granted"]
    assert sorted(granted) == sorted(f"k{n}" for n in range(300))


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """The file of a server that was killed while it held a reservation."""
    path = tmp_path / "store.db"
    with server("hold", path, "dead") as process:
        assert line(process) == "granted"
        process.kill()
    return path


@pytest.mark.anyio
async def test_a_killed_servers_reservation_goes_to_another_when_the_lease_ran_out_and_the_job_is_looked_for(
    killed: Path,
) -> None:
    store = SqliteStore(killed)
    await store.start()
    claim = await store.reserve("held", owner="b", lease=60.0, task_type="t")
    with anyio.fail_after(30):
        while not claim.mine:
            await anyio.sleep(0.01)
            claim = await store.reserve("held", owner="b", lease=60.0, task_type="t")
    assert claim.looked_for
    await store.aclose()


@pytest.mark.anyio
async def test_what_a_server_completed_before_it_was_killed_is_done(killed: Path) -> None:
    store = SqliteStore(killed)
    await store.start()
    record = await store.find("done")
    assert record
    assert (record.state, record.meta) == (State.DONE, b"job")
    await store.aclose()


def test_a_full_disk_makes_the_store_unavailable_until_there_is_room_and_loses_nothing(tmp_path: Path) -> None:
    with server("fill", tmp_path / "store.db", "a") as process:
        said, _ = process.communicate(timeout=60)
    assert said.splitlines() == ["full: The idempotency store cannot be reached", "found True", "completed True"]
    assert process.returncode == 0


def test_a_store_that_starts_on_a_full_disk_is_unavailable_and_starts_when_there_is_room(tmp_path: Path) -> None:
    with server("start", tmp_path / "store.db", "a") as process:
        said, _ = process.communicate(timeout=60)
    full, started = said.splitlines()
    assert full.startswith(f"full: the SQLite store {tmp_path / 'store.db'} cannot be opened: ")
    assert started == "started None"
    assert process.returncode == 0
