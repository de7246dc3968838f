"""Trees of arrays (nested mappings, lists and tuples) in a `.npz` file, and back; nothing in it is ever unpickled."""

from __future__ import annotations

import sys
from collections import namedtuple
from collections.abc import Iterable, Mapping
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Any

import orjson

from mlv import encoding
from mlv.encoding import DEEPEST, TAG, Conversion, type_name
from mlv.errors import MissingExtra

STRUCTURE = "_mlv_tree"
"""Member of the `.npz` that holds the structure: its JSON as an array of bytes, which every reader of the format can read."""

_OF_AN_EXTENSION = 2  # what `dtype.isbuiltin` is for types that others registered, such as bfloat16
_SCALARS = (bool, int, float, str, bytes)
_KEYS = (str, int, float, bool, bytes, type(None))


def save_npz(path: Path, tree: Any) -> None:
    """Write a new `.npz`: an array for each leaf that is one, named by its path, and the structure around them.

    The tree that comes back is equal, with these exceptions: arrays of torch and JAX are then numpy's; numbers numpy does not
    have (bfloat16, the 8-bit floats, the 4-bit integers) are float32 or int8, with the same values; a mapping is a dict; a
    named tuple is one of a new class of the same name.

    Raises:
        TypeError: A leaf is neither an array nor a JSON scalar; the text names its place and type.
        OSError: The file is there, or cannot be written.
    """
    write_npz(path, *flatten(tree))


def write_npz(path: Path, arrays: Mapping[str, Any], structure: Any) -> None:
    """Write a new `.npz` of the arrays and the structure from `flatten`."""
    import zipfile

    numpy = _numpy()
    members = {**arrays, STRUCTURE: numpy.frombuffer(orjson.dumps(structure), numpy.uint8)}
    with zipfile.ZipFile(path, "x") as file:
        for name, array in members.items():
            with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                numpy.lib.format.write_array(member, array, allow_pickle=False)


def load_npz(path: Path) -> Any:
    """Read a tree back; of a `.npz` made by others, a dict of its arrays.

    Raises:
        ValueError: It is no such file, is damaged, or holds objects that would have to be unpickled.
        OSError: It cannot be read.
    """
    import zipfile

    read_array = _numpy().lib.format.read_array
    arrays = {}
    try:
        with zipfile.ZipFile(path) as file:
            for name in file.namelist():
                with file.open(name) as member:
                    arrays[name.removesuffix(".npy")] = read_array(member, allow_pickle=False)
        structure = arrays.pop(STRUCTURE, None)
        return arrays if structure is None else unflatten(arrays, orjson.loads(structure.tobytes()))
    except (zipfile.BadZipFile, KeyError, TypeError, EOFError) as error:
        raise ValueError(f"{path} is no whole .npz of a tree: {error}") from error


def flatten(tree: Any) -> tuple[dict[str, Any], Any]:
    """Split a tree into its arrays as numpy's, by names made of their path (`dense/kernel`), and a JSON form of the others.

    Raises:
        TypeError: As `save_npz`.
    """
    walk = _Flattening()
    structure = walk.structure(tree, (), 0)
    return walk.arrays, structure


def unflatten(arrays: Mapping[str, Any], structure: Any) -> Any:
    """Build the tree of these arrays and this structure.

    Raises:
        KeyError, TypeError, ValueError: They do not belong together.
    """
    if isinstance(structure, list):
        return [unflatten(arrays, item) for item in structure]
    if not isinstance(structure, dict):
        return structure
    tag = structure.get(TAG)
    if tag is None:
        return {key: unflatten(arrays, item) for key, item in structure.items()}
    if tag == "array":
        return arrays[structure["name"]]
    if tag == "scalar":
        return arrays[structure["name"]][()]
    if tag == "tuple":
        return tuple(unflatten(arrays, structure["items"]))
    if tag == "mapping":
        return {unflatten(arrays, key): unflatten(arrays, item) for key, item in structure["items"]}
    if tag == "namedtuple":
        return _class_of(structure["type"], tuple(structure["fields"]))(*unflatten(arrays, structure["items"]))
    return float(structure["value"]) if tag == "float" else encoding.restored(structure, {})


class _Flattening:
    """A walk over a tree that collects its arrays."""

    def __init__(self) -> None:
        self.arrays: dict[str, Any] = {}

    def structure(self, value: Any, path: tuple[str, ...], depth: int) -> Any:
        """Return the JSON form of the value at a path; its arrays are collected in `arrays`."""
        if depth > DEEPEST:
            raise TypeError(f"{_path_text(path)} contains itself, or is nested deeper than {DEEPEST} levels")
        if value is None or type(value) in _SCALARS:
            return _scalar(value)
        if isinstance(value, Mapping):
            return self._mapping(value, path, depth)
        if type(value) is list:
            return self._items(value, path, depth)
        if type(value) is tuple:
            return {TAG: "tuple", "items": self._items(value, path, depth)}
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            fields = list(value._fields)
            items = [self.structure(item, (*path, name), depth + 1) for name, item in zip(fields, value, strict=True)]
            return {TAG: "namedtuple", "type": type(value).__name__, "fields": fields, "items": items}
        return self._array(value, path)

    def _mapping(self, value: Mapping[Any, Any], path: tuple[str, ...], depth: int) -> Any:
        wrong = next((key for key in value if type(key) not in _KEYS), None)
        if wrong is not None:
            raise TypeError(f"{_path_text(path)} has a key of type {type(wrong).__name__}: give text or numbers as keys")
        pairs = [(key, self.structure(item, (*path, str(key)), depth + 1)) for key, item in value.items()]
        if all(type(key) is str and type(_scalar(key)) is str and not key.startswith(TAG) for key, _ in pairs):
            return dict(pairs)
        return {TAG: "mapping", "items": [[_scalar(key), item] for key, item in pairs]}

    def _items(self, value: Iterable[Any], path: tuple[str, ...], depth: int) -> list[Any]:
        return [self.structure(item, (*path, str(number)), depth + 1) for number, item in enumerate(value)]

    def _array(self, value: Any, path: tuple[str, ...]) -> Any:
        try:
            array = _as_numpy(value)
        except (TypeError, ValueError, RuntimeError) as error:  # sparse, on no device, a key of a random generator ...
            raise TypeError(
                f"{_path_text(path)}, of type {type_name(value)}, cannot become an array of numpy: {error}"
            ) from error
        if array is None or array.dtype.hasobject:
            kind = type_name(value) if array is None else "array of Python objects"
            raise TypeError(f"{_path_text(path)} is of type {kind}: neither an array nor text, a number, True, False or None")
        name = self._name(path)
        self.arrays[name] = stored = _storable(array)
        before = str(value.dtype).removeprefix("torch.")
        lost = {"dtype": before} if before != str(stored.dtype) else {}
        return {TAG: "scalar" if isinstance(value, _numpy().generic) else "array", "name": name, **lost}

    def _name(self, path: tuple[str, ...]) -> str:
        """Return a free name made of the path that every reader of zip archives accepts."""
        name = "/".join(path) or "value"
        is_plain = all(segment not in ("", ".", "..") for segment in name.split("/")) and name.isprintable()
        is_plain = is_plain and not {"\\", ":"} & {*name} and not name.endswith(".npy") and len(name) < 1000
        if is_plain and name not in self.arrays and name != STRUCTURE:
            return name
        number = len(self.arrays)
        while (name := f"array_{number}") in self.arrays:
            number += 1
        return name


def _scalar(value: Any) -> Any:
    if type(value) is float and not isfinite(value):
        return {TAG: "float", "value": str(value)}
    return Conversion().value(value)


def _as_numpy(value: Any) -> Any:
    """Convert an array, or a scalar of numpy, to an array of numpy; None for anything else."""
    numpy, torch, jax = (sys.modules.get(name) for name in ("numpy", "torch", "jax"))
    if numpy is not None and type(value) in (numpy.ndarray, numpy.memmap):
        return value
    if numpy is not None and isinstance(value, numpy.generic):
        return numpy.asarray(value)
    if torch is not None and isinstance(value, getattr(torch, "Tensor", ())):
        return _of_torch(value)
    if jax is not None and isinstance(value, getattr(jax, "Array", ())):
        return _numpy().asarray(value)
    return None


def _of_torch(tensor: Any) -> Any:
    """Convert a tensor to an array; bfloat16 and the 8-bit floats, which numpy lacks, become float32."""
    name = str(tensor.dtype)
    return (tensor.float() if "bfloat16" in name or "float8" in name else tensor).numpy(force=True)


def _storable(array: Any) -> Any:
    """Convert an array to a type of numpy's own: `.npy` stores those of extensions as bytes without a meaning."""
    if array.dtype.isbuiltin != _OF_AN_EXTENSION:
        return array
    return array.astype("float32" if "float" in array.dtype.name else "int8")


@lru_cache(maxsize=100)
def _class_of(name: str, fields: tuple[str, ...]) -> Any:
    return namedtuple(name, fields)


def _path_text(path: tuple[str, ...]) -> str:
    return "/".join(path) or "the value"


def _numpy() -> Any:
    try:
        import numpy

        return numpy
    except ImportError:
        raise MissingExtra("trees of arrays are read and written with numpy: pip install numpy", package="numpy") from None
