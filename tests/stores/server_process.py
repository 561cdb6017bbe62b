"""A server's part in the tests of several processes, over one SQLite file: ``server_process.py ROLE PATH OWNER``."""

from __future__ import annotations

import asyncio
import random
import resource
import sys
from pathlib import Path

from connectors._stores import StoreUnavailable
from connectors._stores.sqlite import SqliteStore


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def hammer(store: SqliteStore, owner: str) -> None:
    """Reserves 300 keys in an order of its own, eight at a time; says which it was granted."""
    await store.start()
    keys = [f"k{n}" for n in range(300)]
    random.Random(owner).shuffle(keys)
    say("ready")
    sys.stdin.readline()

    async def take(share: list[str]) -> None:
        for key in share:
            claim = await store.reserve(key, owner=owner, lease=60.0, task_type="t")
            if claim.mine:
                assert not claim.looked_for
                assert await store.complete(key, owner=owner, meta=owner.encode())
                say("granted", key)

    await asyncio.gather(*(take(keys[n::8]) for n in range(8)))


async def hold(store: SqliteStore, owner: str) -> None:
    """Completes one key, reserves another for half a second, then waits to be killed."""
    await store.start()
    await store.reserve("done", owner=owner, lease=60.0, task_type="t")
    await store.complete("done", owner=owner, meta=b"job")
    claim = await store.reserve("held", owner=owner, lease=0.5, task_type="t")
    say("granted" if claim.mine else "refused")
    await asyncio.Event().wait()


async def fill(store: SqliteStore, owner: str) -> None:
    """Writes until the disk is full, here: no file of this process may grow on. Then there is room again."""
    await store.start()
    await store.reserve("k", owner=owner, lease=60.0, task_type="t")
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, most))
    try:
        for n in range(100):
            await store.save(f"k{n}", "result", b"\x01" * 100_000, ttl=60.0)
    except StoreUnavailable as error:
        say("full:", error)
    say("found", await store.find("k") is not None)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    say("completed", await store.complete("k", owner=owner, meta=b"job"))


async def start(store: SqliteStore, owner: str) -> None:
    """Starts while the disk has no room at all, here: no file of this process may grow. Then there is room again."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))
    try:
        await store.start()
    except StoreUnavailable as error:
        say("full:", error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    await store.start()
    say("started", await store.find("k"))


async def main() -> None:
    role, path, owner = sys.argv[1:]
    store = SqliteStore(Path(path))
    await {"hammer": hammer, "hold": hold, "fill": fill, "start": start}[role](store, owner)
    await store.aclose()


if __name__ == "__main__":
    asyncio.run(main())
