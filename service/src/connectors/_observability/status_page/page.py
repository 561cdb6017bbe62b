"""The page itself, at ``/`` of the metrics port, and what its script asks for, at ``/status.json``."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import time
from collections.abc import Callable, Mapping
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, TypedDict

from connectors._engine.options import EngineOptions
from connectors._observability.http_endpoint import Answer, Page
from connectors._observability.status_page.recent_calls import RecentCalls
from connectors._observability.status_page.tables import (
    TABLES,
    Cell,
    Row,
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


class _View(TypedDict):
    """What the page shows at one moment."""

    page: str
    """Names the page that can show it: after an upgrade a script has to be loaded anew."""
    updated: str
    state: Cell
    facts: list[tuple[str, Cell]]
    tables: dict[str, list[Row]]


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
        self._document = _Document()
        self._view: tuple[float, _View] | None = None
        self._answers: dict[str, Answer] = {}
        """Of that view, by path."""

    def observe(self, event: CallEvent) -> None:
        """Take note of a call."""
        self._recent.observe(event)

    def pages(self) -> Mapping[str, Page]:
        """What the metrics port serves of it, by path."""

        def html(view: _View) -> Answer:
            document = self._document
            return Answer(document.render(view).encode(), "text/html; charset=utf-8", headers=document.headers)

        def status(view: _View) -> Answer:
            return Answer(json.dumps(view).encode(), "application/json")

        return {"/": lambda _: self._given("/", html), "/status.json": lambda _: self._given("/status.json", status)}

    def _given(self, path: str, render: Callable[[_View], Answer]) -> Answer:
        at = time.monotonic()
        if self._view is None or at - self._view[0] > _KEPT:
            self._view = at, self._look(time.time())
            self._answers.clear()
        if path not in self._answers:
            self._answers[path] = render(self._view[1])
        return self._answers[path]

    def _look(self, now: float) -> _View:
        state, fault, (began, started) = self._state(), self._fault(), self._started
        tone: Tone = "warn" if fault else _TONES.get(state, "quiet")
        return _View(
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


class _Document:
    """The HTML around a view: one file, with its style and its script inside."""

    def __init__(self) -> None:
        folder = files("connectors._observability.status_page") / "assets"
        style, script = ((folder / name).read_text("utf-8") for name in ("status.css", "status.js"))
        self._template = Template((folder / "status.html").read_text("utf-8"))
        self._parts = {"style": style, "script": script}
        self.name = _digest(style + script + self._template.template)
        # No inline style or script but these two runs, and nothing is loaded from anywhere, whatever a text contains.
        policy = (
            "default-src 'none'",
            f"script-src 'sha256-{_digest(script)}'",
            f"style-src 'sha256-{_digest(style)}'",
            "img-src data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        )
        self.headers = {
            "Content-Security-Policy": "; ".join(policy),
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
        }

    def render(self, view: _View) -> str:
        """The page, complete without its script."""
        facts = (f"<div><dt>{escape(name)}</dt><dd>{_inside(each)}</dd></div>" for name, each in view["facts"])
        return self._template.substitute(
            self._parts,
            page=escape(view["page"]),
            title=escape(view["state"]["text"]),
            state=_inside(view["state"]),
            updated=escape(view["updated"]),
            facts="".join(facts),
            tables="".join(_table(name, rows) for name, rows in view["tables"].items()),
        )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _table(name: str, rows: list[Row]) -> str:
    heading = TABLES[name]
    labels = [escape(column) for column in heading.columns]
    columns = "".join(f'<th role="columnheader" scope="col">{label}</th>' for label in labels)
    body = "".join(_row(labels, row) for row in rows)
    # The roles are those of the elements: on a phone, where rows are shown as cards, browsers would drop them.
    return (
        f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{escape(heading.title)}</h2>'
        f'<p class="empty"{" hidden" if rows else ""}>{escape(heading.empty)}</p>'
        f'<div class="scroll" role="region" tabindex="0" aria-labelledby="{name}-title"{"" if rows else " hidden"}>'
        f'<table role="table" aria-labelledby="{name}-title">'
        f'<thead role="rowgroup"><tr role="row">{columns}</tr></thead>'
        f'<tbody role="rowgroup" aria-live="off">{body}</tbody></table></div></section>\n'
    )


def _row(labels: list[str], row: Row) -> str:
    cells = "".join(
        f'<td role="cell" data-label="{label}">{_inside(each)}</td>'
        for label, each in zip(labels, row["cells"], strict=True)
    )
    return f'<tr role="row" data-key="{escape(row["key"])}">{cells}</tr>'


def _inside(shown: Cell) -> str:
    """What is in a cell: the script makes the same of it."""
    title = f' title="{escape(shown["title"])}"' if "title" in shown else ""
    if "link" in shown:
        target = f' href="{escape(shown["link"])}" target="_blank" rel="noopener noreferrer"'
        return f"<a{target}{title}>{escape(shown['text'])}</a>"
    tone = f' class="{shown["tone"]}"' if "tone" in shown else ""
    note = f"<small> {escape(shown['note'])}</small>" if "note" in shown else ""
    return f"<span{tone}{title}>{escape(shown['text'])}</span>{note}"
