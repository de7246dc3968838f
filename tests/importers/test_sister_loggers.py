"""The files of ALLogger, DLLogger, MLELogger and helios come over as their originals wrote them, torn and damaged ones too.

MLELogger writes its files itself, where it is installed. The others are on no package index, or need half a gigabyte to log
a line: their files are written here after the forms that their sources have.
"""

from __future__ import annotations

import json
import math
import shutil
from datetime import datetime, timezone
from pathlib import Path

import pytest

import mlv
from importers.trees import content, import_all, import_one, is_intact, points, write
from mlv.compat.room import ROOM
from mlv.importers import own_files

RECORDED = Path(__file__).parents[1] / "compat" / "recorded" / "mle_logging"


def changes_nothing(source: Path, root: Path) -> bool:
    """Import again, and tell whether nothing changed."""
    before = content(root)
    import_all(source, root)
    return content(root) == before


def test_the_folder_of_drop_ins():
    """The files of drop-in modules are told by the folder that these keep their experiments in."""
    assert own_files.ROOM == ROOM


# DLLogger


def line(step: object, data: object, time: float = 1700000000.0, start: float = 1700000000.0, **more: object) -> str:
    times = {"timestamp": str(time), "datetime": str(datetime.fromtimestamp(time)), "elapsedtime": str(time - start)}
    return f"DLLL {json.dumps({**times, 'type': 'LOG', 'step': step, 'data': data, **more})}\n"


DESCRIBED = (
    'DLLL {"timestamp": "1700000000.0", "elapsedtime": "0.0", "datetime": "2023-11-14 22:13:20+00:00", "type": "METADATA", '
    '"metric": "loss", "metadata": {"unit": "nat", "format": ":.3f", "GOAL": "MINIMIZE"}}\n'
)
RECORDS = [
    line("PARAMETER", {"lr": 0.1, "bs": None}),
    DESCRIBED,
    line([0, 1], {"loss": 0.5, "x": math.nan}, 1700000001.5),
    line([1], {"acc": 0.75}, 1700000002),
    line(7, {"nested": {"a": 1}}, 1700000003),
    line([], {"acc": 0.875}, 1700000004),
]


def test_dllogger(tmp_path):
    """Records are metrics at their steps, epochs and iterations; parameters, metadata and the totals are what they say."""
    path = write(tmp_path / "results" / "log.json", "".join(RECORDS))

    exp, outcome = import_one(tmp_path / "results", tmp_path / "runs")

    assert (exp.name, outcome.unit.format, outcome.left, exp.status) == ("log", "dllogger", {}, "ended")
    assert exp.params == {"lr": 0.1, "bs": None}
    events = list(exp.events("metrics"))
    assert [(event.step, dict(event.at)) for event in events] == [
        ([0, 1], {"epoch": 0, "iteration": 1}), (1, {"epoch": 1}), (7, {}),
    ]  # fmt: skip
    assert (events[0].data["loss"], math.isnan(events[0].data["x"]), events[2].data) == (0.5, True, {"nested/a": 1})
    assert events[0].time == datetime(2023, 11, 14, 22, 13, 21, 500_000, tzinfo=timezone.utc)
    [described] = exp.events("metadata")
    assert (described.name, dict(described.data)) == ("loss", {"unit": "nat", "format": ".3f"})
    assert exp.summary()["acc"].value == 0.875
    assert (is_intact(exp), changes_nothing(path, tmp_path / "runs")) == (True, True)


def test_dllogger_s_second_logger(tmp_path):
    """Each Logger that appended to a file is a run, also where two write side by side."""
    lines = [
        line(0, {"loss": 1}, 1700000001, 1700000000),
        line(0, {"loss": 2}, 1700000501, 1700000500),
        line(1, {"loss": 3}, 1700000502, 1700000000),
    ]

    exp, _ = import_one(write(tmp_path / "log.json", "".join(lines)), tmp_path / "runs")

    assert [run.started.timestamp() for run in exp.runs] == [1700000000, 1700000500]
    assert [event.run for event in exp.events("metrics")] == [exp.runs[0].id, exp.runs[1].id, exp.runs[0].id]


@pytest.mark.parametrize("cut", [1, 7, 60, 150])
def test_dllogger_s_torn_tail(tmp_path, cut):
    """A record that is cut waits; a damaged one is counted; nothing is there twice in the end."""
    damaged = RECORDS[3].replace('"type"', '"ty\x00pe"').replace("{", "[", 1)
    whole = "".join([*RECORDS[:3], damaged, *RECORDS[4:]])
    path = write(tmp_path / "log.json", whole[:-cut])
    _, torn = import_one(path, tmp_path / "runs")
    path.write_text(whole)

    exp, outcome = import_one(path, tmp_path / "runs")

    assert dict(torn.left) == dict(outcome.left) == {"records that are damaged": 1}
    assert (outcome.imported.differences, len(points(exp)), exp.summary()["acc"].value) == ([], 2, 0.875)
    assert is_intact(exp)


def test_dllogger_s_printed_lines(tmp_path):
    """What it printed comes over with its units, and what was printed between as lines of the console."""
    text = (
        "loading ...\n"
        "DLL 2026-11-21 03:20:51.831650 - PARAMETER lr : 0.1 name : resnet \n"
        "DLL 2026-11-21 03:20:52.831650 - (0, 1) loss : 0.123 nat x : nan  gone : None \n"
        "DLLL 2026-11-21 03:20:53 - 5 img/s : 1e3 images per s\n"
        "done\n"
    )

    exp, outcome = import_one(write(tmp_path / "slurm-1.out", text), tmp_path / "runs")

    assert (outcome.left, exp.params) == ({}, {"lr": 0.1, "name": "resnet"})
    first, second = exp.events("metrics")
    assert (first.data["loss"], math.isnan(first.data["x"]), dict(first.at)) == (0.123, True, {"epoch": 0, "iteration": 1})
    assert (second.step, dict(second.data), second.time.second) == (5, {"img/s": 1000.0}, 53)
    assert [event.data["message"] for event in exp.events("message", stream="console")] == ["loading ...", "done"]


def test_files_of_a_drop_in(tmp_path):
    """A file that a drop-in module wrote is refused with the experiment behind it."""
    path = write(tmp_path / "log.json", "".join(RECORDS))
    write(tmp_path / ROOM / "log.json" / "meta.json", "{}")

    [outcome] = import_all(tmp_path, tmp_path.parent / "runs")

    assert outcome.error.startswith(f"{path} is an output that mlv itself wrote of experiment {tmp_path / ROOM / 'log.json'}")


@pytest.mark.parametrize(
    ("name", "text", "last"),
    [
        ("a_Nov21_03-40-24.log", "[2026-11-21 03:40:24,927] [INFO]: hello\n[2026-11-21 03:40:25,000] [INFO]: bye", "bye"),
        ("a_Nov21_03-40-24.log", "[2026-11-21 03:40:24,927] [ERROR]: failed\nValueError: no", "failed\nValueError: no"),
        ("slurm-1.out", "DLL 2026-11-21 03:20:52.831650 - 1 loss : 0.5 \nhello\ndone", "done"),
        ("slurm-1.out", "hello\nDLL 2026-11-21 03:20:52.831650 - 1 loss : 0.5", "loss"),
    ],
)
def test_last_lines_without_an_end(tmp_path, name, text, last):
    """The last line of a text log waits for its end, and comes over as it stands where the source is complete."""
    path = write(tmp_path / "out" / name, text)

    def has_last(exp: mlv.Exp) -> bool:
        return any(json.dumps(last)[1:-1] in stream.read_text() for stream in exp.path.glob("*.jsonl"))

    exp, outcome = import_one(path, tmp_path / "runs")
    assert (has_last(exp), bool(outcome.left or outcome.notes)) == (False, True)
    whole, outcome = import_one(path, tmp_path / "whole", is_whole=True)
    assert (has_last(whole), outcome.left) == (True, {})


@pytest.mark.parametrize("cut", range(1, 90, 8))
def test_logs_that_are_cut_anywhere(tmp_path, cut):
    """A message of several lines comes over whole, once the log has its end, wherever an import met it."""
    head = "[2026-11-21 03:40:24,927] [INFO]: hello\n[2026-11-21 03:40:25,000] [ERROR]: failed\nTraceback"
    whole = head + " (most recent call last):\n  2 / 0\nValueError: no\n[2026-11-21 03:40:26,500] [WARNING]: bye\n"
    path = write(tmp_path / "out" / "a_Nov21_03-40-24.log", whole[: len(head) + cut])
    import_one(path, tmp_path / "runs")
    path.write_text(whole)

    exp, outcome = import_one(path, tmp_path / "runs")

    text = whole[whole.index("failed") : whole.index("\n[2026-11-21 03:40:26")]
    if whole[len(head) + cut - 1] != "\n":
        assert (outcome.left, outcome.imported.differences) == ({}, [])
        assert [event.data["message"] for event in exp.events("message")] == ["hello", text, "bye"]
    assert is_intact(exp)


# helios

HELIOS = (
    "[2026-11-21 03:40:24,927] [INFO]: hello\n"
    "[2026-11-21 03:40:25,000] [ERROR]: failed\nTraceback (most recent call last):\nValueError: no\n"
    "[2026-11-21 03:40:26,500] [WARNING]: bye\n"
)


def helios_events(folder: Path) -> None:
    writers = pytest.importorskip("tensorboardX", reason="it writes the event files")
    with writers.SummaryWriter(str(folder)) as writer:
        for step in range(3):
            writer.add_scalar("loss", step / 4, step)


@pytest.mark.parametrize("name", ["myrun_Nov21_03-40-24", "restored"])
def test_helios(tmp_path, name):
    """The log and the event files of one name are one experiment: messages at their times, and metrics."""
    write(tmp_path / "out" / f"{name}.log", HELIOS)
    helios_events(tmp_path / "out" / "tensorboard" / name)

    exp, outcome = import_one(tmp_path / "out", tmp_path / "runs")

    assert (exp.name, outcome.unit.format, outcome.left) == (name, "helios", {})
    assert [(event.data["level"], event.data["message"], event.time.microsecond) for event in exp.events("message")] == [
        ("info", "hello", 927_000),
        ("error", "failed\nTraceback (most recent call last):\nValueError: no", 0),
        ("warning", "bye", 500_000),
    ]
    assert points(exp) == [(0, {"loss": 0}), (1, {"loss": 0.25}), (2, {"loss": 0.5})]
    assert (is_intact(exp), changes_nothing(tmp_path / "out", tmp_path / "runs")) == (True, True)


def test_helios_logs_of_one_name(tmp_path):
    """Of several logs of one name each has the event files beside it."""
    for number, folder in enumerate("ab"):
        write(tmp_path / "out" / folder / "run.log", HELIOS.replace("03:40", f"0{number}:40"))
        writers = pytest.importorskip("tensorboardX", reason="it writes the event files")
        with writers.SummaryWriter(str(tmp_path / "out" / folder / "tensorboard" / "run")) as writer:
            writer.add_scalar("loss", number, number)

    outcomes = import_all(tmp_path / "out", tmp_path / "runs")

    exps = [mlv.Exp.open(each.imported.path) for each in outcomes]
    assert [(exp.path.parent.name, points(exp)) for exp in exps] == [("a", [(0, {"loss": 0})]), ("b", [(1, {"loss": 1})])]


def test_helios_without_events(tmp_path):
    """A log alone is an experiment; lines that belong to no message are counted; other logs are of no format."""
    path = write(tmp_path / "out" / "a_Nov21_03-40-24.log", "half a line\n" + HELIOS + "[2026-11-21 03:40:27,0")
    write(tmp_path / "out" / "b_Nov21_03-40-24.log", "something else\n")

    exp, outcome = import_one(tmp_path / "out", tmp_path / "runs")
    path.write_text(path.read_text() + "00] [INFO]: late\n")
    exp, later = import_one(tmp_path / "out", tmp_path / "runs")

    assert dict(outcome.left) == dict(later.left) == {"lines of a log that belong to no message": 1}
    assert ([event.data["message"] for event in exp.events("message")][-1], later.imported.differences) == ("late", [])


# ALLogger

LOG = "2026-11-21 03:24:18 (INFO) [root.main] > hello message\n2026-11-21 03:24:19 (WARNING) [root] > careful\n"


def allogger_table(path: Path, rows: dict[str, list[tuple]]) -> None:
    """Write a file as ALLogger's HDFWriter does: a table for each key: step, time, seconds since the start, value."""
    h5py, numpy = pytest.importorskip("h5py"), pytest.importorskip("numpy")
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for key, values in rows.items():
            shape = numpy.shape(values[0][-1])
            kind = numpy.dtype([("step", "i4"), ("time", "f4"), ("walltime", "f4"), ("value", "f4", shape)])
            table = numpy.array([(step, 1.7952315e9, seconds, value) for step, seconds, value in values], kind)
            file.create_dataset(key, data=table, maxshape=(None,), chunks=True, compression="gzip")


def test_allogger(tmp_path):
    """Tables and the text log of a folder are one experiment, with times of full resolution, and arrays."""
    folder = tmp_path / "log"
    write(folder / "1795231457_vm.log", LOG)
    image = [[[0.0, 1.0], [0.5, 0.25]]]
    allogger_table(
        folder / "events" / "1795231457_vm.h5",
        {
            "scalar/main/value": [(1, 0.25, 0.5), (2, 0.75, math.nan), (3, 1.25, 1.5)],
            "scalar/main/Process1/value": [(1, 0.5, 2)],
            "image/main/img": [(1, 0.5, image)],
        },
    )

    exp, outcome = import_one(folder, tmp_path / "runs")

    assert (exp.name, outcome.unit.format, outcome.left) == ("log", "allogger", {})
    events = list(exp.events("metrics"))
    assert [(event.step, event.time.timestamp()) for event in events] == [
        (1, 1795231457.25), (1, 1795231457.5), (2, 1795231457.75), (3, 1795231458.25),
    ]  # fmt: skip
    assert (dict(events[1].data), math.isnan(events[2].data["main/value"])) == ({"main/Process1/value": 2.0}, True)
    [array] = exp.events("array")
    assert (array.name, array.step, array.data["shape"], array.data["dtype"]) == ("main/img", 1, [1, 2, 2], "float32")
    assert [(event.name, event.data["level"], event.data["message"]) for event in exp.events("message")] == [
        ("root.main", "info", "hello message"), ("root", "warning", "careful"),
    ]  # fmt: skip
    assert (is_intact(exp), changes_nothing(folder, tmp_path / "runs")) == (True, True)


def test_allogger_beside_event_files(tmp_path):
    """A scalar that the event files have comes from there, with its whole key, and not a second time from the tables."""
    writers = pytest.importorskip("tensorboardX", reason="ALLogger writes event files with it")
    folder = tmp_path / "log"
    allogger_table(
        folder / "events" / "1795231457_vm.h5", {"scalar/main/value": [(1, 0, 0.5)], "scalar/main/only": [(1, 0, 0.25)]}
    )
    with writers.SummaryWriter(str(folder / "events")) as writer:
        writer.add_scalar("root.main/value", 0.5, 1)

    exp, outcome = import_one(folder, tmp_path / "runs")

    assert sorted((step, *data.items()) for step, data in points(exp)) == [
        (1, ("main/only", 0.25)),
        (1, ("root.main/value", 0.5)),
    ]
    assert (outcome.left, [unit.format for unit in [outcome.unit]]) == ({}, ["allogger"])


def test_allogger_that_goes_on(tmp_path):
    """Rows that are added to tables come over with the next import; what is there stays as it is."""
    path, rows = tmp_path / "log" / "events" / "1795231457_vm.h5", [(step, step / 4, step) for step in range(1, 9)]
    allogger_table(path, {"scalar/main/a": rows[:4], "scalar/main/b": rows[:4]})
    import_one(tmp_path / "log", tmp_path / "runs")
    allogger_table(path, {"scalar/main/a": rows, "scalar/main/b": rows})

    exp, outcome = import_one(tmp_path / "log", tmp_path / "runs")

    assert (outcome.left, outcome.imported.differences) == ({}, [])
    assert sorted(points(exp), key=str) == sorted([(n, {f"main/{k}": n}) for n, _, _ in rows for k in "ab"], key=str)
    assert is_intact(exp)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [({"a": [1, 2, 3, 4], "b": [1, 2]}, {"a": range(1, 9), "b": range(1, 9)}), ({"b": [1, 2]}, {"a": [1, 2], "b": [1, 2, 3]})],
)
def test_allogger_s_tables_behind_each_other(tmp_path, earlier, later):
    """A table that was behind the others, or has rows of the same times, loses and doubles nothing as it grows."""
    path = tmp_path / "log" / "events" / "1795231457_vm.h5"

    def written(steps: dict) -> None:
        numbers = {f"scalar/main/{key}": [(n, n / 4, n) for n in numbers] for key, numbers in steps.items()}
        arrays = {f"array/main/{key}": [(n, n / 4, [n, n]) for n in numbers] for key, numbers in steps.items()}
        allogger_table(path, {**numbers, **arrays})

    written(earlier)
    import_one(tmp_path / "log", tmp_path / "runs")
    written(later)

    exp, outcome = import_one(tmp_path / "log", tmp_path / "runs")

    assert (outcome.left, outcome.imported.differences) == ({}, [])
    expected = sorted((key, n) for key, numbers in later.items() for n in numbers)
    assert sorted((name[-1], step) for step, data in points(exp) for name in data) == expected
    assert sorted((event.name[-1], event.step) for event in exp.events("array")) == expected
    assert (is_intact(exp), changes_nothing(tmp_path / "log", tmp_path / "runs")) == (True, True)


def test_times_that_are_none(tmp_path):
    """A record whose time is damaged costs its time alone."""
    rows = [(1, 0.25, 1), (2, math.inf, 2), (3, 1e30, 3), (4, 0.5, 4)]
    allogger_table(tmp_path / "log" / "events" / "1795231457_vm.h5", {"scalar/main/a": rows})
    number = '"timestamp": 1' + "0" * 400
    records = [
        line(n, {"a": n}).replace('"timestamp": "1700000000.0"', text)
        for n, text in enumerate([number, '"timestamp": "nan"'], 5)
    ]
    write(tmp_path / "log.json", "".join([line(4, {"a": 4}), *records]))

    table, _ = import_one(tmp_path / "log", tmp_path / "runs")
    printed, _ = import_one(tmp_path / "log.json", tmp_path / "other")

    assert sorted(step for step, _ in points(table)) == [1, 2, 3, 4]
    assert ([step for step, _ in points(printed)], len(printed.runs)) == ([4, 5, 6], 1)


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_allogger_s_damaged_tables(tmp_path, damage):
    """A file that cannot be read is named, and what lies beside it comes over."""
    good, bad = (tmp_path / "log" / "events" / f"179523145{n}_vm.h5" for n in (7, 8))
    rows = {"scalar/main/a": [(step, step / 4, step * 1.5) for step in range(500)]}
    allogger_table(good, rows)
    allogger_table(bad, rows)
    written = bytearray(bad.read_bytes())
    if damage == "cut":
        bad.write_bytes(written[: len(written) // 2])
    else:
        written[100:140] = bytes(40)
        bad.write_bytes(written)

    outcomes = import_all(tmp_path / "log", tmp_path / "runs")

    assert [bool(each.error) for each in outcomes] == [True, False]
    assert str(bad) in outcomes[0].error
    assert len(points(mlv.Exp.open(outcomes[1].imported.path))) == 500


def test_tables_that_claim_too_much(tmp_path):
    """A dataset that claims more values than its file can hold costs nothing; links into other files are none."""
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "log" / "events" / "1795231457_vm.h5"
    allogger_table(path, {"scalar/main/a": [(1, 0, 0.5)]})
    allogger_table(tmp_path / "other.h5", {"secret": [(1, 0, 0.5)]})
    with h5py.File(path, "r+") as file:
        kind = file["scalar/main/a"].dtype
        file.create_dataset("scalar/main/huge", (1 << 50,), kind, maxshape=(None,), chunks=(1024,), compression="gzip")
        file["scalar/main/link"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "secret")
        file["scalar/main/circle"] = h5py.SoftLink("/scalar")

    exp, outcome = import_one(tmp_path / "log", tmp_path / "runs")

    assert (points(exp), dict(outcome.left)) == (
        [(1, {"main/a": 0.5})], {"datasets that claim more values than their file holds": 1},
    )  # fmt: skip


# MLELogger


@pytest.mark.parametrize(("kind", "names"), [("plain", ["plain"]), ("seeds", ["seed_1", "seed_2"])])
def test_mle_logging_as_it_was_recorded(tmp_path, kind, names):
    """Files that the original wrote come over: seeds are experiments of their folder, updates are steps."""
    pytest.importorskip("h5py")
    shutil.copytree(RECORDED / kind, tmp_path / "source" / kind)

    outcomes = import_all(tmp_path / "source", tmp_path / "runs")

    exps = [mlv.Exp.open(each.imported.path) for each in outcomes]
    assert ([exp.name for exp in exps], {each.unit.format for each in outcomes}) == (names, {"mle_logging"})
    rows = [[(step, data) for step, data in points(exp) if step is not None] for exp in exps]
    assert all([step for step, _ in each] == list(range(1, len(each) + 1)) for each in rows)
    assert all(points(exp) and is_intact(exp) for exp in exps)
    assert changes_nothing(tmp_path / "source", tmp_path / "runs")


@pytest.fixture
def original():
    pytest.importorskip("h5py")
    return pytest.importorskip("mle_logging", reason="MLELogger writes the files")


def mle_log(original, folder: Path, updates: int, **options):
    log = original.MLELogger(
        experiment_dir=str(folder), time_to_track=["num_updates", "num_epochs"], what_to_track=["loss", "vector"],
        config_dict={"lr": 0.1, "layers": [1, 2]}, model_type="numpy", **options,
    )  # fmt: skip
    more(log, range(updates))
    return log


def more(log, numbers) -> None:
    numpy = pytest.importorskip("numpy")
    for number in numbers:
        stats = {"loss": number / 4, "vector": numpy.array([1.0, number])}
        log.update({"num_updates": 0, "num_epochs": number}, stats, model=numpy.array([number]))
        log.save()


@pytest.mark.filterwarnings("default")
def test_mle_logging_itself(tmp_path, original):
    """What MLELogger wrote comes over: configuration, updates with epochs, vectors, models; and what it adds later."""
    log = mle_log(original, tmp_path / "exp", 3, seed_id=7, save_every_k_ckpt=2, ckpt_time_to_track="num_updates")
    import_one(tmp_path / "exp", tmp_path / "runs")
    more(log, range(3, 5))

    exp, outcome = import_one(tmp_path / "exp", tmp_path / "runs")

    assert (exp.path, outcome.left, outcome.imported.differences) == (tmp_path / "runs/exp/seed_7", {}, [])
    assert exp.params == {"lr": 0.1, "layers": [1, 2], "seed": 7}
    assert points(exp) == [(number + 1, {"loss": number / 4, "vector": [1.0, number]}) for number in range(5)]
    assert [dict(event.at) for event in exp.events("metrics")] == [{"num_epochs": number} for number in range(5)]
    assert (exp.path / "files/models/every_k/every_k_seed_7_k_4.pkl").exists()
    assert is_intact(exp)


@pytest.mark.filterwarnings("default")
def test_mle_logging_merged(tmp_path, original):
    """Seeds and configurations that were merged are the experiments that they were before."""
    for config in ("a", "b"):
        for seed in (1, 2):
            mle_log(original, tmp_path / "all" / config, 2, seed_id=seed)
    first = import_all(tmp_path / "all", tmp_path / "runs")
    for config in ("a", "b"):
        original.merge_seed_logs(str(tmp_path / "all" / config / "logs" / "log.hdf5"), str(tmp_path / "all" / config))
    original.merge_config_logs(str(tmp_path / "all"), ["a", "b"])

    again = import_all(tmp_path / "all", tmp_path / "runs")

    assert sorted(each.imported.path for each in again) == sorted(each.imported.path for each in first)
    assert {(each.imported.is_new, tuple(each.imported.differences), each.error) for each in again} == {(False, (), "")}
    assert all(len(points(mlv.Exp.open(each.imported.path))) == 2 for each in again)


def test_mle_logging_of_hostile_files(tmp_path):
    """A time that is none costs itself; a group whose name leads out of the folder is none."""
    h5py = pytest.importorskip("h5py")
    write(tmp_path / "config_dict.yaml", "password_of: others\n")
    (tmp_path / "exp").mkdir()
    with h5py.File(tmp_path / "exp" / "log.hdf5", "w") as file:
        for name in ("own", ".."):
            group = file.create_group(f"{name}/seed_1")
            group["meta/config_dict"] = [b"{'long': [1, "]
            group["stats/loss"] = [0.5, 0.25, 0.125]
            group["time/num_updates"] = [1.0, 2.0, 3.0]
            group["time/time_elapsed"] = [10.0, math.inf, 1e300]

    exp, _ = import_one(tmp_path / "exp", tmp_path / "runs")

    assert (exp.path, points(exp)) == (
        tmp_path / "runs/own/seed_1",
        [(1, {"loss": 0.5}), (2, {"loss": 0.25}), (3, {"loss": 0.125})],
    )


def test_mle_logging_of_unequal_lengths(tmp_path):
    """A variable that not every update had comes over with its values in their order; a file that is cut is named."""
    h5py = pytest.importorskip("h5py")
    (tmp_path / "exp" / "logs").mkdir(parents=True)
    with h5py.File(tmp_path / "exp" / "logs" / "log_a.hdf5", "w") as file:
        file["a/meta/config_dict"] = [b"{'long': [1, "]
        file["a/stats/loss"] = [0.5, 0.25, 0.125]
        file["a/stats/rare"] = [9.0]
        file["a/time/num_updates"] = [1.0, 2.0, 3.0]
        file["a/time/time_elapsed"] = [10.0, 70.0, 5.0]
        file["a/time/time"] = [b"26-11-30/15:02", b"26-11-30/15:03", b"26-11-30/15:09"]
    whole = (tmp_path / "exp" / "logs" / "log_a.hdf5").read_bytes()
    (tmp_path / "exp" / "logs" / "log_b.hdf5").write_bytes(whole[:1000])

    torn, outcome = import_all(tmp_path / "exp", tmp_path / "runs")

    exp = mlv.Exp.open(outcome.imported.path)
    assert "log_b.hdf5 cannot be read" in torn.error
    assert dict(outcome.left) == {"configurations that were cut, without a file beside them": 1}
    assert [data for _, data in points(exp) if "loss" in data] == [{"loss": value} for value in (0.5, 0.25, 0.125)]
    assert [(event.step, dict(event.at)) for event in exp.events("metrics") if "rare" in event.data] == [
        (None, {"irregular": 0})
    ]
    times = [event.time.strftime("%H:%M") for event in exp.events("metrics") if "loss" in event.data]
    assert times == ["15:02", "15:03", "15:09"]
