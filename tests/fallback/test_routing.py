"""What is passed on, what is not, and what is said of the other service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from flyteidl.admin import agent_pb2

from connectors._server.fallback_channel import FallbackChannel
from connectors._wire.fallback.other import Headers
from connectors.http import HttpClient
from connectors.testing.server import ConnectorServer
from tests.fallback.conftest import Front, Site
from tests.fallback.dialects import EXECUTE, PROTOCOLS, Dialect, header
from tests.fallback.other_service import OtherService, agent, serving
from tests.observability.scraping import Page, scrape
from tests.wire.connectors_for_tests import AcmeConnector, EchoConnector
from tests.wire.tls import certify

pytestmark = pytest.mark.anyio
BOTH = pytest.mark.parametrize("dialect", PROTOCOLS, ids=lambda each: each.name)
FLYTE1 = PROTOCOLS[0]
OURS = b'{"number":1}'


async def failed(site: Site, path: str, request: bytes, **options: object) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await site.call(path, request, **options)
    return raised.value


async def page(site: Site) -> Page:
    async with HttpClient() as http:
        return await scrape(http, site.server.metrics)


async def readiness(site: Site) -> str:
    async with HttpClient() as http:
        answer = await http.request("GET", f"http://{site.server.metrics}/readyz")
        return answer.body.decode()


class TestTaskTypes:
    @BOTH
    async def test_ours_stay_here(self, site: Site, other: OtherService, dialect: Dialect) -> None:
        await site.call(f"{dialect.tasks}/CreateTask", dialect.create("acme"))
        assert (len(site.acme.created), other.calls) == (1, [])

    @BOTH
    async def test_what_both_have_is_ours(self, front: Front, dialect: Dialect) -> None:
        async with serving(OtherService("acme", "theirs")) as other, front(other.address) as site:
            await site.call(f"{dialect.tasks}/CreateTask", dialect.create("acme"))
            await site.call(f"{dialect.tasks}/GetTask", dialect.job("GetTask", "acme", OURS))
            assert (len(site.acme.created), other.calls) == (1, [])

    @BOTH
    async def test_a_job_of_both_whose_meta_is_foreign_here_is_asked_of_the_other(
        self, front: Front, dialect: Dialect
    ) -> None:
        async with serving(OtherService("acme")) as other, front(other.address) as site:
            for method in ("GetTask", "DeleteTask", "GetTaskMetrics"):
                await site.call(f"{dialect.tasks}/{method}", dialect.job(method, "acme"))
            assert len(other.calls) == 3

    @BOTH
    async def test_a_foreign_meta_of_a_type_that_is_ours_alone_is_refused_here(
        self, site: Site, other: OtherService, dialect: Dialect
    ) -> None:
        error = await failed(site, f"{dialect.tasks}/GetTask", dialect.job("GetTask", "acme"))
        assert (error.code(), other.calls) == (grpc.StatusCode.INVALID_ARGUMENT, [])

    @BOTH
    @pytest.mark.parametrize("method", ["CreateTask", "GetTask"])
    async def test_what_neither_knows_is_not_found_here(
        self, site: Site, other: OtherService, dialect: Dialect, method: str
    ) -> None:
        request = dialect.create("tehirs") if method == "CreateTask" else dialect.job(method, "tehirs")
        error = await failed(site, f"{dialect.tasks}/{method}", request)
        assert error.code() is grpc.StatusCode.NOT_FOUND
        assert "no connector here serves the task type 'tehirs'" in str(error.details())
        assert other.calls == []

    async def test_a_call_answered_at_once_that_neither_knows_is_not_found_here(
        self, site: Site, other: OtherService
    ) -> None:
        call = site.both(EXECUTE)
        for message in header("tehirs"):
            await call.write(message)
        await call.done_writing()
        with pytest.raises(grpc.aio.AioRpcError, match="no connector here serves"):
            await call.read()
        assert other.calls == []

    async def test_a_protocol_that_the_other_does_not_speak_has_none_of_its_types(self, front: Front) -> None:
        class OfFlyte1(OtherService):
            async def listed(self, path: str) -> bytes:
                if path != FLYTE1.lists:
                    raise NotImplementedError
                return await super().listed(path)

            def handler(self, details: grpc.HandlerCallDetails) -> object:
                return None if "flyteidl2" in details.method else super().handler(details)

        two = PROTOCOLS[1]
        async with serving(OfFlyte1("theirs")) as other, front(other.address) as site:
            await site.call(f"{FLYTE1.tasks}/CreateTask", FLYTE1.create())
            error = await failed(site, f"{two.tasks}/CreateTask", two.create())
            assert error.code() is grpc.StatusCode.NOT_FOUND
            assert await readiness(site) == "ready\n"


class TestLists:
    @BOTH
    async def test_they_are_merged_and_ours_are_last(self, front: Front, dialect: Dialect) -> None:
        async with serving(OtherService("acme", "theirs")) as other, front(other.address) as site:
            names = dialect.listed(await site.call(dialect.lists, b""))
        assert names == ["their theirs", "Acme Connector"]

    async def test_an_entry_of_several_types_loses_those_that_are_ours(self, front: Front) -> None:
        other = OtherService()
        other.agents = [agent("their two", "acme", "theirs", is_sync=True)]
        async with serving(other), front(other.address) as site:
            answer = await site.call(FLYTE1.lists, b"")
        first, _ = agent_pb2.ListAgentsResponse.FromString(answer).agents
        assert first == agent("their two", "theirs", is_sync=True)

    async def test_an_entry_goes_on_as_the_other_wrote_it(self, front: Front) -> None:
        class Newer(OtherService):
            async def listed(self, path: str) -> bytes:
                entry = agent("their theirs", "theirs").SerializeToString() + b"\xfa\x3e\x03new"
                return b"\x0a" + bytes([len(entry), *entry])

        async with serving(Newer()) as other, front(other.address) as site:
            assert b"\xfa\x3e\x03new" in await site.call(FLYTE1.lists, b"")

    async def test_what_was_listed_before_there_were_versions(self, front: Front) -> None:
        other = OtherService()
        other.agents = [agent_pb2.Agent(name="old", supported_task_types=["theirs"])]
        async with serving(other), front(other.address) as site:
            await site.call(f"{FLYTE1.tasks}/CreateTask", FLYTE1.create())
        assert len(other.calls) == 1

    @BOTH
    async def test_a_connector_is_found_by_its_name_wherever_it_is(
        self, site: Site, other: OtherService, dialect: Dialect
    ) -> None:
        other.answers[dialect.gets] = [b"\x0a\x02\x0a\x00"]
        assert await site.call(dialect.gets, b"\x0a\x0ctheir theirs") == b"\x0a\x02\x0a\x00"
        assert b"acme" in await site.call(dialect.gets, b"\x0a\x0eAcme Connector")
        error = await failed(site, dialect.gets, b"\x0a\x06nobody")
        assert error.code() is grpc.StatusCode.NOT_FOUND
        assert len(other.calls) == 1

    @BOTH
    async def test_two_services_that_are_each_others_fallback_come_to_an_end(
        self, front: Front, dialect: Dialect
    ) -> None:
        async with serving(OtherService("theirs")) as other, front(other.address) as site:
            marked = [("connectors-passed-on", "1")]
            error = await failed(site, f"{dialect.tasks}/CreateTask", dialect.create(), metadata=marked)
            assert error.code() is grpc.StatusCode.NOT_FOUND
            assert dialect.listed(await site.call(dialect.lists, b"", metadata=marked)) == ["Acme Connector"]
            assert other.calls == []


class TestOutOfReach:
    async def test_a_server_starts_without_it_and_finds_it_later(
        self, front: Front, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with serving(OtherService()) as before:
            port = int(before.address.rpartition(":")[2])
        with caplog.at_level(logging.INFO, "connectors.server"):
            async with front(f"127.0.0.1:{port}") as site:
                path = f"{FLYTE1.tasks}/CreateTask"
                error = await failed(site, path, FLYTE1.create())
                assert error.code() is grpc.StatusCode.UNAVAILABLE
                assert f"the fallback service 127.0.0.1:{port} cannot be reached" in str(error.details())
                assert f"degraded: the fallback service 127.0.0.1:{port} cannot be reached" in await readiness(site)
                await site.call(path, FLYTE1.create("acme"))
                assert (await page(site)).value("flyte_connector_fallback_up") == 0
                async with serving(OtherService("theirs"), port=port) as other:
                    await site.call(path, FLYTE1.create())  # before its list was asked for again
                    async with asyncio.timeout(60):
                        while True:
                            if await readiness(site) == "ready\n":
                                break
                            await asyncio.sleep(0.1)
                    assert len(other.calls) == 1
                    assert (await page(site)).value("flyte_connector_fallback_up") == 1
        assert "serves: theirs" in caplog.text

    async def test_what_it_served_is_unavailable_while_it_is_gone_and_goes_on_when_it_is_back(
        self, front: Front
    ) -> None:
        path = f"{FLYTE1.tasks}/CreateTask"
        first = OtherService("theirs")
        async with serving(first):
            port = int(first.address.rpartition(":")[2])
            site_of = front(first.address)
            site = await site_of.__aenter__()
            await site.call(path, FLYTE1.create())
        try:
            error = await failed(site, path, FLYTE1.create())
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert f"the fallback service 127.0.0.1:{port}" in str(error.details())
            assert "their theirs" in FLYTE1.listed(await site.call(FLYTE1.lists, b""))
            async with serving(OtherService("theirs"), port=port) as second:
                await site.call(path, FLYTE1.create())
                assert len(second.calls) == 1
        finally:
            await site_of.__aexit__(None, None, None)


class TestAround:
    async def test_what_is_passed_on_is_counted_under_the_types_that_the_other_lists(
        self, site: Site, other: OtherService
    ) -> None:
        path = f"{FLYTE1.tasks}/CreateTask"
        await site.call(path, FLYTE1.create())
        for number in range(20):
            await failed(site, path, FLYTE1.create(f"made-up-{number}"))
        found = await page(site)
        labels = {"task_type": "theirs", "operation": "create"}
        assert found.value("flyte_connector_requests_success_total", **labels) == 1
        assert "made-up" not in found.text

    async def test_a_failure_is_counted_by_its_status(self, site: Site, other: OtherService) -> None:
        async def handle(received: object, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
            await context.abort(grpc.StatusCode.ABORTED, "no")

        other.handle = handle
        await failed(site, f"{FLYTE1.tasks}/GetTask", FLYTE1.job("GetTask"))
        labels = {"task_type": "theirs", "operation": "get", "error_code": "ABORTED"}
        assert (await page(site)).value("flyte_connector_requests_failure_total", **labels) == 1

    async def test_a_pause_holds_for_the_others_types_too(
        self, other: OtherService, front: Front, tmp_path: Path
    ) -> None:
        file = tmp_path / "paused"
        file.write_text("theirs\n")
        async with front(other.address, paused_file=file) as site:
            error = await failed(site, f"{FLYTE1.tasks}/CreateTask", FLYTE1.create())
            assert (error.code(), other.calls) == (grpc.StatusCode.UNAVAILABLE, [])
            await site.call(f"{FLYTE1.tasks}/GetTask", FLYTE1.job("GetTask"))
            assert len(other.calls) == 1

    async def test_no_more_at_once_than_of_a_connector_here(self, other: OtherService, front: Front) -> None:
        entered, go_on = asyncio.Event(), asyncio.Event()

        async def handle(received: object, context: object) -> None:
            entered.set()
            await go_on.wait()

        other.handle = handle
        path, request = f"{FLYTE1.tasks}/GetTask", FLYTE1.job("GetTask")
        async with front(other.address, connector_concurrency=1, connector_queue=0) as site:
            first = asyncio.ensure_future(site.call(path, request))
            await asyncio.wait_for(entered.wait(), 30)
            error = await failed(site, path, request)
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            go_on.set()
            await first
        assert len(other.calls) == 1

    async def test_a_drain_waits_for_what_was_passed_on(self, other: OtherService, front: Front) -> None:
        entered, go_on = asyncio.Event(), asyncio.Event()

        async def handle(received: object, context: object) -> None:
            entered.set()
            await go_on.wait()

        other.handle = handle
        call = None
        async with front(other.address) as site:
            call = asyncio.ensure_future(site.call(f"{FLYTE1.tasks}/GetTask", FLYTE1.job("GetTask")))
            await asyncio.wait_for(entered.wait(), 30)
            asyncio.get_running_loop().call_later(0.3, go_on.set)
            await site.server.__aexit__(None, None, None)
            assert await call == b""

    async def test_an_answer_that_does_not_come_is_a_deadline_that_passed(
        self, site: Site, other: OtherService
    ) -> None:
        async def handle(received: object, context: object) -> None:
            await asyncio.Event().wait()

        other.handle = handle
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await site.unary(f"{FLYTE1.tasks}/GetTask", FLYTE1.job("GetTask"), timeout=1)
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


class TestTls:
    async def test_a_service_whose_certificate_is_trusted(self, front: Front, tmp_path: Path) -> None:
        certificate, key = certify(tmp_path, x509.IPAddress(ip_address("127.0.0.1")))
        credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
        async with (
            serving(OtherService("theirs"), credentials=credentials) as other,
            front(other.address, fallback_tls=True, fallback_ca_file=certificate) as site,
        ):
            await site.call(f"{FLYTE1.tasks}/CreateTask", FLYTE1.create())
            assert len(other.calls) == 1

    async def test_one_that_nobody_vouches_for_is_out_of_reach(self, front: Front, tmp_path: Path) -> None:
        certificate, key = certify(tmp_path, x509.IPAddress(ip_address("127.0.0.1")))
        credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
        async with (
            serving(OtherService("theirs"), credentials=credentials) as other,
            front(other.address, fallback_tls=True) as site,
        ):
            error = await failed(site, f"{FLYTE1.tasks}/CreateTask", FLYTE1.create())
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert other.calls == []

    async def test_authorities_that_cannot_be_read_refuse_the_start(self, tmp_path: Path) -> None:
        server = ConnectorServer(fallback="127.0.0.1:1", fallback_tls=True, fallback_ca_file=tmp_path / "none")
        with pytest.raises(RuntimeError, match=r"^--fallback-ca-file: .*none cannot be read"):
            await server.__aenter__()


@pytest.mark.parametrize(
    "address", ["", "host", "host:", ":1", "host:0", "host:65536", "host:a", "::1:80", "http://h:1"]
)
async def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"^fallback: .*must be host:port"):
        ConnectorServer(fallback=address)


@pytest.mark.parametrize(
    "settings",
    [{"fallback_tls": True}, {"fallback": "h:1", "fallback_ca_file": "ca.pem"}],
    ids=["tls without an address", "authorities without tls"],
)
async def test_settings_that_need_another(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="needs --fallback"):
        ConnectorServer(**settings)


async def test_a_service_that_asks_its_callers_to_connect_anew_loses_no_call() -> None:
    theirs = AcmeConnector()
    async with (
        ConnectorServer(theirs, max_connection_age=0.1) as other,
        ConnectorServer(EchoConnector(), fallback=other.address) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        create: Any = channel.unary_unary(f"{FLYTE1.tasks}/CreateTask")
        give_up = asyncio.get_running_loop().time() + 1.5
        sent = 0
        while asyncio.get_running_loop().time() < give_up:
            keys = [[("idempotency-key", f"{sent}-{number}")] for number in range(8)]
            await asyncio.gather(*(create(FLYTE1.create("acme"), timeout=30, metadata=key) for key in keys))
            sent += len(keys)
    assert len(theirs.created) == sent


class _Unread:
    """Takes an answer's first message and no other."""

    def __init__(self) -> None:
        self.began = asyncio.Event()

    def initial(self, headers: Headers) -> None:
        pass

    async def message(self, data: bytes) -> None:
        self.began.set()
        await asyncio.Event().wait()


class _Read:
    def initial(self, headers: Headers) -> None:
        pass

    async def message(self, data: bytes) -> None:
        pass


async def test_an_answer_that_nobody_reads_keeps_no_other_one_waiting(other: OtherService) -> None:
    """On the one connection that there is: its window is shared."""

    async def requests() -> AsyncGenerator[bytes, None]:
        yield b""

    log, poll = f"{FLYTE1.tasks}/GetTaskLogs", f"{FLYTE1.tasks}/GetTask"
    other.answers = {log: [b"a" * 1024 * 1024] * 20, poll: [b"b" * 5 * 1024 * 1024]}
    host, _, port = other.address.rpartition(":")
    channel, unread, until = FallbackChannel(host, int(port)), _Unread(), asyncio.get_running_loop().time() + 30
    left_alone = asyncio.create_task(channel.call(log, [], requests(), unread, until=until))
    try:
        await asyncio.wait_for(unread.began.wait(), 30)
        for _ in range(3):
            trailers = dict(await channel.call(poll, [], requests(), _Read(), until=until))
            assert trailers[b"grpc-status"] == b"0"
        assert not left_alone.done()
    finally:
        left_alone.cancel()
        await asyncio.gather(left_alone, return_exceptions=True)
        await channel.aclose()
