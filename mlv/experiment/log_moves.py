"""The calls of a Logger that give another one: of another name, with coordinates, or with a verbosity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from mlv import encoding
from mlv.encoding import Conversion, shown, step_number
from mlv.errors import InvalidArgument, MlvWarning
from mlv.events import full_name
from mlv.experiment.log_arguments import are_plain_numbers, checked_event_name
from mlv.notices import warn_once

if TYPE_CHECKING:
    import re

    from mlv.experiment.logger import Logger
    from mlv.experiment.session import Session

T = TypeVar("T")


class MovingCalls:
    """The part of `Logger` that moves: each call gives another logger, and writes nothing."""

    __slots__ = ()

    if TYPE_CHECKING:
        _session: Session
        _stream: str
        _name: str
        _at: dict[str, Any]
        _step: float | None
        _filter: re.Pattern[str] | None
        _stream_cursor: int
        _head: bytes
        _verbosity: int

        def _at_numbers(self, coordinates: Mapping[str, float]) -> Logger: ...

    def sub(self, name: str) -> Logger:
        """Return a logger one level down: its names begin with this one's, `/`, `name`. Writes nothing.

        Raises:
            InvalidName: The name is empty or no text.
        """
        return self._moved(name=full_name(self._name, checked_event_name(name)))

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
        """The coordinates of `at()` and `each()`."""
        restored: dict[str, Any] = encoding.restored(self._coordinates(), {})
        return restored

    def at(self, /, **coordinates: Any) -> Logger:
        """Return a logger whose lines carry these coordinates in `at`, beside those it has. Writes nothing.

        The coordinate `step` stands in the lines' own `step`, where a call does not give another one.

        Raises:
            InvalidArgument: A coordinate has no JSON form, or is not finite.
            InvalidStep: The step is not a number.
        """
        if are_plain_numbers(coordinates):  # such as an epoch: frameworks move once for each, or for each line
            return self._at_numbers(coordinates)
        step = {"step": step_number(coordinates.pop("step"))} if "step" in coordinates else {}
        conversion = Conversion()
        new = conversion.value(coordinates)
        problems = conversion.problems or [(pointer[1:], "is not finite") for pointer in conversion.nonfinite]
        if problems:
            text = f"coordinate {problems[0][0]} {problems[0][1]}: give a number or a text"
            raise InvalidArgument(text, coordinates=coordinates)
        return self._moved(at={**self._coordinates(), **new, **step})

    def verbose(self, verbosity: int) -> Logger:
        """Return a logger whose lines carry this verbosity: outputs leave out what is above their own. Writes nothing.

        One that is no integer counts as 0, and is warned about once.
        """
        if type(verbosity) is not int or not -(2**31) < verbosity < 2**31:
            warn_once(f"verbosity={shown(verbosity)} is no small integer: 0 is used", MlvWarning)
            verbosity = 0
        return cast("Logger", self) if verbosity == self._verbosity else self._moved(verbosity=verbosity)

    def each(self, /, **coordinate: Iterable[T]) -> Iterator[tuple[T, Logger]]:
        """Go through values of one coordinate: `for epoch, here in log.each(epoch=range(10)): here({"loss": 0.3})`.

        Raises:
            InvalidArgument: Not exactly one coordinate was given, or there is nothing to go through; or as `at`.
        """
        if len(coordinate) != 1:
            text = f"each() takes one coordinate, such as epoch=range(10), not {len(coordinate)}"
            raise InvalidArgument(text, given=coordinate)
        [(name, values)] = coordinate.items()
        try:
            iterator = iter(values)
        except TypeError:
            text = f"each({name}={shown(values)}) has nothing to go through: give values, such as {name}=range(10)"
            raise InvalidArgument(text, given=coordinate) from None
        return ((value, self.at(**{name: value})) for value in iterator)

    def _coordinates(self) -> dict[str, Any]:
        return self._at if self._step is None else {**self._at, "step": self._step}

    def _moved(self, name: str | None = None, at: Mapping[str, Any] | None = None, verbosity: int | None = None) -> Logger:
        pattern = self._filter.pattern if self._filter else None
        where = self._name if name is None else name
        level = self._verbosity if verbosity is None else verbosity
        return cast("type[Logger]", type(self))(
            self._session, self._stream, where, self._coordinates() if at is None else at, pattern, level
        )
