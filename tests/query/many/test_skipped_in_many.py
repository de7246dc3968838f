"""Many experiments as one frame: what was passed over is named with the file it is in."""

from __future__ import annotations

import pytest

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

import mlv


def test_damage_is_named(tmp_path):
    """Path and byte range of each damaged line stand in the frame of all experiments, as in that of one."""
    for name in ("a", "b"):
        with mlv.Exp(tmp_path, name, capture=()) as exp:
            exp.log({"loss": 1.0}, step=1)
    log = tmp_path / "b" / "log.jsonl"
    start = log.stat().st_size
    with open(log, "ab") as file:
        file.write(b"damage\n")

    table = mlv.find(tmp_path).history()

    [hole] = table.attrs["skipped"]
    assert hole.startswith(f"{log}, bytes {start} to {start + 7}: not JSON")
    assert len(table) == 2
