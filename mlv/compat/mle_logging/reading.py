"""Log files as mappings: of this module and of the original package, of one seed, of several, and of configurations."""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping
from typing import Any

from mlv import FileUnusable
from mlv.compat.mle_logging.columns import key_of
from mlv.compat.mle_logging.hdf import import_h5py, opened

GROUPS = ("meta", "stats", "time")
Run = dict[str, dict[str, Any]]
"""`meta`, `stats` and `time` of one seed: arrays by their names."""


def read_runs(path: str) -> dict[str, Any]:
    """Return the runs in a file by their IDs; where the file is of several configurations, those of each.

    Raises:
        FileUnusable: It is damaged, or no HDF5 file.
        OSError: It cannot be opened.
    """
    h5py = import_h5py()
    try:
        with opened(path, "r") as file:
            return {name: _read(group) for name, group in file.items() if isinstance(group, h5py.Group)}
    except FileNotFoundError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        text = f"{path} cannot be read as a log file: {error}. It stays; .mlv-experiments beside logs/ has what it held"
        raise FileUnusable(text, path=path) from error


def is_run(content: Mapping[str, Any]) -> bool:
    """Return whether the content is of one seed, and not of several."""
    return bool(content) and set(content) <= set(GROUPS)


def _read(group: Any) -> dict[str, Any]:
    if is_run(group):
        return {group_name: _columns(group[group_name]) if group_name in group else {} for group_name in GROUPS}
    return {name: _read(inner) for name, inner in group.items() if hasattr(inner, "items")}


def _columns(group: Any) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for name, item in group.items():
        if hasattr(item, "items"):  # a name with a slash, as the original package wrote it
            columns.update({f"{name}/{inner_name}": values for inner_name, values in _columns(item).items()})
        else:
            columns[key_of(item, name)] = item[:] if item.shape else item[()]
    return columns


def log_files(experiment_dir: str) -> list[str]:
    """Return the log files of a folder, those of single seeds last.

    Raises:
        FileNotFoundError: There is no folder `logs`, or nothing in it.
    """
    folder = os.path.join(experiment_dir, "logs")
    names = [name for name in os.listdir(folder) if name.endswith(".hdf5") and not name.startswith(".")]
    if not names:
        raise FileNotFoundError(f"there is no .hdf5 file in {folder}: nothing was logged there, or it was merged elsewhere")
    return [os.path.join(folder, name) for name in sorted(names, key=lambda name: (name.startswith("log_"), name))]


def decoded_meta(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return meta in a handy form: a single value instead of a list of one, text, and the configuration as a mapping."""
    return {key: _decoded(key, values) for key, values in meta.items()}


def _decoded(key: str, values: Any) -> Any:
    items = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(items, list):
        return _as_text(items)
    if key.endswith("_storage_time"):
        items = [int(value) if isinstance(value, float) and value.is_integer() else value for value in items]
    texts = [text for text in map(_as_text, items) if text != ""]
    if len(texts) != 1:
        return texts
    return _config(texts[0]) if key == "config_dict" else texts[0]


def _as_text(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_text(item) for item in value]
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def _config(text: Any) -> Any:
    """Return the configuration; as text where it is no literal, or was cut."""
    try:
        return ast.literal_eval(str(text))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
