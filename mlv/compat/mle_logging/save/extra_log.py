"""Other objects of a logger, as pickles."""

from __future__ import annotations

from typing import Any

from mlv.compat.mle_logging.storage import NumberedFiles, Told, plain_name, write_pickle


class ExtraLog(NumberedFiles):
    """Pickles, in `extra/`."""

    def __init__(self, experiment_dir: str, seed_id: str, root: str, told: Told) -> None:
        """As MLELogger makes it."""
        super().__init__(experiment_dir, "extra/", root, f"extra_{{}}_{plain_name(seed_id)}.pkl", "extra_storage_paths", told)

    @property
    def extra_storage_paths(self) -> list[str]:
        """The paths, in order."""
        return self.paths

    @property
    def extra_save_counter(self) -> int:
        """How many have a number."""
        return self.counter

    def save_object(self, obj: Any, name: str | None = None) -> str:
        """Write whatever pickle takes."""
        return self.save(name, lambda path: write_pickle(obj, path))
