"""The role of a writer."""

from __future__ import annotations

import logging
from typing import Any

from mlv.compat.allogger.steps import Manager


class AbstractWriter:
    """Takes values as they were logged, and keeps them in files in `output_dir`.

    Values come in the order of the log: numbers as numbers, histograms, images and arrays as arrays of numpy. After a kill of
    the training, all logged values still come. Should the writer's own process be killed, values since the last `_run` come
    again.
    """

    def __init__(
        self, scope: str, output_dir: str, debug: bool = False, min_time_diff_btw_disc_writes: float = 180, filter: str = ".*"
    ) -> None:
        """Begin; called in the writer's process, with the parameters that `<name>_writer_params` has beside the first three.

        Args:
            scope: Of the logger that has the logdir, such as `root`.
            output_dir: The folder `events` of the logdir.
            debug: The option of the logger.
            min_time_diff_btw_disc_writes: Seconds; kept in any case, as `_run` is called each second in which values come.
            filter: A regular expression over keys without their scope; other keys never come.
        """
        self.scope, self.output_dir, self.debug = scope, output_dir, debug
        self.min_time_diff_btw_disc_writes, self.filter = min_time_diff_btw_disc_writes, filter
        self.is_running = False
        self.manager: Any = Manager()
        self.data: Any = self.manager.dict()
        self.logger = logging.getLogger(scope)
        self.start()

    def start(self) -> None:
        """Say that values come."""
        self.is_running = True

    def stop(self) -> None:
        """Say that no more come."""
        self.is_running = False

    def _run(self) -> None:
        """Bring the added values to the disk; a writer that collects them, in `self.data` for instance, writes them here."""

    def add_scalar(self, key: str, value: Any, step: int) -> None:
        """Take a number, under a key such as `root.main/loss`."""

    def add_histogram(self, key: str, value: Any, step: int) -> None:
        """Take an array of one axis whose distribution is of interest."""

    def add_image(self, key: str, value: Any, step: int) -> None:
        """Take an image, as it was logged."""

    def add_scalars(self, key: str, value: Any, step: int) -> None:
        """Take numbers by their names."""

    def add_array(self, key: str, value: Any, step: int) -> None:
        """Take an array."""

    def add_text(self, key: str, value: str, step: int) -> None:
        """Take a text; ALLogger has no call for it."""

    def __repr__(self) -> str:
        return type(self).__name__

    def close(self) -> None:
        """End; every value that was added was followed by `_run`."""
        self.stop()
