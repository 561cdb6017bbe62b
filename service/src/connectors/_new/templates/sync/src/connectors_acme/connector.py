"""The connector: one call, which answers at once."""

from __future__ import annotations

from connectors import Context, Phase, Resource, SyncConnectorBase, TaskTemplate, Unavailable

from connectors_acme._api import TOKEN, arguments, members, send
from connectors_acme.settings import AcmeSettings
from connectors_acme.task_config import AcmeConfig

__all__ = ["AcmeConnector"]


class AcmeConnector(SyncConnectorBase):
    """Runs programs that answer at once. The idempotency key goes with the call: a repeat is carried out once."""

    task_type = "acme"
    Settings = AcmeSettings
    settings: AcmeSettings
    secret_names = (TOKEN,)

    async def do(self, task: TaskTemplate, ctx: Context) -> Resource:
        """The call's result.

        :raises ConnectorError: as the platform says; where it says that another try may help, the service makes it.
        """
        config = AcmeConfig.of(task.custom)
        body = {"program": config.program, "timeout": config.timeout, "arguments": arguments(ctx.inputs)}
        answer = members(await send(self.settings, ctx, "POST", "/v1/calls", body=body, key=ctx.idempotency_key))
        if "result" not in answer:
            raise Unavailable("Acme's answer has no result")
        return Resource(Phase.SUCCEEDED, outputs={"result": answer["result"]})
