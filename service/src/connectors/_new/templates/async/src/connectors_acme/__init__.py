"""The Acme connector: it runs a task as a job of Acme's."""

from connectors_acme.connector import AcmeConnector, AcmeJob
from connectors_acme.settings import AcmeSettings
from connectors_acme.task_config import AcmeConfig

__all__ = ["AcmeConfig", "AcmeConnector", "AcmeJob", "AcmeSettings"]
