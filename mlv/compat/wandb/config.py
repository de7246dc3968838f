"""`wandb.config`: the params of an experiment as an object with attributes, whose values do not change unasked."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlv import MissingExtra
from mlv.compat.wandb.errors import ConfigError, UsageError
from mlv.compat.wandb.media import Media
from mlv.compat.wandb.terminal import termwarn
from mlv.compat.wandb.values import are_equal, config_form

DEFAULTS = "config-defaults.yaml"
"""A file of the current folder whose values each config begins with."""


class Config:
    """Settings of a run: read as items or attributes; set once, and changed only with `allow_val_change=True`."""

    _items: dict[str, Any]
    _locked: dict[str, str]
    _changed: Callable[[dict[str, Any]], None] | None
    _may_change: bool

    def __init__(self) -> None:
        vars(self).update(_items={}, _locked={}, _changed=None, _may_change=False)
        defaults = from_file(DEFAULTS) if os.path.isfile(DEFAULTS) else {}
        self._items.update(self._checked(defaults, None))

    def update(self, d: Any, allow_val_change: bool | None = None) -> None:
        """Add values: of a mapping, a namespace, flags of absl, an object with attributes, or a file of YAML.

        Raises:
            ConfigError: A value would change, and may not.
            TypeError: It is nothing of these, or a value is media.
        """
        new = self._checked(parse_config(d), allow_val_change)
        self._items.update(new)
        self._say(new)

    def setdefaults(self, d: Any) -> None:
        """Add values for keys that are not there."""
        self.update({key: value for key, value in parse_config(d).items() if key not in self._items})

    def update_locked(self, d: Mapping[str, Any], user: str | None = None, _allow_val_change: bool | None = None) -> None:
        """Add values that no later update changes."""
        new = self._checked(d, _allow_val_change)
        self._items.update(new)
        self._locked.update(dict.fromkeys(new, str(user)))
        self._say(new)

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value, or the default."""
        return self._items.get(key, default)

    def keys(self) -> list[str]:
        """Return the keys."""
        return list(self._items)

    def items(self) -> list[tuple[str, Any]]:
        """Return keys and values."""
        return list(self._items.items())

    def as_dict(self) -> dict[str, Any]:
        """Return a dict of the values."""
        return dict(self._items)

    def persist(self) -> None:
        """Do nothing: each change is stored when it is made."""

    def _checked(self, values: Mapping[Any, Any], allow_val_change: bool | None) -> dict[str, Any]:
        """Return values in their plain form, without those whose keys are locked.

        Raises:
            ConfigError, TypeError: As `update`.
        """
        may_change = self._may_change if allow_val_change is None else allow_val_change
        new = {}
        for name, value in values.items():
            if isinstance(value, Media):
                raise TypeError(f"config[{name!r}] is media of type {type(value).__name__}: log it instead")
            key = str(name).strip("-")
            if key in self._locked:
                termwarn(f"Config item {key!r} was locked by {self._locked[key]!r} (ignored update).")
                continue
            item = config_form(value)
            if key in self._items and not may_change and not are_equal(self._items[key], item):
                raise ConfigError(
                    f'Attempted to change value of key "{key}" from {self._items[key]} to {item}\n'
                    "If you really want to do this, pass allow_val_change=True to config.update()"
                )
            new[key] = item
        return new

    def _say(self, new: dict[str, Any]) -> None:
        if new and self._changed is not None:
            self._changed(new)

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __getattr__(self, key: str) -> Any:
        try:
            return self._items[key]
        except KeyError:
            raise AttributeError(f"{type(self)!r} object has no attribute {key!r}") from None

    def __setattr__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __contains__(self, key: object) -> bool:
        return key in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __repr__(self) -> str:
        return str(self._items)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self._items),)


class ConfigStatic:
    """The values of a config, read-only."""

    def __init__(self, config: Config) -> None:
        vars(self).update(config.as_dict())

    def keys(self) -> Iterable[str]:
        """Return the keys."""
        return vars(self).keys()

    def __getitem__(self, key: str) -> Any:
        return vars(self)[key]

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"run.config_static is read-only: run.config.{name} may be set")

    def __str__(self) -> str:
        return str(vars(self))


def parse_config(params: Any, exclude: Iterable[str] | None = None, include: Iterable[str] | None = None) -> dict[str, Any]:
    """Return the values of an object as a dict, some of them left out.

    Raises:
        UsageError: Both `exclude` and `include` are given.
        TypeError: The object has no attributes.
    """
    if exclude and include:
        raise UsageError("Expected at most only one of exclude or include")
    values = _as_dict(params)
    return {
        key: value for key, value in values.items() if (not include or key in include) and (not exclude or key not in exclude)
    }


def from_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a file of YAML: `key: value`, or `key: {desc: ..., value: ...}` as wandb writes it.

    Raises:
        ConfigError: It is not there, or no mapping.
        MissingExtra: PyYAML is not installed.
    """
    values = {key: value for key, value in content_of(path).items() if key not in ("_wandb", "wandb_version")}
    return {key: item["value"] if isinstance(item, dict) and "value" in item else item for key, item in values.items()}


def content_of(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a file of YAML as it is.

    Raises:
        ConfigError: It is not there, or no mapping.
        MissingExtra: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingExtra(f"{path} is YAML: pip install 'mlvlogger[compat]'", package="yaml", extra="compat") from error
    try:
        content = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"config file {os.fspath(path)!r} cannot be read: {error}") from error
    if not isinstance(content or {}, dict):
        raise ConfigError(f"config file {os.fspath(path)!r} holds no mapping: give `key: value` lines")
    return content or {}


def _as_dict(params: Any) -> dict[str, Any]:
    if isinstance(params, str):
        return from_file(params)
    if isinstance(params, Config):
        return params.as_dict()
    if isinstance(params, Mapping):
        return dict(params)
    if isinstance(params, types.ModuleType) and hasattr(params, "FLAGS"):
        params = params.FLAGS
    flags = sys.modules.get("absl.flags")
    if flags is not None and isinstance(params, flags.FlagValues):
        return {name: params[name].value for name in params}
    if hasattr(params, "__dict__"):
        return dict(vars(params))
    raise TypeError("config must be a dict or have a __dict__ attribute.")
