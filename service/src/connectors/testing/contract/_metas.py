"""Facts about resource metas: what the backend keeps, and hands back."""
# ruff: noqa: S101 - assert is how a test speaks

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from connectors.connector import AsyncConnectorBase
from connectors.errors import InvalidRequest, PermissionDenied
from connectors.testing.contract._calls import Calls
from connectors.testing.contract._case import AsyncCase
from connectors.testing.faults import FaultProxy, ForeignHost

__all__ = ["MetaFacts"]

_unpickled: list[str] = []


def _tell(what: str) -> str:
    _unpickled.append(what)
    return what


class _Tells:
    """What tells that it was unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _tell, ("unpickled",)


class MetaFacts:
    """A meta is a caller's input, in the clear."""

    async def test_a_meta_comes_back_as_it_was_made(self, calls: Calls, case: AsyncCase) -> None:
        for meta in (await calls.create(), case.unknown, *case.metas):
            assert calls.meta_type.decode(meta.encode()) == meta

    async def test_a_field_that_this_release_does_not_know_is_ignored(self, calls: Calls) -> None:
        made = await calls.create()
        later = json.dumps({**json.loads(made.encode()), "a_field_of_a_later_release": {"x": [1]}}).encode()
        assert calls.meta_type.decode(later) == made

    async def test_the_metas_of_the_reference_service_and_of_earlier_releases_are_read(
        self, calls: Calls, case: AsyncCase
    ) -> None:
        assert {data: calls.meta_type.decode(data) for data in case.older_metas} == dict(case.older_metas)

    @pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"{}"])
    async def test_what_is_no_meta_is_refused(self, calls: Calls, data: bytes) -> None:
        with pytest.raises(InvalidRequest):
            calls.meta_type.decode(data)

    async def test_a_pickle_is_not_unpickled(self, calls: Calls) -> None:
        _unpickled.clear()
        with pytest.raises(InvalidRequest):
            calls.meta_type.decode(pickle.dumps(_Tells()))
        assert _unpickled == []

    async def test_a_hostile_meta_is_refused_before_any_request(
        self, calls: Calls, case: AsyncCase, proxy: FaultProxy, foreign: ForeignHost
    ) -> None:
        await calls.create()  # the credentials are there
        proxy.requests.clear()
        hostile = case.hostile_metas(foreign.address)
        assert hostile, "there is always a meta that bends a path, or leads elsewhere"
        for meta in hostile:
            for name, more in _operations(calls).items():
                with pytest.raises((InvalidRequest, PermissionDenied)):
                    await calls.call(name, meta, calls.context(name), **more)
                assert (proxy.requests, foreign.connections) == ([], 0), f"{name} followed {meta!r}"


def _operations(calls: Calls) -> dict[str, dict[str, Any]]:
    """Those that take a meta, and what else they take."""
    operations: dict[str, dict[str, Any]] = {"get": {}, "delete": {}}
    for name, more in (
        ("get_logs", {"lines": 10, "token": ""}),
        ("get_metrics", {"queries": ["cpu"], "start": None, "end": None, "step": None}),
    ):
        if getattr(type(calls.connector), name) is not getattr(AsyncConnectorBase, name):
            operations[name] = more
    return operations
