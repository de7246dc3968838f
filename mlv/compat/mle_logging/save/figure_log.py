"""The figures of a logger."""

from __future__ import annotations

from typing import Any

from mlv.compat.mle_logging.storage import NumberedFiles, Told, plain_name


class FigureLog(NumberedFiles):
    """Figures, in `figures/`."""

    def __init__(self, experiment_dir: str, seed_id: str, root: str, told: Told) -> None:
        """As MLELogger makes it."""
        super().__init__(experiment_dir, "figures/", root, f"fig_{{}}_{plain_name(seed_id)}.png", "fig_storage_paths", told)

    @property
    def fig_storage_paths(self) -> list[str]:
        """The paths, in order."""
        return self.paths

    @property
    def fig_save_counter(self) -> int:
        """How many have a number."""
        return self.counter

    def save_figure(self, fig: Any, name: str | None = None) -> str:
        """Write a matplotlib figure, or whatever has `savefig`."""
        return self.save(name, lambda path: fig.savefig(path, dpi=300))
