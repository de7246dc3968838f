"""Taps: they copy the text written into streams without a descriptor, whatever replaces the `write` of a stream."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

_DEEPEST = 3  # streams that wrap each other may do so in a circle


def tap(stream: Any, copy: Callable[[bytes], object]) -> Callable[[], None]:
    """Hand a copy of all text written into a stream to a function; return a function that stops it."""
    with _lock:
        own = next((each for each in _taps if each.stream is stream), None)
        if own is None:
            own = _Tap(stream)
            _taps.append(own)
        own.copies.append(copy)
    return lambda: _end(own, copy)


def reaches(stream: Any, descriptors: Iterable[int]) -> bool:
    """Return whether a stream writes to one of the descriptors, itself or by another stream that it holds, as a tee does."""
    own_descriptors = set(descriptors)
    return any(descriptor(inner) in own_descriptors for inner in _with_inner(stream, _DEEPEST))


def descriptor(stream: Any) -> int:
    """Return the descriptor of a stream, -1 if it has none, as in a notebook."""
    try:
        return int(stream.fileno())
    except Exception:
        return -1


def _with_inner(stream: Any, depth: int) -> list[Any]:
    """Return a stream and the streams among its attributes or their items."""
    streams = [stream]
    if depth and not descriptor(stream) >= 0:
        for value in _attributes(stream):
            for item in value if isinstance(value, (list, tuple)) else (value,):
                if hasattr(item, "write") and item is not stream and not isinstance(item, type):
                    streams += _with_inner(item, depth - 1)
    return streams


def _attributes(stream: Any) -> Iterator[Any]:
    """Yield the attributes of a stream and of its class."""
    yield from list(getattr(stream, "__dict__", {}).values())
    for base in type(stream).__mro__:
        yield from list(vars(base).values())
        slots = vars(base).get("__slots__", ())
        yield from (getattr(stream, name, None) for name in ((slots,) if isinstance(slots, str) else slots))


class _Tap:
    """A stream whose text is copied.

    Others put a function of their own in the place of `stream.write`, and put back what was there before: IPython does it
    around each cell. So the stream gets a class in which `write` is a property, which no assignment hides. Where the class
    cannot be changed, an attribute has to do.
    """

    def __init__(self, stream: Any) -> None:
        self.stream, self.copies = stream, list[Callable[[bytes], object]]()
        self._class, self._writing = type(stream), threading.local()
        self._attribute: Callable[..., Any] | None = None
        try:
            object.__setattr__(stream, "__class__", _with_property(self._class, self))  # a proxy hands its own on
        except TypeError:
            self._attribute = _Write(self, stream.write)
            with suppress(AttributeError):
                stream.write = self._attribute

    def end(self) -> None:
        """Give the stream back its own class."""
        with suppress(TypeError, AttributeError):
            if self._attribute is None:
                object.__setattr__(self.stream, "__class__", self._class)
            elif self.stream.__dict__.get("write") is self._attribute:
                del self.stream.write

    def write(self, function: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Write by the current function, and copy the text: once, however many such functions call each other."""
        # A kernel's stream has a thread that shows in it the output of the descriptor, which is captured already.
        if getattr(self._writing, "is_busy", False) or threading.current_thread() is getattr(
            self.stream, "watch_fd_thread", None
        ):
            return function(*args, **named)
        self._writing.is_busy = True
        try:
            result = function(*args, **named)
        finally:
            self._writing.is_busy = False
        with suppress(Exception):
            content = args[0].encode(errors="replace")
            for copy in list(self.copies):
                copy(content)
        return result


class _Write:
    """The `write` of a tapped stream: the function that it replaces, and a copy."""

    def __init__(self, tap: _Tap, function: Callable[..., Any]) -> None:
        self.tap, self.function = tap, function

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self.tap.write(self.function, args, named)


def _with_property(base: type, tap: _Tap) -> type:
    """Return a class like that of a stream, with the same layout."""
    own = getattr(base, "write", None)

    def get(self: Any) -> _Write:
        function = getattr(self, "__dict__", {}).get("write")
        if function is None:
            function = own.__get__(self) if own is not None else self.__getattr__("write")
        return _Write(tap, function)

    def put(self: Any, function: Any) -> None:
        # Unwrap one of ours that is put back: wrappers would pile up, one for each cell.
        self.__dict__["write"] = function.function if isinstance(function, _Write) else function

    def remove(self: Any) -> None:
        try:
            del self.__dict__["write"]
        except KeyError:
            raise AttributeError("write") from None

    names = {"__slots__": (), "__module__": base.__module__, "__qualname__": base.__qualname__, "__doc__": base.__doc__}
    return type(base)(base.__name__, (base,), {**names, "write": property(get, put, remove)})


def _end(tap: _Tap, copy: Callable[[bytes], object]) -> None:
    with _lock:
        with suppress(ValueError):
            tap.copies.remove(copy)
        if not tap.copies and tap in _taps:
            _taps.remove(tap)
            tap.end()


_taps: list[_Tap] = []
_lock = threading.Lock()
