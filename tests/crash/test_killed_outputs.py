"""SIGKILL of the training process, its writer, or what keeps its outputs: afterwards each output holds each record once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import wait_until
from logs import line
from projections.lines import followed

from crash.victims import kill, writer_of
from mlv import Exp, hdf
from mlv.projections import HDF5, TensorBoard, replay

accumulators: Any = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
pytest.importorskip("tensorboardX")
pytest.importorskip("h5py")
pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

TRIALS = 4

IN_PLACE = """
from mlv.projections import HDF5, h5files

h5files.REPLACED_BYTES = 0


class InPlace(HDF5):
    "Changes also small files in place."


def output():
    return InPlace(path="in_place")
"""

TRAINING = """
import sys, time
from mlv import Exp
from in_place import output

exp = Exp(sys.argv[1], "exp", {"lr": 0.1}, outputs=["tensorboard", output()], capture=())
val = exp.logger("val")
print("begun", flush=True)
for i in range(200_000):
    exp.log({"x": i, "y": i / 2}, step=i)
    val({"x": i})
    if i % 50 == 0:
        time.sleep(0.002)
    if i % 5000 == 0:
        exp.flush()
    if sys.argv[2:] and i == int(sys.argv[2]):
        break
exp.close()
"""

PROJECTING = """
import importlib, sys
from mlv.projections import HDF5, TensorBoard, h5files
from mlv.projections.replaying import Replay
from pathlib import Path

module = importlib.import_module("mlv.projections.replaying")
module._COMMIT_EVERY_S = 0.0
importlib.import_module("mlv.projections.batch")._PIECE = 1 << 14
h5files.REPLACED_BYTES = int(sys.argv[4])
work = Replay(Path(sys.argv[1]), {"tensorboard": TensorBoard, "hdf5": HDF5}[sys.argv[2]](path=sys.argv[3]))
assert work.begin()
work.catch_up()
work.commit()
work.close()
"""


@pytest.fixture
def in_place(tmp_path, monkeypatch):
    """An output whose class stands in a module of the user's, as it is started there, and here."""
    (tmp_path / "in_place.py").write_text(IN_PLACE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "in_place", raising=False)
    return lambda: __import__("in_place").output()


def keepers() -> list[psutil.Process]:
    """The processes that keep the outputs of this test's experiments."""

    def is_ours(process: psutil.Process) -> bool:
        try:
            is_keeper = any("mlv.projections.follower" in word for word in process.cmdline())
            return is_keeper and process.environ().get("MLV_SPOOL") == os.environ["MLV_SPOOL"]
        except psutil.Error:
            return False

    return [process for process in psutil.process_iter() if is_ours(process)]


def assert_each_once(exp: Exp, tensorboard: Path, hdf5: Path) -> None:
    """Both hold the metrics of the log, in its order."""
    for stream, folder in (("log", tensorboard), ("val", tensorboard / "val")):
        events = list(exp.events("metrics", stream=stream))
        found = accumulators.EventAccumulator(str(folder), accumulators.STORE_EVERYTHING_SIZE_GUIDANCE).Reload()
        for name in events[0].data:
            expected = [(event.data[name], event.time.timestamp()) for event in events]
            assert [(point.value, point.wall_time) for point in found.Scalars(name)] == expected
            points = hdf.read_from_key(hdf5, name, stream)
            assert list(zip(points["value"].tolist(), points["time"].tolist(), strict=True)) == expected
            if stream == "val":
                assert points["step"].tolist() == list(range(len(events)))


def trained(tmp_path: Path, number: int, *arguments: object) -> tuple[subprocess.Popen[str], Exp]:
    """A training process that has begun to log."""
    (tmp_path / "train.py").write_text(TRAINING)
    savedir = tmp_path / str(number)
    command = [sys.executable, str(tmp_path / "train.py"), str(savedir), *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.stdout.close()
    wait_until(lambda: (savedir / "exp" / "val.log.jsonl").exists())
    return process, Exp.open(savedir / "exp")


@pytest.mark.parametrize("number", range(TRIALS))
def test_the_training_process_is_killed(tmp_path, in_place, number):
    """What follows the log brings the outputs to its end by itself; a run that follows goes on with them."""
    process, exp = trained(tmp_path, number)
    time.sleep(random.uniform(0.1, 1.5))
    process.kill()
    process.wait(60)
    followed(exp, "tensorboard")
    with Exp.open(exp.path) as again:
        again.log({"x": -1, "y": -1}, step=0)
        again.logger("val")({"x": -1})

    assert_each_once(exp, followed(exp, "tensorboard"), followed(exp, in_place()))


@pytest.mark.parametrize("number", range(TRIALS))
def test_the_writer_is_killed(tmp_path, in_place, number):
    """The outputs notice nothing."""
    process, exp = trained(tmp_path, number, 6000)
    time.sleep(random.uniform(0.05, 0.5))
    kill(writer_of(exp.path))

    assert process.wait(60) == 0

    assert_each_once(exp, followed(exp, "tensorboard"), followed(exp, in_place()))


@pytest.mark.parametrize("number", range(TRIALS))
def test_what_keeps_the_outputs_is_killed(tmp_path, in_place, number):
    """The training process notices nothing, and what is missing comes with the next start."""
    process, exp = trained(tmp_path, number, 6000)
    for _ in range(random.choice([1, 2])):
        time.sleep(random.uniform(0.05, 1.0))
        for keeper in keepers():
            kill(keeper.pid)

    assert process.wait(60) == 0

    assert_each_once(exp, followed(exp, "tensorboard"), followed(exp, in_place()))


@pytest.mark.parametrize("is_rewound", [False, True], ids=["", "and rewound"])
@pytest.mark.parametrize(
    ("kind", "replaced_bytes"),
    [(TensorBoard, 0), (HDF5, 0), (HDF5, 1 << 30)],
    ids=["tensorboard", "hdf5 in place", "hdf5 replaced"],
)
def test_a_replay_is_killed_again_and_again(tmp_path, kind, replaced_bytes, is_rewound):
    """However often it is cut off, also in the middle of a commit, what comes out is what one replay gives."""
    with Exp(tmp_path, "exp", capture=()) as exp:
        exp.log({"x": 0}, step=0)
    with open(exp.path / "log.jsonl", "ab") as file:
        file.writelines(line("r1", i, "metrics", i % 60, step=i, data={"x": i, f"y{i // 2000}": i}) for i in range(1, 20_000))
    place = tmp_path / "output"
    command = [sys.executable, "-c", PROJECTING, str(exp.path), kind().name, str(place), str(replaced_bytes)]

    for number in range(4):
        process = subprocess.Popen(command)
        wait_until(lambda: place.exists() and any(not path.name.startswith(".") for path in place.iterdir()))
        time.sleep(random.uniform(0.0, 0.5))
        if is_rewound:
            with open(exp.path / "rewound.log.jsonl", "ab") as file:
                file.write(line(f"r{2 + number}", 1, "rewound", data={"step": 19_000 - 3_000 * number, "last": {"r1": 20_000}}))
            time.sleep(random.uniform(0.0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    replay(exp, kind(path=place))

    whole = replay(exp, kind(path=tmp_path / "whole"))
    if kind is HDF5:
        names = hdf.list_keys(whole)
        assert hdf.list_keys(place) == names
        assert all((hdf.read_from_key(place, name) == hdf.read_from_key(whole, name)).all() for name in names)
    else:
        # Of earlier rewinds files are left that hold nothing.
        assert contents(place).items() >= contents(whole).items()
        assert is_rewound or contents(place) == contents(whole)
        assert scalars(place) == scalars(whole)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found = accumulators.EventAccumulator(str(folder), accumulators.STORE_EVERYTHING_SIZE_GUIDANCE).Reload()
    return {name: [(point.step, point.value) for point in found.Scalars(name)] for name in found.Tags()["scalars"]}


def contents(folder: Path) -> dict[str, bytes]:
    """Every event file by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*tfevents*"))}
