"""Tokens that all calls share: fetched once, renewed ahead of their end, forgotten where the platform refuses them."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
from dataclasses import dataclass

import pytest

from connectors import Unauthenticated, Unavailable
from connectors.testing.virtual_time import VirtualTimeLoop
from connectors.tokens import TokenCache

pytestmark = pytest.mark.anyio

AHEAD = 225.0


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": VirtualTimeLoop}


@dataclass(frozen=True)
class Token:
    name: str


class Account:
    """Credentials whose answers take the time, and end as, the test says."""

    def __init__(self, name: str = "account", *, lifetime: float = 3600.0, takes: float = 0.0) -> None:
        self.name = name
        self.lifetime = lifetime
        self.takes = takes
        self.error: Exception | None = None
        self.given: list[Token | None] = []
        """The token before, by fetch."""

    async def fetch(self, previous: Token | None) -> tuple[Token, float]:
        self.given.append(previous)
        number = len(self.given)
        await asyncio.sleep(self.takes)
        if self.error is not None:
            raise self.error
        return Token(f"{self.name}-{number}"), self.lifetime

    @property
    def fetched(self) -> int:
        return len(self.given)


class Tokens:
    """The cache under test, whose clock is the loop's."""

    def __init__(self, *, identities: int = 256) -> None:
        self.cache: TokenCache[Token] = TokenCache(
            "Acme", ahead=AHEAD, clock=asyncio.get_running_loop().time, identities=identities
        )

    async def of(self, account: Account) -> str:
        return (await self.cache.get(account.name, account.fetch)).name


# --- one fetch for all


async def test_callers_at_once_share_one_fetch() -> None:
    tokens, account = Tokens(), Account(takes=5)
    assert set(await asyncio.gather(*(tokens.of(account) for _ in range(50)))) == {"account-1"}
    assert account.fetched == 1


async def test_each_identity_has_its_own_token() -> None:
    tokens = Tokens()
    assert [await tokens.of(Account(name)) for name in ("a", "b")] == ["a-1", "b-1"]


async def test_a_caller_that_gives_up_does_not_stop_the_others() -> None:
    tokens, account = Tokens(), Account(takes=5)
    impatient, patient = (asyncio.create_task(tokens.of(account)) for _ in range(2))
    await asyncio.sleep(1)
    impatient.cancel()
    assert await patient == "account-1"
    assert impatient.cancelled()
    assert account.fetched == 1


async def test_what_nobody_waits_for_any_more_serves_the_next_caller() -> None:
    tokens, account = Tokens(), Account(takes=5)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await tokens.of(account)
    await asyncio.sleep(10)
    assert await tokens.of(account) == "account-1"


# --- how long it is used


async def test_a_token_is_kept_until_it_is_due() -> None:
    tokens, account = Tokens(), Account()
    await tokens.of(account)
    await asyncio.sleep(3600 - AHEAD - 1)
    await tokens.of(account)
    await asyncio.sleep(1)
    assert account.fetched == 1


async def test_a_due_token_is_used_while_the_next_is_fetched() -> None:
    tokens, account = Tokens(), Account()
    await tokens.of(account)
    await asyncio.sleep(3600 - AHEAD)
    account.takes = 5
    assert [await tokens.of(account) for _ in range(3)] == ["account-1"] * 3
    await asyncio.sleep(6)
    assert await tokens.of(account) == "account-2"
    assert account.fetched == 2


async def test_an_ended_token_is_not_used() -> None:
    tokens, account = Tokens(), Account()
    await tokens.of(account)
    await asyncio.sleep(3600)
    assert await tokens.of(account) == "account-2"


async def test_a_lifetime_counts_from_when_the_token_was_asked_for() -> None:
    tokens, account = Tokens(), Account(takes=20)
    await tokens.of(account)
    await asyncio.sleep(3580)
    assert await tokens.of(account) == "account-2"


async def test_a_token_that_lives_shortly_is_renewed_halfway() -> None:
    tokens, account = Tokens(), Account(lifetime=60)
    await tokens.of(account)
    await asyncio.sleep(29)
    await tokens.of(account)
    assert account.fetched == 1
    await asyncio.sleep(1)
    await tokens.of(account)
    await asyncio.sleep(1)
    assert account.fetched == 2


async def test_a_token_that_does_not_end_is_fetched_once() -> None:
    tokens, account = Tokens(), Account(lifetime=math.inf)
    await tokens.of(account)
    await asyncio.sleep(1e6)
    assert await tokens.of(account) == "account-1"


async def test_a_fetch_is_given_the_token_before() -> None:
    tokens, account = Tokens(), Account()
    await tokens.of(account)
    await asyncio.sleep(3500)
    await tokens.of(account)  # renewed
    await asyncio.sleep(3600)
    await tokens.of(account)  # ended
    assert account.given == [None, Token("account-1"), Token("account-2")]


# --- failures


async def test_a_good_token_outlives_a_failed_renewal_which_is_tried_again_after_a_pause() -> None:
    tokens, account = Tokens(), Account()
    await tokens.of(account)
    await asyncio.sleep(3600 - 200)
    account.error = Unavailable("down")
    for _ in range(9):
        assert await tokens.of(account) == "account-1"
        await asyncio.sleep(1)
    assert account.fetched == 2
    await asyncio.sleep(1)
    assert await tokens.of(account) == "account-1"
    await asyncio.sleep(1)
    assert account.fetched == 3


async def test_a_failed_renewal_is_logged_with_the_platforms_name(caplog: pytest.LogCaptureFixture) -> None:
    tokens, account = Tokens(), Account()
    await tokens.of(account)
    await asyncio.sleep(3600 - 200)
    for account.error in (Unavailable("down"), KeyError("an-invented-secret")):
        await tokens.of(account)
        await asyncio.sleep(20)
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "no new access token for Acme: down",
        "no new access token for Acme: KeyError",
    ]


async def test_who_waits_gets_the_error_and_the_next_caller_a_new_attempt() -> None:
    tokens, account = Tokens(), Account(takes=5)
    account.error = Unauthenticated("bad key")
    for attempts in (1, 2):
        outcomes = await asyncio.gather(*(tokens.of(account) for _ in range(3)), return_exceptions=True)
        assert outcomes == [account.error] * 3
        assert account.fetched == attempts


async def test_a_fetch_that_does_not_end_is_given_up_after_its_timeout() -> None:
    tokens, account = Tokens(), Account(takes=3600)
    began = asyncio.get_running_loop().time()
    with pytest.raises(Unavailable, match="no access token for Acme within 30 s"):
        await tokens.of(account)
    assert asyncio.get_running_loop().time() - began == pytest.approx(30)


async def test_a_failure_that_nobody_waits_for_is_no_loss_to_the_event_loop() -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    tokens, account = Tokens(), Account(takes=5)
    account.error = Unavailable("down")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await tokens.of(account)
    await asyncio.sleep(10)
    _ = gc.collect()
    asyncio.get_running_loop().set_exception_handler(None)
    assert complaints == []


# --- refused, forgotten, closed


async def test_a_refused_token_is_forgotten() -> None:
    tokens, account = Tokens(), Account()
    token = await tokens.cache.get(account.name, account.fetch)
    await asyncio.sleep(30)
    assert tokens.cache.refused(account.name, token)
    assert await tokens.of(account) == "account-2"
    assert account.given == [None, None]  # what was refused is of no use to the next fetch either


async def test_a_brand_new_token_that_is_refused_is_not_fetched_again_and_again() -> None:
    tokens, account = Tokens(), Account()
    token = await tokens.cache.get(account.name, account.fetch)
    await asyncio.sleep(29)
    assert not tokens.cache.refused(account.name, token)
    await tokens.of(account)
    assert account.fetched == 1


async def test_a_late_refusal_does_not_take_the_next_token() -> None:
    tokens, account = Tokens(), Account()
    first = await tokens.cache.get(account.name, account.fetch)
    await asyncio.sleep(60)
    assert tokens.cache.refused(account.name, first)
    await tokens.of(account)
    assert tokens.cache.refused(account.name, first)  # of a call that began before: the new token may serve it
    assert await tokens.of(account) == "account-2"


async def test_the_token_not_asked_for_the_longest_is_forgotten_first() -> None:
    tokens, old, used = Tokens(identities=2), Account("old"), Account("used")
    for account in (used, old, used, Account("new"), used, old):
        await tokens.of(account)
    assert (used.fetched, old.fetched) == (1, 2)


async def test_closing_ends_what_is_under_way() -> None:
    tokens, account = Tokens(), Account(takes=5)
    waiting = asyncio.create_task(tokens.of(account))
    await asyncio.sleep(1)
    await tokens.cache.aclose()
    with pytest.raises(asyncio.CancelledError):
        await waiting
