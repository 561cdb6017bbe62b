from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from connectors._stores import Store, open_store
from connectors._stores.memory import MemoryStore
from connectors._stores.postgresql import PostgresStore
from connectors._stores.redis import RedisStore
from connectors._stores.sqlite import SqliteStore, default_path

KNOWN = "memory://, sqlite://, redis://, rediss://, postgresql://"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_memory_names_the_memory_store() -> None:
    assert isinstance(open_store("memory://"), MemoryStore)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("redis://127.0.0.1:6379/3", RedisStore),
        ("redis://user:hunter2@host", RedisStore),
        ("rediss://host:6380/0", RedisStore),
        ("postgresql://user:hunter2@host:5432/db?sslmode=require", PostgresStore),
        ("postgresql:///db", PostgresStore),
    ],
)
def test_a_servers_url_names_its_store_which_is_not_opened_yet(url: str, kind: type[Store]) -> None:
    assert isinstance(open_store(url), kind)


@pytest.mark.anyio
async def test_an_absolute_path_names_a_sqlite_file(tmp_path: Path) -> None:
    store = open_store(f"sqlite://{tmp_path}/a%20folder/the%3F.db")
    assert isinstance(store, SqliteStore)
    await store.start()
    await store.aclose()
    assert (tmp_path / "a folder" / "the?.db").is_file()


@pytest.mark.parametrize("url", ["", "sqlite://"])
@pytest.mark.anyio
async def test_no_path_names_the_users_own_file(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    store = open_store(url)
    await store.start()
    await store.aclose()
    assert (tmp_path / "state" / "connectors" / "connectors.db").is_file()


@pytest.mark.parametrize("state", [None, "", "relative"])
def test_without_a_state_folder_it_is_the_homes(
    state: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    if state is not None:
        monkeypatch.setenv("XDG_STATE_HOME", state)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_path() == tmp_path / ".local" / "state" / "connectors" / "connectors.db"


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return tmp_path


@pytest.mark.anyio
async def test_what_a_store_makes_is_for_its_user_alone(open_folder: Path) -> None:
    path = open_folder / "one" / "two" / "store.db"
    store = open_store(f"sqlite://{path}")
    await store.start()
    await store.reserve("k", owner="a", lease=1.0, task_type="t")
    assert [mode(path.parent.parent), mode(path.parent)] == [0o700, 0o700]
    assert {name.name: mode(name) for name in path.parent.iterdir()} == {
        "store.db": 0o600,
        "store.db-wal": 0o600,
        "store.db-shm": 0o600,
    }
    assert mode(open_folder) == 0o755
    await store.aclose()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mongodb://user:hunter2@host/db", f"no store is known for mongodb://; known are {KNOWN}"),
        ("user:hunter2@host", f"named by a URL; known are {KNOWN}"),
        ("://hunter2", f"no store is known for ://; known are {KNOWN}"),
        ("/hunter2/store.db", "named by a URL"),
        ("memory://hunter2", "memory:// is the whole URL"),
        ("sqlite://hunter2/store.db", "absolute path"),
        ("sqlite:///hunter2/", "absolute path"),
        ("sqlite:///", "absolute path"),
        ("sqlite:///hunter2.db?mode=ro", "absolute path"),
        ("sqlite:///hunter2%00.db", "absolute path"),
        ("redis://hunter2:hunter2@host:hunter2/0", ""),
        ("rediss://hunter2:hunter2@host/hunter2", ""),
        ("postgresql://hunter2:hunter2@[host/db", ""),
        ("postgresql://host/db?hunter2=hunter2", ""),
    ],
)
def test_a_url_that_names_no_store_is_refused_without_being_repeated(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        open_store(url)
    assert words in str(raised.value)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "unused"),
    [
        ("memory://", ["sqlite3", "redis", "psycopg"]),
        ("sqlite:///never/opened.db", ["redis", "psycopg"]),
        ("redis://127.0.0.1", ["sqlite3", "psycopg"]),
        ("postgresql://127.0.0.1", ["sqlite3", "redis"]),
    ],
)
def test_what_a_store_that_is_not_used_needs_is_not_imported(url: str, unused: list[str]) -> None:
    program = f"""
import sys
from connectors._stores import open_store
open_store({url!r})
sys.exit(",".join({{name.partition(".")[0] for name in sys.modules}}.intersection({unused!r})))
"""
    # unmeasured: what counts the lines brings sqlite3 with it
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    ran = subprocess.run([sys.executable, "-c", program], env=unmeasured, capture_output=True, text=True, check=False)
    assert ran.stderr.strip() == ""


@pytest.mark.parametrize(
    ("url", "package", "words"),
    [
        ("redis://hunter2@host", "redis", "pip install 'connectors-service[redis]'"),
        ("rediss://hunter2@host", "redis", "pip install 'connectors-service[redis]'"),
        ("postgresql://hunter2@host", "psycopg", "pip install 'connectors-service[postgresql]'"),
    ],
)
def test_where_a_stores_package_is_missing_it_is_said_how_to_install_it(url: str, package: str, words: str) -> None:
    program = f"""
import sys
sys.modules[{package!r}] = None  # as if it were not installed
from connectors._stores import open_store
try:
    open_store({url!r})
except ValueError as error:
    sys.exit(str(error))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert words in ran.stderr
    assert "hunter2" not in ran.stderr
    assert "Traceback" not in ran.stderr
