"""Facts about resource metas: what the backend keeps, and hands back."""
# ruff: noqa: S101 - assert is how a test speaks

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from connectors.errors import InvalidRequest, PermissionDenied
from connectors.testing.contract._calls import Calls
from connectors.testing.contract._case import AsyncCase
from connectors.testing.faults import FaultProxy, ForeignHost

__all__ = ["MetaFacts"]

_unpickled: list[str] = []


class _Tells:
    """What tells that it was unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled.append, ("unpickled",)


class MetaFacts:
    """A meta is a caller's input, in the clear."""

    async def test_a_meta_comes_back_as_it_was_made(self, calls: Calls, case: AsyncCase) -> None:
        made = await calls.create()
        meta_type = case.build().meta_type
        for meta in (made, case.unknown, *case.metas):
            assert meta_type.decode(meta.encode()) == meta

    async def test_a_field_that_this_release_does_not_know_is_ignored(self, calls: Calls, case: AsyncCase) -> None:
        made = await calls.create()
        later = json.dumps({**json.loads(made.encode()), "a_field_of_a_later_release": {"x": [1]}}).encode()
        assert case.build().meta_type.decode(later) == made

    async def test_the_metas_of_the_reference_service_and_of_earlier_releases_are_read(self, case: AsyncCase) -> None:
        meta_type = case.build().meta_type
        assert {written: meta_type.decode(written) for written in case.older_metas} == dict(case.older_metas)

    @pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"{}"])
    async def test_what_is_no_meta_is_refused(self, case: AsyncCase, data: bytes) -> None:
        with pytest.raises(InvalidRequest):
            case.build().meta_type.decode(data)

    async def test_a_pickle_is_not_unpickled(self, case: AsyncCase) -> None:
        _unpickled.clear()
        with pytest.raises(InvalidRequest):
            case.build().meta_type.decode(pickle.dumps(_Tells()))
        assert _unpickled == []

    async def test_a_hostile_meta_is_refused_before_any_request(
        self, calls: Calls, case: AsyncCase, proxy: FaultProxy, foreign: ForeignHost
    ) -> None:
        await calls.create()  # the credentials are there
        proxy.requests.clear()
        for meta in case.hostile_metas(foreign.address):
            for name, more in _operations(case).items():
                with pytest.raises((InvalidRequest, PermissionDenied)):
                    await calls.call(name, meta, calls.context(), **more)
                assert (proxy.requests, foreign.connections) == ([], 0), f"{name} followed {meta!r}"


def _operations(case: AsyncCase) -> dict[str, dict[str, Any]]:
    """Those that take a meta, and what else they take."""
    operations: dict[str, dict[str, Any]] = {"get": {}, "delete": {}}
    kind = type(case.build())
    for name, more in (
        ("get_logs", {"lines": 10, "token": ""}),
        ("get_metrics", {"queries": ["cpu"], "start": None, "end": None, "step": None}),
    ):
        if getattr(kind, name).__module__ != "connectors.connector":  # its own
            operations[name] = more
    return operations
