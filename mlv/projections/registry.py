"""The outputs of mlv by name: what `outputs=`, `mlv export --to` and `mlv.projections` offer.

A new output is a module here with a class on top of `Output`, its line in this module, its import for type checkers in
`mlv/projections/__init__.py`, a row in `docs/guide/outputs.md`, its name in `docs/api/outputs.md`, and a test on top of
`tests/contracts/projection.py`, which holds it to what every output promises.
"""

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
