"""The command ``connectors``: serve, list, check.

What a command needs is imported when it runs: ``connectors --help`` waits for none of it. The flags of the commands
are the settings, one by one: their names and texts are written down there and nowhere else.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Container
from typing import TYPE_CHECKING, Annotated, Any

import typer

from connectors._settings import FILE_ONLY, Settings, SettingsError, flag_of, load

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from connectors._registry import Registry

__all__ = ["main"]

_START_FAILED, _BAD_SETTINGS, _INTERRUPTED = 1, 2, 130
_ABOUT_PLUGINS = frozenset({"config", "allow_plugins", "deny_plugins", "allow_task_types", "deny_task_types"})

_METAVARS: dict[Any, str] = {int: "NUMBER", float: "NUMBER"}
app = typer.Typer(
    name="connectors",
    help="Runs external jobs for Flyte 1 and Flyte 2 through pluggable connectors.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """The console script."""
    try:
        app()
    except SettingsError as error:
        _print_errors(*error.problems)
        sys.exit(_BAD_SETTINGS)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


def _print_errors(*lines: str) -> None:
    for line in lines:
        print(f"connectors: {line}", file=sys.stderr)


def _with_settings(command: Callable[..., None], *, only: Container[str] | None = None) -> Callable[..., None]:
    """``command`` with a flag for each setting: its first parameter takes them, by field, None where one was not
    used.
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
        show_default=False if field.default in (None, "", ()) else str(field.default).lower(),
    )
    # Everything but a switch is text: the settings read it as they read a variable, and refuse it in the same words.
    kind: Any = bool if is_switch else str
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _show_version(wanted: bool) -> None:
    if wanted:
        from connectors._server.starting import version

        print(f"connectors {version()}")
        raise typer.Exit


@app.callback()
def _connectors(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Runs external jobs for Flyte 1 and Flyte 2 through pluggable connectors."""


def _serve(flags: dict[str, Any]) -> None:
    """Serve both Flyte protocols until SIGTERM or SIGINT.

    Each flag is a variable too (--metrics-port: CONNECTORS_METRICS_PORT), and a key of the configuration file. A flag
    wins over the variable, the variable over the file. A plugin's own settings are CONNECTORS_<PLUGIN>__<FIELD>, and
    plugins.<name> in the file.
    """
    settings = load(flags)
    from connectors._observability.logs import configure
    from connectors._server.discovery import discover, refuse_bad_settings
    from connectors._server.ending import leave
    from connectors._server.process import serve
    from connectors._server.starting import StartError

    configure(settings.log_format, settings.log_level)
    registry = discover(settings)
    refuse_bad_settings(registry)
    code = 0
    try:
        serve(settings, registry)
    except StartError as error:
        _print_errors(str(error))
        code = _START_FAILED
    leave(code)


def _list(flags: dict[str, Any], as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Show the task types that are served, by which plugin, and what cannot be loaded."""
    settings = load(flags)
    from connectors._server.discovery import discover, nothing_served

    registry = discover(settings)
    if as_json:
        print(json.dumps(_as_json(registry), indent=2))
    else:
        _print_table(registry, empty=nothing_served(settings, registry))


def _check(flags: dict[str, Any]) -> None:
    """Load and start all plugins, validate all settings and open the store; exit with 1 where anything is wrong.

    Takes the flags of serve, so that a command line can be checked as it is.
    """
    settings = load(flags)
    from connectors._server.checking import check

    findings = check(settings)
    for finding in findings:
        print(f"{'FAULT' if finding.is_fault else 'ok':<6}{finding.about}: {finding.text}")
    if any(finding.is_fault for finding in findings):
        sys.exit(1)


def _as_json(registry: Registry) -> dict[str, Any]:
    return {
        "connectors": [
            {
                "task_type": found.category.name,
                "task_type_version": found.category.version,
                "kind": found.kind,
                "plugin": found.plugin,
                "distribution": found.distribution,
                "distribution_version": found.distribution_version,
            }
            for found in registry
        ],
        "failures": [
            {"plugin": failure.plugin, "distribution": failure.distribution, "reason": failure.reason}
            for failure in registry.failures
        ],
    }


def _print_table(registry: Registry, *, empty: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 1_000  # for grep and cut: a line of the table is never broken
    table = Table(
        "TASK TYPE", "VERSION", "KIND", "PLUGIN", "DISTRIBUTION", box=box.SIMPLE_HEAD if console.is_terminal else None
    )
    for found in registry:
        source = f"{found.distribution} {found.distribution_version}".strip() or "unknown"
        row = (found.category.name, str(found.category.version), found.kind, found.plugin, source)
        table.add_row(*(escape(cell) for cell in row))
    if len(registry):
        console.print(table)
    else:
        console.print(escape(empty))
    for failure in registry.failures:
        console.print(f"[red]Cannot be used:[/red] {escape(str(failure))}")


app.command("serve")(_with_settings(_serve))
app.command("list")(_with_settings(_list, only=_ABOUT_PLUGINS))
app.command("check")(_with_settings(_check))
