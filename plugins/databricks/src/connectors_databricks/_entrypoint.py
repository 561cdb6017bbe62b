"""How a task's own code is started on Databricks: the entrypoint that each Flyte SDK has published for it.

https://github.com/flyteorg/flytetools: Databricks fetches it from there, and it runs the task's command in the
cluster's image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from connectors import Context, InvalidRequest, TaskTemplate

__all__ = ["Entrypoint", "entrypoint_of"]

_REPOSITORY = "https://github.com/flyteorg/flytetools"


@dataclass(frozen=True)
class Entrypoint:
    """One SDK's entrypoint, and the command that it is to run."""

    folder: str
    commit: str
    arguments: tuple[str, ...]
    variables: Mapping[str, str]
    """What the SDK needs in the environment."""

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """The task's environment variables, and the SDK's."""
        return {**given, **self.variables}

    def add(
        self,
        run: dict[str, Any],
        job: dict[str, Any],
        python_file: Any,
        *,
        serverless: bool,
        credential_provider: str,
    ) -> None:
        """Have ``job``, a task of ``run``, run the command.

        :param python_file: another entrypoint, of the task's own. :param credential_provider: for a serverless task.
        :raises InvalidRequest: there is no command, or ``python_file`` is no path.
        """
        if not self.arguments:
            raise InvalidRequest("the task has no container arguments: there is nothing for Databricks to run")
        if python_file is not None and (not isinstance(python_file, str) or not python_file):
            raise InvalidRequest("the task's databricksConf.python_file must be a path")
        arguments = list(self.arguments)
        if serverless and credential_provider:
            arguments.append(f"--flyte-credential-provider={credential_provider}")
        started: dict[str, Any] = {"parameters": arguments}
        if python_file and _is_absolute(python_file) and not run.get("git_source"):
            started["python_file"] = python_file  # of the workspace or of a store: there is nothing to check out
        else:
            name = "entrypoint_serverless.py" if serverless else "entrypoint.py"
            started |= {"python_file": python_file or f"{self.folder}/{name}", "source": "GIT"}
            run.setdefault("git_source", {"git_url": _REPOSITORY, "git_provider": "gitHub", "git_commit": self.commit})
        job["spark_python_task"] = started


_Known = tuple[str, str, Mapping[str, str]]
_FLYTE_1: Final[_Known] = (
    "flytekitplugins/databricks",
    "572298df1f971fb58c258398bd70a6372f811c96",
    {"FLYTE_FAIL_ON_ERROR": "true"},  # else a failed task would leave its error in a file, and the run would succeed
)
_FLYTE_2: Final[_Known] = ("flyteplugins/databricks", "194364210c47c49ce66c419e8fb68d6f9c06fd7e", {})


def entrypoint_of(task: TaskTemplate, ctx: Context) -> Entrypoint:
    """The entrypoint of the SDK that made the task: its command says which, else the caller's protocol does."""
    arguments = task.container.args if task.container is not None else ()
    first = arguments[0] if arguments else ""
    of_flyte_2 = first == "a0" or (ctx.protocol == "flyte2" and not first.startswith("pyflyte-"))
    folder, commit, variables = _FLYTE_2 if of_flyte_2 else _FLYTE_1
    return Entrypoint(folder, commit, tuple(arguments), variables)


def _is_absolute(path: str) -> bool:
    """https://docs.databricks.com/api/workspace/jobs/submit: a file of a repository has a relative path."""
    return path.startswith("/") or ":/" in path
