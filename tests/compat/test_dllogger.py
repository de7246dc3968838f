"""`mlv.compat.dllogger`: what its documentation promises, in the files that it names, and as events beside them."""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

import mlv
import mlv.compat.dllogger as dllogger
from mlv import projections
from mlv.compat.dllogger import Backend, JSONStreamBackend, Logger, StdOutBackend, Verbosity
from mlv.compat.dllogger.lines import DLLLines
from mlv.compat.dllogger.logger import default_prefix_format
from mlv.compat.room import REPLACED, ROOM

pytestmark = pytest.mark.usefixtures("inline")

README = """
from mlv.compat.dllogger import StdOutBackend, JSONStreamBackend, Verbosity
import mlv.compat.dllogger as DLLogger

DLLogger.init(backends=[
    StdOutBackend(Verbosity.DEFAULT),
    JSONStreamBackend(Verbosity.VERBOSE, "log.json"),
])
DLLogger.log(step="PARAMETER", data={"lr": 0.1, "bs": None})
DLLogger.metadata("loss", {"unit": "nat", "format": ":.3f"})
DLLogger.log(step=(0, 1), data={"loss": 0.12345}, verbosity=DLLogger.Verbosity.DEFAULT)
DLLogger.log(step=(0,), data={"acc": 0.5}, verbosity=DLLogger.Verbosity.VERBOSE)
DLLogger.log(step=(), data={"acc": 0.75})
DLLogger.flush()
"""


@pytest.fixture(autouse=True)
def _forget_init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`init` is called once for each process; each test is a process of its own in this."""
    monkeypatch.setenv("MLV_DIR", str(tmp_path / "runs"))
    yield
    dllogger.GLOBAL_LOGGER = dllogger.NotInitializedObject()


def lines(path: Path) -> list[dict[str, Any]]:
    """What the readers of DLLogger's files do."""
    return [json.loads(line.removeprefix("DLLL ")) for line in path.read_text().splitlines()]


def data(path: Path) -> list[Any]:
    return [line["data"] for line in lines(path) if line["type"] == "LOG"]


def events(path: Path) -> list[mlv.Event]:
    return list(mlv.Exp.open(path.parent / ROOM / path.name).events(["metrics", "rejected"]))


class Recorded(Backend):
    """What someone wrote for DLLogger: without `flush`."""

    def __init__(self, verbosity: int) -> None:
        super().__init__(verbosity=verbosity)
        self.seen: list[Any] = []

    def log(self, timestamp, elapsedtime, step, data):
        self.seen.append((timestamp, elapsedtime, step, data))

    def metadata(self, timestamp, elapsedtime, metric, metadata):
        self.seen.append((metric, metadata))


class Failing(Recorded):
    def log(self, timestamp, elapsedtime, step, data):
        raise OSError("disk full")

    metadata = log


def test_readme(python, tmp_path):
    """The example of the documentation prints, and leaves the file that it promises."""
    done = python(README)

    assert done.returncode == 0, done.stderr
    shown = [re.sub(r"^DLL \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} - ", "", line) for line in done.stdout.splitlines()]
    assert shown == ["PARAMETER lr : 0.1  bs : None ", "(0, 1) loss : 0.123 nat", "() acc : 0.75 "]
    found = lines(tmp_path / "log.json")
    assert [line.get("step", line.get("metric")) for line in found] == ["PARAMETER", "loss", [0, 1], [0], []]
    assert found[2]["data"] == {"loss": 0.12345}


def test_logger_of_its_own(tmp_path, capsys):
    """A Logger can be made without the functions of the module."""
    backends = [StdOutBackend(Verbosity.VERBOSE), JSONStreamBackend(Verbosity.VERBOSE, tmp_path / "log.json")]
    logger = Logger(backends=backends)
    logger.log(step=1, data={"loss": 0.5})
    logger.flush()

    assert logger.backends is backends
    assert capsys.readouterr().out.endswith(" - 1 loss : 0.5 \n")
    assert data(tmp_path / "log.json") == [{"loss": 0.5}]


def test_line(tmp_path):
    """A line has these keys in this order, its times as text; the times are those of the event."""
    logger = Logger([JSONStreamBackend(Verbosity.VERBOSE, tmp_path / "log.json")])
    logger.log((0, 1, 2), {"loss": 0.5})
    logger.metadata("loss", {"unit": "nat"})
    logger.flush()

    first, second = lines(tmp_path / "log.json")
    assert list(first) == ["timestamp", "datetime", "elapsedtime", "type", "step", "data"]
    assert list(second) == ["timestamp", "elapsedtime", "datetime", "type", "metric", "metadata"]
    [event] = events(tmp_path / "log.json")
    assert first["datetime"] == str(event.time)
    assert first["timestamp"] == str(event.time.timestamp())
    elapsed_s = event.time.timestamp() - logger.starttime.timestamp()
    assert float(first["elapsedtime"]) == pytest.approx(elapsed_s, abs=0.01)
    assert (first["type"], first["step"], first["data"]) == ("LOG", [0, 1, 2], {"loss": 0.5})
    assert (second["type"], second["metric"], second["metadata"]) == ("METADATA", "loss", {"unit": "nat"})


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("PARAMETER", "PARAMETER"),
        ((), []),
        ((3,), [3]),
        ((0, 1, 2), [0, 1, 2]),
        ([0, "val"], [0, "val"]),
        (7, 7),
        (0.5, 0.5),
        (None, None),
        (True, "True"),
        ((0, math.nan), "(0, nan)"),
        ({"epoch": 1}, "{'epoch': 1}"),
    ],
    ids=str,
)
def test_steps(tmp_path, step, expected):
    """A step of any kind is in the file, and in the experiment."""
    logger = Logger([JSONStreamBackend(Verbosity.VERBOSE, tmp_path / "log.json")])
    logger.log(step, {"loss": 0.5})
    logger.flush()

    assert [line["step"] for line in lines(tmp_path / "log.json")] == [expected]
    assert [event.step for event in events(tmp_path / "log.json")] == [expected]


@pytest.mark.parametrize("step", [(), (3,), (0, -1, 2**62), (2**64, 1), ("a", 1), [1, 2], "PARAMETER"], ids=str)
def test_quick_way_of_steps(tmp_path, step):
    """A step goes the quick way with numbers, and is then what it is on the plain one."""
    with mlv.Exp(tmp_path, "exp", capture=()) as exp:
        exp.log({"loss": 0.5}, step=mlv.ForeignStep(step))
        exp.log.metrics({"loss": 0.5}, step=mlv.ForeignStep(step))

    quick, plain = exp.events(["metrics", "rejected"])
    assert (quick.type, quick.step, quick.data) == (plain.type, plain.step, plain.data)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("text", "text"),
        (True, True),
        ([1, 2.5], [1, 2.5]),
        ({"deep": {"er": 1}}, {"deep": {"er": 1}}),
        (10**25, 10**25),
        ({1, 2}, [1, 2]),
        (b"bytes", "bytes"),
        (datetime(2026, 11, 21, tzinfo=timezone.utc), "2026-11-21T00:00:00.000000Z"),
        (print, "<built-in function print>"),
    ],
    ids=repr,
)
@pytest.mark.filterwarnings("ignore::mlv.RejectedWarning")
def test_values(tmp_path, value, expected):
    """A value of any kind is in the file, and costs those beside it nothing; one without a form has a line of its own."""
    logger = Logger([JSONStreamBackend(Verbosity.VERBOSE, tmp_path / "log.json")])
    logger.log(1, {"loss": 0.5, "value": value})
    logger.flush()

    whole, *others = data(tmp_path / "log.json")
    assert {**whole, **(others[0] if others else {})} == {"loss": 0.5, "value": expected}
    assert (whole["loss"], len(others)) == (0.5, value is print)


def test_scalars_of_libraries(tmp_path):
    """Scalars of numpy are numbers."""
    np = pytest.importorskip("numpy")
    logger = Logger([JSONStreamBackend(Verbosity.VERBOSE, tmp_path / "log.json")])
    logger.log(np.int64(3), {"loss": np.float32(0.5), "n": np.array(3), "all": np.array([1.5, 2])})
    logger.flush()

    assert data(tmp_path / "log.json") == [{"loss": 0.5, "n": 3, "all": [1.5, 2]}]
    assert [event.step for event in events(tmp_path / "log.json")] == [3]


def test_nan_is_json(tmp_path):
    """NaN and infinities are null in the file, which any JSON reader accepts, and named beside it; the log gives them back."""
    logger = Logger([JSONStreamBackend(Verbosity.VERBOSE, tmp_path / "log.json")])
    logger.log(1, {"loss": math.nan, "a/b": [math.inf], "acc": 0.5})
    logger.flush()

    [line] = lines(tmp_path / "log.json")
    assert line["data"] == {"loss": None, "a/b": [None], "acc": 0.5}
    assert line["nonfinite"] == {"/loss": "nan", "/a~1b/0": "inf"}
    [event] = events(tmp_path / "log.json")
    assert math.isnan(event.data["loss"])


@pytest.mark.parametrize("level", [-1, 0, 1, 2])
def test_verbosity(tmp_path, level):
    """A record reaches a backend whose verbosity is not below its own; the experiment has all of them."""
    other = Recorded(level)
    logger = Logger([other, JSONStreamBackend(level, tmp_path / "log.json")])
    for verbosity in (-1, 0, 1, 2):
        logger.log(0, {"metric": verbosity}, verbosity)
    logger.metadata("loss", {"unit": "nat"})
    logger.flush()

    expected = [{"metric": verbosity} for verbosity in (-1, 0, 1, 2) if level >= verbosity]
    assert data(tmp_path / "log.json") == expected == [one[3] for one in other.seen[:-1]]
    assert other.seen[-1] == ("loss", {"unit": "nat"})
    assert lines(tmp_path / "log.json")[-1]["type"] == "METADATA"
    assert [event.verbosity for event in events(tmp_path / "log.json")] == [-1, 0, 1, 2]


@pytest.mark.parametrize(
    ("call", "signature"),
    [
        (dllogger.init, "(backends)"),
        (dllogger.log, "(step, data, verbosity=0)"),
        (dllogger.metadata, "(metric, metadata)"),
        (dllogger.flush, "()"),
        (Logger, "(backends)"),
        (Logger.log, "(self, step, data, verbosity=1)"),
        (Logger.metadata, "(self, metric, metadata)"),
        (Logger.flush, "(self)"),
        (Backend, "(verbosity)"),
        (Backend.log, "(self, timestamp, elapsedtime, step, data)"),
        (Backend.metadata, "(self, timestamp, elapsedtime, metric, metadata)"),
        (JSONStreamBackend, "(verbosity, filename, append=False)"),
        (dllogger.default_step_format, "(step)"),
        (dllogger.default_metric_format, "(metric, metadata, value)"),
        (default_prefix_format, "(timestamp)"),
    ],
)
def test_signatures(call, signature):
    """Signatures and defaults are those of DLLogger; the default verbosity of the method is another than the function's."""
    found = inspect.signature(call)
    bare = [one.replace(annotation=inspect.Parameter.empty) for one in found.parameters.values()]

    assert str(found.replace(parameters=bare, return_annotation=inspect.Signature.empty)) == signature


def test_stdout_signature():
    """The formats of the terminal can be replaced."""
    assert list(inspect.signature(StdOutBackend).parameters) == ["verbosity", "step_format", "metric_format", "prefix_format"]
    assert (Verbosity.OFF, Verbosity.DEFAULT, Verbosity.VERBOSE) == (-1, 0, 1)


@pytest.mark.parametrize(
    "call",
    [lambda: dllogger.log(1, {}), lambda: dllogger.metadata("loss", {}), dllogger.flush],
    ids=["log", "metadata", "flush"],
)
def test_before_init(call):
    """Before `init` the functions raise what they raise in DLLogger."""
    with pytest.raises(dllogger.DLLoggerNotInitialized, match=r"Initialize DLLogger with init\(backends\) function"):
        call()


def test_init_twice():
    """A second `init` raises, with three L."""
    dllogger.init([])

    with pytest.raises(dllogger.DLLLoggerAlreadyInitialized):
        dllogger.init([])


@pytest.mark.parametrize(
    ("metadata", "value", "expected"),
    [
        ({"unit": "nat", "format": ":.3f"}, 0.12345, "loss : 0.123 nat"),
        ({"format": ":.3f"}, "text", "loss : text "),
        ({"format": ":.3f"}, None, "loss : None "),
        ({"format": 3}, 0.5, "loss : 0.5 "),
        ({}, math.nan, "loss : nan "),
    ],
)
def test_metric_format(metadata, value, expected):
    """A value is shown in its format, with its unit; one that does not fit plainly."""
    assert dllogger.default_metric_format("loss", metadata, value) == expected


def test_own_formats(capsys):
    """Formats of one's own are used, and metadata is merged per metric."""
    shown = StdOutBackend(
        0, lambda step: f"[{step}]", lambda metric, metadata, value: f"{metric}={value}{metadata}", lambda _: ""
    )
    logger = Logger([shown])
    logger.metadata("loss", {"unit": "nat"})
    logger.metadata("loss", {"format": ":.1f"})
    logger.log(3, {"loss": 1}, verbosity=0)

    assert capsys.readouterr().out == "[3] loss=1{'unit': 'nat', 'format': ':.1f'}\n"


def test_custom_backend(tmp_path):
    """A backend of one's own gets what it got: a naive local time, seconds since the start, and the objects themselves."""
    mine, given = Recorded(Verbosity.VERBOSE), {"loss": object()}
    logger = Logger([mine, JSONStreamBackend(0, tmp_path / "log.json")])
    logger.log((1,), given, 1)
    logger.flush()

    [(timestamp, elapsed_s, step, found)] = mine.seen
    assert timestamp.tzinfo is None
    assert timestamp >= logger.starttime
    assert 0 <= elapsed_s < 60
    assert (step, found) == ((1,), given)


def test_failing_backend(tmp_path):
    """A backend that fails raises nothing, is warned about once, and starves no other."""
    last = Recorded(1)
    logger = Logger([Failing(1), JSONStreamBackend(1, tmp_path / "log.json"), last])
    with pytest.warns(mlv.MlvWarning, match="Failing failed: OSError: disk full"):
        logger.log(0, {"loss": 0})
    logger.log(1, {"loss": 1})  # a second warning would be an error
    logger.metadata("loss", {})
    logger.flush()

    assert len(last.seen) == 3
    assert len(lines(tmp_path / "log.json")) == 3


def test_failing_backend_where_warnings_are_errors(capsys):
    """Where warnings are errors, what failed is said on stderr."""
    Logger([Failing(1), JSONStreamBackend(1, "/dev/null")]).log(0, {})

    assert "disk full" in capsys.readouterr().err


def test_subclass(tmp_path):
    """A subclass that changes records is heard, and its changes are in the file with the times that it gives."""

    class Doubled(JSONStreamBackend):
        def log(self, timestamp, elapsedtime, step, data):
            super().log(timestamp, 17.0, step, {key: 2 * value for key, value in data.items()})

    logger = Logger([Doubled(Verbosity.DEFAULT, tmp_path / "log.json")])
    logger.log(1, {"loss": 0.5}, 0)
    logger.log(1, {"loss": 0.5}, 1)
    logger.flush()

    [line] = lines(tmp_path / "log.json")
    assert (line["data"], line["elapsedtime"]) == ({"loss": 1.0}, "17.0")


def test_begins_anew(tmp_path):
    """Without `append` the file begins anew, in a second session of one process as well; the experiment has all."""
    for session in range(3):
        logger = Logger([JSONStreamBackend(1, tmp_path / "log.json")])
        logger.log(0, {"session": session})
        logger.flush()

    assert data(tmp_path / "log.json") == [{"session": 2}]
    assert [event.data for event in events(tmp_path / "log.json")] == [{"session": session} for session in range(3)]


def test_appends(tmp_path):
    """With `append` the file goes on behind what is there, whoever wrote it, also where that ends within a line."""
    path = tmp_path / "log.json"
    path.write_text('DLLL {"type": "LOG", "step": 0, "data": {"by": "DLLogger"}}\nDLLL {"torn')
    for session in range(2):
        logger = Logger([JSONStreamBackend(1, path, append=True)])
        logger.log(0, {"session": session})
        logger.flush()
        del logger

    found = path.read_text().splitlines()
    assert found[1] == 'DLLL {"torn'
    assert [json.loads(line[5:])["data"] for line in (found[0], *found[2:])] == [
        {"by": "DLLogger"},
        {"session": 0},
        {"session": 1},
    ]


def test_deleted_file(tmp_path):
    """A file that was deleted between two runs begins anew, with `append` as well."""
    path = tmp_path / "log.json"
    for session in range(2):
        logger = Logger([JSONStreamBackend(1, path, append=True)])
        logger.log(0, {"session": session})
        logger.flush()
        del logger
        if session == 0:
            path.unlink()

    assert data(path) == [{"session": 1}]
    assert len(events(path)) == 2


def test_foreign_file_is_set_aside(tmp_path):
    """What DLLogger itself wrote is not lost where the file begins anew."""
    path = tmp_path / "log.json"
    path.write_text("DLLL {}\n")
    Logger([JSONStreamBackend(1, path)]).flush()

    assert (path.read_text(), (tmp_path / ROOM / REPLACED / "log.json.1").read_text()) == ("", "DLLL {}\n")


@pytest.mark.parametrize("append", [False, True])
def test_file_that_cannot_be_written(tmp_path, append):
    """A folder that is missing is an error at once, as in DLLogger."""
    with pytest.raises(FileNotFoundError):
        JSONStreamBackend(1, tmp_path / "missing" / "log.json", append)


def test_several_loggers(tmp_path):
    """Loggers with files of their own do not know of each other; two of one file share it, and nothing is lost."""
    a, b = (Logger([JSONStreamBackend(1, tmp_path / name)]) for name in ("a.json", "b.json"))
    more = Logger([JSONStreamBackend(0, tmp_path / "a.json", append=True)])
    for step in range(3):
        a.log(step, {"a": step})
        b.log(step, {"b": step})
        more.log(step, {"more": step}, verbosity=0)
        more.log(step, {"unseen": step}, verbosity=1)
    for logger in (a, b, more):
        logger.flush()

    assert data(tmp_path / "a.json") == [one for step in range(3) for one in ({"a": step}, {"more": step})]
    assert data(tmp_path / "b.json") == [{"b": step} for step in range(3)]


def test_only_stdout(tmp_path, capsys):
    """Without a file the experiment is where experiments are made; without a backend there is none."""
    Logger([]).log(0, {"loss": 1})
    assert not (tmp_path / "runs").exists()

    logger = Logger([StdOutBackend(Verbosity.OFF)])
    logger.log("PARAMETER", {"lr": 0.1})
    logger.flush()

    [exp] = mlv.find(tmp_path / "runs")
    assert [event.data for event in exp.events("metrics")] == [{"lr": 0.1}]


def test_clock_that_is_set(tmp_path, monkeypatch):
    """`elapsedtime` counts on, whatever is done to the clock: the start that the file counts from is corrected."""
    from mlv.compat.dllogger import logger as module

    logger = Logger([JSONStreamBackend(1, tmp_path / "log.json")])
    real, ahead_s = module.monotonic, 3600.0
    logger.log(0, {})
    # Seen from the wall's clock, which is the one that events have, the other one was set back.
    monkeypatch.setattr(module, "monotonic", lambda: real() - ahead_s)
    logger._began -= ahead_s
    logger.log(1, {})
    logger.flush()

    assert all(0 <= float(line["elapsedtime"]) < 60 for line in lines(tmp_path / "log.json")[:1])
    kept = mlv.Exp.open(tmp_path / ROOM / "log.json")
    starts = [event.data["start"] for event in kept.events("event", name="dllogger/started")]
    assert len(starts) == 2
    assert float(lines(tmp_path / "log.json")[1]["elapsedtime"]) < 60


def test_replay(tmp_path):
    """The file that is built from the log afterwards is the one that grew with it, byte for byte."""
    path = tmp_path / "log.json"
    for session in range(2):
        logger = Logger([JSONStreamBackend(0, path, append=session == 1)])
        logger.metadata("loss", {"unit": "nat"})
        for step in range(20):
            logger.log((session, step), {"loss": step / 3, "bad": math.inf}, verbosity=step % 2)
        logger.flush()
        del logger
    (tmp_path / "again").mkdir()
    exp = mlv.Exp.open(copied(tmp_path / ROOM / "log.json", tmp_path / "again" / "exp"))
    projections.replay(exp, DLLLines(path=tmp_path / "again", file="log.json"))

    assert (tmp_path / "again" / "log.json").read_bytes() == path.read_bytes()
    assert len(lines(path)) == 22


def copied(source: Path, target: Path) -> Path:
    """The log alone, without notes of outputs."""
    target.mkdir()
    for name in ("meta.json", "log.jsonl"):
        (target / name).write_bytes((source / name).read_bytes())
    return target


def test_built_again_over_itself(tmp_path):
    """Where the notes of the output are lost, the file is found to be complete, and nothing is doubled."""
    import shutil

    path = tmp_path / "log.json"
    logger = Logger([JSONStreamBackend(1, path, append=True)])
    for step in range(5):
        logger.log(step, {"loss": step})
    logger.flush()
    before = path.read_bytes()
    exp = mlv.Exp.open(copied(tmp_path / ROOM / "log.json", tmp_path / "moved"))
    shutil.copy(path, tmp_path / "copy.json")
    projections.replay(exp, DLLLines(path=tmp_path, file="copy.json"))

    assert (tmp_path / "copy.json").read_bytes() == before


def test_devices(tmp_path):
    """A device takes no lines; the events are where experiments are made."""
    logger = Logger([JSONStreamBackend(1, "/dev/null")])
    logger.log(0, {"loss": 1})
    logger.flush()

    [exp] = mlv.find(tmp_path / "runs")
    assert len(list(exp.events("metrics"))) == 1


class ByOtherNames(Backend):
    """A backend whose parameters have names of their own, as Python lets it."""

    def __init__(self) -> None:
        super().__init__(Verbosity.VERBOSE)
        self.seen: list[Any] = []

    def log(self, ts, elapsed, *rest):
        self.seen.append((type(ts), type(elapsed), *rest))

    def metadata(self, *arguments):
        self.seen.append(arguments[2:])


class Subclassed(JSONStreamBackend):
    """A backend that looks at the records, and lets them be written."""

    def log(self, ts, elapsed, step, data):
        super().log(ts, elapsed, step, {**data, "seen": True})

    def metadata(self, ts, elapsed, m, meta):
        super().metadata(ts, elapsed, m, {**meta, "seen": True})


def test_backends_of_ones_own_are_called_by_position(tmp_path):
    """D4: the names of a backend's parameters are its own, also where it adds to one of DLLogger's."""
    own, sub = ByOtherNames(), Subclassed(1, tmp_path / "log.json")
    logger = Logger([own, sub])
    logger.log((0, 1), {"loss": 0.5})
    logger.metadata("loss", {"unit": "nat"})
    logger.flush()

    assert own.seen == [(datetime, float, (0, 1), {"loss": 0.5}), ("loss", {"unit": "nat"})]
    assert data(tmp_path / "log.json") == [{"loss": 0.5, "seen": True}]
    assert [line["metadata"] for line in lines(tmp_path / "log.json")[1:]] == [{"unit": "nat", "seen": True}]


def test_formats_of_ones_own_are_called_by_position(capsys):
    """D4: so are functions that format a line."""
    backend = StdOutBackend(0, lambda s: f"<{s}>", lambda m, d, v: f"{m}={v}", prefix_format=lambda t: "")
    Logger([backend]).log(1, {"a": 2}, verbosity=0)

    assert capsys.readouterr().out == "<1> a=2\n"


def test_flush_of_ones_own_at_exit(python):
    """D4: whatever has a `flush` of its own is flushed at the end, also one that prints, or came later."""
    done = python("""
        import mlv.compat.dllogger as dllogger
        class Mine(dllogger.StdOutBackend):
            def flush(self): print("flushed")
        dllogger.init([])
        dllogger.GLOBAL_LOGGER.backends.append(Mine(0))
        dllogger.log(0, {"a": 1})
    """)

    assert done.stdout.splitlines()[-1] == "flushed", done.stderr


def test_global_logger(tmp_path):
    """D3: the Logger of the module is there by its name: before `init` each use says so, and it can be replaced."""
    with pytest.raises(dllogger.DLLoggerNotInitialized, match="init"):
        _ = dllogger.GLOBAL_LOGGER.backends
    backend = Recorded(1)
    dllogger.init([backend])
    assert dllogger.GLOBAL_LOGGER.backends == [backend]
    with pytest.raises(dllogger.DLLLoggerAlreadyInitialized):
        dllogger.init([backend])

    other = Recorded(1)
    dllogger.GLOBAL_LOGGER = Logger([other])
    dllogger.log(1, {"a": 1})

    assert (backend.seen, len(other.seen)) == ([], 1)
    assert isinstance(dllogger.__version__, str)
