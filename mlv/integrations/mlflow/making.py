"""What runs and logged models have in common: they are made, get params, and go into the trash and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import mlv
from mlv.errors import ParamsConflict
from mlv.integrations.mlflow import sessions
from mlv.integrations.mlflow.errors import refused, translated
from mlv.integrations.mlflow.folders import FolderIdentity, Folders, Group, folder_name
from mlv.integrations.mlflow.records import parsed


def translating(method: Callable[..., Any]) -> Callable[..., Any]:
    """Have a method raise MLflow's exceptions for those of mlv."""

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        with translated():
            return method(*args, **kwargs)

    return call


def made(folders: Folders, group: Group, parent_id: str | None, kind: str | None, name: str) -> mlv.Exp:
    """Make an experiment: below the run of an ID where that lies in the same experiment of MLflow, or beside the runs."""
    if parent_id is not None:
        identity = folders.identity(parent_id)
        if identity.is_deleted:
            raise refused(f"The run {parent_id} is deleted, and nothing is made below it: restore it first")
        if folders.group_id(identity) == group.id:
            return sessions.keep(mlv.init_sub_exp(identity.path / "meta.json", kind or "run", folder_name(name)))
    return sessions.keep(mlv.Exp(group.folder, folder_name(name), kind=kind, ranks="all"))


def add_params(exp: mlv.Exp, params: Iterable[Any]) -> None:
    """Add params, which MLflow has as texts, as the values that the texts stand for.

    Raises:
        MlflowException: One is there with another value.
    """
    values = {param.key: parsed(str(param.value)) for param in params}
    if not values:
        return
    try:
        exp.add_params(values)
    except ParamsConflict as error:
        key = next(iter(error.keys))
        text = (
            f"Changing param values is not allowed. Param with key='{key}' was already logged with value='{exp.params[key]}' "
            f"for run ID='{exp.id}'. Attempted logging new value '{values[key]}'."
        )
        raise refused(text) from error


def remove(identity: FolderIdentity) -> None:
    """Move an experiment into the trash, as `mlv rm` does; runs in it that go on in this process end."""
    sessions.end_below(identity.path, "interrupted")
    mlv.Exp.open(identity.path).remove()


def bring_back(identity: FolderIdentity) -> None:
    """Move an experiment back from the trash."""
    mlv.Exp.open(identity.path).move(identity.path_back)
