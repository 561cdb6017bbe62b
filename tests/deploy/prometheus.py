"""A real Prometheus, as Debian packages it, in a folder of its own on a free port of 127.0.0.1."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.stores.redis_server import free_port

__all__ = ["Prometheus", "program", "prometheus_server"]

_READY_WITHIN = 60.0  # seconds; a start takes less than one on a quiet machine


def program(name: str) -> str:
    """The path of ``prometheus`` or ``promtool``."""
    found = shutil.which(name)
    assert found is not None, f"{name} comes with Debian's package prometheus"
    return found


class Prometheus:
    """One that runs."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression has now."""
        result: list[dict[str, Any]] = self._data("/api/v1/query", {"query": expression})["result"]
        return result

    def alerts(self) -> set[str]:
        """The names of the alerting rules that it has loaded and evaluated without a fault."""
        groups = self._data("/api/v1/rules", {"type": "alert"})["groups"]
        return {rule["name"] for group in groups for rule in group["rules"] if rule["health"] == "ok"}

    def _data(self, path: str, parameters: Mapping[str, str]) -> Any:
        request = f"{self.url}{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - an address of this machine
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error


@contextmanager
def prometheus_server(folder: Path, *, targets: list[str], rules: Path) -> Iterator[Prometheus]:
    """One that scrapes ``targets`` (``host:port``) every half second as the job ``connectors``."""
    configuration = {
        "global": {"scrape_interval": "500ms", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [{"job_name": "connectors", "static_configs": [{"targets": targets}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(configuration), "utf-8")  # JSON is YAML
    log = folder / "prometheus.log"
    for _ in range(3):  # another program may take the free port in the meantime
        port = free_port()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    program("prometheus"),
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            if _is_ready(process, f"http://127.0.0.1:{port}/-/ready"):
                yield Prometheus(f"http://127.0.0.1:{port}")
                return
        finally:
            process.terminate()
            process.wait(_READY_WITHIN)
    raise AssertionError(log.read_text("utf-8")[-2000:])


def _is_ready(process: subprocess.Popen[bytes], url: str) -> bool:
    until = time.monotonic() + _READY_WITHIN
    while process.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - an address of this machine
                return True
        except OSError:
            time.sleep(0.05)
    return False
