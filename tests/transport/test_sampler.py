"""System metrics are sampled beside the log: by the clock, sealed like all else, and never in the writer's way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from time import sleep

import pytest
from conftest import fork, run_command, wait_until

import mlv
from mlv.errors import InvalidArgument
from mlv.transport import new_rings
from mlv.transport.ring import Ring
from mlv.transport.sampler import Sampler
from mlv.transport.writer import Writer
from transport.rig import CURSORS, HERE, Rig


def samples(folder):
    """The data of the system events of an experiment."""
    path = folder / "system.log.jsonl"
    events = map(json.loads, path.read_text().splitlines()) if path.exists() else ()
    return [event["data"] for event in events if event["type"] == "system"]


def is_intact(folder):
    return run_command("verify", folder).returncode == 0


def test_samples_of_a_run(tmp_path):
    """A run has its samples, each about it, in a stream that is sealed, and they become columns."""
    with mlv.Exp(tmp_path, "exp", system=0.1) as exp:
        run = exp.runs[0].id
        wait_until(lambda: len(samples(exp.path)) >= 3)

    assert {sample["of"] for sample in samples(exp.path)} == {run}
    assert {"cpu_percent", "memory_percent", "process_cpu_percent"} <= samples(exp.path)[-1].keys()
    assert is_intact(exp.path)
    pytest.importorskip("pandas")
    assert (exp.frame("system")["process_count"] >= 1).all()


def test_a_short_run_pays_nothing(tmp_path):
    """A run that is over before the first interval leaves no trace of samples."""
    mlv.Exp(tmp_path, "exp").close()

    assert sorted(path.name for path in (tmp_path / "exp").glob("*.jsonl")) == ["log.jsonl"]


@pytest.mark.parametrize("given", [{"system": False}, {"system": 0}, {"MLV_SYSTEM": "off"}, {"MLV_SYSTEM": "0"}])
def test_off(tmp_path, monkeypatch, given):
    """One word and nothing is sampled."""
    monkeypatch.setenv("MLV_SYSTEM", given.get("MLV_SYSTEM", "0.1"))
    exp = mlv.Exp(tmp_path, "exp", system=given.get("system"))

    assert exp._session.wishes.system_s is None
    exp.close()


@pytest.mark.parametrize(
    ("system", "variable", "interval_s"),
    [(None, "", 10), (True, "off", 10), (None, "on", 10), (None, "2.5", 2.5), (3, "2.5", 3)],
)
def test_interval(tmp_path, monkeypatch, system, variable, interval_s):
    """The argument wins over the environment; without both it is ten seconds."""
    monkeypatch.setenv("MLV_SYSTEM", variable)
    exp = mlv.Exp(tmp_path, "exp", system=system)

    assert exp._session.wishes.system_s == interval_s
    exp.close()


@pytest.mark.parametrize("wrong", ["often", -1, 0.01, float("nan"), float("inf"), [1]])
def test_no_interval(tmp_path, wrong):
    """What is no number of seconds is said at once."""
    with pytest.raises(InvalidArgument, match="seconds between two samples"):
        mlv.Exp(tmp_path, "exp", system=wrong)
    assert not (tmp_path / "exp").exists()


def test_children_are_not_sampled(tmp_path):
    """A child's run has no samples: it is in those of its parent."""
    with mlv.Exp(tmp_path, "exp", system=0.1) as exp:
        run = exp.runs[0].id
        pid = fork(lambda: (exp.log({"loss": 1}), sleep(60)))
        wait_until(lambda: exp.runs[0].children)
        count = len(samples(exp.path))
        wait_until(lambda: len(samples(exp.path)) >= count + 3)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    assert {sample["of"] for sample in samples(exp.path)} == {run}
    assert max(sample["process_count"] for sample in samples(exp.path)) >= 2


def test_killed(tmp_path, python):
    """After a kill of script and writer the samples are sealed by who comes next."""
    script = "import mlv, sys, time\nexp = mlv.Exp(sys.argv[1], 'exp', system=0.1)\ntime.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stderr=subprocess.DEVNULL)
    folder = tmp_path / "exp"
    wait_until(lambda: samples(folder))
    writer = json.loads((folder / ".mlv" / "claims" / "system.json").read_bytes())["pid"]
    os.kill(writer, signal.SIGKILL)
    process.send_signal(signal.SIGKILL)
    process.wait()

    mlv.Exp.open(folder).close()

    assert is_intact(folder)
    assert mlv.Exp.open(folder).status == "killed"


class Hanging:
    """A meter that hangs for ever, as a network's disk does."""

    def measure(self):
        threading.Event().wait()


class Counting:
    """A meter that counts."""

    def __init__(self):
        self.count = 0

    def measure(self):
        self.count += 1
        return {"count": self.count}


def measured(tmp_path, meter, until):
    """Events of a run whose machine is measured, and the samples."""
    rig = Rig(tmp_path / "exp")
    info = {"run": "rsampled12", "exp": str(rig.folder), "id": "", "process": HERE.to_data(), "system_s": 0.02}
    path, place = new_rings.create(rig.candidates, info, 1 << 16)
    channel = Ring(path, place, lambda: None, rig.candidates)
    for index, cursor in enumerate(CURSORS):
        channel.add_cursor(index, cursor)
    rig.logged["rsampled12"] = []
    rig.log(channel, 9)
    writer = Writer(rig.folder, place, sampler=Sampler(rig.folder, lambda folder, pid: meter))

    def wait(seconds):
        if until(rig.folder):
            rig.end(channel)
        threading.Event().wait(seconds)

    assert writer.serve(wait, float("inf"))
    return rig, samples(rig.folder)


def test_a_hanging_disk_does_not_hold_the_writer_up(tmp_path):
    """Where measuring hangs, events are written, sealed and done as ever."""
    rig, found = measured(tmp_path, Hanging(), lambda folder: (folder / "log.jsonl").exists())

    assert found == []
    lines = [line for path in rig.folder.glob("*.jsonl") for line in path.read_bytes().splitlines()]
    assert sum(line.startswith(b'{"run":"rsampled12"') for line in lines) == 10


def test_by_the_clock(tmp_path):
    """Each interval has one sample; the first look is only the beginning of the rates."""
    _, found = measured(tmp_path, Counting(), lambda folder: len(samples(folder)) >= 3)

    assert [sample["count"] for sample in found][:3] == [2, 3, 4]
