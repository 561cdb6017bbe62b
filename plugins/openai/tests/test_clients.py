"""One client per identity, over one pool, loaded when it is first used."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from connectors import Unavailable
from connectors.http import Egress
from connectors_openai._clients import Clients, Identity, sdk

pytestmark = pytest.mark.anyio


def test_importing_the_plugin_loads_no_sdk() -> None:
    heavy = "openai", "httpx2", "aiohttp"
    code = (
        f"import sys, connectors_openai as c; c.OpenAIBatchConnector(); print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_an_identity_has_one_client_and_another_identity_another() -> None:
    clients, egress = Clients(base_url="http://127.0.0.1:1/v1", connections=1), Egress()
    one = await clients.get(Identity("key-1", "org-a", ""), egress)
    assert await clients.get(Identity("key-1", "org-a", ""), egress) is one
    other = await clients.get(Identity("key-1", "org-b", ""), egress)
    assert other is not one
    assert (one.api_key, one.organization, other.organization) == ("key-1", "org-a", "org-b")
    await clients.aclose()


async def test_first_calls_at_once_open_one_pool() -> None:
    clients, egress = Clients(base_url="http://127.0.0.1:1/v1", connections=1), Egress()
    found = await asyncio.gather(*(clients.get(Identity(f"key-{number}", "", ""), egress) for number in range(8)))
    assert len({id(client._client) for client in found}) == 1
    await clients.aclose()


async def test_the_clients_that_were_used_last_are_kept() -> None:
    clients, egress = Clients(base_url="http://127.0.0.1:1/v1", connections=1), Egress()
    first = await clients.get(Identity("key", "", ""), egress)
    for number in range(63):
        await clients.get(Identity(f"key-{number}", "", ""), egress)
    assert await clients.get(Identity("key", "", ""), egress) is first
    for number in range(100, 164):
        await clients.get(Identity(f"key-{number}", "", ""), egress)
    assert await clients.get(Identity("key", "", ""), egress) is not first
    await clients.aclose()


async def test_an_identity_does_not_show_its_key() -> None:
    assert "sk-secret" not in repr(Identity("sk-secret", "org-a", ""))


async def test_a_connection_that_cannot_be_made_is_given_up_long_before_an_answer_is() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]  # there is no TLS to be had
        clients = Clients(base_url=f"https://127.0.0.1:{port}/v1", connections=1, connect_timeout=0.2)
        client = await clients.get(Identity("key", "", ""), Egress())
        with pytest.raises(Unavailable, match="no connection"), sdk().translated("it", timeout=60, is_deadline=False):
            await client.batches.retrieve("batch_1")
        await clients.aclose()


async def test_closing_what_was_never_used_is_quiet() -> None:
    await Clients(base_url="http://127.0.0.1:1/v1", connections=1).aclose()
