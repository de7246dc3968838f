"""Kinds of values: metric, picture, histogram, array, text; no value is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mlv

data_types = ("scalar", "histogram", "image", "scalars", "array")
"""Kinds that a script may name; without one, the kind is inferred, also as `text` and `value`."""

_CHANNELS = (1, 3, 4)


def inferred(data: Any) -> tuple[str, Any]:
    """Return the kind of a value, and the value as an array where it is a list of numbers."""
    if isinstance(data, (str, bytes)):
        return "text", data
    if isinstance(data, (list, tuple)):
        data = _as_array(data)
    shape = getattr(data, "shape", None)
    if isinstance(shape, tuple):
        return _kind_of_shape(shape), data
    return ("value" if isinstance(data, (Mapping, list, tuple, set)) else "scalar"), data


def layout_of(data: Any) -> str | None:
    """Return the axes of a picture: CHW as TensorBoard takes it, else HWC; None where it is none."""
    shape: tuple[int, ...] = getattr(data, "shape", ())
    if len(shape) == 3 and 0 not in shape:
        return "CHW" if shape[0] in _CHANNELS else "HWC" if shape[2] in _CHANNELS else None
    return "HW" if len(shape) == 2 and 0 not in shape else None


def put(log: mlv.Logger, kind: str, name: str, data: Any, step: int) -> None:
    """Log a value that is no picture, with the call for its kind."""
    if kind == "scalar":
        log({name: data}, step=step)
    elif kind == "scalars":
        log.metrics({name: data}, step=step)
    elif kind == "histogram":
        log.histogram(name, data, step=step)
    elif kind == "array":
        log.array(name, _as_array(data) if isinstance(data, (int, float, list, tuple)) else data, step=step)
    elif kind == "text":
        log.text(name, data if isinstance(data, str) else data.decode(errors="backslashreplace"), step=step)
    else:
        log.value(name, data, step=step)


def put_picture(log: mlv.Logger, name: str, data: Any, step: int) -> None:
    """Log a picture to look at: floats are cut to 0..1, as TensorBoard does."""
    log.image(name, _displayed(data), step=step, layout=layout_of(data))


def _kind_of_shape(shape: tuple[int, ...]) -> str:
    if len(shape) < 3 and all(length == 1 for length in shape):
        return "scalar"
    if len(shape) == 1 and shape[0] > 0:
        return "histogram"
    return "image" if len(shape) == 3 else "array"


def _as_array(data: Any) -> Any:
    """Return numbers as an array of numpy; anything else stays as it is."""
    try:
        import numpy

        array = numpy.asarray(data)
    except Exception:  # no numpy, rows of unequal length, tensors on a device ...
        return data
    return array if array.dtype.kind in "buif" else data


def _displayed(data: Any) -> Any:
    try:
        import numpy

        array = numpy.asarray(data.detach().cpu().float() if hasattr(data, "detach") and data.is_floating_point() else data)
        return numpy.nan_to_num(array).clip(0, 1) if array.dtype.kind == "f" else data
    except Exception:  # the error is reported where the value is encoded
        return data
