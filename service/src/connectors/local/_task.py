"""A task written in Python, for any connector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from connectors.errors import ConnectorError
from connectors.local._faults import without_inner_frames
from connectors.local._mixin import AsyncConnectorExecutorMixin
from connectors.local._options import RunOptions
from connectors.local._script import in_new_loop
from connectors.local._types import interface
from connectors.models import Container, Identifier, SecretReference, Sql, TaskMetadata, TaskTemplate

__all__ = ["ConnectorTask", "TaskConfig"]


class TaskConfig(Protocol):
    """What a plugin's typed config is."""

    def to_custom(self) -> Mapping[str, Any]:
        """The task's ``custom``."""


class ConnectorTask(AsyncConnectorExecutorMixin):
    """A task: ``task(v=7)`` runs it in a script, ``await task.run(v=7)`` under a running event loop.

    Plugins derive their own from this, which know the task type and the outputs.
    """

    def __init__(
        self,
        name: str,
        task_type: str,
        *,
        task_type_version: int = 0,
        inputs: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        config: TaskConfig | Mapping[str, Any] | None = None,
        sql: str | Sql | None = None,
        container: Container | None = None,
        secrets: tuple[SecretReference, ...] = (),
        metadata: TaskMetadata | None = None,
        local_run: RunOptions | None = None,
    ) -> None:
        """:param name: of the task, for people.
        :param inputs: by name, a Python type or a :class:`connectors.LiteralType`. A run is given each of them, but for
            one that may be None.
        :param outputs: likewise.
        :param config: a plugin's typed one, or the task's ``custom`` as it stands.
        :param sql: the statement.
        :param container: whose command and arguments may hold ``{{.outputPrefix}}`` and its like.
        :param secrets: that the task names.
        :param local_run: how its runs go.
        :raises TypeError: a type is none that Flyte has; the message names the variable.
        """
        custom = {} if config is None else config if isinstance(config, Mapping) else config.to_custom()
        self._template = TaskTemplate(
            task_type,
            task_type_version,
            id=Identifier(name=name, resource_type="TASK"),
            custom=dict(custom),
            sql=Sql(sql) if isinstance(sql, str) else sql,
            container=container,
            interface=interface(inputs, outputs),
            metadata=metadata or TaskMetadata(),
            secrets=secrets,
        )
        if local_run is not None:
            self.local_run = local_run

    @property
    def name(self) -> str:
        """The task's name."""
        return self._template.id.name

    def connector_task(self) -> TaskTemplate:
        """The task as the backend would send it."""
        return self._template

    def __call__(self, /, **inputs: Any) -> Any:
        """Run it in a script, and return what :meth:`run` does. Ctrl-C deletes its job, and that is waited for; a
        second one does not wait, and says what finds the job.

        :raises: as :meth:`run`; KeyboardInterrupt at Ctrl-C; RuntimeError where an event loop runs in this thread.
        """
        try:
            return in_new_loop(lambda: self.run(**inputs))
        except ConnectorError as error:
            raise without_inner_frames(error)  # noqa: B904 - it is the same error, with the cause that it has

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, task_type={self._template.type!r})"
