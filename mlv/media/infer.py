"""Inference of an event's type from its value, where the user names none."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from numbers import Real
from typing import Any

from mlv.interrupts import pass_on
from mlv.media.arrays import is_array

_CHANNELS = (1, 3, 4)  # grey, colours, colours with transparency
_MOST_IMAGES = 64  # more of them at once are data, not pictures to look at
_REAL = re.compile(r"(torch\.)?(b?float|u?int|bool)")
_FIXED_KINDS = "MmSU"


def kind_of(value: Any) -> str:
    """Return the method of `Logger` that suits a value: `metric`, `text`, `histogram`, `image`, ..., `event`. Never raises.

    - A number, or an array with one item: `metric`. A text: `text`.
    - An array of numbers with one axis, or a list of numbers: `histogram`.
    - HW, HWC or CHW with 1, 3 or 4 channels, of uint8 or of floats in 0..1: `image`, as is one of PIL.
    - NHWC or NCHW of uint8, up to 64 of them, or a list of images: `images`. Four axes of floats are weights or activations
      more often than pictures, and as an `array` nothing of them is lost.
    - Any other array of numbers: `array`.
    - An object with columns: `table`. One with `savefig`, or of plotly, or a list of such: `figure`.
    - All else: `event`.

    Nothing is imported. Values of an array are read only to tell an image of floats from other floats.
    """
    kind = type(value)
    if kind is float or kind is int or kind is bool:
        return "metric"
    if kind is str:
        return "text"
    try:
        return _kind_of(value)
    except Exception as error:  # a value's own attributes may raise anything
        pass_on(error)
        return "event"


def _kind_of(value: Any) -> str:
    # From the cheapest test to the dearest: most values are texts and numbers.
    if isinstance(value, str):
        return "text"
    if isinstance(value, (int, float)):
        return "metric"
    if isinstance(value, Mapping):
        return "event"
    if isinstance(value, list):
        return _of_list(value)
    kind = type(value)
    if hasattr(kind, "columns") and (hasattr(kind, "__arrow_c_stream__") or hasattr(kind, "__dataframe__")):
        return "table"
    if is_array(value):
        return _of_array(value, tuple(value.shape))
    if hasattr(kind, "item") and all(length == 1 for length in getattr(value, "shape", ())):
        return "metric"
    if _is_picture(value):
        return "image"
    return "figure" if _is_figure(kind) else "event"


def _of_list(value: list[Any]) -> str:
    if not value or isinstance(value[0], list):
        return "event"
    if all(issubclass(kind, Real) for kind in set(map(type, value))):
        return "histogram"
    of_items = {"metric": "histogram", "image": "images", "figure": "figure"}
    first = kind_of(value[0])
    return of_items[first] if first in of_items and all(kind_of(item) == first for item in value) else "event"


def _of_array(value: Any, shape: tuple[int, ...]) -> str:
    dtype = (getattr(value.dtype, "name", None) or str(value.dtype)).lower()
    if not _REAL.match(dtype):
        is_fixed = "complex" in dtype or (len(shape) > 0 and getattr(value.dtype, "kind", "O") in _FIXED_KINDS)
        return "array" if is_fixed else "event"
    if all(length == 1 for length in shape):
        return "metric"
    if len(shape) == 1:
        return "histogram"
    is_bytes = dtype.endswith("uint8")
    if not _has_channels(shape[-3:]) or 0 in shape:
        return "array"
    if len(shape) == 4:
        return "images" if is_bytes and shape[0] <= _MOST_IMAGES else "array"
    return "image" if len(shape) < 4 and (is_bytes or ("float" in dtype and _is_within_0_and_1(value))) else "array"


def _has_channels(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or shape[0] in _CHANNELS or shape[2] in _CHANNELS


def _is_within_0_and_1(value: Any) -> bool:
    try:
        return bool(value.min() >= 0 and value.max() <= 1)  # of NaN, neither is true
    except Exception as error:  # a sparse tensor, one without data ...
        pass_on(error)
        return False


def _is_picture(value: Any) -> bool:
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(value, pillow.Image)


def _is_figure(kind: type) -> bool:
    is_of_plotly = any(base.__module__.startswith("plotly.") for base in kind.__mro__)
    return hasattr(kind, "savefig") or (is_of_plotly and hasattr(kind, "write_html"))
