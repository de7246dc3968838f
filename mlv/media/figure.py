"""Figures: rendered in the calling process, which alone can, and stored by a worker."""

from __future__ import annotations

import io
import sys
from typing import Any

from mlv.encoding import shown
from mlv.media import document
from mlv.media.jobs import Prepared, Unusable


def prepare(value: Any, *, format: str = "png", dpi: float | None = None, close: bool = False) -> Prepared:
    """Render a figure, or a list of them for one event.

    Args:
        value: Anything with `savefig`, such as a figure of matplotlib, or a figure of plotly, which becomes a page of HTML that
            fetches plotly's script when it is opened.
        format: `png`, `svg`, `pdf`, or another that its `savefig` knows.
        dpi: Dots per inch.
        close: Close figures of matplotlib afterwards, whether they could be rendered or not.

    Raises:
        Unusable: It is no figure, or cannot be rendered.
    """
    if not (isinstance(format, str) and format.isalnum()):
        raise Unusable(f"format={shown(format)} is no format of figures: give 'png', 'svg' or 'pdf'")
    several = isinstance(value, (list, tuple))
    figures = list(value) if several else [value]
    if not figures:
        raise Unusable("there are no figures in an empty list")
    try:
        return document.prepared("figure", [_rendered(figure, format, dpi) for figure in figures], {}, several=several)
    finally:
        if close:
            _close(figures)


def _rendered(figure: Any, format: str, dpi: float | None) -> tuple[str, bytes]:
    """Render a figure: return suffix and content of its file."""
    try:
        if hasattr(figure, "savefig"):
            file = io.BytesIO()
            figure.savefig(file, format=format, **({} if dpi is None else {"dpi": dpi}))
            return f".{format.lower()}", file.getvalue()
        if hasattr(figure, "to_html") and hasattr(figure, "to_plotly_json"):
            return ".html", figure.to_html(include_plotlyjs="cdn").encode()
    except Exception as error:
        raise Unusable(f"the figure cannot be rendered: {shown(error)}") from error
    raise Unusable(f"a value of type {type(figure).__name__} is no figure: give one with `savefig`, or one of plotly")


def _close(figures: list[Any]) -> None:
    pyplot = sys.modules.get("matplotlib.pyplot")
    for figure in figures:
        inner = getattr(figure, "figure", figure)  # an object of seaborn holds a figure
        if pyplot is not None and isinstance(inner, pyplot.Figure):
            pyplot.close(inner)
