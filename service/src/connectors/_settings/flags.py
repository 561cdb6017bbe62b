"""The settings as a command's flags: their names and texts are written down with the settings and nowhere else."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container
from typing import TYPE_CHECKING, Annotated, Any

import typer

from connectors._settings.settings import Settings
from connectors._settings.sources import FILE_ONLY, flag_of

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

__all__ = ["with_settings"]

_METAVARS: dict[Any, str] = {int: "NUMBER", float: "NUMBER"}


def with_settings(command: Callable[..., None], *, only: Container[str] | None = None) -> Callable[..., None]:
    """``command`` with a flag for each setting: its first parameter takes them, by field, None where one was not
    used.

    :param only: the fields that are flags of this command; None: all of them.
    """
    _, *own = inspect.signature(command, eval_str=True).parameters.values()
    flags = [
        _option(name, field)
        for name, field in Settings.model_fields.items()
        if name not in FILE_ONLY and (only is None or name in only)
    ]

    def run(**given: Any) -> None:
        command({flag.name: given.pop(flag.name) for flag in flags}, **given)

    # The text and the signature are what typer reads; of the text it would keep every line break.
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    run.__doc__ = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [*flags, *(item.replace(kind=item.KEYWORD_ONLY) for item in own)]
    )
    return run


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    is_switch = field.annotation is bool
    flag, extra = flag_of(name), field.json_schema_extra
    option = typer.Option(
        f"{flag}/--no-{flag[2:]}" if is_switch else flag,
        help=field.description,
        rich_help_panel=str(extra["section"]) if isinstance(extra, dict) else None,
        metavar=None if is_switch else _METAVARS.get(field.annotation, "TEXT"),
        show_default=False if field.default in (None, "", ()) else _shown(field.default),
    )
    # Everything but a switch is text: the settings read it as they read a variable, and refuse it in the same words.
    kind: Any = bool if is_switch else str
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _shown(default: Any) -> str:
    return ",".join(default) if isinstance(default, tuple) else str(default).lower()
