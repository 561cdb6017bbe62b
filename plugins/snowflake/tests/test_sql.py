"""What in a statement is SQL, and what is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors_snowflake._sql import Kind, has_several_statements, split


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("'it''s'", Kind.QUOTED),
        (r"'it\'s'", Kind.QUOTED),
        (r"'\\'", Kind.QUOTED),
        ("'-- no comment'", Kind.QUOTED),
        ('"a ""quoted"" name"', Kind.QUOTED),
        ("$$it's; -- 'text'$$", Kind.QUOTED),
        ("'not closed", Kind.QUOTED),
        ("-- it's", Kind.COMMENT),
        ("// it's", Kind.COMMENT),
        ("/* it's\n'two' lines */", Kind.COMMENT),
        ("/* not closed", Kind.COMMENT),
    ],
)
def test_what_is_set_apart_is_one_stretch(text: str, kind: Kind) -> None:
    assert list(split(f"SELECT {text}")) == [(Kind.CODE, "SELECT "), (kind, text)]


def test_code_goes_on_after_a_comments_line() -> None:
    assert list(split("a -- b\n c")) == [(Kind.CODE, "a "), (Kind.COMMENT, "-- b"), (Kind.CODE, "\n c")]


@given(st.text(alphabet="'\"$-/*\\\n a;", max_size=40))
def test_the_stretches_are_the_whole_statement(statement: str) -> None:
    assert "".join(text for _, text in split(statement)) == statement


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1",
        "SELECT 1;",
        "SELECT 1; -- done",
        "SELECT 1; /* done */ ; ",
        "SELECT ';'; -- SELECT 2;",
        "BEGIN\n LET x := 1; RETURN x;\nEND;",
        "DECLARE x INT; BEGIN x := 1; RETURN x; END",
        "CREATE PROCEDURE p() RETURNS INT LANGUAGE SQL AS BEGIN RETURN 1; END;",
        "EXECUTE IMMEDIATE $$ BEGIN RETURN 1; END; $$",
    ],
)
def test_one_statement_is_one(statement: str) -> None:
    assert not has_several_statements(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1; SELECT 2",
        "BEGIN; DELETE FROM t; COMMIT;",
        "begin transaction; DELETE FROM t; COMMIT;",
        "SELECT 1; 'x'",
        "CREATE TEMP TABLE t (n INT); /* then */ SELECT * FROM t;",
    ],
)
def test_several_statements_are_several(statement: str) -> None:
    assert has_several_statements(statement)
