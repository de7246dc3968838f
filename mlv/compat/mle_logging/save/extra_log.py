"""Other objects of a logger, as pickles."""

from __future__ import annotations

from typing import Any

from mlv.compat.mle_logging.storage import NumberedFiles, Report, plain_name, write_pickle


class ExtraLog(NumberedFiles):
    """Pickles, in `extra/`."""

    def __init__(self, experiment_dir: str, seed_id: str, root: str, report: Report) -> None:
        """Begin, with the arguments of MLELogger."""
        super().__init__(experiment_dir, "extra/", root, f"extra_{{}}_{plain_name(seed_id)}.pkl", "extra_storage_paths", report)

    @property
    def extra_storage_paths(self) -> list[str]:
        """The paths, in order."""
        return self.paths

    @property
    def extra_save_counter(self) -> int:
        """Number of objects without a name of their own."""
        return self.counter

    def save_object(self, obj: Any, name: str | None = None) -> str:
        """Write an object that pickle takes."""
        return self.save(name, lambda path: write_pickle(obj, path))
