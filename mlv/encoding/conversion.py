"""Values to their JSON forms.

`schemas/values.md` has the table of types: the JSON form of each, and the value that `decoding.restored` gives back.
"""

from __future__ import annotations

import base64
import math
import os
from collections import UserString
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, Sequence, Set, ValuesView
from datetime import date, datetime, time, timedelta
from enum import Enum
from typing import Any

import orjson

from mlv.encoding.composing import dumps
from mlv.encoding.decoding import restored
from mlv.encoding.forms import DEEPEST, LARGEST, SMALLEST, TAG, as_reference, digits, escaped, pointer_to
from mlv.encoding.mappings import UNSET, as_mapping, as_written, at_one_moment, is_filled_mapping, item_of, of_texts
from mlv.encoding.texts import (
    EXACT_TEXTS,
    exact,
    fraction_text,
    in_order,
    is_naive,
    key_text,
    moment_text,
    path_text,
    readable_key,
    shown,
    text_form,
    type_name,
)
from mlv.foreign import is_of_standard_library, own_text, plain_forms, single, stable_text
from mlv.interrupts import pass_on, read_or_itself, without_warnings

PLAIN = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
"""Options by which orjson writes exact built-in types, UUIDs and enums on its own; all else goes through `Conversion`."""
_LONGEST_RANGE = 100_000  # `range(10**12)` is a text, as its numbers have no room anywhere
_ONLY_TEXT = frozenset({str})


class Conversion:
    """One walk over a value: gives its JSON form, and records values that JSON cannot hold.

    The walk never raises, whatever the methods of a value do. A value without a form becomes a tagged text of its type and
    `repr`, and a row in `problems`. In settings, it becomes a plain text that is the same in every run, and a moment without
    a zone stays without one: equal settings have equal forms on every host.
    """

    def __init__(self, *, of_settings: bool = False) -> None:
        self._of_settings = of_settings
        self.nonfinite: dict[str, str] = {}
        """JSON pointer of each NaN or infinity, written as null: `nan`, `inf` or `-inf`."""
        self.problems: list[tuple[str, str]] = []
        """Path (`optimizer.fn`, `layers[2]`) and reason of each value that has no form."""
        self.pending = False
        """Whether a file that is referred to has yet to be hashed."""
        self.unusable: dict[str, Any] = {}
        """Metrics that cannot be stored as such, as far as they have a form."""
        self._around: set[int] = set()

    def value(self, value: Any, path: str = "", pointer: str = "", depth: int = 0) -> Any:
        """Return the JSON form of any value."""
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            return text_form(value)
        if kind is int:
            return _integer(value)
        if kind is float:
            return self._number(value, pointer)
        if depth >= DEEPEST or id(value) in self._around:
            return self._problem(value, path, f"contains itself, or is nested deeper than {DEEPEST} levels")
        self._around.add(id(value))
        try:
            # Lists, and dicts whose keys are texts, run no code of their own: most events are made of them.
            if kind is list or kind is tuple:
                return self._list(value, path, pointer, depth)
            if kind is dict and _ONLY_TEXT.issuperset(map(type, copied := value.copy())):
                return self._mapping(of_texts(copied), path, pointer, depth)
            return without_warnings(lambda: self._form(value, path, pointer, depth))
        except Exception as error:  # a value's own methods may raise anything; training goes on
            pass_on(error)
            return self._unreadable(value, path, pointer, depth, f"raised {shown(error)} when it was read")
        finally:
            self._around.discard(id(value))

    def _unreadable(self, value: Any, path: str, pointer: str, depth: int, reason: str) -> Any:
        raw = as_written(value) if self._of_settings else None
        if raw is None:
            return self._problem(value, path, reason)
        self.problems.append((path, reason))
        return self.value(raw, path, pointer, depth + 1)

    def _form(self, value: Any, path: str, pointer: str, depth: int) -> Any:
        if isinstance(value, Enum):  # before int and str: members of mixed-in enums are both
            return self.value(value.value, path, pointer, depth + 1)
        if isinstance(value, str):
            return text_form(str.__str__(value))
        if isinstance(value, int):
            return _integer(int.__int__(value))
        if isinstance(value, float):
            return self._number(float.__float__(value), pointer)
        if isinstance(value, (list, tuple)) and not hasattr(value, "_asdict"):
            return self._list(value, path, pointer, depth)
        reference = as_reference(value)
        if reference is not None:
            self.pending = self.pending or reference.is_pending
            return reference
        mapping = as_mapping(value)
        if mapping is not None:
            return self._mapping(self._items(mapping, f"{path}." if path else ""), path, pointer, depth)
        return self._standard_form(value, path, pointer, depth)

    def metrics(self, data: Mapping[Any, Any], is_wanted: Callable[[str], bool] = lambda name: True) -> dict[str, Any]:
        """Return the flat JSON form of metrics: nested mappings join with `/`, a container of one number becomes that number.

        Names that are not wanted are left out, and their values not looked at. A metric that cannot be stored goes into
        `unusable`, the others are not touched by it.
        """
        flat: dict[str, Any] = {}
        for name, value in self._flattened(data, "", 0):
            if not is_wanted(name):
                continue
            key, problems_before = escaped(name), len(self.problems)
            if key in flat:
                self.problems.append((name, "is a metric's name twice, once its keys are text"))
            elif not name:
                self.problems.append(("a metric", 'has the empty name "": give it a name'))
            form = self.value(read_or_itself(single, value), name, pointer_to("", key))
            if len(self.problems) == problems_before:
                flat[key] = form
            else:
                self.unusable[key] = form
        return flat

    def nonfinite_by_use(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return the non-finite numbers among the metrics that can be stored, and those among the unusable ones."""
        if not self.unusable:
            return self.nonfinite, {}
        unusable = {pointer_to("", key) for key in self.unusable}
        bad = {pointer: text for pointer, text in self.nonfinite.items() if "/".join(pointer.split("/", 2)[:2]) in unusable}
        return {pointer: text for pointer, text in self.nonfinite.items() if pointer not in bad}, bad

    def _flattened(self, data: Mapping[Any, Any], prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
        self._around.add(id(data))
        for key, value in self._items(data, prefix):
            if is_filled_mapping(value) and id(value) not in self._around and depth < DEEPEST:
                yield from self._flattened(value, f"{prefix}{key}/", depth + 1)
            else:
                yield prefix + key, value
        self._around.discard(id(data))

    def _mapping(self, items: Iterable[tuple[str, Any]], path: str, pointer: str, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        base = f"{path}." if path else ""
        for key, item in items:
            text = escaped(key)
            if text in result:
                self.problems.append((base + key, "stands for two keys that are equal as text"))
                continue
            result[text] = self.value(item, base + key, pointer_to(pointer, text), depth + 1)
        return result

    def _items(self, value: Mapping[Any, Any], base: str) -> Iterator[tuple[str, Any]]:
        """Yield keys as text, and their values; an item that cannot be read is recorded, and the others go on."""
        try:
            value, keys = at_one_moment(value)
        except Exception as error:
            pass_on(error)
            self.problems.append((base.rstrip("./"), f"raised {shown(error)} when its keys were read"))
            return
        for key in keys:
            try:
                item = item_of(value, key)
                if item is not UNSET:
                    pair = self._key(key), item
            except Exception as error:
                pass_on(error)
                self.problems.append((base + readable_key(key), f"raised {shown(error)} when it was read"))
                raw = as_written(value) if self._of_settings else None
                if isinstance(raw, dict) and key in raw:
                    yield readable_key(key), raw[key]
                continue
            if item is not UNSET:
                yield pair

    def _key(self, key: Any) -> str:
        return key.isoformat() if self._of_settings and isinstance(key, datetime) and is_naive(key) else key_text(key)

    def _list(self, value: Iterable[Any], path: str, pointer: str, depth: int) -> list[Any]:
        items = list(value)  # a copy: another thread may be adding to it
        return [self.value(item, f"{path}[{i}]", f"{pointer}/{i}", depth + 1) for i, item in enumerate(items)]

    def _standard_form(self, value: Any, path: str, pointer: str, depth: int) -> Any:
        if isinstance(value, datetime):
            return exact(value).isoformat() if self._of_settings and is_naive(value) else moment_text(value)
        if isinstance(value, timedelta):
            return self._number(value.total_seconds(), pointer)
        if isinstance(value, time) and value.tzinfo is not None and value.utcoffset() is None:
            return f"{value.isoformat()}[{value.tzinfo}]"  # the zone alone does not say how far from UTC it is
        if isinstance(value, (date, time)):
            return value.isoformat()
        if is_of_standard_library(value, ("fractions.Fraction",)):
            return fraction_text(value)
        if isinstance(value, UserString) or is_of_standard_library(value, EXACT_TEXTS):
            return text_form(str(value))
        if isinstance(value, os.PathLike):
            return text_form(path_text(value))
        if isinstance(value, (bytes, bytearray, memoryview)):
            return {TAG: "bytes", "base64": base64.b64encode(bytes(value)).decode("ascii")}
        if isinstance(value, (KeysView, ItemsView, ValuesView)):
            return self._list(value, path, pointer, depth)
        if isinstance(value, Set):
            return self._list(in_order(value), path, pointer, depth)
        if isinstance(value, range) and len(value) > _LONGEST_RANGE:
            return str(value)
        if isinstance(value, Sequence):
            return self._list(value, path, pointer, depth)
        return self._foreign(value, path, pointer, depth)

    def _foreign(self, value: Any, path: str, pointer: str, depth: int) -> Any:
        """Return the form of a library's object, known by its methods, so that no library has to be imported."""
        reason = f"is of type {type_name(value)}, which has no JSON form"
        text = own_text(value)
        if text is not None:
            return self._problem(value, path, reason) if self._of_settings else text_form(text)
        for plain in plain_forms(value):
            if type(plain) is not type(value):
                return self.value(plain, path, pointer, depth + 1)
        return self._problem(value, path, reason)

    def _number(self, value: float, pointer: str) -> float | None:
        if math.isfinite(value):
            return value
        self.nonfinite[pointer] = "nan" if value != value else "inf" if value > 0 else "-inf"
        return None

    def _problem(self, value: Any, path: str, reason: str) -> Any:
        self.problems.append((path, reason))
        if self._of_settings:
            return text_form(stable_text(value))
        return {TAG: "unstorable", "type": type_name(value), "repr": shown(value)}


def json_of_any(value: Any) -> str:
    """Return the JSON of any value, in the form of a line of the log; a number that JSON lacks is null."""
    return dumps(Conversion().value(value)).decode()


def canonical(value: Any, nonfinite: Mapping[str, str]) -> bytes:
    """Return canonical JSON: UTF-8, sorted keys, no spaces, shortest floats; a number JSON lacks is `{"_mlv":"float",...}`."""
    tagged = restored(value, nonfinite, lambda text: {TAG: "float", "value": text})
    return orjson.dumps(tagged, option=orjson.OPT_SORT_KEYS)


def _integer(value: int) -> Any:
    return value if SMALLEST <= value <= LARGEST else {TAG: "int", "value": digits(value)}
