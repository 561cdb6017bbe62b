"""Literals that Flyte's own SDKs make: read as what the author meant, and written as the SDKs write them.

The bytes were recorded from the SDKs' type engines: flytekit 1.16.31 (Flyte 1) and flyte 2.12.1 (Flyte 2), serialised
deterministically.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from types import ModuleType
from typing import Any

import pytest

from connectors import models
from connectors._literals import literal_type, to_literal, to_native
from connectors._proto.flyteidl import core as core_v1
from connectors._proto.flyteidl2 import core as core_v2
from tests.literals.typed_values import same


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Flyte1Record:
    x: int
    y: float
    name: str
    tags: list[str]
    when: datetime
    d: timedelta
    c: Color


@dataclass
class Flyte2Record:
    x: int
    y: float
    tags: list[str]
    when: datetime
    d: timedelta
    c: Color
    o: int | None = None


WHEN = datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
RECORD_1 = Flyte1Record(1, 2.0, "n", ["a"], WHEN, timedelta(seconds=1.5), Color.RED)
RECORD_2 = Flyte2Record(1, 2.0, ["a"], WHEN, timedelta(seconds=1.5), Color.RED)
READ_2 = {"x": 1, "y": 2.0, "tags": ["a"], "when": "2024-01-02T03:04:05.000006+00:00", "d": 1.5, "c": "red", "o": None}
READ_1 = {"x": 1, "y": 2.0, "name": "n", **{key: value for key, value in READ_2.items() if key not in "xyo"}}

SAME_IN_BOTH: list[tuple[str, Any, str, str, Any]] = [
    # name, what the author's code holds, the literal, the declared type, what it is read as
    ("int", 5, "0a040a020805", "0801", 5),
    ("float", 1.5, "0a0b0a0911000000000000f83f", "0802", 1.5),
    ("str", "hé", "0a070a051a0368c3a9", "0803", "hé"),
    ("bool", True, "0a040a022001", "0804", True),
    ("naive datetime", WHEN.replace(tzinfo=None), "0a0d0a0b2a0908a5facdac0610f02e", "0805", WHEN),
    ("datetime", WHEN, "0a0d0a0b2a0908a5facdac0610f02e", "0805", WHEN),
    (
        "datetime with an offset",
        WHEN.replace(tzinfo=timezone(timedelta(hours=2))),
        "0a0d0a0b2a090885c2cdac0610f02e",
        "0805",
        WHEN - timedelta(hours=2),
    ),
    ("date", date(2024, 1, 2), "0a0a0a082a060880a4cdac06", "0805", datetime(2024, 1, 2, tzinfo=UTC)),
    (
        "negative timedelta",
        timedelta(days=-1, microseconds=7),
        "0a1a0a1832160881ddfaffffffffffff0110d8a295a3fcffffffff01",
        "0806",
        timedelta(days=-1, microseconds=7),
    ),
    ("none", None, "0a022a00", "0800", None),
    ("list", [1, 2], "12100a060a040a0208010a060a040a020802", "1a020801", [1, 2]),
    ("empty list", [], "1200", "1a020801", []),
    ("typed dict", {"a": 1}, "1a0d0a0b0a016112060a040a020801", "22020801", {"a": 1}),
    ("empty typed dict", {}, "1a00", "22020801", {}),
    ("list of typed dicts", [{"a": 1}], "12110a0f1a0d0a0b0a016112060a040a020801", "1a0422020801", [{"a": 1}]),
    (
        "optional int",
        5,
        "0a154a130a060a040a020805120908015a050a03696e74",
        "52170a0908015a050a03696e740a0a08005a060a046e6f6e65",
        5,
    ),
    (
        "optional int, none",
        None,
        "0a144a120a040a022a00120a08005a060a046e6f6e65",
        "52170a0908015a050a03696e740a0a08005a060a046e6f6e65",
        None,
    ),
    (
        "int or str",
        "x",
        "0a164a140a070a050a031a0178120908035a050a03737472",
        "52160a0908015a050a03696e740a0908035a050a03737472",
        "x",
    ),
    (
        "file",
        models.Blob("s3://b/f.csv", "csv"),
        "0a1912170a070a050a036373761a0c73333a2f2f622f662e637376",
        "2a050a03637376",
        models.Blob("s3://b/f.csv", "csv"),
    ),
    (
        "directory",
        models.Blob("s3://b/d", dimensionality="multipart"),
        "0a1212100a040a0210011a0873333a2f2f622f64",
        "2a021001",
        models.Blob("s3://b/d", dimensionality="multipart"),
    ),
    (
        "table",
        models.StructuredDataset("bq://p:d.t"),
        "0a1242100a0a62713a2f2f703a642e7412020a00",
        "4200",
        models.StructuredDataset("bq://p:d.t"),
    ),
]

UNTYPED = (
    "08094a3f0a3d0a3b0a1263616368652d6b65792d6d6574616461746112252a230a210a1473657269616c697a61"
    "74696f6e2d666f726d617412091a076d73677061636b"
)
"""What the SDKs declare for a plain dict: a struct with a note that it is msgpack."""

SAME_IN_BOTH += [
    (
        "plain dict",
        {"a": 1, "b": [1.5, None]},
        "0a1e1a1c0a1182a16101a16292cb3ff8000000000000c012076d73677061636b",
        UNTYPED,
        {"a": 1, "b": [1.5, None]},
    ),
    ("dict with int keys", {1: "a"}, "0a111a0f0a048101a16112076d73677061636b", UNTYPED, {1: "a"}),
    (
        "list of plain dicts",
        [{"a": 1}],
        "12150a130a111a0f0a0481a1610112076d73677061636b",
        f"1a43{UNTYPED}",
        [{"a": 1}],
    ),
]

CASES: list[Any] = [
    pytest.param(core, *case, id=f"{protocol}: {name}")
    for protocol, core in (("flytekit", core_v1), ("flyte", core_v2))
    for name, *case in SAME_IN_BOTH
]
CASES += [
    pytest.param(core_v1, Color.RED, "0a070a051a03726564", "3a0b0a037265640a04626c7565", "red", id="flytekit: enum"),
    pytest.param(core_v2, Color.RED, "0a070a051a03524544", "3a0b0a035245440a04424c5545", "RED", id="flyte: enum"),
    pytest.param(
        core_v1,
        RECORD_1,
        "0a631a610a5687a17801a179cb4000000000000000a46e616d65a16ea47461677391a161a47768656ed920323032342d30312d30325430"
        "333a30343a30352e3030303030362b30303a3030a164cb3ff8000000000000a163a372656412076d73677061636b",
        "0809",
        READ_1,
        id="flytekit: dataclass",
    ),
    pytest.param(
        core_v2,
        RECORD_2,
        "0a5f1a5d0a5287a17801a179cb4000000000000000a47461677391a161a47768656ed920323032342d30312d30325430333a30343a3035"
        "2e3030303030362b30303a3030a164cb3ff8000000000000a163a3726564a16fc012076d73677061636b",
        "0809",
        READ_2,
        id="flyte: dataclass",
    ),
]


@pytest.mark.parametrize(("core", "_held", "literal", "_declared", "native"), CASES)
def test_a_literal_of_an_sdk_is_read_as_what_its_author_meant(
    core: ModuleType, _held: Any, literal: str, _declared: str, native: Any
) -> None:
    assert same(to_native(core.Literal.parse(bytes.fromhex(literal))), native)


@pytest.mark.parametrize(("core", "held", "literal", "declared", "_native"), CASES)
def test_a_value_is_written_byte_for_byte_as_the_sdk_writes_it(
    core: ModuleType, held: Any, literal: str, declared: str, _native: Any
) -> None:
    expected = literal_type(core.LiteralType.parse(bytes.fromhex(declared)))
    assert bytes(to_literal(held, core, expected)).hex() == literal


PICKLES = [
    pytest.param(
        core_v2,
        "0a151a130a118005950600000000000000430200ff942e",
        models.Binary(bytes.fromhex("8005950600000000000000430200ff942e")),
        id="flyte: bytes",
    ),
    pytest.param(core_v2, "0a091a070a0580054b052e", models.Binary(bytes.fromhex("80054b052e")), id="flyte: any"),
    pytest.param(
        core_v1,
        "0a1c121a0a100a0e0a0c507974686f6e5069636b6c651a0673333a2f2f70",
        models.Blob("s3://p", "PythonPickle"),
        id="flytekit: any",
    ),
]


@pytest.mark.parametrize(("core", "literal", "native"), PICKLES)
def test_a_pickle_of_an_sdk_stays_packed(core: ModuleType, literal: str, native: Any) -> None:
    assert to_native(core.Literal.parse(bytes.fromhex(literal))) == native
