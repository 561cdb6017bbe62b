"""A server in whose calls nothing is wrong logs no error, whatever kind of call it is, over either protocol."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Literal

import anyio
import anyio.to_thread
import pytest

from connectors import Interface, LiteralType, Phase, Resource, TaskCategory, TaskTemplate
from connectors.client import ConnectorClient
from connectors.testing.platform import FakePlatform
from tests.registry.distributions import write_distribution
from tests.run import chatty
from tests.server.conftest import Serve

pytestmark = pytest.mark.anyio

TEXT = {"v": LiteralType("string")}
ECHO = TaskTemplate("echo", interface=Interface(TEXT, TEXT))
NATIVE = TaskTemplate("platform_native")
CHATTY = TaskTemplate("chatty", 1, custom={"words": "one two three"})


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    folder = tmp_path / "plugins"
    folder.mkdir()
    source = "from connectors.testing.platform import NativeConnector\n"
    write_distribution(folder, "platform-native", source, entry_points={"native": "NativeConnector"})
    names = {"chatty": "ChattyConnector", "echo": "EchoConnector"}
    write_distribution(folder, "chatty", Path(chatty.__file__).read_text("utf-8"), entry_points=names)
    return folder


async def until_over(client: ConnectorClient, category: TaskCategory, meta: bytes) -> Resource:
    with anyio.fail_after(30):
        while True:
            resource = await client.get(category, meta)
            if resource.phase.is_terminal:
                return resource
            await anyio.sleep(0.02)


@pytest.mark.parametrize("protocol", ["flyte1", "flyte2"])
async def test_no_kind_of_call_logs_an_error(serve: Serve, protocol: Literal["flyte1", "flyte2"]) -> None:
    async with FakePlatform() as platform:
        process = serve(CONNECTORS_NATIVE__URL=platform.url)
        address = await anyio.to_thread.run_sync(lambda: process.address)
        async with ConnectorClient(address, protocol) as client:
            assert len(await client.list_connectors()) == 3

            native = TaskCategory("platform_native")
            meta = await client.create(NATIVE)
            assert (await until_over(client, native, meta)).phase is Phase.SUCCEEDED
            await client.delete(native, meta)

            talk = TaskCategory("chatty", 1)
            meta = await client.create(CHATTY)
            assert (await client.get(talk, meta)).phase is Phase.RUNNING
            assert (await client.get_logs(talk, meta)).lines
            await client.delete(talk, meta)

            if protocol == "flyte1":
                resource = await client.do(ECHO, {"v": "a"})
            else:
                resource = await until_over(client, TaskCategory("echo"), await client.create(ECHO, {"v": "a"}))
            assert resource.outputs == {"v": "a"}
    process.send(signal.SIGTERM)
    assert await anyio.to_thread.run_sync(process.wait) == 0  # what a call leaves behind it is done by then
    assert [line for line in process.lines if "text" in line or line.get("level") in {"error", "warning"}] == []
