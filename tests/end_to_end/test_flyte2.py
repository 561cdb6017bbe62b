"""Flyte 2's own stubs, unchanged, against a real server and a BigQuery that others wrote."""

from __future__ import annotations

import itertools
import time

import grpc
import pytest
from flyteidl2.connector import connector_pb2, service_pb2_grpc
from flyteidl2.core import execution_pb2, identifier_pb2, interface_pb2, literals_pb2, tasks_pb2, types_pb2
from flyteidl2.task import common_pb2
from google.protobuf import struct_pb2

from tests.end_to_end.polling import until_terminal

PHASE = execution_pb2.TaskExecution
QUERY = "bigquery_query_job_task"
_numbers = itertools.count()


def create_request(template: tasks_pb2.TaskTemplate, **inputs: str) -> connector_pb2.CreateTaskRequest:
    name = f"run{next(_numbers)}-{time.time_ns()}"
    literals = [
        common_pb2.NamedLiteral(
            name=key,
            value=literals_pb2.Literal(
                scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(string_value=value))
            ),
        )
        for key, value in inputs.items()
    ]
    return connector_pb2.CreateTaskRequest(
        template=template,
        inputs=common_pb2.Inputs(literals=literals),
        output_prefix=f"s3://bucket/{name}/a0/1",
        task_execution_metadata=connector_pb2.TaskExecutionMetadata(
            task_execution_id=identifier_pb2.TaskExecutionIdentifier(
                task_id=identifier_pb2.Identifier(project="proj", domain="development", name="wf.task", version="v1"),
                node_execution_id=identifier_pb2.NodeExecutionIdentifier(
                    node_id="a0",
                    execution_id=identifier_pb2.WorkflowExecutionIdentifier(
                        project="proj", domain="development", name=name
                    ),
                ),
            )
        ),
    )


def query(sql: str) -> connector_pb2.CreateTaskRequest:
    custom = struct_pb2.Struct()
    custom.update({"ProjectID": "proj", "Location": "US", "Domain": "development"})
    return create_request(tasks_pb2.TaskTemplate(type=QUERY, custom=custom, sql=tasks_pb2.Sql(statement=sql)))


def until_over(stub: service_pb2_grpc.AsyncConnectorServiceStub, task_type: str, meta: bytes) -> connector_pb2.Resource:
    request = connector_pb2.GetTaskRequest(resource_meta=meta, task_category=connector_pb2.TaskCategory(name=task_type))
    resource: connector_pb2.Resource = until_terminal(lambda: stub.GetTask(request, timeout=10).resource)
    return resource


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> service_pb2_grpc.AsyncConnectorServiceStub:
    return service_pb2_grpc.AsyncConnectorServiceStub(channel)


def test_a_query_runs_from_create_to_succeeded_with_its_results_and_its_link(
    stub: service_pb2_grpc.AsyncConnectorServiceStub,
) -> None:
    meta = stub.CreateTask(query("SELECT 1 AS one"), timeout=10).resource_meta
    resource = until_over(stub, QUERY, meta)
    assert resource.phase == PHASE.SUCCEEDED
    (output,) = resource.outputs.literals
    assert output.name == "results"
    assert output.value.scalar.structured_dataset.uri.startswith("bq://proj:")
    assert [link.name for link in resource.log_links] == ["BigQuery Console"]


def test_the_same_create_again_is_the_same_job(stub: service_pb2_grpc.AsyncConnectorServiceStub) -> None:
    request = query("SELECT 2 AS two")
    assert stub.CreateTask(request, timeout=10) == stub.CreateTask(request, timeout=10)


def test_delete_is_quiet_on_a_finished_job_and_again(stub: service_pb2_grpc.AsyncConnectorServiceStub) -> None:
    meta = stub.CreateTask(query("SELECT 3 AS three"), timeout=10).resource_meta
    until_over(stub, QUERY, meta)
    request = connector_pb2.DeleteTaskRequest(resource_meta=meta, task_category=connector_pb2.TaskCategory(name=QUERY))
    for _ in range(2):
        stub.DeleteTask(request, timeout=10)


def test_a_sync_connector_runs_as_a_job(stub: service_pb2_grpc.AsyncConnectorServiceStub) -> None:
    text = types_pb2.LiteralType(simple=types_pb2.STRING)
    template = tasks_pb2.TaskTemplate(
        type="greeter",
        interface=interface_pb2.TypedInterface(
            outputs=interface_pb2.VariableMap(
                variables=[interface_pb2.VariableEntry(key="o0", value=interface_pb2.Variable(type=text))]
            )
        ),
    )
    meta = stub.CreateTask(create_request(template, name="Ada"), timeout=10).resource_meta
    resource = until_over(stub, "greeter", meta)
    assert resource.phase == PHASE.SUCCEEDED
    assert resource.outputs.literals[0].value.scalar.primitive.string_value == "hello Ada"


def test_the_lists_name_both_connectors(channel: grpc.Channel) -> None:
    stub = service_pb2_grpc.ConnectorMetadataServiceStub(channel)
    connectors = stub.ListConnectors(connector_pb2.ListConnectorsRequest(), timeout=10).connectors
    assert [[each.name for each in item.supported_task_categories] for item in connectors] == [[QUERY], ["greeter"]]
    named = stub.GetConnector(connector_pb2.GetConnectorRequest(name=connectors[0].name), timeout=10).connector
    assert named == connectors[0]
