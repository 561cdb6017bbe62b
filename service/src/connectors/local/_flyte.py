"""Task classes of Flyte's own SDK: they are serialised, and their values read, by its own code, which is imported only
where such a task is run, since it is there then.
"""

from __future__ import annotations

import importlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from connectors.models import TaskTemplate

__all__ = ["is_flytekit", "literal_map", "native_inputs", "template_of"]


def is_flytekit(task: object) -> bool:
    """Whether it is a task of Flyte 1's SDK."""
    return any(kind.__module__.partition(".")[0] == "flytekit" for kind in type(task).__mro__)


def template_of(task: Any) -> TaskTemplate:
    """The task as its SDK serialises it.

    :raises NotImplementedError: it is no task of theirs.
    """
    if not is_flytekit(task):
        raise NotImplementedError(f"{type(task).__name__} must define connector_task(), or derive from a task class")
    from connectors._messages.local_values import read_template_file  # noqa: PLC0415 - see the package's docstring

    configuration = importlib.import_module("flytekit.configuration")
    settings = _context().serialization_settings or configuration.SerializationSettings(configuration.ImageConfig())
    translator = importlib.import_module("flytekit.tools.translator")
    template = translator.get_serializable(OrderedDict(), settings, task).template
    data: bytes = template.to_flyte_idl().SerializeToString()
    return read_template_file(data)


def native_inputs(task: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The inputs as values that this project knows: those of a flytekit task are of its own types."""
    if not is_flytekit(task):
        return inputs
    from connectors._messages.local_values import read_inputs_file  # noqa: PLC0415 - as above

    engine = importlib.import_module("flytekit.core.type_engine").TypeEngine
    literals = engine.dict_to_literal_map(_context(), dict(inputs), task.get_input_types())
    data: bytes = literals.to_flyte_idl().SerializeToString()
    return read_inputs_file(data)


def literal_map(task: Any, outputs: Mapping[str, Any]) -> Any:
    """The outputs as flytekit's ``LiteralMap``, which it makes its own values of."""
    from connectors._messages.local_values import outputs_file  # noqa: PLC0415 - as above

    message = importlib.import_module("flyteidl.core.literals_pb2").LiteralMap()
    message.ParseFromString(outputs_file(outputs, template_of(task).interface))
    return importlib.import_module("flytekit.models.literals").LiteralMap.from_flyte_idl(message)


def _context() -> Any:
    return importlib.import_module("flytekit.core.context_manager").FlyteContext.current_context()
