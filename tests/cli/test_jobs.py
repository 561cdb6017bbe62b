"""``connectors jobs`` as a process of its own, over a store that a server writes to meanwhile."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from connectors._ledger import Fate
from connectors._stores import Store, open_store
from connectors._stores.sqlite import SqliteStore
from tests.cli.conftest import Run
from tests.stores import postgres_server, redis_server

pytestmark = pytest.mark.anyio
NOW = 1_700_000_000.0
SUBJECT = {
    "protocol": "flyte1",
    "output_prefix": "s3://data/metadata/f3a1/n0/data/2",
    "project": "sales",
    "domain": "production",
    "name": "daily",
    "execution": "f3a1",
    "node": "n0",
}
MEMBERS = {
    "key",
    "task_type",
    "task_type_version",
    "fate",
    "orphan",
    "owner",
    "attempt",
    "run",
    "generation",
    "latest_generation",
    "state",
    "delivery",
    "lease",
    "deletion",
    "deletion_tries",
    "next_deletion",
    "terminal_phase",
    "reason",
    "adopted_by",
    "set_aside",
    "age_seconds",
    "history",
    "meta",
    "meta_base64",
}


PAGE = Path(__file__).parents[2] / "docs" / "operate" / "jobs.md"


def key(number: int) -> str:
    return str(UUID(int=number << 100))


async def make(store: Store, number: int, meta: bytes = b'{"job_id":"j","location":null}') -> str:
    await store.reserve(key(number), owner="server-1", lease=8.0, task_type="query", subject=SUBJECT)
    await store.complete(key(number), owner="server-1", meta=meta)
    return key(number)


def rows(output: str) -> list[list[str]]:
    return [line.split() for line in output.splitlines()]


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if reason := redis_server.available():
        pytest.skip(reason)
    with redis_server.redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(scope="module")
def postgresql_url() -> Iterator[str]:
    if reason := postgres_server.available():
        pytest.skip(reason)
    with postgres_server.postgres_server() as server:
        yield server.url


@pytest.fixture(params=["sqlite", "redis", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite://{tmp_path}/jobs.db"
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@asynccontextmanager
async def server_of(url: str) -> AsyncIterator[Store]:
    store = open_store(url)
    await store.start()
    try:
        yield store
    finally:
        await store.aclose()


async def test_a_job_is_listed_shown_cancelled_and_forgotten_while_a_server_runs(run: Run, url: str) -> None:
    def jobs(*arguments: str) -> str:
        result = run("jobs", *arguments, f"--store={url}")
        assert (result.returncode, result.stderr) == (0, "")
        return result.stdout

    async with server_of(url) as store:
        await make(store, 1)
        await make(store, 2)
        await store.note(key(2), polled=True)
        listed = json.loads(jobs("list", "--json"))["jobs"]
        assert {job["key"]: job["fate"] for job in listed} == {key(1): "running", key(2): "running"}
        assert "running" in jobs("show", key(1)[:8])
        jobs("adopt", key(2)[:8])
        jobs("cancel", key(1)[:8], "--reason=too dear")
        taken = await store.claim_deletion(key(1), hold=60.0)
        assert taken is not None
        assert taken.reason == "cancelled by a person: too dear"
        await store.note_deleted(key(1))
        assert [row[4] for row in rows(jobs("list"))[1:]] in (["cancelled", "set-aside"], ["set-aside", "cancelled"])
        jobs("forget", key(1))
        assert await store.find(key(1)) is None


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def old_jobs(tmp_path: Path, anyio_backend: str) -> str:
    """A store of 2023: jobs whose time is long over."""
    clock = Clock()
    store = SqliteStore(tmp_path / "old.db", clock=clock)
    await store.start()
    await make(store, 1)
    await store.note(key(1), terminal="SUCCEEDED")
    clock.now += 1
    await make(store, 2)
    await store.note(key(2), delivered=False)
    clock.now += 1
    await store.reserve(key(3), owner="server-1", lease=8.0, task_type="other", subject={})
    await store.aclose()
    return f"--store=sqlite://{tmp_path}/old.db"


def test_piped_the_list_has_one_line_a_job_and_no_empty_column(run: Run, old_jobs: str) -> None:
    result = run("jobs", "list", old_jobs)
    assert (result.returncode, result.stderr) == (0, "")
    assert "\t" not in result.stdout
    head, *found = rows(result.stdout)
    assert head == ["KEY", "TASK", "TYPE", "OWNER", "ATTEMPT", "FATE", "ORPHAN", "AGE"]
    assert [row[:-1] for row in found] == [
        [key(3), "other", "-", "-", "unknown", "yes"],
        [key(2), "query", "sales/production/f3a1/n0", "2", "unheard", "yes"],
        [key(1), "query", "sales/production/f3a1/n0", "2", "succeeded", "no"],
    ]
    assert all(row[-1].endswith("d") for row in found)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--orphans"], [3, 2]),
        (["--fate=unheard"], [2]),
        (["--task-type=other"], [3]),
        (["--fate=succeeded", "--orphans"], []),
        (["--limit=0"], [3, 2, 1]),
    ],
)
def test_the_list_is_narrowed_by_flags(run: Run, old_jobs: str, flags: list[str], expected: list[int]) -> None:
    shown = json.loads(run("jobs", "list", "--json", *flags, old_jobs).stdout)
    assert [job["key"] for job in shown["jobs"]] == [key(number) for number in expected]
    assert shown["more"] is False


def test_a_limit_that_left_jobs_out_says_so(run: Run, old_jobs: str) -> None:
    result = run("jobs", "list", "--limit=2", old_jobs)
    assert len(rows(result.stdout)) == 3
    assert result.stderr == "connectors: these are the newest 2; --limit shows more\n"
    assert json.loads(run("jobs", "list", "--limit=2", "--json", old_jobs).stdout)["more"] is True


def test_an_empty_list_says_where_it_looked_and_that_it_was_narrowed(run: Run, old_jobs: str) -> None:
    said = run("jobs", "list", "--task-type=none", old_jobs).stdout
    assert said.startswith("no job of that kind is in sqlite:///")
    assert said.endswith("old.db\n")


@pytest.mark.parametrize(("after", "is_orphan"), [("3600", False), ("0.001", True)])
async def test_when_a_job_is_an_orphan_is_a_setting(run: Run, tmp_path: Path, after: str, is_orphan: bool) -> None:
    store = SqliteStore(tmp_path / "new.db")
    await store.start()
    await make(store, 1)
    await store.note(key(1), delivered=False)
    await store.aclose()
    shown = run("jobs", "list", "--json", f"--orphan-after={after}", f"--store=sqlite://{tmp_path}/new.db")
    (job,) = json.loads(shown.stdout)["jobs"]
    assert job["orphan"] is is_orphan


def test_show_as_json_has_every_member(run: Run, old_jobs: str) -> None:
    shown: dict[str, Any] = json.loads(run("jobs", "show", key(1), "--json", old_jobs).stdout)
    assert set(shown) == MEMBERS
    assert shown["owner"] == SUBJECT
    assert shown["meta"] == {"job_id": "j", "location": None}
    assert (shown["fate"], shown["terminal_phase"], shown["attempt"]) == ("succeeded", "SUCCEEDED", "2")
    assert shown["history"][0] == {"at": "2023-11-14T22:13:20Z", "event": "created"}


def test_show_names_what_is_known_a_line_each(run: Run, old_jobs: str) -> None:
    lines = run("jobs", "show", key(2), old_jobs).stdout.splitlines()
    facts = dict(line.split("  ", 1) for line in lines)
    facts = {name: text.strip() for name, text in facts.items()}
    assert facts["key"] == key(2)
    assert facts["fate"] == "unheard, an orphan"
    assert facts["output prefix"] == SUBJECT["output_prefix"]
    assert facts["answer"] == "lost"
    assert json.loads(facts["meta"]) == {"job_id": "j", "location": None}
    assert facts["2023-11-14T22:13:21Z"].endswith("d ago")


@pytest.mark.parametrize("command", ["show", "adopt", "cancel", "forget"])
def test_a_key_that_is_none_is_one_line_and_exit_code_1(run: Run, old_jobs: str, command: str) -> None:
    result = run("jobs", command, "ffffffff", old_jobs)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "connectors: no job has the key 'ffffffff'\n"


def test_a_job_that_may_be_running_is_not_forgotten(run: Run, old_jobs: str) -> None:
    result = run("jobs", "forget", key(2), old_jobs)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"connectors: {key(2)} is unheard, and its job may be running: ")
    assert run("jobs", "show", key(2), old_jobs).returncode == 0


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("memory://", "--store: what memory:// keeps is in the server's own memory: no other process can see it"),
        ("postgresql://me:hunter2@127.0.0.1:1/x", "--store: "),
        ("redis://:hunter2@127.0.0.1:1/0", "--store: "),
    ],
)
def test_a_store_that_cannot_be_looked_into_is_one_line_and_exit_code_1(run: Run, store: str, said: str) -> None:
    result = run("jobs", "list", f"--store={store}")
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"connectors: {said}")
    assert "hunter2" not in line


def test_to_look_makes_no_store(run: Run, tmp_path: Path) -> None:
    result = run("jobs", "list")
    assert result.returncode == 1
    assert "no server has kept its records there" in result.stderr
    assert not (tmp_path / "state").exists()


def test_the_store_may_be_named_as_any_setting_is(run: Run, old_jobs: str, work: Path) -> None:
    url = old_jobs.removeprefix("--store=")
    assert len(rows(run("jobs", "list", CONNECTORS_STORE=url).stdout)) == 4
    (work / "connectors.toml").write_text(f'store = "{url}"\n', "utf-8")
    assert len(rows(run("jobs", "list").stdout)) == 4


@pytest.mark.parametrize("flag", ["--fate=lost", "--limit=-1"])
def test_a_flag_that_is_none_is_exit_code_2(run: Run, old_jobs: str, flag: str) -> None:
    result = run("jobs", "list", flag, old_jobs)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def first_columns(heading: str) -> set[str]:
    """The words in code style in the first column of one of the guide's tables."""
    _, _, table = PAGE.read_text("utf-8").partition(f"\n| {heading} | |\n|---|---|\n")
    lines = table.partition("\n\n")[0].splitlines()
    return {word for line in lines for word in re.findall("`([^`]+)`", line.split("|")[1])}


def test_the_guide_names_every_fate_and_every_member() -> None:
    assert first_columns("fate") == {fate.value for fate in Fate}
    assert first_columns("member") == MEMBERS


def test_help_names_each_command_and_loads_no_server(run: Run, plugins: Path) -> None:
    (plugins / "sitecustomize.py").write_text(
        "import atexit, sys\n"
        "heavy = {'grpclib', 'aiohttp', 'prometheus_client', 'redis', 'psycopg', 'connectors._wire'}\n"
        "atexit.register(lambda: print('loaded', sorted(heavy & set(sys.modules))))\n",
        "utf-8",
    )
    lines = run("jobs", "--help").stdout.splitlines()
    assert all(any(f" {name} " in line for line in lines) for name in ("list", "show", "adopt", "cancel", "forget"))
    assert lines[-1] == "loaded []"
