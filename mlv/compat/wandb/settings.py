"""The settings of runs: arguments of `init` before `Settings`, these before `wandb.setup`, these before variables."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from mlv.compat.wandb.errors import InvalidSetting, UsageError
from mlv.compat.wandb.terminal import is_on

_VARIABLES = {
    "project": "WANDB_PROJECT",
    "entity": "WANDB_ENTITY",
    "run_id": "WANDB_RUN_ID",
    "run_name": "WANDB_NAME",
    "run_group": "WANDB_RUN_GROUP",
    "run_job_type": "WANDB_JOB_TYPE",
    "run_notes": "WANDB_NOTES",
    "run_tags": "WANDB_TAGS",
    "root_dir": "WANDB_DIR",
    "mode": "WANDB_MODE",
    "resume": "WANDB_RESUME",
    "resume_from": "WANDB_RESUME_FROM",
    "fork_from": "WANDB_FORK_FROM",
    "reinit": "WANDB_REINIT",
    "console": "WANDB_CONSOLE",
    "sweep_id": "WANDB_SWEEP_ID",
    "host": "WANDB_HOST",
}
_FLAGS = {
    "silent": "WANDB_SILENT",
    "quiet": "WANDB_QUIET",
    "disable_git": "WANDB_DISABLE_GIT",
    "disable_code": "WANDB_DISABLE_CODE",
    "save_code": "WANDB_SAVE_CODE",
    "allow_val_change": "WANDB_ALLOW_VAL_CHANGE",
    "x_disable_stats": "WANDB_X_DISABLE_STATS",
    "x_disable_meta": "WANDB_X_DISABLE_META",
}
_OLD_NAMES = {"_disable_stats": "x_disable_stats", "_disable_meta": "x_disable_meta"}
_CHOICES = {
    "mode": ("online", "offline", "shared", "disabled", "dryrun", "run"),
    "resume": ("allow", "must", "never", "auto"),
    "reinit": ("default", "return_previous", "finish_previous", "create_new"),
    "console": ("auto", "off", "wrap", "redirect", "wrap_raw", "wrap_emu"),
}
_RESERVED = {"project": "/\\#?%:", "run_id": ":;,#?/'"}


class Settings:
    """Settings by name, as attributes; one that nobody gave is None.

    Those that mean nothing here are kept, and do nothing.
    """

    _values: dict[str, Any]

    def __init__(self, **settings: Any) -> None:
        """Keep settings.

        Raises:
            UsageError: One has a value that it cannot have.
        """
        vars(self)["_values"] = {}
        self.update_from_dict(settings)

    def update_from_dict(self, settings: Mapping[str, Any]) -> None:
        """Set several."""
        for name, value in settings.items():
            setattr(self, name, value)

    def to_dict(self) -> dict[str, Any]:
        """Return those that somebody gave."""
        return dict(self._values)

    def __setattr__(self, name: str, value: Any) -> None:
        name = _OLD_NAMES.get(name, name)
        if value is not None:
            self._values[name] = _checked(name, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._values.get(_OLD_NAMES.get(name, name))

    def __repr__(self) -> str:
        shown = {name: "..." if name == "api_key" else repr(value) for name, value in self._values.items()}
        return f"Settings({', '.join(f'{name}={text}' for name, text in shown.items())})"


def tags_of(words: Iterable[Any]) -> tuple[str, ...]:
    """Return tags as they are kept: without white space around them, and without empty ones."""
    return tuple(text for text in (str(word).strip() for word in words) if text)


def from_environment() -> Settings:
    """Return the settings of the variables.

    Raises:
        UsageError: One has a value that it cannot have.
    """
    texts = {name: os.environ[variable] for name, variable in _VARIABLES.items() if os.environ.get(variable)}
    flags = {name: is_on(variable) for name, variable in _FLAGS.items() if variable in os.environ}
    if is_on("WANDB_DISABLED"):
        texts["mode"] = "disabled"
    return Settings(**texts, **flags)


def resolved(*layers: Settings | Mapping[str, Any] | None) -> Settings:
    """Return the settings in force: variables, then each of the layers over those before it."""
    result = from_environment()
    for layer in layers:
        result.update_from_dict(layer.to_dict() if isinstance(layer, Settings) else layer or {})
    return result


def _checked(name: str, value: Any) -> Any:
    """Return a value as it is kept.

    Raises:
        UsageError: It cannot be.
    """
    if name == "resume" and isinstance(value, bool):
        return "auto" if value else "default"
    if name == "resume" and str(value).lower() in ("true", "1"):
        return "auto"
    if name == "reinit" and (isinstance(value, bool) or str(value).lower() in ("true", "false")):
        return "finish_previous" if str(value).lower() == "true" else "return_previous"
    if name in _CHOICES and value not in _CHOICES[name] and not (name == "resume" and value == "default"):
        raise InvalidSetting(f"{name}={value!r}: give one of {', '.join(_CHOICES[name])}")
    if name == "run_tags":
        return tags_of(value.split(",") if isinstance(value, str) else value)
    if name in ("project", "entity", "run_id", "run_name", "run_group", "run_job_type", "run_notes"):
        value = str(value)
    if name == "root_dir":
        value = os.fspath(value)
    wrong = sorted({*_RESERVED.get(name, "")} & {*str(value)})
    if wrong and name in _RESERVED:
        raise UsageError(f"{name}={value!r} holds {' '.join(wrong)}: leave out {' '.join(_RESERVED[name])}")
    if name == "run_id" and (not value.strip(". ") or value != value.strip()):
        raise UsageError(f"run_id={value!r} is empty, only dots, or begins or ends with white space: give a word")
    return value
