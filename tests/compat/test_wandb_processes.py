"""`mlv.compat.wandb` where processes are killed, forked, launched together, or end without a word."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import wait_until

import mlv
from mlv.audit.verify import verify

BEGIN = """
import os, signal, sys
import mlv.compat.wandb as wandb
"""


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run a script that uses the drop-in; the experiments lie in `runs` of the test's folder."""
    for name, value in {"MLV_INLINE": "0", "MLV_SYSTEM": "off", "MLV_DIR": "", "WANDB_CONSOLE": "off"}.items():
        monkeypatch.setenv(name, value)

    def run(source: str, **environment: str) -> subprocess.CompletedProcess[str]:
        script = tmp_path / "train.py"
        script.write_text(BEGIN + textwrap.dedent(source))
        return subprocess.run(
            [sys.executable, str(script)], cwd=tmp_path, timeout=60, capture_output=True, text=True,
            env={**os.environ, **environment},
        )  # fmt: skip

    return run


def logged(path: Path, name: str = "a") -> list[object]:
    """The values of a metric in the order of the log."""
    return [event.data[name] for event in mlv.Exp.open(path).events("metrics") if name in event.data]


def test_kill(ran, tmp_path):
    """A kill -9 loses nothing: neither rows nor parts of a row that is open, neither config nor summary."""
    ran(
        """
        run = wandb.init(project="p", name="n", config={"lr": 1})
        for i in range(300): wandb.log({"a": i})
        wandb.config.update({"late": 2})
        run.summary["best"] = 3
        wandb.log({"open": 1}, step=400)
        wandb.log({"uncommitted": 1}, commit=False)
        open(os.path.join(run.dir, "model.pt"), "w").write("weights")
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    path = tmp_path / "runs/p/n"

    wait_until(lambda: mlv.Exp.open(path).status == "killed")
    assert logged(path) == list(range(300))
    assert logged(path, "open") == logged(path, "uncommitted") == [1]
    assert mlv.Exp.open(path).params == {"lr": 1, "late": 2}
    assert mlv.Exp.open(path).summary()["best"].value == 3
    assert [file.read_text() for file in path.glob(".wandb/*/files/model.pt")] == ["weights"]
    assert verify(path).verdict == "intact"


def test_resume_after_a_kill(ran, tmp_path):
    """A killed run goes on under its ID, with the next step, and attaches what the killed one left in its folder."""
    source = """
        run = wandb.init(project="p", name="n", resume="allow")
        for i in range(run.step, run.step + 3): wandb.log({"a": i})
        open(os.path.join(run.dir, f"{run.step}.txt"), "w").close()
        """
    ran(source + "os.kill(os.getpid(), signal.SIGKILL)", WANDB_RUN_ID="r1")
    done = ran(source + "print(run.resumed, run.summary['a'])", WANDB_RUN_ID="r1")

    path = tmp_path / "runs/p/n"
    assert done.stdout == "True 5\n"
    assert logged(path) == list(range(6))
    assert sorted(file.name for file in (path / "files").iterdir()) == ["3.txt", "6.txt"]
    assert (mlv.Exp.open(path).status, verify(path).verdict) == ("ok", "intact")


@pytest.mark.parametrize(
    ("end", "status"), [("", "ok"), ("raise ValueError", "failed"), ("sys.exit(3)", "failed"), ("wandb.finish()", "ok")]
)
def test_ends_without_finish(ran, tmp_path, end, status):
    """A script that ends without a word ends its run, with the status of the process and the files of its folder."""
    ran(
        """
        run = wandb.init(project="p", name="n")
        wandb.log({"a": 1})
        open("live.txt", "w").write("1")
        wandb.save("live.txt")
        open("live.txt", "w").write("22")
        os.utime("live.txt", (1, 1))
        open(os.path.join(run.dir, "model.pt"), "w").write("weights")
        """
        + end
    )
    path = tmp_path / "runs/p/n"

    assert mlv.Exp.open(path).status == status
    assert ((path / "files/model.pt").read_text(), (path / "files/live.txt").read_text()) == ("weights", "22")
    assert verify(path).verdict == "intact"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_fork(ran, tmp_path):
    """A forked child logs into the same run, and its end is not the end of the run."""
    done = ran(
        """
        run = wandb.init(project="p", name="n")
        wandb.log({"a": 0})
        child = os.fork()
        if child == 0:
            wandb.log({"a": 1})
            run.log({"a": 2}, step=9)
            os._exit(0)
        os.waitpid(child, 0)
        wandb.log({"a": 3})
        run.finish()
        """
    )
    path = tmp_path / "runs/p/n"

    assert sorted(logged(path)) == [0, 1, 2, 3], done.stderr
    assert mlv.Exp.open(path).status == "ok"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_init_in_a_forked_child(ran, tmp_path):
    """A forked child that calls `init` has a run of its own, and the parent's goes on."""
    done = ran(
        """
        run = wandb.init(project="p", name="n")
        wandb.log({"a": 0})
        child = os.fork()
        if child == 0:
            wandb.init(project="p", name="child")
            wandb.log({"a": 1})
            wandb.finish()
            os._exit(0)
        os.waitpid(child, 0)
        wandb.log({"a": 2})
        run.finish()
        """
    )

    assert (logged(tmp_path / "runs/p/n"), logged(tmp_path / "runs/p/child")) == ([0, 2], [1]), done.stderr


def test_child_of_multiprocessing(ran, tmp_path):
    """A run that a spawned child begins ends with the child, with the files of its folder."""
    ran(
        """
        import multiprocessing

        def work():
            run = wandb.init(project="p", name="n")
            open(os.path.join(run.dir, "model.pt"), "w").write("weights")

        if __name__ == "__main__":
            child = multiprocessing.get_context("spawn").Process(target=work)
            child.start()
            child.join()
        """
    )
    path = tmp_path / "runs/p/n"

    assert ((path / "files/model.pt").read_text(), mlv.Exp.open(path).status) == ("weights", "ok")


def test_threads(ran, tmp_path):
    """Threads log whole rows, and none is lost."""
    ran(
        """
        import threading
        run = wandb.init(project="p", name="n")
        threads = [threading.Thread(target=lambda: [wandb.log({"a": 1}) for _ in range(200)]) for _ in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        run.finish()
        """
    )

    assert len(logged(tmp_path / "runs/p/n")) == 800


def test_ranks(ran, tmp_path):
    """Ranks that call `init` have a run each, as in wandb, and none waits for another."""
    for rank in "10":
        ran(
            "wandb.init(project='p', name='n', group='g').log({'a': int(os.environ['RANK'])})",
            RANK=rank, WORLD_SIZE="2", MASTER_ADDR="localhost", MASTER_PORT="29",
        )  # fmt: skip

    assert (logged(tmp_path / "runs/p/n"), logged(tmp_path / "runs/p/n_1")) == ([1], [0])
    assert "MLV_RANKS" not in mlv.Exp.open(tmp_path / "runs/p/n").meta["env"]["variables"]


def test_ranks_that_resume(ran, tmp_path):
    """Each rank resumes and rewinds its own run, and none waits for another."""
    for rank in "10":
        variables = {"RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29"}
        ran(f"run = wandb.init(project='p', id='r{rank}')\nfor n in range(3): run.log({{'a': n}})", **variables)
        done = ran(f"wandb.init(project='p', resume_from='r{rank}?_step=0').log({{'a': 9}})", **variables)
        assert (done.returncode, logged(tmp_path / f"runs/p/r{rank}")) == (0, [0, 1, 2, 9]), done.stderr


def test_console(ran, tmp_path):
    """Printed lines are in the experiment, as wandb keeps them, unless `console` is off."""
    ran("wandb.init(project='p', name='n')\nprint('hello')", WANDB_CONSOLE="auto")

    messages = [event.data["message"] for event in mlv.Exp.open(tmp_path / "runs/p/n").events("message", stream="console")]
    assert "hello" in messages


def test_silence(ran):
    """`WANDB_SILENT` has a run say nothing."""
    done = ran("run = wandb.init(project='p')\nrun.log({'a': 1})\nrun.finish()", WANDB_SILENT="true")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_sync_tensorboard(ran, tmp_path):
    """Scalars of a SummaryWriter are metrics of the run at their steps; its event files are written as before."""
    pytest.importorskip("tensorboardX")
    done = ran(
        """
        from tensorboardX import SummaryWriter
        run = wandb.init(project="p", name="n", sync_tensorboard=True)
        with SummaryWriter("board") as writer:
            writer.add_scalar("a", 0.5, 10)
            writer.add_scalar("a", 0.25, global_step=20)
            writer.add_scalars("main", {"x": 1.0}, 20)
        run.finish()
        writer.add_scalar("a", 1.0, 30)
        """
    )
    path = tmp_path / "runs/p/n"

    assert logged(path) == [0.5, 0.25], done.stderr
    assert [(event.step, event.data) for event in mlv.Exp.open(path).events("metrics")][-1] == (20, {"main/x": 1.0})
    assert [*(tmp_path / "board").glob("events.out.tfevents.*")]


def test_a_writer_that_is_imported_later(ran, tmp_path):
    """Scalars are metrics also where a script imports its SummaryWriter after `init`."""
    pytest.importorskip("tensorboardX")
    done = ran(
        """
        run = wandb.init(project="p", name="n", sync_tensorboard=True)
        from tensorboardX import SummaryWriter
        with SummaryWriter("board") as writer:
            writer.add_scalar("a", 0.5, 10)
        run.finish()
        """
    )

    assert logged(tmp_path / "runs/p/n") == [0.5], done.stderr
