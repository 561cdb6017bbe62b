"""Starts real PostgreSQL servers for tests and benchmarks, and a pooler in front of one."""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

__all__ = [
    "PASSWORD",
    "PgBouncer",
    "PostgresServer",
    "available",
    "pgbouncer",
    "pgbouncer_available",
    "postgres_server",
]

USER = "postgres"
PASSWORD = "not/a:real@password"
"""The superuser's. It has characters that a URL has to escape."""
_IN_URL = PASSWORD.replace("/", "%2F").replace(":", "%3A").replace("@", "%40")

_START = 60.0
"""Seconds that a server may take to start, and to end."""


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in folder.parent.name.split(".") if part.isdigit())


@cache
def _program(name: str) -> Path | None:
    """A PostgreSQL program: on the path, else Debian's newest, which lies outside it."""
    found = shutil.which(name)
    if found:
        return Path(found).resolve()
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version)
    return next((folder / name for folder in reversed(folders) if (folder / name).exists()), None)


def available() -> str | None:
    """Why no PostgreSQL server can be started here; None where it can."""
    missing = [name for name in ("initdb", "postgres") if _program(name) is None]
    return f"no {' and no '.join(missing)}: PostgreSQL's server is not installed" if missing else None


def pgbouncer_available() -> str | None:
    """Why no pooler can be started here; None where it can."""
    return available() or (None if _pgbouncer() else "no pgbouncer: it is not installed")


def _pgbouncer() -> str | None:
    return shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")


@cache
def _account() -> dict[str, Any]:
    """Arguments for subprocess: neither program runs as root, so that root takes another user."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise RuntimeError("PostgreSQL refuses to run as root, and there is no user postgres or nobody")


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False, **_account())
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stdout}{done.stderr}")


def _folder() -> Path:
    """A temporary folder of that user's. Its path is short, for the sockets in it, and open to that user."""
    folder = Path(tempfile.mkdtemp(prefix="connectors-pg-", dir="/tmp"))
    if account := _account():
        os.chown(folder, account["user"], account["group"])
    return folder


@cache
def _template() -> Path:
    """A fresh cluster's data folder, made once for the process: initdb takes seconds, a copy takes none."""
    initdb = _program("initdb")
    if initdb is None:
        raise RuntimeError(available())
    folder = _folder()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    password = folder / "password"
    password.write_text(PASSWORD)
    if account := _account():
        os.chown(password, account["user"], account["group"])
    options: list[str | Path] = [
        "-A",
        "scram-sha-256",
        "--pwfile",
        password,
        "-U",
        USER,
        "-E",
        "UTF8",
        "--locale=C",
        "--no-sync",
    ]
    _run(initdb, *options, "-D", folder / "data")
    return folder / "data"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _spawn(folder: Path, *command: str | Path) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, **_account())


def _answers(process: subprocess.Popen[bytes], url: str) -> bool:
    """True once it does; False where it ended instead, or took too long."""
    give_up = time.monotonic() + _START
    while process.poll() is None and time.monotonic() < give_up:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            time.sleep(0.02)
        else:
            return process.poll() is None
    return False


def _end(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(how)
    try:
        process.wait(_START)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass
class PostgresServer:
    """A PostgreSQL server on 127.0.0.1, with password authentication, and a data folder of its own."""

    folder: Path
    settings: tuple[str, ...]
    port: int = 0
    _process: subprocess.Popen[bytes] | None = None
    _databases: int = 0

    @property
    def url(self) -> str:
        """As the superuser, to the database `postgres`."""
        return self.database_url("postgres")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def database_url(self, database: str, user: str = USER, password: str = _IN_URL) -> str:
        """To another database, or as another user. All three as a URL spells them."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The URL of a new, empty database."""
        self._databases += 1
        name = f"test_{self._databases}"
        self.execute(f"CREATE DATABASE {name}")
        return self.database_url(name)

    def execute(self, statement: str, url: str | None = None) -> list[tuple[Any, ...]]:
        """One statement, by default in the database `postgres`; its rows."""
        with psycopg.connect(url or self.url, autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        """On the same port as before; returns when it answers."""
        for _ in range(1 if self.port else 5):  # another program may take a free port before the server does
            port = self.port or _free_port()
            if self._started(port):
                self.port = port
                return
        raise RuntimeError(f"the server did not start: {(self.folder / 'log').read_text()[-2_000:]}")

    def _started(self, port: int) -> bool:
        program = _program("postgres")
        assert program is not None
        settings = (
            f"port={port}",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self.folder}",
            "shared_buffers=32MB",
            *self.settings,
        )
        arguments = [part for setting in settings for part in ("-c", setting)]
        self._process = _spawn(self.folder, program, "-D", self.folder / "data", *arguments)
        return _answers(self._process, f"postgresql://{USER}:{_IN_URL}@127.0.0.1:{port}/postgres")

    def kill(self) -> None:
        """As a crash: every process of it ends at once, nothing is written any more. The next start recovers."""
        if self._process is not None:
            self.resume()
            _end(self._process, signal.SIGQUIT)

    def stop(self) -> None:
        """As an administrator would: sessions are told, and what they did is written."""
        if self._process is not None:
            _end(self._process, signal.SIGINT)

    def pause(self) -> None:
        """Every process of it stands still: connections stay open, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """After a pause."""
        self._signal(signal.SIGCONT)

    def _signal(self, which: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        for pid in (self.pid, *map(int, children)):
            with suppress(ProcessLookupError):  # a session may end meanwhile
                os.kill(pid, which)


@contextmanager
def postgres_server(*settings: str) -> Iterator[PostgresServer]:
    """A running server, whose settings are PostgreSQL's own but for these: ``fsync=off``, ``max_connections=10`` …"""
    template = _template()
    server = PostgresServer(_folder(), settings)
    try:
        _run("cp", "-a", template, server.folder / "data")
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(server.folder, ignore_errors=True)


@dataclass
class PgBouncer:
    """A pooler in transaction mode."""

    port: int

    def url(self, url: str) -> str:
        """The same database, by the same user, through the pooler."""
        parts = urlsplit(url)
        return parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{self.port}").geturl()


@contextmanager
def pgbouncer(server: PostgresServer, *settings: str, pool: int = 4) -> Iterator[PgBouncer]:
    """In front of every database of the server's, for the superuser, with ``pool`` connections for each.

    Servers' connections change hands after each transaction: what a session would keep is lost, or somebody else's.
    """
    program = _pgbouncer()
    if program is None:
        raise RuntimeError(pgbouncer_available())
    folder, port = _folder(), _free_port()
    lines = (
        "[databases]",
        f"* = host=127.0.0.1 port={server.port}",
        "[pgbouncer]",
        "listen_addr = 127.0.0.1",
        f"listen_port = {port}",
        "unix_socket_dir =",
        "auth_type = scram-sha-256",
        f"auth_file = {folder}/users",
        "pool_mode = transaction",
        f"default_pool_size = {pool}",
        "max_client_conn = 200",
        *settings,
        "",
    )
    (folder / "pgbouncer.ini").write_text("\n".join(lines))
    (folder / "users").write_text(f'"{USER}" "{PASSWORD}"\n')
    for file in folder.iterdir():
        if account := _account():
            os.chown(file, account["user"], account["group"])
    process = _spawn(folder, program, folder / "pgbouncer.ini")
    try:
        pooler = PgBouncer(port)
        if not _answers(process, pooler.url(server.url)):
            raise RuntimeError(f"pgbouncer did not start: {(folder / 'log').read_text()[-2_000:]}")
        yield pooler
    finally:
        _end(process, signal.SIGTERM)
        shutil.rmtree(folder, ignore_errors=True)
