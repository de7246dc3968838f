"""Many lines of metrics parsed at once, by pyarrow where it is installed; other lines are left to the slow path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlv import wire
from mlv.events import full_name
from mlv.optional import is_installed
from mlv.query.metrics.parse_json import NotPlain, combined, table_of_lines

LEAST_BYTES = 1 << 16  # for fewer lines, setting up the parser takes longer than it saves


def numbers_in(lines: bytes) -> tuple[int, list[tuple[str, Any, Any, Any, Any, Any]]]:
    """Return the number of lines, and for each metric its full name and arrays of one length.

    The arrays are: indices of the lines, steps, whether there is a step, times in microseconds, values.

    Raises:
        NotPlain: They are few, pyarrow is missing, or something in them needs a closer look.
    """
    if len(lines) < LEAST_BYTES or wire.may_need_restoring(lines) or not is_installed("pyarrow"):
        raise NotPlain
    import pyarrow as pa

    table = table_of_lines(lines, time=pa.timestamp("us", "UTC"), step=pa.int64())
    return table.num_rows, list(_numbers(table))


def _numbers(table: Any) -> Iterator[tuple[str, Any, Any, Any, Any, Any]]:
    import numpy

    has_step = table["step"].is_valid().to_numpy()
    steps = table["step"].fill_null(0).to_numpy()
    times_us = table["time"].cast("int64").to_numpy()
    names = table["name"].fill_null("").to_numpy()
    data = combined(table["data"])
    for prefix in dict.fromkeys(names):
        of_prefix = names == prefix
        for column, field in enumerate(data.type):
            values = _floats(data.field(column))
            if values is not None:
                rows = numpy.flatnonzero(of_prefix & ~numpy.isnan(values))
                if len(rows):
                    name = full_name(prefix, field.name)
                    yield name, rows, steps[rows], has_step[rows], times_us[rows], values[rows]


def _floats(column: Any) -> Any:
    """Return values as floats, NaN where there is none, which JSON itself cannot say; None where they are no numbers."""
    import numpy
    import pyarrow as pa

    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_boolean(column.type)):
        return None
    values = numpy.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), numpy.float64)
    if numpy.isinf(values).any():
        raise NotPlain
    return values
