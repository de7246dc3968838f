"""A mapping that a script logs, taken apart: values for a line of metrics, and media for lines of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mlv import Exp
from mlv.compat.wandb.image import Image
from mlv.compat.wandb.media import Histogram, Media, Plotly
from mlv.compat.wandb.table import Table
from mlv.compat.wandb.values import LISTED, PLAIN, as_array, figure_of, is_array, is_data_frame, plain

_BINS = 32
"""Bins of an array that becomes a histogram by itself."""


class Row(NamedTuple):
    """A mapping that a script logs, taken apart."""

    metrics: dict[str, Any]
    """Plain values, nested as they were."""
    media: list[tuple[str, Any]]
    """Media with their full names."""
    unreadable: dict[str, Any]
    """Values that hold themselves, or have methods that raise: the log rejects them, and training goes on."""


def taken_apart(data: Mapping[Any, Any], prefix: str = "") -> Row:
    """Return the parts of a mapping.

    Raises:
        TypeError: A key of the outermost mapping is no text.
    """
    row = Row({}, [], {})
    for name, value in data.items():
        if not isinstance(name, str) and not prefix:
            raise TypeError("Key values passed to `wandb.log` must be strings.")
        key = str(name)
        if type(value) in PLAIN:
            row.metrics[key] = value
            continue
        try:
            _take(row, key, value, prefix)
        except Exception:
            if prefix:
                raise
            row.unreadable[key] = value
    return row


def _take(row: Row, key: str, value: Any, prefix: str) -> None:
    """Put a value of a mapping into the part that it belongs to."""
    if isinstance(value, Mapping):
        inner = taken_apart(value, f"{prefix}{key}/")
        row.media.extend(inner.media)
        if inner.metrics or not inner.media:
            row.metrics[key] = inner.metrics
        return
    item = as_media(value)
    if item is None:
        row.metrics[key] = plain(value)
    else:
        row.media.append((f"{prefix}{key}", item))


def as_media(value: Any) -> Media | list[Media] | None:
    """Return a value as media, which a list of media, a data frame, a figure and a large array are too; None if it is plain."""
    if isinstance(value, Media):
        return value
    if isinstance(value, (list, tuple)):
        return list(value) if value and all(isinstance(item, Media) for item in value) else None
    if is_data_frame(value):
        return Table(dataframe=value)
    if is_array(value):
        array = as_array(value)
        return Histogram(array, num_bins=_BINS) if array.size > LISTED and array.dtype.kind in "biuf" else None
    return Plotly(value) if figure_of(value) is not None else None


def store_media(exp: Exp, name: str, value: Media | list[Media], step: int | None) -> None:
    """Log media; plain images of a list together, others of a list one by one: images with a number behind the name.

    Raises:
        MlvError: A file cannot be published.
    """
    if isinstance(value, Media):
        value.store(exp, name, step)
        return
    images = [item for item in value if isinstance(item, Image) and item.is_bare]
    if len(images) == len(value):
        captions = [image.caption or "" for image in images]
        exp.log.images(name, [image.content for image in images], step=step, captions=captions if any(captions) else None)
        return
    for number, item in enumerate(value):
        item.store(exp, f"{name}/{number}" if isinstance(item, Image) else name, step)
