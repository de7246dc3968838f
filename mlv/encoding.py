"""Events to lines and back: the one place that knows how a Python value stands in JSON.

The table of what each type becomes, and what comes back, is `schemas/values.md`.
"""

from __future__ import annotations

import base64
import dataclasses
import math
import uuid
from collections.abc import Iterable, Iterator, KeysView, Mapping, Sequence, Set, ValuesView
from datetime import date, datetime, time, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from typing import Any

import orjson

from mlv.errors import InvalidStep
from mlv.events import Event

TAG = "_mlv"
"""Key of an object that stands for something JSON has no form for; a user's own key beginning so gains an underscore."""

PLAIN = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
"""What orjson may write on its own: exact built-in types, UUIDs and enums. The rest goes through `Conversion`."""

DEEPEST = 100
"""Levels of nesting that are stored; deeper values are taken for ones that contain themselves."""

# How the payload of a frame completes its line.
TAIL, DATA, STEP = 0, 1, 2
"""TAIL: all that follows the head. DATA: the data alone. STEP: the data alone, the step beside it as an integer."""

_SMALLEST, _LARGEST = -(2**63), 2**64 - 1


class Conversion:
    """One walk over a value: gives its JSON form, and notes what JSON cannot hold.

    The walk never raises. What has no form becomes a tagged text of its type and `repr`, and a row in `problems`.
    """

    def __init__(self) -> None:
        self.nonfinite: dict[str, str] = {}
        """JSON pointer of each NaN or infinity, written as null: `nan`, `inf` or `-inf`."""
        self.problems: list[tuple[str, str]] = []
        """Path (`optimizer.fn`, `layers[2]`) and reason of each value that has no form."""
        self._around: set[int] = set()

    def value(self, value: Any, path: str = "", pointer: str = "", depth: int = 0) -> Any:
        """The JSON form of any value."""
        if value is None or value is True or value is False:
            return value
        if isinstance(value, Enum):  # before int and str: members of mixed-in enums are both
            return self.value(value.value, path, pointer, depth + 1)
        if isinstance(value, str):
            return _text(str.__str__(value))
        if isinstance(value, int):
            return _integer(int(value))
        if isinstance(value, float):
            return self._number(float(value), pointer)
        if depth >= DEEPEST or id(value) in self._around:
            return self._problem(value, path, f"contains itself, or is nested deeper than {DEEPEST} levels")
        self._around.add(id(value))
        try:
            return self._container(value, path, pointer, depth)
        finally:
            self._around.discard(id(value))

    def _container(self, value: Any, path: str, pointer: str, depth: int) -> Any:
        if isinstance(value, Mapping):
            return self._mapping(value, path, pointer, depth)
        if isinstance(value, tuple) and hasattr(value, "_asdict"):
            return self._mapping(value._asdict(), path, pointer, depth)
        if isinstance(value, (list, tuple)):
            return self._list(value, path, pointer, depth)
        return self._other(value, path, pointer, depth)

    def metrics(self, data: Mapping[Any, Any]) -> dict[str, Any]:
        """The flat JSON form of metrics: nested mappings join with `/`, whatever holds one number becomes that number."""
        flat: dict[str, Any] = {}
        for name, value in self._flattened(data, "", 0):
            key = _escaped(name)
            if key in flat:
                self.problems.append((name, "is a metric's name twice, once its keys are text"))
                continue
            flat[key] = self.value(_single(value), name, _pointer("", key))
        return flat

    def _flattened(self, data: Mapping[Any, Any], prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
        for key, value in data.items():
            name = prefix + _key(key)
            if isinstance(value, Mapping) and value and depth < DEEPEST:
                yield from self._flattened(value, name + "/", depth + 1)
            else:
                yield name, value

    def _mapping(self, value: Mapping[Any, Any], path: str, pointer: str, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, item in value.items():
            text = _escaped(_key(key))
            if text in result:
                self.problems.append((_join(path, text), "stands for two keys that are equal as text"))
                continue
            result[text] = self.value(item, _join(path, text), _pointer(pointer, text), depth + 1)
        return result

    def _list(self, value: Iterable[Any], path: str, pointer: str, depth: int) -> list[Any]:
        return [self.value(item, f"{path}[{i}]", f"{pointer}/{i}", depth + 1) for i, item in enumerate(value)]

    def _other(self, value: Any, path: str, pointer: str, depth: int) -> Any:
        if isinstance(value, datetime):
            return utc_text(value) if value == value else None  # pandas' NaT is a datetime that equals nothing
        if isinstance(value, (date, time)):
            return value.isoformat()
        if isinstance(value, (PurePath, uuid.UUID, Decimal, Fraction)):
            return _text(str(value))
        if isinstance(value, (bytes, bytearray, memoryview)):
            return {TAG: "bytes", "base64": base64.b64encode(bytes(value)).decode("ascii")}
        if isinstance(value, (Set, KeysView)):
            return self._list(_sorted(value), path, pointer, depth)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value)]
            return self._mapping({name: getattr(value, name) for name in names}, path, pointer, depth)
        if isinstance(value, (Sequence, ValuesView)):
            return self._list(value, path, pointer, depth)
        return self._foreign(value, path, pointer, depth)

    def _foreign(self, value: Any, path: str, pointer: str, depth: int) -> Any:
        """Objects of libraries, known by what they can do, so that none has to be imported."""
        if not isinstance(value, type):
            for method in ("item", "tolist"):
                if method == "item" and getattr(value, "shape", ()) != ():
                    continue  # an array: `item` is for what has no axis
                try:
                    plain = getattr(value, method)()
                except Exception:
                    continue
                if type(plain) is not type(value):
                    return self.value(plain, path, pointer, depth + 1)
        return self._problem(value, path, f"is of type {_type_name(value)}, which has no JSON form")

    def _number(self, value: float, pointer: str) -> float | None:
        if math.isfinite(value):
            return value
        self.nonfinite[pointer] = "nan" if value != value else "inf" if value > 0 else "-inf"
        return None

    def _problem(self, value: Any, path: str, reason: str) -> dict[str, str]:
        self.problems.append((path, reason))
        try:
            shown = repr(value)[:200]
        except Exception:
            shown = "(its repr failed)"
        return {TAG: "unstorable", "type": _type_name(value), "repr": shown.encode("utf-8", "backslashreplace").decode()}


def number(value: Any) -> Any:
    """A scalar of numpy, torch and the like as a Python number: orjson's `default` on the fast path of metrics.

    Raises:
        TypeError: It is none.
    """
    plain = value.item() if hasattr(value, "item") else None
    if type(plain) not in (int, float, bool):
        raise TypeError("not a number")
    return plain


def step_number(step: Any) -> int | float | None:
    """The step as it is stored.

    Raises:
        InvalidStep: It is not a finite number within 64 bits.
    """
    if step is None or (type(step) is int and _SMALLEST <= step < 2**63):
        return step
    plain = step
    if not isinstance(step, (int, float)) and hasattr(step, "item"):
        try:
            plain = step.item()
        except Exception:
            plain = None
    if isinstance(plain, bool) or not isinstance(plain, (int, float)):
        raise InvalidStep(f"step={step!r} is of type {_type_name(step)}: give a number, or leave it out", step=step)
    if (isinstance(plain, int) and not _SMALLEST <= plain < 2**63) or (isinstance(plain, float) and not math.isfinite(plain)):
        raise InvalidStep(f"step={step!r} is not a finite number within 64 bits: give one, or leave it out", step=step)
    return int(plain) if isinstance(plain, int) else float(plain)


def dumps(value: Any) -> bytes:
    """Compact JSON of a value that is in its JSON form already."""
    return orjson.dumps(value)


def canonical(value: Any, nonfinite: Mapping[str, str]) -> bytes:
    """Canonical JSON: UTF-8, keys sorted, no white space, shortest floats; a number JSON lacks is `{"_mlv":"float",...}`."""
    tagged = restored(value, nonfinite, lambda text: {TAG: "float", "value": text})
    return orjson.dumps(tagged, option=orjson.OPT_SORT_KEYS)


def head(type: str, name: str) -> bytes:
    """The part of a line that events of one type and name share."""
    return b'"type":%s,' % dumps(type) + (b'"name":%s,' % dumps(_text_only(name)) if name else b"")


def tail(step: int | float | None, at: Mapping[str, Any], data: bytes, nonfinite: Mapping[str, str]) -> bytes:
    """All that follows the head of a line."""
    parts = [
        b'"step":' + dumps(step) if step is not None else b"",
        b'"at":' + dumps(at) if at else b"",
        b'"data":' + data,
        b'"nonfinite":' + dumps(nonfinite) if nonfinite else b"",
    ]
    return b",".join(part for part in parts if part) + b"}"


def as_tail(kind: int, step: int, payload: bytes) -> bytes:
    """The payload of any kind as one of kind TAIL."""
    if kind == STEP:
        return b'"step":%d,"data":%s}' % (step, payload)
    return b'"data":%s}' % payload if kind == DATA else payload


class Composer:
    """Makes whole lines of one run from what a frame holds."""

    def __init__(self, run: str) -> None:
        self._begin = b'{"run":"%s","seq":' % run.encode()
        self._second = -1
        self._second_text = b""

    def line(self, seq: int, time_ns: int, head: bytes, kind: int, step: int, payload: bytes) -> bytes:
        """The line, newline included."""
        second, nanosecond = divmod(time_ns, 1_000_000_000)
        if second != self._second:  # formatting a date costs more than all the rest
            self._second_text = datetime.fromtimestamp(second, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.").encode()
            self._second = second
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
        """What comes before the head: for payloads too large to be joined in memory."""
        return self.line(seq, time_ns, b"", TAIL, 0, b"")[:-1]


class BadLine(ValueError):
    """A line that is no event of format 1."""


def event_from_line(line: bytes, stream: str) -> Event:
    """Read an event back.

    Raises:
        BadLine: The line is not JSON, or lacks what every event has; the text says which.
    """
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BadLine(f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise BadLine("not a JSON object")
    try:
        run, seq, when, type_ = fields.pop("run"), fields.pop("seq"), fields.pop("time"), fields.pop("type")
    except KeyError as error:
        raise BadLine(f"has no {error}") from None
    if not (isinstance(run, str) and type(seq) is int and isinstance(when, str) and isinstance(type_, str)):
        raise BadLine("run, seq, time or type is of the wrong JSON type")
    data, nonfinite = fields.pop("data", None), fields.pop("nonfinite", None) or {}
    if nonfinite or b'"_mlv' in line:
        data = restored(data, nonfinite if isinstance(nonfinite, dict) else {})
    at = fields.pop("at", None)
    return Event(
        run, seq, parse_time(when), type_, str(fields.pop("name", "")), fields.pop("step", None),
        at if isinstance(at, dict) else {}, data, stream, fields,
    )  # fmt: skip


def parse_time(text: str) -> datetime:
    """A time of the log as an aware datetime in UTC.

    Raises:
        BadLine: It is no time.
    """
    try:
        moment = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
        return moment.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        raise BadLine(f"time {text!r} is not ISO 8601") from None


def utc_text(moment: datetime) -> str:
    """ISO 8601 in UTC with a Z and microseconds; a naive moment is local time, as in `datetime`."""
    return moment.astimezone(timezone.utc).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def restored(value: Any, nonfinite: Mapping[str, str], nonfinite_as: Any = float, pointer: str = "") -> Any:
    """Undo what the conversion did where it can be undone: NaN, infinities, large integers, bytes, escaped keys."""
    if value is None:
        return nonfinite_as(nonfinite[pointer]) if pointer in nonfinite else None
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
            return int(value["value"], 0)
        if value[TAG] == "bytes":
            return base64.b64decode(value["base64"])
        if value[TAG] == "text":
            return base64.b64decode(value["base64"]).decode("utf-8", "surrogatepass")
    except (KeyError, TypeError, ValueError):
        pass
    return value


def _text(value: str) -> Any:
    """Text as JSON; a lone surrogate has no UTF-8 form, so such a text is kept as bytes beside a readable one."""
    try:
        value.encode()
        return value
    except UnicodeEncodeError:
        raw = value.encode("utf-8", "surrogatepass")
        return {TAG: "text", "text": _text_only(value), "base64": base64.b64encode(raw).decode("ascii")}


def _text_only(value: str) -> str:
    return value.encode("utf-8", "backslashreplace").decode()


def _integer(value: int) -> Any:
    return value if _SMALLEST <= value <= _LARGEST else {TAG: "int", "value": _decimal_digits(value)}


def _decimal_digits(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # Python refuses to print more than 4,300 digits; hexadecimal is not limited
        return hex(value)


def _single(value: Any) -> Any:
    """The number inside an array or tensor with one element; anything else as it is."""
    if isinstance(value, (int, float, str, list, tuple, type(None))) or not hasattr(value, "item"):
        return value
    try:
        return value.item()
    except Exception:
        return value


def _key(key: Any) -> str:
    """A key as text, as JSON encoders write it: true, null, 3, 0.5; text for the rest."""
    if isinstance(key, Enum):
        return _key(key.value)
    if isinstance(key, str):
        return _text_only(str.__str__(key))
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    if isinstance(key, datetime):
        return utc_text(key)
    if isinstance(key, bytes):
        return key.decode("utf-8", "backslashreplace")
    return _text_only(str(key))


def _escaped(key: str) -> str:
    return key + "_" if key.startswith(TAG) else key


def _unescaped(key: str) -> str:
    return key[:-1] if key.startswith(TAG) and key != TAG and key.endswith("_") else key


def _pointer(base: str, key: str) -> str:
    return f"{base}/{key.replace('~', '~0').replace('/', '~1')}"


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _sorted(values: Iterable[Any]) -> list[Any]:
    """A set in an order that does not change from run to run."""
    items = list(values)
    try:
        return sorted(items)
    except TypeError:
        return sorted(items, key=lambda item: (type(item).__name__, repr(item)))


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
