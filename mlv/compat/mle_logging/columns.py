"""Columns of `log_<seed>.hdf5`: values of one kind, appended to a dataset."""

from __future__ import annotations

import math
from typing import Any

from mlv import CannotResume
from mlv.compat.mle_logging.hdf import import_h5py
from mlv.compat.mle_logging.records import Change

_CHUNK_BYTES = 4096
_META_CHUNK_BYTES = 256
_TIME_LENGTH = 14
_NAME = "mlv_name"
"""Attribute for a name that no dataset can have."""


def in_group(key: str) -> str:
    """Return the name of a dataset: a slash would make a group of it."""
    return key.replace("/", "%2F") if key.strip(".") else key.replace(".", "%2E")


def key_of(dataset: Any, name: str) -> str:
    """Return the name that a dataset stands for."""
    return str(dataset.attrs.get(_NAME, name)) if "%2" in name else name


class SeedColumn:
    """A column: kind, length and name of its dataset, and the changes that are still to be written."""

    def __init__(self, kind: str, length: int = 0, key: str = "") -> None:
        """Begin a column of kind `number`, `clock`, `text`, or `list` (of numbers, of any shape)."""
        self.kind, self.length, self.key = kind, length, key
        self._added: list[Any] = []
        self._placed: dict[int, Any] = {}
        self._whole: list[Any] | None = None
        self._last_whole: list[Any] | None = None

    @classmethod
    def of(cls, change: Change) -> SeedColumn:
        """Return a column that suits its first value."""
        return cls(_kind(change), 0, change.key)

    @property
    def is_changed(self) -> bool:
        """Whether anything is still to be written."""
        return self._whole is not None or bool(self._added or self._placed)

    def state(self) -> tuple[str, int, str]:
        """Return the arguments that make the same column, once everything is written."""
        return self.kind, self.length, self.key

    def add(self, change: Change) -> None:
        """Take a change; the order of appended and of placed values among each other does not matter."""
        if change.is_whole:
            if change.value == self._last_whole:  # it comes again with each model, and replaced texts cost space in the file
                return
            self._last_whole = list(change.value)
            self._whole, self._added, self._placed = list(change.value), [], {}
            return
        self._last_whole = None
        if change.slot is None:
            self._added.append(change.value)
        else:
            self._placed[change.slot] = change.value

    def write(self, group: Any, name: str) -> None:
        """Bring the changes into the dataset, which is made where it is missing."""
        dataset = group[name] if name in group else self._new_dataset(group, name)
        if self._whole is not None:
            self.length = 0
            self._added = [*self._whole, *self._added]
        if self._added or self._whole is not None:
            values = self._array(self._added)
            self._grow(dataset, self.length + len(self._added), values.shape[1:])
            if len(values):
                region = (slice(self.length, None), *(slice(0, side) for side in values.shape[1:]))
                dataset[region] = values
            self.length += len(self._added)
        for slot, value in self._placed.items():
            if slot >= self.length:
                self._grow(dataset, slot + 1, ())
                self.length = slot + 1
            dataset[slot] = self._array([value])[0]
        self._added, self._placed, self._whole = [], {}, None

    def cut_back(self, dataset: Any) -> None:
        """Cut off the rows after the commit.

        Raises:
            CannotResume: There is less than was committed.
        """
        if dataset.shape[0] < self.length:
            raise CannotResume(f"{dataset.name} has lost what was written", name=dataset.name)
        dataset.resize(self.length, axis=0)

    def _new_dataset(self, group: Any, name: str) -> Any:
        shape = self._array(self._added).shape[1:] if self._added else ()
        dtype = {"text": import_h5py().string_dtype(), "clock": f"S{_TIME_LENGTH}"}.get(self.kind, "f8")
        size = {"text": 16, "clock": _TIME_LENGTH}.get(self.kind, 8)
        room = _META_CHUNK_BYTES if name.startswith("meta/") else _CHUNK_BYTES
        chunk = (max(1, room // (size * math.prod(shape) or 1)), *(max(1, side) for side in shape))
        dataset = group.create_dataset(
            name, (0, *shape), dtype, maxshape=(None,) * len(chunk), chunks=chunk, fillvalue=math.nan if dtype == "f8" else None
        )
        if "%2" in name:
            dataset.attrs[_NAME] = self.key
        return dataset

    def _grow(self, dataset: Any, length: int, shape: tuple[int, ...]) -> None:
        sides = (max(old, new) for old, new in zip(dataset.shape[1:], shape, strict=False))
        dataset.resize((length, *sides))

    def _array(self, values: list[Any]) -> Any:
        import numpy

        if self.kind == "text":
            return numpy.array([_stored(value) for value in values], dtype=object)
        if self.kind == "clock":
            return numpy.array([str(value).encode("ascii", "replace") for value in values], dtype=f"S{_TIME_LENGTH}")
        if self.kind == "list":
            return _padded([_numbers(value) for value in values])
        return numpy.array([number(value) for value in values], dtype="f8")


def _kind(change: Change) -> str:
    if change.group == "time" and change.key == "time":
        return "clock"
    value = next(iter(change.value), "") if change.is_whole else change.value
    return "text" if isinstance(value, str) else "list" if isinstance(value, list) else "number"


def number(value: Any) -> float:
    """Return a value as a number; NaN where it is none."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except (TypeError, ValueError):
        return math.nan


def _stored(value: Any) -> bytes:
    """Return a text in a form for HDF5, without zeros, which would end it."""
    text = str(value).replace("\0", "")
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")


def _numbers(value: Any) -> Any:
    import numpy

    try:
        return numpy.array(value, dtype="f8")
    except (TypeError, ValueError):  # rows of unequal length, or no numbers
        items = value if isinstance(value, list) else []
        return numpy.array([math.nan if isinstance(item, list) else number(item) for item in items])


def _padded(values: list[Any]) -> Any:
    """Return arrays as one array, with as many axes as the first: gaps are NaN, and arrays with other axes are all NaN."""
    import numpy

    axes = max(1, values[0].ndim)
    fitting = [value if value.ndim == axes else numpy.full((0,) * axes, math.nan) for value in values]
    result = numpy.full((len(values), *numpy.max([value.shape for value in fitting], axis=0)), math.nan)
    for target, value in zip(result, fitting, strict=True):
        target[tuple(slice(0, side) for side in value.shape)] = value
    return result
