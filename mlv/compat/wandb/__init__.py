"""Weights & Biases' interface: `import mlv.compat.wandb as wandb` is all that a script changes.

Runs are experiments of mlv: nothing is sent anywhere, and no account is needed. `install()` has other libraries find this
module under the name `wandb`; `mlv run --as wandb train.py` does so for a script that nobody changes.
"""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import Any as _Any

from mlv.compat.wandb import limits as _limits
from mlv.compat.wandb import starting as _starting
from mlv.compat.wandb.config import Config
from mlv.compat.wandb.errors import CommError, Error, UsageError
from mlv.compat.wandb.image import Classes, Image
from mlv.compat.wandb.installing import install
from mlv.compat.wandb.media import Audio, Histogram, Html, Molecule, Object3D, Plotly, Video
from mlv.compat.wandb.run import AlertLevel, Run
from mlv.compat.wandb.settings import Settings
from mlv.compat.wandb.starting import finish, init, setup, teardown
from mlv.compat.wandb.table import JoinedTable, PartitionedTable, Table
from mlv.compat.wandb.terminal import termerror, termlog, termwarn

__version__ = "0.31.0"
"""The version of wandb whose interface this is; libraries compare it."""

_LATER = ("apis", "data_types", "env", "errors", "helper", "integration", "plot", "sdk", "util")
"""Modules that scripts reach as attributes."""
_OF_INTEGRATION = ("keras", "lightgbm", "xgboost")
"""Modules below `integration` that scripts reach as attributes."""
_FROM = {
    "Api": "apis.public",
    "Artifact": "artifacts",
    "PublicApi": "apis.public",
    "agent": "sweeps.agent",
    "plot_table": "plot",
    "sweep": "sweeps.agent",
}
"""Names that are imported when they are first used, and their modules."""


class _BeforeInit:
    """The stand-in for config and summary while there is no run: each use of it raises."""

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "_name", name)

    def __getattr__(self, key: str) -> _Any:
        if key.startswith("_"):
            raise AttributeError(key)
        raise Error(f"You must call wandb.init() before wandb.{self._name}.{key}")

    def __setattr__(self, key: str, value: _Any) -> None:
        raise Error(f"You must call wandb.init() before wandb.{self._name}.{key}")

    def __getitem__(self, key: str) -> _Any:
        raise Error(f"You must call wandb.init() before wandb.{self._name}[{key!r}]")

    def __setitem__(self, key: str, value: _Any) -> None:
        self[key]


run: Run | None = None
"""The run that `init` made last; None before and after it."""
config: _Any = _BeforeInit("config")
"""Its config."""
summary: _Any = _BeforeInit("summary")
"""Its summary."""


def log(data: _Any, step: int | None = None, commit: bool | None = None) -> None:
    """Log a row; see `Run.log`.

    Raises:
        Error: There is no run.
    """
    (run or _current("log")).log(data, step, commit)


def define_metric(name: str, *args: _Any, **options: _Any) -> _Any:
    """Describe metrics; see `Run.define_metric`.

    Raises:
        Error: There is no run.
    """
    return _current("define_metric").define_metric(name, *args, **options)


def save(*args: _Any, **options: _Any) -> bool | list[str]:
    """Attach files; see `Run.save`.

    Raises:
        Error: There is no run.
    """
    return _current("save").save(*args, **options)


def restore(name: str, run_path: str | None = None, replace: bool = False, root: str | None = None) -> _Any:
    """Open a file of the run, or of another one; see `Run.restore`.

    Raises:
        Error: There is no run, and none is named.
        ValueError: There is no such file, or no such run.
    """
    if run is None and run_path is not None:
        restored = _import_module("mlv.compat.wandb.apis.public").restored
        return restored(name, run_path, replace, "." if root is None else root)
    return _current("restore").restore(name, run_path, replace, root)


def watch(*args: _Any, **options: _Any) -> None:
    """Log histograms of a module; see `Run.watch`.

    Raises:
        Error: There is no run.
    """
    _current("watch").watch(*args, **options)


def unwatch(*args: _Any, **options: _Any) -> None:
    """Take the hooks of `watch` away; see `Run.unwatch`.

    Raises:
        Error: There is no run.
    """
    _current("unwatch").unwatch(*args, **options)


def alert(*args: _Any, **options: _Any) -> None:
    """Log a message; see `Run.alert`.

    Raises:
        Error: There is no run.
    """
    _current("alert").alert(*args, **options)


def log_artifact(*args: _Any, **options: _Any) -> _Any:
    """Store a set of files; see `Run.log_artifact`.

    Raises:
        Error: There is no run.
    """
    return _current("log_artifact").log_artifact(*args, **options)


def use_artifact(*args: _Any, **options: _Any) -> _Any:
    """Return a version of an artifact; see `Run.use_artifact`.

    Raises:
        Error: There is no run.
    """
    return _current("use_artifact").use_artifact(*args, **options)


def log_model(*args: _Any, **options: _Any) -> None:
    """Store a model; see `Run.log_model`.

    Raises:
        Error: There is no run.
    """
    _current("log_model").log_model(*args, **options)


def use_model(*args: _Any, **options: _Any) -> str:
    """Return the path of a model; see `Run.use_model`.

    Raises:
        Error: There is no run.
    """
    return _current("use_model").use_model(*args, **options)


def mark_preempting() -> None:
    """Record that the machine will be taken away; see `Run.mark_preempting`.

    Raises:
        Error: There is no run.
    """
    _current("mark_preempting").mark_preempting()


def join(exit_code: int | None = None) -> None:
    """End the run; the former name of `finish`."""
    finish(exit_code)


def login(*_: _Any, **__: _Any) -> bool:
    """Return True: there is nobody to log in with, and a key is neither read nor kept."""
    return True


def ensure_configured() -> None:
    """Do nothing."""


def require(requirement: _Any = None, experiment: _Any = None) -> None:
    """Do nothing: libraries ask by this for parts of wandb that are new, or not new any more."""


def _current(call: str) -> Run:
    if run is None:
        raise Error(f"You must call wandb.init() before wandb.{call}()")
    return run


def _serve(current: Run | None) -> None:
    """Have the names of this module stand for a run."""
    global run, config, summary
    run = current
    config = _BeforeInit("config") if current is None else current.config
    summary = _BeforeInit("summary") if current is None else current.summary


_starting.on_change(_serve)


def __getattr__(name: str) -> _Any:
    if name in _FROM:  # most scripts do without
        return getattr(_import_module(f"mlv.compat.wandb.{_FROM[name]}"), name)
    if name in _OF_INTEGRATION:
        return _import_module(f"mlv.compat.wandb.integration.{name}")
    return _import_module(f"mlv.compat.wandb.{name}") if name in _LATER else _limits.missing("wandb", name)


__all__ = [
    "AlertLevel",
    "Audio",
    "Classes",
    "CommError",
    "Config",
    "Error",
    "Histogram",
    "Html",
    "Image",
    "JoinedTable",
    "Molecule",
    "Object3D",
    "PartitionedTable",
    "Plotly",
    "Run",
    "Settings",
    "Table",
    "UsageError",
    "Video",
    "alert",
    "config",
    "define_metric",
    "ensure_configured",
    "finish",
    "init",
    "install",
    "join",
    "log",
    "log_artifact",
    "log_model",
    "login",
    "mark_preempting",
    "require",
    "restore",
    "run",
    "save",
    "setup",
    "summary",
    "teardown",
    "termerror",
    "termlog",
    "termwarn",
    "unwatch",
    "use_artifact",
    "use_model",
    "watch",
]
