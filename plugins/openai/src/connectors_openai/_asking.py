"""What connectors that ask a model, and have its answer in the same call, have in common."""

from __future__ import annotations

from connectors import Context, InvalidRequest, SyncConnectorBase, TaskTemplate
from connectors_openai._api import Api
from connectors_openai._clients import SECRET_NAMES
from connectors_openai._connecting import Connecting, organization_of
from connectors_openai._parameters import Parameters, is_name, meant
from connectors_openai.settings import OpenAISettings

__all__ = ["AskingConnector", "parameters_of"]


class AskingConnector(SyncConnectorBase):
    """Asks a model. What is asked, and what its answer means, is its subclasses' part."""

    Settings = OpenAISettings
    secret_names = SECRET_NAMES

    def __init__(self, settings: OpenAISettings | None = None) -> None:
        """:raises ValueError: ``OPENAI_BASE_URL`` holds no URL that may be used."""
        super().__init__(settings)
        self._connecting = Connecting(self.settings)

    async def aclose(self) -> None:
        await self._connecting.aclose()

    async def _api(self, task: TaskTemplate, ctx: Context) -> Api:
        """The API, as the task's organisation sees it."""
        api, _ = await self._connecting.api(ctx, **organization_of(task.custom))
        return api


def parameters_of(task: TaskTemplate, key: str, *, overwritten: str) -> Parameters:
    """The parameters of a question at ``custom.<key>``.

    :param overwritten: the one that the task's inputs are put into.
    :raises InvalidRequest: they name no model, or are not as they should be.
    """
    parameters = Parameters.of(task.custom, key, overwritten=(overwritten,))
    if not is_name(parameters.body.get("model")):
        hint = meant(task.custom, key)
        raise InvalidRequest(f"the task's custom.{key}.model is missing: the model to ask{hint}")
    return parameters
