"""The figures of a logger."""

from __future__ import annotations

from typing import Any

from mlv.compat.mle_logging.storage import NumberedFiles, Report, plain_name


class FigureLog(NumberedFiles):
    """Figures, in `figures/`."""

    def __init__(self, experiment_dir: str, seed_id: str, root: str, report: Report) -> None:
        """Begin, with the arguments of MLELogger."""
        super().__init__(experiment_dir, "figures/", root, f"fig_{{}}_{plain_name(seed_id)}.png", "fig_storage_paths", report)

    @property
    def fig_storage_paths(self) -> list[str]:
        """The paths, in order."""
        return self.paths

    @property
    def fig_save_counter(self) -> int:
        """Number of figures without a name of their own."""
        return self.counter

    def save_figure(self, fig: Any, name: str | None = None) -> str:
        """Write a matplotlib figure, or another object with `savefig`."""
        return self.save(name, lambda path: fig.savefig(path, dpi=300))
