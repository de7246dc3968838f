"""A mapping that a script logs, taken apart: values for a line of metrics, and media for lines of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlv import Exp
from mlv.compat.wandb.image import Image
from mlv.compat.wandb.media import Histogram, Media, Plotly
from mlv.compat.wandb.table import Table
from mlv.compat.wandb.values import LISTED, PLAIN, as_array, figure_of, is_array, is_data_frame, plain

_BINS = 32
"""Bins of an array that becomes a histogram by itself."""


def taken_apart(data: Mapping[Any, Any], prefix: str = "") -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """Return the plain values, nested as they were, and the media with their full names.

    Raises:
        TypeError: A key of the outermost mapping is no text.
    """
    metrics: dict[str, Any] = {}
    media: list[tuple[str, Any]] = []
    for name, value in data.items():
        if not isinstance(name, str) and not prefix:
            raise TypeError("Key values passed to `wandb.log` must be strings.")
        key = str(name)
        if type(value) in PLAIN:
            metrics[key] = value
        elif isinstance(value, Mapping):
            try:
                inner, inner_media = taken_apart(value, f"{prefix}{key}/")
            except Exception:  # of one that holds itself, or has methods of its own
                if prefix:
                    raise
                metrics[key] = value  # the log rejects it, and training goes on
                continue
            media += inner_media
            if inner or not inner_media:
                metrics[key] = inner
        else:
            try:
                item = as_media(value)
                converted = plain(value) if item is None else None
            except Exception:  # of values with methods of their own: the log rejects them, and training goes on
                item, converted = None, value
            if item is None:
                metrics[key] = converted
            else:
                media.append((f"{prefix}{key}", item))
    return metrics, media


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
