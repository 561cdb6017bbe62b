"""What a workflow author's classes become."""

from __future__ import annotations

from connectors_openai import ChatGPTConfig, OpenAIBatchConfig, OpenAIEmbeddingsConfig


def test_a_chats_custom_is_the_references() -> None:
    config = ChatGPTConfig("gpt-6", {"temperature": 0.5}, organization="org-a")
    assert config.to_custom() == {
        "openai_organization": "org-a",
        "chatgpt_config": {"model": "gpt-6", "temperature": 0.5},
    }


def test_a_batchs_custom_is_the_references() -> None:
    config = OpenAIBatchConfig(metadata={"team": "sales"}, organization="org-a")
    assert config.to_custom() == {
        "openai_organization": "org-a",
        "config": {
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": {"team": "sales"},
        },
    }


def test_an_embeddings_custom_has_the_same_shape() -> None:
    assert OpenAIEmbeddingsConfig("text-embedding-3-small", 256, project="proj_a").to_custom() == {
        "openai_organization": "",
        "openai_project": "proj_a",
        "config": {"model": "text-embedding-3-small", "dimensions": 256},
    }


def test_the_model_wins_over_a_parameter_of_its_name() -> None:
    assert ChatGPTConfig("gpt-6", {"model": "other"}).to_custom()["chatgpt_config"] == {"model": "gpt-6"}
