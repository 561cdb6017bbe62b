"""The webhook connector: it calls an HTTP service, and hands the answer to the workflow.

It calls nothing until the operator lists hosts, and connects to no address of a private network that is not listed too.
It keeps no job: a call answers at once.
"""

from connectors_http.connector import WebhookConnector
from connectors_http.settings import WebhookSettings
from connectors_http.task import WebhookTask
from connectors_http.task_config import WebhookConfig

__all__ = ["WebhookConfig", "WebhookConnector", "WebhookSettings", "WebhookTask"]
