"""What leads out of the process by setting: the sources of secrets, the way that requests take, and traces."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from connectors._engine.secret_access import REQUEST
from connectors._observability import traces
from connectors._settings import Settings
from connectors.errors import ConnectorError
from connectors.secrets import EnvironmentSecrets, FileSecrets, KubernetesSecrets, SecretSource, remember

__all__ = ["doubts", "faults", "hide_password", "secret_sources"]


def secret_sources(settings: Settings) -> Sequence[SecretSource]:
    """The sources of secrets in their order. What is unusable about them is told by :func:`faults`."""
    made: Mapping[str, Callable[[], SecretSource]] = {
        "request": lambda: REQUEST,
        "environment": EnvironmentSecrets,
        "files": lambda: FileSecrets(*map(Path, settings.secret_folders)),
        "kubernetes": lambda: KubernetesSecrets(settings.secret_namespaces),
    }
    return [made[word]() for word in settings.secret_sources]


def hide_password(settings: Settings) -> None:
    """Have the password in the proxy's address taken out of whatever is said from here on."""
    if settings.egress_proxy is not None:
        remember(unquote(urlsplit(settings.egress_proxy).password or ""))


def faults(settings: Settings) -> Sequence[str]:
    """What keeps a server from starting, a line each."""
    found = []
    if "kubernetes" in settings.secret_sources and importlib.util.find_spec("lightkube") is None:
        found.append(
            "--secret-sources: kubernetes needs what its extra installs: pip install 'connectors-service[kubernetes]'"
        )
    egress = settings.egress()
    try:
        if settings.egress_ca_file is not None:
            egress.ssl_context()
        for scheme in ("https", "http"):
            egress.proxy_for(f"{scheme}://platform.invalid/")
    except ConnectorError as error:
        found.append(error.message)
    return found


def doubts(settings: Settings) -> Sequence[str]:
    """What may be a mistake and may also be meant, a line each."""
    found = []
    if "files" in settings.secret_sources and "secret_folders" in settings.model_fields_set:
        found += [
            f"--secret-folders: there is no folder {folder} now"
            for folder in settings.secret_folders
            if not Path(folder).is_dir()
        ]
    if "kubernetes" in settings.secret_sources and not settings.secret_namespaces:
        found.append("--secret-sources has kubernetes, which reads nothing without --secret-namespaces")
    if settings.secret_namespaces and "kubernetes" not in settings.secret_sources:
        found.append("--secret-namespaces means nothing while --secret-sources does not have kubernetes")
    return [*found, *traces.doubts(os.environ)]
