"""``make bench``: what a store adds to a create, and whether many records slow it down.

Everything is on this machine: the stores' own servers are started for it, on free ports of 127.0.0.1, and ended. It
prints targets beside figures and judges nothing: the exit status is not 0 only where something went wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median, quantiles

import uvloop

from benchmarks.places import Opened, Place, all_places
from connectors._stores import Record, State, Store, job_of

SUBJECT = {
    "project": "flytesnacks",
    "domain": "production",
    "execution": "a7x9c2k4m6p8q0r2s4t6",
    "node": "n0",
    "output_prefix": "s3://flyte-data/metadata/flytesnacks-production-a7x9c2k4m6p8q0r2s4t6/n0/data/0",
    "protocol": "flyte2",
}
"""As long as it is in practice; so are the metas and fingerprints below."""
FINGERPRINT = "5f" * 32
WEEK = 7 * 24 * 3_600.0
"""Seconds: what a store keeps by default."""
LOADED_AT_ONCE = 10_000
DISK = "the disk: a page and its fsync"
WARM_UP = 5
"""Operations before each round that are not counted: connections and statements are made, the processor wakes up."""

Times = list[float]
"""Of one operation each, in seconds."""
Operation = Callable[[Store, str], Awaitable[None]]
"""On a key that is new."""


def main() -> None:
    """Run it, on the loop that the server runs on."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_measure(_options()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="of each measurement, the stores in turn (default: 20)")
    parser.add_argument("--creates", type=int, default=50, help="for each store in each round (default: 50)")
    parser.add_argument(
        "--records",
        type=lambda text: sorted({int(number) for number in text.split(",")}),
        default=[1_000, 100_000],
        metavar="N,…",
        help="how many records a store holds while a reserve is measured (default: 1000,100000; 1000000 are loaded in"
        " minutes, and take gigabytes of disk and memory)",
    )
    parser.add_argument("--folder", type=Path, help="on the disk that is measured (default: the temporary folder)")
    return parser.parse_args()


async def _measure(options: argparse.Namespace) -> None:
    places = all_places()
    missing = {place.name: reason for place in places if (reason := place.missing())}
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="connectors-bench-", dir=options.folder)))
        opened: dict[str, Opened] = {}
        for place in places:
            if place.name not in missing:
                (own := folder / str(len(opened))).mkdir()
                opened[place.name] = await stack.enter_async_context(place.open(own))
        stores = {name: each.store for name, each in opened.items()}

        print(
            f"One caller; {options.rounds} rounds of {options.creates}, the stores in turn; median, and 10 % to 90 %.\n"
        )
        print("What a store adds to a create: a reserve and a complete")
        _print_creates(places, missing, await _rounds(stores, _create, options, folder))

        filled = {place.name: opened[place.name] for place in places if place.is_filled and place.name in opened}
        await _print_many(filled, options, folder)


async def _rounds(
    stores: Mapping[str, Store], operation: Operation, options: argparse.Namespace, folder: Path
) -> dict[str, Times]:
    """Each store's times, and the disk's. Each round begins with another of them: what one leaves to be done in the
    background shall not always hit the same one.
    """
    with _page_and_sync(folder / "probe") as write:
        measured: dict[str, Callable[[str], Awaitable[None]]] = {
            **{name: partial(operation, store) for name, store in stores.items()},
            DISK: write,
        }
        times: dict[str, Times] = {name: [] for name in measured}
        turn = list(measured)
        for _ in range(options.rounds):
            for name in turn:
                for _ in range(WARM_UP):
                    await measured[name](str(uuid.uuid4()))
                for _ in range(options.creates):
                    key = str(uuid.uuid4())
                    begin = time.perf_counter()
                    await measured[name](key)
                    times[name].append(time.perf_counter() - begin)
            turn.append(turn.pop(0))
    return times


@contextmanager
def _page_and_sync(path: Path) -> Iterator[Callable[[str], Awaitable[None]]]:
    """As a log is written. It blocks the loop, on which nothing else waits."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def write(key: str) -> None:
        os.write(file, key.encode().ljust(4_096))
        os.fsync(file)

    try:
        yield write
    finally:
        os.close(file)
        path.unlink()


async def _create(store: Store, key: str) -> None:
    await _reserve(store, key)
    assert await store.complete(key, owner=key, meta=_meta(key))  # noqa: S101 - what is timed has to have happened


async def _reserve(store: Store, key: str) -> None:
    claim = await store.reserve(
        key,
        owner=key,
        lease=60.0,
        task_type="bigquery_query_job_task",
        fingerprint=FINGERPRINT,
        subject=SUBJECT,
        over_after=600.0,
    )
    assert claim.mine  # noqa: S101


def _meta(key: str) -> bytes:
    return b'{"project":"analytics-prod","location":"EU","job_id":"%s"}' % key.encode()


def _records(number: int) -> Iterator[Record]:
    """Jobs of the last week; one in ten still runs."""
    now = time.time()
    for n in range(number):
        key, made = str(uuid.uuid4()), now - WEEK * (n % 9_973) / 9_973
        task_type, meta, over = "bigquery_query_job_task", _meta(key), n % 10 > 0
        yield Record(
            key,
            task_type,
            State.DONE,
            FINGERPRINT,
            meta,
            run=key,
            owner=key,
            tracked=True,
            subject=SUBJECT,
            job=job_of(task_type, 0, meta),
            created=made,
            changed=made + 60,
            done_at=made + 1,
            terminal="SUCCEEDED" if over else "",
            terminal_at=made + 60 if over else 0.0,
        )


# -------------------------------------------------------------------------------------------------------------- tables


def _print_creates(places: list[Place], missing: Mapping[str, str], times: Mapping[str, Times]) -> None:
    for place in places:
        if place.name in missing:
            print(f"  {place.name:<34}not measured: {missing[place.name]}")
            continue
        result = "met" if median(times[place.name]) * 1e3 <= place.target else "missed"
        print(f"  {place.name:<34}{_spread(times[place.name])}   target {place.target:g} ms: {result}")
    print(f"  {DISK:<34}{_spread(times[DISK])}   one is in a create; two where Redis syncs each write")


def _spread(times: Times) -> str:
    tenths = quantiles(times, n=10)
    return f"{median(times) * 1e3:6.3f} ms ({tenths[0] * 1e3:.3f} to {tenths[-1] * 1e3:.3f})"


async def _print_many(opened: Mapping[str, Opened], options: argparse.Namespace, folder: Path) -> None:
    sizes: list[int] = options.records
    if not opened or not sizes:
        return
    stores = {name: each.store for name, each in opened.items()}
    medians: dict[str, Times] = {name: [] for name in (*stores, DISK)}
    records, loaded = _records(sizes[-1]), 0
    for size in sizes:
        begin = time.perf_counter()
        while batch := list(islice(records, min(LOADED_AT_ONCE, size - loaded))):
            loaded += len(batch)
            for each in opened.values():
                each.load(batch)
        for each in opened.values():
            each.settle()
        print(f"\n{size:,} records were loaded in {time.perf_counter() - begin:.0f} s", end="", flush=True)
        for name, times in (await _rounds(stores, _reserve, options, folder)).items():
            medians[name].append(median(times))
    print("\n\nA reserve of a new key, at the median")
    print(f"  {'records':<34}" + "".join(f"{size:>12,}" for size in sizes) + "   last / first")
    for name, row in medians.items():
        print(f"  {name:<34}" + "".join(f"{each * 1e3:9.3f} ms" for each in row) + f"{row[-1] / row[0]:12.2f}")


if __name__ == "__main__":
    main()
