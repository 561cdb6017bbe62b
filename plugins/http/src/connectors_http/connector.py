"""The connector: one call, one request and its answer."""

from __future__ import annotations

from connectors import (
    Context,
    FailedPrecondition,
    HttpClient,
    Resource,
    SyncConnectorBase,
    TaskTemplate,
)
from connectors_http._answer import resource
from connectors_http._exchange import exchange
from connectors_http._request import WebhookRequest, check_host
from connectors_http._url import UrlTemplate
from connectors_http.settings import WebhookSettings
from connectors_http.task_config import WebhookConfig

__all__ = ["WebhookConnector"]


class WebhookConnector(SyncConnectorBase):
    """Calls HTTP services that the operator allows.

    A POST or a PATCH carries the idempotency key in the header Idempotency-Key. Whether a repeat of it does nothing
    more is the service's affair, so such a call is sent again only where the service refused it, or where the task
    says that a repeat does no harm.
    """

    task_type = "webhook"
    Settings = WebhookSettings

    def __init__(self, settings: WebhookSettings | None = None) -> None:
        super().__init__(settings)
        self.secret_names = tuple(self.settings.secret_hosts)  # it says of each where it may be sent, too
        self._http: HttpClient | None = None

    async def start(self, http: HttpClient) -> None:
        # a pool of its own: what may be connected to is decided for each of its connections
        self._http = HttpClient(
            max_body_bytes=self.settings.max_response_bytes,
            user_agent="connectors-webhook",
            egress=http.egress,
            admits=self.settings.addresses.admits,
        )

    async def aclose(self) -> None:
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def do(self, task: TaskTemplate, ctx: Context) -> Resource:
        """Make the call.

        :raises InvalidRequest: the task, or an input of it, is not as it should be. Nothing was sent.
        :raises PermissionDenied: the operator did not list the host, its address or a secret. Nothing was sent there.
        :raises ConnectorError: the service cannot be reached, or says that it cannot answer now.
        """
        if self._http is None:
            raise FailedPrecondition("the connector was not started")
        settings: WebhookSettings = self.settings
        config = WebhookConfig.of(task.custom)
        check_host(settings.host_rules, UrlTemplate.parse(config.url).origin)
        request = await WebhookRequest.of(config, task, ctx, settings.secret_rules)
        answer = await exchange(
            self._http,
            request,
            rules=settings.host_rules,
            expects=config.expects,
            redirects=settings.redirects,
            timeout=min(config.seconds, settings.longest_timeout, ctx.remaining()),
        )
        return resource(answer, config, task.interface)
