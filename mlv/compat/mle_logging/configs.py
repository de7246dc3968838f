"""Configuration files: read, and copied beside the log."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from mlv import MissingExtra
from mlv.compat.mle_logging.dotmap import DotMap
from mlv.compat.mle_logging.storage import write_whole
from mlv.compat.room import room_in

_FLOAT = re.compile(
    r"""^(?:[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?
    |[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+
    |[-+]?\.(?:inf|Inf|INF)
    |\.(?:nan|NaN|NAN))$""",
    re.VERBOSE,
)
_NOT_JSON = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|#[^\n]*|/\*.*?\*/|,(?=\s*[\]}])', re.DOTALL)


def load_config(config_fname: str, return_dotmap: bool = False) -> Any:
    """Return the content of a configuration in YAML, where 3e-04 is a number, or JSON, where // and # begin comments.

    Raises:
        ValueError: It is of another kind, or cannot be read.
        MissingExtra: It is YAML, and PyYAML is not installed.
    """
    suffix = os.path.splitext(config_fname)[1]
    if suffix not in (".yaml", ".yml", ".json"):
        raise ValueError("Only YAML & JSON configuration can be loaded.")
    with open(config_fname, encoding="utf-8") as file:
        text = file.read()
    config = _from_json(text, config_fname) if suffix == ".json" else _from_yaml(text, config_fname)
    return DotMap(config) if return_dotmap else config


def _from_json(text: str, path: str) -> Any:
    # Twice: a comma may stand before a comment before a bracket.
    bare = _NOT_JSON.sub(_strings_only, _NOT_JSON.sub(_strings_only, text))
    try:
        return json.loads(bare)
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from None


def _strings_only(match: re.Match[str]) -> str:
    return match[1] or ""


def _from_yaml(text: str, path: str) -> Any:
    yaml = _yaml()

    class Loader(yaml.SafeLoader):  # type: ignore[misc,name-defined]
        """A loader of its own, so that other users of yaml keep their rules."""

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
    try:
        return yaml.load(text, Loader=Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML: {error}") from None


def copy_config(source: str, path: str) -> None:
    """Copy a configuration file, whole; onto itself it stays as it is."""
    if not (os.path.exists(path) and os.path.samefile(source, path)):
        write_whole(path, partial(_copy, source), room_in(Path(path).parent))


def _copy(source: str, path: str) -> None:
    shutil.copyfile(source, path)


def write_config(config: Mapping[str, Any], path: str) -> None:
    """Write a configuration as YAML.

    Raises:
        MissingExtra: PyYAML is not installed.
    """
    text = _yaml().dump(config, default_flow_style=False)

    def write(private: str) -> None:
        with open(private, "w", encoding="utf-8") as file:
            file.write(text)

    write_whole(path, write, room_in(Path(path).parent))


def json_form(value: Any) -> Any:
    """Return a configuration in a form for params; a value without a JSON form becomes its text."""
    if isinstance(value, Mapping):
        return {str(key): json_form(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [json_form(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _yaml() -> Any:
    try:
        import yaml
    except ImportError as error:
        text = "mlv.compat.mle_logging keeps configurations as YAML and needs PyYAML: pip install 'mlvlogger[compat]'"
        raise MissingExtra(text, package="PyYAML", extra="compat") from error
    return yaml
