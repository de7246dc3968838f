"""The outputs of mlv keep the contract of outputs."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest
from contracts.projection import FIRST, Point, ProjectionContract, add, rewound
from logs import write

from mlv import Exp, UnknownMetric, hdf
from mlv.projections import CSV, HDF5, Parquet, TensorBoard, replay
from mlv.projections.registry import FORMS, OUTPUTS
from projections.places import Lines

ROOT = Path(__file__).parents[2]


class TestCSV(ProjectionContract):
    """Rows of the long file."""

    kind = CSV

    def points(self, folder: Path, name: str, stream: str = "log") -> list[Point]:
        with open(folder / f"{stream}.csv", newline="") as file:
            return [(float(row["step"]), float(row["value"])) for row in csv.DictReader(file) if row["name"] == name]


class TestParquet(ProjectionContract):
    """Rows of the dataset of a stream."""

    kind = Parquet

    def points(self, folder: Path, name: str, stream: str = "log") -> list[Point]:
        import pandas

        rows = pandas.read_parquet(folder / stream)
        return [(row.step, row.value) for row in rows[rows["name"] == name].itertuples()]


class TestHDF5(ProjectionContract):
    """What `mlv.hdf` reads."""

    kind = HDF5
    has_whole_steps = joins_writers = True

    def points(self, folder: Path, name: str, stream: str = "log") -> list[Point]:
        try:
            return [(row[0], row[2]) for row in hdf.read_from_key(folder / "metrics.h5", name, stream).tolist()]
        except UnknownMetric:
            return []

    def files(self, folder: Path) -> dict[str, bytes]:
        return {}


class TestTensorBoard(ProjectionContract):
    """What TensorBoard's own reader shows."""

    kind = TensorBoard
    needs = ("tensorboard",)
    has_whole_steps = joins_writers = True

    def points(self, folder: Path, name: str, stream: str = "log") -> list[Point]:
        look = viewer(folder, stream).Reload()
        return [(point.step, point.value) for point in look.Scalars(name)] if name in look.Tags()["scalars"] else []

    def files(self, folder: Path) -> dict[str, bytes]:
        """All but event files with their first record only, which are left behind where others came."""
        left = [path for path in folder.rglob("*tfevents*.mlv*") if path.stat().st_size == _first_bytes(path)]
        return {name: content for name, content in super().files(folder).items() if folder / name not in left}


def viewer(folder: Path, stream: str = "log") -> Any:
    """TensorBoard's own reader."""
    from tensorboard.backend.event_processing.event_accumulator import STORE_EVERYTHING_SIZE_GUIDANCE, EventAccumulator

    return EventAccumulator(str(folder / ("" if stream == "log" else stream)), STORE_EVERYTHING_SIZE_GUIDANCE)


def _first_bytes(path: Path) -> int:
    return int.from_bytes(path.read_bytes()[:8], "little") + 16  # its length, and two checksums


@pytest.fixture
def exp(tmp_path: Path, inline: None) -> Exp:
    """An experiment whose log is written by hand."""
    exp = Exp(tmp_path, "exp", capture=())
    exp.close()
    return exp


def test_every_output_keeps_the_contract():
    """Some test here holds each output to the contract, and the guide has a row for it."""
    held = {
        kind
        for path in Path(__file__).parent.glob("test_*.py")
        for kind in re.findall(r"^    kind = (\w+)$", path.read_text(), re.M)
    }
    guide = (ROOT / "docs" / "guide" / "outputs.md").read_text()

    assert held == {OUTPUTS[name][1] for name in FORMS}
    assert [name for name in OUTPUTS if f'\n| `"{name}"` |' not in guide] == []


def test_a_tensorboard_that_is_open(exp):
    """One that has read the superseded branch shows, once it reads on, what survives."""
    pytest.importorskip("tensorboardX")
    pytest.importorskip("tensorboard")
    write(exp.path, *FIRST)
    look = viewer(replay(exp, "tensorboard")).Reload()
    assert len(look.Scalars("x")) == 6

    for number, (step, expected) in enumerate([(2, [0, 1, 2]), (1, [0, 1])], 2):
        add(exp.path, rewound(f"r{number}", step, {"r1": 6}), stream="rewound")
        replay(exp, "tensorboard")

        assert [point.value for point in look.Reload().Scalars("x")] == expected


def test_a_projection_of_ones_own(exp):
    """It is opened again, without what it committed, and gets what survives."""
    write(exp.path, *FIRST)
    replay(exp, Lines())
    add(exp.path, rewound("r2", 2, {"r1": 6}), stream="rewound")

    folder = replay(exp, Lines())

    text = (folder / "lines.txt").read_text()
    assert text.count(" metrics ") == 3
    assert text.count(" rewound ") == 1
