"""The Acme connector: it runs tasks as jobs."""

from connectors_acme.connector import (
    AcmeConnector,
    AcmeJob,
)
from connectors_acme.settings import AcmeSettings
from connectors_acme.task import AcmeTask
from connectors_acme.task_config import AcmeConfig

__all__ = [
    "AcmeConfig",
    "AcmeConnector",
    "AcmeJob",
    "AcmeSettings",
    "AcmeTask",
]
