"""Forms of what JSON lacks: references, large integers, keys that are the user's own, and pointers to values."""

from __future__ import annotations

import io
from typing import Any

from mlv import words

TAG = "_mlv"
"""Key of an object that stands for a value without a JSON form; a user's own key beginning so gains an underscore."""
DEEPEST = 100
"""Levels of nesting that are stored; deeper values are taken for ones that contain themselves."""
SMALLEST, LARGEST = -(2**63), 2**64 - 1  # of the integers that orjson writes
NONFINITE = ("nan", "inf", "-inf")
_MOST_DIGITS_BITS = 14_000
"""Python refuses to print, and to read, more than 4,300 digits, unless told otherwise; hexadecimal is not limited."""
_FILES = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)


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


def digits(value: int) -> str:
    """Return all digits of an integer: decimal ones, or as `0x...` where there are more than Python prints and reads."""
    try:
        return str(value) if value.bit_length() < _MOST_DIGITS_BITS else hex(value)
    except ValueError:  # a process may be told to print even fewer
        return hex(value)


def escaped(key: str) -> str:
    """Return a key of the user's as it is stored: one that looks like `_mlv` gains an underscore."""
    return key + "_" if key.startswith(TAG) else key


def unescaped(key: str) -> str:
    """Return the key of the user's that is stored as this one."""
    return key[:-1] if key.startswith(TAG) and key != TAG and key.endswith("_") else key


def pointer_to(base: str, key: str) -> str:
    """Return the JSON pointer of a key in the object at a pointer."""
    return f"{base}/{key.replace('~', '~0').replace('/', '~1')}"
