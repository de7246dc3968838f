"""Learning curves of several runs in one figure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mlv import MissingExtra
from mlv.compat.mle_logging.reading import is_run

_TICKS = 5
_BLUE, _RED = (0.23, 0.3, 0.75), (0.71, 0.02, 0.15)


def visualize_1D_lcurves(  # noqa: N802 - the original's name
    main_log: Mapping[str, Any],
    iter_to_plot: str = "num_updates",
    target_to_plot: list[str] | str = "loss",
    smooth_window: int = 1,
    plot_title: str | None = None,
    xy_labels: list[str] | None = None,
    base_label: str = "{}",
    curve_labels: list[str] = [],  # noqa: B006 - as the original says it; it stays empty
    every_nth_tick: int | None = None,
    plot_std_bar: bool = False,
    run_ids: list[str] | None = None,
    rgb_tuples: Sequence[Any] | None = None,
    num_legend_cols: int | None = 1,
    fig: Any = None,
    ax: Any = None,
    figsize: tuple[float, float] = (9, 6),
    plot_labels: bool = True,
    legend_title: str | None = None,
    ax_lims: list[float] | None = None,
) -> Any:
    """Draw statistics over a time variable: a curve for each run, seed and statistic; the logs stay as they are.

    Args:
        main_log: Runs by their IDs, or without `run_ids` one run.
        iter_to_plot: The time variable.
        target_to_plot: One statistic, or several.
        smooth_window: Points that each point is the mean of, up to it.
        plot_title: Instead of the names of the statistics.
        xy_labels: Instead of the names of time variable and statistics.
        base_label: A format for labels.
        curve_labels: Instead of the IDs, in order of runs, seeds and statistics.
        every_nth_tick: A tick for each n-th point, instead of five.
        plot_std_bar: Shade the deviation of means over seeds.
        run_ids: Which runs; they are drawn in the order of the numbers in them.
        rgb_tuples: Colours, a curve each.
        num_legend_cols: Of the legend, which is there for two curves or more.
        fig: A figure to draw into, with `ax`.
        ax: Its axes.
        figsize: Of a new one.
        plot_labels: Whether there is a legend.
        legend_title: Of the legend.
        ax_lims: Of the vertical axis.

    Returns:
        Figure and axes.

    Raises:
        MissingExtra: matplotlib is not installed.
        KeyError: A run has no such statistic or time variable.
    """
    targets = [target_to_plot] if isinstance(target_to_plot, str) else list(target_to_plot)
    curves = list(_curves(main_log, run_ids, targets, names_targets=not isinstance(target_to_plot, str)))
    if fig is None or ax is None:
        fig, ax = _pyplot().subplots(1, 1, figsize=figsize)
    colours = _colours(len(curves)) if rgb_tuples is None else rgb_tuples
    labels = list(curve_labels) or [label for label, _, _ in curves]
    for (_, run, target), label, colour in zip(curves, labels, colours, strict=False):
        time, measured = run["time"][iter_to_plot], run["stats"][target]
        _draw(ax, time, measured, base_label.format(label), colour, smooth_window, plot_std_bar)
    _set_ticks(ax, max((run["time"][iter_to_plot] for _, run, _ in curves), key=len), every_nth_tick)
    if len(labels) > 1 and plot_labels:
        legend = ax.legend(fontsize=7, ncol=num_legend_cols, title=legend_title)
        legend.get_title().set_fontsize(10)
        for text in legend.get_texts() if not curve_labels else ():
            text.set_parse_math(False)  # names that a log holds
    _finish(ax, plot_title or ", ".join(targets), xy_labels or [iter_to_plot, ", ".join(targets)], ax_lims)
    fig.tight_layout()
    return fig, ax


def _curves(log: Mapping[str, Any], run_ids: list[str] | None, targets: list[str], names_targets: bool) -> Any:
    """Yield label, run and statistic of each curve."""
    runs = {"ph_run": log} if run_ids is None else {run_id: log[run_id] for run_id in sorted(run_ids, key=tokenize)}
    for run_id, run in runs.items():
        seeds = {run_id: run} if is_run(run) else {f"{run_id}/{seed_id}": content for seed_id, content in run.items()}
        for label, content in seeds.items():
            for target in targets:
                yield (f"{target}: {label}" if names_targets else label), content, target


def tokenize(filename: str) -> tuple[Any, ...]:
    """Return a sort key by which numbers in names count as numbers."""
    return tuple((0, int(segment), "") if segment.isdecimal() else (1, 0, segment) for segment in re.split(r"(\d+)", filename))


def _draw(ax: Any, time: Any, values: Any, label: str, colour: Any, window: int, with_deviation: bool) -> None:
    import numpy

    is_aggregated = isinstance(values, Mapping)
    mean = moving_mean(values["mean"] if is_aggregated else values, window)
    size = min(len(time), len(mean))  # a statistic that was not logged each time has no time of its own
    x = numpy.asarray(time)[:size]
    ax.plot(x, mean[:size], color=colour, label=label, alpha=0.85)
    if with_deviation and is_aggregated:
        deviation = moving_mean(values["std"], window)[:size]
        ax.fill_between(x, mean[:size] - deviation, mean[:size] + deviation, color=colour, alpha=0.25)


def moving_mean(values: Any, window: int) -> Any:
    """Return each value as the mean of those of a window that ends with it; NaN counts as not there."""
    import numpy

    values = numpy.asarray(values, dtype=float)
    if window <= 1:
        return values
    is_there = ~numpy.isnan(values)
    sums, counts = (_window_sums(array, window) for array in (numpy.where(is_there, values, 0.0), is_there.astype(float)))
    return numpy.where(counts > 0, sums / numpy.maximum(counts, 1.0), numpy.nan)


def _window_sums(values: Any, window: int) -> Any:
    import numpy

    totals = numpy.cumsum(numpy.concatenate([numpy.zeros((1, *values.shape[1:])), values]), axis=0)
    ends = numpy.arange(1, len(values) + 1)
    return totals[ends] - totals[numpy.maximum(ends - window, 0)]


def _colours(count: int) -> list[tuple[float, ...]]:
    """Return colours from blue to red, none of them pale."""
    shares = [index / max(1, count - 1) for index in range(count)]
    return [tuple((1 - share) * blue + share * red for blue, red in zip(_BLUE, _RED, strict=True)) for share in shares]


def _set_ticks(ax: Any, time: Any, every_nth: int | None) -> None:
    import numpy

    times = numpy.asarray(time)
    if times.dtype.kind not in "biuf" or not len(times):
        return
    indices = range(0, len(times), every_nth) if every_nth else numpy.linspace(0, len(times) - 1, _TICKS).round().astype(int)
    ticks = numpy.unique(times[list(indices)])
    ticks = ticks[numpy.isfinite(ticks)]
    ax.set_xticks(ticks, [f"{tick:.0f}" if tick == int(tick) else f"{tick:g}" for tick in ticks])


def _finish(ax: Any, title: str, labels: list[str], limits: list[float] | None) -> None:
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    if limits is not None:
        ax.set_ylim(limits)
    ax.set_title(title)
    ax.set_xlabel(labels[0])
    ax.set_ylabel(labels[1])


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot
    except ImportError as error:
        text = "plots need matplotlib: pip install 'mlvlogger[compat]'"
        raise MissingExtra(text, package="matplotlib", extra="compat") from error
    return matplotlib.pyplot
