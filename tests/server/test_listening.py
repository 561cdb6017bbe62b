"""The addresses that a server is bound to, for the host that it is given."""

from __future__ import annotations

import pytest

from connectors._server.starting import listen

pytestmark = pytest.mark.anyio


class Listener:
    """Takes port 1234 where it may choose."""

    async def start(self, host: str, port: int) -> tuple[str, int]:
        self.host = host
        return host, port or 1234


async def test_a_free_port_is_taken_of_one_address_though_the_name_has_several() -> None:
    listener = Listener()
    address = await listen(listener.start, "localhost", 0, host_flag="--host", port_flag="--port")
    assert listener.host in ("127.0.0.1", "::1")
    assert address in ("127.0.0.1:1234", "[::1]:1234")


async def test_a_fixed_port_is_taken_of_every_address_of_the_name() -> None:
    listener = Listener()
    await listen(listener.start, "localhost", 80, host_flag="--host", port_flag="--port")
    assert listener.host == "localhost"


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::", "::1"])
async def test_an_address_is_taken_as_it_is(host: str) -> None:
    listener = Listener()
    await listen(listener.start, host, 0, host_flag="--host", port_flag="--port")
    assert listener.host == host
