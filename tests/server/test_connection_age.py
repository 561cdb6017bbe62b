"""`connectors serve --max-connection-age`: clients as Flyte configures them, on a server whose connections age fast."""

from __future__ import annotations

import threading
import time

import grpc
from grpc_health.v1 import health_pb2

from tests.server.calls import health
from tests.server.conftest import Serve

OPTIONS = [
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
    ("grpc.use_local_subchannel_pool", 1),
]


def test_clients_connect_anew_each_second_and_no_call_fails(serve: Serve) -> None:
    server = serve("--max-connection-age=1")
    ready, failed, answered = [0], [], [0]
    give_up = time.monotonic() + 60

    def count(state: grpc.ChannelConnectivity) -> None:
        ready[0] += state is grpc.ChannelConnectivity.READY

    def keep_calling(opened: grpc.Channel) -> None:
        while ready[0] < 8 and time.monotonic() < give_up:
            try:
                health(opened).Check(health_pb2.HealthCheckRequest(), timeout=10)
                answered[0] += 1
            except grpc.RpcError as error:
                failed.append(error)

    with (
        grpc.insecure_channel(server.address, options=OPTIONS) as first,
        grpc.insecure_channel(server.address, options=OPTIONS) as second,
    ):
        for opened in (first, second):
            opened.subscribe(count, try_to_connect=True)
        callers = [threading.Thread(target=keep_calling, args=(opened,)) for opened in (first, second) * 4]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    assert ready[0] >= 8
    assert failed == []
    assert answered[0] > 100
