"""A task's file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flyteidl.admin import launch_plan_pb2, task_pb2, workflow_pb2
from flyteidl.core import interface_pb2, literals_pb2, tasks_pb2, types_pb2
from flyteidl2.core import interface_pb2 as interface_v2
from flyteidl2.core import tasks_pb2 as tasks_v2
from flyteidl2.core import types_pb2 as types_v2
from flyteidl2.task import task_definition_pb2 as task_v2
from google.protobuf.message import Message

from connectors import (
    Container,
    Identifier,
    Interface,
    LiteralType,
    SecretReference,
    Sql,
    TaskTemplate,
)
from connectors._run.mistakes import Mistake
from connectors._run.task_file import read_task

WHOLE = """
type: acme_job
task_type_version: 1
name: sum
custom: {Region: eu, when: 2024-05-17, ratio: 1e3, none: null, flag: true, list: [1, 2.5, no]}
config: {warehouse: small}
container:
  image: example/image:1
  command: [run]
  args: ["{{.outputPrefix}}", "12:30"]
  env: {A: b}
  requests: {cpu: "1"}
interface:
  inputs:
    v: int
    when: datetime | None
    table: {type: structured_dataset, format: parquet, columns: {a: int}}
  outputs: {o0: "dict[str, list[float]]"}
secrets: [token, {group: acme, key: password}]
"""


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def mistake_in(folder: Path, content: str | bytes, name: str = "task.yaml") -> str:
    path = write(folder, name, content)
    with pytest.raises(Mistake) as mistake:
        read_task(path)
    text = str(mistake.value)
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


def test_every_part_of_a_task_is_read(tmp_path: Path) -> None:
    optional = LiteralType("union", variants=(LiteralType("datetime"), LiteralType("none")))
    table = LiteralType("structured_dataset", format="parquet", columns={"a": LiteralType("integer")})
    floats = LiteralType("collection", element=LiteralType("float"))
    assert read_task(write(tmp_path, "task.yaml", WHOLE)) == TaskTemplate(
        type="acme_job",
        task_type_version=1,
        id=Identifier(name="sum"),
        custom={
            "Region": "eu",
            "when": "2024-05-17",
            "ratio": 1000.0,
            "none": None,
            "flag": True,
            "list": [1, 2.5, "no"],
        },
        config={"warehouse": "small"},
        container=Container(
            image="example/image:1",
            command=("run",),
            args=("{{.outputPrefix}}", "12:30"),
            env={"A": "b"},
            requests={"cpu": "1"},
        ),
        interface=Interface(
            {"v": LiteralType("integer"), "when": optional, "table": table}, {"o0": LiteralType("map", element=floats)}
        ),
        secrets=(SecretReference(key="token"), SecretReference("acme", "password")),
    )


@pytest.mark.parametrize("name", ["task.json", "TASK.JSON", "task.yml"])
def test_json_is_read_as_yaml_is(tmp_path: Path, name: str) -> None:
    content = json.dumps({"type": "acme", "sql": "SELECT 1", "id": {"project": "p", "name": "n"}})
    assert read_task(write(tmp_path, name, content)) == TaskTemplate(
        "acme", id=Identifier("p", name="n"), sql=Sql("SELECT 1")
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file: a mapping is needed, not nothing"),
        ("[]", "the file: a mapping is needed, not a list"),
        ("custom: {}", "type: is missing; it names the connector, as connectors list shows it"),
        ("type: ' '", "type: is empty"),
        ("type: 7", "type: text is needed, not a number; put it in quotes"),
        ("type: a\nqsl: SELECT 1", "qsl: there is no such key; did you mean sql?"),
        ("type: a\n7: 1", "7: a key is a text, not a number; put it in quotes"),
        ("type: a\ntask_type_version: -1", "task_type_version: a whole number from 0 on is needed, not a number"),
        ("type: a\nsql: {dialect: ANSI}", "sql.statement: is missing"),
        ("type: a\nsql: {statement: s, dialect: T}", "sql.dialect: one of UNDEFINED, ANSI, HIVE, OTHER is needed"),
        (
            "type: a\nsql: s\ncontainer: {}",
            "container: a task has one of sql, container and k8s_pod, and this one has sql",
        ),
        ("type: a\nname: n\nid: {}", "name: the task has an id, whose name it is; give one of the two"),
        ("type: a\nconfig: {a: 1}", "config.a: text is needed, not a number; put it in quotes"),
        ("type: a\ncontainer: {args: [a, 1]}", "container.args[1]: text is needed, not a number; put it in quotes"),
        ("type: a\ncontainer: {args: a}", "container.args: a list is needed, not text"),
        ("type: a\ncustom: {a: [.inf]}", "custom.a[0]: a number that is infinite, or none, has no form in a task"),
        ("type: a\ncustom: {a: !!binary aGk=}", "custom.a: bytes has no form in a task"),
        ("type: a\nsecrets: token", "secrets: a list is needed, not text"),
        (
            "type: a\nsecrets: [{name: t}]",
            "secrets[0].name: there is no such key; there are env_var, group, group_version, key",
        ),
        ("type: a\ninterface: {input: {}}", "interface.input: there is no such key; did you mean inputs?"),
        ("type: a\ninterface: {inputs: {v: itn}}", "interface.inputs.v: there is no type itn; did you mean int?"),
        ("type: a\ninterface: {inputs: {v: 'list'}}", "interface.inputs.v: list needs to say of what, as in list[int]"),
        (
            "type: a\ninterface: {inputs: {v: 'list[int, str]'}}",
            "interface.inputs.v: a list is of one type, as in list[int]",
        ),
        (
            "type: a\ninterface: {inputs: {v: 'dict[int, str]'}}",
            "interface.inputs.v: a dict is from str to one type, as in dict[str, int]",
        ),
        (
            "type: a\ninterface: {inputs: {v: 'enum[a]'}}",
            "interface.inputs.v: an enum is of texts, as in enum['small', 'large']",
        ),
        (
            "type: a\ninterface: {inputs: {v: 'f(1)'}}",
            "interface.inputs.v: 'f(1)' is no type; one is written such as int or list[str]",
        ),
        (
            "type: a\ninterface: {inputs: {v: 'in t'}}",
            "interface.inputs.v: 'in t' is no type; one is written such as int or list[str]",
        ),
        (
            "type: a\ninterface: {inputs: {v: [int]}}",
            "interface.inputs.v: a type is a text such as int or list[str], not list",
        ),
        (
            "type: a\ninterface: {inputs: {v: {type: int, format: x}}}",
            "interface.inputs.v: integer has neither format nor columns",
        ),
        ("type: a\nsql: s\nsql: t", "the key 'sql' is given twice (line 3)"),
    ],
)
def test_a_mistake_is_named_by_its_place(tmp_path: Path, content: str, message: str) -> None:
    assert mistake_in(tmp_path, content) == message


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "task.yaml",
            "type: [a\nname: b: c\n",
            "is no YAML: while parsing a flow sequence, expected ',' or ']', but got ':' (line 2, column 5)",
        ),
        ("task.yaml", "type: !!python/object:os.system {}", "is no YAML: could not determine a constructor"),
        ("task.yaml", b"type: \xff", "is no YAML: "),
        ("task.yaml", "[" * 3000, "is nested too deep"),
        ("task.json", "{", "is no JSON: Expecting"),
        ("task.json", b'{"type": "\xff"}', "is no JSON: it is not UTF-8"),
        ("task.json", '{"type": "a", "type": "b"}', "the key 'type' is given twice"),
        ("task.json", '{"type": "a", "custom": {"a": NaN}}', "custom.a: a number that is infinite"),
        ("task.txt", "", "a task's file ends with .yaml, .yml, .json, .pb"),
        ("package.tgz", b"", "is an archive; unpack it, and name the .pb file of a task in it"),
        ("task.pb", b"\xff", "the bytes are neither a TaskTemplate nor a TaskSpec of Flyte's; of what pyflyte"),
        ("task.pb", b"", "the bytes are neither a TaskTemplate nor a TaskSpec of Flyte's; of what pyflyte"),
    ],
)
def test_a_file_that_cannot_be_read_as_what_its_name_says_is_refused(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    assert mistake_in(tmp_path, content, name).startswith(message)


def test_a_file_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"none\.yaml: cannot be read: No such file"):
        read_task(tmp_path / "none.yaml")


# --- what Flyte's own commands write

TEMPLATE = tasks_pb2.TaskTemplate(
    type="acme_job",
    interface=interface_pb2.TypedInterface(
        inputs=interface_pb2.VariableMap(
            variables={"v": interface_pb2.Variable(type=types_pb2.LiteralType(simple=types_pb2.SimpleType.INTEGER))}
        )
    ),
    sql=tasks_pb2.Sql(statement="SELECT 1"),
)
TEMPLATE.id.project, TEMPLATE.id.name = "p", "example.sum"
TEMPLATE_2 = tasks_v2.TaskTemplate(
    type="acme_job",
    interface=interface_v2.TypedInterface(
        inputs=interface_v2.VariableMap(
            variables=[
                interface_v2.VariableEntry(
                    key="v",
                    value=interface_v2.Variable(type=types_v2.LiteralType(simple=types_v2.SimpleType.INTEGER)),
                )
            ]
        )
    ),
    sql=tasks_v2.Sql(statement="SELECT 1"),
)
TEMPLATE_2.id.project, TEMPLATE_2.id.name = "p", "example.sum"
DESCRIBED = task_pb2.TaskSpec(template=TEMPLATE)
DESCRIBED.description.short_description = "adds"
WITH_DEFAULTS = task_v2.TaskSpec(task_template=TEMPLATE_2, short_name="sum")
WITH_DEFAULTS.default_inputs.add().name = "v"


@pytest.mark.parametrize(
    "message",
    [TEMPLATE, task_pb2.TaskSpec(template=TEMPLATE), DESCRIBED, TEMPLATE_2, WITH_DEFAULTS],
    ids=["template", "spec", "described spec", "template of Flyte 2", "spec of Flyte 2"],
)
def test_a_serialised_task_of_flytes_is_read(tmp_path: Path, message: Message) -> None:
    assert read_task(write(tmp_path, "0_example.sum_1.pb", message.SerializeToString())) == TaskTemplate(
        type="acme_job",
        id=Identifier("p", name="example.sum"),
        interface=Interface({"v": LiteralType("integer")}),
        sql=Sql("SELECT 1"),
    )


WORKFLOW = workflow_pb2.WorkflowSpec()
WORKFLOW.template.id.name = "example.workflow"
PLAN = launch_plan_pb2.LaunchPlan()
PLAN.id.name, PLAN.spec.workflow_id.name = "example.plan", "example.workflow"
VALUES = literals_pb2.LiteralMap(literals={"a": literals_pb2.Literal()})


@pytest.mark.parametrize("message", [WORKFLOW, PLAN, VALUES], ids=["workflow", "launch plan", "literals"])
def test_what_is_serialised_and_no_task_is_refused(tmp_path: Path, message: Message) -> None:
    assert "tasks are the files …_1.pb" in mistake_in(tmp_path, message.SerializeToString(), "1_example.pb")
