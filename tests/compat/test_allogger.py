"""Scripts for ALLogger do what they did: the same names, files at the same places, in the same formats."""

from __future__ import annotations

import inspect
import logging
import re
import sys

import pytest

import mlv
import mlv.compat.allogger as allogger
from mlv.compat.room import ROOM

numpy = pytest.importorskip("numpy")
h5py = pytest.importorskip("h5py")
pytest.importorskip("tensorboardX")
event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder of its own; whatever a test began is over behind it."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    allogger.close()


def rows(key, events="log/events"):
    """What a reader finds under a key."""
    return allogger.api.hdf.read_from_key(events, key)


def tags(events="log/events"):
    """All tags that TensorBoard finds, by kind."""
    return accumulated(events).Tags()


def accumulated(events="log/events"):
    found = event_accumulator.EventAccumulator(str(events), dict.fromkeys(event_accumulator.STORE_EVERYTHING_SIZE_GUIDANCE, 0))
    return found.Reload()


def the_experiment(logdir="log"):
    """The only experiment of a logdir."""
    [exp] = mlv.find(logdir)
    return exp


def test_readme(place, capsys):
    """The README's lines run and leave what they promise; its misspelt `alloger` and `vallid_outputs` never worked."""
    logdir, list_of_valid_outputs = str(place / "log"), allogger.valid_outputs

    allogger.basic_configure(logdir=logdir, default_outputs=list_of_valid_outputs)
    logger = allogger.get_logger(scope="main")
    value, key, message = 0.5, "value", "a message"
    logger.log(value, key)
    logger.info(message)
    allogger.utils.report_env()
    allogger.close()

    [hdf_log_file] = (place / "log" / "events").glob("*.h5")
    allogger.api.hdf.list_keys(hdf_log_file)
    assert "Scalars:\n\tscalar/main/value\nHistograms:\n" in capsys.readouterr().out
    [row] = allogger.api.hdf.read_from_key(hdf_log_file, "scalar/main/value")
    assert (row["step"], row["value"]) == (1, 0.5)
    [text_log] = (place / "log").glob("*.log")
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \(INFO\) \[root.main\] > a message$", text_log.read_text(), re.MULTILINE)
    assert "Running on" in text_log.read_text()
    assert tags()["scalars"] == ["root.main/value"]


def test_readme_hook_and_filter():
    """`use_hdf_hook` and `filter` do what the README says."""
    allogger.basic_configure(
        logdir="log",
        default_outputs=["tensorboard"],
        tensorboard_writer_params={"use_hdf_hook": False},
        hdf_writer_params={"filter": ".*loss.*"},
    )
    allogger.get_logger("main").log(1, "loss")
    hooked = allogger.get_logger("hooked", tensorboard_writer_params={"use_hdf_hook": True})
    hooked.log(2, "loss")
    hooked.log(3, "lr")
    allogger.close()

    with pytest.raises(KeyError):
        rows("scalar/main/loss")
    assert rows("scalar/hooked/loss")["value"] == [2]
    with pytest.raises(KeyError):
        rows("scalar/hooked/lr")
    assert tags()["scalars"] == ["root.main/loss", "root.hooked/loss", "root.hooked/lr"]


def test_files_and_names(place):
    """Files lie where ALLogger has them, named after the time and the host; the experiment lies hidden beside them."""
    allogger.basic_configure(logdir="log", default_outputs=["tensorboard", "hdf"])
    allogger.get_logger("main").log(1, "value")
    allogger.close()

    exp = the_experiment()
    assert re.fullmatch(r"\d{10}_.+", exp.name)
    assert {path.name for path in (place / "log").iterdir()} == {"events", ROOM, f"{exp.name}.log"}
    assert {path.suffix for path in (place / "log" / "events").iterdir()} == {".h5", ".mlv"}
    assert (place / "log" / "events" / f"{exp.name}.h5").exists()
    assert [event.data for event in exp.events("metrics")] == [{"root.main/value": 1}]


def test_hdf_format():
    """A dataset is compressed and can grow; rows have step, time, walltime and value, now with 64 bits."""
    allogger.basic_configure(logdir="log", default_outputs=["hdf"])
    for value in range(100):
        allogger.get_logger("main").log(value * 0.1, "value")
    allogger.close()

    with h5py.File(f"log/events/{the_experiment().name}.h5") as file:
        dataset = file["scalar/main/value"]
        assert dataset.compression == "gzip"
        assert dataset.maxshape == (None,)
        assert dataset.dtype.names == ("step", "time", "walltime", "value")
        assert {dataset.dtype[name] for name in ("time", "walltime", "value")} == {numpy.dtype("f8")}
        assert list(dataset["value"]) == [value * 0.1 for value in range(100)]
        assert list(dataset["step"]) == list(range(1, 101))
        assert list(dataset["time"]) == [event.time.timestamp() for event in the_experiment().events("metrics")]


@pytest.mark.parametrize(
    ("data", "data_type", "key"),
    [
        (numpy.random.default_rng(0).random((1, 5, 5)), None, "image/main/x"),
        (numpy.random.default_rng(0).random((5, 4, 3)) * 300, None, "image/main/x"),
        (numpy.arange(75, dtype="u1").reshape(3, 5, 5), "image", "image/main/x"),
        (numpy.random.default_rng(0).random((9, 5, 5)), None, "image/main/x"),
        (numpy.random.default_rng(0).random(10), "array", "array/main/x"),
        (numpy.random.default_rng(0).random((2, 3)), None, "array/main/x"),
        (numpy.random.default_rng(0).random((2, 3, 4, 5)), None, "array/main/x"),
    ],
)
def test_arrays_and_images(data, data_type, key):
    """Arrays and images are in HDF5 number for number."""
    allogger.basic_configure(logdir="log", default_outputs=["tensorboard"])
    logger = allogger.get_logger("main")
    logger.log(data, "x", data_type=data_type)
    logger.log(data, "x", data_type=data_type)
    allogger.close()

    found = rows(key)
    numpy.testing.assert_array_equal(found["value"], [data, data])
    assert list(found["step"]) == [1, 2]


def test_tensorboard_kinds():
    """Scalars, images and histograms are shown under scope and key."""
    allogger.basic_configure(logdir="log", default_outputs=["tensorboard"])
    logger = allogger.get_logger("main")
    logger.log(0.25, "value")
    logger.log(numpy.random.default_rng(0).random((1, 5, 5)), "img")
    logger.log(numpy.random.default_rng(0).random(10), "hist")
    logger.log({"a": 1.0, "b": 2.0}, "both", data_type="scalars")
    allogger.close()

    found = accumulated()
    assert found.Tags()["images"] == ["root.main/img"]
    assert found.Tags()["histograms"] == ["root.main/hist"]
    assert set(found.Tags()["scalars"]) == {"root.main/value", "root.main/both/a", "root.main/both/b"}
    [point] = found.Scalars("root.main/value")
    assert (point.step, point.value) == (1, 0.25)


def test_outputs_of_one_call():
    """A call may choose its outputs; the log has every record, at its step."""
    allogger.basic_configure(logdir="log", default_outputs=["hdf"])
    logger = allogger.get_logger("main")
    logger.log(1, "x")
    logger.log(2, "x", to_tensorboard=True)
    logger.log(3, "x", to_hdf=False)
    logger.log(4, "x")
    allogger.close()

    assert list(rows("scalar/main/x")["step"]) == [1, 2, 4]
    assert [point.step for point in accumulated().Scalars("root.main/x")] == [2]
    assert [event.step for event in the_experiment().events("metrics")] == [1, 2, 3, 4]


def test_scopes_are_a_hierarchy():
    """`main` is `root.main`; what is not given is inherited, through all ancestors."""
    allogger.basic_configure(logdir="log", default_outputs=["hdf"])
    logger = allogger.get_logger("main.sub.deep")

    assert allogger.get_logger("root.main.sub.deep") is logger
    assert allogger.get_logger("root") is allogger.get_root()
    assert (logger.logdir, logger.default_outputs) == ("log", ["hdf"])
    assert logger.scope == "root.main.sub.deep-MainProcess"
    assert logger.gen_key("x") == "root.main.sub.deep/x"
    assert logger.parent is allogger.get_root()
    assert allogger.get_logger("main").parent is allogger.get_root()
    assert logger.parent is allogger.get_logger("main")


def test_a_scope_with_its_own_logdir(place):
    """`get_logger(logdir=)` gives a scope, and those below it, events of their own, without a text log."""
    allogger.basic_configure(logdir="log", default_outputs=["hdf"])
    allogger.get_logger("apart", logdir="log_sep").log(1, "x")
    allogger.get_logger("apart.below").log(2, "x")
    allogger.close()

    assert rows("scalar/apart/x", "log_sep/events")["value"] == [1]
    assert rows("scalar/apart.below/x", "log_sep/events")["value"] == [2]
    assert list((place / "log_sep").glob("*.log")) == []


def test_steps_go_on():
    """Steps can be read, saved and set, so that a resumed script counts on."""
    allogger.basic_configure(logdir="log", default_outputs=["hdf"])
    logger, root = allogger.get_logger("main"), allogger.get_root()
    logger.log(1, "x")
    saved = dict(root.step_per_key)
    allogger.close()

    allogger.basic_configure(logdir="log2", default_outputs=["hdf"])
    root.step_per_key = root.manager.dict(saved)
    logger.log(2, "x")
    allogger.close()

    assert saved == {("root.main-MainProcess", "x"): 2}
    assert list(rows("scalar/main/x", "log2/events")["step"]) == [2]


def test_console_level(capsys):
    """The console shows warnings, and less where `basic_logging_params` say so; the text log has all, in the given format."""
    allogger.basic_configure(logdir="log", basic_logging_params={"formatter": {"fmt": "%(name)s: %(message)s"}})
    allogger.get_logger("quiet").info("not shown")
    allogger.get_logger("quiet").info("shown", level=logging.WARNING)
    allogger.get_logger("loud", basic_logging_params={"level": logging.INFO}).info("shown as well")
    allogger.get_logger("loud.below").info("once", level=logging.ERROR)
    allogger.close()

    said = capsys.readouterr().err
    assert "not shown" not in said
    assert said.count("shown") == 2
    assert said.count("once") == 1
    exp = the_experiment()
    assert "root.quiet: not shown\n" in (exp.path.parents[1] / f"{exp.name}.log").read_text()
    assert [event.data["level"] for event in exp.events("message")] == ["info", "warning", "info", "error"]


def test_signatures():
    """Arguments have the names, the order and the defaults of the original."""
    configure = "logdir=None default_outputs=None hdf_writer_params=None tensorboard_writer_params=None "
    configure += (
        "log_only_main_process=False file_writer_params=None debug=False default_path_exists='c' basic_logging_params=None"
    )
    log = "data key=None data_type=None to_tensorboard=None to_stdout=None to_csv=None to_hdf=None"

    assert shown(allogger.Logger.configure) == f"self {configure}"
    assert shown(allogger.Logger.log) == f"self {log}"
    assert shown(allogger.Logger.info) == "self data level=20"
    assert shown(allogger.Logger.gen_key) == "self key=None"
    assert shown(allogger.basic_configure) == "enable=True *args **kwargs"
    assert shown(allogger.get_logger) == "scope *args **kwargs"
    assert shown(allogger.utils.report_env) == "to_stdout=False"
    assert shown(allogger.api.hdf.list_keys) == "path"
    assert shown(allogger.api.hdf.read_from_key) == "path key"
    assert allogger.valid_outputs == ["tensorboard", "hdf"]


def shown(function):
    """The parameters of a function, without their types."""
    parameters = inspect.signature(function).parameters.values()
    return " ".join(str(one.replace(annotation=inspect.Parameter.empty)) for one in parameters)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: allogger.basic_configure(logdir="x", default_outputs=["csv"]), ValueError("csv is not a valid output")),
        (lambda: allogger.get_logger("a").log(1), ValueError("valid key")),
        (lambda: allogger.get_logger("a").log(1, "x", to_csv=True), NotImplementedError("CSV writer not implemented")),
        (lambda: allogger.get_logger("a").log(1, "x", "video"), NotImplementedError("video")),
        (lambda: allogger.get_logger("b", hdf_writer_params={"filter": "("}), mlv.InvalidPattern("no regular expression")),
        (lambda: allogger.get_logger("c", hdf_writer_params={"no_such": 1}), TypeError("no_such")),
    ],
)
def test_errors(call, error):
    """What cannot be done is said at once."""
    allogger.basic_configure(logdir="log", default_outputs=["hdf"])

    with pytest.raises(type(error), match=re.escape(str(error))):
        call()


def test_report_env(place, capsys):
    """The repository is the script's; without a branch, its commit is told."""
    import git

    repo = git.Repo.init(place)
    (place / "a").touch()
    repo.index.add(["a"])
    commit = repo.index.commit("one").hexsha[:6]
    repo.git.checkout("--detach")
    sys.modules["__main__"].__file__, before = str(place / "a"), getattr(sys.modules["__main__"], "__file__", None)
    try:
        allogger.basic_configure(logdir="log")
        allogger.utils.report_env(to_stdout=True)
    finally:
        sys.modules["__main__"].__file__ = before

    assert f"We are on a detached HEAD using commit {commit}\nSaving data to log\n" in capsys.readouterr().out


def test_files_of_the_original(place):
    """Files that ALLogger wrote, with float32, are read; together with those of mlv, and where one lacks the key."""
    (place / "events").mkdir()
    kind = [("step", "i4"), ("time", "f4"), ("walltime", "f4"), ("value", "f4")]
    for name, key in (("1_vm", "scalar/main/x"), ("2_vm", "scalar/main/other"), ("3_vm", "scalar/main/x")):
        with h5py.File(place / "events" / f"{name}.h5", "w") as file:
            file[key] = numpy.array([(1, 2.0, 3.0, 0.5)], kind)

    assert list(rows("scalar/main/x", "events")["value"]) == [0.5, 0.5]


def test_damaged_files(place):
    """A damaged file is named, as are a folder without any, and a key that nobody has."""
    (place / "events").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no \.h5 file"):
        allogger.api.hdf.list_keys("events")
    (place / "events" / "1_vm.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(20))
    with pytest.raises(mlv.FileUnusable, match=r"1_vm\.h5"):
        allogger.api.hdf.list_keys("events")
