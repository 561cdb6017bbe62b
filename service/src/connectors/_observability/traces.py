"""OpenTelemetry's traces: whether they are wanted, and the way to them. What needs the packages of the extra ``otel``
is in :mod:`connectors._observability.otel`, which is imported where they are wanted and nowhere else.

The standard variables say all of it (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/):
traces are on where ``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`` or ``OTEL_TRACES_EXPORTER``
is set, and go out by OTLP over HTTP.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote

from connectors.secrets import remember

if TYPE_CHECKING:
    from connectors._observability.otel import Tracing

__all__ = ["doubts", "open_tracing"]

_SWITCHES = ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
_PACKAGE = "opentelemetry.exporter.otlp.proto.http"


def open_tracing(environment: Mapping[str, str], version: str) -> Tracing | None:
    """What makes spans and sends them; None where that is not wanted, or cannot be: :func:`doubts` says why.

    :param version: this release's.
    """
    if not _is_wanted(environment) or doubts(environment):
        return None
    for name in _HEADERS:  # a collector's key may be among them
        for header in environment.get(name, "").split(","):
            remember(unquote(header.partition("=")[2].strip()))
    from connectors._observability.otel import Tracing  # noqa: PLC0415 - an extra, which costs 0.3 s

    return Tracing(version)


def doubts(environment: Mapping[str, str]) -> list[str]:
    """Why traces that seem to be wanted are not sent, a line each."""
    if not _is_wanted(environment):
        return []
    found = []
    exporter = _word(environment, "OTEL_TRACES_EXPORTER")
    if exporter not in ("", "otlp"):
        found.append(
            f"OTEL_TRACES_EXPORTER={exporter[:40]} is not offered: traces are not sent; otlp is the one exporter"
        )
    protocol = next((word for name in _PROTOCOLS if (word := _word(environment, name))), "")
    if protocol not in ("", "http/protobuf"):
        text = "is not offered: traces are not sent; http/protobuf is the one protocol, on the collector's port 4318"
        found.append(f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol[:40]} {text}")
    if not _is_installed():
        found.append("OTEL_…: traces need what the extra installs: pip install 'connectors-service[otel]'")
    return found


def _is_wanted(environment: Mapping[str, str]) -> bool:
    off = _word(environment, "OTEL_SDK_DISABLED") == "true" or _word(environment, "OTEL_TRACES_EXPORTER") == "none"
    return not off and any(_word(environment, name) for name in _SWITCHES)


def _word(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name, "").strip().lower()


def _is_installed() -> bool:
    try:
        return importlib.util.find_spec(_PACKAGE) is not None
    except ModuleNotFoundError:  # not even what the package lies in
        return False
