"""Values to literals: which declared types they fit, which forms they take without one, and what the errors say."""

from __future__ import annotations

import enum
import socket
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest

from connectors import models
from connectors._literals import Unencodable, literal_map, outputs, to_literal, to_native
from connectors.errors import InvalidRequest
from connectors.models import LiteralType
from tests.literals.protocols import Protocol
from tests.literals.typed_values import same

INTEGER, FLOAT, STRING, NONE, STRUCT = (LiteralType(each) for each in ("integer", "float", "string", "none", "struct"))


class Size(enum.IntEnum):
    BIG = 2


class Word(enum.StrEnum):
    YES = "yes"


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Row:
    name: str
    parts: list[Any] = field(default_factory=list)


def union(*variants: LiteralType) -> LiteralType:
    return LiteralType("union", variants=variants)


def collection(element: LiteralType) -> LiteralType:
    return LiteralType("collection", element=element)


def mapping(element: LiteralType) -> LiteralType:
    return LiteralType("map", element=element)


def _back(protocol: Protocol, value: Any, expected: LiteralType | None = None) -> Any:
    return to_native(protocol.ours(protocol.theirs(value, expected)))


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), 2**53 + 1, 0])
def test_an_integer_of_64_bits_is_exact(protocol: Protocol, value: int) -> None:
    assert protocol.theirs(value).scalar.primitive.integer == value


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1])
def test_an_int_beyond_64_bits_is_an_error_with_and_without_a_type(protocol: Protocol, value: int) -> None:
    with pytest.raises(Unencodable, match=r"^value: an int that does not fit in 64 bits$"):
        to_literal(value, protocol.core)
    with pytest.raises(InvalidRequest, match=r"^value: expected integer, got an int that does not fit in 64 bits$"):
        to_literal(value, protocol.core, INTEGER)


@pytest.mark.parametrize(
    ("value", "native"),
    [
        (Size.BIG, 2),
        (Word.YES, "yes"),
        (Point(1, 2), [1, 2]),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (Row("n", [Row("m")]), {"name": "n", "parts": [{"name": "m", "parts": []}]}),
        ({Word.YES: Size.BIG}, {"yes": 2}),
        ({"b": b"\x00\xff"}, {"b": b"\x00\xff"}),
        (b"\x00\xff", b"\x00\xff"),
        (bytearray(b"x"), b"x"),
        ("", ""),
        ("😀 ё \x00", "😀 ё \x00"),
        ({"": {}}, {"": {}}),
    ],
)
def test_a_value_without_a_declared_type_takes_the_form_that_is_closest(
    protocol: Protocol, value: Any, native: Any
) -> None:
    assert same(_back(protocol, value), native)


def test_bytes_are_msgpack_and_not_text(protocol: Protocol) -> None:
    binary = protocol.theirs(b"ab").scalar.binary
    assert (binary.tag, binary.value) == ("msgpack", b"\xc4\x02ab")


def test_a_float_takes_an_int_that_it_holds_exactly(protocol: Protocol) -> None:
    assert protocol.theirs(2**60, FLOAT).scalar.primitive.float_value == 2.0**60


@pytest.mark.parametrize("value", [2**53 + 1, 10**400])
def test_a_float_refuses_an_int_that_it_would_change(protocol: Protocol, value: int) -> None:
    with pytest.raises(InvalidRequest, match="expected float, got an int that a float cannot hold exactly"):
        to_literal(value, protocol.core, FLOAT)


def test_a_union_prefers_the_variant_that_takes_the_value_unchanged(protocol: Protocol) -> None:
    assert same(_back(protocol, 5, union(FLOAT, INTEGER)), 5)
    assert same(_back(protocol, [5], union(collection(FLOAT), collection(INTEGER))), [5])


def test_a_union_falls_back_to_float_for_an_int(protocol: Protocol) -> None:
    assert same(_back(protocol, 5, union(STRING, FLOAT)), 5.0)


def test_a_union_takes_the_first_of_several_variants_that_fit(protocol: Protocol) -> None:
    chosen = protocol.theirs({"a": 1}, union(mapping(STRING), mapping(INTEGER), STRUCT)).scalar.union
    assert chosen.type == protocol.types.LiteralType(map_value_type=protocol.types.LiteralType(simple=1))


def test_a_union_of_maps_is_chosen_by_what_the_map_holds(protocol: Protocol) -> None:
    blob = models.Blob("s3://b/k")
    assert _back(protocol, {"a": blob}, union(STRUCT, mapping(LiteralType("blob")))) == {"a": blob}


def test_an_enum_takes_a_member_by_value_or_by_name(protocol: Protocol) -> None:
    assert _back(protocol, Word.YES, LiteralType("enum", values=("yes",))) == "yes"
    assert _back(protocol, Word.YES, LiteralType("enum", values=("YES",))) == "YES"


def test_an_enum_of_a_declared_primitive_is_its_value(protocol: Protocol) -> None:
    assert same(_back(protocol, Size.BIG, INTEGER), 2)


def test_an_unknown_declared_type_is_no_obstacle(protocol: Protocol) -> None:
    assert _back(protocol, {"a": 1}, LiteralType("unknown")) == {"a": 1}


def test_a_mapping_made_anew_on_each_access_is_encoded_rightly(protocol: Protocol) -> None:
    class Lazy(Mapping[str, Any]):
        def __getitem__(self, key: str) -> Any:
            return [int(key)]

        def __iter__(self) -> Iterator[str]:
            return (str(number) for number in range(50))

        def __len__(self) -> int:
            return 50

    declared = mapping(union(collection(STRING), collection(INTEGER)))
    assert _back(protocol, Lazy(), declared) == {str(number): [number] for number in range(50)}


MISFITS: list[tuple[Any, LiteralType, str]] = [
    ("x", INTEGER, "expected integer, got str"),
    (True, INTEGER, "expected integer, got bool"),
    (True, FLOAT, "expected float, got bool"),
    (1.0, INTEGER, "expected integer, got float"),
    (None, STRING, "expected string, got None"),
    (0, NONE, "expected none, got int"),
    (1, LiteralType("boolean"), "expected boolean, got int"),
    ("2024-01-01", LiteralType("datetime"), "expected datetime, got str"),
    (5, LiteralType("duration"), "expected duration, got int"),
    ("x", LiteralType("binary"), "expected binary, got str"),
    ([1], STRUCT, "expected struct, got list"),
    ("x", LiteralType("error"), "expected error, got str"),
    ({"a": 1}, collection(INTEGER), "expected collection of integer, got dict"),
    ([1], mapping(INTEGER), "expected map of integer, got list"),
    ("s3://b/k", LiteralType("blob", format="csv"), "expected single blob of format csv, got str"),
    (models.Blob("s3://b/k", "txt"), LiteralType("blob", format="csv"), "expected single blob of format csv, got Blob"),
    (models.Blob("s3://b/k"), LiteralType("blob", dimensionality="multipart"), "expected multipart blob, got Blob"),
    ("bq://p:d.t", LiteralType("structured_dataset"), "expected structured_dataset, got str"),
    ("s3://b/k", LiteralType("schema"), "expected schema, got str"),
    ("x", union(INTEGER, NONE), "expected integer | none, got str"),
    ("x", union(), "expected nothing (a union of no variants), got str"),
    ("secret", LiteralType("enum", values=("a", "b")), "expected one of a, b, got text that is not among them"),
    (5, LiteralType("enum", values=("a",)), "expected one of a, got int"),
]


@pytest.mark.parametrize(("value", "expected", "text"), MISFITS)
def test_a_value_that_does_not_fit_is_told_what_was_expected_and_what_came(
    protocol: Protocol, value: Any, expected: LiteralType, text: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        to_literal(value, protocol.core, expected, name="o0")
    assert str(caught.value) == f"o0: {text}"


def test_a_long_enum_is_shortened_in_the_error(protocol: Protocol) -> None:
    expected = LiteralType("enum", values=tuple(f"v{number}" for number in range(1000)))
    with pytest.raises(InvalidRequest, match=r"^value: expected one of v0, .*, v9, …, got int$"):
        to_literal(1, protocol.core, expected)


@pytest.mark.parametrize(
    ("value", "expected", "text"),
    [
        ([1, "x"], collection(INTEGER), "o0[1]: expected integer, got str"),
        ({"a": {"b": [0, None]}}, mapping(mapping(collection(INTEGER))), "o0.a.b[1]: expected integer, got None"),
        ({1: 2}, mapping(INTEGER), "o0[1]: expected text as the key of a map, got int"),
        ([[1, "x"]], collection(union(NONE, collection(INTEGER))), "o0[0][1]: expected integer, got str"),
        ({"k" * 80: "x"}, mapping(INTEGER), "o0['" + "k" * 59 + "…]: expected integer, got str"),
    ],
)
def test_a_misfit_inside_a_value_is_named_by_its_place(
    protocol: Protocol, value: Any, expected: LiteralType, text: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        to_literal(value, protocol.core, expected, name="o0")
    assert str(caught.value) == text


def test_a_misfit_tried_several_times_is_named_by_its_place_once(protocol: Protocol) -> None:
    inner = union(NONE, collection(INTEGER))
    expected = union(NONE, collection(union(NONE, collection(inner))))
    with pytest.raises(InvalidRequest) as caught:
        to_literal([[[1, "x"]]], protocol.core, expected, name="o0")
    assert str(caught.value) == "o0[0][0][1]: expected integer, got str"


def test_a_socket_is_an_error_that_names_the_variable_and_the_place(protocol: Protocol) -> None:
    with socket.socket() as holder:
        for value, place in (
            (holder, "o0"),
            ([0, 1, 2, {"x": holder}], "o0[3].x"),
            (Row("n", [holder]), "o0.parts[0]"),
            ([[holder]], "o0[0][0]"),
        ):
            with pytest.raises(Unencodable) as caught:
                to_literal(value, protocol.core, name="o0")
            assert str(caught.value) == f"{place}: no literal can hold a value of type socket"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({1, 2}, "value: no literal can hold a value of type set"),
        (1j, "value: no literal can hold a value of type complex"),
        (Row, "value: no literal can hold a value of type type"),
        ({"a": models.Blob("s3://b/k")}, "value.a: a Blob is a value of its own, and cannot stand inside a dict"),
        ({"a": 2**64}, "value.a: an int that does not fit in 64 bits"),
        ({True: 1}, "value[True]: a key of type bool, where text or a whole number is needed"),
        ({(1, 2): 1}, "value[tuple]: a key of type tuple"),
        ("\ud800", "value: text that is not valid Unicode (a lone surrogate)"),
        ({"a": "\udfff"}, "value.a: text that is not valid Unicode"),
        (models.Blob(None), "value: text is needed, got None"),  # type: ignore[arg-type] # the author's mistake
        (models.Binary("text"), "value: bytes are needed, got str"),  # type: ignore[arg-type] # the author's mistake
        (models.Schema("s3://b/k", {"a": "blob"}), "value: a schema's column of a kind that is none of integer"),
    ],
)
def test_a_value_that_no_kind_fits_is_an_error(protocol: Protocol, value: Any, text: str) -> None:
    with pytest.raises(Unencodable) as caught:
        to_literal(value, protocol.core)
    assert str(caught.value).startswith(text)


def test_an_error_never_shows_the_value(protocol: Protocol) -> None:
    for value, expected in (("hunter2", INTEGER), (["hunter2"], collection(INTEGER)), ({"a": "hunter2"}, NONE)):
        with pytest.raises(InvalidRequest) as caught:
            to_literal(value, protocol.core, expected)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("expected", [None, STRUCT, mapping(STRUCT), union(STRUCT)])
def test_a_dict_that_contains_itself_is_an_error(protocol: Protocol, expected: LiteralType | None) -> None:
    endless: dict[str, Any] = {}
    endless["a"] = endless
    with pytest.raises((Unencodable, InvalidRequest), match="nested more than 100 levels deep"):
        to_literal(endless, protocol.core, expected)


def test_a_list_nested_100_levels_is_held_and_one_more_is_an_error(protocol: Protocol) -> None:
    nested: list[Any] = []
    for _ in range(99):
        nested = [nested]
    assert to_native(to_literal(nested, protocol.core)) == nested
    with pytest.raises(Unencodable, match="nested more than 100 levels deep"):
        to_literal([nested], protocol.core)


def test_a_type_that_is_a_union_at_every_level_does_not_cost_exponentially(protocol: Protocol) -> None:
    visits = 0

    class Counted(list[Any]):
        def __iter__(self) -> Iterator[Any]:
            nonlocal visits
            visits += 1
            return super().__iter__()

    levels = 8
    declared: LiteralType = INTEGER
    value: Any = "x"
    for _ in range(levels):
        declared = union(collection(declared), collection(declared))
        value = Counted([value])
    with pytest.raises(InvalidRequest):
        to_literal(value, protocol.core, declared)
    assert visits <= 4 * levels  # two variants, each tried exactly and then leniently; unbounded it is 4 ** levels


def test_the_error_of_outputs_names_the_output() -> None:
    for encode in (literal_map, outputs):
        with pytest.raises(InvalidRequest, match=r"^output o1\[0\]: expected integer, got str$"):
            encode({"o0": 1, "o1": ["x"]}, {"o1": collection(INTEGER)})


def test_a_name_that_is_no_text_is_an_error() -> None:
    with pytest.raises(Unencodable, match="output: a name of type int, where text is needed"):
        outputs({1: 2})  # type: ignore[dict-item] # the author's mistake
