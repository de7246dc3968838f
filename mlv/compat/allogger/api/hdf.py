"""Reading `.h5` files: those of the drop-in, and those that ALLogger left."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import mlv

T = TypeVar("T")

_GROUPS = {"Scalars": "scalar", "Histograms": "histogram", "Images": "image", "Arrays": "array"}


def list_keys(path: str | os.PathLike[str]) -> None:
    """Print the keys of a file, or of all files in an `events` folder, by type.

    Raises:
        FileNotFoundError: There is no such file, or none in the folder.
        FileUnusable: A file is damaged.
    """
    keys = sorted({key for file in _files(path) for key in _read(file, _keys)})
    for title, group in _GROUPS.items():
        print(f"{title}:")
        print("\t" + "\n\t".join(key for key in keys if key.startswith(f"{group}/")))


def read_from_key(path: str | os.PathLike[str], key: str) -> Any:
    """Return the rows of one key, over a file or all files in an `events` folder in order of name, as one structured array.

    Raises:
        KeyError: No file has it.
        FileNotFoundError: There is no such file, or none in the folder.
        FileUnusable: A file is damaged.
    """
    import numpy

    files, tables = _files(path), []
    for file in files:
        rows = _read(file, lambda opened: opened[key][()] if key in opened and hasattr(opened[key], "dtype") else None)
        if rows is not None:
            print(f"Extracting {key} from {file}, {len(rows)} rows")
            tables.append(rows)
    if not tables:
        raise KeyError(f"no key {key!r} in {', '.join(map(str, files))}: list_keys({str(path)!r}) prints those that there are")
    return numpy.concatenate(tables)


def _files(path: str | os.PathLike[str]) -> list[Path]:
    source = Path(path)
    paths = sorted(source.glob("[!.]*.h5")) if source.is_dir() else [source]
    if not paths or not paths[0].exists():
        text = f"there is no .h5 file in {source}" if source.is_dir() else f"{source} does not exist"
        raise FileNotFoundError(f"{text}: give the `events` folder of a logdir, or a file in it")
    return paths


def _keys(file: Any) -> list[str]:
    keys: list[str] = []
    file.visititems(lambda name, item: keys.append(name) if hasattr(item, "dtype") else None)
    return keys


def _read(path: Path, action: Callable[[Any], T]) -> T:
    try:
        import h5py
    except ImportError as error:
        text = "reading .h5 files needs h5py: pip install 'mlvlogger[hdf5]'"
        raise mlv.MissingExtra(text, package="h5py", extra="hdf5") from error
    try:
        with h5py.File(path, "r") as file:
            return action(file)
    except (OSError, RuntimeError) as error:
        raise mlv.FileUnusable(f"{path} cannot be read, as it is damaged or being written: {error}", path=str(path)) from error
