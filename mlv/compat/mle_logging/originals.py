"""Log files of the original package: taken over into an experiment, where a logger goes on with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlv
from mlv.compat.mle_logging.reading import Run, is_run, log_files, read_runs
from mlv.compat.mle_logging.records import ADDED, META, coordinates, irregular, plain

_GROWING = ("fig_storage_paths", "extra_storage_paths")


def columns_of(logs: Path, seed_id: str) -> Run | None:
    """Return the columns of a seed from the log files of a folder; None where no file can be read."""
    try:
        paths = log_files(str(logs.parent))
    except FileNotFoundError:
        return None
    for path in reversed(paths):
        run = read_runs(path).get(seed_id)
        if run is not None and is_run(run):
            return run  # type: ignore[no-any-return]
    return None


def log_columns(exp: mlv.Exp, run: Run) -> None:
    """Log the columns of a file, row by row; columns of other lengths than the clock's follow one by one."""
    clock = {name: _values(values) for name, values in run["time"].items()}
    stats = {name: _values(values) for name, values in run["stats"].items()}
    rows = len(clock.get("num_updates") or clock.get("time") or ())
    for row in range(rows):
        row_clock = {name: values[row] for name, values in clock.items() if len(values) == rows}
        row_clock = {"num_updates": row + 1, **row_clock}
        at = {**coordinates(row_clock), **({"time": row_clock["time"]} if "time" in row_clock else {})}
        exp.log.at(**at)({name: plain(values[row]) for name, values in stats.items() if len(values) == rows}, step=row + 1)
    for name, values in stats.items():
        if len(values) != rows:
            for index, value in enumerate(values):
                exp.log.at(**irregular(index))({name: plain(value)})
    _log_meta(exp, run["meta"])


def _log_meta(exp: mlv.Exp, meta: dict[str, Any]) -> None:
    columns = {key: _values(values) for key, values in meta.items()}
    for key in _GROWING:
        for path in columns.pop(key, []):
            exp.log(ADDED, {"values": {key: path}})
    exp.log(META, columns)


def _values(values: Any) -> list[Any]:
    plain_values = values.tolist() if hasattr(values, "tolist") else values
    items = plain_values if isinstance(plain_values, list) else [plain_values]
    return [item.decode("utf-8", "replace") if isinstance(item, bytes) else item for item in items]
