"""The demo from its first line to its last."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from demo.display import Display
from demo.emulators import CRUCIBLE, Emulator, EmulatorError, running
from demo.failures import DemoError
from demo.interrupts import Interrupted, watch
from demo.query_job import SQL, Outcome, Protocol, run
from demo.request_metrics import scrape
from demo.rows import read_table
from demo.server_process import Server, installed_connectors, refuse_taken, running_server

__all__ = ["tell"]

_PROTOCOLS: Mapping[Protocol, str] = {
    "flyte1": "Flyte 1: flyteidl.service.AsyncAgentService",
    "flyte2": "Flyte 2: flyteidl2.connector.AsyncConnectorService",
}


def tell(*, port: int, metrics_port: int, picture: Path | None) -> int:
    """Run the demo; returns the exit status. Whatever stops it is one line on standard error.

    :param port: of gRPC; 0 takes a free one, as for ``metrics_port``. :param picture: where to write the SVG.
    """
    watch()
    display = Display()
    try:
        _run(display, port=port, metrics_port=metrics_port)
        if picture is not None:
            display.save_picture(picture, "make demo")
    except (DemoError, EmulatorError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except Interrupted as interrupted:
        print("demo: interrupted; what it had started is stopped", file=sys.stderr)
        return interrupted.exit_status
    return 0


def _run(display: Display, *, port: int, metrics_port: int) -> None:
    started = time.monotonic()
    refuse_taken(port, "--port")
    refuse_taken(metrics_port, "--metrics-port")
    display.title("One SQL query through each of Flyte's protocols, on this machine alone")
    # Entered in this order, left in the other one, whatever happens in between.
    with contextlib.ExitStack() as started_here:
        folder = Path(started_here.enter_context(tempfile.TemporaryDirectory(prefix="connectors-demo-")))
        _show_plugins(display, folder)

        display.step("A BigQuery that others wrote")
        with display.waiting("starting") as say:
            say("the first time it is installed, in an environment of its own")
            emulator = started_here.enter_context(running(CRUCIBLE))
        display.fact("emulator", f"{_version_of_emulator()} on {emulator.url}")
        display.fact("note", "it runs a query to its end within the create: the first poll finds it done")

        display.step("connectors serve")
        with display.waiting("starting") as say:
            say("until it says that it listens")
            server = started_here.enter_context(
                running_server(
                    folder,
                    port=port,
                    metrics_port=metrics_port,
                    variables={"BIGQUERY_EMULATOR_HOST": emulator.url},
                )
            )
        display.fact("gRPC", server.address)
        display.fact("metrics", server.metrics_url)
        display.fact("status page", server.metrics_url.removesuffix("metrics"))
        display.fact("store", "SQLite, the embedded default, in a state folder of the demo's own")

        display.step("The query")
        display.sql(SQL)
        for protocol, service in _PROTOCOLS.items():
            display.step(service)
            _show_query(display, protocol, server, emulator)

        display.step("What the server counted")
        _show_requests(display, server)
    display.step(f"Done in {time.monotonic() - started:.1f} s; the server and the emulator are stopped.")


def _show_plugins(display: Display, folder: Path) -> None:
    display.step("Plugins, as `connectors list` finds them")
    found = installed_connectors(folder)
    display.table(
        ("task type", "kind", "plugin", "distribution"),
        [
            (each["task_type"], each["kind"], each["plugin"], f"{each['distribution']} {each['distribution_version']}")
            for each in found
        ],
    )


def _show_query(display: Display, protocol: Protocol, server: Server, emulator: Emulator) -> None:
    with display.waiting("job") as say:
        outcome = asyncio.run(run(protocol, server.address, say))
    _show_outcome(display, outcome)
    table = read_table(emulator.url, outcome.output)
    numbers = [
        index for index, _ in enumerate(table.columns) if all(row[index].lstrip("-").isdigit() for row in table.rows)
    ]
    display.table(table.columns, table.rows, numbers=numbers)


def _show_outcome(display: Display, outcome: Outcome) -> None:
    phases = " → ".join(phase.name for phase in outcome.phases)
    display.fact("phases", f"{phases} in {outcome.seconds:.2f} s", good=True)
    for link in outcome.resource.log_links:
        display.fact(link.name, link.uri)
    display.fact("output", outcome.output)
    if not outcome.is_repeat_same:
        raise DemoError("a second create of the same attempt gave another job: the first one's key was not found")
    display.fact("repeat", "a second CreateTask of this attempt: same job", good=True)


def _show_requests(display: Display, server: Server) -> None:
    display.table(
        ("task type", "operation", "OK", "failed", "repeats", "mean ms"),
        [
            (
                each.task_type,
                each.operation,
                str(each.succeeded),
                str(each.failed),
                str(each.repeated),
                f"{each.mean_ms:.1f}",
            )
            for each in scrape(server.metrics_url)
        ],
        numbers=(2, 3, 4, 5),
    )


def _version_of_emulator() -> str:
    package = next(each for each in CRUCIBLE.requirements if each.startswith("crucible-emulator=="))
    return package.replace("==", " ")
