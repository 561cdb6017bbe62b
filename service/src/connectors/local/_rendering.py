"""The placeholders in a container's arguments, as the backends fill them in before a connector sees the task."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.errors import InvalidRequest
from connectors.local._prefix import OutputPrefix
from connectors.models import Binary, Blob, Schema, StructuredDataset, TaskTemplate

__all__ = ["rendered"]

_PLACEHOLDER = re.compile(r"\{\{\s*[.$]\s*([A-Za-z]+)(?:\.([^}\s]+))?\s*\}\}")
"""``{{.name}}`` or ``{{$name}}``, whatever the case of its letters."""
_FIRST_ACTION = "a0"  # what Flyte 2 calls a run's own action


def rendered(
    template: TaskTemplate, inputs: Mapping[str, Any], *, prefix: OutputPrefix | None, run_name: str
) -> TaskTemplate:
    """The template with its container's command and arguments filled in; a placeholder that is not known stays.

    :raises InvalidRequest: an argument names an input that there is not, or a place, and there is no output prefix.
    """
    container = template.container
    if container is None:
        return template

    def under(name: str) -> Callable[[str], str]:
        def place(placeholder: str) -> str:
            if prefix is None:
                raise InvalidRequest(
                    f"the container's {placeholder} needs an output prefix, and this run has none: set one that the "
                    "platform reaches too, by RunOptions(output_prefix=…) or --output-prefix"
                )
            return prefix.path(name) if name else prefix.url

        return place

    started = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    values: Mapping[str, Callable[[str], str]] = {
        "input": under("inputs.pb"),
        "inputprefix": under(""),
        "outputprefix": under(""),
        "rawoutputdataprefix": under("raw"),
        "checkpointoutputprefix": under("_flytecheckpoints"),
        "prevcheckpointprefix": lambda _: "",  # this is always a first attempt
        "runname": lambda _: run_name,
        "actionname": lambda _: _FIRST_ACTION,
        "runstarttime": lambda _: started,
    }

    def fill(found: re.Match[str]) -> str:
        name, of = found[1].lower(), found[2]
        if name == "inputs" and of:
            if of not in inputs:
                raise InvalidRequest(f"the container's {found[0]} names an input that there is not")
            return _text(inputs[of], found[0])
        value = values.get(name) if of is None else None
        return found[0] if value is None else value(found[0])

    def fill_all(texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_PLACEHOLDER.sub(fill, text) for text in texts)

    return replace(
        template, container=replace(container, command=fill_all(container.command), args=fill_all(container.args))
    )


def _text(value: Any, placeholder: str) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case None:
            return ""
        case float():
            return f"{value:.17g}" if float(f"{value:.15g}") != value else f"{value:.15g}"
        case int() | str():
            return str(value)
        case datetime():
            moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
            return moment.isoformat().replace("+00:00", "Z")
        case timedelta():
            return f"{value.total_seconds():g}s"
        case Blob() | StructuredDataset() | Schema():
            return value.uri
        case list() | tuple():
            return f"[{','.join(_text(each, placeholder) for each in value)}]"
        case Mapping():
            return json.dumps(value, separators=(",", ":"), default=lambda each: _text(each, placeholder))
        case Binary() | _:
            raise InvalidRequest(f"the container's {placeholder} is of a type that has no text: {type(value).__name__}")
