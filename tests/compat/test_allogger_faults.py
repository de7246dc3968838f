"""None of the faults of ALLogger is left: nothing is lost, mixed or refused, and a session leaves nothing behind."""

from __future__ import annotations

import io
import logging
import multiprocessing
import threading
from collections import Counter

import pytest
from conftest import wait_until

import mlv
import mlv.compat.allogger as allogger
from mlv.compat.allogger.steps import Steps
from mlv.compat.allogger.tables import REUSE_SPACE, append
from mlv.projections.h5files import change_h5

numpy = pytest.importorskip("numpy")
h5py = pytest.importorskip("h5py")
pytest.importorskip("tensorboardX")
pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder of its own; whatever a test began is over behind it."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    allogger.close()


def values(key, events="log/events"):
    return list(allogger.api.hdf.read_from_key(events, key)["value"])


def test_nested_scopes_log():
    """A scope below a scope inherits its outputs, and datasets of different scopes stay apart."""
    allogger.basic_configure(logdir="log", default_outputs=["tensorboard", "hdf"])
    for number, scope in enumerate(("a", "b", "a.x", "b.x")):
        allogger.get_logger(scope).log(number, "v")
    allogger.close()

    assert [values(f"scalar/{scope}/v") for scope in ("a", "b", "a.x", "b.x")] == [[0], [1], [2], [3]]


@pytest.mark.parametrize("keys", [("lr.0", "lr.1"), ("a-b", "a/b"), ("a", "a/b"), ("a/b", "a"), (".", "..", ""), ("ü", "a b")])
def test_keys_stay_apart(keys):
    """Whatever keys are called, each has a dataset of its own."""
    allogger.basic_configure(logdir="log", default_outputs=["hdf"])
    for number, key in enumerate(keys):
        allogger.get_logger("main").log(number, key)
    allogger.close()

    [exp] = mlv.find("log")
    found = []
    with h5py.File(f"log/events/{exp.name}.h5") as file:
        file.visititems(lambda _, item: found.extend(item["value"]) if hasattr(item, "dtype") else None)
    assert sorted(found) == list(range(len(keys)))


def test_keys_with_dots_stay_whole():
    """`lr.0` is called `lr.0`."""
    allogger.basic_configure(logdir="log", default_outputs=["hdf"])
    allogger.get_logger("main").log(7, "lr.0")
    allogger.close()

    assert values("scalar/main/lr.0") == [7]


ODD = [
    "a text", b"bytes", None, float("nan"), float("inf"), 10**400, True, 1j, object(), numpy.float32(2), numpy.array([3]),
    numpy.array(4), numpy.zeros(0), numpy.zeros((0, 3)), numpy.zeros((2, 2)), numpy.array(["a"]), [1, 2, 3], [[1, 2], [3]], [],
    {"a": 1}, {1}, numpy.full((1, 3, 3), numpy.nan), numpy.full(5, numpy.nan), numpy.ones((3, 3, 3), complex), (1.0, 2.0),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::mlv.RejectedWarning")
@pytest.mark.parametrize("data_type", [None, "scalar", "scalars", "histogram", "image", "array"])
def test_one_bad_value_costs_no_other(data_type):
    """No value raises, whatever it is said to be, and the values around it are there."""
    allogger.basic_configure(logdir="log", default_outputs=["tensorboard", "hdf"])
    logger = allogger.get_logger("main")
    for odd in ODD:
        logger.log(odd, "x", data_type=data_type)
        logger.log(1.5, "x")
    allogger.close()

    found = allogger.api.hdf.read_from_key("log/events", "scalar/main/x")
    kept = found[found["step"] % 2 == 0]
    assert list(kept["step"]) == list(range(2, 2 * len(ODD) + 1, 2))
    assert set(kept["value"]) == {1.5}
    [exp] = mlv.find("log")
    assert list(exp.events("event", name="output_failed")) == []
    assert Counter(event.step for event in exp.events() if event.step).keys() == set(range(1, 2 * len(ODD) + 1))


def test_shapes_that_change():
    """An array of another shape has a dataset of its own."""
    allogger.basic_configure(logdir="log", default_outputs=["hdf"])
    for shape in ((2,), (3,), (2,)):
        allogger.get_logger("main").log(numpy.ones(shape), "x", data_type="array")
    allogger.close()

    assert allogger.api.hdf.read_from_key("log/events", "array/main/x")["value"].shape == (2, 2)
    assert allogger.api.hdf.read_from_key("log/events", "array/main/x%")["value"].shape == (1, 3)


def test_steps_of_what_is_filtered():
    """A filter of one output does not stop the steps of the other."""
    allogger.basic_configure(logdir="log", default_outputs=["tensorboard", "hdf"], tensorboard_writer_params={"filter": "loss"})
    for value in range(3):
        allogger.get_logger("main").log(value, "lr")
    allogger.close()

    found = allogger.api.hdf.read_from_key("log/events", "scalar/main/lr")
    assert list(found["step"]) == [1, 2, 3]


def test_disabled(place):
    """`enable=False` logs nothing, and says so; the next session logs again."""
    with pytest.warns(UserWarning, match="globally disabled"):
        allogger.basic_configure(enable=False, logdir="log", default_outputs=["hdf"], basic_logging_params={})
    logger = allogger.get_logger("main")
    logger.log(1, "x")
    logger.info("x")
    allogger.close()
    assert not (place / "log").exists()

    allogger.basic_configure(logdir="log", default_outputs=["hdf"])
    logger.log(1, "x")
    allogger.close()
    assert values("scalar/main/x") == [1]


def test_loggers_before_basic_configure():
    """A logger may be there before the session; what it logs meanwhile is warned about."""
    logger = allogger.get_logger("early")
    with pytest.warns(mlv.MlvWarning, match="basic_configure"):
        logger.log(1, "x")
    logger.info("nobody hears it")

    allogger.basic_configure(logdir="log", default_outputs=["hdf"])
    logger.log(2, "x")
    allogger.close()
    assert values("scalar/early/x") == [2]


def test_logging_of_others_stays_as_it_was(place):
    """Handlers and levels of others stay; they are in the way of no text log."""
    root = logging.getLogger()
    mine, level = logging.StreamHandler(io.StringIO()), root.level
    root.addHandler(mine)
    try:
        before = list(root.handlers)
        allogger.basic_configure(logdir="log")
        allogger.get_logger("main").info("ours")
        logging.getLogger("git").debug("theirs")
        assert root.level == level
        allogger.close()
        assert root.handlers == before
    finally:
        root.removeHandler(mine)

    [text_log] = (place / "log").glob("*.log")
    assert [line.partition("> ")[2] for line in text_log.read_text().splitlines()] == ["ours"]


def test_a_session_leaves_nothing():
    """`close()` leaves no handler, no thread and no process."""
    # Other tests of this process may have left some of their own, such as the workers of joblib, which end when they please.
    threads, processes = {*threading.enumerate()}, {*multiprocessing.active_children()}
    allogger.basic_configure(logdir="log", default_outputs=["tensorboard"])
    allogger.get_logger("main").log(1, "x")
    allogger.close()

    assert allogger.get_logger("other").logger.handlers != []
    allogger.close()
    assert allogger.get_logger("main").logger is logging.getLogger("root.main")
    allogger.close()
    assert logging.getLogger("root.main").handlers == []
    wait_until(lambda: {*threading.enumerate()} <= threads)
    assert {*multiprocessing.active_children()} <= processes


def test_two_sessions_in_one_second(place):
    """Sessions in one process and second have files of their own, and begin to count anew."""
    for _ in range(2):
        allogger.basic_configure(logdir="log", default_outputs=["tensorboard", "hdf"])
        allogger.get_logger("main").log(1, "x")
        allogger.get_logger("main").info("hello")
        allogger.close()

    found = allogger.api.hdf.read_from_key("log/events", "scalar/main/x")
    assert [(row["step"], row["value"]) for row in found] == [(1, 1), (1, 1)]
    assert len(list((place / "log" / "events").glob("*.h5"))) == 2
    assert len(list((place / "log" / "events").glob("events.out.tfevents.*"))) == 2
    assert [len(path.read_text().splitlines()) for path in (place / "log").glob("*.log")] == [1, 1]


def test_configured_twice():
    """A second `basic_configure` ends the first session's logdir, whole, and goes on in the next."""
    logger = allogger.get_logger("main")
    for logdir in ("log", "log2"):
        allogger.basic_configure(logdir=logdir, default_outputs=["hdf"])
        logger.log(1, "x")
    allogger.close()

    assert values("scalar/main/x") == values("scalar/main/x", "log2/events") == [1]
    assert [exp.status for exp in (*mlv.find("log"), *mlv.find("log2"))] == ["ok", "ok"]


def test_threads():
    """Threads number one key together, and no record is torn or lost."""
    allogger.basic_configure(logdir="log", default_outputs=["hdf"])
    logger = allogger.get_logger("main")

    def work():
        for _ in range(200):
            logger.log(1, "x")

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    allogger.close()

    found = allogger.api.hdf.read_from_key("log/events", "scalar/main/x")
    assert sorted(found["step"]) == list(range(1, 801))


def test_a_file_that_grows_slowly_stays_small(place):
    """The space of compressed chunks that move is used again."""
    rows = [(step, *numbers) for step, numbers in enumerate(numpy.random.default_rng(0).random((2000, 3)))]

    def add(name, first, last):
        def work(file):
            for series in ("scalar/main/a", "scalar/main/b", "scalar/main/c"):
                append(file, series, first, rows[first:last], ())

        change_h5(place / name, "", 1, work, **REUSE_SPACE)

    add("once.h5", 0, 2000)
    for first in range(0, 2000, 10):
        add("slow.h5", first, first + 10)

    assert (place / "slow.h5").stat().st_size < 1.5 * (place / "once.h5").stat().st_size


@pytest.mark.parametrize("is_shared", [False, True])
def test_steps_are_a_mapping(is_shared):
    """Counters behave like the dict that they are saved as, in memory and in files."""
    steps = Steps()
    if is_shared:
        steps.share()
    taken = [steps.take(("root.a-MainProcess", "x")) for _ in range(3)]
    steps["root.b-MainProcess", "y/ü"] = 7

    assert taken == [1, 2, 3]
    assert steps.copy() == {("root.a-MainProcess", "x"): 4, ("root.b-MainProcess", "y/ü"): 7}
    assert steps.take(("root.b-MainProcess", "y/ü")) == 7
    del steps["root.a-MainProcess", "x"]
    assert len(steps) == 1
    assert steps.get(("root.a-MainProcess", "x")) is None
    steps.discard()
    assert dict(steps) == {("root.b-MainProcess", "y/ü"): 8}
