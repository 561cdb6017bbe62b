from __future__ import annotations

import resource
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from cryptography.x509 import IPAddress

from connectors._server.tls import TlsFiles
from tests.hostile.victim import Victim
from tests.wire.tls import certify


@pytest.fixture(scope="module")
def file_limit() -> Iterator[int]:
    """As many descriptors as this process, and the server that it starts, may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def victim(file_limit: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    running = Victim(tmp_path_factory.mktemp("victim"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def victim_with_tls(file_limit: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    folder = tmp_path_factory.mktemp("victim-with-tls")
    running = Victim(folder, TlsFiles(*certify(folder, IPAddress(ip_address("127.0.0.1")))))
    yield running
    running.close()
