"""Which flags go together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from connectors._run.mistakes import Mistake
from connectors._run.place import PLACE_SETTINGS, Place, with_place
from connectors._settings import Settings, SettingsError

pytestmark = pytest.mark.anyio


def place_of(settings: dict[str, Any] | None = None, **flags: Any) -> Place:
    """What the flags make, as a command has it."""
    found: list[Place] = []
    default: dict[str, Any] = {"endpoint": None, "protocol": None, "call_timeout": 10.0, "tls": False}

    def command(place: Place) -> None:
        found.append(place)

    with_place(command)(settings or {}, **{**default, "ca_file": None, "server_name": "", **flags})
    return found[0]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"tls": True}, "--tls: is of no use without --endpoint"),
        ({"ca_file": Path("ca.pem")}, "--ca-file: is of no use without --endpoint"),
        ({"server_name": "a"}, "--server-name: is of no use without --endpoint"),
        ({"protocol": "flyte2"}, "--protocol: is of no use without --endpoint"),
        (
            {"endpoint": ["http://127.0.0.1:8000"]},
            "--endpoint: HOST:PORT is needed, without http://, not 'http://127.0.0.1:8000'",
        ),
        ({"protocol": "flyte3"}, "--protocol: flyte1 or flyte2 is needed, not 'flyte3'"),
    ],
)
def test_flags_that_do_not_go_together_are_a_mistake(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(Mistake) as mistake:
        place_of(**flags)
    assert str(mistake.value) == message


@pytest.mark.parametrize("name", sorted(PLACE_SETTINGS - {"log_level", "log_format"}))
def test_a_setting_of_plugins_is_a_mistake_where_a_server_has_its_own(name: str) -> None:
    with pytest.raises(Mistake, match=f"^--{name.replace('_', '-')}: is of no use with --endpoint"):
        place_of({name: "a"}, endpoint=["localhost:1"])


def test_how_things_are_logged_can_be_said_anywhere() -> None:
    assert place_of({"log_level": "debug"}, endpoint=["localhost:1"]).endpoints == ("localhost:1",)


def test_a_setting_that_is_none_is_found_before_anything_is_run() -> None:
    with pytest.raises(SettingsError):
        place_of({"secret_sources": "sky"})


def test_every_setting_that_is_a_flag_is_one_of_the_servers() -> None:
    assert Settings.model_fields.keys() >= PLACE_SETTINGS


async def test_a_ca_file_that_is_none_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("none", "utf-8")
    place = place_of(endpoint=["localhost:1"], ca_file=tmp_path / "ca.pem")
    with pytest.raises(Mistake, match=r"ca\.pem holds no certificates"):
        async with place.calls():
            pass
