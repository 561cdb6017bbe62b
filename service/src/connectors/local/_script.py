"""Runs in a script: an event loop of its own, and Ctrl-C as cancellation."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["in_new_loop", "in_thread"]

T = TypeVar("T")


def in_new_loop(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function to its end, in an event loop of its own.

    Each SIGINT cancels it once: at the first one, a run deletes its job and waits for that; at the second, it leaves.

    :raises KeyboardInterrupt: it was interrupted.
    :raises RuntimeError: an event loop runs in this thread: await the coroutine there.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise RuntimeError("an event loop is running here: use `await task.run(…)` in place of `task(…)`")
    interrupted = False

    async def interruptible() -> T:
        nonlocal interrupted
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine that runs has one

        def interrupt() -> None:
            nonlocal interrupted
            interrupted = True
            task.cancel()

        # The loop's handler, not the interpreter's: that one would raise wherever the program happens to be.
        listens = threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGINT) if listens else None
        try:
            if listens:
                loop.add_signal_handler(signal.SIGINT, interrupt)
        except NotImplementedError:  # Windows: asyncio's own handler cancels at the first one
            listens = False
        try:
            return await main()
        finally:
            if listens:
                loop.remove_signal_handler(signal.SIGINT)
                signal.signal(signal.SIGINT, before)

    try:
        return asyncio.run(interruptible())
    except asyncio.CancelledError:
        if interrupted:
            raise KeyboardInterrupt from None
        raise


def in_thread(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The same for a caller that cannot await, also where an event loop runs in its thread: that loop stands still
    meanwhile. Ctrl-C cancels the run.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return in_new_loop(main)
    result: list[T] = []
    failure: list[BaseException] = []
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []

    async def tell() -> T:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine that runs has one
        running.append((asyncio.get_running_loop(), task))
        return await main()

    def work() -> None:
        try:
            result.append(asyncio.run(tell()))
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            failure.append(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), name="connectors-local", daemon=True)
    thread.start()
    while True:
        try:
            thread.join()
            break
        except KeyboardInterrupt as interrupt:
            failure.insert(0, interrupt)
            for loop, task in running:
                loop.call_soon_threadsafe(task.cancel)
    if failure:
        raise failure[0]
    return result[0]
