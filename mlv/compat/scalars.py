"""Numbers as scripts hand them over: in texts, and in tensors and arrays of one element."""

from __future__ import annotations

from typing import Any


def number_in(value: Any, *, texts: bool = True) -> Any:
    """Return the number in a text, or in a tensor or array of one element; anything else stays as it is."""
    try:
        if texts and isinstance(value, str):
            return float(value)
        shape = getattr(value, "shape", None)
        if shape is not None and all(length == 1 for length in shape):
            return (value.detach() if hasattr(value, "detach") else value).item()  # with a graph it would warn
    except Exception:  # of another library: an error shows where the value is stored
        return value
    return value
