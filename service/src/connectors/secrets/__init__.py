"""Where a connector's secrets come from, which of them it may read, and how they stay out of everything else.

A call's secrets are looked up in an ordered list of sources: by default what the request brought with it (Flyte 2's
connection), the environment, then files; Kubernetes by setting. A plugin reads the names that it declares
(``ConnectorBase.secret_names``) and those that the operator adds. A value that was handed out is remembered by the
process, so that :func:`redact` takes it out of log lines, errors and metas. Nothing here writes a secret anywhere.
"""

from connectors.secrets._files import FileSecrets
from connectors.secrets._kubernetes import KubernetesSecrets
from connectors.secrets._redaction import redact, remember
from connectors.secrets._rules import SecretRules, SecretScope, check_name, name_and_key
from connectors.secrets._secrets import Secrets
from connectors.secrets._sources import Asked, EnvironmentSecrets, RequestSecrets, Secret, SecretSource

__all__ = [
    "Asked",
    "EnvironmentSecrets",
    "FileSecrets",
    "KubernetesSecrets",
    "RequestSecrets",
    "Secret",
    "SecretRules",
    "SecretScope",
    "SecretSource",
    "Secrets",
    "check_name",
    "name_and_key",
    "redact",
    "remember",
]
