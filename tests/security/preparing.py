"""The secrets of a scene, one for each place that a secret may come from, and the server's settings and variables."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from connectors.testing.faults import FaultProxy
from tests.public.test_kubernetes_secrets import BEARER
from tests.registry.distributions import write_distribution

__all__ = ["NAMESPACE", "Secrets"]

NAMESPACE = "team-a"
_PLUGIN = """
import os
from connectors_bigquery import BigQueryConnector

class Connector(BigQueryConnector):
    def __init__(self, settings=None):
        super().__init__(settings, token_url=os.environ["TOKEN_ADDRESS_OF_THE_TEST"])
"""
"""The BigQuery plugin, with a token address that is not Google's."""


class Secrets:
    """Invented values, each used nowhere else."""

    def __init__(self) -> None:
        self.openai_key = _canary("openai")
        self.hook_token = _canary("hook")
        self.databricks_of_request = _canary("databricks")
        self.databricks_of_kubernetes = _canary("kubernetes")
        self.passphrase = _canary('pass"phrase')
        self.google_token = f"token-{_canary('google')}"
        self.proxy_password = f"canary-{os.urandom(12).hex()}"
        self.collector_token = f"canary-{os.urandom(12).hex()}"
        self.caller_token = _canary("caller")
        self.google_key, _ = _pem()
        self.snowflake_key, self.snowflake_public = _pem(self.passphrase)
        self.tls_key = ""
        """The server's own; set when it is made."""

    @property
    def named(self) -> dict[str, str]:
        """The values by what they are."""
        return {
            "OpenAI's key, of the environment": self.openai_key,
            "the webhook's token, of the environment": self.hook_token,
            "Databricks' token, of the request": self.databricks_of_request,
            "Databricks' token, of Kubernetes": self.databricks_of_kubernetes,
            "Snowflake's key, of a file": self.snowflake_key,
            "its passphrase, of the environment": self.passphrase,
            "Google's key, of the request": self.google_key,
            "Google's access token": self.google_token,
            "the proxy's password": self.proxy_password,
            "the collector's token": self.collector_token,
            "the caller's own token": self.caller_token,
            "the server's token at Kubernetes": BEARER,
            "the server's TLS key": self.tls_key,
        }

    @property
    def of_request(self) -> Mapping[str, str]:
        """What Flyte 2 sends with each call."""
        account = {
            "type": "service_account",
            "client_email": "queries@example.iam.gserviceaccount.com",
            "private_key_id": "1",
            "private_key": self.google_key,
            "token_uri": "https://oauth2.googleapis.com/token",
        }
        return {
            "google_application_credentials": json.dumps(account),
            "databricks_token": self.databricks_of_request,
        }

    def prepare(
        self, folder: Path, proxies: Mapping[str, FaultProxy], *, kubernetes: str, collector: str
    ) -> dict[str, str]:
        """Write the configuration and the files that a server of the scene reads; its environment's variables."""
        for name in ("secrets", "state", "plugins"):
            (folder / name).mkdir()
        (folder / "secrets" / "snowflake_private_key").write_text(self.snowflake_key)
        (folder / "kubeconfig").write_text(_kubeconfig(kubernetes))
        (folder / "connectors.toml").write_text(_settings(folder, {name: each.url for name, each in proxies.items()}))
        write_distribution(folder / "plugins", "bigquery_here", _PLUGIN)
        google = proxies["bigquery"].url
        place = google.removeprefix("http://")
        proxy = f"http://service:{self.proxy_password}@127.0.0.1:{_closed_port()}"
        return {
            "_FSEC_FLYTE_OPENAI_API_KEY": self.openai_key,
            "_FSEC_HOOK_TOKEN": self.hook_token,
            "_FSEC_SNOWFLAKE_PRIVATE_KEY_PASSPHRASE": self.passphrase,
            "KUBECONFIG": str(folder / "kubeconfig"),
            "GCE_METADATA_HOST": place,
            "GCE_METADATA_IP": place,
            "TOKEN_ADDRESS_OF_THE_TEST": f"{google}/token",
            "CLOUDSDK_CONFIG": str(folder / "gcloud"),
            **dict.fromkeys(("HTTPS_PROXY", "https_proxy"), proxy),
            **dict.fromkeys(("HTTP_PROXY", "http_proxy"), ""),
            **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1"),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(folder / "plugins"), os.environ.get("PYTHONPATH")))),
            "CONNECTORS_DENY_PLUGINS": "bigquery",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={self.collector_token}",
        }


def _canary(name: str) -> str:
    """It has what a URL and base64 write in other ways, and may stand in a header."""
    return f"canary/{name}+{os.urandom(12).hex()}=="


def _pem(passphrase: str | None = None) -> tuple[str, rsa.RSAPublicKey]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption).decode()
    return text, key.public_key()


def _kubeconfig(url: str) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": url}}],
            "users": [{"name": "test", "user": {"token": BEARER}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }
    )


def _settings(folder: Path, urls: Mapping[str, str]) -> str:
    hosts = f'["{urls["webhook"]}", "hooks.invalid"]'
    return f"""
log_level = "debug"
status_page = true
store = "sqlite:///{folder}/state/records.sqlite"
secret_sources = ["request", "environment", "files", "kubernetes"]
secret_folders = ["{folder}/secrets"]
secret_namespaces = ["{NAMESPACE}"]
connector_attempts = 2
retry_initial = 0.01
retry_max = 0.02

[plugins.bigquery_here]
endpoint = "{urls["bigquery"]}"

[plugins.databricks]
instances = ["{urls["databricks"]}"]

[plugins.openai]
base_url = "{urls["openai"]}/v1"

[plugins.snowflake]
endpoint = "{urls["snowflake"]}"
accounts = ["example-main"]

[plugins.http]
hosts = {hosts}
private_networks = ["127.0.0.0/8"]
secret_hosts = {{ "hook-token" = {hosts} }}
"""


def _closed_port() -> int:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port: int = nobody.getsockname()[1]
        return port
