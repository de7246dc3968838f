"""Values of other libraries in plain Python; they are known by their methods, so that no library is imported for it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import tzinfo
from functools import partial
from numbers import Integral, Real
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from mlv.interrupts import pass_on

_OWN = frozenset({float, int, bool})
_MOST_KINDS = 1000
"""Types that are remembered; a program which makes classes without end makes us forget all of them."""
_LISTS = ("tolist", "as_py", "to_list", "to_pylist")
"""Methods by which arrays of numpy and torch, scalars of pyarrow, and columns of polars and pyarrow become plain Python."""
_SECONDS = {"W": 604800.0, "D": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_PER_SECOND = {"ms": 10**3, "us": 10**6, "ns": 10**9, "ps": 10**12, "fs": 10**15, "as": 10**18}
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")
_LONGEST_TEXT = 2000
_DEEPEST_TEXT = 5
_HIDDEN = "**********"
_FLAGS = {re.ASCII: "a", re.IGNORECASE: "i", re.LOCALE: "L", re.MULTILINE: "m", re.DOTALL: "s", re.VERBOSE: "x"}
_OF_COLUMNS = frozenset({"numpy", "ml_dtypes", "pandas", "polars", "pyarrow", "jax", "tensorflow"})
"""Packages whose classes `...DType` and `...Type` are types of numbers."""
_TORCH_WORDS = frozenset({"device", "dtype", "layout", "memory_format"})

_readers: dict[type, Callable[[Any], Any]] = {}


# Numbers.


class _Marker:
    text = "_mlv"


mark = partial(getattr, _Marker, "text")
"""Gives `_mlv` for any value, as orjson's `default`: it runs no code of Python, so that no other thread and no signal comes in
between while a container is walked."""


def numbers(data: dict[Any, Any]) -> dict[Any, Any]:
    """Return the same mapping with each scalar of numpy, torch and the like as a Python number, read once."""
    return {key: value if type(value) in _OWN else number(value) for key, value in data.items()}


def number(value: Any) -> Any:
    """Return a scalar of numpy, torch or the like as a Python number; any other value as it is."""
    try:
        return (_readers.get(type(value)) or _remembered(type(value)))(value)
    except Exception as error:  # it is looked at closely elsewhere
        pass_on(error)
        return value


def _remembered(kind: type) -> Callable[[Any], Any]:
    if len(_readers) >= _MOST_KINDS:
        _readers.clear()
    _readers[kind] = reader = _reader(kind)
    return reader


def _reader(kind: type) -> Callable[[Any], Any]:
    """Return a function that reads scalars of this type; where a closer look is needed, one that leaves the value as it is."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and issubclass(kind, (numpy.generic, numpy.ndarray)):
        # An array may be masked, have a unit, or be a span of time. Of a scalar the constructors are faster than `item`.
        if issubclass(kind, numpy.timedelta64):
            return _as_it_is
        if issubclass(kind, numpy.floating):
            return float
        return int if issubclass(kind, numpy.integer) else bool if issubclass(kind, numpy.bool_) else _as_it_is
    if _has_unit(kind) or _is_masked_tensor(kind) or kind.__module__.startswith("xarray"):
        return _as_it_is
    return _item_of_scalar if hasattr(kind, "item") and hasattr(kind, "shape") else _as_it_is


def _as_it_is(value: Any) -> Any:
    return value


def _item_of_scalar(value: Any) -> Any:
    return value.item() if value.shape == () else value


def single(value: Any) -> Any:
    """Return the element of an array, tensor or column that has only one, for `plain_forms`; anything else as it is."""
    if isinstance(value, (int, float, str, list, tuple, dict, type(None), type)) or is_missing(value):
        return value
    shape = getattr(value, "shape", None)
    if shape is None or not hasattr(value, "item") or len(shape) == 0 or any(length != 1 for length in shape):
        return value
    numpy = sys.modules.get("numpy")
    if numpy is not None and is_of_time(value):
        value = numpy.asanyarray(value)
    if numpy is not None and isinstance(value, numpy.ndarray):
        return value.reshape(())  # its `item` would lie about a mask, and forget a unit
    if _has_unit(type(value)) or _is_masked_tensor(type(value)):
        return next(iter(value))
    return value.item()


def plain_forms(value: Any) -> Iterator[Any]:
    """Yield forms of a library's object in plain Python: the first that is of another type counts.

    A missing value is None, a span of time its seconds, a moment a datetime or its ISO text, a number with a unit a text.
    """
    kind = type(value)
    if isinstance(value, type):
        return
    if is_missing(value):
        yield None
    elif _has_unit(kind):
        yield from _of_quantity(value)
    elif _is_masked_tensor(kind):
        yield _masked_list(value.get_data().tolist(), value.get_mask().tolist())
    elif is_of_time(value):
        yield _of_time(value)
    elif _is_masked_array(value):
        yield value.tolist()  # `item` shows the value under the mask
    else:
        yield from _by_methods(value)


def _by_methods(value: Any) -> Iterator[Any]:
    for method in ("item", *_LISTS):
        if method == "item" and getattr(value, "shape", ()) != ():
            continue  # an array: `item` is for values without an axis
        try:
            plain = getattr(value, method)()
        except Exception as error:  # not every `item` is that of a scalar (torch on a meta device, xarray ...)
            pass_on(error)
            if isinstance(error, Warning):
                raise  # the filters made it an error: it is read again without them
            continue
        yield plain
    if isinstance(value, Integral):
        yield int(value)
    elif isinstance(value, Real):
        yield float(value)


def is_of_standard_library(value: Any, names: Iterable[str]) -> bool:
    """Return whether a value is of one of these classes; if it is, its module has been imported."""
    for name in names:
        module, _, kind = name.rpartition(".")
        if isinstance(value, getattr(sys.modules.get(module), kind, ())):
            return True
    return False


def is_missing(value: Any) -> bool:
    """Return whether a value is the missing value of pandas, whose type cannot be compared without importing pandas."""
    kind = type(value)
    return kind.__name__ in ("NAType", "NaTType") and kind.__module__.startswith("pandas")


def is_of_time(value: Any) -> bool:
    """Return whether a value is a moment or a span of numpy, or an array of them, whose `item()` may be a bare integer."""
    dtype = getattr(value, "dtype", None)
    if getattr(dtype, "kind", None) not in ("m", "M"):
        return False
    numpy = sys.modules.get("numpy")
    is_of_numpy = numpy is not None and isinstance(value, (numpy.generic, numpy.ndarray))
    return is_of_numpy or type(value).__module__.startswith("xarray")  # a column of pandas gives moments that know their zone


def _of_time(value: Any) -> Any:
    import numpy  # it is there: the value is of it

    if len(value.shape) > 0:
        return list(numpy.asanyarray(value))
    if _is_masked_array(value) and value.mask:
        return None
    scalar = numpy.asarray(value)[()]
    if numpy.isnat(scalar):
        return None
    unit, count = numpy.datetime_data(scalar.dtype)
    if scalar.dtype.kind == "m":
        # A year and a month have no length in seconds; without a unit it is a number.
        if unit in ("Y", "M"):
            return str(scalar)
        units = int(scalar.astype("i8")) * count
        return units if unit == "generic" else units * _SECONDS[unit] if unit in _SECONDS else units / _PER_SECOND[unit]
    if unit in ("Y", "M", "W", "D"):
        return str(scalar)
    moment = scalar.astype("M8[us]").item()
    return str(scalar) if isinstance(moment, int) else moment  # before the year 1, or after 9999


def _is_masked_array(value: Any) -> bool:
    kind: Any = getattr(sys.modules.get("numpy.ma"), "MaskedArray", ())
    return isinstance(value, kind)


def _is_masked_tensor(kind: type) -> bool:
    return kind.__name__ == "MaskedTensor" and hasattr(kind, "get_mask")


def _masked_list(values: Any, mask: Any) -> Any:
    """Return values of a list of lists, None where the mask of torch excludes them."""
    if isinstance(mask, list):
        return [_masked_list(*pair) for pair in zip(values, mask, strict=True)]
    return values if mask else None


def _has_unit(kind: type) -> bool:
    """Return whether objects of a type are quantities: those of pint, unyt and astropy can be converted `to` another unit."""
    return hasattr(kind, "to") and (hasattr(kind, "units") or (hasattr(kind, "unit") and hasattr(kind, "value")))


def _of_quantity(value: Any) -> Iterator[Any]:
    unit = str(value.units if hasattr(type(value), "units") else value.unit)
    magnitude = value.magnitude if hasattr(type(value), "magnitude") else value.value
    plain = magnitude.tolist() if hasattr(magnitude, "tolist") else magnitude
    yield plain if unit in ("", "dimensionless") else _with_unit(plain, unit)


def _with_unit(plain: Any, unit: str) -> Any:
    return [_with_unit(item, unit) for item in plain] if isinstance(plain, list) else f"{plain} {unit}"


# Texts.


def own_text(value: Any) -> str | None:
    """Return the usual text of a device, a type of numbers, a zone, an address, a pattern or a slice; None for others.

    A secret that hides itself stays hidden.
    """
    kind = type(value)
    module, name = kind.__module__.partition(".")[0], kind.__name__
    # First of all: its `str` may be the secret in a subclass.
    if hasattr(kind, "get_secret_value"):
        return _HIDDEN
    if isinstance(value, re.Pattern):
        return _pattern_text(value)
    if is_missing(value):
        return None
    is_known = (
        isinstance(value, (slice, tzinfo))
        or (module == "torch" and name in _TORCH_WORDS)
        or (module in _OF_COLUMNS and name.lower().endswith("type"))
        or module == "ipaddress"
        or name.lower().endswith(("url", "dsn"))
    )
    return str(value) if is_known else None


def _pattern_text(pattern: re.Pattern[Any]) -> str:
    """Return a regular expression that compiles to the same one, with its flags inside."""
    flags = "".join(letter for flag, letter in _FLAGS.items() if pattern.flags & flag)
    text = pattern.pattern
    plain = text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else str(text)
    return f"(?{flags}){plain}" if flags else plain


def stable_text(value: Any, depth: int = 0) -> str:
    """Return a text for any value, equal on every host and in every run as far as possible: no addresses in memory.

    Functions, classes and modules have their full name, all others their `repr`.
    """
    try:
        text = own_text(value)
        if text is None:
            text = _name_of(value)
        if text is None and isinstance(value, partial) and depth < _DEEPEST_TEXT:
            arguments = [stable_text(item, depth + 1) for item in (value.func, *value.args)]
            named = [f"{key}={stable_text(item, depth + 1)}" for key, item in value.keywords.items()]
            text = f"functools.partial({', '.join([*arguments, *named])})"
        return (without_addresses(repr(value)) if text is None else text)[:_LONGEST_TEXT]
    except Exception as error:  # a value's own methods may raise anything
        pass_on(error)
        return f"<{type(value).__qualname__}>"


def _name_of(value: Any) -> str | None:
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, MethodType):
        value = value.__func__
    if not isinstance(value, (type, FunctionType, BuiltinFunctionType)):
        return None
    module = value.__module__
    return value.__qualname__ if module in (None, "builtins") else f"{module}.{value.__qualname__}"


def without_addresses(text: str) -> str:
    """Return a `repr` without addresses in memory, which differ in each run."""
    return _ADDRESS.sub("", text) if " at 0x" in text else text


def unresolved(value: Any) -> Any:
    """Return a config of OmegaConf as it was written, with its `???` and `${...}`; None for other values."""
    if not type(value).__module__.startswith("omegaconf"):
        return None
    return sys.modules["omegaconf"].OmegaConf.to_container(value, resolve=False)
