"""Many experiments read on executors: the same result on each, to the byte and in the same order."""

from __future__ import annotations

import json
import pickle
import shutil
import warnings
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import pytest
from conftest import Elsewhere
from logs import line

import mlv
from mlv.errors import InvalidArgument, MlvWarning, TaskNotDone, UnknownMetric
from mlv.executors import executor_of

pandas = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Experiments for several tasks: other metrics in other orders, several runs, gaps, damage, and odd values."""
    root = tmp_path_factory.mktemp("runs")
    for number in range(70):
        folder = root / f"exp_{number:02}"
        folder.mkdir()
        params = {"lr": number // 5 / 10, "seed": number % 5, "net": {"width": number // 35}}
        meta = {"format": 1, "name": folder.name, "kind": None, "created": "2026-01-01T00:00:00Z", "params": params}
        (folder / "meta.json").write_text(json.dumps(meta))
        (folder / "log.jsonl").write_bytes(b"".join(lines(number)))
    return root


def lines(number):
    yield line("r1", 1, "run_started", data={"exp": "x"})
    if number == 11:
        yield line("r1", 2, "metadata", name="loss", data={"summary": "min", "mode": "min"})
    for step in range(20 + number % 3):
        loss = (number * 7919 + step * 104729) % 1000 / 7
        metrics = {"acc": loss / 3, "loss": loss} if number > 35 else {"loss": loss, "acc": loss / 3}
        run = "r2" if step > 10 and number % 10 == 3 else "r1"
        at = {"at": {"epoch": step // 4}} if number % 2 else {}
        yield line(run, step + 3, "metrics", step, name="train", step=step, data=metrics, **at)
    if number in (20, 66):
        yield b"damage\n"
    if number == 33:
        yield line("r1", 90, "metrics", 40, name="train", step=50, data={"loss": None}, nonfinite={"/loss": "nan"})
    if number > 60:
        yield line("r1", 91, "metrics", 41, name="", data={"late": number})
    yield line("r1", 99, "run_ended", 50, data={"status": "ok"})


CALLS = {
    "aggregate": lambda exps, on: exps.aggregate(on=on),
    "aggregate of some": lambda exps, on: exps.aggregate(
        metrics=iter(["train/*"]), stats=iter(["mean", "p50"]), ci=None, on=on
    ),
    "aggregate of bins": lambda exps, on: exps.aggregate(x="elapsed", grid=7, on=on),
    "aggregate of epochs": lambda exps, on: exps.aggregate(x="epoch", on=on),
    "aggregate of last values": lambda exps, on: exps.aggregate(x=None, over=["seed", "net"], on=on),
    "frame": lambda exps, on: exps.frame(stats=["min", "mean", "nans"], on=on),
    "frame at best": lambda exps, on: exps.frame(best="train/loss", mode="max", on=on),
    "history": lambda exps, on: exps.history(on=on),
    "long history": lambda exps, on: exps.history("train/{what}", wide=False, on=on),
}


def outcome(root, call, on):
    """The table as bytes, what was passed over, and the warnings."""
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always", MlvWarning)
        table = CALLS[call](mlv.find(root), on)
    columns = [(name, str(table[name].dtype), pickle.dumps(table[name].tolist())) for name in table.columns]
    return table, columns, table.attrs, [str(one.message) for one in shown if issubclass(one.category, MlvWarning)]


@pytest.fixture(scope="module")
def expected(root):
    """The outcome of each call in this process."""
    return {call: outcome(root, call, None) for call in CALLS}


@pytest.mark.parametrize("on", ["number", "threads", "dask"], indirect=True)
class TestSame:
    """Each executor gives what this process gives."""

    def test_result(self, root, expected, on):
        """Rows, their order, types, every bit of every number, and what was passed over are the same."""
        with executor_of(on) as executor:
            for call in CALLS:
                table, *others = outcome(root, call, executor)

                pandas.testing.assert_frame_equal(table, expected[call][0], check_exact=True)
                assert (call, *others) == (call, *expected[call][1:])

    def test_errors(self, root, on):
        """What cannot be asked is refused as it is in this process."""
        exps = mlv.find(root)[:3]
        with executor_of(on) as executor:
            with pytest.raises(UnknownMetric, match="did you mean 'train/loss'"):
                exps.aggregate(metrics="train/los", on=executor)
            with pytest.raises(InvalidArgument, match="stats has 'median'"):
                exps.aggregate(stats="median", on=executor)
            with pytest.raises(UnknownMetric):
                exps.history("nope", on=executor)
            with pytest.raises(InvalidArgument, match="does not say which is best"):
                exps.frame(best="train/acc", on=executor)


def test_number(root, expected):
    """A number is enough."""
    pandas.testing.assert_frame_equal(mlv.find(root).aggregate(on=2), expected["aggregate"][0], check_exact=True)


def test_order_of_metrics(expected):
    """The tree has what the test is about: tasks whose families log metrics in another order than those before."""
    table = expected["aggregate"][0]

    assert list(table["metric"].unique()) == ["train/loss", "train/acc", "late"]
    assert len(expected["aggregate"][2]["skipped"]) == 2


def test_again(root):
    """Experiments that were read once are read again, where they are needed deeper, and not where they have not changed."""
    exps = mlv.find(root)[:5]
    with ThreadPoolExecutor(2) as threads:
        first = exps.frame(on=threads)
        before = exps.digests()

        assert all(a is b for a, b in zip(before, exps.digests(on=threads), strict=True))
        pandas.testing.assert_frame_equal(exps.frame(on=threads), first)
        pandas.testing.assert_frame_equal(exps.frame(), first)


def test_left_out(root, tmp_path):
    """An experiment whose log cannot be read is left out with the same warning."""
    shutil.copytree(root / "exp_00", tmp_path / "a")
    shutil.copytree(root / "exp_01", tmp_path / "b")
    (tmp_path / "b" / "log.jsonl").unlink()
    (tmp_path / "b" / "log.jsonl").symlink_to("log.jsonl")
    here, there = (outcome(tmp_path, "frame", on) for on in (None, 2))

    assert here[1:] == there[1:]


def test_worker_without_the_folder(root, tmp_path):
    """A worker that does not see an experiment is an error: its rows would be missing."""
    shutil.copytree(root / "exp_00", tmp_path / "runs" / "a")

    for call in ("aggregate", "frame", "history"):
        with pytest.raises(
            TaskNotDone, match=r"a worker on .* does not see .*/runs/a: workers need the experiments at the same paths"
        ):
            outcome(tmp_path / "runs", call, Elsewhere(tmp_path / "runs"))


def test_watched(root):
    """Progress goes over all experiments, on executors too."""
    seen = []
    with ThreadPoolExecutor(2) as threads:
        mlv.find(root).watched(lambda folders, _: (seen.append(folder) or folder for folder in folders)).frame(on=threads)

    assert len(seen) == 70


class Recording(Executor):
    """Runs tasks here, and keeps the lengths of their answers."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def submit(self, function, /, *arguments, **options):
        """Run a task as another process would."""
        future = Future()
        future.set_result(function(*arguments, **options))
        self.lengths.append(len(future.result()))
        return future


def test_no_values_are_sent(root):
    """A worker sends statistics, and not the values that they are about: their size does not grow with the members."""
    recording = Recording()
    mlv.find(root).aggregate(over=["lr", "seed", "net"], metrics="train/loss", on=recording)
    of_many = recording.lengths[-1]
    mlv.find(root)[:10].aggregate(over=["lr", "seed", "net"], metrics="train/loss", on=recording)
    of_few = recording.lengths[-1]

    assert of_many < 1.2 * of_few
