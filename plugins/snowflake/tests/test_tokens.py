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
from connectors_snowflake._tokens import KeyPair, OAuthToken, Token, TokenCache
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


# --- the cache


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_token_serves_until_five_minutes_before_its_end(credential: KeyPair) -> None:
    clock = Clock()
    cache = TokenCache(clock=clock)
    first = await cache.get(credential)
    clock.now = 3300.0
    assert await cache.get(credential) is first
    clock.now = 3300.1
    assert await cache.get(credential) is not first


async def test_who_comes_meanwhile_waits_for_the_same_signature(credential: KeyPair) -> None:
    cache = TokenCache()
    tokens = await asyncio.gather(*(cache.get(credential) for _ in range(10)))
    assert len({id(token) for token in tokens}) == 1


async def test_who_gives_up_takes_the_token_from_nobody(credential: KeyPair) -> None:
    cache = TokenCache()
    first, second = (asyncio.ensure_future(cache.get(credential)) for _ in range(2))
    await asyncio.sleep(0)
    _ = first.cancel()
    assert (await second).kind == "KEYPAIR_JWT"


async def test_another_passphrase_or_user_is_another_credential(credential: KeyPair) -> None:
    others = [replace(credential, user="other"), replace(credential, passphrase="x")]
    assert len({each.cache_key for each in (credential, *others)}) == 3


async def test_a_failure_is_not_kept(credential: KeyPair, key_pair: KeyPairOf) -> None:
    cache = TokenCache()
    broken = replace(credential, private_key="none")
    for _ in range(2):
        with pytest.raises(InvalidRequest):
            await cache.get(broken)
    assert (await cache.get(credential)).value


async def test_a_refused_token_is_replaced_unless_it_is_brand_new(credential: KeyPair) -> None:
    clock = Clock()
    cache = TokenCache(clock=clock)
    first = await cache.get(credential)
    assert not cache.refused(credential, first)
    assert await cache.get(credential) is first
    clock.now = 30.0
    assert cache.refused(credential, first)
    second = await cache.get(credential)
    assert second is not first
    assert cache.refused(credential, first)  # a late answer to the old one
    assert await cache.get(credential) is second


async def test_an_oauth_token_is_sent_as_it_is() -> None:
    token = OAuthToken("an-oauth-token")
    assert (await TokenCache().get(token)).headers() == {
        "Authorization": "Bearer an-oauth-token",
        "X-Snowflake-Authorization-Token-Type": "OAUTH",
    }
    assert not TokenCache().refused(token, token.sign())


async def test_the_least_asked_for_token_is_forgotten(credential: KeyPair) -> None:
    cache = TokenCache(credentials=1)
    first = await cache.get(credential)
    await cache.get(replace(credential, user="other"))
    assert await cache.get(credential) is not first
