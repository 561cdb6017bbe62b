"""The facts, put together for each kind of connector."""
# ruff: noqa: S101 - assert is how a test speaks

from __future__ import annotations

import pytest

from connectors.models import Resource
from connectors.testing.contract._answers import AnswerFacts
from connectors.testing.contract._calls import Calls
from connectors.testing.contract._case import OperationName, SyncCase
from connectors.testing.contract._conduct import ConductFacts
from connectors.testing.contract._fixtures import ContractFixtures
from connectors.testing.contract._jobs import JobFacts
from connectors.testing.contract._metas import MetaFacts

__all__ = ["AsyncConnectorContract", "SyncConnectorContract"]


@pytest.mark.anyio
class AsyncConnectorContract(JobFacts, MetaFacts, AnswerFacts, ConductFacts, ContractFixtures):
    """For connectors that create, get and delete. See the package's docstring."""

    @pytest.fixture(params=["create", "get", "delete"])
    def operation_name(self, request: pytest.FixtureRequest) -> OperationName:
        """Each in turn."""
        name: OperationName = request.param
        return name


@pytest.mark.anyio
class SyncConnectorContract(AnswerFacts, ConductFacts, ContractFixtures):
    """For connectors that answer at once. See the package's docstring."""

    @pytest.fixture(params=["do"])
    def operation_name(self, request: pytest.FixtureRequest) -> OperationName:
        """The one that there is."""
        name: OperationName = request.param
        return name

    async def test_the_answer_is_final(self, calls: Calls, case: SyncCase) -> None:
        done = await calls.call("do", case.task, calls.context("do"))
        assert isinstance(done, Resource)
        assert done.phase.is_terminal
