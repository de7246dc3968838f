"""Rows: every value that a script may give, where it is stored, and what it is in the experiment beneath."""

from __future__ import annotations

import json
import math
import os
import threading
from decimal import Decimal
from fractions import Fraction

import pytest

from compat.mle import fill, logger
from mlv.compat.mle_logging import load_log
from mlv.compat.room import ROOM

h5py = pytest.importorskip("h5py")
numpy = pytest.importorskip("numpy")
pytest.importorskip("yaml")
pytestmark = pytest.mark.usefixtures("inline")


def column(folder, name, group="stats", seed="no_seed_provided"):
    with h5py.File(folder / f"logs/log_{seed}.hdf5") as file:
        return file[f"{seed}/{group}/{name}"][:]


def test_layout_of_the_file(tmp_path):
    """Numbers are of 64 bits, the time of day has the original's form, and meta is text."""
    fill(logger(tmp_path, seed_id=3), 2)

    with h5py.File(tmp_path / "logs/log_seed_3.hdf5") as file:
        assert sorted(file["seed_3"]) == ["meta", "stats", "time"]
        assert file["seed_3/stats/train_loss"].dtype == numpy.float64
        assert file["seed_3/time/num_updates"][:].tolist() == [0, 10]
        assert len(file["seed_3/time/time"][0]) == len(b"26-11-21/14:30")
        assert file["seed_3/meta/model_type"][0] == b"no-model-type"


def test_rows_are_events(tmp_path):
    """Each update is an event with the statistics, the time variables as coordinates, and the first of them as step."""
    log = fill(logger(tmp_path), 2)

    found = list(log.exp.events("metrics"))
    assert [event.step for event in found] == [0, 10]
    assert found[1].data == {"train_loss": 0.5, "test_loss": 1.0}
    assert found[1].at["num_updates"] == 10
    assert found[1].at["num_epochs"] == 1


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (1, 1.0),
        (True, 1.0),
        (2**53 + 1, float(2**53 + 1)),
        (10**400, math.inf),
        (0.1, 0.1),
        (math.nan, math.nan),
        (-math.inf, -math.inf),
        ("0.5", 0.5),
        (None, math.nan),
        (Decimal("0.25"), 0.25),
        (Fraction(1, 4), 0.25),
        (numpy.float32(0.5), 0.5),
        (numpy.int64(7), 7.0),
        (numpy.array(3.0), 3.0),
    ],
)
def test_values(tmp_path, value, stored):
    """Whatever is a number is stored as one, and what is none yet costs nothing."""
    log = logger(tmp_path)
    log.update({"num_epochs": 0}, {"train_loss": value, "test_loss": 1.0}, save=True)

    assert column(tmp_path, "train_loss").tolist() == pytest.approx([stored], nan_ok=True)
    assert column(tmp_path, "test_loss").tolist() == [1.0]


class Raises:
    """A value that cannot be read."""

    def __float__(self):
        raise RuntimeError("no")

    __str__ = __float__


@pytest.mark.parametrize("value", ["text", "größer\ud800", [1.0, "a"], {"a": 1}, Raises(), object()])
def test_a_bad_value_costs_no_other(tmp_path, value):
    """What is no number is kept as it can be, and the others are stored."""
    log = logger(tmp_path)
    log.update({"num_epochs": 0}, {"train_loss": value, "test_loss": 1.0}, save=True)
    log.update({"num_epochs": 1}, {"train_loss": 0.5, "test_loss": 2.0}, save=True)

    assert column(tmp_path, "test_loss").tolist() == [1.0, 2.0]
    assert len(column(tmp_path, "train_loss")) == 2


def test_texts_are_whole(tmp_path):
    """Texts are neither cut nor stripped of what is not ASCII, in statistics as in meta."""
    text = "ä" * 6000
    log = logger(tmp_path, config_dict={"name": text, "größe": 1})
    log.update({"num_epochs": 0}, {"train_loss": text}, save=True)

    found = load_log(str(tmp_path))
    assert found.stats.train_loss[0].decode() == text
    assert found.meta.config_dict == {"name": text, "größe": 1}


def test_vectors(tmp_path):
    """Vectors are rows of an array; shorter ones end with NaN, longer ones widen it."""
    log = logger(tmp_path)
    for value in (numpy.arange(2), numpy.arange(3.0), [5.0]):
        log.update({"num_epochs": 0}, {"v": value})
    log.save()

    assert numpy.array_equal(column(tmp_path, "v"), [[0, 1, math.nan], [0, 1, 2], [5, math.nan, math.nan]], equal_nan=True)


def test_matrices(tmp_path):
    """Arrays of more axes keep them."""
    log = logger(tmp_path)
    for factor in (1.0, 2.0):
        log.update({"num_epochs": 0}, {"m": numpy.ones((2, 3)) * factor}, save=True)

    assert column(tmp_path, "m").tolist() == [[[1.0] * 3] * 2, [[2.0] * 3] * 2]


def test_numbers_keep_their_digits(tmp_path):
    """Steps beyond 24 bits are what they were."""
    log = logger(tmp_path)
    log.update({"num_updates": 16777217, "num_epochs": 123456789}, {"train_loss": 0.1}, save=True)

    assert column(tmp_path, "num_updates", "time").tolist() == [16777217]
    assert column(tmp_path, "num_epochs", "time").tolist() == [123456789]


def test_own_num_updates_is_kept(tmp_path):
    """The user's number of updates stands, and the mapping that was given is not changed."""
    log, tick = logger(tmp_path), {"num_updates": 10, "num_epochs": 1}
    log.update(tick, {"train_loss": 1.0}, save=True)

    assert tick == {"num_updates": 10, "num_epochs": 1}
    assert column(tmp_path, "num_updates", "time").tolist() == [10]


def test_updates_are_counted(tmp_path):
    """Where the user gives no number of updates they are counted from 1."""
    log = logger(tmp_path, time_to_track=["epoch"])
    for epoch in range(3):
        log.update({"epoch": epoch}, {"train_loss": 1.0})
    log.save()

    assert column(tmp_path, "num_updates", "time").tolist() == [1, 2, 3]


@pytest.mark.parametrize("tick", [{"step": 5}, {"step": 5, "step_": 6}, {"num_epochs": math.nan}, {"phase": "warm"}])
def test_time_variables_of_any_kind(tmp_path, tick):
    """Names that mlv uses itself, what is not finite, and text are stored as time variables all the same."""
    logger(tmp_path, time_to_track=list(tick)).update(tick, {"train_loss": 1.0}, save=True)

    found = {name: values.tolist()[0] for name, values in load_log(str(tmp_path)).time.items()}
    shown = {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}
    assert {name: shown[name] for name in tick} == pytest.approx(tick, nan_ok=True)


@pytest.mark.parametrize("name", ["lr.0", "val/loss", "a b", ".", "größe", "", "%2F"])
def test_names_are_kept_apart(tmp_path, name):
    """A name with dots, slashes or nothing at all is one column."""
    logger(tmp_path).update({"num_epochs": 0}, {name: 1.0, "test_loss": 2.0}, save=True)

    stats = load_log(str(tmp_path)).stats
    assert stats[name or "unnamed"].tolist() == [1.0]
    assert stats["test_loss"].tolist() == [2.0]


def test_lists_are_not_shared(tmp_path):
    """Names that are added to one logger are not those of another, nor of the user's list."""
    names = ["train_loss"]
    one = logger(tmp_path / "one", what_to_track=names)
    one.extend_tracking(["f1"])
    one.update({}, {"new": 1.0})
    other = logger(tmp_path / "other", what_to_track=names)

    assert one.stats_log.what_to_track == ["train_loss", "f1", "new"]
    assert other.stats_log.what_to_track == names == ["train_loss"]


def test_threads(tmp_path):
    """Threads that log at once lose no row and tear none."""
    log = logger(tmp_path, time_to_track=["thread"])
    threads = [threading.Thread(target=lambda n=n: [log.update({"thread": n}, {"x": n}) for _ in range(100)]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.save()

    found = load_log(str(tmp_path))
    assert found.time.num_updates.tolist() == list(range(1, 401))
    assert found.stats.x.tolist() == found.time.thread.tolist()


def test_nothing_is_said_of_locking(tmp_path, monkeypatch):
    """The environment of the process stays as it is."""
    monkeypatch.delenv("HDF5_USE_FILE_LOCKING", raising=False)
    fill(logger(tmp_path), 1)

    assert "HDF5_USE_FILE_LOCKING" not in os.environ


def test_ready_to_log(tmp_path):
    """The first step and each j-th are ready; without j it says what is missing."""
    log = logger(tmp_path, log_every_j_steps=3)
    assert [step for step in range(7) if log.ready_to_log(step)] == [0, 2, 5]
    with pytest.raises(AssertionError, match="log_every_j_steps"):
        logger(tmp_path / "other").ready_to_log(0)


@pytest.mark.parametrize(("seed_id", "name"), [(1, "seed_1"), (numpy.int64(2), "seed_2"), ("a", "a"), ("s/1", "s_1")])
def test_seeds(tmp_path, seed_id, name):
    """Numbers of any library become `seed_<n>`, a text stays what it is."""
    log = fill(logger(tmp_path, seed_id=seed_id), 1)

    assert os.listdir(tmp_path / "logs") == [f"log_{name}.hdf5"]
    assert log.exp.path == tmp_path / ROOM / name
    assert json.loads((log.exp.path / "meta.json").read_text())["tags"][0] == "mle_logging"
