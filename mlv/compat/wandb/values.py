"""Values of scripts in plain Python, as wandb reads them: arrays, tensors, figures, and what JSON has no form for."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from enum import Enum
from typing import Any

PLAIN = frozenset({int, float, bool, str, type(None)})
"""Types that are logged as they are."""

LISTED = 32
"""Numbers of an array up to which it is logged as a list; a larger one becomes a histogram."""


def is_array(value: Any) -> bool:
    """Return whether a value is an array or a tensor of any library, and no scalar of numpy."""
    return hasattr(value, "shape") and hasattr(value, "dtype") and (hasattr(value, "__array__") or hasattr(value, "detach"))


def is_tensor(value: Any) -> bool:
    """Return whether a value is a tensor of torch."""
    return hasattr(value, "detach") and hasattr(value, "cpu")


def as_array(value: Any) -> Any:
    """Return an array of numpy with the numbers of a value."""
    import numpy

    if is_tensor(value):
        value = value.detach().cpu()
        try:
            return value.numpy()
        except TypeError:  # bfloat16, which numpy has not
            return value.float().numpy()
    return numpy.asarray(value)


def is_data_frame(value: Any) -> bool:
    """Return whether a value is a data frame of pandas."""
    return type(value).__name__ == "DataFrame" and type(value).__module__.startswith("pandas")


def figure_of(value: Any) -> Any:
    """Return the figure that a value is or belongs to: of matplotlib or plotly; None if there is none."""
    module = getattr(value, "__name__", "") if isinstance(value, type(sys)) else type(value).__module__
    if module == "matplotlib.pyplot" and hasattr(value, "gcf"):
        return value.gcf()
    if module.startswith(("matplotlib.", "seaborn.")):
        return value if hasattr(value, "savefig") else getattr(value, "figure", None) or getattr(value, "fig", None)
    return value if module.startswith("plotly.") and hasattr(value, "to_plotly_json") else None


def are_equal(a: Any, b: Any) -> bool:
    """Return whether two values are equal: NaN is equal to itself, and so is an object whose `==` has no truth."""
    try:
        return bool(a == b) or bool(a != a and b != b)
    except Exception:  # objects whose comparison raises
        return a is b


def plain_or_itself(value: Any) -> Any:
    """Return a value in its plain form; one that holds itself, or has methods that raise, as it is: mlv says what it is."""
    try:
        return plain(value)
    except Exception:
        return value


def config_form(value: Any) -> Any:
    """Return a value as a config holds it: objects of libraries without a plain form as text.

    One that holds itself, or has methods that raise, stays as it is: mlv stores a text for it, and warns.
    """
    try:
        return _with_texts(plain(value))
    except Exception:
        return value


def plain_or_text(value: Any) -> Any:
    """Return a value as JSON holds it: objects without a plain form as text, as values that hold themselves."""
    if isinstance(value, dict):
        return {str(key): _text_at_worst(item) for key, item in value.items()}
    return _text_at_worst(value)


def _text_at_worst(value: Any) -> Any:
    try:
        return _with_texts(plain(value))
    except Exception:
        return f"<{type(value).__qualname__}, which holds itself or cannot be read>"


def _with_texts(item: Any) -> Any:
    if isinstance(item, dict):
        return {key: _with_texts(inner) for key, inner in item.items()}
    if isinstance(item, list):
        return [_with_texts(inner) for inner in item]
    return item if type(item).__module__ == "builtins" else str(item)


def plain(value: Any) -> Any:
    """Return a value in the plain form that wandb gives it; one without such a form as it is.

    Arrays become lists, functions and classes their names, sets and tuples lists, dataclasses and slices dicts.
    """
    kind = type(value)
    if kind in PLAIN:
        return value
    if isinstance(value, Mapping):
        return {key if type(key) is str else str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset, range)):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return value.name
    if is_array(value):
        array = as_array(value)
        return array.reshape(-1)[0].item() if array.size == 1 else array.tolist()
    if hasattr(value, "item") and hasattr(value, "dtype"):
        item = value.item()
        return str(item).strip("()") if isinstance(item, complex) else item
    if isinstance(value, (int, float, str)):  # of a class of its own
        return next(base for base in (int, float, str) if isinstance(value, base))(value)
    if isinstance(value, complex):
        return str(value).strip("()")
    if isinstance(value, slice):
        return {"slice_start": plain(value.start), "slice_step": plain(value.step), "slice_stop": plain(value.stop)}
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if callable(value) and hasattr(value, "__qualname__") and hasattr(value, "__module__"):
        return f"{value.__module__}.{value.__qualname__}"
    return value
