"""A real Chromium without a window, driven by its DevTools protocol (https://chromedevtools.github.io/devtools-protocol/).

The protocol is JSON over a WebSocket, which aiohttp speaks; the browser is Debian's.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

__all__ = ["Tab", "browsing", "new_tab"]

_START = 60.0  # seconds
_ANSWER = 30.0
_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # it opens this project's own page alone; the sandbox refuses root and most containers
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-port=0",
)


@contextmanager
def browsing(profile: Path) -> Iterator[str]:
    """Run a browser; gives the address of its DevTools.

    :param profile: an empty folder.
    """
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise FileNotFoundError("there is no Chromium: apt-get install chromium")
    with (profile / "browser.log").open("wb") as log:
        process = subprocess.Popen(
            [program, *_ARGUMENTS, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield f"http://127.0.0.1:{_port(process, profile)}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _port(process: subprocess.Popen[bytes], profile: Path) -> int:
    """The port that it took, which it writes down."""
    written, end = profile / "DevToolsActivePort", time.monotonic() + _START
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError, IndexError, ValueError):
            return int(written.read_text().splitlines()[0])
        time.sleep(0.02)
    raise RuntimeError(f"Chromium did not start: {(profile / 'browser.log').read_text('utf-8', 'replace')[-2000:]}")


@asynccontextmanager
async def new_tab(browser: str) -> AsyncIterator[Tab]:
    """A tab of its own, 1280 by 900, light."""
    async with aiohttp.ClientSession() as session:
        async with session.put(f"{browser}/json/new?about:blank") as answer:
            target = await answer.json()
        async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            tab = Tab(socket, target["id"])
            reading = asyncio.create_task(tab.read())
            try:
                for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
                    await tab.send(f"{domain}.enable")
                await tab.look()
                yield tab
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
        async with session.get(f"{browser}/json/close/{target['id']}"):
            pass


class Tab:
    """A page in the browser, and what it complained of."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, target: str) -> None:
        self.target = target
        self.complaints: list[str] = []
        """What its console says of errors, of the content security policy too."""
        self.requests: list[str] = []
        """The URLs that it asked for."""
        self._socket = socket
        self._numbers = count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()
        self._asked = asyncio.Event()

    async def open(self, url: str) -> None:
        """Load a page."""
        self._loaded.clear()
        await self.send("Page.navigate", url=url)
        async with asyncio.timeout(_ANSWER):
            await self._loaded.wait()

    async def look(self, *, width: int = 1280, height: int = 900, dark: bool = False, is_phone: bool = False) -> None:
        """Change the window and the colours that the user wishes for."""
        size = {"width": width, "height": height, "deviceScaleFactor": 2 if is_phone else 1, "mobile": is_phone}
        await self.send("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])

    async def value(self, expression: str) -> Any:
        """What an expression of JavaScript is in the page; of a promise what it comes to."""
        answer = await self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    async def until(self, expression: str) -> Any:
        """The value of an expression, once it is true."""
        async with asyncio.timeout(_ANSWER):
            while True:
                if value := await self.value(expression):
                    return value
                await asyncio.sleep(0.05)

    async def next_request(self) -> str:
        """The next URL that it asks for, from now on."""
        self._asked.clear()
        async with asyncio.timeout(_ANSWER):
            await self._asked.wait()
        return self.requests[-1]

    async def picture(self) -> bytes:
        """The window as it looks, as PNG."""
        answer = await self.send("Page.captureScreenshot", format="png")
        return base64.b64decode(answer["data"])

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Any command of the protocol."""
        number = next(self._numbers)
        waiting: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[number] = waiting
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(_ANSWER):
            return await waiting

    async def read(self) -> None:
        """Take what the browser sends, until it is cancelled."""
        async for message in self._socket:
            told = message.json()
            if "id" in told:
                self._answered(told)
            else:
                self._happened(told["method"], told["params"])

    def _answered(self, told: dict[str, Any]) -> None:
        waiting = self._answers.pop(told["id"], None)
        if waiting is None or waiting.done():
            return
        if "error" in told:
            waiting.set_exception(AssertionError(told["error"]))
        else:
            waiting.set_result(told["result"])

    def _happened(self, event: str, about: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self._loaded.set()
        elif event == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])
            self._asked.set()
        elif event == "Log.entryAdded":
            self.complaints.append(about["entry"]["text"])
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(str(about["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(about["args"]))
