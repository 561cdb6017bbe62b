from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from cryptography import x509
from google.auth import jwt

from connectors import FailedPrecondition, HttpClient, InvalidRequest, Secrets, Unauthenticated, Unavailable
from connectors.http import Egress
from connectors.secrets import EnvironmentSecrets, RequestSecrets
from connectors_bigquery._credentials import ApplicationDefault, ServiceAccount, identity_for
from connectors_bigquery._tokens import Grant
from plugins.bigquery.tests.fake_bigquery import FakeBigQuery, Fault
from tests.public.test_http import Proxy
from tests.wire.tls import certify, copy

pytestmark = pytest.mark.anyio
DEFAULT = ApplicationDefault()


def secrets(value: str | None = None) -> Secrets:
    request = {} if value is None else {"google_application_credentials": value}
    return Secrets([RequestSecrets(request), EnvironmentSecrets()])


def claims_of(assertion: str) -> Mapping[str, Any]:
    claims: Mapping[str, Any] = jwt.decode(assertion, verify=False)  # type: ignore[no-untyped-call]
    return claims


# --- which identity


async def test_without_a_secret_it_is_the_servers_own() -> None:
    assert (await identity_for(secrets(), DEFAULT)).identity is DEFAULT


async def test_the_path_in_the_environment_is_the_servers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/run/key.json")
    assert (await identity_for(secrets(), DEFAULT)).identity is DEFAULT


async def test_the_requests_service_account_wins_over_the_environment(
    monkeypatch: pytest.MonkeyPatch, secret: Mapping[str, str]
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/run/key.json")
    identity = (await identity_for(secrets(secret["google_application_credentials"]), DEFAULT)).identity
    assert isinstance(identity, ServiceAccount)
    assert identity.email == "queries@example.iam.gserviceaccount.com"


async def test_a_key_in_the_environment_is_used(monkeypatch: pytest.MonkeyPatch, secret: Mapping[str, str]) -> None:
    monkeypatch.setenv("_FSEC_GOOGLE_APPLICATION_CREDENTIALS", secret["google_application_credentials"])
    assert isinstance((await identity_for(secrets(), DEFAULT)).identity, ServiceAccount)


# --- what a request may bring


@pytest.mark.parametrize("text", ["/etc/passwd", "my-secret", "", "[]", "null", '"service_account"'])
async def test_a_secret_that_is_no_key_is_an_error(text: str) -> None:
    with pytest.raises(InvalidRequest, match="service account's key"):
        await identity_for(secrets(text), DEFAULT)


@pytest.mark.parametrize("kind", ["authorized_user", "external_account", "impersonated_service_account", None])
async def test_credentials_of_another_kind_are_refused(service_account: dict[str, str], kind: str | None) -> None:
    with pytest.raises(InvalidRequest, match="'type' must be 'service_account'"):
        ServiceAccount.parse(json.dumps({**service_account, "type": kind}))


@pytest.mark.parametrize("address", ["https://evil.example/token", "http://oauth2.googleapis.com/token", "", None])
async def test_a_token_address_that_is_not_googles_is_refused(
    service_account: dict[str, str], address: str | None
) -> None:
    with pytest.raises(InvalidRequest, match="another 'token_uri'"):
        ServiceAccount.parse(json.dumps({**service_account, "token_uri": address}))


@pytest.mark.parametrize("missing", ["client_email", "private_key"])
async def test_a_key_without_its_parts_is_refused(service_account: dict[str, str], missing: str) -> None:
    del service_account[missing]
    with pytest.raises(InvalidRequest, match=missing):
        ServiceAccount.parse(json.dumps(service_account))


async def test_a_private_key_that_is_none_is_refused_without_showing_it(
    http: HttpClient, bigquery: FakeBigQuery, service_account: dict[str, str]
) -> None:
    account = ServiceAccount.parse(
        json.dumps({**service_account, "private_key": "not-a-pem"}), token_url=f"{bigquery.url}/token"
    )
    with pytest.raises(InvalidRequest, match="not an RSA key") as caught:
        await account.fetch(http)
    assert "not-a-pem" not in str(caught.value)
    assert bigquery.count("token") == 0


async def test_the_private_key_does_not_show_in_the_repr(service_account: dict[str, str]) -> None:
    assert "PRIVATE KEY" not in repr(ServiceAccount.parse(json.dumps(service_account)))


async def test_identities_differ_by_key_and_not_by_how_the_json_is_written(service_account: dict[str, str]) -> None:
    one = ServiceAccount.parse(json.dumps(service_account))
    same = ServiceAccount.parse(json.dumps(dict(reversed(service_account.items())), indent=2))
    other = ServiceAccount.parse(json.dumps({**service_account, "private_key_id": "2"}))
    assert one.key == same.key != other.key


# --- the token


async def test_a_token_is_given_for_a_signed_assertion(
    http: HttpClient, bigquery: FakeBigQuery, service_account: dict[str, str]
) -> None:
    grant = await ServiceAccount.parse(json.dumps(service_account), token_url=f"{bigquery.url}/token").fetch(http)
    assert (grant.value, grant.lifetime) == ("token-1", 3600.0)
    sent = bigquery.last("token").body
    claims = claims_of(sent["assertion"])
    assert sent["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assert claims["iss"] == service_account["client_email"]
    assert claims["aud"] == "https://oauth2.googleapis.com/token"
    assert claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"
    assert claims["exp"] - claims["iat"] == 3600


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(400, body=b'{"error": "invalid_grant", "error_description": "Invalid JWT"}'), Unauthenticated),
        (Fault(401, body=b'{"error": "invalid_client"}'), Unauthenticated),
        (Fault(503), Unavailable),
        (Fault(429), Unavailable),
        (Fault(200, body=b"<html>"), Unavailable),
        (Fault(200, body=b'{"access_token": "t"}'), Unavailable),
        (Fault(200, body=b"[]"), Unavailable),
        (Fault(hangs_up=True), Unavailable),
    ],
)
async def test_a_token_that_is_not_given_is_an_error_of_its_kind(
    http: HttpClient, bigquery: FakeBigQuery, service_account: dict[str, str], fault: Fault, kind: type[Exception]
) -> None:
    bigquery.faults["token"].append(fault)
    account = ServiceAccount.parse(json.dumps(service_account), token_url=f"{bigquery.url}/token")
    with pytest.raises(kind):
        await account.fetch(http)


async def test_a_call_names_the_project_that_pays_for_it_where_the_credentials_do() -> None:
    assert Grant("token", 1.0, "billing").headers() == {
        "Authorization": "Bearer token",
        "x-goog-user-project": "billing",
    }
    assert Grant("token", 1.0).headers() == {"Authorization": "Bearer token"}


async def test_a_token_does_not_show_in_its_repr() -> None:
    assert "hidden" not in repr(Grant("hidden", 1.0))


# --- the server's own


async def test_the_file_that_the_environment_names_is_used(
    http: HttpClient,
    bigquery: FakeBigQuery,
    service_account: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "key.json"
    # the operator's own file is trusted with the address
    file.write_text(json.dumps({**service_account, "token_uri": f"{bigquery.url}/token"}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    grant = await ApplicationDefault().fetch(http)
    assert grant.value == "token-1"
    assert grant.lifetime == pytest.approx(3600, abs=60)


FETCH = """
import asyncio
from connectors import HttpClient
from connectors.http import Egress
from connectors_bigquery._credentials import ApplicationDefault

async def fetch():
    async with HttpClient(egress=Egress(proxy="http://127.0.0.1:1")) as http:  # nobody listens there
        print((await ApplicationDefault().fetch(http)).value)

asyncio.run(fetch())
"""


async def test_on_google_cloud_the_metadata_server_is_asked_and_through_no_proxy(bigquery: FakeBigQuery) -> None:
    place = bigquery.url.removeprefix("http://")
    ours = {name: value for name, value in os.environ.items() if name != "NO_GCE_CHECK"}
    # in a process of its own: google-auth reads these once, when it is imported
    variables = ours | {"GCE_METADATA_HOST": place, "GCE_METADATA_IP": place, "HTTP_PROXY": "http://127.0.0.1:1"}
    variables["NO_PROXY"] = variables["no_proxy"] = ""
    fetched = await anyio.run_process([sys.executable, "-c", FETCH], env=variables, check=False)
    assert (fetched.stdout.decode().strip(), fetched.stderr.decode()) == ("token-1", "")


@asynccontextmanager
async def behind_https(url: str, folder: Path) -> AsyncIterator[tuple[str, str]]:
    """A server's URL behind TLS, and the file with the authority of its certificate."""
    certificate, key = certify(folder, x509.DNSName("localhost"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    host, port = url.removeprefix("http://").split(":")

    writers: list[asyncio.StreamWriter] = []

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    async with await asyncio.start_server(forward, "127.0.0.1", 0, ssl=context) as server:
        try:
            yield f"https://localhost:{server.sockets[0].getsockname()[1]}", str(certificate)
        finally:
            for each in writers:
                each.transport.abort()  # a client that is gone says no goodbye over TLS


@pytest.fixture
def key_file(service_account: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Have the server's own credentials be a key with this token address."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "localhost")

    def write(token_url: str) -> None:
        file = tmp_path / "key.json"
        file.write_text(json.dumps({**service_account, "token_uri": token_url}))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))

    return write


async def test_the_servers_own_credentials_are_asked_for_through_the_operators_proxy(
    key_file: Callable[[str], None],
) -> None:
    key_file("https://tokens.invalid/token")
    proxy = Proxy()
    async with proxy.serving() as place, HttpClient(egress=Egress(proxy=f"http://{place}")) as http:
        with pytest.raises(Unavailable):
            await ApplicationDefault().fetch(http)
    assert {asked.rpartition(" ")[0] for asked, _ in proxy.asked} == {"CONNECT tokens.invalid:443"}


@pytest.mark.parametrize("by", ["setting", "SSL_CERT_FILE"])
async def test_the_operators_certificate_authorities_are_believed(
    key_file: Callable[[str], None], bigquery: FakeBigQuery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    async with behind_https(bigquery.url, tmp_path) as (url, authority):
        key_file(f"{url}/token")
        async with HttpClient() as http:
            with pytest.raises(Unavailable):
                await ApplicationDefault().fetch(http)
        if by == "SSL_CERT_FILE":
            monkeypatch.setenv(by, authority)
        async with HttpClient(egress=Egress(ca_file=authority if by == "setting" else None)) as http:
            assert (await ApplicationDefault().fetch(http)).value == "token-1"


async def test_a_file_of_authorities_that_is_gone_is_told(
    key_file: Callable[[str], None], http: HttpClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_file("https://localhost:1/token")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone.pem"))
    with pytest.raises(FailedPrecondition, match="certificate authorities"):
        await ApplicationDefault().fetch(http)


async def test_a_server_without_credentials_says_how_to_give_it_some(http: HttpClient) -> None:
    with pytest.raises(FailedPrecondition, match="set GOOGLE_APPLICATION_CREDENTIALS"):
        await ApplicationDefault().fetch(http)


async def test_refused_credentials_are_read_anew_by_the_next_attempt(
    http: HttpClient,
    bigquery: FakeBigQuery,
    service_account: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "key.json"
    file.write_text(json.dumps({**service_account, "token_uri": f"{bigquery.url}/token"}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    bigquery.faults["token"].append(Fault(400, body=b'{"error": "invalid_grant"}'))
    default = ApplicationDefault()
    with pytest.raises(Unauthenticated):
        await default.fetch(http)
    file.write_text(json.dumps({**service_account, "client_email": "new@x", "token_uri": f"{bigquery.url}/token"}))
    await default.fetch(http)
    assert claims_of(bigquery.last("token").body["assertion"])["iss"] == "new@x"
