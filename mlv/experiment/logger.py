"""The Logger: an immutable, cheap cursor into one stream of an experiment. Every call leaves one line there."""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from math import fsum
from typing import Any, NoReturn, TypeVar

import orjson

from mlv import encoding
from mlv.encoding import DATA, PLAIN, STEP, TAIL, Conversion, dumps, step_number
from mlv.errors import InvalidName, InvalidPattern, InvalidStep, MlvError, RejectedWarning
from mlv.events import Rejected
from mlv.experiment.session import Session, described
from mlv.experiment.span import Span
from mlv.notices import warn_once
from mlv.store import layout

T = TypeVar("T")

_encode = orjson.dumps
_REASONS_SHOWN = 5


class Logger:
    """A name prefix and coordinates, into one stream of an experiment; moving it gives another one.

    Calling it never raises: an event that cannot be stored as given is written as `rejected`, with the reason and what could
    be read of it, and one warning is shown for each line of code that does so. When a call returns, the event outlives the
    process; it is in the stream's file normally within 100 ms, and on the disk within a second or after `exp.flush()`.
    """

    __slots__ = ("_at", "_cursor", "_filter", "_name", "_session", "_stream", "_stream_cursor")

    _session: Session
    _stream: str
    _name: str
    _at: dict[str, Any]
    _filter: re.Pattern[str] | None
    _cursor: int | None
    _stream_cursor: int

    def __init__(
        self, session: Session, stream: str, name: str = "", at: Mapping[str, Any] | None = None, filter: str | None = None
    ) -> None:
        """Not called by users: `exp.log`, `exp.logger(...)`, `log.sub(...)` and `log.at(...)` give loggers."""
        set_ = object.__setattr__
        set_(self, "_session", session)
        set_(self, "_stream", stream)
        set_(self, "_name", name)
        set_(self, "_at", dict(at or {}))
        set_(self, "_filter", compiled(filter) if filter is not None else None)
        set_(self, "_stream_cursor", session.cursor((stream, b"")))
        # Where metrics need no coordinates and no filter, type and name travel as a number.
        is_plain = not at and filter is None
        set_(self, "_cursor", session.cursor((stream, encoding.head("metrics", name))) if is_plain else None)

    # Metrics and events.

    def __call__(self, data: Mapping[str, Any] | str, value: Any = None, /, *, step: float | None = None) -> None:
        """Log metrics, `log({"loss": 0.3}, step=3)`, or an event of any name, `log("checkpointed", {"mb": 3})`.

        Leaves one line of type `metrics` (as `metrics()` does) or of type `event`, with the second argument as its `data`.
        """
        if type(data) is dict and value is None and self._cursor is not None:
            # The quick way, for exact floats and integers, all finite: a sum tells, without a loop in Python.
            try:
                payload = _encode(data, None, PLAIN)
                total = fsum(data.values())
                if total - total == 0.0 and payload.find(b"_mlv") < 0 and "" not in data:
                    if type(step) is int:
                        self._session.channel.put(self._cursor, STEP, step, payload)
                        return
                    if step is None:
                        self._session.channel.put(self._cursor, DATA, 0, payload)
                        return
            except (TypeError, ValueError, OverflowError, struct.error):
                pass  # anything else is looked at closely below
        if isinstance(data, str):
            self._event(data, value, step)
        elif value is not None:
            self._reject("event", self._name, {"name": data, "data": value}, step, "the name of an event must be text")
        else:
            self.metrics(data, step=step)

    def metrics(self, data: Mapping[str, Any], *, step: float | None = None) -> None:
        """Log numbers measured together: one line of type `metrics`.

        The full name of each is the logger's name, `/`, its key; nested mappings join with `/`. Values: Python numbers, numpy
        and torch scalars, whatever has `.item()`; NaN and infinities are kept; None, text and lists are stored as they are.
        """
        if not isinstance(data, Mapping):
            self._reject("metrics", self._name, data, step, f"metrics are a mapping of names to numbers, not {data!r:.100}")
            return
        conversion = Conversion()
        try:
            flat = conversion.metrics(data)
        except Exception as error:  # a mapping of the user's own may raise anything
            self._reject("metrics", self._name, None, step, f"reading the mapping raised {error!r}")
            return
        if "" in flat:
            self._reject("metrics", self._name, flat, step, 'a metric has the empty name "": give it a name')
            return
        if self._filter is not None:
            kept = {key: number for key, number in flat.items() if self._filter.search(join(self._name, key))}
            self._session.filtered += len(flat) - len(kept)
            if not kept:
                return
            conversion.nonfinite = {
                pointer: text for pointer, text in conversion.nonfinite.items() if _first_key(pointer) in kept
            }
            flat = kept
        self._emit_converted("metrics", self._name, flat, step, conversion)

    def metric(self, name: str, value: Any, *, step: float | None = None) -> None:
        """Log one number: a line of type `metrics`, the same as `log({name: value})`."""
        self({name: value}, step=step)

    def value(self, name: str, value: Any, *, step: float | None = None) -> None:
        """Log anything under a name; its type on disk follows from the value.

        A number becomes a metric, text an event of type `text`, everything else an event of type `event`: a mapping as it is,
        other values as `{"value": ...}`.
        """
        if isinstance(value, str):
            self._named("text", name, {"text": value}, step)
        elif isinstance(value, Mapping):
            self._event(name, value, step)
        elif _is_number(value):
            self.metric(name, value, step=step)
        else:
            self._event(name, {"value": value}, step)

    def describe(
        self,
        name: str,
        *,
        unit: str | None = None,
        format: str | None = None,
        mode: str | None = None,
        description: str | None = None,
    ) -> None:
        """Say what a metric is, before or after it is logged: a line of type `metadata` under the metric's full name.

        Args:
            name: Of the metric, below this logger.
            unit: Such as `s` or `nat`.
            format: A format specification for `format(value, ...)`, such as `.4f`.
            mode: `min` or `max`: which value is the best.
            description: A sentence.
        """
        given = {"unit": unit, "format": format, "mode": mode, "description": description}
        data = {key: item for key, item in given.items() if item is not None}
        if mode not in (None, "min", "max"):
            self._reject("metadata", join(self._name, name), data, None, f'mode={mode!r} is neither "min" nor "max"')
        else:
            self._named("metadata", name, data, None)

    # Messages, as in `logging`.

    def debug(self, message: object, /, *args: Any, step: float | None = None, exc_info: Any = None, **data: Any) -> None:
        """Log a message for those who look closely; see `info`."""
        self._message("debug", message, args, step, exc_info, data)

    def info(self, message: object, /, *args: Any, step: float | None = None, exc_info: Any = None, **data: Any) -> None:
        """Log a message: a line of type `message` with `level` and `message`.

        Args:
            message: Text, formatted as `message % args` where there are any.
            args: See `message`.
            step: When it was.
            exc_info: As in `logging`: True, an exception or a tuple; stored as `exception` with type, message, traceback.
            data: Stored beside it as `extra`.
        """
        self._message("info", message, args, step, exc_info, data)

    def warning(self, message: object, /, *args: Any, step: float | None = None, exc_info: Any = None, **data: Any) -> None:
        """Log a warning; see `info`. Nothing is shown on the terminal."""
        self._message("warning", message, args, step, exc_info, data)

    def error(self, message: object, /, *args: Any, step: float | None = None, exc_info: Any = None, **data: Any) -> None:
        """Log an error; see `info`."""
        self._message("error", message, args, step, exc_info, data)

    def exception(self, message: object, /, *args: Any, step: float | None = None, exc_info: Any = True, **data: Any) -> None:
        """Log an error with the exception that is being handled, and let it go on; see `info`."""
        self._message("error", message, args, step, exc_info, data)

    # Moving.

    def sub(self, name: str) -> Logger:
        """A logger one level down: its names begin with this one's, `/`, `name`. Writes nothing.

        Raises:
            InvalidName: The name is empty or no text.
        """
        return self._moved(name=join(self._name, checked_event_name(name)))

    @property
    def parent(self) -> Logger:
        """The logger one level up; the root is its own parent."""
        return self._moved(name=self._name.rpartition("/")[0])

    @property
    def root(self) -> Logger:
        """The logger of this stream without a name, coordinates kept."""
        return self._moved(name="")

    @property
    def name(self) -> str:
        """Prefix of all names, empty at the root."""
        return self._name

    @property
    def stream(self) -> str:
        """The stream that is written."""
        return self._stream

    @property
    def coordinates(self) -> dict[str, Any]:
        """What `at()` and `each()` gave."""
        return dict(self._at)

    def at(self, **coordinates: Any) -> Logger:
        """A logger whose lines carry these coordinates in `at`, beside those it has. Writes nothing.

        Raises:
            InvalidName: A coordinate has no JSON form.
        """
        conversion = Conversion()
        new = {key: conversion.value(value, key, f"/{key}") for key, value in coordinates.items()}
        if conversion.problems or conversion.nonfinite:
            problems = conversion.problems or [(key, "is not finite") for key in conversion.nonfinite]
            raise InvalidName(f"coordinate {problems[0][0]} {problems[0][1]}: give a number or a text", coordinates=coordinates)
        return self._moved(at={**self._at, **new})

    def each(self, **coordinate: Iterable[T]) -> Iterator[tuple[T, Logger]]:
        """Go through values of one coordinate: `for epoch, here in log.each(epoch=range(10)): here({"loss": 0.3})`.

        Raises:
            InvalidName: Not exactly one coordinate was given.
        """
        if len(coordinate) != 1:
            raise InvalidName(f"each() takes one coordinate, such as epoch=range(10), not {len(coordinate)}", given=coordinate)
        [(name, values)] = coordinate.items()
        return ((value, self.at(**{name: value})) for value in values)

    def span(self, name: str, *, step: float | None = None, **data: Any) -> Span:
        """Time a stretch of work: one line of type `event` at its end, with `duration_s` and what `span.add()` gave.

        `with log.span("validation") as span: span.add(acc=0.9)`, or `span = log.span("validation")` and `span.end()`. An
        exception is stored as `exception`, and goes on.
        """
        return Span(lambda found: self._event(name, found, step), data)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Logger does not change: log.sub(...) and log.at(...) give another one ({name} stays as it is)")

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)

    def __repr__(self) -> str:
        at = "".join(f" {key}={value!r}" for key, value in self._at.items())
        return f"<Logger {self._session.folder.name}/{layout.stream_file(self._stream)} {self._name!r}{at}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Logger) and self._state() == other._state()

    def __hash__(self) -> int:
        return hash((self._stream, self._name, tuple(self._at)))

    def __reduce__(self) -> tuple[Any, ...]:
        from mlv.experiment.travel import travelled_logger  # travel makes Loggers: it stands above this module

        pattern = self._filter.pattern if self._filter else None
        travels = (str(self._session.folder), self._session.exp_id, self._session.run or self._session.parent_run)
        return travelled_logger, (*travels, self._stream, self._name, self._at, pattern)

    def _state(self) -> tuple[Any, ...]:
        return self._session, self._stream, self._name, self._at, self._filter

    def _moved(self, name: str | None = None, at: Mapping[str, Any] | None = None) -> Logger:
        pattern = self._filter.pattern if self._filter else None
        return Logger(
            self._session, self._stream, self._name if name is None else name, self._at if at is None else at, pattern
        )

    # Writing.

    def _event(self, name: str, data: Any, step: Any) -> None:
        self._named("event", name, {} if data is None else data, step)

    def _named(self, type: str, name: str, data: Any, step: Any) -> None:
        """Emit an event with a name of its own below this logger, unless the filter keeps it out."""
        try:
            full = join(self._name, checked_event_name(name))
        except InvalidName as error:
            self._reject(type, self._name, data, step, str(error))
            return
        if self._filter is not None and type != "metadata" and not self._filter.search(full):
            self._session.filtered += 1
            return
        self._emit(type, full, data, step)

    def _message(self, level: str, message: object, args: tuple[Any, ...], step: Any, exc_info: Any, extra: Any) -> None:
        data: dict[str, Any] = {"level": level, "message": _formatted(message, args)}
        error = _exception(exc_info)
        if error is not None:
            data["exception"] = described(error)
        if extra:
            data["extra"] = extra
        self._emit("message", self._name, data, step)

    def _emit(self, type: str, name: str, data: Any, step: Any) -> None:
        conversion = Conversion()
        try:
            converted = conversion.value(data)
        except Exception as error:  # a value's own methods may raise anything; training goes on
            self._reject(type, name, None, step, f"reading the value raised {error!r}")
            return
        self._emit_converted(type, name, converted, step, conversion)

    def _emit_converted(self, type: str, name: str, data: Any, step: Any, conversion: Conversion) -> None:
        """Emit what is in its JSON form; what had none turns the event into a `rejected` one."""
        if conversion.problems:
            shown = "; ".join(f"{path or 'the value'} {reason}" for path, reason in conversion.problems[:_REASONS_SHOWN])
            more = len(conversion.problems) - _REASONS_SHOWN
            self._reject(type, name, data, step, shown + (f"; and {more} more" if more > 0 else ""), conversion.nonfinite)
            return
        try:
            number = step_number(step)
        except InvalidStep as error:
            self._reject(type, name, data, None, str(error), conversion.nonfinite)
            return
        self._put(type, name, number, dumps(data), conversion.nonfinite)

    def _reject(
        self, type: str, name: str, data: Any, step: Any, reason: str, nonfinite: Mapping[str, str] | None = None
    ) -> None:
        """Write the event as `rejected` with what can be read of it, and warn once for the caller's line."""
        conversion = Conversion()
        try:
            rest = conversion.value(data) if nonfinite is None else data
        except Exception:
            rest = None
        found = conversion.nonfinite if nonfinite is None else nonfinite
        number = None
        with suppress(MlvError):
            number = step_number(step)
        record = Rejected(type, reason, rest).to_data()
        self._put("rejected", name, number, dumps(record), {f"/rest{pointer}": text for pointer, text in found.items()})
        where = f"{type} {name!r}" if name else type
        warn_once(f"an event is stored as rejected, not as {where}: {reason}", RejectedWarning)

    def _put(self, type: str, name: str, step: float | None, data: bytes, nonfinite: Mapping[str, str]) -> None:
        rest = encoding.tail(step, self._at, data, nonfinite)
        self._session.channel.put(self._stream_cursor, TAIL, 0, encoding.head(type, name) + rest)


def join(prefix: str, name: str) -> str:
    """A name below a prefix."""
    return f"{prefix}/{name}" if prefix else name


def checked_event_name(name: object) -> str:
    """Accept the name of an event or of a logger.

    Raises:
        InvalidName: It is no text, or empty.
    """
    if not isinstance(name, str):
        raise InvalidName(f"event name {name!r:.100} is of type {type(name).__name__}: give a text", name=name)
    if not name:
        raise InvalidName('event name "" is empty: give it a name, such as "checkpointed"', name=name)
    return name


def compiled(pattern: str) -> re.Pattern[str]:
    """A regular expression for a filter.

    Raises:
        InvalidPattern: It is none.
    """
    try:
        return re.compile(pattern)
    except (re.error, TypeError) as error:
        raise InvalidPattern(f"filter={pattern!r} is no regular expression: {error}", pattern=pattern) from None


def _is_number(value: Any) -> bool:
    if isinstance(value, (int, float)):
        return True
    shape = getattr(value, "shape", None)
    return hasattr(value, "item") and (shape is None or all(size == 1 for size in shape))


def _first_key(pointer: str) -> str:
    return pointer[1:].partition("/")[0].replace("~1", "/").replace("~0", "~")


def _formatted(message: object, args: tuple[Any, ...]) -> str:
    """`message % args`; where they do not fit, both as they are."""
    try:
        text = str(message)
        if args:  # one mapping serves named fields, as in `logging`
            return text % (args[0] if len(args) == 1 and isinstance(args[0], Mapping) and args[0] else args)
        return text
    except Exception:
        return f"{message!r} {args!r}"


def _exception(exc_info: Any) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    found = exc_info if isinstance(exc_info, tuple) else sys.exc_info() if exc_info else (None, None, None)
    return found[1] if len(found) == 3 and isinstance(found[1], BaseException) else None
