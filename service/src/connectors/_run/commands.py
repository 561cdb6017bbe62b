"""The commands ``connectors run``, ``create``, ``get``, ``delete`` and ``logs``.

What they need is imported when they run: ``connectors --help`` waits for none of it.
"""

from __future__ import annotations

import binascii
import sys
from base64 import b64decode
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from connectors._run.mistakes import Mistake
from connectors._run.place import PLACE_SETTINGS, Place, with_place
from connectors._settings.flags import with_settings
from connectors.errors import InvalidRequest
from connectors.models import LogLine, TaskCategory, TaskTemplate

if TYPE_CHECKING:
    from connectors.local import Calls

__all__ = ["add_commands"]

T = TypeVar("T")

TaskFile = Annotated[Path, typer.Argument(metavar="TASK", help="The task's file: .yaml, .json, or .pb of Flyte's.")]
Inputs = Annotated[
    list[str] | None,
    typer.Option("--input", "-i", metavar="NAME=VALUE", help="An input's value; once for each.", show_default=False),
]
Prefix = Annotated[
    str,
    typer.Option(metavar="TEXT", help="A folder, or the URL of a store, for inputs.pb and outputs.pb."),
]
TaskType = Annotated[str, typer.Argument(metavar="TYPE", help="The task type; with its version as TYPE@VERSION.")]
Meta = Annotated[str, typer.Argument(metavar="META", help="The job's resource meta: JSON, or base64.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


def _run(
    place: Place,
    *,
    task: TaskFile,
    inputs: Inputs = None,
    output_prefix: Prefix = "",
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER", min=0.001, help="Seconds for the run; then its job is deleted.", show_default=False
        ),
    ] = None,
    poll_interval: Annotated[
        float, typer.Option(metavar="NUMBER", min=0.001, help="Seconds from one poll to the next.")
    ] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Run a task to its end: here, or through a server. Its outputs go to standard output, all else to standard error.

    Ctrl-C and SIGTERM delete the job, and wait for that; a second one does not wait, and tells what finds the job.

    Only errors are logged, unless a level is set.

    Exit codes: 0 SUCCEEDED, 1 FAILED, 2 a mistake in the command, the file, an input or a setting, 3 another error (the
    connector or the server refused or could not be reached; outputs that are not as declared), 4 ABORTED, 75
    RETRYABLE_FAILED, 124 --timeout is over, 130 Ctrl-C, 143 SIGTERM.
    """
    from connectors._run.breaking_off import BrokenOff  # noqa: PLC0415 - likewise
    from connectors._run.exit_codes import code_of  # noqa: PLC0415 - see above
    from connectors._run.shown_values import lines_of, outcome_as_json, written  # noqa: PLC0415 - likewise
    from connectors.local import Outcome, Progress, run_task  # noqa: PLC0415 - likewise

    template, values = _task(task, inputs)
    latest = Progress("creating", 0.0)

    async def ask(calls: Calls) -> Outcome:
        from connectors._run.display import Display  # noqa: PLC0415 - likewise

        def tell(progress: Progress) -> None:
            nonlocal latest
            latest = progress
            display.tell(progress)

        with Display(template.type) as display:
            outcome = await run_task(
                template,
                values,
                via=calls,
                output_prefix=output_prefix or None,
                timeout=timeout,
                poll_interval=poll_interval,
                on_progress=tell,
            )
        display.end(outcome)
        return outcome

    try:
        outcome = _carried_out(place, ask)
    except BrokenOff:
        if as_json:
            typer.echo(written(outcome_as_json(latest.as_outcome(), interrupted=True)))
        raise
    if as_json:
        typer.echo(written(outcome_as_json(outcome)))
    else:
        for line in lines_of(outcome.outputs):
            typer.echo(line)
    sys.exit(code_of(outcome))


def _create(
    place: Place, task: TaskFile, inputs: Inputs = None, output_prefix: Prefix = "", as_json: AsJson = False
) -> None:
    """Start a task's job, and print the resource meta that finds it again.

    The container's arguments go as they are, and nothing is written under the prefix: run does both.
    """
    from connectors._run.shown_values import meta_as_json, written  # noqa: PLC0415 - as above
    from connectors.local import shown_meta  # noqa: PLC0415 - likewise

    template, values = _task(task, inputs)

    async def ask(calls: Calls) -> bytes:
        category = TaskCategory(template.type, template.task_type_version)
        if await calls.kind(category) == "sync":
            raise InvalidRequest(f"{template.type} is a sync connector, which has no jobs: use connectors run")
        return await calls.create(template, values, output_prefix=output_prefix)

    meta = _carried_out(place, ask)
    typer.echo(written({"task_type": template.type, **meta_as_json(meta)}) if as_json else shown_meta(meta))


def _get(place: Place, task_type: TaskType, meta: Meta, output_prefix: Prefix = "", as_json: AsJson = False) -> None:
    """Ask for a job's state, once. The exit code is 0 whatever the phase is."""
    from connectors._run.shown_values import lines_of, resource_as_json, written  # noqa: PLC0415 - as above
    from connectors._tables import printable  # noqa: PLC0415 - likewise

    category, job = _category(task_type), _meta(meta)
    resource = _carried_out(place, lambda calls: calls.get(category, job, output_prefix=output_prefix))
    if as_json:
        typer.echo(written(resource_as_json(resource)))
        return
    typer.echo(f"{resource.phase.name}  {printable(resource.message)}".rstrip())
    for link in resource.log_links:
        typer.echo(f"{printable(link.name)}: {printable(link.uri)}")
    for line in lines_of(resource.outputs or {}):
        typer.echo(line)


def _delete(place: Place, task_type: TaskType, meta: Meta) -> None:
    """Cancel a job. One that has ended, or is gone, is left as it is.

    A server that cannot do it now does it later; here it is tried until it is done.
    """
    category, job = _category(task_type), _meta(meta)
    _carried_out(place, lambda calls: calls.delete(category, job))


def _logs(
    place: Place,
    task_type: TaskType,
    meta: Meta,
    lines: Annotated[
        int, typer.Option(metavar="NUMBER", min=0, help="Only a page of as many lines; 0 is the whole log.")
    ] = 0,
    token: Annotated[str, typer.Option(metavar="TEXT", help="Begin where the page before ended.")] = "",
) -> None:
    """Print a job's log, oldest line first. With --lines, where the next page begins goes to standard error."""
    category, job = _category(task_type), _meta(meta)

    async def ask(calls: Calls) -> str:
        following, seen = token, set[str]()
        while True:
            page = await calls.get_logs(category, job, lines=lines, token=following)
            for line in page.lines:
                typer.echo(_shown(line))
            # A log that goes on has a next page, empty for now: this is not a command that follows it.
            if lines or not page.token or not page.lines or page.token in seen:
                return page.token
            following = page.token
            seen.add(following)

    following = _carried_out(place, ask)
    if lines and following:
        typer.echo(f"connectors: the next page: --token {following}", err=True)


def add_commands(app: typer.Typer) -> None:
    """Make them commands of ``app``."""
    for name, command in (
        ("run", _run),
        ("create", _create),
        ("get", _get),
        ("delete", _delete),
        ("logs", _logs),
    ):
        app.command(name)(with_settings(with_place(command), only=PLACE_SETTINGS))


# --- their common steps


def _category(written: str) -> TaskCategory:
    name, sign, version = written.rpartition("@")
    if not sign:
        return TaskCategory(written)
    if not (name and version.isdecimal()):
        raise Mistake(f"{written!r} is no task type: TYPE or TYPE@VERSION is needed")
    return TaskCategory(name, int(version))


def _meta(written: str) -> bytes:
    """JSON goes as it was typed: its bytes are what the job is found by."""
    if written.startswith("{"):
        return written.encode()
    try:
        meta = b64decode(written, validate=True)
    except (binascii.Error, ValueError):
        meta = b""
    if not meta:
        raise Mistake("META: a resource meta is needed, as JSON or in base64")
    return meta


def _shown(line: LogLine) -> str:
    from connectors._tables import printable  # noqa: PLC0415 - as above

    text = "\t".join(printable(part) for part in line.message.split("\t"))
    return f"{line.timestamp.isoformat()}  {text}" if line.timestamp else text


def _task(file: Path, given: list[str] | None) -> tuple[TaskTemplate, dict[str, Any]]:
    from connectors._run.input_values import inputs_of  # noqa: PLC0415 - as above
    from connectors._run.task_file import read_task  # noqa: PLC0415 - likewise

    template = read_task(file)
    return template, inputs_of(given or (), template.interface)


def _carried_out(place: Place, ask: Callable[[Calls], Awaitable[T]]) -> T:
    from connectors._run.breaking_off import carry_out  # noqa: PLC0415 - as above

    async def asked() -> T:
        async with place.calls() as calls:
            return await ask(calls)

    place.set_up_logging()
    return carry_out(asked())
