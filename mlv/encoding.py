"""Events to lines and back: the only module that converts between Python values and their JSON forms.

`schemas/values.md` has the table of types: the JSON form of each, and the value that is read back.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import math
import os
import re
import sys
from collections import UserString
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, Sequence, Set, ValuesView
from datetime import date, datetime, time, timedelta, timezone
from enum import Enum
from reprlib import Repr
from types import SimpleNamespace
from typing import Any

import orjson

from mlv import wire, words
from mlv.errors import InvalidStep
from mlv.events import Event
from mlv.foreign import (
    is_of_standard_library,
    is_of_time,
    own_text,
    plain_forms,
    single,
    stable_text,
    unresolved,
    without_addresses,
)
from mlv.interrupts import pass_on, without_warnings

TAG = "_mlv"
"""Key of an object that stands for a value without a JSON form; a user's own key beginning so gains an underscore."""

PLAIN = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
"""Options by which orjson writes exact built-in types, UUIDs and enums on its own; all else goes through `Conversion`."""

DEEPEST = 100
"""Levels of nesting that are stored; deeper values are taken for ones that contain themselves."""

# How the payload of a frame completes its line.
TAIL, DATA, STEP = 0, 1, 2
"""TAIL: all that follows the head. DATA: the data alone. STEP: the data alone, the step beside it as an integer."""

_SMALLEST, _LARGEST = -(2**63), 2**64 - 1
_INTEGERS = frozenset({int})
_FAR = 2**63

_NONFINITE = ("nan", "inf", "-inf")
_LARGEST_SEQ = 2**63 - 1
"""Tables hold numbers in 64 bits with a sign."""
_MOST_DIGITS_BITS = 14_000
"""Python refuses to print, and to read, more than 4,300 digits, unless told otherwise; hexadecimal is not limited."""

_TEXTS = ("uuid.UUID", "decimal.Decimal", "fractions.Fraction")
"""Stored as text, which is exact."""
_LONGEST_REPR = 300
_LONGEST_RANGE = 100_000
_TRIES = 10
_ONLY_TEXT = frozenset({str})
_UNSET: Any = object()
_FILES = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)
_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 200
_SHORT.maxlevel = 2


class Reference(dict[str, Any]):
    """A pointer to a file or to another experiment, in its JSON form: its `_mlv` is the format's own, not a user's key."""

    __slots__ = ()

    def __mlv_reference__(self) -> dict[str, Any]:
        return self

    @property
    def is_pending(self) -> bool:
        """Whether it names a file that nobody has hashed or tried to hash yet."""
        return self.get(TAG) == "file" and self.get("sha256") is None and "problem" not in self


class Huge(int):
    """An integer of more digits than Python prints: equal to the plain one, and its text tells its size.

    `digits` and `hex` give all of it.
    """

    def __repr__(self) -> str:
        return words.number(self)

    __str__ = __repr__

    def __format__(self, specification: str) -> str:
        return format(str(self), specification) if specification in ("", "s") else super().__format__(specification)


def huge(value: int) -> int:
    """Return the integer, as one that can be printed."""
    return value if value.bit_length() < _MOST_DIGITS_BITS else Huge(value)


def as_reference(value: Any) -> Reference | None:
    """Return the reference that a value is, or gives by its method `__mlv_reference__()`; None for others.

    A file of Python, whose type is not ours, may have the method as an attribute of its own.
    """
    method = getattr(type(value), "__mlv_reference__", None)
    if method is not None:
        reference = method(value)
    else:
        own = getattr(value, "__mlv_reference__", None) if isinstance(value, _FILES) else None
        reference = own() if own is not None else None
    return Reference(reference) if reference is not None else None


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
            return _text(value)
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
                return self._mapping(_of_texts(copied), path, pointer, depth)
            return without_warnings(lambda: self._form(value, path, pointer, depth))
        except Exception as error:  # a value's own methods may raise anything; training goes on
            pass_on(error)
            return self._unreadable(value, path, pointer, depth, f"raised {shown(error)} when it was read")
        finally:
            self._around.discard(id(value))

    def _unreadable(self, value: Any, path: str, pointer: str, depth: int, reason: str) -> Any:
        raw = _as_written(value) if self._of_settings else None
        if raw is None:
            return self._problem(value, path, reason)
        self.problems.append((path, reason))
        return self.value(raw, path, pointer, depth + 1)

    def _form(self, value: Any, path: str, pointer: str, depth: int) -> Any:
        if isinstance(value, Enum):  # before int and str: members of mixed-in enums are both
            return self.value(value.value, path, pointer, depth + 1)
        if isinstance(value, str):
            return _text(str.__str__(value))
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
            key, problems_before = _escaped(name), len(self.problems)
            if key in flat:
                self.problems.append((name, "is a metric's name twice, once its keys are text"))
            elif not name:
                self.problems.append(("a metric", 'has the empty name "": give it a name'))
            form = self.value(_single(value), name, _pointer("", key))
            if len(self.problems) == problems_before:
                flat[key] = form
            else:
                self.unusable[key] = form
        return flat

    def nonfinite_by_use(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return the non-finite numbers among the metrics that can be stored, and those among the unusable ones."""
        if not self.unusable:
            return self.nonfinite, {}
        unusable = {_pointer("", key) for key in self.unusable}
        bad = {pointer: text for pointer, text in self.nonfinite.items() if "/".join(pointer.split("/", 2)[:2]) in unusable}
        return {pointer: text for pointer, text in self.nonfinite.items() if pointer not in bad}, bad

    def _flattened(self, data: Mapping[Any, Any], prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
        self._around.add(id(data))
        for key, value in self._items(data, prefix):
            if _is_filled_mapping(value) and id(value) not in self._around and depth < DEEPEST:
                yield from self._flattened(value, f"{prefix}{key}/", depth + 1)
            else:
                yield prefix + key, value
        self._around.discard(id(data))

    def _mapping(self, items: Iterable[tuple[str, Any]], path: str, pointer: str, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        base = f"{path}." if path else ""
        for key, item in items:
            text = _escaped(key)
            if text in result:
                self.problems.append((base + key, "stands for two keys that are equal as text"))
                continue
            result[text] = self.value(item, base + key, _pointer(pointer, text), depth + 1)
        return result

    def _items(self, value: Mapping[Any, Any], base: str) -> Iterator[tuple[str, Any]]:
        """Yield keys as text, and their values; an item that cannot be read is recorded, and the others go on."""
        try:
            value, keys = _at_one_moment(value)
        except Exception as error:
            pass_on(error)
            self.problems.append((base.rstrip("./"), f"raised {shown(error)} when its keys were read"))
            return
        for key in keys:
            try:
                item = _item(value, key)
                if item is not _UNSET:
                    pair = self._key(key), item
            except Exception as error:
                pass_on(error)
                self.problems.append((base + _readable(key), f"raised {shown(error)} when it was read"))
                raw = _as_written(value) if self._of_settings else None
                if isinstance(raw, dict) and key in raw:
                    yield _readable(key), raw[key]
                continue
            if item is not _UNSET:
                yield pair

    def _key(self, key: Any) -> str:
        return key.isoformat() if self._of_settings and isinstance(key, datetime) and _is_naive(key) else _key(key)

    def _list(self, value: Iterable[Any], path: str, pointer: str, depth: int) -> list[Any]:
        items = list(value)  # a copy: another thread may be adding to it
        return [self.value(item, f"{path}[{i}]", f"{pointer}/{i}", depth + 1) for i, item in enumerate(items)]

    def _standard_form(self, value: Any, path: str, pointer: str, depth: int) -> Any:
        if isinstance(value, datetime):
            return _exact(value).isoformat() if self._of_settings and _is_naive(value) else _moment(value)
        if isinstance(value, timedelta):
            return self._number(value.total_seconds(), pointer)
        if isinstance(value, time) and value.tzinfo is not None and value.utcoffset() is None:
            return f"{value.isoformat()}[{value.tzinfo}]"  # the zone alone does not say how far from UTC it is
        if isinstance(value, (date, time)):
            return value.isoformat()
        if is_of_standard_library(value, ("fractions.Fraction",)):
            return _fraction(value)
        if isinstance(value, UserString) or is_of_standard_library(value, _TEXTS):
            return _text(str(value))
        if isinstance(value, os.PathLike):
            return _text(_path_text(value))
        if isinstance(value, (bytes, bytearray, memoryview)):
            return {TAG: "bytes", "base64": base64.b64encode(bytes(value)).decode("ascii")}
        if isinstance(value, (KeysView, ItemsView, ValuesView)):
            return self._list(value, path, pointer, depth)
        if isinstance(value, Set):
            return self._list(_sorted(value), path, pointer, depth)
        if isinstance(value, range) and len(value) > _LONGEST_RANGE:
            return str(value)
        if isinstance(value, Sequence):
            return self._list(value, path, pointer, depth)
        return self._foreign(value, path, pointer, depth)

    def _foreign(self, value: Any, path: str, pointer: str, depth: int) -> Any:
        """Return the form of a library's object, known by its methods, so that no library has to be imported."""
        reason = f"is of type {_type_name(value)}, which has no JSON form"
        text = own_text(value)
        if text is not None:
            return self._problem(value, path, reason) if self._of_settings else _text(text)
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
            return _text(stable_text(value))
        return {TAG: "unstorable", "type": _type_name(value), "repr": shown(value)}


def shown(value: object) -> str:
    """Return a `repr` for people: short, text that UTF-8 can hold, without addresses; never raise."""
    try:
        if type(value) is int:
            return _SHORT.repr(huge(value))
        return text_only(without_addresses(_SHORT.repr(value))[:_LONGEST_REPR])
    except Exception as error:
        pass_on(error)
        return f"<{_type_name(value)}, whose repr failed>"


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
    pairs = ((name, getattr(value, name, _UNSET)) for name in names)
    return {name: item for name, item in pairs if item is not _UNSET}


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


def step_number(step: Any) -> Any:
    """Return the step in its stored form; a `ForeignStep`, of another logger, as text or list.

    Raises:
        InvalidStep: It is not a finite number within 64 bits.
    """
    if step is None or (type(step) is int and _SMALLEST <= step < 2**63):
        return step
    if type(step) is ForeignStep:
        return step.plain()
    plain = _number_in(step)
    if type(plain) is bool or not issubclass(type(plain), (int, float)):  # of its real type: an object may lie about its class
        text = f"step={shown(step)} is of type {_type_name(step)}: give a number, or leave it out"
        raise InvalidStep(text, step=step)
    exact = int.__int__(plain) if isinstance(plain, int) else float.__float__(plain)
    if not (_SMALLEST <= exact < 2**63 if isinstance(exact, int) else math.isfinite(exact)):
        text = f"step={shown(step)} is not a finite number within 64 bits: give one, or leave it out"
        raise InvalidStep(text, step=step)
    return exact


class ForeignStep:
    """A step of another logger, such as `"PARAMETER"` or `(epoch, iteration)`: a text, or a sequence of numbers and texts.

    Given as `log({...}, step=mlv.ForeignStep((0, 17)))`; the line's `step` is then a text or a list. Only for scripts that
    were written for that logger: readers count such lines as ones without a step.
    """

    __slots__ = ("value",)

    def __init__(self, value: str | Sequence[Any]) -> None:
        self.value = value

    def plain(self) -> Any:
        """Return the JSON form.

        Raises:
            InvalidStep: It has none.
        """
        step = self.value
        if type(step) is tuple and _INTEGERS.issuperset(map(type, step)) and all(-_FAR < number < _FAR for number in step):
            return list(step)  # as nearly all are
        conversion = Conversion()
        form = conversion.value(list(self.value) if isinstance(self.value, (tuple, list)) else self.value)
        if conversion.problems or conversion.nonfinite or not isinstance(form, (str, list)):
            raise InvalidStep(f"step={shown(self.value)} is neither a text nor a list of numbers and texts", step=self.value)
        return form


def dumps(value: Any) -> bytes:
    """Return compact JSON of a value that is in its JSON form already."""
    return orjson.dumps(value)


def json_of_any(value: Any) -> str:
    """Return the JSON of any value, in the form of a line of the log; a number that JSON lacks is null."""
    return dumps(Conversion().value(value)).decode()


def canonical(value: Any, nonfinite: Mapping[str, str]) -> bytes:
    """Return canonical JSON: UTF-8, sorted keys, no spaces, shortest floats; a number JSON lacks is `{"_mlv":"float",...}`."""
    tagged = restored(value, nonfinite, lambda text: {TAG: "float", "value": text})
    return orjson.dumps(tagged, option=orjson.OPT_SORT_KEYS)


def head(type: str, name: str, verbosity: int = 0) -> bytes:
    """Return the bytes of a line that events of one type, name and verbosity share."""
    named = b'"name":%s,' % dumps(text_only(name)) if name else b""
    return b'"type":%s,' % dumps(type) + named + (b'"verbosity":%d,' % verbosity if verbosity else b"")


def tail(step: Any, at: Mapping[str, Any], data: bytes, nonfinite: Mapping[str, str]) -> bytes:
    """Return all bytes that follow the head of a line."""
    fields = [
        b'"step":' + dumps(step) if step is not None else b"",
        b'"at":' + dumps(at) if at else b"",
        b'"data":' + data,
        b'"nonfinite":' + dumps(nonfinite) if nonfinite else b"",
    ]
    return b",".join(field for field in fields if field) + b"}"


def as_tail(kind: int, step: int, payload: bytes) -> bytes:
    """Return the payload of any kind as one of kind TAIL."""
    if kind == STEP:
        return b'"step":%d,"data":%s}' % (step, payload)
    return b'"data":%s}' % payload if kind == DATA else payload


Clean = Callable[[bytes, int, bytes], tuple[bytes, bytes]]
"""Changes head and payload of an event before it is written; its arguments are head, kind and payload."""


class Composer:
    """Makes whole lines of one run from the fields of a frame; `clean` is applied to head and payload of each."""

    def __init__(self, run: str, clean: Clean | None = None) -> None:
        self._clean = clean
        self._begin = wire.beginning(run) + b',"seq":'
        self._second_ns = -1_000_000_000
        self._second_text = b""

    def line(self, seq: int, time_ns: int, head: bytes, kind: int, step: int, payload: bytes) -> bytes:
        """Return the line, newline included."""
        if self._clean is not None:
            head, payload = self._clean(head, kind, payload)
        return self.clean_line(seq, time_ns, head, kind, step, payload)

    def clean_line(self, seq: int, time_ns: int, head: bytes, kind: int, step: int, payload: bytes) -> bytes:
        """Return the line of a head and a payload that were cleaned already."""
        nanosecond = time_ns - self._second_ns
        if not 0 <= nanosecond < 1_000_000_000:  # formatting a date costs more than all other steps
            second, nanosecond = divmod(time_ns, 1_000_000_000)
            self._second_text = datetime.fromtimestamp(second, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.").encode()
            self._second_ns = time_ns - nanosecond
        begin = self._begin
        when = self._second_text
        if kind == STEP:
            return b'%s%d,"time":"%s%06dZ",%s"step":%d,"data":%s}\n' % (
                begin, seq, when, nanosecond // 1000, head, step, payload,
            )  # fmt: skip
        if kind == DATA:
            return b'%s%d,"time":"%s%06dZ",%s"data":%s}\n' % (begin, seq, when, nanosecond // 1000, head, payload)
        return b'%s%d,"time":"%s%06dZ",%s%s\n' % (begin, seq, when, nanosecond // 1000, head, payload)

    def opening(self, seq: int, time_ns: int) -> bytes:
        """Return the bytes before the head, for payloads too large to be joined in memory."""
        return self.line(seq, time_ns, b"", TAIL, 0, b"")[:-1]


_DEEPEST_LINE = DEEPEST + 8
"""Levels of a line: those of its data, its own, and those of an object for a value that JSON lacks."""
_SHALLOW = 2 * _DEEPEST_LINE
"""A text of so many bytes cannot be that deep."""
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def is_too_deep(text: bytes) -> bool:
    """Return whether a JSON text is nested more deeply than stored values: readers walk through it, and parsers crash.

    For a text that is no JSON, either answer is possible.
    """
    if len(text) <= _SHALLOW or text.count(123) + text.count(91) <= _DEEPEST_LINE:  # { and [, faster than as bytes
        return False
    brackets = (_STRING.sub(b"", text) if b'"' in text else text).translate(None, _NO_BRACKETS)
    for _ in range(_DEEPEST_LINE):
        shorter = brackets.replace(b"{}", b"").replace(b"[]", b"")
        if len(shorter) == len(brackets):
            break
        brackets = shorter
    return bool(brackets)


def loads(text: bytes) -> Any:
    """Return the value of a JSON text that somebody else may have written.

    Raises:
        ValueError: It is no JSON, or is nested more deeply than stored values.
    """
    if is_too_deep(text):
        raise orjson.JSONDecodeError("is nested too deeply", "", 0)
    return orjson.loads(text)


class BadLine(ValueError):
    """A line that is no event of format 1."""


def event_from_line(line: bytes, stream: str) -> Event:
    """Read an event back.

    Raises:
        BadLine: The line is not JSON, or lacks a field that every event has; the text says which.
    """
    try:
        fields = loads(line)
        return _event(fields, line, stream)
    except orjson.JSONDecodeError as error:
        raise BadLine(f"not JSON: {error}") from None
    except RecursionError:
        raise BadLine("is nested too deeply") from None


def _event(fields: Any, line: bytes, stream: str) -> Event:
    if not isinstance(fields, dict):
        raise BadLine("not a JSON object")
    try:
        run, seq, when, type_ = fields.pop("run"), fields.pop("seq"), fields.pop("time"), fields.pop("type")
    except KeyError as error:
        raise BadLine(f"has no {error}") from None
    if not (isinstance(run, str) and type(seq) is int and isinstance(when, str) and isinstance(type_, str)):
        raise BadLine("run, seq, time or type is of the wrong JSON type")
    if seq > _LARGEST_SEQ:
        raise BadLine(f"seq is {seq}, which no run counts to")
    data, nonfinite = fields.pop("data", None), fields.pop("nonfinite", None) or {}
    if nonfinite or wire.TAGGED in line:
        data = restored(data, nonfinite if isinstance(nonfinite, dict) else {})
    name, step, at = fields.pop("name", None), fields.pop("step", None), fields.pop("at", None)
    verbosity = fields.pop("verbosity", 0) if type(fields.get("verbosity", 0)) is int else 0
    return Event(
        run, seq, parse_time(when), type_, name if isinstance(name, str) else "", step,
        restored(at, {}) if isinstance(at, dict) else {}, data, stream, fields, verbosity,
    )  # fmt: skip


def parse_time(text: str) -> datetime:
    """Return a time of the log as an aware datetime in UTC.

    Raises:
        BadLine: It is no time.
    """
    try:
        moment = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
        return moment.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        raise BadLine(f"time {text!r} is not ISO 8601") from None


def utc_text(moment: datetime) -> str:
    """Return ISO 8601 in UTC with a Z and microseconds; a naive moment is local time, as in `datetime`."""
    return _exact(moment).astimezone(timezone.utc).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def restored(value: Any, nonfinite: Mapping[str, str], nonfinite_as: Any = float, pointer: str = "") -> Any:
    """Undo the conversion where that is possible: NaN, infinities, large integers, bytes, escaped keys.

    References stay references, so that they are not taken for a user's own keys when they are written again.
    """
    if value is None:
        return nonfinite_as(nonfinite[pointer]) if nonfinite.get(pointer) in _NONFINITE else None
    if isinstance(value, list):
        return [restored(item, nonfinite, nonfinite_as, f"{pointer}/{i}") for i, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if TAG in value and nonfinite_as is float:
        return _untagged(value)
    return {
        (key if nonfinite_as is not float else _unescaped(key)): restored(item, nonfinite, nonfinite_as, _pointer(pointer, key))
        for key, item in value.items()
    }


def _untagged(value: dict[str, Any]) -> Any:
    try:
        if value[TAG] == "int":
            return huge(int(value["value"], 0))
        if value[TAG] == "bytes":
            return base64.b64decode(value["base64"])
        if value[TAG] == "text":
            return base64.b64decode(value["base64"]).decode("utf-8", "surrogatepass")
        if value[TAG] in ("file", "exp"):
            return Reference(value)
    except (KeyError, TypeError, ValueError):
        pass
    return value


def _text(value: str) -> Any:
    """Return text as JSON; a lone surrogate has no UTF-8 form, so such a text is kept as bytes beside a readable one."""
    try:
        value.encode()
        return value
    except UnicodeEncodeError:
        raw = value.encode("utf-8", "surrogatepass")
        return {TAG: "text", "text": text_only(value), "base64": base64.b64encode(raw).decode("ascii")}


def text_only(value: str) -> str:
    """Return a text that UTF-8 can hold: the same, but for half surrogate pairs, which are spelled out."""
    return value.encode("utf-8", "backslashreplace").decode()


def _integer(value: int) -> Any:
    return value if _SMALLEST <= value <= _LARGEST else {TAG: "int", "value": digits(value)}


def digits(value: int) -> str:
    """Return all digits of an integer: decimal ones, or as `0x...` where there are more than Python prints and reads."""
    try:
        return str(value) if value.bit_length() < _MOST_DIGITS_BITS else hex(value)
    except ValueError:
        return hex(value)


def _fraction(value: Any) -> str:
    """Return the text of a fraction like `str`, which refuses many digits."""
    return digits(value.numerator) + (f"/{digits(value.denominator)}" if value.denominator != 1 else "")


def _moment(value: datetime) -> str | None:
    if value != value:  # pandas' NaT is a datetime that equals nothing
        return None
    try:
        return utc_text(value)
    except (OverflowError, ValueError):  # in UTC it would lie before the year 1, or after 9999
        return value.isoformat()


def _single(value: Any) -> Any:
    """Return the element of an array or tensor that has only one; anything else as it is."""
    try:
        return without_warnings(lambda: single(value))
    except Exception as error:
        pass_on(error)
        return value


def _number_in(value: Any) -> Any:
    """Return the Python number in a value of a library, None where it is missing; anything else as it is."""
    try:
        return without_warnings(lambda: _read_number(value))
    except Exception as error:
        pass_on(error)
        return value


def _read_number(value: Any) -> Any:
    if isinstance(value, (int, float)) or is_of_time(value) or is_of_standard_library(value, _TEXTS):
        return value
    element = single(value)
    return element if isinstance(element, (int, float)) else next(plain_forms(element), element)


def _is_filled_mapping(value: Any) -> bool:
    try:
        return isinstance(value, Mapping) and len(value) > 0 and not hasattr(type(value), "__mlv_reference__")
    except Exception as error:
        pass_on(error)
        return False


def _at_one_moment(value: Mapping[Any, Any]) -> tuple[Mapping[Any, Any], list[Any]]:
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


def _of_texts(value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield keys, in UTF-8, and their values."""
    for key, item in value.items():
        yield key if key.isascii() else text_only(key), item


def _item(value: Mapping[Any, Any], key: Any) -> Any:
    """Return the value of a key; `_UNSET` where another thread has removed the key since the keys were read."""
    for _ in range(_TRIES):
        try:
            return value[key]
        except KeyError as error:
            pass_on(error)
            if _is_gone(key, value):
                return _UNSET
    return value[key]  # a key that comes back each time, or a mapping that lists keys which it does not hold


def _is_gone(key: Any, value: Mapping[Any, Any]) -> bool:
    try:
        return key not in list(value)
    except Exception as error:
        pass_on(error)
        return False


def _as_written(value: Any) -> Any:
    try:
        return unresolved(value)
    except Exception as error:
        pass_on(error)
        return None


def _is_naive(value: datetime) -> bool:
    return value == value and value.utcoffset() is None  # NaT equals nothing


def _exact(value: datetime) -> datetime:
    """Return the moment as a datetime of the standard library: that of pandas refuses much, and prints nanoseconds."""
    return value if type(value) is datetime else datetime.combine(value.date(), value.timetz())


def _path_text(path: os.PathLike[Any]) -> str:
    """Return a path as text that is the same under every locale: its bytes as UTF-8, as far as they are."""
    raw = os.fspath(path)
    if isinstance(raw, str):
        if raw.isascii():
            return raw
        raw = raw.encode("utf-8", "surrogateescape")
    return bytes(raw).decode("utf-8", "surrogateescape")


def _key(key: Any) -> str:
    """Return a key as text, as JSON encoders write it: true, null, 3, 0.5; the `str` of others."""
    if isinstance(key, Enum):
        return _key(key.value)
    if isinstance(key, str):
        return text_only(str.__str__(key))
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    if isinstance(key, int):
        return digits(int.__int__(key))
    if is_of_standard_library(key, ("fractions.Fraction",)):
        return _fraction(key)
    if isinstance(key, datetime):
        return _moment(key) or "null"
    if isinstance(key, bytes):
        return key.decode("utf-8", "backslashreplace")
    if type(key).__module__ == "numpy" and not isinstance(key, float):
        return _key(next(plain_forms(key), None))
    return text_only(without_addresses(str(key)))


def _readable(key: Any) -> str:
    try:
        return _key(key)
    except Exception as error:
        pass_on(error)
        return shown(key)


def _escaped(key: str) -> str:
    return key + "_" if key.startswith(TAG) else key


def _unescaped(key: str) -> str:
    return key[:-1] if key.startswith(TAG) and key != TAG and key.endswith("_") else key


def _pointer(base: str, key: str) -> str:
    return f"{base}/{key.replace('~', '~0').replace('/', '~1')}"


def _sorted(values: Iterable[Any]) -> list[Any]:
    """Return a set in an order that does not change from run to run."""
    items = list(values)
    try:
        # Sets compare by inclusion, and NaN equals nothing: neither is an order.
        if not any(isinstance(item, Set) or item != item for item in items):
            return sorted(items)
    except TypeError:
        pass
    return sorted(items, key=_by_text)


def _by_text(item: Any) -> tuple[str, str]:
    if isinstance(item, int):
        return type(item).__name__, digits(item)
    return type(item).__name__, without_addresses(repr(_sorted(item) if isinstance(item, Set) else item))


def _type_name(value: Any) -> str:
    kind = type(value)
    try:
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        return text_only(name)
    except Exception as error:
        pass_on(error)
        return "object"
