"""Strategies that property tests share: values that scripts log, and values that no script should."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from mlv.encoding import Huge
from mlv.events import Event
from mlv.media.kinds import TYPES

texts = st.text(st.characters(exclude_categories=()), max_size=20)
"""Any text, lone surrogates included."""

clean_texts = st.text(max_size=20)
"""Text that UTF-8 can hold."""

long_integers = st.integers(0, 2).map(lambda extra: 10 ** (4299 + extra))
"""Python refuses to print some of these."""
integers = st.one_of(
    st.integers(), st.integers(-(2**70), 2**70), st.sampled_from([2**63 - 1, 2**63, 2**64, -(2**63)]), long_integers
)
floats = st.floats()
keys = st.one_of(
    clean_texts, st.sampled_from(["_mlv", "_mlv_", "_mlv_x", "_mlv/x", "a/b", "~0", "~1", "a.b", "", "step", "data"])
)

scalars = st.one_of(st.none(), st.booleans(), integers, floats, texts, st.binary(max_size=20))
values = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)), max_leaves=12
)
"""What comes back exactly as it was logged."""

metric_values = st.one_of(integers, floats, st.booleans(), st.none(), texts, st.lists(floats, max_size=3))
metrics = st.dictionaries(
    st.one_of(keys, texts, st.integers(-3, 3), st.booleans(), st.none()),
    st.one_of(metric_values, st.dictionaries(keys, metric_values, max_size=3)),
    max_size=5,
)
steps = st.one_of(st.none(), st.integers(-(2**70), 2**70), floats, st.booleans(), st.text(max_size=3))


class Raises:
    """An object each of whose methods raises."""

    def _raise(self, *_: object, **__: object) -> Any:
        raise ZeroDivisionError("hostile")

    __repr__ = __str__ = __len__ = __iter__ = __bool__ = __eq__ = __float__ = __int__ = __index__ = __format__ = _raise
    __hash__ = object.__hash__
    item = tolist = _raise
    __class__ = property(_raise)  # type: ignore[assignment]


class RaisesOnAnyAttribute:
    """An object that cannot even be asked."""

    def __getattr__(self, name: str) -> Any:
        raise OSError(f"no {name}")


class Endless(dict[str, Any]):
    """A mapping whose keys and items cannot be read."""

    def __iter__(self) -> Any:
        raise RuntimeError("no keys")

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("no item")

    def __len__(self) -> int:
        return 1


class Text(str):
    """A text that lies about itself."""

    def __str__(self) -> str:
        return 3  # type: ignore[return-value]

    def __format__(self, spec: str) -> str:
        raise ValueError("no format")

    def __repr__(self) -> str:
        return "\ud800"


class Number(int):
    """An integer that lies about itself."""

    def __int__(self) -> int:
        raise ValueError("no int")

    __index__ = __repr__ = __str__ = __int__  # type: ignore[assignment]


def containing_itself() -> list[Any]:
    """A list and a dict, each of which contains itself twice."""
    inner: dict[str, Any] = {}
    inner.update(a=inner, b=inner)
    outer: list[Any] = [inner]
    outer.append(outer)
    return outer


def nested(depth: int) -> list[Any]:
    """A list in a list in a list ..."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


class Recipe:
    """How to make a value that hypothesis itself could not bear to hold."""

    def __init__(self, make: Callable[[], Any], label: str) -> None:
        self.make, self._label = make, label

    def __repr__(self) -> str:
        return self._label


_HOSTILE: list[Callable[[], Any]] = [
    Raises,
    RaisesOnAnyAttribute,
    lambda: Endless(a=1),
    object,
    lambda: Text("text"),
    lambda: Number(3),
    containing_itself,
    lambda: nested(99),
    lambda: nested(101),
    lambda: nested(5000),
    lambda: (item for item in "abc"),
    lambda: 10**5000,
    lambda: {Raises(): 1, 10**5000: Raises(), Text("x"): 2},
]
_STRANGE = [int, len, Exception("x"), ..., complex(1, 2), range(3), math.nan, "\ud800", b"\xff", b"", ""]
hostile = st.sampled_from(
    [Recipe(make, f"hostile {number}") for number, make in enumerate(_HOSTILE)]
    + [Recipe(lambda value=value: value, repr(value)) for value in _STRANGE]  # type: ignore[misc]
)
"""Recipes of values that nobody should log."""


def _of_list(parts: list[Recipe]) -> Recipe:
    return Recipe(lambda: [part.make() for part in parts], repr(parts))


def _of_dict(parts: dict[Any, Recipe]) -> Recipe:
    return Recipe(lambda: {key: part.make() for key, part in parts.items()}, repr(parts))


anything = st.recursive(
    st.one_of(values.map(lambda value: Recipe(lambda: value, "a plain value")), hostile),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(_of_list),
        st.dictionaries(st.one_of(texts, st.integers(), st.none()), inner, max_size=3).map(_of_dict),
    ),
    max_leaves=5,
)
"""Recipes of any values at all."""

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
runs = st.sampled_from(["ra", "rb", "rc"])
moments = st.integers(0, 1000).map(lambda seconds: START + timedelta(seconds=seconds))
_data = st.one_of(
    values,
    st.fixed_dictionaries(
        {},
        optional={
            "of": runs,
            "status": st.sampled_from(["ok", "failed", "killed"]),
            "parent_run": st.one_of(st.none(), runs),
            "tags": st.lists(st.one_of(clean_texts, st.integers()), max_size=2),
            "text": clean_texts,
            "params": st.one_of(st.none(), st.dictionaries(keys, scalars, max_size=2)),
        },
    ),
)
events = st.builds(
    Event, run=runs, seq=st.integers(1, 100), time=moments, type=st.sampled_from([*sorted(TYPES), "of_tomorrow"]), data=_data
)


def histories(max_size: int = 12) -> st.SearchStrategy[list[Event]]:
    """Events of a few runs, in the order of their times."""
    return st.lists(events, max_size=max_size).map(lambda found: sorted(found, key=lambda event: event.time))


def same(one: Any, other: Any) -> bool:
    """Equality that tells True from 1, 1 from 1.0 and 0.0 from -0.0, and in which NaN equals NaN."""
    one, other = (int(value) if isinstance(value, Huge) else value for value in (one, other))  # which only print differently
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return one.hex() == other.hex()
    return bool(one == other)
