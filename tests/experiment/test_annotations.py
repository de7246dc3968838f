"""Tags and notes are no run: they change nothing of what an experiment's runs are, and every reader sees them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import run_command, wait_until
from logs import line, of_type, read, write

import mlv
from mlv import Exp, MetaEdited, NotAnnotated
from mlv.capture.redaction import Redactor
from mlv.experiment.active_run import event_payload
from mlv.store import claims
from mlv.store.claims import Claim
from mlv.store.owners import Owner
from mlv.transport.annotating import annotate

TRAIN = """
import mlv, os, sys, time
with mlv.Exp("runs", "exp", {"lr": 1}, capture=(), system=False) as exp:
    exp.log({"loss": 1.0}, step=0)
    exp.flush()
    print("ready", flush=True)
    END
"""
ENDS = {
    "ok": "pass",
    "failed": "raise RuntimeError('out of memory')",
    "preempted": "exp.close('preempted')",
    "killed": "os._exit(1)",
}


def cli(folder: Path, *arguments: str) -> str:
    done = run_command(*arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def told(folder: Path) -> object:
    """What every reader says of the experiment, tags and notes left out."""
    exp = Exp.open(folder / "runs" / "exp")
    row = json.loads(cli(folder, "ls", "--json", "runs"))
    return (
        exp.status,
        [(run.id, run.status, run.started, run.ended) for run in exp.runs],
        mlv.find(folder / "runs").frame()[["status", "started", "duration_s"]].values.tolist(),
        len(mlv.find(folder / "runs", where=f"status = '{exp.status}'")),
        mlv.find(folder / "runs").sql("select run, status, duration_s from runs").rows(),
        {key: row[key] for key in ("status", "started", "duration_s") if key in row},
        exp.summary()["loss"].last,
    )


@pytest.mark.parametrize("status", ENDS)
def test_after_the_end(python, tmp_path, status):
    """R3: a tag or a note on an experiment that ended changes no status, start, duration and number of runs."""
    python(TRAIN.replace("END", ENDS[status]))
    exp = Exp.open(tmp_path / "runs" / "exp")
    wait_until(lambda: exp.status != "running")
    before = told(tmp_path)
    lines = read(exp.path)

    exp.add_tags("look-again")
    with Exp.open(exp.path) as other:
        other.add_tags("paper")
        other.add_note("Out of memory at step 0.")

    assert exp.status == status
    assert told(tmp_path) == before
    assert read(exp.path) == lines
    assert (exp.tags, exp.notes) == (("look-again", "paper"), ("Out of memory at step 0.",))
    assert "intact" in cli(tmp_path, "verify", "runs/exp")
    shown = cli(tmp_path, "show", "runs/exp")
    assert "look-again" in shown
    assert "Out of memory" in shown
    row = json.loads(cli(tmp_path, "ls", "--json", "runs"))
    assert row["tags"] == ["look-again", "paper"]
    assert "paper" in cli(tmp_path, "tail", "runs/exp")


def test_while_it_runs(tmp_path):
    """R3: a tag on an experiment that another process trains disturbs neither the run nor who follows it."""
    (tmp_path / "train.py").write_text(TRAIN.replace("END", "sys.stdin.readline()\n    exp.log({'loss': 0.5}, step=1)"))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, "train.py"], cwd=tmp_path, **pipes)
    assert process.stdout is not None
    process.stdout.readline()
    follower = subprocess.Popen([sys.executable, "-m", "mlv", "tail", "-f", "runs/exp"], cwd=tmp_path, **pipes)
    assert follower.stdout is not None
    assert "loss" in follower.stdout.readline() + follower.stdout.readline()
    with Exp.open(tmp_path / "runs" / "exp") as exp:
        exp.add_tags("watched")
    assert "watched" in follower.stdout.readline()
    assert (exp.status, len(mlv.find(tmp_path / "runs", where="status = 'running'"))) == ("running", 1)
    process.communicate("go on\n", timeout=60)
    rest = follower.communicate(timeout=60)[0]

    assert "0.5" in rest
    assert (exp.status, len(exp.runs), exp.tags) == ("ok", 1, ("watched",))
    assert "intact" in cli(tmp_path, "verify", "runs/exp")


def test_within_the_run(exp):
    """In the process that trains, tags go into its run, whichever object says them."""
    exp.add_tags("a")
    Exp.open(exp.path).add_tags("b")

    assert exp.tags == ("a", "b")
    assert [event.run for event in exp.events("tags")] == [exp.runs[0].id] * 2
    assert not (exp.path / "annotations.log.jsonl").exists()


def ended(folder: Path) -> Exp:
    with Exp(folder, "exp", capture=(), system=False) as exp:
        exp.log({"loss": 1.0}, step=0)
    return Exp.open(exp.path)


def test_it_is_cheap(tmp_path):
    """Nothing is captured, no run begins, and no process is started."""
    import psutil

    exp = ended(tmp_path)
    before = set(psutil.Process().children(recursive=True))
    exp.add_tags("a")

    assert set(psutil.Process().children(recursive=True)) <= before
    assert [event["type"] for event in read(exp.path, "annotations")] == ["tags", "seal"]
    assert not (exp.path / "system.log.jsonl").exists()
    exp.close()
    assert len(exp.runs) == 1


def test_then_it_trains(tmp_path):
    """An object that annotated may train afterwards: that is a run, and what it says then is a part of it."""
    exp = ended(tmp_path)
    exp.add_tags("a")
    exp.log({"loss": 0.5}, step=1)
    exp.add_tags("b")
    exp.close()

    assert (len(exp.runs), exp.tags) == (2, ("a", "b"))
    assert len(of_type(read(exp.path), "tags")) == 1


def test_threads_and_processes(tmp_path):
    """Many who annotate at once wait for each other: one stream, every tag once, sealed."""
    exp = ended(tmp_path)
    script = "import mlv, sys\nfor i in range(5): mlv.Exp.open(sys.argv[1]).add_tags(f'{sys.argv[2]}-{i}')\n"
    command = [sys.executable, "-c", script, str(exp.path)]
    processes = [subprocess.Popen([*command, str(number)]) for number in range(2)]

    def work(number: int) -> None:
        for i in range(5):
            Exp.open(exp.path).add_tags(f"t{number}-{i}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait(60) for process in processes] == [0, 0]

    assert sorted(exp.tags) == sorted(f"{who}-{i}" for who in ("0", "1", "t0", "t1") for i in range(5))
    assert sorted(path.name for path in exp.path.glob("*.jsonl")) == ["annotations.log.jsonl", "log.jsonl"]
    assert "intact" in cli(tmp_path, "verify", str(exp.path))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork(python, tmp_path):
    """A forked child that annotates begins no run."""
    python(
        """
        import mlv, os
        with mlv.Exp("runs", "exp", capture=(), system=False) as exp:
            exp.log({"loss": 1.0})
            pid = os.fork()
            if not pid:
                exp.add_tags("child")
                os._exit(0)
            os.waitpid(pid, 0)
        """
    )
    exp = Exp.open(tmp_path / "runs" / "exp")

    assert (exp.tags, len(exp.runs), exp.runs[0].children) == (("child",), 1, ())


def test_somebody_elsewhere_annotates(tmp_path):
    """Who annotates on another machine, and does not come to an end, is left alone."""
    exp = ended(tmp_path)
    other = Claim(Owner("elsewhere", "boot", "", 7, "1"), "rother")
    assert claims.claim_exactly(exp.path, "annotations", other)
    annotate(exp.path, event_payload("tags", {"tags": ["a"]}), Redactor(), within_s=0.05)

    assert exp.tags == ("a",)
    assert claims.read(exp.path, "annotations") == other


def test_one_that_died(tmp_path):
    """After one that died in the middle of a line, the next mends the stream, and all is proven."""
    exp = ended(tmp_path)
    exp.add_tags("a")
    path = exp.path / "annotations.log.jsonl"
    died = Owner.current().to_data()
    died = Owner.from_data({**died, "start": "0" * len(str(died["start"]))})
    assert claims.claim_exactly(exp.path, "annotations", Claim(died, "rdied"))
    with path.open("ab") as file:
        file.write(line("rdied", 1, "tags", data={"tags": ["b"]}) + b'{"run":"rdied","se')

    Exp.open(exp.path).add_tags("c")

    assert set(exp.tags) == {"a", "b", "c"}
    assert [event["data"]["of"] for event in of_type(read(exp.path, "annotations"), "seal")].count("rdied") == 1
    assert len(exp.runs) == 1


class TestRefused:
    def test_nothing_can_be_written(self, tmp_path):
        """Where nothing can be written it is said, with the folder and the reason."""
        exp = ended(tmp_path)
        shutil.rmtree(exp.path / ".mlv")
        (exp.path / ".mlv").write_text("")

        with pytest.raises(NotAnnotated, match=r"nothing can be said about .*exp: .*Make the folder writable") as caught:
            exp.add_tags("a")
        assert isinstance(caught.value, OSError)
        assert exp.tags == ()

    @pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
    def test_read_only(self, tmp_path):
        """So it is for a folder that is read-only."""
        exp = ended(tmp_path)
        for path in (exp.path / ".mlv", exp.path):
            path.chmod(0o555)
        try:
            with pytest.raises(NotAnnotated):
                exp.add_note("a")
        finally:
            exp.path.chmod(0o755)

    def test_a_folder_that_is_gone(self, tmp_path):
        """An experiment that was deleted stays deleted."""
        exp = ended(tmp_path)
        shutil.rmtree(exp.path)

        with pytest.raises(NotAnnotated):
            exp.add_tags("a")
        assert not exp.path.exists()

    def test_edited(self, tmp_path):
        """An experiment whose meta.json was edited takes none."""
        exp = ended(tmp_path)
        meta = exp.path / "meta.json"
        meta.chmod(0o644)
        meta.write_text(meta.read_text() + " ")

        with pytest.warns(mlv.MlvWarning), pytest.raises(MetaEdited):
            Exp.open(exp.path).add_tags("a")


def test_disabled(tmp_path, monkeypatch):
    """Under `MLV_DISABLED` tags are remembered, and nothing is stored."""
    monkeypatch.setenv("MLV_DISABLED", "1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with Exp(tmp_path / "runs", "exp", capture=()) as exp:
        Exp.open(exp.path).add_tags("a")

        assert exp.tags == ("a",)
    assert not (tmp_path / "runs").exists()


def test_credentials(tmp_path):
    """What looks like a credential in a note does not reach the disk."""
    exp = ended(tmp_path)
    exp.add_note("use token ghp_" + "a1B2c3D4e5F6" * 3)

    assert "a1B2c3D4e5F6" not in (exp.path / "annotations.log.jsonl").read_text()


class TestOldLogs:
    """Early versions wrote tags and notes in runs of their own."""

    def log(self, folder: Path, *between: bytes, status: str = "ok") -> Exp:
        exp = Exp(folder, "exp", capture=(), system=False)
        exp.close()
        (exp.path / "log.jsonl").unlink()
        begin = [
            line("ra", 1, "run_started", 1, data={"exp": exp.id}),
            line("ra", 2, "metrics", 2, data={"loss": 1}),
            line("ra", 3, "run_ended", 3, data={"status": "failed"}),
            line("rb", 1, "run_started", 4, data={"exp": exp.id}),
        ]
        end = line("rb", 2 + len(between), "run_ended", 9, data={"status": status})
        write(exp.path, *begin, *between, end)
        return Exp.open(exp.path)

    def test_tags_alone(self, tmp_path):
        """R3: a later run that only annotated, and ended well, counts for nothing; what it said stays."""
        exp = self.log(
            tmp_path, line("rb", 2, "tags", 5, data={"tags": ["a"]}), line("rb", 3, "note", 6, data={"text": "Why."})
        )

        assert (exp.status, [run.id for run in exp.runs], exp.tags, exp.notes) == ("failed", ["ra"], ("a",), ("Why.",))

    @pytest.mark.parametrize("type", ["metrics", "event", "params"])
    def test_more_than_tags(self, tmp_path, type):
        """One that did anything else is a run."""
        exp = self.log(tmp_path, line("rb", 2, "tags", 5, data={"tags": ["a"]}), line("rb", 3, type, 6, data={"x": 1}))

        assert (exp.status, len(exp.runs)) == ("ok", 2)

    @pytest.mark.parametrize("status", ["failed", "killed", "preempted"])
    def test_that_did_not_end_well(self, tmp_path, status):
        """So is one that did not end well: it may have wanted to train."""
        exp = self.log(tmp_path, line("rb", 2, "tags", 5, data={"tags": ["a"]}), status=status)

        assert (exp.status, len(exp.runs)) == (status, 2)

    def test_the_only_run(self, tmp_path):
        """The run that made an experiment is one, though it did nothing but tag."""
        with Exp(tmp_path, "exp", capture=(), system=False) as exp:
            exp.add_tags("a")
        with Exp.open(exp.path) as again:
            again.log({"loss": 1})

        assert [run.status for run in exp.runs] == ["ok", "ok"]
