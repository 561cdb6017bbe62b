"""The page itself, at ``/`` of the metrics port, and what its script asks for, at ``/status.json``."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from connectors._engine.options import EngineOptions
from connectors._observability.http_endpoint import Answer, Page
from connectors._observability.status_page.document import Document, View
from connectors._observability.status_page.recent_calls import RecentCalls
from connectors._observability.status_page.tables import (
    Tone,
    age,
    call_rows,
    cell,
    clock,
    connector_rows,
    moment,
    shielded_rows,
    total,
)

if TYPE_CHECKING:
    from connectors._engine.engine import Engine
    from connectors._engine.events import CallEvent

__all__ = ["StatusPage"]

_TONES: Mapping[str, Tone] = {"ready": "ok", "starting": "quiet", "draining": "warn", "closing": "warn"}
_KEPT = 0.5
"""Seconds for which an answer is given again. One takes 5 to 10 ms of the event loop, which is there for calls: however
many people look, it is at most some hundredths.
"""


class StatusPage:
    """Shows one server. :meth:`observe` is for its engine's events."""

    def __init__(
        self,
        *,
        version: str,
        store: str,
        options: EngineOptions,
        state: Callable[[], str],
        fault: Callable[[], str],
    ) -> None:
        """:param version: this release's. :param store: where the records are, without a password.

        :param state: "ready" or another word for what the server does. :param fault: what does not work, or "".
        """
        self.engine: Engine | None = None
        """None before there is one."""
        self._recent = RecentCalls()
        self._version = version
        self._store = store
        self._options = options
        self._state = state
        self._fault = fault
        self._started = time.time(), time.monotonic()
        self._host = socket.gethostname()
        self._document = Document()
        self._view: tuple[float, View] | None = None
        self._answers: dict[str, Answer] = {}
        """Of that view, by path."""

    def observe(self, event: CallEvent) -> None:
        """Take note of a call."""
        self._recent.observe(event)

    def pages(self) -> Mapping[str, Page]:
        """What the metrics port serves of it, by path."""

        def html(view: View) -> Answer:
            document = self._document
            return Answer(document.render(view).encode(), "text/html; charset=utf-8", headers=document.headers)

        def status(view: View) -> Answer:
            return Answer(json.dumps(view).encode(), "application/json")

        return {"/": lambda _: self._given("/", html), "/status.json": lambda _: self._given("/status.json", status)}

    def _given(self, path: str, render: Callable[[View], Answer]) -> Answer:
        at = time.monotonic()
        if self._view is None or at - self._view[0] > _KEPT:
            self._view = at, self._look(time.time())
            self._answers.clear()
        if path not in self._answers:
            self._answers[path] = render(self._view[1])
        return self._answers[path]

    def _look(self, now: float) -> View:
        state, fault, (began, started) = self._state(), self._fault(), self._started
        tone: Tone = "warn" if fault else _TONES.get(state, "quiet")
        return View(
            page=self._document.name,
            updated=f"{clock(now, now)} UTC",
            state=cell(fault or state, tone=tone),
            facts=[
                ("Server", cell(self._host)),
                ("Version", cell(self._version)),
                ("Up", cell(age(time.monotonic() - started), title=f"since {moment(began)}")),
                ("Calls in flight", cell(f"{total(self.engine):,}")),
                ("Store", cell(self._store)),
            ],
            tables={
                "shielded": list(shielded_rows(self.engine, self._recent, now=now)),
                "connectors": list(connector_rows(self.engine, self._options)),
                "faults": list(call_rows(self._recent.faults, now=now)),
                "calls": list(call_rows(self._recent.calls, now=now)),
            },
        )
