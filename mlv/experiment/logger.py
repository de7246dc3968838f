"""The Logger: an immutable, cheap cursor into one stream of an experiment. Every call leaves one line there."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

import orjson

from mlv import encoding
from mlv.encoding import DATA, PLAIN, STEP, TAIL, Conversion, dumps, shown, step_number
from mlv.errors import InvalidName, InvalidStep, MlvWarning
from mlv.events import full_name
from mlv.experiment.log_arguments import checked_event_name, is_mapping, is_number, is_text, joined, rejected, warn_of_rejected
from mlv.experiment.log_descriptions import DescribingCalls
from mlv.experiment.log_messages import MessageCalls
from mlv.experiment.log_moves import MovingCalls
from mlv.experiment.null_sessions import travelled_session
from mlv.experiment.session import Session
from mlv.experiment.span import Span
from mlv.foreign import mark, numbers
from mlv.interrupts import pass_on, without_warnings
from mlv.media.extras import missing_extra
from mlv.media.jobs import Job, Prepared, Unusable
from mlv.media.kinds import VALUE_KINDS, MediaCalls
from mlv.never_raising import give_up, never_raising
from mlv.notices import warn_once
from mlv.store import layout
from mlv.store import meta as meta_
from mlv.transport.wishes import Wishes

T = TypeVar("T")

_encode = orjson.dumps


class Logger(MovingCalls, DescribingCalls, MessageCalls, MediaCalls):
    """A name prefix and coordinates, into one stream of an experiment; moving it gives another one.

    Calling it never raises: an event that cannot be stored as given is written as `rejected`, with the reason and what could
    be read of it, and one warning is shown for each line of code that does so. When a call returns, the event outlives the
    process; it is in the stream's file normally within 100 ms, and on the disk within a second or after `exp.flush()`.
    """

    __slots__ = (
        "_at",
        "_before_data",
        "_cursor",
        "_filter",
        "_head",
        "_name",
        "_session",
        "_step",
        "_stream",
        "_stream_cursor",
        "_verbosity",
    )

    _session: Session
    _stream: str
    _name: str
    _at: dict[str, Any]
    _step: float | None
    _filter: re.Pattern[str] | None
    _cursor: int | None
    _stream_cursor: int
    _head: bytes
    _before_data: bytes
    _verbosity: int

    def __init__(
        self,
        session: Session,
        stream: str,
        name: str = "",
        at: Mapping[str, Any] | None = None,
        filter: str | None = None,
        verbosity: int = 0,
    ) -> None:
        """Prepare a cursor into a stream. Not called by users: `exp.log`, `exp.logger`, `log.sub` and `log.at` give loggers."""
        set_ = object.__setattr__
        set_(self, "_session", session)
        set_(self, "_stream", stream)
        set_(self, "_name", name)
        set_(self, "_at", {key: value for key, value in (at or {}).items() if key != "step"})
        set_(self, "_step", (at or {}).get("step"))
        set_(self, "_filter", _compiled(filter) if filter is not None else None)
        set_(self, "_stream_cursor", session.cursor((stream, b"")))
        # Where metrics need no coordinates and no filter, type and name travel as a number.
        is_plain = not at and filter is None
        set_(self, "_verbosity", verbosity)
        set_(self, "_head", encoding.head("metrics", name, verbosity))
        set_(self, "_before_data", (b'"at":%s,"data":' % dumps(self._at)) if self._at else b'"data":')
        set_(self, "_cursor", session.cursor((stream, self._head)) if is_plain else None)

    # Metrics and events.

    def __call__(
        self, data: Mapping[str, Any] | str, value: Any = None, /, *, step: float | None = None, verbosity: int | None = None
    ) -> None:
        """Log metrics, `log({"loss": 0.3}, step=3)`, or an event of any name, `log("checkpointed", {"mb": 3})`.

        Leaves one line of type `metrics` (as `metrics()` does) or of type `event`, with the second argument as its `data`.
        A text and a plain number, `log("loss", 0.3, step=3)`, is a metric: the same as `metric("loss", 0.3, step=3)`.
        `verbosity` says how closely one must look to see it, 0 where nothing is said: outputs leave out what is above their
        own, the log never does.
        """
        try:
            if type(data) is dict and value is None and verbosity is None and self._filter is None:
                # The fast path, for numbers that are all finite, which their sum shows without a loop in Python. It takes a
                # copy, as another thread may be changing the mapping. While C code walks a container, no Python code may run,
                # or other threads and signals could get in: values that orjson cannot write are only marked, and read
                # afterwards, once.
                try:
                    data = data.copy()
                    payload = _encode(data, mark, PLAIN)
                    # 95 is the underscore: looking for one byte costs a third of looking for four.
                    if 95 in payload and payload.find(b"_mlv") >= 0:
                        data = numbers(data)
                        payload = _encode(data, None, PLAIN)
                        if payload.find(b"_mlv") >= 0:
                            raise ValueError("a key needs an escape")
                    total = sum(data.values(), 0.0)
                except Exception as error:  # not only numbers: looked at closely below
                    pass_on(error)
                else:
                    if total - total == 0.0 and "" not in data:
                        if type(step) is int and self._cursor is not None:
                            try:
                                self._session.channel.put(self._cursor, STEP, step, payload)
                                return
                            except (struct.error, OverflowError) as error:  # the step has more than 64 bits
                                pass_on(error)
                        elif self._put_encoded(payload, step):
                            return
            if verbosity is not None:
                self.verbose(verbosity)(data, value, step=step)
            elif is_text(data):
                if is_number(value):
                    self.metric(data, value, step=step)
                else:
                    self._event(data, value, step)
            elif value is not None:
                reason = 'a second argument belongs to an event, log("name", data); a step is given as step=3'
                self._reject("event", self._name, {"name": data, "data": value}, step, reason)
            else:
                self.metrics(cast("Mapping[str, Any]", data), step=step)
        except Exception as error:
            give_up(error)

    @never_raising
    def metrics(self, data: Mapping[str, Any], *, step: float | None = None, verbosity: int | None = None) -> None:
        """Log numbers measured together: one line of type `metrics`.

        The full name of each is the logger's name, `/`, its key; nested mappings join with `/`. Values: Python numbers, numpy
        and torch scalars, whatever has `.item()`; NaN and infinities are kept; None, text and lists are stored as they are.
        """
        if verbosity is not None:
            self.verbose(verbosity).metrics(data, step=step)
            return
        if not is_mapping(data):
            self._reject("metrics", self._name, data, step, f"metrics are a mapping of names to numbers, not {shown(data)}")
            return
        conversion = Conversion()
        flat = conversion.metrics(data) if self._filter is None else conversion.metrics(data, self._is_wanted)
        number, problem = self._checked_step(step)
        if problem:
            self._put_rejected("metrics", self._name, number, problem, {**flat, **conversion.unusable}, conversion.nonfinite)
            return
        good, bad = conversion.nonfinite_by_use()
        if flat or not (conversion.problems or self._filter):
            self._put_converted("metrics", self._name, flat, number, good, conversion.pending)
        if conversion.problems:
            reason = joined(conversion.problems)
            self._put_rejected("metrics", self._name, number, reason, conversion.unusable, bad)

    @never_raising
    def metric(self, name: str, value: Any, *, step: float | None = None, verbosity: int | None = None) -> None:
        """Log one number: a line of type `metrics`, the same as `log({name: value})`."""
        try:
            data = {name: value}
        except TypeError:
            self._reject("metrics", self._name, {"value": value}, step, f"the name of a metric must be text, not {shown(name)}")
            return
        self(data, step=step, verbosity=verbosity)

    def span(self, name: str, /, *, step: float | None = None, **data: Any) -> Span:
        """Time a stretch of work: one line of type `event` at its end, with `duration_s` and the data of `span.add()`.

        `with log.span("validation") as span: span.add(acc=0.9)`, or `span = log.span("validation")` and `span.end()`. An
        exception is stored as `exception`, and goes on.
        """
        return Span(lambda fields: self._event(name, fields, step), data)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Logger does not change: log.sub(...) and log.at(...) give another one ({name} stays as it is)")

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)

    def __repr__(self) -> str:
        at = "".join(f" {key}={value!r}" for key, value in self._coordinates().items())
        return f"<Logger {self._session.folder.name}/{layout.stream_file(self._stream)} {self._name!r}{at}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Logger) and self._state() == other._state()

    def __hash__(self) -> int:
        return hash((self._stream, self._name, self._step, tuple(self._at)))

    def __reduce__(self) -> tuple[Any, ...]:

        pattern = self._filter.pattern if self._filter else None
        session = self._session
        travels = (str(session.folder), session.exp_id, session.run or session.parent_run, session.wishes)
        where = (self._stream, self._name, self._coordinates(), pattern, self._verbosity)
        return travelled_logger, (*travels, *where, session.rank, session.is_silent)

    def _state(self) -> tuple[Any, ...]:
        return self._session.shared, self._stream, self._name, self._coordinates(), self._filter, self._verbosity

    def _at_numbers(self, coordinates: Mapping[str, float]) -> Logger:
        """Return `_moved(at=...)` with numbers as further coordinates, at a fifth of its time: all else is as it was."""
        moved: Any = _Draft()
        moved._session = self._session
        moved._stream = self._stream
        moved._name = self._name
        moved._at = at = {**self._at, **coordinates}
        moved._step = self._step
        moved._filter = self._filter
        moved._stream_cursor = self._stream_cursor
        moved._verbosity = self._verbosity
        moved._head = self._head
        moved._before_data = b'"at":%s,"data":' % _encode(at)
        moved._cursor = None
        try:
            moved.__class__ = type(self)
        except TypeError:  # a subclass with attributes of its own
            return self._moved(at={**self._coordinates(), **coordinates})
        return moved  # type: ignore[no-any-return]

    def _is_wanted(self, name: str) -> bool:
        """Return whether the filter lets a name below this logger pass; count the names that it does not."""
        if self._filter is None or self._filter.search(full_name(self._name, name)):
            return True
        self._session.filtered += 1
        return False

    # Writing.

    def _put_encoded(self, payload: bytes, step: Any) -> bool:
        """Write metrics that are JSON already; return False, and write nothing, if the step is none."""
        if type(step) is int and -(2**63) <= step < 2**63:  # beside coordinates, such as an epoch
            line = b'%s"step":%d,%s%s}' % (self._head, step, self._before_data, payload)
            self._session.channel.put(self._stream_cursor, TAIL, 0, line)
            return True
        if step is None and self._cursor is not None:
            self._session.channel.put(self._cursor, DATA, 0, payload)
            return True
        try:
            number = self._step if step is None else step_number(step)
        except InvalidStep:
            return False
        when = b'"step":%s,' % dumps(number) if number is not None else b""
        self._session.channel.put(self._stream_cursor, TAIL, 0, b"%s%s%s%s}" % (self._head, when, self._before_data, payload))
        return True

    @never_raising
    def _event(self, name: str, data: Any, step: Any) -> None:
        self._named("event", name, {} if data is None else data, step)

    def _named(self, type: str, name: str, data: Any, step: Any) -> None:
        """Emit an event with a name of its own below this logger, unless the filter keeps it out."""
        full = self._full_name(type, name, data, step)
        if full is not None:
            self._emit(type, full, data, step)

    def _full_name(self, type: str, name: str, data: Any, step: Any) -> str | None:
        """Return the full name of an event; None if it is rejected as no name, or the filter keeps it out."""
        try:
            name = checked_event_name(name)
        except InvalidName as error:
            self._reject(type, self._name, data, step, str(error))
            return None
        return full_name(self._name, name) if type == "metadata" or self._is_wanted(name) else None

    @never_raising
    def _media(self, type: str, name: str, step: Any, verbosity: int | None, prepare: Callable[[], Prepared]) -> None:
        """Emit the result of `prepare` below this logger, or the reason why a value cannot be prepared."""
        if verbosity is not None and verbosity != self._verbosity:
            self.verbose(verbosity)._media(type, name, step, None, prepare)
            return
        full = self._full_name(type, name, None, step)
        if full is None:
            return
        try:
            prepared = without_warnings(prepare)
        except Exception as error:  # the methods of a value may raise anything; training goes on
            pass_on(error)
            reason = str(error) if isinstance(error, Unusable) else f"cannot be read: {shown(error)}"
            self._reject(type, full, None, step, reason)
        else:
            if prepared.do is None:
                self._emit(prepared.type, full, prepared.options, step)
            else:
                self._hand_over(prepared, full, step)

    def _hand_over(self, prepared: Prepared, name: str, step: Any) -> None:
        """Give raw bytes to the writer, whose worker makes files of them."""
        conversion = Conversion()
        options = conversion.value(prepared.options)
        number, problem = self._checked_step(step)
        if conversion.problems or problem:
            reason = "; ".join(filter(None, [joined(conversion.problems), problem]))
            self._put_rejected(prepared.type, name, number, reason, options, conversion.nonfinite)
            return
        if missing := missing_extra(prepared.type, prepared.options):
            warn_once(missing, MlvWarning)
        job = Job(
            prepared.type, name, str(prepared.do), options, number, self._at, conversion.nonfinite, prepared.buffers,
            self._verbosity, *self._session.wishes.patterns,
        )  # fmt: skip
        self._session.channel.hand_over(self._stream_cursor, job.pack())

    @never_raising
    def _plain_value(self, kind: str, name: str, value: Any, step: Any, verbosity: int | None) -> None:
        """Log a value that is no media: a metric or an event."""
        if verbosity is not None and verbosity != self._verbosity:
            self.verbose(verbosity)._plain_value(kind, name, value, step, None)
        elif kind == "metric":
            self.metric(name, value, step=step)
        elif kind == "event":
            self._event(name, value if is_mapping(value) else {"value": value}, step)
        else:
            kinds = ", ".join(sorted((*VALUE_KINDS, "event", "metric")))
            self._reject("event", self._name, {"name": name, "value": value}, step, f"kind={shown(kind)} is none of {kinds}")

    def _emit(self, type: str, name: str, data: Any, step: Any) -> None:
        conversion = Conversion()
        converted = conversion.value(data)
        number, problem = self._checked_step(step)
        if conversion.problems or problem:
            reason = "; ".join(filter(None, [joined(conversion.problems), problem]))
            self._put_rejected(type, name, number, reason, converted, conversion.nonfinite)
        else:
            self._put_converted(type, name, converted, number, conversion.nonfinite, conversion.pending)

    def _put_converted(
        self, type: str, name: str, data: Any, step: Any, nonfinite: Mapping[str, str], is_pending: bool
    ) -> None:
        """Write data in its JSON form; the writer first hashes the files that it refers to."""
        if is_pending:
            pointers = {f"/data{pointer}": text for pointer, text in nonfinite.items()}
            patterns = self._session.wishes.patterns
            job = Job(type, name, "references", {"data": data}, step, self._at, pointers, (), self._verbosity, *patterns)
            self._session.channel.hand_over(self._stream_cursor, job.pack())
        else:
            self._put(type, name, step, dumps(data), nonfinite)

    def _reject(self, type: str, name: str, data: Any, step: Any, reason: str) -> None:
        """Write an event as `rejected`, with its readable values."""
        conversion = Conversion()
        self._put_rejected(type, name, self._checked_step(step)[0], reason, conversion.value(data), conversion.nonfinite)

    def _checked_step(self, step: Any) -> tuple[Any, str]:
        """Return the step to store, and the problem of an unusable one."""
        try:
            return self._step if step is None else step_number(step), ""
        except InvalidStep as error:
            return self._step, str(error)

    def _put_rejected(self, type: str, name: str, step: Any, reason: str, readable: Any, nonfinite: Mapping[str, str]) -> None:
        self._put("rejected", name, step, *rejected(type, reason, readable, nonfinite))
        warn_of_rejected(type, name, reason)

    def _into(self, stream: str) -> Logger:
        """Return a logger of the same name into another stream."""
        return type(self)(self._session, stream, self._name)

    def _put(self, type: str, name: str, step: Any, data: bytes, nonfinite: Mapping[str, str]) -> None:
        tail = encoding.tail(step, self._at, data, nonfinite)
        self._session.channel.put(self._stream_cursor, TAIL, 0, encoding.head(type, name, self._verbosity) + tail)


class _Draft(MovingCalls):
    """A Logger until it has its attributes: to set them past a `__setattr__` that refuses takes four times as long.

    Python lets an object change its class where both add the same slots to the same first base.
    """

    __slots__ = Logger.__slots__


def _compiled(pattern: str) -> re.Pattern[str]:
    from mlv.projections.selecting import compiled  # with classes that only a filter asks for

    return compiled(pattern)


def travelled_logger(
    path: str,
    exp_id: str,
    run: str | None,
    wishes: Wishes,
    stream: str,
    name: str,
    at: Mapping[str, Any],
    filter: str | None,
    verbosity: int = 0,
    rank: int = 0,
    is_silent: bool = False,
) -> Logger:
    """Rebuild a pickled Logger, as `travelled_exp` does an Exp.

    Raises:
        MetaEdited: meta.json is not the one that the runs recorded: a Logger could do nothing.
    """
    edited = meta_.check_identity(Path(path), meta_.read_meta(Path(path)))
    if edited is not None:
        raise edited
    return logger_of(travelled_session(Path(path), exp_id, run, wishes, rank, is_silent), stream, name, at, filter, verbosity)


def logger_of(
    session: Session,
    stream: str,
    name: str = "",
    at: Mapping[str, Any] | None = None,
    filter: str | None = None,
    verbosity: int = 0,
) -> Logger:
    """Return a Logger into a stream of a run."""
    return (MutedLogger if session.is_disabled else Logger)(session, stream, name, at, filter, verbosity)


class MutedLogger(Logger):
    """A Logger whose calls do nothing, except `describe`: a policy may rank by the description."""

    __slots__ = ()

    def __call__(
        self, data: Mapping[str, Any] | str, value: Any = None, /, *, step: float | None = None, verbosity: int | None = None
    ) -> None:
        """Do nothing."""

    def metrics(self, data: Mapping[str, Any], *, step: float | None = None, verbosity: int | None = None) -> None:
        """Do nothing."""

    def metric(self, name: str, value: Any, *, step: float | None = None, verbosity: int | None = None) -> None:
        """Do nothing."""

    def value(
        self, name: str, value: Any, *, step: float | None = None, verbosity: int | None = None, kind: str | None = None
    ) -> None:
        """Do nothing."""

    def _event(self, *_: Any) -> None:
        pass

    def _media(self, *_: Any) -> None:
        pass

    def _message(self, *_: Any) -> None:
        pass
