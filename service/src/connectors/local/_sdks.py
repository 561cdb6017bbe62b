"""Task classes of Flyte's own SDKs: they are serialised, and their values converted, by their own code, which is
imported only where such a task is run, since it is there then.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from connectors.local._outcome import Outcome
from connectors.local._script import in_thread
from connectors.models import TaskTemplate

__all__ = ["Sdk", "sdk_of"]


class Sdk(ABC):
    """What is to be known of an SDK."""

    @abstractmethod
    def is_in_its_job(self, task: Any) -> bool:
        """Whether this process is the job of a function task, where its function is to be called."""

    @abstractmethod
    def template(self, task: Any) -> TaskTemplate:
        """The task as the SDK serialises it."""

    @abstractmethod
    async def inputs(self, task: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """The inputs, which are of the SDK's types, as values that this project knows."""

    @abstractmethod
    def executed(self, task: Any, run: Callable[[], Awaitable[Outcome]]) -> Any:
        """What the SDK expects of its task's ``execute``."""


def sdk_of(task: object) -> Sdk | None:
    """The SDK whose task class this is; None for one of this project's."""
    packages = {kind.__module__.partition(".")[0] for kind in type(task).__mro__}
    return _Flytekit() if "flytekit" in packages else _Flyte() if "flyte" in packages else None


class _Flytekit(Sdk):
    """Flyte 1's."""

    def is_in_its_job(self, task: Any) -> bool:
        of_functions = importlib.import_module("flytekit.core.python_function_task").PythonFunctionTask
        state = _flytekit_context().execution_state
        is_here = state is None or state.mode is None or state.is_local_execution()
        return isinstance(task, of_functions) and not is_here

    def template(self, task: Any) -> TaskTemplate:
        from connectors._messages.local_values import read_template_file  # noqa: PLC0415 - see the package's docstring

        configuration = importlib.import_module("flytekit.configuration")
        context = _flytekit_context()
        settings = context.serialization_settings or configuration.SerializationSettings(configuration.ImageConfig())
        translator = importlib.import_module("flytekit.tools.translator")
        message = translator.get_serializable(OrderedDict(), settings, task).template.to_flyte_idl()
        data: bytes = message.SerializeToString()
        return read_template_file(data)

    async def inputs(self, task: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        from connectors._messages.local_values import read_inputs_file  # noqa: PLC0415 - as above

        engine = importlib.import_module("flytekit.core.type_engine").TypeEngine
        # its asynchronous form: the other one would hold this event loop
        literals = await engine._dict_to_literal_map(_flytekit_context(), dict(inputs), task.get_input_types())
        data: bytes = literals.to_flyte_idl().SerializeToString()
        return read_inputs_file(data)

    def executed(self, task: Any, run: Callable[[], Awaitable[Outcome]]) -> Any:
        """Its literal map; it waits in ``execute``."""
        from connectors._messages.local_values import outputs_file  # noqa: PLC0415 - as above

        async def awaited() -> Outcome:
            return await run()

        message = importlib.import_module("flyteidl.core.literals_pb2").LiteralMap()
        message.ParseFromString(outputs_file(in_thread(awaited).outputs, self.template(task).interface))
        return importlib.import_module("flytekit.models.literals").LiteralMap.from_flyte_idl(message)


def _flytekit_context() -> Any:
    return importlib.import_module("flytekit.core.context_manager").FlyteContext.current_context()


class _Flyte(Sdk):
    """Flyte 2's."""

    def is_in_its_job(self, task: Any) -> bool:
        of_functions = importlib.import_module("flyte._task").AsyncFunctionTaskTemplate
        context = importlib.import_module("flyte._context").internal_ctx().data.task_context
        return isinstance(task, of_functions) and context is not None and bool(context.is_in_cluster())

    def template(self, task: Any) -> TaskTemplate:
        from connectors._messages.local_values import read_template_file_v2  # noqa: PLC0415 - as above

        context = importlib.import_module("flyte._context").internal_ctx().data.task_context
        initialised = importlib.import_module("flyte._initialize")._get_init_config()
        serialising = importlib.import_module("flyte.models").SerializationContext(
            version=context.version if context else "local",
            project=context.action.project if context else None,
            domain=context.action.domain if context else None,
            org=context.action.org if context else None,
            # where a function task's module is found from; its code is what its image holds
            root_dir=initialised.root_dir if initialised else Path.cwd(),
        )
        serde = importlib.import_module("flyte._internal.runtime.task_serde")
        data: bytes = serde.get_proto_task(task, serialising, context).SerializeToString()
        return read_template_file_v2(data)

    async def inputs(self, task: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        from connectors._messages.local_values import read_inputs_file  # noqa: PLC0415 - as above

        convert = importlib.import_module("flyte._internal.runtime.convert")
        converted = await convert.convert_from_native_to_inputs(task.native_interface, **inputs)
        data: bytes = converted.proto_inputs.SerializeToString()
        return read_inputs_file(data)

    async def executed(self, task: Any, run: Callable[[], Awaitable[Outcome]]) -> Any:
        """Its values; it awaits ``execute``."""
        from connectors._messages.local_values import outputs_file  # noqa: PLC0415 - as above

        outcome = await run()
        message = importlib.import_module("flyteidl2.task.common_pb2").Outputs()
        message.ParseFromString(outputs_file(outcome.outputs, self.template(task).interface))
        convert = importlib.import_module("flyte._internal.runtime.convert")
        return await convert.convert_outputs_to_native(task.native_interface, convert.Outputs(message))
