"""`mlv plot`: metrics in the terminal, or in a file."""

from __future__ import annotations

import base64
import html
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from mlv import words
from mlv.cli.choose import no_address
from mlv.cli.screen import Screen, progress, say, styled
from mlv.errors import InvalidArgument
from mlv.experiment.many import Experiments, of_folders
from mlv.query import drawing
from mlv.query.lines import Line
from mlv.query.packages import package

_FORMATS = ("png", "svg", "pdf", "html")
_HEIGHT, _WIDEST = 20, 160
_COLOURS = ("blue", "green", "red", "magenta", "cyan", "yellow")
"""Those that both plotext and rich know by these names."""
_LETTERS, _BLOCK = "abcdefghijklmnopqrstuvwxyz", "\u259a"
_ELSEWHERE = 100


def run(
    root: Path,
    folders: Sequence[Path],
    metrics: Sequence[str],
    *,
    x: str,
    by: str | None,
    over: Sequence[str],
    out: Path | None,
) -> None:
    """Draw each metric.

    Raises:
        InvalidArgument: A metric, param or coordinate is unknown, or the file's ending is.
        MissingExtra: A package for plots is not installed.
    """
    no_address(out, "--out")
    found = of_folders(root.absolute(), folders).watched(progress)
    if out is None:
        package("plotext", "plot")  # first, as its extra brings all that is needed
        for metric in metrics:
            _show(found.lines(metric, x, by, over), metric, x)
        return
    kind = out.suffix[1:].lower()
    if kind not in _FORMATS:
        raise InvalidArgument(f"--out {str(out)!r}: give a file that ends in .{', .'.join(_FORMATS)}", out=str(out))
    figure = _figure(found, metrics, x, by, over)
    out.write_bytes(_page(figure, ", ".join(metrics)) if kind == "html" else _image(figure, kind))
    say(f"{out}")


def _figure(found: Experiments, metrics: Sequence[str], x: str, by: str | None, over: Sequence[str]) -> Any:
    figure = package("matplotlib.figure", "plot").Figure(figsize=(8, 4.5 * len(metrics)), layout="constrained")
    for axes, metric in zip(figure.subplots(len(metrics), squeeze=False)[:, 0], metrics, strict=True):
        drawing.draw(axes, found.lines(metric, x, by, over), metric, x)
    return figure


def _image(figure: Any, kind: str) -> bytes:
    file = BytesIO()
    figure.savefig(file, format=kind, dpi=150)
    return file.getvalue()


def _page(figure: Any, title: str) -> bytes:
    """A page that needs nothing else."""
    picture = base64.b64encode(_image(figure, "svg")).decode("ascii")
    name = html.escape(title)
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}</title>'
    image = f'<img alt="{name}" style="max-width:100%" src="data:image/svg+xml;base64,{picture}">'
    return f"{head}<body>{image}</body></html>\n".encode()


def _show(lines: Sequence[Line], metric: str, x: str) -> None:
    plotext = package("plotext", "plot")
    screen = Screen()
    figure = plotext.figure
    figure.clear()
    groups = list(dict.fromkeys(line.group for line in lines))
    is_told_by_colour = screen.is_terminal and len(groups) <= len(_COLOURS)
    legend = []
    for line in lines:
        number = groups.index(line.group)
        colour = _COLOURS[number % len(_COLOURS)]
        mark = "hd" if is_told_by_colour or len(groups) == 1 else _LETTERS[number % len(_LETTERS)]
        if line.members > 1:
            for edge in (line.low, line.high):
                figure.draw(figure.signal(*_finite(line.x, edge), marker=plotext.marker("·", colour)))
        figure.draw(figure.signal(*_finite(line.x, line.middle), marker=plotext.marker(mark, colour)).lines())
        legend.append(styled(f"{_BLOCK if mark == 'hd' else mark} {words.printable(line.title)}", colour))
    figure.theme("simple")  # the terminal's own background
    figure.title(words.printable(metric))
    figure.label(words.printable(x), "x")
    figure.plot_size(min(screen.width, _WIDEST) if screen.is_terminal else _ELSEWHERE, _HEIGHT)
    drawn = figure.build().string(colorless=not screen.is_terminal).splitlines()
    sys.stdout.write("".join(f"{row.rstrip()}\n" for row in drawn))
    sys.stdout.flush()
    for line, entry in zip(lines, legend, strict=True):
        if line.title:
            screen.show(entry)  # below the axes, where it hides no line


def _finite(x: Any, y: Any) -> tuple[list[float], list[float]]:
    known = y == y
    return x[known].tolist(), y[known].tolist()
