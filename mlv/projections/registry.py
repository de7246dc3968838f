"""The outputs of mlv by name: what `outputs=`, `mlv export --to` and `mlv.projections` offer.

A new output is a module here with a class on top of `Output`, its two lines in this module, a row in `docs/guide/outputs.md`,
and a test on top of `tests/contracts/projection.py`, which holds it to what every output promises.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `mlv.projections` imports a class when it is first asked for
    from mlv.projections.console import Console as Console
    from mlv.projections.csv import CSV as CSV
    from mlv.projections.hdf5 import HDF5 as HDF5
    from mlv.projections.parquet import Parquet as Parquet
    from mlv.projections.tensorboard import TensorBoard as TensorBoard

OUTPUTS = {
    "console": ("mlv.projections.console", "Console"),
    "csv": ("mlv.projections.csv", "CSV"),
    "hdf5": ("mlv.projections.hdf5", "HDF5"),
    "parquet": ("mlv.projections.parquet", "Parquet"),
    "tensorboard": ("mlv.projections.tensorboard", "TensorBoard"),
}
"""Module and class by the name that `outputs=` takes; imported when one is asked for."""

FORMS = tuple(name for name in OUTPUTS if name != "console")
"""The outputs that leave files: `mlv export` builds them."""
