"""A writer of event files, to begin one's own from."""

from __future__ import annotations

from typing import Any

from mlv.compat.allogger.writers.abstract_writer import AbstractWriter


class TensorboardWriter(AbstractWriter):
    """Event files of tensorboardX; not the output `tensorboard`."""

    def __init__(self, use_hdf_hook: bool = True, **kwargs: Any) -> None:
        """Begin like `AbstractWriter`; `use_hdf_hook` has no effect."""
        from tensorboardX import SummaryWriter

        super().__init__(**kwargs)
        self.use_hdf_hook = use_hdf_hook
        self.summary_writer = SummaryWriter(self.output_dir)

    def add_scalar(self, key: str, value: Any, step: int) -> None:
        """Add a number."""
        self.summary_writer.add_scalar(key, value, step)

    def add_histogram(self, key: str, value: Any, step: int) -> None:
        """Add a histogram."""
        self.summary_writer.add_histogram(key, value, step)

    def add_image(self, key: str, value: Any, step: int) -> None:
        """Add an image, whose first axis is that of its channels."""
        self.summary_writer.add_image(key, value, step)

    def add_scalars(self, key: str, value: Any, step: int) -> None:
        """Add numbers, each in a folder of its own."""
        self.summary_writer.add_scalars(key, value, step)

    def _run(self) -> None:
        self.summary_writer.flush()

    def close(self) -> None:
        """Close the files."""
        super().close()
        self.summary_writer.close()
