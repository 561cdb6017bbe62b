"""Contexts for tests that call a connector's methods themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from connectors import FailedPrecondition, HttpClient, PermissionDenied, TaskExecutionMetadata
from connectors.secrets import Asked, Secret, SecretRules
from connectors.testing.contexts import OWNER, NewContext
from connectors.testing.fixtures import http, new_context

__all__ = ["http", "new_context"]

pytestmark = pytest.mark.anyio


class Vault:
    """A source of secrets that is neither the request nor the environment."""

    kind = "vault"

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    async def find(self, asked: Asked) -> Secret | None:
        value = self._values.get(asked.name)
        return None if value is None else Secret(value)

    def where(self, asked: Asked) -> str:
        return asked.name

    async def aclose(self) -> None:
        """It holds nothing."""


async def test_each_call_has_a_key_of_its_own(new_context: NewContext) -> None:
    keys = {new_context().idempotency_key for _ in range(3)}
    assert len(keys) == 3
    assert {str(UUID(key)) for key in keys} == keys


async def test_a_call_without_a_word_is_a_backends_usual_one(new_context: NewContext, http: HttpClient) -> None:
    ctx = new_context()
    assert (ctx.http, ctx.metadata, ctx.protocol, ctx.inputs) == (http, OWNER, "flyte1", {})
    assert 29 < ctx.remaining() <= 30
    assert ctx.may_adopt(None)
    with pytest.raises(FailedPrecondition):
        await ctx.secrets.get("an-invented-name")


async def test_what_calls_have_in_common_is_said_once(new_context: NewContext) -> None:
    alike = replace(new_context, key="k", inputs={"v": 7}, secrets={"token": "fake-token"})
    for ctx in (alike(), alike()):
        assert (ctx.idempotency_key, ctx.inputs) == ("k", {"v": 7})
        assert await ctx.secrets.get("token") == "fake-token"


async def test_a_call_may_say_otherwise(new_context: NewContext) -> None:
    alike = replace(new_context, key="k", inputs={"v": 7}, secrets={"token": "fake-token"})
    ctx = alike(
        "other", inputs={}, secrets={}, protocol="flyte2", metadata=TaskExecutionMetadata(), seconds=5, adopt_within=60
    )
    assert (ctx.idempotency_key, ctx.inputs, ctx.protocol) == ("other", {}, "flyte2")
    assert ctx.metadata == TaskExecutionMetadata()
    assert ctx.deadline <= asyncio.get_running_loop().time() + 5
    assert not ctx.may_adopt(datetime.now(UTC) - timedelta(seconds=61))
    assert await ctx.secrets.find("token") is None


async def test_secrets_come_from_the_request_then_from_what_is_named_then_from_the_environment(
    new_context: NewContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FIRST", "SECOND", "THIRD"):
        monkeypatch.setenv(name, "fake-environment")
    vault = Vault({"first": "fake-vault", "second": "fake-vault"})
    secrets = new_context(secrets={"first": "fake-request"}, sources=[vault]).secrets
    found = [await secrets.get(name) for name in ("first", "second", "third")]
    assert found == ["fake-request", "fake-vault", "fake-environment"]


async def test_a_secret_that_the_rules_do_not_name_is_refused(new_context: NewContext) -> None:
    ruled = replace(new_context, rules=SecretRules(names=("token",)), secrets={"token": "fake", "other": "fake"})
    assert await ruled().secrets.get("token") == "fake"
    with pytest.raises(PermissionDenied):
        await ruled().secrets.get("other")


async def test_its_representation_shows_no_secret(new_context: NewContext) -> None:
    assert "fake-token" not in repr(replace(new_context, secrets={"token": "fake-token"}))
