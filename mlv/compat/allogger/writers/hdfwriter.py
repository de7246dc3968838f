"""A writer of HDF5, to begin one's own from."""

from __future__ import annotations

import os
from time import time
from typing import Any

from mlv.compat.allogger.tables import REUSE_SPACE, append
from mlv.compat.allogger.writers.abstract_writer import AbstractWriter
from mlv.compat.allogger.writers.helpers import gen_filename


class HDFWriter(AbstractWriter):
    """Datasets `<scalar|image|array>/<scope>/<key>` in `<time>_<host>.h5`, a row for each value; not the output `hdf`."""

    def __init__(self, precision: int | None = None, **kwargs: Any) -> None:
        """Begin like `AbstractWriter`; `precision` has no effect."""
        super().__init__(**kwargs)
        self.filename, self.init_time, self.precision = gen_filename(), time(), precision
        self._series: dict[tuple[str, tuple[int, ...]], tuple[str, int]] = {}

    @property
    def wall_time(self) -> float:
        """Seconds since the writer began."""
        return time() - self.init_time

    def add_scalar(self, key: str, value: Any, step: int) -> None:
        """Add a row."""
        self._add("scalar", key, value, step)

    def add_image(self, key: str, value: Any, step: int) -> None:
        """Add a row."""
        self._add("image", key, value, step)

    def add_array(self, key: str, value: Any, step: int) -> None:
        """Add a row."""
        self._add("array", key, value, step)

    def write_to_disc(self) -> None:
        """Write the rows."""
        import h5py

        path = os.path.join(self.output_dir, f"{self.filename}.h5")
        with h5py.File(path, "r+") if os.path.exists(path) else h5py.File(path, "w", **REUSE_SPACE) as file:
            for (name, shape), rows in self.data.items():
                dataset, before = self._series.get((name, shape)) or (name, 0)
                self._series[name, shape] = append(file, dataset, before, rows, shape), before + len(rows)
        self.data.clear()

    def _run(self) -> None:
        if self.data:
            self.write_to_disc()

    def _add(self, kind: str, key: str, value: Any, step: int) -> None:
        name = f"{kind}/{key.removeprefix('root.').replace('-', '/')}"
        row = (step, time(), self.wall_time, value)
        self.data.setdefault((name, tuple(getattr(value, "shape", ()))), self.manager.list()).append(row)
