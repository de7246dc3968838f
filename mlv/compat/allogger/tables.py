"""Tables in HDF5 files that grow, and never share a name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlv.projections.h5files import free_link

REUSE_SPACE = {"fs_strategy": "fsm", "fs_persist": True, "fs_threshold": 1}
"""A compressed chunk that grows moves: without this, its earlier space is lost, which over hours costs gigabytes."""

_CHUNK_BYTES = 32 << 10


def append(file: Any, path: str, before: int, rows: Sequence[tuple[Any, ...]], shape: tuple[int, ...]) -> str:
    """Add rows to a table of which the first `before` count, or begin one where there are none.

    Returns:
        The path, which for a new table gains a `%` where another one has it.
    """
    import numpy

    kind = numpy.dtype([("step", "i8"), ("time", "f8"), ("walltime", "f8"), ("value", "f8", shape)])
    table: Any = numpy.empty(len(rows), kind)
    for column, values in zip(kind.names or (), zip(*rows, strict=True), strict=True):
        table[column] = numpy.array(values).reshape(table[column].shape)
    if before:
        dataset = file[path]
        dataset.resize(before + len(rows), 0)
        dataset[before:] = table
        return path
    group, name = free_link(file, path.split("/"))
    chunk = max(1, min(1024, _CHUNK_BYTES // kind.itemsize))
    dataset = group.create_dataset(name, data=table, maxshape=(None,), chunks=(chunk,), compression="gzip")
    return str(dataset.name).removeprefix("/")
