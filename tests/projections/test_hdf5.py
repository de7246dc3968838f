"""The HDF5 output holds every point once, under its exact name, and can be read while it grows."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from logs import line, write

import mlv
from mlv import Exp, ForeignStep, hdf
from mlv.errors import FileUnusable, UnknownMetric
from mlv.projections import HDF5, h5files, replay
from mlv.projections.batch import LineBatch
from mlv.projections.selecting import selection
from projections.lines import followed, metric_line, pairs

pytest.importorskip("hypothesis")
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import metrics, texts

h5py: Any = pytest.importorskip("h5py")


@pytest.fixture
def exp(tmp_path, inline):
    with Exp(tmp_path, "exp", capture=()) as exp:
        yield exp


@pytest.fixture(params=[0, h5files.REPLACED_BYTES], ids=["in place", "replaced"])
def both_ways(request, monkeypatch):
    """Small files are replaced, large ones changed in place: here all are either."""
    monkeypatch.setattr(h5files, "REPLACED_BYTES", request.param)


def kept(exp: Exp, **options: object) -> Path:
    """The folder of the output, brought up to what was logged."""
    exp.flush()
    return replay(exp, HDF5(**options))


def records(path: Path) -> dict[tuple[str, str], list[tuple[Any, ...]]]:
    """All points in a folder, by stream and name."""
    with h5py.File(path / "metrics.h5") as file:
        streams = list(file)
    return {
        (stream, key): hdf.read_from_key(path, key, stream).tolist()
        for stream in streams
        for key in hdf.list_keys(path, stream)
    }


def test_dataset_per_metric(exp):
    """h5py reads a metric as a table at its stream and name: exact steps, times and values."""
    exp.log.sub("train")({"loss": 0.1}, step=2**53 + 1)
    exp.logger("val")({"loss": 0.2}, step=4)

    with h5py.File(kept(exp) / "metrics.h5") as file:
        found, other = file["log/train/loss"], file["val/loss"][()]

        [event] = exp.events(type="metrics", stream="log")
        assert found[()].tolist() == [(2**53 + 1, event.time.timestamp(), 0.1)]
        assert [str(found.dtype[field]) for field in ("step", "time", "value")] == ["int64", "float64", "float64"]
        assert (found.maxshape, other["value"].tolist()) == ((None,), [0.2])


def test_reading_into_pandas(exp):
    """What is read is a structured array, which pandas takes as it is."""
    pandas = pytest.importorskip("pandas")
    for step in range(3):
        exp.log({"x": step / 2}, step=step)
    kept(exp)

    frame = pandas.DataFrame(mlv.hdf.read_from_key(exp.path, "x"))

    assert frame[["step", "value"]].to_dict("list") == {"step": [0, 1, 2], "value": [0.0, 0.5, 1.0]}


def test_names_are_kept_apart(exp):
    """Dots, dashes, slashes, empty parts and percent signs are as they were logged, and a name may go on after another."""
    names = [
        "lr.0",
        "lr-0",
        "lr/0",
        "lr",
        "a",
        "a/b",
        "a/b/c",
        ".",
        "..",
        "/",
        "//",
        "%",
        "a%",
        "%2E",
        "#0",
        "x/#0",
        "a/",
        "/a",
        "ä b",
    ]
    for value, name in enumerate(names):
        exp.log({name: value}, step=0)
        exp.flush()

    folder = kept(exp)

    assert hdf.list_keys(folder) == sorted(names)
    assert [hdf.read_from_key(folder, name)["value"].tolist() for name in names] == [[value] for value in range(len(names))]


@pytest.mark.parametrize(
    ("value", "stored"),
    [(2**53 + 1, float(2**53)), (10**400, math.inf), (-(10**400), -math.inf), (math.nan, math.nan), (-math.inf, -math.inf),
     (True, 1.0), ("text", None), (None, None), ([1], None)],
    ids=lambda value: str(value)[:8],
)  # fmt: skip
def test_values(exp, value, stored):
    """A value is the nearest float; what is no number is left out, and costs nothing beside it or after it."""
    for odd in (0.5, value, 1.5):
        exp.log({"odd": odd, "next": 1}, step=0)

    folder = kept(exp)

    expected = [0.5, *([] if stored is None else [stored]), 1.5]
    assert repr(hdf.read_from_key(folder, "odd")["value"].tolist()) == repr(expected)
    assert len(hdf.read_from_key(folder, "next")) == 3


def test_steps(exp, both_ways):
    """Where a step is no number, or there is none, it is the position in the series, over all runs."""
    for step in (None, 2.9, ForeignStep((0, 17)), ForeignStep([4]), ForeignStep("PARAMETER")):
        exp.log({"x": 1}, step=step)
    exp.close()
    folder = replay(exp, "hdf5")
    with Exp.open(exp.path) as again:
        again.log({"x": 2})

    replay(exp, "hdf5")

    assert hdf.read_from_key(folder, "x")["step"].tolist() == [0, 2, 2, 4, 4, 5]


def test_arrays_and_images(exp):
    """Arrays of one name may differ in shape; images are pixels."""
    numpy = pytest.importorskip("numpy")
    pytest.importorskip("PIL")
    for size in (2, 2, 3):
        exp.log.array("same", numpy.full((2, 2), size), step=size)
        exp.log.array("other", numpy.arange(size))
    exp.log.images("many", numpy.zeros((2, 4, 5, 3), numpy.uint8), step=7)

    folder = kept(exp, arrays=True, images=True)

    same, other = (hdf.read_from_key(folder, name) for name in ("same", "other"))
    assert same["step"].tolist() == [2, 2, 3]
    assert (same["value"].shape, same["value"][2].tolist()) == ((3, 2, 2), [[3, 3], [3, 3]])
    assert [array.tolist() for array in other["value"]] == [[0, 1], [0, 1], [0, 1, 2]]
    assert hdf.read_from_key(folder, "many/1")["value"].shape == (1, 4, 5, 3)


def test_array_that_is_gone_costs_nothing_beside_it(exp):
    """An array whose file is missing, or has a type that HDF5 lacks, is left out."""
    numpy = pytest.importorskip("numpy")
    exp.log.array("gone", numpy.arange(3))
    exp.log.array("dates", numpy.array(["2026-01-01"], "M8[D]"))
    exp.log.array("there", numpy.arange(3))
    exp.flush()
    [path] = (exp.path / "files" / "media" / "gone").iterdir()
    path.unlink()

    folder = kept(exp, arrays=True)

    assert hdf.read_from_key(folder, "there")["value"].tolist() == [[0, 1, 2]]


def test_unknown_key_and_folder(exp, tmp_path):
    """What is not there is named, with names that are close."""
    exp.log({"train/loss": 1})
    kept(exp)

    with pytest.raises(UnknownMetric, match=r"'train/lss'.*'train/loss'"):
        hdf.read_from_key(exp.path, "train/lss")
    with pytest.raises(FileUnusable, match=r"metrics\.h5"):
        hdf.list_keys(tmp_path / "nothing")


def test_live_is_equal_to_replay(tmp_path, both_ways):
    """An output that was kept while the run went on has the records of one that is made afterwards."""
    with Exp(tmp_path, "exp", outputs=["hdf5"], capture=()) as exp:
        for step in range(3000):
            exp.log({"loss": 1 / (step + 1), "acc": step}, step=step)
            exp.logger("val")({"loss": step})
            if step % 1000 == 0:
                exp.flush()
    live = records(followed(exp, "hdf5"))

    assert records(replay(exp, HDF5(path=tmp_path / "other"))) == live
    assert len(live["log", "loss"]) == 3000


READER = """
import sys, time, h5py
path, lengths = sys.argv[1], []
deadline = time.monotonic() + 60
while time.monotonic() < deadline and (not lengths or lengths[-1] < 2000):
    try:
        with h5py.File(path, "r") as file:
            values = file["log/x"]["value"]
    except (FileNotFoundError, BlockingIOError, KeyError):
        continue
    assert (values == range(len(values))).all()
    lengths.append(len(values))
    if len(lengths) == 1:
        print("reading", flush=True)
print(len(set(lengths)))
"""


def test_other_process_reads_while_it_is_written(exp, both_ways):
    """h5py, as it is installed, opens the file between two commits, and finds whole rows."""
    replay(exp, "hdf5")
    path = exp.path / "hdf5" / "metrics.h5"
    reader = subprocess.Popen([sys.executable, "-c", READER, str(path)], stdout=subprocess.PIPE, text=True)

    for step in range(2000):
        exp.log({"x": step}, step=step)
        if step % 100 == 99:
            kept(exp)
            time.sleep(0.01)
        if step == 99:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "reading\n"

    said, _ = reader.communicate(timeout=60)
    assert int(said) > 1


def test_reader_keeps_what_it_has_opened(exp, both_ways):
    """A file that stays open in another program never keeps the output from going on."""
    exp.log({"x": 1})
    folder = kept(exp)
    with h5py.File(folder / "metrics.h5", "r") as opened:
        exp.log({"x": 2})
        kept(exp)

        assert (len(opened["log/x"]), len(hdf.read_from_key(folder, "x"))) == (1, 2)


HOLDER = "import h5py, sys, time; f = h5py.File(sys.argv[1], 'r+'); print('held', flush=True); time.sleep(float(sys.argv[2]))"


def test_locked_file_is_waited_for(exp, both_ways):
    """While another program writes into the file, the output waits."""
    exp.log({"x": 1})
    folder = kept(exp)
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder / "metrics.h5"), "0.5"], stdout=subprocess.PIPE)
    assert holder.stdout.readline()
    exp.log({"x": 2})

    kept(exp)

    holder.communicate(timeout=60)
    assert len(hdf.read_from_key(folder, "x")) == 2


def test_file_that_stays_locked(exp, both_ways):
    """The deadline says what was waited for; nothing is lost, and the output goes on when the file is free."""
    exp.log({"x": 1})
    folder = kept(exp)

    with subprocess.Popen([sys.executable, "-c", HOLDER, str(folder / "metrics.h5"), "60"], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline()
        exp.log({"x": 2})
        with pytest.raises(FileUnusable, match=r"locked by another program for more than 0\.3 s"):
            h5files.change_h5(folder / "metrics.h5", "exp", 2, lambda file: pytest.fail("changed"), 0.3)
        holder.kill()

    assert len(hdf.read_from_key(kept(exp), "x")) == 2


@pytest.mark.parametrize(
    ("harm", "is_kept"),
    [(lambda path: os.truncate(path, 500), True), (lambda path: path.write_bytes(b"x" * 3000), True), (Path.unlink, False),
     (lambda path: path.with_name(".metrics.h5.changing").touch(), True)],
    ids=["cut off", "overwritten", "gone", "half written"],
)  # fmt: skip
def test_broken_file_is_built_again(exp, harm, is_kept):
    """A broken file is set aside, and made anew from the log."""
    exp.log({"x": 1}, step=0)
    folder = kept(exp)
    before = records(folder)
    harm(folder / "metrics.h5")

    kept(exp)

    assert records(folder) == before
    assert (folder / "metrics.h5.broken-1").exists() == is_kept


def test_file_of_others_is_set_aside(exp):
    """A file that mlv did not write is never replaced."""
    theirs = exp.path / "hdf5" / "metrics.h5"
    theirs.parent.mkdir()
    with h5py.File(theirs, "w") as file:
        file["theirs"] = 1
    exp.log({"x": 1})

    kept(exp)

    with h5py.File(theirs.with_name("metrics.h5.1")) as file:
        assert "theirs" in file
    assert hdf.list_keys(exp.path) == ["x"]


def test_what_was_written_behind_the_last_commit_comes_once(exp, tmp_path, both_ways):
    """A kill between the file and the memory of it leads to a rebuild, not to doubles."""
    exp.close()
    write(exp.path, *(line("r1", seq, "metrics", data={"x": seq}) for seq in range(1, 50)))
    folder = replay(exp, "hdf5")
    position = folder / ".mlv-hdf5.json"
    before = position.read_bytes()
    with open(exp.path / "log.jsonl", "ab") as file:
        file.write(line("r1", 50, "metrics", data={"x": 50}))
    replay(exp, "hdf5")
    position.write_bytes(before)

    replay(exp, "hdf5")

    assert hdf.read_from_key(folder, "x")["value"].tolist() == list(range(1, 51))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(texts, metrics, st.one_of(st.none(), st.integers(0, 5), st.floats(0, 9))), max_size=5))
def test_hostile_names_and_values(tmp_path_factory, logged):
    """Whatever is logged, every number is there under its own name."""
    lines = [metric_line(seq, *each) for seq, each in enumerate(logged, 1)]
    expected: dict[str, int] = {}
    for name, value in pairs(b"".join(lines)):
        if isinstance(value, (int, float)):
            expected[name] = expected.get(name, 0) + 1
    folder = tmp_path_factory.mktemp("output")

    output = HDF5()
    output.open(folder, None)
    for each in lines:
        output.write(LineBatch(folder, "log", 0, each, selection()))
        output.commit()

    assert {key: len(hdf.read_from_key(folder, key)) for key in expected} == expected
    assert not expected or hdf.list_keys(folder) == sorted(expected)
