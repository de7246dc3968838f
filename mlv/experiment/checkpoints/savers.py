"""What becomes a file how, and back: objects of libraries, known by their classes, so that none has to be imported."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from mlv.encoding import DEEPEST
from mlv.errors import CheckpointNotLoaded, InvalidArgument, MissingExtra, MlvError
from mlv.experiment.endings import described

_LONGEST_MESSAGE = 300


class Saver(NamedTuple):
    """How one object becomes a file."""

    write: Callable[[Path], object]
    """Writes it to a path, which is new."""
    suffix: str
    """Of that path."""


def saver_of(what: Any, suffix: str = "") -> Saver:
    """Decide how an object is saved; nothing is written yet.

    A module of torch becomes a `.pt` of its state dict, and so do tensors of torch with what is around them; trees of arrays
    become `.npz`, estimators of scikit-learn `.joblib` (`.pkl` without joblib), models of Keras `.keras`. Any other callable
    is called with the path, which has the `suffix`.

    Raises:
        InvalidArgument: Nobody knows how to save it, or the suffix is none.
    """
    known = _known(what)
    if known is not None:
        if suffix not in ("", known.suffix):
            raise InvalidArgument(
                f"suffix={suffix!r}: a {_type_name(what)} is saved as {known.suffix!r}. To save it otherwise, give a function "
                f"that takes a path, {_CALLABLE}",
                suffix=suffix,
            )
        return known
    if callable(what) and not isinstance(what, type):
        return Saver(what, _checked_suffix(suffix))
    raise InvalidArgument(
        f"nobody knows how to save a {_type_name(what)}: give a function that takes a path, {_CALLABLE}", type=_type_name(what)
    )


_CALLABLE = "such as save(lambda path: what.write_to(path), suffix='.bin', step=3)"


def _known(what: Any) -> Saver | None:
    """The saver of a library's object; None if it is of none. Modules and models are callable: they are looked at first."""
    if _is_a(what, "torch", "Module"):
        return Saver(lambda path: _library("torch").save(what.state_dict(), path), ".pt")
    if any(_is_a(leaf, "torch", "Tensor") for leaf in _leaves(what)):
        return Saver(lambda path: _library("torch").save(what, path), ".pt")
    if any(_is_a(what, library, "Model") for library in ("keras", "tf_keras")):
        return Saver(lambda path: what.save(str(path)), ".keras")
    if _is_a(what, "sklearn", "BaseEstimator"):
        return _estimator(what)
    if isinstance(what, (Mapping, list, tuple)) or _is_array(what):
        return Saver(lambda path: _save_tree(path, what), ".npz")
    return None


def _estimator(what: Any) -> Saver:
    with suppress(ImportError):
        dump = import_module("joblib").dump
        return Saver(lambda path: dump(what, path), ".joblib")
    return Saver(lambda path: _pickled(path, what), ".pkl")


def _pickled(path: Path, what: Any) -> None:
    import pickle  # seldom needed

    with open(path, "wb") as file:
        pickle.dump(what, file)


def _save_tree(path: Path, tree: Any) -> None:
    from mlv.store import trees  # as above

    try:
        trees.save_npz(path, tree)
    except TypeError as error:
        raise InvalidArgument(
            f"the tree cannot be saved: {error}. Or give a function that takes a path, {_CALLABLE}"
        ) from error


def _leaves(value: Any, depth: int = 0) -> Iterator[Any]:
    """What is in nested mappings, lists and tuples."""
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
    """Whether a value is of a class of that name in that library, or of one derived from it."""
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
    found = next((row for suffix, row in _LOADERS.items() if path.name.lower().endswith(suffix)), None)
    if found is None or path.is_dir():
        kind = "a folder" if path.is_dir() else f"a {path.suffix!r}" if path.suffix else "a file without a suffix"
        raise CheckpointNotLoaded(f"{path} is {kind}: read it yourself, from .path", path=str(path))
    if found.needs_trust and not trust:
        raise CheckpointNotLoaded(
            f"{path} is a pickle, which can run any code when it is loaded: load(trust=True) does so if you trust it",
            path=str(path),
        )
    try:
        return found.read(path, trust)
    except MlvError:
        raise
    except Exception as error:  # whatever a library says of a file that it does not like
        hint = ". It may hold more than arrays: load(trust=True) reads it if you trust it" if found.may_need_trust else ""
        raise CheckpointNotLoaded(f"{path} cannot be loaded: {summary(error)}{hint}", path=str(path)) from error


class _Loader(NamedTuple):
    read: Callable[[Path, bool], Any]
    needs_trust: bool = False
    may_need_trust: bool = False


def _read_torch(path: Path, trust: bool) -> Any:
    try:
        return _library("torch").load(path, map_location="cpu", weights_only=not trust)
    except Exception as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        if found is None:
            raise
        raise CheckpointNotLoaded(
            f"{path} holds more than tensors and plain values, {found[1]}: load(trust=True) unpickles it if you trust it. With "
            f"numbers of Python and tensors in place of numpy's, nobody has to",
            path=str(path),
        ) from error


def _read_keras(path: Path, trust: bool) -> Any:
    return _library("keras").saving.load_model(str(path), safe_mode=not trust)


def _load_tree(path: Path) -> Any:
    from mlv.store import trees  # `import mlv` does without

    return trees.load_npz(path)


def _unpickled(path: Path) -> Any:
    import pickle

    with open(path, "rb") as file:
        return pickle.load(file)  # noqa: S301 - trusted, said by whoever loads it


_LOADERS = {
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


def summary(error: Exception) -> str:
    """Type and beginning of the message of an exception of a library, on one line."""
    told = described(error)
    return f"{told['type']}: {' '.join(told['message'].split())[:_LONGEST_MESSAGE]}".rstrip(": .")


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
