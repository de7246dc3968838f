"""Objects as mappings, and their items one by one, while another thread may be changing them."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from mlv.encoding.texts import text_only
from mlv.foreign import unresolved
from mlv.interrupts import pass_on

_TRIES = 10  # another thread may change it at each look, for ever
UNSET: Any = object()
"""Stands for the value of a key or field that has none."""


def as_mapping(value: Any) -> Mapping[Any, Any] | None:
    """Return a mapping, named tuple, namespace, dataclass, attrs, pydantic or msgspec object as a mapping; None for others.

    A field without a value is left out.
    """
    kind = type(value)
    if isinstance(value, Mapping):
        return value
    if isinstance(value, type):
        return None
    if isinstance(value, tuple) and hasattr(kind, "_asdict"):
        return dict(kind._asdict(value))
    argparse = sys.modules.get("argparse")  # who has a Namespace has imported it
    if isinstance(value, SimpleNamespace) or (argparse is not None and isinstance(value, argparse.Namespace)):
        return dict(vars(value))
    if dataclasses.is_dataclass(kind):
        return _fields(value, [field.name for field in dataclasses.fields(kind)])
    if hasattr(kind, "__attrs_attrs__"):
        return _fields(value, [field.name for field in kind.__attrs_attrs__])
    if hasattr(kind, "__struct_fields__"):
        return _fields(value, kind.__struct_fields__)
    return _of_pydantic(value)


def _fields(value: Any, names: Iterable[str]) -> dict[str, Any]:
    pairs = ((name, getattr(value, name, UNSET)) for name in names)
    return {name: item for name, item in pairs if item is not UNSET}


def _of_pydantic(value: Any) -> Mapping[Any, Any] | None:
    kind = type(value)
    if hasattr(kind, "__pydantic_validator__") and hasattr(kind, "model_dump"):
        fields = _dumped(value)
    elif hasattr(kind, "__validators__") and hasattr(kind, "dict"):  # pydantic 1
        fields = value.dict()
    else:
        return None
    return fields if isinstance(fields, Mapping) else None


def _dumped(value: Any) -> Any:
    try:
        return value.model_dump(warnings=False)
    except Exception as error:  # a serializer of the user's own
        pass_on(error)
        return dict(vars(value))


def is_filled_mapping(value: Any) -> bool:
    """Return whether a value is a mapping with items, and no reference; one that cannot tell is none."""
    try:
        return isinstance(value, Mapping) and len(value) > 0 and not hasattr(type(value), "__mlv_reference__")
    except Exception as error:
        pass_on(error)
        return False


def at_one_moment(value: Mapping[Any, Any]) -> tuple[Mapping[Any, Any], list[Any]]:
    """Return the mapping, copied where that takes one step, and its keys: another thread may be changing it."""
    kind = type(value)
    if isinstance(value, dict) and kind.__getitem__ is dict.__getitem__ and kind.__iter__ is dict.__iter__:
        value = dict.copy(value)
    for _ in range(_TRIES):
        try:
            return value, list(value)
        except RuntimeError as error:  # it changed while its keys were read
            pass_on(error)
    return value, list(value)


def of_texts(value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield keys, in UTF-8, and their values."""
    for key, item in value.items():
        yield key if key.isascii() else text_only(key), item


def item_of(value: Mapping[Any, Any], key: Any) -> Any:
    """Return the value of a key; `UNSET` where another thread has removed the key since the keys were read."""
    for _ in range(_TRIES):
        try:
            return value[key]
        except KeyError as error:
            pass_on(error)
            if _is_gone(key, value):
                return UNSET
    return value[key]  # a key that comes back each time, or a mapping that lists keys which it does not hold


def _is_gone(key: Any, value: Mapping[Any, Any]) -> bool:
    try:
        return key not in list(value)
    except Exception as error:
        pass_on(error)
        return False


def as_written(value: Any) -> Any:
    """Return a config as it was written, its interpolations unresolved; None for values of other kinds."""
    try:
        return unresolved(value)
    except Exception as error:
        pass_on(error)
        return None
