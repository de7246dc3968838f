"""SIGKILL in the middle of a save, at every stage and at random moments, and full disks: what was kept is kept."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from conftest import wait_until

import mlv
from crash.victims import SEED, scaled
from mlv.audit.verify import verify
from mlv.store.contents import content_of

pytestmark = [pytest.mark.crash, pytest.mark.timeout(scaled(300, soak=1800))]

KILLS = scaled(14, soak=200)
POLICY = {"every": 5, "top": 2, "metric": "loss", "mode": "min", "latest": 2}

KILLED_AT = """
import os, signal, sys
from pathlib import Path
import mlv
from mlv.experiment import session; from mlv.experiment.checkpoints import shelf

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def dies_in(owner, name, call, after=False):
    real, calls = getattr(owner, name), []
    def dying(*args, **kwargs):
        calls.append(args)
        if len(calls) == call and not after:
            die()
        result = real(*args, **kwargs)
        if len(calls) == call:
            die()
        return result
    setattr(owner, name, dying)

def writes(path, dies=False):
    if KIND == "file":
        Path(path).write_text(f"weights {NUMBER}")
    else:
        os.mkdir(path)
        Path(path, "a").write_text(f"a {NUMBER}")
        if dies:
            die()
        Path(path, "b").write_text("b")
    if dies:
        die()

KIND, STAGE = sys.argv[2:4]
exp = mlv.Exp(sys.argv[1], "exp", capture=())
portfolio = exp.checkpoints(every=2, top=1, metric="loss", mode="min")
for NUMBER in (1, 2, 3):
    portfolio.save(writes, step=NUMBER, metrics={"loss": -NUMBER})
exp.flush()
NUMBER, emits = 4, session.Session
{
    "writing": lambda: None,
    "written": lambda: dies_in(shelf, "make_durable", 1),
    "hashed": lambda: dies_in(shelf, "content_of", 1, after=True),
    "first place": lambda: dies_in(shelf, "_put", 1, after=True),
    "second place": lambda: dies_in(shelf, "_put", 2, after=True),
    "all places": lambda: dies_in(shelf, "_put", 3, after=True),
    "saved said": lambda: dies_in(emits, "emit", 1, after=True),
    "removal said": lambda: dies_in(emits, "emit", 2, after=True),
    "all said": lambda: dies_in(emits, "flush", 1),
    "flushed": lambda: dies_in(emits, "flush", 1, after=True),
    "removing": lambda: dies_in(shelf, "remove", 1, after=True),
    "removed": lambda: dies_in(shelf, "remove", 3, after=True),
}[STAGE]()
portfolio.save(lambda path: writes(path, dies=STAGE == "writing"), step=4, metrics={"loss": -4})
"""
BEFORE_THE_EVENT = ["writing", "written", "hashed", "first place", "second place", "all places"]
AFTER_THE_EVENT = ["saved said", "removal said", "all said", "flushed", "removing", "removed"]


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("stage", BEFORE_THE_EVENT + AFTER_THE_EVENT)
def test_killed_at(tmp_path, python, stage, kind):
    """The checkpoints before are there; the one that was being saved is there whole or not at all, and saving goes on."""
    assert python(KILLED_AT, tmp_path, kind, stage).returncode == -signal.SIGKILL
    folder = tmp_path / "exp"
    mine = folder / "models" / "latest" / "mine.bin"
    mine.write_text("a user's")
    assert mlv.Exp.open(folder).latest.save == (3 if stage in BEFORE_THE_EVENT else 4)

    with warnings.catch_warnings(record=True) as said, mlv.Exp.open(folder) as exp:
        warnings.simplefilter("always")
        portfolio = exp.checkpoints()
        assert_whole(portfolio, [2, 3] if stage in BEFORE_THE_EVENT else [2, 3, 4] if stage == "saved said" else [2, 4], mine)
        found = portfolio.save(lambda path: Path(path).write_text("next"), step=5, metrics={"loss": -5})
        assert found.save == (4 if stage in BEFORE_THE_EVENT else 5)
        assert_whole(portfolio, [2, 4] if stage in BEFORE_THE_EVENT else [2, 4, 5], mine)

    texts = [str(warning.message) for warning in said]
    places = {"first place": 1, "second place": 2, "all places": 3}.get(stage, 0)
    assert len(texts) == places
    assert all("was removed: the process that saved it was killed before the save was complete" in text for text in texts)
    assert verify(folder).verdict == "intact"


def assert_whole(portfolio, kept: list[int], foreign: Path | None = None) -> None:
    """The checkpoints that are kept are as they were saved, and nothing else is in the folder."""
    checkpoints = portfolio.kept
    assert [checkpoint.save for checkpoint in checkpoints] == kept
    for checkpoint in checkpoints:
        assert content_of(checkpoint.path).sha256 == checkpoint.sha256
    sections = portfolio._session.memory["portfolio models"].state.sections
    expected = {f"{section}/{name}" for section, known in sections.items() for name in known}
    top = portfolio._session.folder / "models"
    there = {path.relative_to(top).as_posix() for path in top.glob("*/*")} - ({"latest/mine.bin"} if foreign else set())
    assert there == expected
    assert not foreign or foreign.read_text() == "a user's"
    assert {path.name for path in top.iterdir()} <= {"latest", "every_k", "top_k"}


SAVING = """
import os, random, sys
from pathlib import Path
import mlv

exp = mlv.Exp(sys.argv[1], "exp", on_exists="open", capture=())
chance = random.Random(int(sys.argv[2]))
portfolio = exp.checkpoints()
while True:
    loss = chance.choice([0.1, 0.5, 0.9, float("nan")])
    size = chance.choice([10, 300_000])
    found = portfolio.save(lambda path: Path(path).write_bytes(os.urandom(size)), step=exp.latest.save, metrics={"loss": loss})
    print(found.save, loss, flush=True)
"""


def test_killed_again_and_again(tmp_path):
    """However often the process is killed: every save that returned is in the log, and what is kept is there, whole."""
    print(f"MLV_CRASH_SEED={SEED}")
    chance = random.Random(SEED)
    with mlv.Exp(tmp_path, "exp", capture=()) as exp:
        exp.checkpoints(**POLICY).save(lambda path: Path(path).write_text("first"), metrics={"loss": 1.0})
    returned = [1]

    for _ in range(KILLS):
        returned += saves_until_killed(tmp_path, chance)
        with mlv.Exp.open(exp.path) as again, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            portfolio = again.checkpoints()
            saves = [event.data["save"] for event in again.events("checkpoint") if event.data["action"] == "saved"]
            assert saves == list(range(1, len(saves) + 1))
            assert set(returned) <= set(saves)
            assert portfolio.latest.save == saves[-1]
            kept = [checkpoint.save for checkpoint in portfolio.kept]
            assert {save for save in saves if save % POLICY["every"] == 0} <= set(kept)
            assert_whole(portfolio, kept)

    assert len(returned) > KILLS
    assert verify(exp.path).verdict == "intact"


def saves_until_killed(folder: Path, chance: random.Random) -> list[int]:
    """The numbers of the saves that returned in a process that is killed at a random moment, once it has begun to save."""
    command = [sys.executable, "-c", SAVING, str(folder), str(chance.randrange(10**6))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        first = process.stdout.readline()
        assert first, process.stderr.read()
        time.sleep(chance.random() * 0.1)
        process.kill()
        rest = process.communicate()[0]
    return [int(line.split()[0]) for line in (first + rest).splitlines() if line.count(" ") == 1]


def test_a_process_that_lives_is_left_alone(tmp_path):
    """What another process is saving at this moment is not taken for what a killed one left."""
    script = """
import sys, time
from pathlib import Path
import mlv

def slowly(path):
    Path(path).write_text("half")
    print("writing", flush=True)
    sys.stdin.readline()
    Path(path).write_text("whole")

exp = mlv.Exp(sys.argv[1], "exp", capture=())
exp.checkpoints(latest=2).save(slowly)
exp.close()
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        wait_until(lambda: b"policy" in (tmp_path / "exp" / "log.jsonl").read_bytes())
        with mlv.Exp.open(tmp_path / "exp") as exp:
            exp.checkpoints().save(lambda path: Path(path).write_text("mine"))
            process.communicate("go on\n")
            assert process.returncode == 0

    found = mlv.Exp.open(tmp_path / "exp").checkpoints().kept
    assert [checkpoint.path.read_text() for checkpoint in found] == ["mine", "whole"]


def test_full_disk(small_disk):
    """A disk that is full during a save costs that save, said by an error; the checkpoint before stays, and saving goes on."""
    with mlv.Exp(small_disk, "exp", capture=()) as exp:
        portfolio = exp.checkpoints()
        before = portfolio.save(lambda path: Path(path).write_bytes(bytes(200_000)), suffix=".bin")

        with pytest.raises(mlv.CheckpointNotSaved, match=r"No space left on device.*Those before are as they were") as caught:
            portfolio.save(lambda path: Path(path).write_bytes(bytes(400_000)), suffix=".bin")

        assert caught.value.errno == errno.ENOSPC
        assert portfolio.kept == [before]
        assert content_of(before.path).sha256 == before.sha256
        assert os.listdir(exp.path / "models") == ["latest"]
        assert portfolio.save(lambda path: Path(path).write_bytes(bytes(1000)), suffix=".bin").save == 2
    assert verify(exp.path).verdict == "intact"
