"""What the three connectors have in common: a pool of clients, and an identity for each call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors import Context
from connectors_openai._api import Api
from connectors_openai._clients import Clients, Identity, api_key
from connectors_openai._parameters import identifier
from connectors_openai.settings import OpenAISettings, base_url_of

__all__ = ["Connecting", "organization_of"]


class Connecting:
    """Makes the :class:`Api` of a call."""

    def __init__(self, settings: OpenAISettings) -> None:
        """:raises ValueError: ``OPENAI_BASE_URL`` holds no URL that may be used."""
        self._settings = settings
        self.base_url = base_url_of(settings)
        self._clients = Clients(base_url=self.base_url, connections=settings.connections)

    async def api(self, ctx: Context, *, organization: str, project: str, reference: str = "") -> tuple[Api, str]:
        """The API as one caller sees it, and the reference that finds its key again.

        :param reference: of an earlier call's key, which a meta kept.
        :raises FailedPrecondition: there is no API key, or none that can be one.
        """
        key, found = await api_key(ctx.secrets, reference=reference)
        settings = self._settings
        identity = Identity(key, organization or settings.organization, project or settings.project)
        api = Api(
            ctx,
            self._clients,
            identity,
            answer_timeout=settings.answer_timeout,
            request_timeout=settings.request_timeout,
        )
        return api, found

    async def aclose(self) -> None:
        """Close the connections."""
        await self._clients.aclose()


def organization_of(custom: Mapping[str, Any]) -> dict[str, str]:
    """A task's organisation and project, "" where it names none.

    :raises InvalidRequest: one of them is no identifier.
    """
    return {
        "organization": identifier(custom, "openai_organization"),
        "project": identifier(custom, "openai_project"),
    }
