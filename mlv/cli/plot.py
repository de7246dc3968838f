"""`mlv plot`: metrics in the terminal, or in a file."""

from __future__ import annotations

import base64
import html
import math
import sys
import warnings
from collections.abc import Sequence
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from mlv import words
from mlv.cli.choose import no_address, writing_to
from mlv.cli.screen import Screen, progress, say, styled
from mlv.errors import InvalidArgument
from mlv.experiment.experiments import of_folders
from mlv.optional import package
from mlv.query.many import axes as axes_
from mlv.query.many import plot
from mlv.query.many.plot import Line, Style, View, x_label
from mlv.store import layout

_FORMATS = ("png", "svg", "pdf", "html")
_HEIGHT, _WIDEST = 20, 160
_COLOURS = ("blue", "green", "red", "magenta", "cyan", "yellow")
"""Colours that both plotext and rich know by these names."""
_LETTERS, _BLOCK = "abcdefghijklmnopqrstuvwxyz", "\u259a"
_ELSEWHERE = 100  # a pipe has no width: this fits into most windows
_ASCII = str.maketrans(
    {
        "\u2500": "-",
        "\u2502": "|",
        "\u00b7": ".",
        **dict.fromkeys("\u250c\u2510\u2514\u2518\u251c\u2524\u252c\u2534\u253c", "+"),
    }
)
"""Replacements for the lines of a frame, for terminals without Unicode."""


def run(
    root: Path,
    folders: Sequence[Path],
    metrics: Sequence[str],
    *,
    x: str | None,
    by: str | None,
    over: Sequence[str],
    out: Path | None,
    style: Style = Style(),  # noqa: B008 - frozen
    view: View = View(),  # noqa: B008 - frozen
    reruns: str = "latest",
) -> None:
    """Draw a picture for each name or pattern of metrics.

    Raises:
        InvalidArgument: A metric, param or coordinate is unknown, or the suffix of the file.
        FileUnusable: The file cannot be written.
        MissingExtra: A package for plots is not installed.
    """
    no_address(out, "--out")
    members = of_folders(layout.absolute(root), list(map(layout.absolute, folders))).watched(progress)
    if out is None:
        package("plotext", "plot")  # first, as its extra brings all that is needed
        for metric in metrics:
            _show(members.lines(metric, x, by, over, style, reruns), metric, x, view)
        return
    kind = out.suffix[1:].lower()
    if kind not in _FORMATS:
        raise InvalidArgument(f"--out {str(out)!r}: give a file that ends in .{', .'.join(_FORMATS)}", out=str(out))
    figure = package("matplotlib.figure", "plot").Figure(figsize=(8, 4.5 * len(metrics)), layout="constrained")
    for axes, metric in zip(figure.subplots(len(metrics), squeeze=False)[:, 0], metrics, strict=True):
        plot.draw(axes, members.lines(metric, x, by, over, style, reruns), metric, x, view)
    content = _page(figure, ", ".join(metrics)) if kind == "html" else _image(figure, kind)
    with writing_to(out):
        out.write_bytes(content)
    say(f"{out}")


def limits(text: str | None, option: str) -> tuple[float | None, float | None] | None:
    """Return the ends of an axis, from a text such as `0:1`, `:1` or `0:`.

    Raises:
        InvalidArgument: They cannot be read.
    """
    if text is None:
        return None
    first, colon, last = text.partition(":")
    try:
        ends = tuple(float(end) if end else None for end in (first, last))
    except ValueError:
        ends = ()
    if not colon or len(ends) != 2:
        raise InvalidArgument(f"{option} {text!r}: give two numbers, such as 0:1, of which one may be left out", limits=text)
    return ends


def _image(figure: Any, kind: str) -> bytes:
    file = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # matplotlib looks a little beyond the ends of a logarithmic axis
        figure.savefig(file, format=kind, dpi=150)
    return file.getvalue()


def _page(figure: Any, title: str) -> bytes:
    """Return a page that needs no other file."""
    picture = base64.b64encode(_image(figure, "svg")).decode("ascii")
    name = html.escape(title)
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}</title>'
    image = f'<img alt="{name}" style="max-width:100%" src="data:image/svg+xml;base64,{picture}">'
    return f"{head}<body>{image}</body></html>\n".encode()


def _show(lines: Sequence[Line], metric: str, x: str | None, view: View) -> None:
    plot.refuse_huge(lines, metric, view)
    x = plot.axis_of(lines, x)
    plotext = package("plotext", "plot")
    screen = Screen()
    figure = plotext.figure
    figure.clear()
    groups = list(dict.fromkeys(line.group for line in lines))
    is_told_by_colour = screen.has_colours and screen.speaks_unicode and len(lines) == len(groups) <= len(_COLOURS)
    legend = []
    for number, line in enumerate(lines):
        colour = _COLOURS[groups.index(line.group) % len(_COLOURS)]
        is_fine = is_told_by_colour or (len(lines) == 1 and screen.speaks_unicode)
        mark = "hd" if is_fine else _LETTERS[number % len(_LETTERS)]
        if line.members > 1:
            for edge in (line.low, line.high):
                figure.draw(figure.signal(*_drawn(line.x, edge, view), marker=plotext.marker("·", colour)))
        figure.draw(figure.signal(*_drawn(line.x, line.middle, view), marker=plotext.marker(mark, colour)).lines())
        legend.append(styled(f"{_BLOCK if mark == 'hd' else mark} {words.printable(line.title)}", colour))
    figure.theme("simple")  # the terminal's own background
    figure.title(words.printable(metric))
    figure.label(words.printable(x_label(lines, plot.shown_x(x)) + _omission_note(lines, view)), "x")
    _set_view(figure, lines, x, view)
    figure.plot_size(min(screen.width, _WIDEST) if screen.is_terminal else _ELSEWHERE, _HEIGHT)
    drawn = figure.build().string(colorless=not screen.has_colours).splitlines()
    # The colours are plotext's own; the data, title and label that it draws are printable already.
    sys.stdout.write(
        "".join(f"{row.rstrip()}\n" if screen.speaks_unicode else f"{row.rstrip().translate(_ASCII)}\n" for row in drawn)
    )
    sys.stdout.flush()
    for line, entry in zip(lines, legend, strict=True):
        if line.title:
            screen.show(entry)  # below the axes, where it hides no line


def _drawn(x: Any, y: Any, view: View) -> tuple[list[float], list[float]]:
    """Return the points that can be drawn: numbers, on a logarithmic axis the logarithms of those above zero."""
    np = package("numpy")
    is_drawn = (y == y) & ~_has_no_logarithm(x, y, view)
    x, y = x[is_drawn], y[is_drawn]
    return (np.log10(x) if "x" in view.log else x).tolist(), (np.log10(y) if "y" in view.log else y).tolist()


def _has_no_logarithm(x: Any, y: Any, view: View) -> Any:
    return (x <= 0) & ("x" in view.log) | (y <= 0) & ("y" in view.log)


def _omission_note(lines: Sequence[Line], view: View) -> str:
    """Return a note on values that a logarithmic axis cannot hold, empty if there are none."""
    has_some = any(bool(_has_no_logarithm(line.x, line.middle, view).any()) for line in lines)
    return ", values up to zero left out" if has_some else ""


def _set_view(figure: Any, lines: Sequence[Line], x: str, view: View) -> None:
    for axis, limits, columns in (("x", view.xlim, ("x",)), ("y", view.ylim, ("middle", "low", "high"))):
        ruler = figure.ruler(axis)
        is_logarithmic = axis in view.log
        if limits is not None:
            ruler.lim(*(_logarithm(end) if is_logarithmic and end is not None else end for end in limits))
        if is_logarithmic:
            values = [value for line in lines for column in columns for value in getattr(line, column).tolist() if value > 0]
            ends = (*(end for end in limits or () if end is not None and end > 0), *values)
            first, last = (math.log10(end(ends)) if ends else 0.0 for end in (min, max))
            ticks = _even(first, last)
            ruler.ticks(ticks, [f"{10**tick:.3g}" for tick in ticks])
    if x == axes_.TIME and any(len(line.x) for line in lines):
        first = min(line.x.min() for line in lines if len(line.x))
        last = max(line.x.max() for line in lines if len(line.x))
        moments = _even(first, last)
        figure.ruler("x").ticks(moments, [f"{datetime.fromtimestamp(moment):%b %d %H:%M:%S}" for moment in moments])


def _logarithm(end: float) -> float | None:
    return math.log10(end) if end > 0 else None


def _even(first: float, last: float) -> list[float]:
    return [first + (last - first) * number / (_TICKS - 1) for number in range(_TICKS)] if last > first else [first]


_TICKS = 4
"""Number of labels that have room below the narrowest plot."""
