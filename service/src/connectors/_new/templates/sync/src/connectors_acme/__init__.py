"""The Acme connector: it carries tasks out as calls."""

from connectors_acme.connector import AcmeConnector
from connectors_acme.settings import AcmeSettings
from connectors_acme.task import AcmeTask
from connectors_acme.task_config import AcmeConfig

__all__ = [
    "AcmeConfig",
    "AcmeConnector",
    "AcmeSettings",
    "AcmeTask",
]
