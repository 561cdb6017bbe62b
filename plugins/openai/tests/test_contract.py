"""What every connector must do, of these three."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from connectors import TaskTemplate
from connectors.testing.contract import (
    AsyncCase,
    AsyncConnectorContract,
    SyncCase,
    SyncConnectorContract,
    json_members,
)
from connectors.testing.faults import FaultProxy, Route
from connectors_openai import (
    ChatGPTConnector,
    OpenAIBatch,
    OpenAIBatchConnector,
    OpenAIEmbeddingsConnector,
    OpenAISettings,
)
from plugins.openai.tests.conftest import batch_task, chat_task, embeddings_task
from plugins.openai.tests.fake_openai import KEY, FakeOpenAI

SECRETS: Mapping[str, str] = {"FLYTE_OPENAI_API_KEY": KEY}
METAS = [OpenAIBatch("batch_1"), OpenAIBatch("batch_1", "org-a", "proj_a", "project:sales")]
HEADERS = ("org\r\nX-Evil: 1", "org a", "org/a", "a" * 257)


def error_body(status: int) -> bytes:
    error = {"message": "scripted: asked for", "type": "invalid_request_error", "param": None, "code": None}
    return json.dumps({"error": error}).encode()


class TestBatchContract(AsyncConnectorContract):
    @pytest.fixture
    def backend(self, openai: FakeOpenAI) -> str:
        return openai.url

    @pytest.fixture
    def case(self, proxy: FaultProxy, openai: FakeOpenAI) -> AsyncCase:
        def finish(key: str) -> None:
            for batch in openai.of_key(key):
                batch["status"] = "completed"

        return AsyncCase(
            build=lambda: OpenAIBatchConnector(OpenAISettings(base_url=f"{proxy.url}/v1")),
            task=batch_task(),
            inputs={"input_file_id": "file-input"},
            secrets=SECRETS,
            jobs=lambda key: len(openai.of_key(key)),
            creates=Route("POST", "/v1/batches"),
            gets=Route("GET", "/v1/batches/[^/]+"),
            cancels=Route("POST", "/v1/batches/[^/]+/cancel"),
            unknown=OpenAIBatch("batch_none", "org-a"),
            metas=METAS,
            # flytekit's connector wrote pickles, which are refused; as JSON its fields would be these
            older_metas={b'{"openai_org": "org-a", "batch_id": "batch_1"}': OpenAIBatch("batch_1", "org-a")},
            unknown_state=json_members(status="hibernating"),
            finish=finish,
            error_body=error_body,
            hostile_metas=lambda address: [
                *(OpenAIBatch(batch) for batch in ("", "..", "../files", "a/b", "a?b=1", f"@{address}/", "a\r\nb")),
                *(OpenAIBatch("batch_1", header) for header in HEADERS),
                *(OpenAIBatch("batch_1", None, header) for header in HEADERS),
            ],
            hostile_tasks=lambda address: [
                *(batch_task(openai_organization=header) for header in HEADERS),
                *(batch_task(openai_project=header) for header in HEADERS),
                batch_task(config={"extra_headers": {"Host": address}}),
                batch_task(config={"extra_query": {"a": "b"}}),
            ],
        )


def hostile(key: str, task: TaskTemplate, address: str) -> list[TaskTemplate]:
    custom = task.custom
    changes: list[Mapping[str, Any]] = [
        *({"openai_organization": header} for header in HEADERS),
        *({"openai_project": header} for header in HEADERS),
        {key: {**custom[key], "extra_headers": {"Host": address, "Authorization": "Bearer x"}}},
        {key: {**custom[key], "extra_query": {"a": "b"}}},
    ]
    return [TaskTemplate(task.type, custom={**custom, **change}) for change in changes]


class TestChatContract(SyncConnectorContract):
    @pytest.fixture
    def backend(self, openai: FakeOpenAI) -> str:
        return openai.url

    @pytest.fixture
    def case(self, proxy: FaultProxy) -> SyncCase:
        return SyncCase(
            build=lambda: ChatGPTConnector(OpenAISettings(base_url=f"{proxy.url}/v1")),
            task=chat_task(),
            inputs={"message": "Say hello."},
            secrets=SECRETS,
            calls=Route("POST", "/v1/chat/completions"),
            error_body=error_body,
            hostile_tasks=lambda address: hostile("chatgpt_config", chat_task(), address),
        )


class TestEmbeddingsContract(SyncConnectorContract):
    @pytest.fixture
    def backend(self, openai: FakeOpenAI) -> str:
        return openai.url

    @pytest.fixture
    def case(self, proxy: FaultProxy) -> SyncCase:
        return SyncCase(
            build=lambda: OpenAIEmbeddingsConnector(OpenAISettings(base_url=f"{proxy.url}/v1")),
            task=embeddings_task(),
            inputs={"texts": ["one", "two"]},
            secrets=SECRETS,
            calls=Route("POST", "/v1/embeddings"),
            error_body=error_body,
            hostile_tasks=lambda address: hostile("config", embeddings_task(), address),
        )
