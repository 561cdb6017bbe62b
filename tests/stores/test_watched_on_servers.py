"""Real servers that are killed and started again under a watched store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import anyio
import pytest

from connectors._stores import State, StoreUnavailable, open_store
from connectors._stores.watched import WatchedStore
from tests.stores import postgres_server, redis_server

pytestmark = pytest.mark.anyio
PATIENCE = 30.0  # seconds; a busy machine is no fault of the store's


class Server(Protocol):
    """What the tests need of either."""

    @property
    def url(self) -> str: ...

    def kill(self) -> None: ...

    def start(self) -> None: ...


@pytest.fixture(params=["redis", "postgresql"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    module = redis_server if request.param == "redis" else postgres_server
    reason = module.available()
    if reason:
        pytest.skip(reason)
    if request.param == "redis":
        with redis_server.redis_server(tmp_path / "redis", "--appendonly", "yes", "--appendfsync", "always") as found:
            yield found
    else:
        with postgres_server.postgres_server() as running:
            yield running


async def reserve(store: WatchedStore, key: str) -> bool:
    return (await store.reserve(key, owner="o", lease=60, task_type="t")).mine


async def test_a_server_that_is_killed_and_started_again_is_found_back_with_its_records(server: Server) -> None:
    store = WatchedStore(open_store(server.url))
    await store.start()
    assert await reserve(store, "before")
    server.kill()
    with anyio.fail_after(PATIENCE):
        with pytest.raises(StoreUnavailable):
            await reserve(store, "during")
        assert store.down_since is not None
        server.start()
        await store.wait_up()
        record = await store.find("before")
        assert record is not None
        assert record.state is State.RESERVED
        assert await reserve(store, "after")
    await store.aclose()


async def test_a_server_that_comes_after_the_store_was_started_is_found(server: Server) -> None:
    server.kill()
    store = WatchedStore(open_store(server.url))
    with anyio.fail_after(PATIENCE):
        await store.start()
        assert store.down_since is not None
        server.start()
        await store.wait_up()
        assert await reserve(store, "k")
    await store.aclose()


async def test_a_store_that_never_came_can_be_closed(server: Server) -> None:
    server.kill()
    store = WatchedStore(open_store(server.url))
    with anyio.fail_after(PATIENCE):
        await store.start()
        await store.aclose()
