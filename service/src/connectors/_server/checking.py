"""Everything that can be found wrong before a server is started."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from connectors._registry import Registry
from connectors._server import fallback, outside, pausing, tls
from connectors._server.discovery import discover, mistakes, nothing_served
from connectors._server.starting import StartError, close_connectors, start_connectors, start_store
from connectors._settings import Settings
from connectors.http import HttpClient

__all__ = ["Finding", "check"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    about: str
    """settings, a task type, a plugin, or store."""
    text: str
    is_fault: bool = False


def check(settings: Settings) -> Sequence[Finding]:
    """Load and start all plugins, and open the store. Nothing is served, and everything is closed again.

    :raises SettingsError: the file has settings of a plugin that is not installed.
    """
    registry = discover(settings)
    wrong = [*mistakes(settings, registry)]
    findings = [Finding("settings", line, is_fault=True) for line in wrong] or [Finding("settings", "can be used")]
    unusable = outside.faults(settings)
    findings += [Finding("settings", line, is_fault=True) for line in unusable]
    findings += [
        Finding("settings", line, is_fault=True)
        for line in [*tls.faults(settings), *pausing.faults(settings), *fallback.faults(settings)]
    ]
    findings += [Finding("settings", f"to be looked at: {line}") for line in outside.doubts(settings)]
    if not unusable:
        registry = asyncio.run(_start_and_close(registry, settings))
    findings += [Finding(str(item.category), f"{item.kind}, by plugin {item.plugin!r}") for item in registry]
    findings += [Finding(f"plugin {failure.plugin}", str(failure), is_fault=True) for failure in registry.failures]
    if not len(registry) and settings.fallback is None:
        findings.append(Finding("plugins", nothing_served(settings, registry), is_fault=True))
    findings.append(asyncio.run(_open_and_close(settings.store)))
    return findings


async def _start_and_close(registry: Registry, settings: Settings) -> Registry:
    async with HttpClient(egress=settings.egress()) as http:
        started = await start_connectors(registry, http)
        await close_connectors(started)
    return started


async def _open_and_close(url: str) -> Finding:
    try:
        store = await start_store(url)
    except StartError as error:
        return Finding("store", str(error), is_fault=True)
    fault = store.fault
    await store.aclose()
    if fault:
        text = f"--store: {fault}; a server would start all the same, and wait for it"
        return Finding("store", text, is_fault=True)
    return Finding("store", "can be opened")
