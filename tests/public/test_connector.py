"""The base classes and the resource meta."""

from __future__ import annotations

import json
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import connectors
from connectors import AsyncConnectorBase, InvalidRequest, ResourceMeta, SyncConnectorBase
from connectors.connector import is_blocking


@dataclass(frozen=True)
class Job(ResourceMeta):
    job_id: str
    location: str | None
    runs: int = 0
    user_agent: str | None = None


@given(st.builds(Job, job_id=st.text(), location=st.none() | st.text(), runs=st.integers(-(2**63), 2**63 - 1)))
def test_a_meta_comes_back_as_it_was(job: Job) -> None:
    assert Job.decode(job.encode()) == job


def test_a_field_that_equals_its_default_is_left_out_and_one_without_default_is_not() -> None:
    assert json.loads(Job("j", None).encode()) == {"job_id": "j", "location": None}


def test_fields_of_later_releases_are_ignored() -> None:
    assert Job.decode(b'{"job_id":"j","location":"EU","auth_token":"fake"}') == Job("j", "EU")


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "missing"),
        (b"\x80\x04pickle", "JSON"),
        (b"[]", "resource meta"),
        (b'{"location":"EU"}', "job_id"),
        (b'{"job_id":5,"location":"EU"}', "job_id"),
        (b'{"job_id":"j","location":"EU","runs":"5"}', "runs"),
    ],
)
def test_what_is_no_such_meta_is_refused_by_field(data: bytes, named: str) -> None:
    with pytest.raises(InvalidRequest, match=named):
        Job.decode(data)


def test_the_input_is_not_in_the_refusal() -> None:
    with pytest.raises(InvalidRequest) as raised:
        Job.decode(b'{"job_id":["fake-value-of-a-stranger"],"location":"EU"}')
    assert "fake-value" not in raised.value.message


def test_the_meta_s_type_is_that_of_the_class_parameter() -> None:
    class Direct(AsyncConnectorBase[Job]):
        task_type = "t"

    class Derived(Direct):
        pass

    assert Direct.meta_type is Derived.meta_type is Job


@pytest.mark.parametrize("meta", [dict, str, type("Plain", (), {})], ids=lambda meta: meta.__name__)
def test_a_meta_that_is_none_is_refused_when_the_class_is_made(meta: type) -> None:
    with pytest.raises(TypeError, match="must be a dataclass that derives from ResourceMeta"):
        types.new_class("Wrong", (AsyncConnectorBase.__class_getitem__(meta),))  # type: ignore[attr-defined]


def test_a_connector_has_settings_of_its_class_unless_it_is_given_some() -> None:
    @dataclass(frozen=True)
    class Limits:
        most: int = 3

    class Echo(SyncConnectorBase):
        task_type = "echo"
        Settings = Limits

        async def do(self, task: connectors.TaskTemplate, ctx: connectors.Context) -> connectors.Resource:
            raise AssertionError

    assert Echo().settings == Limits(3)
    assert Echo(Limits(5)).settings.most == 5
    assert Echo().name == "Echo Connector"


async def _async(self: Any) -> None: ...


def _plain(self: Any) -> None: ...


@pytest.mark.parametrize(("method", "blocks"), [(_async, False), (_plain, True)])
def test_a_plain_def_blocks(method: Callable[[Any], Any], blocks: bool) -> None:
    assert is_blocking(method) is blocks


def test_every_public_name_is_there() -> None:
    for name in connectors.__all__:
        assert getattr(connectors, name) is not None
    assert connectors.__all__ == sorted(connectors.__all__)
