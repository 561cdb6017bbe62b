"""The fallback service of one server: connected to, and asked for its list again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from connectors._server.fallback_channel import FallbackChannel
from connectors._settings import Settings
from connectors._wire.fallback import Lists, Unreachable
from connectors.client import tls

__all__ = ["FallbackService", "faults"]

log = logging.getLogger("connectors.server")

_ASK_EVERY_S = 10.0
"""As often as the backends ask for a list."""
_ASK_AGAIN_S = 2.0
"""Where it could not be asked."""
_ANSWER_WITHIN_S = 10.0
_START_WITHIN_S = 5.0
"""How long a start waits for the first list."""
_NAMED = 20


class FallbackService:
    """Where calls for task types that are not served here go. It may be out of reach, at the start too."""

    def __init__(self, settings: Settings) -> None:
        """:raises ValueError: the settings name none, or its authorities cannot be used."""
        host, _, port = (settings.fallback or "").rpartition(":")
        context = tls(settings.fallback_ca_file) if settings.fallback_tls else None
        self.other = FallbackChannel(host.removeprefix("[").removesuffix("]"), int(port), tls=context)
        self.lists = Lists(self.other)
        self.fault = ""
        """Why it cannot be asked; "" while it can."""
        self._listed: Sequence[str] | None = None
        self._following: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Ask for the list, and go on asking."""
        await self._ask(_START_WITHIN_S)
        self._following = asyncio.create_task(self._follow())

    async def aclose(self) -> None:
        """Ask no more; calls that are still under way end."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        await self.other.aclose()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(_ASK_AGAIN_S if self.fault else _ASK_EVERY_S)
            await self._ask(_ANSWER_WITHIN_S)

    async def _ask(self, within: float) -> None:
        try:
            await self.lists.refresh(within=within)
        except Unreachable as fault:
            if not self.fault:
                fields = {"event": "fallback_lost"}
                log.warning("%s; its task types stay as they were known", fault.message, extra={"fields": fields})
            self.fault = fault.message
            return
        except Exception:
            log.exception("the list of the fallback service could not be read")
            return
        self.fault = ""
        listed = sorted(self.lists.task_types)
        if listed != self._listed:
            self._listed = listed
            more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
            log.info(
                "the fallback service %s serves: %s%s",
                *(self.other.address, ", ".join(listed[:_NAMED]) or "nothing", more),
                extra={"fields": {"event": "fallback", "task_types": listed}},
            )


def faults(settings: Settings) -> Sequence[str]:
    """What keeps a server from starting, a line each."""
    try:
        if settings.fallback_ca_file is not None:
            tls(settings.fallback_ca_file)
    except ValueError as fault:
        return [f"--fallback-ca-file: {fault}"]
    return []
