"""Tables that were logged, as one data frame."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mlv.events import Event
from mlv.optional import package
from mlv.query.metrics.selection import plain_step
from mlv.store.attached import is_inside
from mlv.store.opening import reading

_OWN = ("exp", "exp_name", "name", "step")


def tables(folder: Path, events: Iterable[Event]) -> Any:
    """Return the rows of all tables, one table below the other, with `name` and `step` of its event in front.

    A table's own column of one of these names, or `exp` or `exp_name`, has `table.` in front. A table whose file cannot be
    read is left out, and named in `.attrs["skipped"]`.

    Raises:
        MissingExtra: pandas is not installed, or pyarrow, where a table is a Parquet file.
    """
    pandas = package("pandas")
    frames, skipped = [], []
    for event in events:
        try:
            table = _table(folder, event.data)
        except (OSError, ValueError, KeyError, TypeError) as error:
            skipped.append(f"table {event.name!r}, event {event.seq} of run {event.run}: {error}")
            continue
        table.columns = [f"table.{column}" if column in _OWN else column for column in map(str, table.columns)]
        table.insert(0, "step", plain_step(event.step) if isinstance(event.step, float) else event.step)
        table.insert(0, "name", event.name)
        frames.append(table)
    whole = pandas.concat(frames, ignore_index=True) if frames else pandas.DataFrame(columns=["name", "step"])
    if skipped:
        whole.attrs["skipped"] = skipped
    return whole


def _table(folder: Path, data: Any) -> Any:
    """Read one table, from its line or its file.

    Raises:
        OSError, ValueError, KeyError, TypeError: It cannot be read, or is none.
    """
    pandas = package("pandas")
    if "rows" in data:
        return pandas.DataFrame(data["rows"], columns=data["columns"])
    path = data["file"]["path"]
    if not is_inside(path):
        raise ValueError(f"{path!r:.200} is no file of the experiment")
    with reading(folder / path) as file:
        if path.endswith(".csv"):
            return pandas.read_csv(file)
        return package("pyarrow.parquet").read_table(file).to_pandas()
