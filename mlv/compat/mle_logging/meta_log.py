"""Several runs as one object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlv.compat.mle_logging.dotmap import DotMap
from mlv.compat.mle_logging.plotting import visualize_1D_lcurves
from mlv.compat.mle_logging.reading import decoded_meta, is_run


class MetaLog:
    """Runs by their IDs: seeds, configurations, or configurations with their seeds; each is an attribute as well."""

    meta_vars: list[str]
    stats_vars: list[str]
    time_vars: list[str]
    num_configs: int

    def __init__(self, meta_log: DotMap, non_aggregated: bool = False) -> None:
        """Take runs as `load_meta_log` finds them; they are decoded, and otherwise stay as they are."""
        self.meta_log = DotMap({run_id: _decoded(run) for run_id, run in meta_log.items()})
        self.num_configs = len(self.meta_log)
        runs = [run for content in self.meta_log.values() for run in _runs(content)]
        self.meta_vars, self.stats_vars, self.time_vars = (
            list(dict.fromkeys(name for run in runs for name in run.get(group, ()))) for group in ("meta", "stats", "time")
        )
        for run_id, run in self.meta_log.items():
            setattr(self, run_id, run)

    def filter(self, run_ids: list[str]) -> MetaLog:
        """Return a MetaLog of some of the runs.

        Raises:
            KeyError: There is none of that ID.
        """
        return MetaLog(DotMap({run_id: self.meta_log[run_id] for run_id in run_ids}))

    def plot(
        self,
        target_to_plot: Any,
        iter_to_plot: str | None = None,
        smooth_window: int = 1,
        plot_title: str | None = None,
        xy_labels: list[str] | None = None,
        base_label: str = "{}",
        run_ids: list[str] | None = None,
        curve_labels: list[str] = [],  # noqa: B006 - as the original says it; it stays empty
        every_nth_tick: int | None = None,
        plot_std_bar: bool = False,
        fname: str | None = None,
        num_legend_cols: int | None = 1,
        fig: Any = None,
        ax: Any = None,
        figsize: tuple[float, float] = (9, 6),
        plot_labels: bool = True,
        legend_title: str | None = None,
        ax_lims: list[float] | None = None,
    ) -> Any:
        """Draw a statistic, or several, of all runs over a time variable; gives figure and axes, or writes `fname`.

        Raises:
            AssertionError: There is no such time variable.
        """
        iter_to_plot = self._default_time() if iter_to_plot is None else iter_to_plot
        time_names = ", ".join(self.time_vars)
        assert iter_to_plot in self.time_vars, f"there is no time variable {iter_to_plot!r}: there is {time_names}"
        fig, ax = visualize_1D_lcurves(
            self.meta_log, iter_to_plot, target_to_plot, smooth_window=smooth_window, every_nth_tick=every_nth_tick,
            num_legend_cols=num_legend_cols, run_ids=self.eval_ids if run_ids is None else run_ids, plot_title=plot_title,
            xy_labels=xy_labels, base_label=base_label, curve_labels=curve_labels, plot_std_bar=plot_std_bar, fig=fig, ax=ax,
            figsize=figsize, plot_labels=plot_labels, legend_title=legend_title, ax_lims=ax_lims,
        )  # fmt: skip
        if fname is None:
            return fig, ax
        fig.savefig(fname, dpi=300)
        return None

    def _default_time(self) -> str:
        """Return the first that is a number: the time of day is a text."""
        return next((name for name in self.time_vars if name != "time"), "time")

    @property
    def eval_ids(self) -> list[str]:
        """IDs of the runs."""
        return list(self.meta_log)

    def __len__(self) -> int:
        """Return how many runs there are."""
        return len(self.meta_log)

    def __getitem__(self, item: str) -> Any:
        return self.meta_log[item]

    def __iter__(self) -> Iterator[str]:
        return iter(self.meta_log)


def _runs(content: DotMap) -> list[DotMap]:
    return [content] if is_run(content) else list(content.values())


def _decoded(content: DotMap) -> DotMap:
    if is_run(content):
        return DotMap({**content, "meta": decoded_meta(content.get("meta", {}))})
    return DotMap({seed_id: _decoded(run) for seed_id, run in content.items()})
