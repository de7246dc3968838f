"""How objects are saved to files and loaded again: a library's object is recognised by its class, so none is imported."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from mlv.encoding import DEEPEST, type_name
from mlv.errors import CheckpointNotLoaded, InvalidArgument, MissingExtra, MlvError
from mlv.experiment.endings import described
from mlv.store import trees

_LONGEST_MESSAGE = 300


class Saver(NamedTuple):
    """A way to save one object to a file."""

    write: Callable[[Path], object]
    """Writes the object to a new path."""
    suffix: str
    """Suffix of that path."""


def saver_of(obj: Any, suffix: str = "") -> Saver:
    """Decide how an object is saved; nothing is written yet.

    A module of torch becomes a `.pt` of its state dict, and a tree with tensors of torch a `.pt` of the whole tree. Trees of
    arrays become `.npz`, estimators of scikit-learn `.joblib` (`.pkl` without joblib), models of Keras `.keras`. Any other
    callable is called with the path, which has the `suffix`.

    Raises:
        InvalidArgument: Nobody knows how to save it, or the suffix is none.
    """
    library_saver = _library_saver(obj)
    if library_saver is not None:
        if suffix not in ("", library_saver.suffix):
            raise InvalidArgument(
                f"suffix={suffix!r}: a value of type {type_name(obj)} is saved as {library_saver.suffix!r}. To save it "
                f"otherwise, give a function that takes a path, {_CALLABLE}",
                suffix=suffix,
            )
        return library_saver
    if callable(obj) and not isinstance(obj, type):
        return Saver(obj, _checked_suffix(suffix))
    raise InvalidArgument(
        f"nobody knows how to save a value of type {type_name(obj)}: give a function that takes a path, {_CALLABLE}",
        type=type_name(obj),
    )


_CALLABLE = "such as save(lambda path: what.write_to(path), suffix='.bin', step=3)"


def _library_saver(obj: Any) -> Saver | None:
    """Return the saver of a library's object; None for any other object.

    Modules and models are callable, so this is asked before an object is taken for a function that writes.
    """
    # Before torch: a model of Keras whose backend is torch is a module as well.
    if any(_is_a(obj, library, "Model") for library in ("keras", "tf_keras")):
        return Saver(lambda path: obj.save(str(path)), ".keras")
    if _is_a(obj, "torch", "Module"):
        return Saver(lambda path: _library("torch").save(obj.state_dict(), path), ".pt")
    if any(_is_a(leaf, "torch", "Tensor") for leaf in _leaves(obj)):
        return Saver(lambda path: _library("torch").save(obj, path), ".pt")
    if _is_a(obj, "sklearn", "BaseEstimator"):
        return _estimator(obj)
    if isinstance(obj, (Mapping, list, tuple)) or _is_array(obj):
        return Saver(lambda path: _save_tree(path, obj), ".npz")
    return None


def _estimator(estimator: Any) -> Saver:
    with suppress(ImportError):
        dump = import_module("joblib").dump
        return Saver(lambda path: dump(estimator, path), ".joblib")
    return Saver(lambda path: _pickled(path, estimator), ".pkl")


def _pickled(path: Path, obj: Any) -> None:
    import pickle  # seldom needed

    with open(path, "wb") as file:
        pickle.dump(obj, file)


def _save_tree(path: Path, tree: Any) -> None:
    try:
        trees.save_npz(path, tree)
    except TypeError as error:
        raise InvalidArgument(
            f"the tree cannot be saved: {error}. Or give a function that takes a path, {_CALLABLE}"
        ) from error


def _leaves(value: Any, depth: int = 0) -> Iterator[Any]:
    """Yield the leaves of nested mappings, lists and tuples."""
    if depth > DEEPEST:
        return
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        yield value
        return
    for item in value:
        yield from _leaves(item, depth + 1)


def _is_array(value: Any) -> bool:
    return any(_is_a(value, *kind) for kind in (("numpy", "ndarray"), ("numpy", "generic"), ("jax", "Array")))


def _is_a(value: Any, library: str, name: str) -> bool:
    """Return whether a value is of a class of that name in that library, or of one derived from it."""
    return any(kind.__name__ == name and kind.__module__.partition(".")[0] == library for kind in type(value).__mro__)


def _checked_suffix(suffix: Any) -> str:
    is_one = isinstance(suffix, str) and len(suffix) <= 30 and suffix.isprintable() and not {"/", "\\"} & {*suffix}
    if not is_one or (suffix and (not suffix.startswith(".") or suffix.endswith("."))):
        raise InvalidArgument(f"suffix={suffix!r:.100} is none: give a dot and letters, such as '.pt'", suffix=suffix)
    return str(suffix)


def load(path: Path, trust: bool) -> Any:
    """Read a file back; nothing in it can run code, unless it is trusted.

    Raises:
        CheckpointNotLoaded: It would have to be trusted, nobody knows how to read it, or it is damaged.
        MissingExtra: The library that reads it is not installed.
    """
    loader = next((row for suffix, row in LOADERS.items() if path.name.lower().endswith(suffix)), None)
    if loader is None or path.is_dir():
        kind = "a folder" if path.is_dir() else f"a {path.suffix!r}" if path.suffix else "a file without a suffix"
        raise CheckpointNotLoaded(f"{path} is {kind}: read it yourself, from .path", path=str(path))
    if loader.needs_trust and not trust:
        raise CheckpointNotLoaded(
            f"{path} is a pickle, which can run any code when it is loaded: load(trust=True) does so if you trust it",
            path=str(path),
        )
    try:
        return loader.read(path, trust)
    except MlvError:
        raise
    except Exception as error:  # libraries raise anything for an unreadable file
        hint = ". It may hold more than arrays: load(trust=True) reads it if you trust it" if loader.may_need_trust else ""
        raise CheckpointNotLoaded(f"{path} cannot be loaded: {error_summary(error)}{hint}", path=str(path)) from error


class _Loader(NamedTuple):
    read: Callable[[Path, bool], Any]
    needs_trust: bool = False
    may_need_trust: bool = False


def _read_torch(path: Path, trust: bool) -> Any:
    try:
        return _library("torch").load(path, map_location="cpu", weights_only=not trust)
    except Exception as error:
        match = re.search(r"GLOBAL (\S+)", str(error))
        if match is None:
            raise
        raise CheckpointNotLoaded(
            f"{path} holds more than tensors and plain values, {match[1]}: load(trust=True) unpickles it if you trust it. With "
            f"numbers of Python and tensors in place of numpy's, nobody has to",
            path=str(path),
        ) from error


def _read_keras(path: Path, trust: bool) -> Any:
    return _library("keras").saving.load_model(str(path), safe_mode=not trust)


def _load_tree(path: Path) -> Any:
    return trees.load_npz(path)


def _unpickled(path: Path) -> Any:
    import pickle

    with open(path, "rb") as file:
        return pickle.load(file)  # noqa: S301 - the caller trusts it


LOADERS = {
    ".pt": _Loader(_read_torch, may_need_trust=True),
    ".pth": _Loader(_read_torch, may_need_trust=True),
    ".npz": _Loader(lambda path, trust: _load_tree(path)),
    ".npy": _Loader(lambda path, trust: _library("numpy").load(path, allow_pickle=False)),
    ".keras": _Loader(_read_keras, may_need_trust=True),
    ".joblib": _Loader(lambda path, trust: _library("joblib").load(path), needs_trust=True),
    ".pkl": _Loader(lambda path, trust: _unpickled(path), needs_trust=True),
    ".pickle": _Loader(lambda path, trust: _unpickled(path), needs_trust=True),
}


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise MissingExtra(f"this file is read and written with {name}: pip install {name}", package=name) from None


def error_summary(error: Exception) -> str:
    """Return the type and the beginning of the message of a library's exception, on one line."""
    description = described(error)
    return f"{description['type']}: {' '.join(description['message'].split())[:_LONGEST_MESSAGE]}".rstrip(": .")
