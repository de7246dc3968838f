"""Whatever ends a process: each row that update() accepted is in the log file once after the next start, saved or not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import wait_until

from compat.mle import fill, logger
from mlv import InvalidArgument
from mlv.compat.mle_logging import load_log
from mlv.compat.mle_logging.experiments import restored
from mlv.compat.mle_logging.seed_file import SeedFile
from mlv.projections import replay

h5py = pytest.importorskip("h5py")
pytest.importorskip("yaml")

TRAINING = """
import os, sys
from mlv.compat.mle_logging import MLELogger
log = MLELogger(experiment_dir=sys.argv[1], model_type="numpy", time_to_track=["epoch"], reload=len(sys.argv) > 3)
how = sys.argv[2]
first = len(log.stats_log.clock_tracked["time"])
for row in range(first, first + 300):
    log.update({"epoch": row}, {"x": row, "v": [row, row]}, save=row == first + 50)
    if row % 100 == 0:
        log.save_extra({"row": row})
    print(row, flush=True)
if how == "exit":
    os._exit(3)
if how == "raise":
    raise RuntimeError("no")
if how == "term":
    os.kill(os.getpid(), 15)
if how == "kill":
    os.kill(os.getpid(), 9)
while how == "wait":
    log.update({"epoch": row}, {"x": row, "v": [row, row]})
    print(row, flush=True)
    row += 1
"""


def rows(folder: Path) -> list[float]:
    found = load_log(str(folder))
    assert found.time.epoch.tolist() == found.stats.x.tolist() == found.stats.v[:, 1].tolist()
    assert len(found.time.time) == len(found.stats.x)
    return found.stats.x.tolist()


@pytest.mark.parametrize("how", ["exit", "raise", "term", "kill", "end"])
def test_nothing_is_lost(tmp_path, how):
    """Rows behind the last save are there, however the process ended."""
    subprocess.run([sys.executable, "-c", TRAINING, str(tmp_path), how], capture_output=True, timeout=60, check=False)
    wait_until(lambda: (tmp_path / "logs/log_no_seed_provided.hdf5").exists() and len(rows(tmp_path)) == 300)

    assert rows(tmp_path) == list(range(300))
    assert len(load_log(str(tmp_path)).meta.extra_storage_paths) == 3


def test_going_on_after_a_kill(tmp_path):
    """The next process reloads, and its rows join those that were there."""
    for more in ([], ["reload"]):
        subprocess.run(
            [sys.executable, "-c", TRAINING, str(tmp_path), "kill", *more], capture_output=True, timeout=60, check=False
        )
    fill(logger(tmp_path, reload=True), 0)

    assert rows(tmp_path) == list(range(600))


@pytest.mark.crash
@pytest.mark.parametrize("delay_s", [0.0, 0.01, 0.05, 0.2, 0.7])
def test_everybody_is_killed(tmp_path, delay_s):
    """Trainer and all its helpers killed at some moment: what was accepted is there once after the next start."""
    with training(tmp_path) as process:
        accepted = read_until(process, 320)
        time.sleep(delay_s)
        wait_until(lambda: len(helpers_of(tmp_path)) >= 2)
        for one in [*helpers_of(tmp_path), psutil.Process(process.pid)]:
            one.kill()
        accepted = max(accepted, rest(process))
    log = fill(logger(tmp_path, reload=True), 0)

    assert len(rows(tmp_path)) >= accepted
    assert len(restored(log.exp).stats["x"]) == len(rows(tmp_path))


def training(folder: Path, script: str = TRAINING) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", script, str(folder), "wait"], stdout=subprocess.PIPE, text=True)


def read_until(process: subprocess.Popen[str], row: int) -> int:
    """Wait until a row was accepted."""
    assert process.stdout is not None
    while (found := int(process.stdout.readline())) < row:
        pass
    return found


def rest(process: subprocess.Popen[str]) -> int:
    """The last row that was accepted, once the process is gone."""
    assert process.stdout is not None
    lines = process.stdout.read().split("\n")[:-1]  # behind the last one there may be half a number
    return max((int(line) for line in lines), default=0)


def helpers_of(folder: Path) -> list[psutil.Process]:
    """Writer and outputs: they have the experiment among their open files, or in what they were started with."""
    found = []
    for one in psutil.process_iter():
        try:
            is_helper = one.pid != os.getpid() and any(str(folder) in opened.path for opened in one.open_files())
        except psutil.Error:
            continue
        found += [one] if is_helper else []
    return found


def test_an_output_killed_in_the_middle_of_a_commit(tmp_path):
    """A file whose writing was interrupted is built again, whatever it holds."""
    log = fill(logger(tmp_path), 3)
    path = tmp_path / "logs/log_no_seed_provided.hdf5"
    log.exp.close()
    del log
    path.with_name(f".{path.name}.writing").touch()
    with h5py.File(path, "r+") as file:
        file["no_seed_provided/stats/test_loss"][0] = 99.0
    fill(logger(tmp_path, reload=True), 1, first=3)

    assert load_log(str(tmp_path)).stats.test_loss.tolist() == [0, 1, 2, 3]
    assert not path.with_name(f".{path.name}.writing").exists()


def test_rows_behind_the_last_commit_are_taken_back(tmp_path):
    """What is in the file beyond what its output remembers comes again, and so goes first."""
    log = fill(logger(tmp_path), 3)
    log.exp.close()
    with h5py.File(tmp_path / "logs/log_no_seed_provided.hdf5", "r+") as file:
        column = file["no_seed_provided/stats/test_loss"]
        column.resize(4, axis=0)
        file["no_seed_provided/stats"].create_dataset("extra", data=[1.0])
    fill(logger(tmp_path, reload=True), 1, first=3)

    found = load_log(str(tmp_path)).stats
    assert found.test_loss.tolist() == [0, 1, 2, 3]
    assert "extra" not in found


def test_live_and_replayed_are_equal(tmp_path):
    """The file that a live logger kept and one made of its log afterwards hold the same."""
    log = logger(tmp_path, seed_id=1, model_type="numpy", save_every_k_ckpt=2, ckpt_time_to_track="num_epochs")
    for row in range(5):
        values = {"x": row, "late": row} if row > 2 else {"x": row}
        log.update({"num_epochs": row}, values, model=[row], extra_obj=row, save=row % 2 == 0)
    log.save()
    log.exp.close()
    replay(log.exp, SeedFile(seed_id="seed_1", path=tmp_path / "again"))

    assert contents(tmp_path / "again/log_seed_1.hdf5") == contents(tmp_path / "logs/log_seed_1.hdf5")


def test_an_output_that_is_kept_elsewhere(tmp_path):
    """While a process keeps the file, one in another folder is not taken for it: it is made, or the call says why not."""
    log = fill(logger(tmp_path, seed_id=1), 2)
    try:
        with pytest.raises(InvalidArgument, match="is kept by a running process"):
            replay(log.exp, SeedFile(seed_id="seed_1", path=tmp_path / "again"), wait_s=0.5)
    finally:
        log.exp.close()

    replay(log.exp, SeedFile(seed_id="seed_1", path=tmp_path / "again"))

    assert contents(tmp_path / "again/log_seed_1.hdf5") == contents(tmp_path / "logs/log_seed_1.hdf5")


def contents(path: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[:].tolist()}) if isinstance(item, h5py.Dataset) else None)
    return found


def test_readers_do_not_stop_the_file(tmp_path):
    """A reader that keeps the file open holds nobody up for long, and sees it go on when it opens it again."""
    log = fill(logger(tmp_path), 1)
    path = tmp_path / "logs/log_no_seed_provided.hdf5"
    with h5py.File(path) as file:
        assert len(file["no_seed_provided/stats/test_loss"]) == 1
        fill(log, 1, first=1)
    with h5py.File(path) as file:
        assert file["no_seed_provided/stats/test_loss"][:].tolist() == [0, 1]


def test_termination_while_saving(tmp_path):
    """A process that is told to end while it saves leaves a file that can be read."""
    with training(tmp_path, TRAINING.replace("save=row == first + 50", "save=True").replace("300", "100000")) as process:
        accepted = read_until(process, 40)
        process.send_signal(signal.SIGTERM)
        accepted = max(accepted, rest(process))
    wait_until(lambda: len(rows(tmp_path)) > accepted)

    assert rows(tmp_path) == list(range(len(rows(tmp_path))))
