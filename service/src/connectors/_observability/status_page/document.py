"""The HTML around what the page shows: one file, with its style and its script inside, and the policy that allows these
two and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from importlib.resources import files
from string import Template
from typing import TypedDict

from connectors._observability.status_page.tables import TABLES, Cell, Row

__all__ = ["Document", "View"]


class View(TypedDict):
    """What the page shows at one moment."""

    page: str
    """Names the page that can show it: after an upgrade a script has to be loaded anew."""
    updated: str
    state: Cell
    facts: list[tuple[str, Cell]]
    tables: dict[str, list[Row]]


class Document:
    """Writes views as HTML."""

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

    def render(self, view: View) -> str:
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
