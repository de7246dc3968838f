"""Arrays of any library, and lists of numbers, as their bytes; numpy is used where it is installed, never needed."""

from __future__ import annotations

import math
import struct
import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from numbers import Complex, Integral, Real
from operator import lt
from typing import Any

from mlv.encoding import shown
from mlv.media.jobs import Unusable
from mlv.protocols import Buffer

BFLOAT16 = "bfloat16"
"""Stands in `Raw.descr` for a type that numpy has no name for: the upper two bytes of a float32."""

_ORDER = "<" if sys.byteorder == "little" else ">"
_KINDS = "biufcSUMm"
_FORMATS = {"?": "b", **dict.fromkeys("bhilq", "i"), **dict.fromkeys("BHILQ", "u"), **dict.fromkeys("efd", "f")}
"""Kinds of numbers by their code in `struct`, of those that a buffer can hold."""
_CODES = {"b1": "?", "f2": "e", "f4": "f", "f8": "d", "i1": "b", "i2": "h", "i4": "i", "i8": "q",
          "u1": "B", "u2": "H", "u4": "I", "u8": "Q"}  # fmt: skip
"""Codes in `struct`, of standard size, by the type of the items."""
_MOST_AXES = 64  # more than numpy has
_SHOWN_SHAPES = 3


@dataclass(frozen=True)
class Raw:
    """An array as its bytes, in C order."""

    descr: str
    """Type of the items as numpy writes it, `<f4`, or `BFLOAT16`."""
    shape: tuple[int, ...]
    content: Buffer
    """Not copied where the value's own memory serves; it keeps that memory alive."""
    dtype: str
    """Name of the value's own type, `float32`; that of the items may be wider (8-bit floats become float32)."""

    @property
    def size(self) -> int:
        """Number of items."""
        size = 1
        for length in self.shape:
            size *= length
        return size

    @property
    def kind(self) -> str:
        """`b`, `i`, `u`, `f`, `c`, `S`, `U`, `M` or `m`, as in numpy."""
        return "f" if self.descr == BFLOAT16 else self.descr[1]


def raw(value: Any) -> Raw:
    """Return the bytes of an array of numpy, torch, JAX or the like, a list (of lists) of numbers or arrays, or a number.

    Raises:
        Unusable: It is nothing of that kind, is ragged, or holds items without a fixed size.
    """
    try:
        return _raw(value)
    except (Unusable, Warning):
        raise
    except Exception as error:  # libraries raise anything for values that they cannot convert
        raise Unusable(f"a value of type {type(value).__name__} cannot be read as an array: {shown(error)}") from None


def _raw(value: Any) -> Raw:
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None and isinstance(value, numpy.ndarray):
        return _of_numpy(value, numpy)
    if torch is not None and isinstance(value, torch.Tensor):
        return _of_torch(value, torch)
    if isinstance(value, (array, memoryview)):
        return _of_buffer(memoryview(value))
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)):
        return _of_list(list(value))
    if hasattr(type(value), "__array__") or hasattr(type(value), "__array_interface__"):
        numpy = numpy_if_there()  # such a value is made with it
        return _of_numpy(numpy.asarray(value), numpy)
    if isinstance(value, Complex):
        numbers = _of_numbers([value], ())
        if numbers is not None:
            return numbers
    raise Unusable(f"a value of type {type(value).__name__} is no array: give one of numpy, torch or JAX, or a list of numbers")


def _of_numpy(value: Any, numpy: Any) -> Raw:
    if getattr(value, "mask", None) is not None and numpy.any(value.mask):
        raise Unusable("the array has masked items: fill them, as in value.filled(...)")
    if value.dtype.isbuiltin == 2:  # made known to numpy by somebody else: ml_dtypes, for JAX
        return _of_extension(value, numpy)
    if value.dtype.kind not in _KINDS:
        raise Unusable(f"an array of dtype {value.dtype} has no items of a fixed type: convert it, as in value.astype(float)")
    if value.dtype.newbyteorder("<") != value.dtype:
        value = value.astype(value.dtype.newbyteorder("<"))
    flat = numpy.ascontiguousarray(value).reshape(-1)
    content = memoryview(flat.view(numpy.uint8)) if flat.nbytes else b""
    return Raw(value.dtype.str, tuple(value.shape), content, str(value.dtype))


def _of_extension(value: Any, numpy: Any) -> Raw:
    is_known = value.dtype.name == BFLOAT16
    stand_in = _of_numpy(value.view("<u2") if is_known else value.astype("<f4"), numpy)
    return Raw(BFLOAT16 if is_known else stand_in.descr, stand_in.shape, stand_in.content, value.dtype.name)


def _of_torch(value: Any, torch: Any) -> Raw:
    dtype = str(value.dtype).removeprefix("torch.")
    tensor = value.detach()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    if dtype == "complex32" or dtype.startswith("float8"):
        tensor = tensor.to(torch.complex64 if dtype == "complex32" else torch.float32)
    tensor = tensor.cpu().resolve_conj().resolve_neg().contiguous()
    shape, stored = tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
    descr = BFLOAT16 if stored == BFLOAT16 else _descr(stored[0], tensor.element_size())
    flat = tensor.reshape(-1).view(torch.uint8)
    try:
        content: Buffer = memoryview(flat.numpy())
    except RuntimeError:  # torch goes without numpy
        content = bytes(flat.tolist())
    return Raw(descr, shape, content, dtype)


def _of_buffer(view: memoryview, shape: tuple[int, ...] | None = None) -> Raw:
    """Return the numbers of a buffer; its own shape is one axis, unless `shape` replaces it."""
    if view.format not in _FORMATS:
        raise Unusable(f"a buffer of format {view.format!r} holds no numbers")
    descr = _descr(_FORMATS[view.format], view.itemsize)
    content = view.cast("B") if view.contiguous and view.nbytes else view.tobytes()
    return Raw(descr, tuple(view.shape or ()) if shape is None else shape, content, type_name(descr))


def _of_list(values: list[Any]) -> Raw:
    shape, flat = [len(values)], values
    while any(issubclass(kind, (list, tuple)) for kind in set(map(type, flat))):
        sizes = {len(item) if isinstance(item, (list, tuple)) else None for item in flat}
        if len(sizes) > 1 or len(shape) == _MOST_AXES:
            raise Unusable("the list is ragged: its inner lists differ in length or depth")
        shape.append(len(flat[0]))
        flat = list(chain.from_iterable(flat))
    return _of_numbers(flat, tuple(shape)) or _stacked(flat, tuple(shape))


def _of_numbers(flat: list[Any], shape: tuple[int, ...]) -> Raw | None:
    """Convert numbers of any kind to one type for all, chosen as numpy does; None if an item is no number."""
    kinds = set(map(type, flat))
    try:
        if kinds == {bool}:
            return Raw("|b1", shape, bytes(flat), "bool")
        if kinds and all(issubclass(kind, Integral) for kind in kinds):
            code = "q" if min(flat) < 0 or max(flat) < 2**63 else "Q"
            return _of_buffer(memoryview(array(code, flat)), shape)
        if all(issubclass(kind, Real) for kind in kinds):
            return _of_buffer(memoryview(array("d", flat)), shape)
        if all(issubclass(kind, Complex) for kind in kinds):
            pairs = array("d", chain.from_iterable((item.real, item.imag) for item in flat))
            return Raw(_descr("c", 16), shape, memoryview(pairs).cast("B"), "complex128")
    except OverflowError:
        raise Unusable("the list holds an integer beyond 64 bits: give floats") from None
    return None


def _stacked(flat: list[Any], shape: tuple[int, ...]) -> Raw:
    """Join arrays of one shape and type along one more axis."""
    for item in flat:
        if not is_array(item):
            raise Unusable(f"the list holds a value of type {type(item).__name__}: give numbers, or arrays of one shape")
    rows = [raw(item) for item in flat]
    kinds = sorted({f"{row.dtype} {row.shape}" for row in rows})
    if len(kinds) > 1:
        raise Unusable(f"the list holds arrays of different shapes or types ({', '.join(kinds[:_SHOWN_SHAPES])})")
    first = rows[0]
    return Raw(first.descr, (*shape, *first.shape), b"".join(row.content for row in rows), first.dtype)


def is_array(value: Any) -> bool:
    """Return whether a value is an array of some library: it has a shape and a type of its items."""
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _descr(kind: str, itemsize: int) -> str:
    return f"{'|' if itemsize == 1 else _ORDER}{kind}{itemsize}"


def type_name(descr: str) -> str:
    """Return the name of a type by numpy's code: `float32` for `<f4`, `datetime64[ns]` for `<M8[ns]`, `<U5` for itself."""
    kind, size = descr[1], descr[2:]
    if kind in "Mm":
        return {"M": "datetime64", "m": "timedelta64"}[kind] + size[1:]
    names = {"i": "int", "u": "uint", "f": "float", "c": "complex"}
    return "bool" if kind == "b" else names[kind] + str(8 * int(size)) if kind in names else descr


def row(values: Any, subject: str) -> list[Any]:
    """Return a row of real numbers as numbers of Python.

    Raises:
        Unusable: It is none.
    """
    raw_values = raw(values)
    if raw_values.kind not in "iuf" or len(raw_values.shape) != 1:
        raise Unusable(f"{subject} are a row of numbers, not an array of dtype {raw_values.dtype} and shape {raw_values.shape}")
    plain = values.tolist() if hasattr(values, "tolist") else list(values)
    return [item.item() if hasattr(item, "item") else item for item in plain]


def ascending(values: Any, subject: str) -> list[Any]:
    """Return a row of finite numbers, each greater than the one before, as numbers of Python.

    Raises:
        Unusable: It is none.
    """
    numbers = row(values, subject)
    if not all(map(math.isfinite, numbers)) or not all(map(lt, numbers, numbers[1:])):
        raise Unusable(f"{subject} are finite numbers, each greater than the one before; {shown(numbers)} are not")
    return numbers


def widened(descr: str, content: Buffer) -> tuple[str, Buffer]:
    """Return the items in a type that numpy can name: bfloat16 as float32, all else as it is."""
    if descr != BFLOAT16:
        return descr, content
    narrow = bytes(content)
    wide = bytearray(2 * len(narrow))
    wide[2::4], wide[3::4] = narrow[0::2], narrow[1::2]
    return "<f4", wide


def floats(descr: str, content: Buffer) -> Any:
    """Return items that are real numbers as floats of 64 bits: an array of numpy, or of the standard library without it."""
    descr, content = widened(descr, content)
    numpy = numpy_if_there()
    if numpy is not None:
        return numpy.frombuffer(content, descr).astype("f8")
    if descr[1:] not in _CODES:
        raise Unusable(f"items of type {descr} can only be read with numpy: pip install numpy")
    order = "<" if descr[0] == "|" else descr[0]
    return array("d", struct.unpack(f"{order}{len(content) // int(descr[2:])}{_CODES[descr[1:]]}", content))


def floats_in_chunks(descr: str, content: Buffer, size: int) -> Iterator[Any]:
    """Yield the items as `floats` does, so many at a time."""
    view = memoryview(content)
    chunk_bytes = size * (2 if descr == BFLOAT16 else int(descr[2:]))
    return (floats(descr, view[start : start + chunk_bytes]) for start in range(0, len(view), chunk_bytes))


def numpy_if_there() -> Any:
    """Import numpy if need be (a worker has the time), and return the module; None where it is missing."""
    try:
        import numpy

        return numpy
    except ImportError:
        return None
