"""The command ``connectors``: serve, list, check; and the others, which have modules of their own.

What a command needs is imported when it runs: ``connectors --help`` waits for none of it. The flags of the commands
are the settings, one by one: their names and texts are written down there and nowhere else.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

# Pydantic would look for plugins of its own in every package that is installed, a tenth of the time to ready.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

import typer

from connectors._run.breaking_off import BrokenOff
from connectors._run.mistakes import Mistake
from connectors._settings import SettingsError, load
from connectors._settings.flags import with_settings
from connectors.errors import ConnectorError

if TYPE_CHECKING:
    from connectors._registry import Registered, Registry

__all__ = ["main"]

_FAILED, _BAD_SETTINGS, _REFUSED, _INTERRUPTED = 1, 2, 3, 130
_ABOUT_PLUGINS = frozenset({"config", "allow_plugins", "deny_plugins", "allow_task_types", "deny_task_types"})

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
    _add_commands(*sys.argv[1:2])
    try:
        app()
    except SettingsError as error:
        _print_errors(*error.problems)
        sys.exit(_BAD_SETTINGS)
    except Mistake as mistake:
        _print_errors(str(mistake))
        sys.exit(_BAD_SETTINGS)
    except ConnectorError as error:
        _print_errors(error.message)
        sys.exit(_REFUSED)
    except BrokenOff as signal:
        _print_errors(f"interrupted by {signal}")
        sys.exit(signal.code)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


def _print_errors(*lines: str) -> None:
    for line in lines:
        print(f"connectors: {line}", file=sys.stderr)


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
    gc.disable()  # until it serves: almost all that a start makes stays for good
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
        code = _FAILED
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
                "dedupe": _dedupe(found),
                "results_inline": _results_inline(found),
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


def _dedupe(found: Registered) -> str | None:
    """What makes a repeated create safe; None for a sync connector, which makes no job."""
    return getattr(found.connector, "dedupe", None) if found.kind == "async" else None


def _results_inline(found: Registered) -> bool | None:
    return getattr(found.connector, "results_inline", None) if found.kind == "async" else None


def _print_table(registry: Registry, *, empty: str) -> None:
    from rich.markup import escape

    from connectors._tables import console, print_table

    to = console()
    if len(registry):
        headings = ("TASK TYPE", "VERSION", "KIND", "DEDUPE", "RESULTS", "PLUGIN", "DISTRIBUTION")
        print_table(to, headings, (_row(found) for found in registry))
    else:
        to.print(escape(empty))
    for failure in registry.failures:
        to.print(f"[red]Cannot be used:[/red] {escape(str(failure))}")


def _row(found: Registered) -> tuple[str, ...]:
    results = {True: "inline", False: "prefix", None: ""}[_results_inline(found)]
    source = f"{found.distribution} {found.distribution_version}".strip() or "unknown"
    return (
        found.category.name,
        str(found.category.version),
        found.kind,
        _dedupe(found) or "",
        results,
        found.plugin,
        source,
    )


def _add_run() -> None:
    from connectors._run.commands import add_commands

    add_commands(app)


def _add_jobs() -> None:
    from connectors._ledger.commands import jobs

    app.add_typer(jobs)


def _add_new() -> None:
    from connectors._new.command import new

    app.command("new")(new)


_COMMANDS: Mapping[str, Callable[[], object]] = {
    "serve": lambda: app.command("serve")(with_settings(_serve)),
    "list": lambda: app.command("list")(with_settings(_list, only=_ABOUT_PLUGINS)),
    "check": lambda: app.command("check")(with_settings(_check)),
    **dict.fromkeys(("run", "create", "get", "delete", "logs"), _add_run),
    "new": _add_new,
    "jobs": _add_jobs,
}
"""In the order of the help."""


def _add_commands(asked: str = "") -> None:
    """Add the command that is asked for; where it is none of them, all, so that the help can list them.

    Most have dozens of flags: a server that made all of them would start 20 ms later.
    """
    for add in [_COMMANDS[asked]] if asked in _COMMANDS else dict.fromkeys(_COMMANDS.values()):
        add()
