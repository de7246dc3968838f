"""Statistics over seeds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_QUANTILES = (50, 10, 25, 75, 90)
_COMMON = ("experiment_dir", "eval_id", "config_fname", "model_type", "config_dict")


def aggregate_over_seeds(runs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the runs of several seeds as one: statistics over those that have them, the time of the longest, meta as lists."""
    stats = {name: _statistics(_columns(runs, "stats", name)) for name in _names(runs, "stats")}
    time = {name: max(_columns(runs, "time", name), key=len) for name in _names(runs, "time")}
    meta = {name: _merged(name, _columns(runs, "meta", name)) for name in _names(runs, "meta")}
    return {"meta": {**meta, "seeds": [_seed_number(seed_id) for seed_id in runs]}, "stats": stats, "time": time}


def _names(runs: Mapping[str, Mapping[str, Any]], group: str) -> list[str]:
    return list(dict.fromkeys(name for run in runs.values() for name in run[group]))


def _columns(runs: Mapping[str, Mapping[str, Any]], group: str, name: str) -> list[Any]:
    return [run[group][name] for run in runs.values() if name in run[group]]


def _statistics(columns: Sequence[Any]) -> Any:
    """Return mean, deviation and percentiles at each index; text, and vectors of unequal shapes, stay lists."""
    is_numeric = all(column.dtype.kind in "biuf" for column in columns)
    if not is_numeric or len({column.shape[1:] for column in columns}) > 1:
        return list(columns)
    return {
        "mean": over_seeds("mean", columns),
        "std": over_seeds("std", columns),
        **{f"p{q}": over_seeds("percentile", columns, q) for q in _QUANTILES},
    }


def over_seeds(function: str, columns: Sequence[Any], *options: Any) -> Any:
    """Return the result of a function of numpy over the seeds, at each index over those that reach it."""
    import numpy

    stretches, begin = [], 0
    for end in sorted({len(column) for column in columns} - {0}):
        reaching = numpy.stack([column[begin:end] for column in columns if len(column) >= end])
        stretches.append(getattr(numpy, function)(reaching.astype(float), *options, axis=0))
        begin = end
    return numpy.concatenate(stretches) if stretches else numpy.zeros(0)


def _merged(name: str, values: list[Any]) -> Any:
    if name in _COMMON:
        return values[0]
    return [item for value in values for item in (value.tolist() if hasattr(value, "tolist") else [value])]


def _seed_number(seed_id: str) -> Any:
    """Return the number in `seed_3`; the ID itself where there is none."""
    match = re.search(r"_(\d+)(?:_|\Z)", seed_id)
    return int(match[1]) if match else seed_id
