from __future__ import annotations

import asyncio

import pytest

from connectors import HttpClient, Unauthenticated, Unavailable
from connectors_bigquery._tokens import Grant, TokenCache

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Account:
    """Credentials whose answers are held back until the test lets them go."""

    def __init__(self, key: str = "account", *, lifetime: float = 3600.0) -> None:
        self.key = key
        self.lifetime = lifetime
        self.fetched = 0
        self.error: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def fetch(self, http: HttpClient) -> Grant:
        self.fetched += 1
        number = self.fetched
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return Grant(f"{self.key}-{number}", self.lifetime)


async def settled() -> None:
    """Everything that can run without time passing has run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_callers_at_once_share_one_request(http: HttpClient) -> None:
    cache, account = TokenCache(), Account()
    account.open.clear()
    callers = [asyncio.create_task(cache.get(account, http)) for _ in range(50)]
    await settled()
    account.open.set()
    assert {token.grant.value for token in await asyncio.gather(*callers)} == {"account-1"}
    assert account.fetched == 1


async def test_a_token_is_kept_until_it_is_due(http: HttpClient) -> None:
    clock, account = Clock(), Account()
    cache = TokenCache(clock=clock)
    await cache.get(account, http)
    clock.now += 3600 - 226
    await cache.get(account, http)
    await settled()
    assert account.fetched == 1


async def test_a_due_token_is_used_while_the_next_is_fetched(http: HttpClient) -> None:
    clock, account = Clock(), Account()
    cache = TokenCache(clock=clock)
    await cache.get(account, http)
    clock.now += 3600 - 224
    account.open.clear()
    assert [(await cache.get(account, http)).grant.value for _ in range(3)] == ["account-1"] * 3
    account.open.set()
    await settled()
    assert (await cache.get(account, http)).grant.value == "account-2"
    assert account.fetched == 2


async def test_an_expired_token_is_not_used(http: HttpClient) -> None:
    clock, account = Clock(), Account()
    cache = TokenCache(clock=clock)
    await cache.get(account, http)
    clock.now += 3600
    assert (await cache.get(account, http)).grant.value == "account-2"


async def test_a_token_that_lives_shortly_is_replaced_halfway(http: HttpClient) -> None:
    clock, account = Clock(), Account(lifetime=60)
    cache = TokenCache(clock=clock)
    await cache.get(account, http)
    clock.now += 29
    await cache.get(account, http)
    await settled()
    assert account.fetched == 1
    clock.now += 1
    await cache.get(account, http)
    await settled()
    assert account.fetched == 2


async def test_a_good_token_outlives_a_failed_replacement_which_is_tried_again_after_a_pause(http: HttpClient) -> None:
    clock, account = Clock(), Account()
    cache = TokenCache(clock=clock)
    await cache.get(account, http)
    clock.now += 3600 - 200
    account.error = Unavailable("down")
    for _ in range(3):
        assert (await cache.get(account, http)).grant.value == "account-1"
        await settled()
    assert account.fetched == 2
    clock.now += 10
    await cache.get(account, http)
    await settled()
    assert account.fetched == 3


async def test_who_waits_gets_the_error_and_the_next_caller_a_new_attempt(http: HttpClient) -> None:
    cache, account = TokenCache(), Account()
    account.error = Unauthenticated("bad key")
    for _ in range(2):
        with pytest.raises(Unauthenticated, match="bad key"):
            await cache.get(account, http)
    assert account.fetched == 2


async def test_a_caller_that_gives_up_does_not_stop_the_others(http: HttpClient) -> None:
    cache, account = TokenCache(), Account()
    account.open.clear()
    impatient = asyncio.create_task(cache.get(account, http))
    patient = asyncio.create_task(cache.get(account, http))
    await settled()
    impatient.cancel()
    account.open.set()
    assert (await patient).grant.value == "account-1"


async def test_each_identity_has_its_own_token(http: HttpClient) -> None:
    cache = TokenCache()
    assert (await cache.get(Account("a"), http)).grant.value == "a-1"
    assert (await cache.get(Account("b"), http)).grant.value == "b-1"


async def test_the_token_not_asked_for_the_longest_is_forgotten_first(http: HttpClient) -> None:
    cache, old, used = TokenCache(identities=2), Account("old"), Account("used")
    await cache.get(used, http)
    await cache.get(old, http)
    await cache.get(used, http)
    await cache.get(Account("new"), http)
    await cache.get(used, http)
    await cache.get(old, http)
    assert (used.fetched, old.fetched) == (1, 2)


async def test_a_refused_token_is_forgotten(http: HttpClient) -> None:
    clock, account = Clock(), Account()
    cache = TokenCache(clock=clock)
    token = await cache.get(account, http)
    clock.now += 31
    assert cache.refused(account, token)
    assert (await cache.get(account, http)).grant.value == "account-2"


async def test_a_brand_new_token_that_is_refused_is_not_fetched_again_and_again(http: HttpClient) -> None:
    cache, account = TokenCache(), Account()
    token = await cache.get(account, http)
    assert not cache.refused(account, token)
    await cache.get(account, http)
    assert account.fetched == 1


async def test_closing_ends_what_is_under_way(http: HttpClient) -> None:
    cache, account = TokenCache(), Account()
    account.open.clear()
    waiting = asyncio.create_task(cache.get(account, http))
    await settled()
    await cache.aclose()
    with pytest.raises(asyncio.CancelledError):
        await waiting


def test_a_token_does_not_show_in_its_repr() -> None:
    assert "hidden" not in repr(Grant("hidden", 1.0))
