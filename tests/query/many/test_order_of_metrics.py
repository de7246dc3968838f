"""The metrics of many experiments come in the order of the experiments, and of the first lines of each."""

from __future__ import annotations

import logs
import pytest

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

import mlv
from mlv.store.meta import write_meta


def test_plain_logs_and_others(tmp_path):
    """Whether an experiment has one run or several changes how its lines are parsed, and not the order of the metrics."""
    logged = {"a": [{"loss": 1.5}], "b": [{"acc": 1.5, "loss": 2.5}, {"x": 3.5}], "c": [{"y": 1.5}]}
    for name, lines in logged.items():
        folder = tmp_path / name
        folder.mkdir()
        write_meta(folder, {"format": 1, "name": name, "created": "2026-11-03T00:00:00.000000Z", "params": {"name": name}})
        logs.write(folder, *(logs.line(f"r{run}", 1, "metrics", run, step=run, data=data) for run, data in enumerate(lines)))

    table = mlv.find(tmp_path).aggregate(over=())

    assert table["metric"].tolist() == ["loss", "loss", "acc", "x", "y"]
