"""Disks, clocks and quantities that are out of the ordinary: a run survives them, and says so where something is refused."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from conftest import wait_until
from contracts.evidence import assert_complete, payloads, raw_lines

import mlv
from crash.victims import is_there, kill, scaled, writer_at_work, writer_of
from mlv.audit.verify import verify
from mlv.query.tail import latest_metrics

MANY = scaled(200_000, soak=1_000_000)


def remount(folder: Path, how: str) -> None:
    """Make a file system read-only or writable."""
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


def test_a_file_system_that_becomes_read_only(small_disk):
    """Training goes on, with one warning; when the file system can be written again, every event arrives."""
    exp = mlv.Exp(small_disk, "exp", capture=())
    exp.log({"i": 0})
    exp.flush()
    kill(writer_at_work(exp.path))  # as long as it has its files open, nothing is remounted
    wait_until(lambda: subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], capture_output=True).returncode == 0)

    for number in range(1, 100):
        exp.log({"i": number})
    with pytest.warns(mlv.WritingStalled) as warned:
        wait_until(lambda: exp.flush(1) or any("Read-only file system" in str(warning.message) for warning in warned))
    remount(small_disk, "rw")
    exp.close()

    assert sum("Read-only file system" in str(warning.message) for warning in warned) == 1
    assert payloads(exp.path, exp.runs[-1].id) == list(range(100))
    assert_complete(exp.path)
    assert verify(exp.path).verdict == "intact"


def test_a_read_only_experiment_is_read(small_disk):
    """On a file system that cannot be written everything of a finished experiment can be read."""
    with mlv.Exp(small_disk, "exp", {"lr": 0.1}, capture=()) as exp:
        exp.log({"loss": 0.5}, step=1)
    remount(small_disk, "ro")

    found = mlv.Exp.open(exp.path)

    assert (found.status, found.params["lr"], found.summary()["loss"].last) == ("ok", 0.1, 0.5)
    assert [event.step for event in found.events("metrics")] == [1]
    assert verify(exp.path).verdict == "intact"
    remount(small_disk, "rw")


@pytest.mark.parametrize("inline", ["0", "1"])
def test_a_deleted_experiment(tmp_path, monkeypatch, recwarn, inline):
    """Training goes on without the folder: logging, reading, flushing and closing neither raise nor hang, and are warned of."""
    monkeypatch.setenv("MLV_INLINE", inline)
    exp = mlv.Exp(tmp_path, "exp", capture=())
    exp.log({"i": 0})
    exp.flush()
    shutil.rmtree(exp.path)

    exp.log({"i": 1})
    exp.logger("val")({"i": 2})
    exp.log.sub("media").text("notes", "a text")
    exp.flush(0.5)
    exp._session.close("ok", timeout_s=0.5)  # as exp.close(), which waits longer
    exp.close()

    assert any(issubclass(warning.category, mlv.WritingStalled) for warning in recwarn)
    assert not exp.path.exists()


HOUR_NS = 3600 * 10**9


@pytest.mark.parametrize("inline", ["0", "1"])
def test_a_clock_that_jumps_back_an_hour(tmp_path, monkeypatch, inline):
    """Events keep their order, and so does all that is read; the times are what the clock said."""
    monkeypatch.setenv("MLV_INLINE", inline)
    exp = mlv.Exp(tmp_path, "exp", capture=())
    for number in range(100):
        exp.log({"i": number}, step=number)

    real = time.time_ns
    for module in ("ring", "inline"):
        monkeypatch.setattr(f"mlv.transport.{module}.time_ns", lambda: real() - HOUR_NS)
    for number in range(100, 200):
        exp.log({"i": number}, step=number)
    exp.close()

    found = list(exp.events("metrics"))
    assert [event.data["i"] for event in found] == list(range(200))
    assert found[100].time < found[99].time
    assert exp.summary()["i"].last == 199
    assert latest_metrics(exp.path)["i"].value == 199
    assert (exp.status, exp.runs[-1].duration_s) == ("ok", 0)
    assert verify(exp.path).verdict == "intact"


def test_a_writer_that_dies_after_the_clock_jumped_back(tmp_path, monkeypatch):
    """Another writer is started as soon as otherwise, though the hour comes once more."""
    exp = mlv.Exp(tmp_path, "exp", capture=())
    exp.flush()
    first, real = writer_at_work(exp.path), time.time_ns
    monkeypatch.setattr("mlv.transport.ring.time_ns", lambda: real() - HOUR_NS)

    kill(first)
    numbers = itertools.count()
    wait_until(lambda: exp.log({"i": next(numbers)}) or (writer_of(exp.path) != first and is_there(writer_of(exp.path))))
    exp.close()

    assert payloads(exp.path, exp.runs[-1].id) == list(range(next(numbers)))


@pytest.mark.timeout(300)
def test_many_events(tmp_path):
    """Hundreds of thousands of events of one run are there, in order, and are proven and read."""
    exp = mlv.Exp(tmp_path, "exp", capture=())
    for number in range(MANY):
        exp.log({"i": number}, step=number)
    exp.close()

    lines = [line for line in raw_lines(exp.path / "log.jsonl") if b'"type":"metrics"' in line]
    assert len(lines) == MANY
    assert all(line.endswith(b'"step":%d,"data":{"i":%d}}\n' % (number, number)) for number, line in enumerate(lines))
    assert verify(exp.path).verdict == "intact"
    summary = exp.summary()["i"]
    assert (summary.count, summary.min, summary.last) == (MANY, 0, MANY - 1)


def log_into(exp: mlv.Exp, streams: int) -> None:
    for number in range(streams):
        exp.logger(f"s{number}")({"i": number})


def test_ten_thousand_streams(tmp_path):
    """A run may write into some hundred streams; the next one is refused by name, and all that was logged is there."""
    with mlv.Exp(tmp_path, "exp", capture=()) as exp:
        with pytest.raises(
            mlv.TooManyStreams, match=r"'s\d+' is one too many: a run can write into about \d+ streams"
        ) as refused:
            log_into(exp, 10_000)
        count = int(refused.value.stream[1:])
        exp.log({"i": count})

    assert count > 100
    assert [event.data["i"] for event in exp.events("metrics")] == list(range(count + 1))
    assert verify(exp.path).verdict == "intact"
