"""Signed tokens, and how long they are kept."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from connectors import InvalidRequest
from connectors.secrets import redact
from connectors_snowflake._accounts import Account
from connectors_snowflake._tokens import KeyPair, OAuthToken, Token, refused, token_cache, token_of
from plugins.snowflake.tests.conftest import KeyPairOf
from plugins.snowflake.tests.fake_snowflake import fingerprint

pytestmark = pytest.mark.anyio


@pytest.fixture
def credential(key_pair: KeyPairOf) -> KeyPair:
    return KeyPair(Account.of("example-main.eu-west-1"), "loader", key_pair.plain)


async def test_a_token_is_the_users_for_an_hour(credential: KeyPair, key_pair: KeyPairOf) -> None:
    claims = jwt.decode(credential.sign().value, key_pair.public, algorithms=["RS256"])
    assert claims["sub"] == "EXAMPLE-MAIN.LOADER"
    assert claims["iss"] == f"EXAMPLE-MAIN.LOADER.{fingerprint(key_pair.public)}"
    assert claims["exp"] - claims["iat"] == 3600


async def test_a_quoted_users_name_keeps_its_case(credential: KeyPair, key_pair: KeyPairOf) -> None:
    token = replace(credential, user='"load@example"').sign()
    assert jwt.decode(token.value, key_pair.public, algorithms=["RS256"])["sub"] == "EXAMPLE-MAIN.load@example"


@pytest.mark.parametrize("form", ["encrypted", "traditional", "escaped", "padded"])
async def test_a_key_is_read_in_each_of_its_forms(credential: KeyPair, key_pair: KeyPairOf, form: str) -> None:
    forms = {
        "encrypted": key_pair.encrypted,
        "traditional": key_pair.traditional,
        "escaped": key_pair.plain.replace("\n", "\\n"),
        "padded": f"\n  {key_pair.plain}\n\n",
    }
    token = replace(credential, private_key=forms[form], passphrase=key_pair.passphrase).sign()
    assert jwt.decode(token.value, key_pair.public, algorithms=["RS256"])


@pytest.mark.parametrize(
    ("passphrase", "reason"), [(None, "there is no passphrase"), ("wrong", "its passphrase is wrong")]
)
async def test_a_key_that_does_not_open_is_told(
    credential: KeyPair, key_pair: KeyPairOf, passphrase: str | None, reason: str
) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        replace(credential, private_key=key_pair.encrypted, passphrase=passphrase).sign()


async def test_what_is_no_key_is_told_without_showing_it(credential: KeyPair) -> None:
    with pytest.raises(InvalidRequest) as caught:
        replace(credential, private_key="an invented secret").sign()
    assert "is not a key in PEM form" in caught.value.message
    assert "invented" not in str(caught.value)


async def test_a_key_of_another_kind_is_refused(credential: KeyPair) -> None:
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(*form).decode()
    with pytest.raises(InvalidRequest, match="must be an RSA key"):
        replace(credential, private_key=other).sign()


async def test_a_signed_token_is_taken_out_of_what_is_said(credential: KeyPair) -> None:
    assert redact(f"Bearer {credential.sign().value}") == "Bearer [secret]"


async def test_no_representation_shows_a_secret(credential: KeyPair, key_pair: KeyPairOf) -> None:
    holders = replace(credential, passphrase="opens it"), OAuthToken("an-oauth-token"), Token("signed-1", "OAUTH")
    shown = repr(holders)
    for secret in (key_pair.plain.splitlines()[1], "opens it", "an-oauth-token", "signed-1"):
        assert secret not in shown


# --- how long they are kept


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_token_serves_for_an_hour_less_a_minute(credential: KeyPair) -> None:
    clock = Clock()
    tokens = token_cache(clock)
    first = await token_of(credential, tokens)
    clock.now = 3299.0
    assert await token_of(credential, tokens) is first
    clock.now = 3540.0
    assert await token_of(credential, tokens) is not first


async def test_a_token_is_replaced_from_five_minutes_before_its_end(credential: KeyPair) -> None:
    clock = Clock()
    tokens = token_cache(clock)
    first = await token_of(credential, tokens)
    clock.now = 3300.0
    async with asyncio.timeout(10):
        while await token_of(credential, tokens) is first:  # noqa: ASYNC110 - it is signed in a thread
            await asyncio.sleep(0.01)


async def test_another_passphrase_or_user_is_another_credential(credential: KeyPair) -> None:
    others = [replace(credential, user="other"), replace(credential, passphrase="x")]
    assert len({each.cache_key for each in (credential, *others)}) == 3


async def test_a_refused_token_is_signed_anew_unless_it_is_brand_new(credential: KeyPair) -> None:
    clock = Clock()
    tokens = token_cache(clock)
    first = await token_of(credential, tokens)
    assert not refused(credential, tokens, first)
    clock.now = 60.0
    assert refused(credential, tokens, first)
    assert await token_of(credential, tokens) is not first


async def test_an_oauth_token_is_sent_as_it_is() -> None:
    tokens, credential = token_cache(Clock()), OAuthToken("an-oauth-token")
    token = await token_of(credential, tokens)
    assert token.headers() == {
        "Authorization": "Bearer an-oauth-token",
        "X-Snowflake-Authorization-Token-Type": "OAUTH",
    }
    assert not refused(credential, tokens, token)
