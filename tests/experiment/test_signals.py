"""A process that is asked to end says so in its log, does what it would have done, and its run ends as preempted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_until

from mlv import Exp

if os.name != "posix":
    pytest.skip("needs signals", allow_module_level=True)

BEGIN = "import mlv, os, signal, sys, threading, time\n"
RUN = "exp = mlv.Exp('runs', 'exp', capture=())\nexp.log({'a': 1})\nos.write(1, b'ready\\n')\n"
WAIT = "while True:\n    time.sleep(0.01)\n"
# By the system call: the signal may come before a `print` of "ready" has ended, and another one within it is an error.
USER = """
is_over = False

def user(number, frame):
    global is_over
    is_over = True
    os.write(1, f"user {signal.Signals(number).name}\\n".encode())
"""
UNTIL = "while not is_over:\n    time.sleep(0.01)\n"


class Victim:
    """A process that begins a run, and is then sent a signal."""

    def __init__(self, folder: Path, script: str, **environment: str) -> None:
        path = folder / "script.py"
        path.write_text(textwrap.dedent(script))
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        environ = {**os.environ, **environment}
        self.process = subprocess.Popen([sys.executable, "-W", "error", str(path)], cwd=folder, env=environ, **pipes)
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def end(self, number: int | None = None) -> str:
        """What it printed since, up to its end."""
        if number is not None:
            self.process.send_signal(number)
        said, self.errors = self.process.communicate(timeout=60)
        return str(said)


def told(folder: Path, name: str = "exp") -> tuple[str, list[str]]:
    """The status, and the signals that the log tells of."""
    exp = Exp.open(folder / "runs" / name)
    wait_until(lambda: exp.status != "running")
    return exp.status, [event.data["extra"]["signal"] for event in exp.events("message")]


@pytest.fixture(params=["ring", "inline"], autouse=True)
def channel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLV_INLINE", "1" if request.param == "inline" else "0")


class TestDefault:
    def test_it_dies_of_the_signal(self, tmp_path):
        """SIGTERM kills a process without a handler as ever, once its log is whole."""
        victim = Victim(tmp_path, BEGIN + RUN + WAIT)
        victim.end(signal.SIGTERM)

        assert victim.process.returncode == -signal.SIGTERM
        assert told(tmp_path) == ("preempted", ["SIGTERM"])
        assert victim.errors == f"mlv: {tmp_path / 'runs' / 'exp'}\n"

    def test_in_the_middle_of_logging(self, tmp_path):
        """A signal in the middle of a call that logs loses nothing that was logged before."""
        victim = Victim(tmp_path, BEGIN + RUN + "i = 0\nwhile True:\n    i += 1\n    exp.log({'i': i})\n")
        time.sleep(0.1)
        victim.end(signal.SIGTERM)

        assert victim.process.returncode == -signal.SIGTERM
        assert told(tmp_path) == ("preempted", ["SIGTERM"])
        logged = [event.data["i"] for event in Exp.open(tmp_path / "runs" / "exp").events("metrics") if "i" in event.data]
        assert logged == list(range(1, len(logged) + 1))

    def test_twice(self, tmp_path):
        """A signal that comes again while the run ends does not cut the end short."""
        victim = Victim(tmp_path, BEGIN + RUN + WAIT)
        victim.process.send_signal(signal.SIGTERM)
        victim.end(signal.SIGTERM)

        assert victim.process.returncode == -signal.SIGTERM
        assert told(tmp_path)[0] == "preempted"

    def test_several_experiments(self, tmp_path):
        """Every run of the process ends as preempted."""
        victim = Victim(tmp_path, BEGIN + "other = mlv.Exp('runs', 'other', capture=())\n" + RUN + WAIT)
        victim.end(signal.SIGTERM)

        assert [told(tmp_path, name)[0] for name in ("exp", "other")] == ["preempted"] * 2


class TestHandlers:
    def test_the_users_own(self, tmp_path):
        """A handler that was there before is called after the notice; the verdict comes at the real end."""
        script = BEGIN + USER + "signal.signal(signal.SIGTERM, user)\n" + RUN + UNTIL + "exp.log({'after': 1})\n"
        victim = Victim(tmp_path, script)

        assert victim.end(signal.SIGTERM) == "user SIGTERM\n"
        assert victim.process.returncode == 0
        assert told(tmp_path) == ("preempted", ["SIGTERM"])
        assert [event.data for event in Exp.open(tmp_path / "runs" / "exp").events("metrics")][-1] == {"after": 1}

    @pytest.mark.parametrize(
        ("end", "code", "status"),
        [
            ("sys.exit(3)", 3, "preempted"),
            ("raise KeyboardInterrupt", -signal.SIGINT, "preempted"),
            ("1 / 0", 1, "failed"),
            ("exp.close('interrupted')", 0, "interrupted"),
            ("exp.close()", 0, "preempted"),
        ],
    )
    def test_how_it_ends(self, tmp_path, end, code, status):
        """What a handler does decides how the process ends; a fault is told as a fault, and a word of the user's counts."""
        handler = "def user(number, frame):\n    global is_over\n    is_over = True\n" + f"    {end}\n"
        script = BEGIN + handler + "is_over = False\nsignal.signal(signal.SIGTERM, user)\n" + RUN
        victim = Victim(tmp_path, script + UNTIL)
        victim.end(signal.SIGTERM)

        assert victim.process.returncode == code
        assert told(tmp_path) == (status, ["SIGTERM"])

    def test_a_with_block(self, tmp_path):
        """A loop that a handler ends leaves its block as preempted."""
        script = (
            BEGIN
            + "stop = threading.Event()\nsignal.signal(signal.SIGTERM, lambda *_: stop.set())\n"
            + "with mlv.Exp('runs', 'exp', capture=()) as exp:\n    exp.log({'a': 1})\n    print('ready', flush=True)\n"
            + "    while not stop.wait(0.01):\n        pass\n"
        )
        victim = Victim(tmp_path, script)
        victim.end(signal.SIGTERM)

        assert (victim.process.returncode, *told(tmp_path)) == (0, "preempted", ["SIGTERM"])

    def test_ignored(self, tmp_path):
        """A signal that is ignored stays ignored, and leaves no notice."""
        script = BEGIN + "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + RUN + "time.sleep(0.5)\n"
        victim = Victim(tmp_path, script)
        victim.end(signal.SIGTERM)

        assert (victim.process.returncode, *told(tmp_path)) == (0, "ok", [])

    def test_put_back(self, tmp_path):
        """When no run goes on the handlers are those that were there before; a run of another thread changes none."""
        script = (
            BEGIN
            + USER
            + """
def handler():
    return signal.getsignal(signal.SIGTERM)

signal.signal(signal.SIGTERM, user)
first, second = (mlv.Exp("runs", name, capture=()) for name in ("a", "b"))
assert handler() is not user
first.close()
assert handler() is not user
second.close()
assert handler() is user
def run():
    mlv.Exp("runs", "c", capture=()).close()
    assert handler() is user
thread = threading.Thread(target=run)
thread.start(), thread.join()
exp = mlv.Exp("runs", "d", capture=())
signal.signal(signal.SIGTERM, signal.SIG_IGN)
exp.close()
assert handler() == signal.SIG_IGN
print("fine")
sys.exit(0)
"""
        )
        (tmp_path / "script.py").write_text(script)
        done = subprocess.run(
            [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )

        assert done.stdout == "fine\n", done.stderr


class TestSlurm:
    def test_its_sigusr1(self, tmp_path):
        """Under SLURM, SIGUSR1 is a notice too; the writer process, which gets it as well, goes on."""
        script = BEGIN + USER + "signal.signal(signal.SIGUSR1, user)\n" + RUN + UNTIL + "exp.log({'after': 1})\n"
        victim = Victim(tmp_path, script, SLURM_JOB_ID="7")

        assert victim.end(signal.SIGUSR1) == "user SIGUSR1\n"
        assert told(tmp_path) == ("preempted", ["SIGUSR1"])

    def test_elsewhere(self, tmp_path, monkeypatch):
        """Elsewhere SIGUSR1 is the user's alone."""
        monkeypatch.delenv("SLURM_JOB_ID", raising=False)
        victim = Victim(tmp_path, BEGIN + USER + "signal.signal(signal.SIGUSR1, user)\n" + RUN + UNTIL)

        assert victim.end(signal.SIGUSR1) == "user SIGUSR1\n"
        assert told(tmp_path) == ("ok", [])


class TestChildren:
    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_a_forked_child(self, tmp_path):
        """A child that its parent ends by SIGTERM dies of it; the parent's run goes on."""
        script = (
            BEGIN
            + RUN
            + """
import multiprocessing, warnings
warnings.simplefilter("ignore", DeprecationWarning)
def child():
    exp.log({"child": 1})
    time.sleep(60)
process = multiprocessing.get_context("fork").Process(target=child)
process.start()
while not list(exp.events("run_started"))[1:]:
    time.sleep(0.01)
process.terminate()
process.join()
print(process.exitcode)
"""
        )
        victim = Victim(tmp_path, script)

        assert victim.end() == f"{-signal.SIGTERM}\n", victim.errors
        assert told(tmp_path) == ("ok", [])
