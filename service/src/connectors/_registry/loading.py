"""From an entry point to connectors that can be called, or to the reasons why not."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Literal, cast

import importlib_metadata
from pydantic import TypeAdapter

from connectors._registry.plugin_settings import BadSetting, PluginSetting, validate
from connectors._registry.records import FailureKind, LoadFailure, Registered, describe, one_line
from connectors.connector import AsyncConnectorBase, ConnectorBase, ResourceMeta, SyncConnectorBase
from connectors.models import TaskCategory

__all__ = ["distribution_name", "load"]

Usable = AsyncConnectorBase[Any] | SyncConnectorBase


_DEDUPE = ("native", "search", "none")


class _Unusable(Exception):
    """What an entry point names cannot serve as a connector; the message says why."""


def distribution_name(entry: importlib_metadata.EntryPoint) -> str:
    """The name of the distribution that an entry point came with, or ""."""
    return _name_and_version(cast("Hashable", entry.dist))[0]


@lru_cache(maxsize=256)  # each time the whole file would be read and parsed, with the README in it
def _name_and_version(distribution: Hashable) -> tuple[str, str]:
    try:
        metadata = cast("importlib_metadata.Distribution", distribution).metadata
        return str(metadata["Name"] or ""), str(metadata["Version"] or "")
    except Exception:  # noqa: BLE001 - a half-removed distribution has no METADATA; the library's errors for it vary
        return "", ""  # so has an entry point that came with none


def load(
    entry: importlib_metadata.EntryPoint, settings: Mapping[str, PluginSetting]
) -> tuple[list[Registered], list[LoadFailure]]:
    """Import one plugin, check and construct its connectors.

    :param settings: the plugin's own, by field.
    """
    distribution, version = _name_and_version(cast("Hashable", entry.dist))
    failures: list[LoadFailure] = []

    def fail(kind: FailureKind, reason: str, error: BaseException | None = None) -> None:
        failures.append(LoadFailure(entry.name, distribution, one_line(reason), kind, error))

    try:
        found = _named_by(entry.load())
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - an import may raise anything, SystemExit too
        fail("import", f"{entry.value} cannot be imported: {describe(error)}", error)
        return [], failures

    categories: list[tuple[Any, TaskCategory]] = []
    for item in found:
        try:
            categories.append((item, _check(item)))
        except _Unusable as error:
            fail("not_a_connector", str(error))
        except Exception as error:  # noqa: BLE001 - so may a property of an object that is no connector
            fail("not_a_connector", f"what {entry.value} names cannot be looked at: {describe(error)}", error)
    try:
        values = validate(entry.name, [_class_of(item).Settings for item, _ in categories], settings)
    except BadSetting as error:
        fail("settings", str(error))
        return [], failures
    except Exception as error:  # noqa: BLE001 - pydantic's errors for a type that it cannot handle vary
        fail("declaration", f"its Settings cannot be used: {describe(error)}", error)
        return [], failures

    loaded = []
    for item, category in categories:
        try:
            connector = _construct(item, values[_class_of(item).Settings], has_settings=bool(settings))
            is_wanted = connector.is_wanted
        except Exception as error:  # noqa: BLE001 - so may a constructor
            fail("constructor", f"{_class_of(item).__name__} cannot be constructed: {describe(error)}", error)
            continue
        if not is_wanted:
            continue
        kind: Literal["async", "sync"] = "async" if isinstance(connector, AsyncConnectorBase) else "sync"
        loaded.append(Registered(connector, category, entry.name, distribution, version, kind))
    return loaded, failures


def _named_by(target: Any) -> list[Any]:
    """What an entry point's object stands for: itself, or what it returns."""
    if isinstance(target, ConnectorBase | type) or not callable(target):
        return [target]
    factory: Callable[[], Any] = target
    returned = factory()
    if not isinstance(returned, Iterable) or isinstance(returned, str | bytes | type):
        return [returned]
    several = list(returned)
    if not several:
        raise ValueError("it returned no connector")
    return several


def _class_of(item: Any) -> type[ConnectorBase]:
    kind: type[ConnectorBase] = item if isinstance(item, type) else type(item)
    return kind


def _check(item: Any) -> TaskCategory:
    """The task type and version that a class or an instance serves.

    :raises _Unusable: it is no connector, or not a whole one.
    """
    kind = _class_of(item)
    kinds = [base for base in (AsyncConnectorBase, SyncConnectorBase) if issubclass(kind, base)]
    if len(kinds) != 1:
        what = kind.__name__ if isinstance(item, type) else f"an object of type {kind.__name__}"
        derives = "both" if kinds else "none"
        raise _Unusable(
            f"{what} is no connector: it derives from {derives} of AsyncConnectorBase and SyncConnectorBase"
        )
    if inspect.isabstract(kind):
        raise _Unusable(f"{kind.__name__} does not define {', '.join(sorted(kind.__abstractmethods__))}")
    name, version = getattr(item, "task_type", None), getattr(item, "task_type_version", None)
    if not isinstance(name, str) or not name or name != name.strip():
        raise _Unusable(f"{kind.__name__}.task_type must name a task type; it is {reprlib.repr(name)}")
    if not isinstance(version, int) or isinstance(version, bool) or not 0 <= version < 2**31:
        shown = reprlib.repr(version)
        raise _Unusable(f"{kind.__name__}.task_type_version must be a whole number from 0 to 2^31 - 1; it is {shown}")
    _check_secret_names(item, kind)
    if issubclass(kind, AsyncConnectorBase):
        _check_meta(kind)
        _check_promises(item, kind)
    return TaskCategory(name, version)


def _check_meta(kind: type[AsyncConnectorBase[Any]]) -> None:
    meta = getattr(kind, "meta_type", None)
    if not (isinstance(meta, type) and issubclass(meta, ResourceMeta)):
        raise _Unusable(f"{kind.__name__} does not name its resource meta: derive from AsyncConnectorBase[YourMeta]")
    whose = f"{meta.__name__}, the resource meta of {kind.__name__},"
    if "__dataclass_params__" not in vars(meta):
        raise _Unusable(f"{whose} lacks @dataclass(frozen=True)")
    try:
        TypeAdapter(meta)
    except Exception as error:
        raise _Unusable(f"{whose} has no JSON form: {describe(error)}") from error


def _check_secret_names(item: Any, kind: type[ConnectorBase]) -> None:
    """A lone name, forgotten commas and all, would be read as the names of its letters."""
    names = item.secret_names
    if names is not None and not (isinstance(names, tuple) and all(isinstance(name, str) for name in names)):
        raise _Unusable(f"{kind.__name__}.secret_names must be a tuple of names, or None; it is {reprlib.repr(names)}")


def _check_promises(item: Any, kind: type[AsyncConnectorBase[Any]]) -> None:
    """What decides whether a create may be sent again, and whose job serves whom, must not be a misspelt word."""
    dedupe, inline = item.dedupe, item.results_inline
    if dedupe not in _DEDUPE:
        known = ", ".join(map(repr, _DEDUPE))
        raise _Unusable(f"{kind.__name__}.dedupe must be one of {known}; it is {reprlib.repr(dedupe)}")
    if not isinstance(inline, bool):
        raise _Unusable(f"{kind.__name__}.results_inline must be True or False; it is {reprlib.repr(inline)}")


def _construct(item: Any, settings: Any, *, has_settings: bool) -> Usable:
    connector: Usable = item(settings) if isinstance(item, type) else item
    if has_settings:  # an instance was built by the plugin with its defaults: the operator's settings take their place
        connector.settings = settings
    return connector
