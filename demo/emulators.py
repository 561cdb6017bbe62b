"""Emulators that others wrote, each in a virtual environment of its own, started on a free port of 127.0.0.1.

An environment is made from the package index once, and kept in ``${XDG_CACHE_HOME:-~/.cache}/connectors-tests``, named
after its packages and its Python. The demo and the tests share it. Nothing here imports the service.

    with running(CRUCIBLE) as emulator:
        print(emulator.url)
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

__all__ = [
    "CRUCIBLE",
    "LLMOCK",
    "LOCAL_BIGQUERY",
    "MINILAKE",
    "MOTO",
    "SNOWDUCK",
    "Emulator",
    "EmulatorError",
    "EmulatorUnavailable",
    "Recipe",
    "environment_of",
    "running",
]

_INSTALL_TIMEOUT = 600.0  # seconds
_READY_TIMEOUT = 60.0  # seconds
_STOP_TIMEOUT = 5.0  # seconds between asking and ending


class EmulatorError(Exception):
    """An emulator does not run; the text is one line for a person."""


class EmulatorUnavailable(EmulatorError):
    """An emulator cannot be had on this machine: no such Python, or no package index."""


@dataclass(frozen=True)
class Recipe:
    """How an emulator is installed and started."""

    name: str
    requirements: tuple[str, ...]
    """Every package with its exact version, so that none is resolved."""
    command: Callable[[int, Path], list[str]]
    """The program in the environment and its arguments, for a port and a folder for its data."""
    python: str | None = None
    """The Python that it needs, as in "3.13"; None: the one that runs this."""
    prepare: str = ""
    """Python code to run once in the new environment."""


@dataclass(frozen=True)
class Emulator:
    """A running emulator."""

    url: str
    """Without a slash at its end."""
    pid: int
    log: Path
    """What it printed. It is gone once the emulator stops."""


@contextmanager
def running(recipe: Recipe) -> Iterator[Emulator]:
    """Start an emulator, wait until it answers, and stop it in the end. It blocks.

    :raises EmulatorUnavailable: it cannot be installed here.
    :raises EmulatorError: it was installed, and did not start.
    """
    environment = environment_of(recipe)
    with tempfile.TemporaryDirectory(prefix=f"{recipe.name}-") as folder:
        log = Path(folder) / "log"
        for _attempt in range(3):  # another program may take the free port in the meantime
            process, url = _start(recipe, environment, Path(folder), log)
            try:
                if _answers(process, url):
                    yield Emulator(url, process.pid, log)
                    return
            finally:
                _stop(process)
            if "in use" not in log.read_text("utf-8", "replace"):
                break
        lines = log.read_text("utf-8", "replace").strip().splitlines() or ["it printed nothing"]
        raise EmulatorError(f"{recipe.name} did not start: {lines[-1][:200]}")


# --- the process


def _start(recipe: Recipe, environment: Path, folder: Path, log: Path) -> tuple[subprocess.Popen[bytes], str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = folder / f"data-{port}"
    data.mkdir()
    program, *arguments = recipe.command(port, data)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [environment / "bin" / program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=data,
            env=_variables(environment),
            start_new_session=True,  # Ctrl-C is for the program that started it, which stops it in order
        )
    return process, f"http://127.0.0.1:{port}"


def _answers(process: subprocess.Popen[bytes], url: str) -> bool:
    """Whether the process answers HTTP, with whatever status, before it ends or the time is over."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + _READY_TIMEOUT
    while process.poll() is None and time.monotonic() < end:
        try:
            with opener.open(url, timeout=1.0):
                return True
        except urllib.error.HTTPError as answer:
            answer.close()
            return True
        except OSError:
            time.sleep(0.05)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def _variables(environment: Path) -> dict[str, str]:
    """The environment with a home of its own, where programs may keep what they like."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE"))}
    return {**kept, "HOME": str(environment / "home"), "PYTHONDONTWRITEBYTECODE": "1"}


# --- the virtual environment


def environment_of(recipe: Recipe) -> Path:
    """The recipe's virtual environment, made if it is not there yet. Several processes may ask at once.

    :raises EmulatorUnavailable: it cannot be installed here.
    """
    python = _python(recipe)
    facts = "\n".join([*recipe.requirements, recipe.prepare, _version(python), "layout 1"])
    name = f"{recipe.name}-{hashlib.sha256(facts.encode()).hexdigest()[:16]}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "connectors-tests"
    cache.mkdir(parents=True, exist_ok=True)
    environment, complete = cache / name, cache / name / "complete"
    with _locked(cache / f"{name}.lock"):
        if not complete.exists():
            shutil.rmtree(environment, ignore_errors=True)  # one that was interrupted
            _make(recipe, python, environment, cache / f"{name}.log")
            complete.touch()
    return environment


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(recipe: Recipe, python: str, environment: Path, log: Path) -> None:
    inside = str(environment / "bin" / "python")
    pip = [
        inside,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary",
        ":all:",
    ]
    with log.open("w+", encoding="utf-8") as output:
        if not _ran([python, "-m", "venv", str(environment)], output, os.environ):
            raise EmulatorUnavailable(f"{python} cannot make a virtual environment for {recipe.name}; see {log}")
        if recipe.requirements and not _ran([*pip, *recipe.requirements], output, os.environ):
            raise EmulatorUnavailable(
                f"{recipe.name} cannot be installed: {_last_error(output)}; is the package index reachable? See {log}"
            )
        (environment / "home").mkdir()
        if recipe.prepare and not _ran([inside, "-c", recipe.prepare], output, _variables(environment)):
            raise EmulatorUnavailable(f"{recipe.name} cannot be prepared: {_last_error(output)}; see {log}")


def _ran(command: list[str], output: IO[str], variables: Mapping[str, str]) -> bool:
    # Where it is broken off, all that it has started (venv starts a second Python) ends with it: so the session and the
    # folder for temporary files are its own.
    with tempfile.TemporaryDirectory(prefix="installing-") as scratch:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**variables, "TMPDIR": scratch},
            start_new_session=True,
        )
        try:
            return process.wait(_INSTALL_TIMEOUT) == 0
        except subprocess.TimeoutExpired:
            output.write(f"\nERROR: not done within {_INSTALL_TIMEOUT:.0f} s\n")
            output.flush()
            return False
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _last_error(output: IO[str]) -> str:
    output.seek(0)
    lines = [line.strip() for line in output if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["no reason given"])[-1][:200]


def _python(recipe: Recipe) -> str:
    """The interpreter that the recipe needs: on the path, or one of pyenv's."""
    if recipe.python is None:
        return sys.executable
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [
        shutil.which(f"python{recipe.python}"),
        *sorted(map(str, root.glob(f"versions/{recipe.python}.*/bin/python"))),
    ]
    if sys.version_info[:2] == tuple(map(int, recipe.python.split("."))):
        candidates.insert(0, sys.executable)
    for candidate in candidates:
        # a shim of pyenv's is there for versions that it does not let run
        if candidate and _version(candidate).startswith(f"{recipe.python}."):
            return candidate
    raise EmulatorUnavailable(f"{recipe.name} needs Python {recipe.python}, which is not on this machine")


def _version(python: str) -> str:
    try:
        done = subprocess.run(
            [python, "-c", "import platform; print(platform.python_version())"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


# --- the recipes


def _crucible(port: int, data: Path) -> list[str]:
    return ["crucible", "serve", "--dialect", "bigquery", "--host", "127.0.0.1", "--port", str(port)]


def _local_bigquery(port: int, data: Path) -> list[str]:
    # Port 0 for its second, gRPC, service: nothing here speaks to it.
    return ["local-bigquery", "--host", "127.0.0.1", "--port", str(port), "--grpc-port", "0", "--data-dir", str(data)]


_CRUCIBLE_PACKAGES = """
    anyio==4.16.0 click==8.5.1 crucible-emulator==0.1.0a2 duckdb==1.5.6 h11==0.16.0 idna==3.20
    pytz==2026.6 PyYAML==6.0.3 sqlglot==30.22.0 starlette==1.10.0 typing_extensions==4.16.0
    uvicorn==0.54.0
"""
CRUCIBLE = Recipe(name="crucible", requirements=tuple(_CRUCIBLE_PACKAGES.split()), command=_crucible)
"""A small BigQuery: strict about job ids, knows no query parameters; every job is done at once."""

# duckdb is older than local-bigquery asks for: with the newer one it does not start.
_LOCAL_BIGQUERY_PACKAGES = """
    annotated-doc==0.0.7 annotated-types==0.8.0 anyio==4.16.0 certifi==2026.10.18 cffi==2.1.1
    charset-normalizer==3.5.2 click==8.5.1 cryptography==50.0.2 duckdb==1.5.5
    duckdb_extension_ducklake==1.5.5 duckdb_extension_icu==1.5.5 duckdb_extension_spatial==1.5.5
    duckdb_extensions==1.5.5 fastapi==0.165.0 fastavro==1.13.1 google-api-core==2.44.0
    google-auth==2.62.2 google-cloud-bigquery-storage==2.43.0 googleapis-common-protos==1.76.0
    grpcio==1.85.1 grpcio-status==1.85.1 h11==0.16.0 idna==3.20 local-bigquery==0.4.0
    mini-racer==0.14.1 numpy==2.5.5 opentelemetry-api==1.45.2 prompt_toolkit==3.0.53
    proto-plus==1.29.0 protobuf==7.36.2 pyarrow==26.0.1 pyasn1==0.6.5 pyasn1_modules==0.4.2
    pycparser==3.12 pydantic==2.14.3 pydantic-settings==2.16.3 pydantic_core==2.50.4
    Pygments==2.21.0 python-dotenv==1.2.4 requests==2.34.2 sqlglot==30.30.0 starlette==1.10.0
    typing-inspection==0.4.5 typing_extensions==4.16.0 urllib3==2.8.0 uvicorn==0.54.0 wcwidth==0.9.4
"""
LOCAL_BIGQUERY = Recipe(
    name="local-bigquery",
    requirements=tuple(_LOCAL_BIGQUERY_PACKAGES.split()),
    command=_local_bigquery,
    python="3.13",
    prepare="import duckdb_extensions as d; [d.import_extension(name) for name in ('icu', 'spatial', 'ducklake')]",
)
"""A larger BigQuery: query parameters, running jobs, cancelling, dry runs."""


def _llmock(port: int, data: Path) -> list[str]:
    return ["llmock", "serve", "--host", "127.0.0.1", "--port", str(port)]


_LLMOCK_PACKAGES = """
    annotated-doc==0.0.7 annotated-types==0.8.0 anyio==4.16.0 certifi==2026.10.18 click==8.5.1
    fastapi==0.165.0 h11==0.16.0 httpcore==1.0.9 httptools==0.9.0 httpx==0.28.1 idna==3.20
    llmock==0.2.2 markdown-it-py==4.3.0 mdurl==0.1.2 opentelemetry-api==1.45.2 pydantic==2.14.3
    pydantic_core==2.50.4 Pygments==2.21.0 python-dotenv==1.2.4 python-multipart==0.0.34
    PyYAML==6.0.3 rich==15.0.0 shellingham==1.5.4 starlette==1.10.0 typer==0.29.2
    typing-inspection==0.4.5 typing_extensions==4.16.0 uvicorn==0.54.0 uvloop==0.23.0
    watchfiles==1.3.0 websockets==17.4
"""
LLMOCK = Recipe(name="llmock", requirements=tuple(_LLMOCK_PACKAGES.split()), command=_llmock)
"""An OpenAI: chat, embeddings, files and batches, scripted faults, and a verdict on how its client took them."""


def _minilake(port: int, data: Path) -> list[str]:
    settings = f"MINILAKE_JOB_EXECUTOR='subprocess', MINILAKE_NOTEBOOK='0', MINILAKE_DATA_DIR={str(data)!r}"
    start = f"import os; os.environ.update({settings}); from minilake.cli import main; main()"
    return ["python", "-c", start, "--host", "127.0.0.1", "--port", str(port)]


_MINILAKE_PACKAGES = """
    aiofiles==25.1.0 annotated-doc==0.0.7 annotated-types==0.8.0 anyio==4.16.0 certifi==2026.10.18
    cffi==2.1.1 charset-normalizer==3.5.2 click==8.5.1 cryptography==50.0.2 docker==7.2.0
    duckdb==1.5.6 fastapi==0.165.0 h11==0.16.0 httpcore==1.0.9 httptools==0.9.0 httpx==0.28.1
    idna==3.20 minilake==1.9.0 opentelemetry-api==1.45.2 pyarrow==26.0.1 pycparser==3.12
    pydantic==2.14.3 pydantic-settings==2.16.3 pydantic_core==2.50.4 python-dotenv==1.2.4
    python-multipart==0.0.34 pytz==2026.6 PyYAML==6.0.3 requests==2.34.2 starlette==1.10.0
    typing-inspection==0.4.5 typing_extensions==4.16.0 urllib3==2.8.0 uvicorn==0.54.0 uvloop==0.23.0
    watchfiles==1.3.0 websockets==17.4
"""
MINILAKE = Recipe(name="minilake", requirements=tuple(_MINILAKE_PACKAGES.split()), command=_minilake)
"""A Databricks: job runs that are real processes, with their output; the Jobs API in version 2.2 alone, no tokens."""


def _snowduck(port: int, data: Path) -> list[str]:
    return ["snowduck", "--host", "127.0.0.1", "--port", str(port)]


_SNOWDUCK_PACKAGES = """
    anyio==4.16.0 asn1crypto==1.5.1 boto3==1.44.5 botocore==1.44.5 certifi==2026.10.18 cffi==2.1.1
    charset-normalizer==3.5.2 click==8.5.1 cryptography==50.0.2 duckdb==1.5.6 filelock==4.2.11
    h11==0.16.0 idna==3.20 jmespath==1.1.0 packaging==26.3 platformdirs==4.14.7 pyarrow==26.0.1
    pycparser==3.12 PyJWT==2.15.1 pyOpenSSL==26.4.0 python-dateutil==2.9.0.post0 pytz==2026.6
    requests==2.34.2 s3transfer==0.19.3 six==1.17.0 snowduck==0.3.0
    snowflake-connector-python==4.8.1 sortedcontainers==2.4.0 sqlglot==30.22.0 sqlglotc==30.22.0
    starlette==1.10.0 tomlkit==0.15.2 typing_extensions==4.16.0 urllib3==2.8.0 uvicorn==0.54.0
    zstandard==0.25.0
"""
SNOWDUCK = Recipe(name="snowduck", requirements=tuple(_SNOWDUCK_PACKAGES.split()), command=_snowduck)
"""A Snowflake: an asynchronous statement runs until it is cancelled; no tokens, no request ids, no query history."""


def _moto(port: int, data: Path) -> list[str]:
    return ["moto_server", "-H", "127.0.0.1", "-p", str(port)]


_MOTO_PACKAGES = """
    aiobotocore==3.10.0 aiohappyeyeballs==2.7.1 aiohttp==3.14.5 aioitertools==0.13.0
    aiosignal==1.4.0 attrs==26.1.0 blinker==1.9.0 boto3==1.43.117 botocore==1.43.117
    certifi==2026.10.18 cffi==2.1.1 charset-normalizer==3.5.2 click==8.5.1 cryptography==50.0.2
    flask==3.1.3 flask-cors==6.0.5 frozenlist==1.8.0 fsspec==2026.9.0 idna==3.20
    itsdangerous==2.2.0 jinja2==3.1.6 jmespath==1.1.0 markupsafe==3.0.4 moto==5.2.5
    multidict==7.2.1 propcache==0.5.4 py-partiql-parser==0.6.3 pycparser==3.12
    python-dateutil==2.9.0.post0 PyYAML==6.0.3 requests==2.34.2 responses==0.26.3 s3fs==2026.9.0
    s3transfer==0.19.3 six==1.17.0 typing_extensions==4.16.0 urllib3==2.8.0 werkzeug==3.1.9
    wrapt==2.5.2 xmltodict==1.0.4 yarl==1.25.1
"""
MOTO = Recipe(name="moto", requirements=tuple(_MOTO_PACKAGES.split()), command=_moto)
"""An S3, and in the same environment fsspec with its S3 client. It checks no credentials."""
