"""`wandb.plot`: charts of tables; each is logged as its table, and as a figure where matplotlib is installed.

Arguments about the place of a table on the page of wandb are taken, and mean nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mlv import Exp
from mlv.compat.wandb.media import Media
from mlv.compat.wandb.table import Table
from mlv.compat.wandb.values import as_array


class CustomChart(Media):
    """A table, the columns of it that a chart shows, and how."""

    def __init__(
        self, spec: str, table: Table, fields: Mapping[str, str], strings: Mapping[str, str], draw: Callable[..., None] | None
    ) -> None:
        """Describe a chart. Not called by users: the functions here give charts."""
        self.spec, self.table, self.fields, self.strings, self._draw = spec, table, dict(fields), dict(strings), draw

    def store(self, exp: Exp, name: str, step: int | None) -> None:
        """Log the table as `<name>_table`, an event with the description, and the figure."""
        self.table.store(exp, f"{name}_table", step)
        description = {"table": f"{name}_table", "spec": self.spec, "fields": self.fields, "strings": self.strings}
        exp.log(f"{name}_chart", description, step=step)
        if self._draw is None or not self.table.data:
            return
        try:
            from matplotlib.figure import Figure  # not pyplot: the figures of the script are its own
        except ImportError:
            return
        figure = Figure(layout="constrained")
        axes = figure.add_subplot()
        self._draw(axes, *(self.table.get_column(column) for column in self.fields.values()))
        axes.set_title(self.strings.get("title", ""))
        exp.log.figure(name, figure, step=step)


def line(table: Table, x: str, y: str, stroke: str | None = None, title: str = "", **_: Any) -> CustomChart:
    """Draw a column over another one; a line for each value of `stroke`."""
    fields = {"x": x, "y": y, **({"stroke": stroke} if stroke is not None else {})}
    return CustomChart("wandb/line/v0", table, fields, {"title": title}, _labelled(_lines, x, y))


def scatter(table: Table, x: str, y: str, title: str = "", **_: Any) -> CustomChart:
    """Draw a point for each row."""
    draw = _labelled(lambda axes, xs, ys: axes.scatter(xs, ys), x, y)
    return CustomChart("wandb/scatter/v0", table, {"x": x, "y": y}, {"title": title}, draw)


def bar(table: Table, label: str, value: str, title: str = "", **_: Any) -> CustomChart:
    """Draw a bar for each row."""
    draw = _labelled(lambda axes, labels, values: axes.barh([str(text) for text in labels], values), value, label)
    return CustomChart("wandb/bar/v0", table, {"label": label, "value": value}, {"title": title}, draw)


def histogram(table: Table, value: str, title: str = "", **_: Any) -> CustomChart:
    """Draw the distribution of a column."""
    draw = _labelled(lambda axes, values: axes.hist(values, bins=20), value, "count")
    return CustomChart("wandb/histogram/v0", table, {"value": value}, {"title": title}, draw)


def line_series(
    xs: Sequence[Any],
    ys: Sequence[Sequence[Any]],
    keys: Sequence[str] | None = None,
    title: str = "",
    xname: str = "x",
    **_: Any,
) -> CustomChart:
    """Draw several lines over one x axis, or over one each.

    Raises:
        ValueError: There are not as many axes or names as lines.
    """
    axes = list(xs) if isinstance(xs[0], Iterable) and not isinstance(xs[0], (str, bytes)) else [xs] * len(ys)
    if len(axes) != len(ys):
        raise ValueError(f"Number of x-series ({len(axes)}) must match y-series ({len(ys)}).")
    names = list(keys) if keys is not None else [f"line_{number}" for number in range(len(ys))]
    if len(names) != len(ys):
        raise ValueError(f"Number of keys ({len(names)}) must match y-series ({len(ys)}).")
    rows = [[x, name, y] for one, name, many in zip(axes, names, ys, strict=True) for x, y in zip(one, many, strict=False)]
    fields = {"step": "step", "lineVal": "lineVal", "lineKey": "lineKey"}
    table = Table(columns=["step", "lineKey", "lineVal"], data=rows)
    return CustomChart("wandb/lineseries/v0", table, fields, {"title": title, "xname": xname}, _labelled(_lines, xname, ""))


def confusion_matrix(
    probs: Any = None,
    y_true: Any = None,
    preds: Any = None,
    class_names: Sequence[str] | None = None,
    title: str = "Confusion Matrix Curve",
    **_: Any,
) -> CustomChart:
    """Count how often each class is taken for each.

    Raises:
        ValueError: Both or neither of `probs` and `preds` are given, their number differs from that of `y_true`, or there are
            more classes than names.
    """
    if (probs is None) == (preds is None):
        raise ValueError("Only one of `probs` or `preds` should be provided, not both.")
    chosen = as_array(probs).argmax(axis=1).tolist() if probs is not None else list(as_array(preds).reshape(-1).tolist())
    actual = list(as_array(y_true).reshape(-1).tolist())
    if len(chosen) != len(actual):
        raise ValueError("Number of predictions and true labels must match.")
    if class_names is None:
        classes = sorted({*chosen, *actual})
        names = [f"Class_{number}" for number in range(len(classes))]
    else:
        classes, names = list(range(len(class_names))), list(class_names)
    numbers = {value: number for number, value in enumerate(classes)}
    if unknown := sorted({*chosen, *actual} - {*numbers}):
        raise ValueError(f"class {unknown[0]!r} has no name: there are {len(names)} class_names")
    counts = [[0] * len(names) for _ in names]
    for truth, guess in zip(actual, chosen, strict=True):
        counts[numbers[truth]][numbers[guess]] += 1
    rows = [[names[i], names[j], counts[i][j]] for i in range(len(names)) for j in range(len(names))]
    table = Table(columns=["Actual", "Predicted", "nPredictions"], data=rows)
    fields = {"Actual": "Actual", "Predicted": "Predicted", "nPredictions": "nPredictions"}

    def draw(axes: Any, *_: Any) -> None:
        axes.imshow(counts, cmap="Blues")
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axes.set_yticks(range(len(names)), names)

    return CustomChart("wandb/confusion_matrix/v1", table, fields, {"title": title}, _labelled(draw, "Predicted", "Actual"))


def pr_curve(
    y_true: Any = None,
    y_probas: Any = None,
    labels: Sequence[str] | None = None,
    classes_to_plot: Sequence[Any] | None = None,
    interp_size: int = 21,
    title: str = "Precision-Recall Curve",
    **_: Any,
) -> CustomChart:
    """Compute the precision at recalls from 0 to 1, for each class.

    Raises:
        ValueError: `y_probas` has no row for each label.
    """
    import numpy

    rows = []
    for name, hits in _by_score(y_true, y_probas, labels, classes_to_plot):
        hits_so_far = hits.cumsum()
        precision = hits_so_far / numpy.arange(1, len(hits) + 1)
        recall = hits_so_far / max(int(hits_so_far[-1]), 1)
        best = numpy.maximum.accumulate(precision[::-1])[::-1]  # the best precision with at least this recall
        for at in numpy.linspace(0, 1, interp_size)[::-1]:
            position = min(int(numpy.searchsorted(recall, at, side="left")), len(best) - 1)
            rows.append([name, round(float(best[position]), 3), round(float(at), 3)])
    table = Table(columns=["class", "precision", "recall"], data=rows)
    return _curve(table, "recall", "precision", title, "Recall", "Precision")


def roc_curve(
    y_true: Any = None,
    y_probas: Any = None,
    labels: Sequence[str] | None = None,
    classes_to_plot: Sequence[Any] | None = None,
    title: str = "ROC Curve",
    **_: Any,
) -> CustomChart:
    """Compute the rates of true and false positives over thresholds, for each class.

    Raises:
        ValueError: `y_probas` has no row for each label.
    """
    rows = []
    for name, hits in _by_score(y_true, y_probas, labels, classes_to_plot):
        positives = max(int(hits.sum()), 1)
        negatives = max(len(hits) - int(hits.sum()), 1)
        rows.append([name, 0.0, 0.0])
        rows += [
            [name, round(float(false), 3), round(float(true), 3)]
            for false, true in zip((1 - hits).cumsum() / negatives, hits.cumsum() / positives, strict=True)
        ]
    table = Table(columns=["class", "fpr", "tpr"], data=rows)
    return _curve(table, "fpr", "tpr", title, "False positive rate", "True positive rate")


def plot_table(
    vega_spec_name: str, data_table: Table, fields: Mapping[str, str], string_fields: Mapping[str, str] | None = None, **_: Any
) -> CustomChart:
    """Keep a table with the description of a chart of wandb's own kinds, which nothing here draws."""
    return CustomChart(vega_spec_name, data_table, fields, string_fields or {}, None)


def _curve(table: Table, x: str, y: str, title: str, x_title: str, y_title: str) -> CustomChart:
    strings = {"title": title, "x-axis-title": x_title, "y-axis-title": y_title}
    fields = {"x": x, "y": y, "class": "class"}
    return CustomChart("wandb/area-under-curve/v0", table, fields, strings, _labelled(_lines, x_title, y_title))


def _by_score(y_true: Any, y_probas: Any, labels: Any, classes_to_plot: Any) -> Iterable[tuple[str, Any]]:
    """Yield the name of each class, and 1 or 0 for each example that is of it or not, the highest score first."""
    import numpy

    truth, scores = as_array(y_true).reshape(-1), as_array(y_probas)
    classes = numpy.unique(truth)
    if scores.ndim != 2 or len(scores) != len(truth) or scores.shape[1] < len(classes):
        raise ValueError(
            f"y_probas of shape {scores.shape}: give a row for each of {len(truth)} labels, and a column for each of "
            f"{len(classes)} classes"
        )
    for column, value in enumerate(classes.tolist()):
        if classes_to_plot is None or value in classes_to_plot:
            name = labels[value] if labels is not None and isinstance(value, int) else value
            order = numpy.argsort(-scores[:, column], kind="stable")
            yield str(name), (truth[order] == value).astype(int)


def _lines(axes: Any, xs: Sequence[Any], ys: Sequence[Any], keys: Sequence[Any] | None = None) -> None:
    for key in dict.fromkeys(keys or [None]):
        points = [(x, y) for x, y, own in zip(xs, ys, keys or [None] * len(xs), strict=True) if own == key]
        axes.plot(*zip(*points, strict=True), label=None if key is None else str(key))
    if keys:
        axes.legend()


def _labelled(draw: Callable[..., Any], x: str, y: str) -> Callable[..., None]:
    def labelled(axes: Any, *columns: Any) -> None:
        draw(axes, *columns)
        axes.set_xlabel(x)
        axes.set_ylabel(y)

    return labelled
