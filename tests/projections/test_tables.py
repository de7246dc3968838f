"""CSV and Parquet: metrics long and wide, the same whether kept live or built afterwards."""

from __future__ import annotations

import csv
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mlv
from mlv import projections
from mlv.projections.parquet import Parquet
from projections.places import SETTINGS, content, made

pytest.importorskip("hypothesis")
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.usefixtures("inline")

FORMS = ["csv", "parquet"]


@pytest.fixture(params=FORMS)
def form(request):
    if request.param == "parquet":
        pytest.importorskip("pandas")
        pytest.importorskip("pyarrow")
    return request.param


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def long_rows(exp: mlv.Exp, form: str, stream: str = "log") -> list[tuple]:
    """Name, step, value, run and seq of each row."""
    if form == "csv":
        found = rows(exp.path / "csv" / f"{stream}.csv")
        return [(row["name"], float(row["step"]), row["value"], row["run"], int(row["seq"])) for row in found]
    import pandas as pd

    found = pd.read_parquet(exp.path / "parquet" / stream)
    return list(found[["name", "step", "value", "run", "seq"]].itertuples(index=False, name=None))


def test_long_form_has_a_row_for_each_value(tmp_path, form):
    """Full name, step, value, run and seq of each value, in the order of the log."""
    exp = made(tmp_path, outputs=[form])
    found = long_rows(exp, form)

    assert len(found) == 150
    assert [(name, step) for name, step, *_ in found[:3]] == [("loss", 0), ("acc", 0), ("train/n", 0)]
    assert [float(value) for name, _, value, *_ in found if name == "loss"] == [i / 3 for i in range(50)]
    assert [row[:2] for row in long_rows(exp, form, "val")] == [("loss", 3)]


def test_wide_form_has_a_row_for_each_step(tmp_path, form):
    """A column for each metric; a value that a step lacks is empty."""
    exp = made(tmp_path, outputs=[form])
    if form == "csv":
        found = [row for row in rows(exp.path / "csv" / "log.wide.csv") if row["loss"]]
        epochs = [row["at.epoch"] for row in rows(exp.path / "csv" / "log.wide.csv") if row["train/n"]]
    else:
        import pandas as pd

        frame = pd.read_parquet(exp.path / "parquet" / "_log.wide.pq")
        found = frame[frame["loss"].notna()].to_dict("records")
        epochs = [text[9:-1] for text in frame[frame["train/n"].notna()]["at"]]

    assert [(float(row["step"]), float(row["loss"]), float(row["acc"])) for row in found] == [(i, i / 3, i) for i in range(50)]
    assert epochs == [str(i // 10) for i in range(50)]


def test_the_folder_is_a_dataset_of_long_rows(tmp_path):
    """R19: whatever reads the folder `parquet`, or files of that ending below it, gets the long rows of all streams alone."""
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    import pyarrow.dataset as ds

    exp = made(tmp_path, outputs=["parquet"])
    folder = exp.path / "parquet"
    count = sum(len(long_rows(exp, "parquet", stream)) for stream in ("log", "val"))

    frame = pd.read_parquet(folder)
    assert (len(frame), frame["name"].isna().sum(), frame["value"].isna().sum()) == (count, 0, 0)
    assert ds.dataset(folder).count_rows() == count
    assert (folder / "_log.wide.pq").exists()
    duckdb = pytest.importorskip("duckdb")
    for pattern in (folder / "**/*.parquet", tmp_path / "**/*.parquet", folder / "*/*.parquet"):
        assert duckdb.sql(f"select count(*), count(name) from read_parquet('{pattern}')").fetchall() == [(count, count)]


@pytest.mark.usefixtures("ring")
def test_live_and_replayed_files_are_equal(tmp_path, form):
    """What was kept while runs went on, with commits in between, is byte for byte what the log gives afterwards."""
    exp = mlv.Exp(tmp_path, "exp", **SETTINGS, outputs=[form])
    for number in range(3):
        for i in range(200):
            exp.log({"loss": i, f"late{number}": i}, step=i)
            exp.log({"x": math.nan, "unstepped": i, "words": 'a,b\n"c"'})
        exp.logger("val")({"loss": number})
        exp.flush(outputs=True)
    exp.close()
    again = projections.replay(exp, getattr(projections, {"csv": "CSV", "parquet": "Parquet"}[form])(path=tmp_path / "again"))

    assert content(again) == content(exp.path / form)


def test_what_has_no_step_is_numbered(tmp_path, form):
    """Without a step a value stands at its place in the series, counted over all runs."""
    for start in (0, 3):
        with mlv.Exp(tmp_path, "exp", **SETTINGS, on_exists="open", outputs=[form]) as exp:
            for i in range(start, start + 3):
                exp.log({"loss": i})
                exp.log({"at": i}, step=mlv.ForeignStep((0, i)))

    found = long_rows(exp, form)
    assert [(step, float(value)) for name, step, value, *_ in found if name == "loss"] == [(i, i) for i in range(6)]
    assert [(step, float(value)) for name, step, value, *_ in found if name == "at"] == [(i, i) for i in range(6)]


def test_values_that_are_no_numbers(tmp_path):
    """Text, lists, None, infinities and large integers are all there, and cost no other value."""
    pytest.importorskip("pandas")
    values = {"text": "a", "list": [1, None], "none": None, "inf": -math.inf, "large": 2**60 + 1, "yes": True, "after": 0.1}
    values["beyond"] = 10**400
    with mlv.Exp(tmp_path, "exp", **SETTINGS, outputs=["csv", "parquet"]) as exp:
        exp.log(values)

    as_csv = {name: value for name, _, value, *_ in long_rows(exp, "csv")}
    assert as_csv == {
        "text": "a", "list": "[1,null]", "none": "", "inf": "-inf", "large": str(2**60 + 1), "yes": "true", "after": "0.1",
        "beyond": str(10**400),
    }  # fmt: skip
    import pandas as pd

    frame = pd.read_parquet(exp.path / "parquet" / "log").set_index("name")
    exact = {"large": str(2**60 + 1), "beyond": str(10**400)}
    assert frame["text"].dropna().to_dict() == {"text": '"a"', "list": "[1,null]", **exact}
    nearest = {"large": float(2**60), "beyond": math.inf}
    assert frame["value"].dropna().to_dict() == {"inf": -math.inf, "yes": 1.0, "after": 0.1, **nearest}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.text(min_size=1, max_size=4), st.floats() | st.integers(), min_size=1, max_size=3),
            st.none() | st.integers(-3, 3),
        ),
        max_size=8,
    )
)
def test_csv_reads_back_what_was_logged(tmp_path_factory, logged):
    """Any name and any number comes back from the long file."""
    with mlv.Exp(tmp_path_factory.mktemp("runs"), "exp", **SETTINGS) as exp:
        for data, step in logged:
            exp.log(data, step=step)
    place = projections.replay(exp, "csv")
    expected = [(name, value) for data, _ in logged for name, value in data.items() if "" not in data]
    found = [(row["name"], row["value"]) for row in rows(place / "log.csv")] if (place / "log.csv").exists() else []

    assert [name for name, _ in found] == [name.encode("utf-8", "backslashreplace").decode() for name, _ in expected]
    assert [float(value) == float(given) or given != given for (_, value), (_, given) in zip(found, expected, strict=True)] == [
        True
    ] * len(found)


def test_files_of_others_are_set_aside(tmp_path):
    """A file that lies where an output would write is moved to a name of its own."""
    exp = made(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "log.csv").write_text("mine")
    projections.replay(exp, projections.CSV(path=tmp_path / "out"))

    assert (tmp_path / "out" / "log.csv.before-1").read_text() == "mine"
    assert len(rows(tmp_path / "out" / "log.csv")) == 150


def test_build_again_leaves_nothing_of_the_first(tmp_path, form):
    """An output that is built again with other options replaces its own files."""
    kind = {"csv": projections.CSV, "parquet": projections.Parquet}[form]
    exp = made(tmp_path, outputs=[form])
    projections.replay(exp, kind(filter="^loss$", wide=False))

    assert len(long_rows(exp, form)) == 50
    assert not [name for name in content(exp.path / form) if "wide" in name or "before" in name]


def test_shortened_file_is_built_again(tmp_path, form):
    """A file that has lost what was written is built again from the log."""
    exp = made(tmp_path, outputs=[form])
    before = content(exp.path / form)
    path = exp.path / form / ("log.csv" if form == "csv" else "log/part-000000.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    projections.replay(exp, form)

    assert content(exp.path / form) == before


class ShortParts(Parquet):
    """Parts of few rows."""

    ROWS = 40


def test_parts_are_complete_at_their_size(tmp_path):
    """Rows beyond a part's size go to the next one; the parts before are never written again."""
    pytest.importorskip("pandas")
    exp = made(tmp_path)
    projections.replay(exp, ShortParts())

    names = sorted(path.name for path in (exp.path / "parquet" / "log").iterdir())
    assert names == [f"part-00000{i}.parquet" for i in range(4)]
    assert len(long_rows(exp, "parquet")) == 150


def test_missing_extra_is_named(tmp_path, monkeypatch):
    """Without pyarrow the output says which extra to install, before anything is on the disk."""
    monkeypatch.setattr("mlv.projections.output.is_installed", lambda module: False)

    with pytest.raises(mlv.MissingExtra, match=r"pip install 'mlvlogger\[frame\]'"):
        mlv.Exp(tmp_path / "runs", "exp", outputs=["parquet"])
    assert not (tmp_path / "runs").exists()


TRAINING = """
import sys, time, mlv
exp = mlv.Exp(sys.argv[1], "exp", capture=(), on_exists="open", outputs=sys.argv[2:])
val = exp.logger("val")
i = 0
while True:
    exp.log({"i": i}, step=i)
    if i % 7 == 0:
        val({"i": i}, step=i)
    if i % 5000 == 0:
        exp.flush()
    if i == 0:
        print(flush=True)
    if i % 50 == 0:
        time.sleep(0.002)  # some 20,000 events a second: as many as are read again afterwards
    i += 1
"""


@pytest.mark.crash
@pytest.mark.usefixtures("ring")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("victim", ["trainer", "writer", "projector"])
def test_each_record_once_after_kills(tmp_path, form, victim):
    """SIGKILL of trainer, writer or projector at random moments: after the next start each record is there once."""
    import psutil

    chance = random.Random(victim + form)
    for _ in range(2):
        script = [sys.executable, "-c", TRAINING, str(tmp_path), form]
        trainer = subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert trainer.stdout is not None
        trainer.stdout.readline()  # both streams have a line
        time.sleep(chance.uniform(0.0, 0.7))
        for process in psutil.process_iter(["cmdline"]):
            line = " ".join(process.info["cmdline"] or [])
            is_writer = victim == "writer" and "mlv.transport.writer" in line and str(tmp_path) in line
            is_projector = victim == "projector" and "mlv.projections" in line and _works_in(process, tmp_path)
            if is_writer or is_projector:
                process.kill()
        time.sleep(chance.uniform(0.0, 0.3))
        os.kill(trainer.pid, signal.SIGKILL)
        trainer.communicate(timeout=60)
    with mlv.Exp(tmp_path, "exp", **SETTINGS, on_exists="open", outputs=[form]) as exp:
        exp.log({"i": -1}, step=-1)
    projections.replay(exp, form)

    for stream in ("log", "val"):
        logged = {(event.run, event.seq) for event in exp.events("metrics", stream=stream)}
        found = [row[3:] for row in long_rows(exp, form, stream)]
        assert len(found) == len(set(found))
        assert set(found) == logged


def _works_in(process, folder: Path) -> bool:
    import psutil

    try:
        return any(str(folder) in file.path for file in process.open_files())
    except psutil.Error:
        return False


def test_streams_called_like_files(tmp_path):
    """Each stream has files of its own, whatever it is called."""
    streams = ("val", "val.wide", "val.wide.long", "val.wide.wide")
    with mlv.Exp(tmp_path, "exp", **SETTINGS, outputs=["csv"]) as exp:
        for stream in streams:
            exp.logger(stream)({stream: 1.0})
    folder = exp.path / "csv"

    assert len(list(folder.glob("*.csv"))) == 2 * len(("log", *streams))
    for stream in streams:
        assert len([path for path in folder.glob("*.csv") if f"\n{stream},0," in path.read_text()]) == 1
