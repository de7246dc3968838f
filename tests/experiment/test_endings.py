"""As what a run ends that nobody closes: real scripts, in the ways in which processes and functions end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import wait_until

from mlv import Exp

BEGIN = "import mlv, os, sys\nexp = mlv.Exp('runs', 'exp', capture=(), system=False)\nexp.log({'a': 1})\n"
MAKE = """
import asyncio, mlv, os, sys, threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
def new(n=0):
    return mlv.Exp("runs", f"exp{n}", capture=(), system=False)
def make(n=0):
    exp = new(n)
    exp.log({"a": 1})
    return exp
"""


def settled(folder: Path, name: str = "exp") -> str:
    """The status, once the writer has said all it has to say."""
    exp = Exp.open(folder / "runs" / name)
    wait_until(lambda: exp.status != "running")
    return exp.status


EXITS = {
    "sys.exit(1)": (1, "failed"),
    "sys.exit('no GPU left')": (1, "failed"),
    "sys.exit('')": (1, "failed"),
    "sys.exit(-1)": (255, "failed"),
    "sys.exit(True)": (1, "failed"),
    "sys.exit()": (0, "ok"),
    "sys.exit(0)": (0, "ok"),
    "sys.exit(256)": (0, "ok"),
    "sys.exit(143)": (143, "preempted"),
    "sys.exit(130)": (130, "interrupted"),
    "raise SystemExit(3)": (3, "ended"),
    "raise SystemExit": (0, "ended"),
    "exit(3)": (3, "ended"),
    "import argparse\nargparse.ArgumentParser().parse_args(['--unknown'])": (2, "failed"),
    "import argparse\nargparse.ArgumentParser().parse_args(['--help'])": (0, "ok"),
    "def main(): return 4\nsys.exit(main())": (4, "failed"),
    "def main(): sys.exit(4)\nif __name__ == '__main__':\n    main()": (4, "failed"),
    "try:\n    sys.exit(4)\nexcept SystemExit:\n    pass": (0, "ok"),
    "try:\n    sys.exit(4)\nexcept SystemExit:\n    pass\nsys.exit(0)": (0, "ok"),
    "try:\n    sys.exit(4)\nexcept SystemExit:\n    pass\nraise SystemExit(0)": (0, "ended"),
    "try:\n    sys.exit(4)\nfinally:\n    pass": (4, "failed"),
    "import threading\nt = threading.Thread(target=sys.exit, args=(4,))\nt.start()\nt.join()": (0, "ok"),
    "import threading\ndef f(): raise ValueError\nt = threading.Thread(target=f)\nt.start()\nt.join()": (0, "ok"),
    "try:\n    raise KeyboardInterrupt\nexcept KeyboardInterrupt:\n    print('stopping')": (0, "ok"),
    "import asyncio\nasync def f(): sys.exit(4)\nasyncio.run(f())": (4, "failed"),
    "import asyncio\nasync def f(): pass\nasyncio.run(f())": (0, "ok"),
    "import atexit\natexit.register(lambda: exp.log({'b': 1}))\nsys.exit(4)": (4, "failed"),
    "import signal, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
    "os.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(9)": (143, "preempted"),
    "try:\n    raise ValueError('inside')\nexcept ValueError:\n    print('failed')\n    sys.exit(1)": (1, "failed"),
    "try:\n    sys.exit(4)\nexcept SystemExit:\n    raise": (4, "failed"),
    "with open(os.devnull):\n    sys.exit(4)": (4, "failed"),
    "os._exit(0)": (0, "killed"),
    "os._exit(3)": (3, "killed"),
    "os.abort()": (-signal.SIGABRT, "killed"),
    "os.execv('/bin/true', ['true'])": (0, "killed"),
}


@pytest.mark.parametrize(("end", "code", "status"), [(end, *expected) for end, expected in EXITS.items()])
def test_exits(python, tmp_path, monkeypatch, end, code, status):
    """W5: the end of a process is the end of its run; what is not known is not called ok; nothing else changes."""
    if status != "killed":  # else it is the writer who says so
        monkeypatch.setenv("MLV_INLINE", "1")
    done = python(BEGIN + end + "\n")

    assert done.returncode == code, done.stderr
    assert settled(tmp_path) == status


@pytest.mark.parametrize(
    ("end", "code", "status"), [(end, *EXITS[end]) for end in ("sys.exit(1)", "sys.exit(0)", "os._exit(3)")]
)
@pytest.mark.parametrize("way", ["-c", "-m", "stdin", "runpy", "a function", "a block"])
def test_ways_to_run(tmp_path, way, end, code, status):
    """W5: however the script is run, and wherever in it the experiment was made."""
    body = BEGIN + end + "\n"
    if way == "a function":
        body = "def main():\n    " + body.replace("\n", "\n    ") + "\nmain()\n"
    if way == "a block":
        body = "import mlv, os, sys\nwith mlv.Exp('runs', 'exp', capture=()) as exp:\n    exp.log({'a': 1})\n    " + end + "\n"
    if way == "runpy":
        (tmp_path / "inner.py").write_text(body)
        body = "import runpy\nrunpy.run_path('inner.py', run_name='__main__')\n"
    (tmp_path / "train.py").write_text(body)
    options = {"-c": ["-c", body], "-m": ["-m", "train"], "stdin": ["-"]}.get(way, ["train.py"])
    done = subprocess.run(
        [sys.executable, *options], cwd=tmp_path, input=body.encode(), capture_output=True, timeout=60, check=False
    )

    assert (done.returncode, settled(tmp_path)) == (code, status)


def test_what_is_told(python, tmp_path):
    """The text that a script leaves with stands in the log."""
    python(BEGIN + "sys.exit('no GPU left')\n")

    exp = Exp.open(tmp_path / "runs" / "exp")
    assert (exp.runs[-1].exception["type"], exp.runs[-1].exception["message"]) == ("SystemExit", "no GPU left")


def test_sys_exit_is_put_back(python):
    """`sys.exit` is what it was when no run goes on, and behaves as ever meanwhile."""
    done = python(
        """
        import sys
        before = sys.exit
        import mlv, pickle
        exp = mlv.Exp("runs", "exp", capture=(), system=False)
        try:
            sys.exit(1, 2)
        except TypeError:
            pass
        try:
            sys.exit([3])
        except SystemExit as error:
            assert error.code == [3]
        assert pickle.loads(pickle.dumps(sys.exit)) is sys.exit
        exp.close()
        print(sys.exit is before)
        """
    )

    assert done.stdout == "True\n", done.stderr


CATCHERS = {
    "except": "try: f(n)\n    except RuntimeError: pass",
    "except as": "try: f(n)\n    except RuntimeError as error: print(error)",
    "suppress": "with suppress(RuntimeError): f(n)",
    "thread": "t = threading.Thread(target=f, args=(n,))\n    t.start()\n    t.join()",
    "kept": "try: f(n)\n    except RuntimeError as error: kept.append(error)",
    "future": "with ThreadPoolExecutor(1) as pool: pool.submit(f, n)",
    "future, kept": "with ThreadPoolExecutor(1) as pool: kept.append(pool.submit(f, n))",
    "optuna": "trial(n)",
    "task": "asyncio.run(task(n))",
    "generator": "for _ in each(n): pass",
}
SURE = ("except", "except as", "suppress", "thread", "kept", "future, kept")
"""Where every version of Python lets it be seen that the exception took the experiment with it."""
HELPERS = """
threading.excepthook = print
kept = []
def trial(n):
    func_err = None
    try:
        f(n)
    except Exception as e:
        func_err, info = e, sys.exc_info()
    return n
async def task(n):
    async def inner(): f(n)
    await asyncio.gather(inner(), return_exceptions=True)
def each(n):
    try:
        yield f(n)
    except RuntimeError:
        pass
def f(n):
    exp = make(n)
    if n:
        raise RuntimeError("no")
"""


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize("catcher", CATCHERS)
def test_caught(python, tmp_path, catcher):
    """W5: a function that an exception left, which a framework caught, is no good end; the one that returned is."""
    loop = "def study(n):\n    " + CATCHERS[catcher] + "\nfor n in range(2):\n    study(n)\n"
    done = python(MAKE + HELPERS + loop)

    assert done.returncode == 0, done.stderr
    assert settled(tmp_path, "exp0") in ("ok", "ended")
    assert settled(tmp_path, "exp1") in ("failed", *(() if catcher in SURE else ("ended",)))


GOOD = {
    "function": "def f():\n    exp = make()\nf()",
    "factory": "def f():\n    exp = make()\n    g(exp)\ndef g(exp): exp.log({'b': 1})\nf()",
    "object": "class Trainer:\n    def __init__(self): self.exp = make()\ndef f():\n    t = Trainer()\nf()",
    "rebound": "exp = new()\nexp = None",
    "deleted": "exp = mlv.Exp('runs', 'exp0', capture=(), system=False)\ndel exp",
    "loop": "for n in range(2):\n    exp = mlv.Exp('runs', f'exp{n}', capture=(), system=False)",
    "mapped": "def f(n):\n    exp = make(n)\nlist(map(f, [0]))",
    "thread": "def f():\n    exp = make()\nt = threading.Thread(target=f)\nt.start()\nt.join()",
    "in an except": "def f():\n    exp = make()\ntry: 1 / 0\nexcept ZeroDivisionError: f()",
    "caught inside": "def f():\n    exp = mlv.Exp('runs', 'exp0')\n    try: 1 / 0\n    except ZeroDivisionError: pass\nf()",
    "coroutine": "async def f():\n    exp = mlv.Exp('runs', 'exp0')\nwith suppress(StopIteration): f().send(None)",
}


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize("scope", GOOD)
def test_returned(python, tmp_path, scope):
    """A function that returns, or a name that is let go of, ends the run well."""
    done = python(MAKE + GOOD[scope] + "\n")

    assert done.returncode == 0, done.stderr
    assert settled(tmp_path, "exp0") == "ok"


IN_FLIGHT = {
    "finally": "def f():\n    exp = make()\n    try: raise RuntimeError('no')\n    finally: del exp\n",
    "except": "def f():\n    exp = make()\n    try: raise RuntimeError('no')\n    except RuntimeError: exp = None\n",
}


@pytest.mark.parametrize("where", IN_FLIGHT)
def test_let_go_of_while_an_exception_is_handled(python, tmp_path, where):
    """What is let go of because of an exception fails with it."""
    python(MAKE + IN_FLIGHT[where] + "try:\n    f()\nexcept RuntimeError:\n    pass\n")

    assert settled(tmp_path, "exp0") == "failed"
    assert Exp.open(tmp_path / "runs" / "exp0").runs[-1].exception["message"] == "no"


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("pass", "ok"),
        ("sys.exit(3)", "failed"),
        ("raise SystemExit(3)", "failed"),
        ("1 / 0", "failed"),
        ("os._exit(3)", "killed"),
    ],
)
def test_children(python, tmp_path, method, end, status):
    """W5: a child of multiprocessing ends as it ends, and the parent as it does."""
    python(
        f"""
        import multiprocessing, mlv, os, sys
        def work(exp):
            exp.log({{"b": 1}})
            {end}
        if __name__ == "__main__":
            exp = mlv.Exp("runs", "exp", capture=(), system=False)
            exp.log({{"a": 1}})
            child = multiprocessing.get_context("{method}").Process(target=work, args=(exp,))
            child.start()
            child.join()
        """
    )

    exp = Exp.open(tmp_path / "runs" / "exp")
    wait_until(lambda: exp.runs[0].children and exp.runs[0].children[0].status != "running")
    assert (exp.status, exp.runs[0].children[0].status) == ("ok", status)


def test_a_cancelled_task(python, tmp_path):
    """A block that asyncio cancels is interrupted, not failed."""
    python(
        """
        import asyncio, mlv
        async def train():
            with mlv.Exp("runs", "exp", capture=(), system=False) as exp:
                await asyncio.sleep(60)
        async def main():
            task = asyncio.create_task(train())
            await asyncio.sleep(0.01)
            task.cancel()
        asyncio.run(main())
        """
    )

    assert settled(tmp_path) == "interrupted"


DAEMONS = {"fork": "if os.fork(): {leave}", "double fork": "if os.fork(): {leave}\nos.setsid()\nif os.fork(): os._exit(0)"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("leave", ["os._exit(0)", "sys.exit(0)"])
@pytest.mark.parametrize(("end", "status"), [("", "ok"), ("1 / 0", "failed"), ("sys.exit(3)", "failed")])
@pytest.mark.parametrize("daemon", DAEMONS)
def test_daemons(python, tmp_path, daemon, end, status, leave):
    """W17: the process that goes on decides, where the one that began has left."""
    quiet = (
        "sys.stdout = sys.stderr = open(os.devnull, 'w')\nos.dup2(sys.stderr.fileno(), 1)\nos.dup2(sys.stderr.fileno(), 2)\n"
    )
    # What it logs before the first process ends counts as that of a worker, until it logs again.
    wait = "import time\nwhile not list(exp.events('run_ended')): time.sleep(0.01)\n"
    train = "exp.log({'b': 1})\nwhile not os.path.exists('go'): time.sleep(0.01)\nexp.log({'b': 2})\n"
    script = BEGIN + DAEMONS[daemon].format(leave=leave) + "\n" + quiet + wait + train + end + "\n"
    done = python(script)
    exp = Exp.open(tmp_path / "runs" / "exp")
    wait_until(lambda: len(list(exp.events("metrics"))) == 2)
    wait_until(lambda: len(list(exp.events("run_ended"))) == 1)
    assert (done.returncode, exp.status) == (0, "running")
    (tmp_path / "go").touch()

    wait_until(lambda: exp.status != "running")
    assert (exp.status, [run.status for run in exp.runs]) == (status, [status])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("worker", ["os.fork()", "multiprocessing"])
def test_killed_with_its_workers(python, tmp_path, worker):
    """A run that was killed stays killed, though workers of it ended well before or after."""
    start = {
        "os.fork()": """
            import time
            if not os.fork():
                exp.log({"b": 1})
                exp.close()
                os._exit(0)
            os.wait()
            time.sleep(5.5)
            exp.log({"c": 1})
            """,
        "multiprocessing": """
            import multiprocessing, time
            def f():
                exp.log({"b": 1})
                while os.getppid() == parent: time.sleep(0.01)
            parent = os.getpid()
            multiprocessing.get_context("fork").Process(target=f).start()
            while len(list(exp.events("metrics"))) < 2: time.sleep(0.01)
            """,
    }
    python(BEGIN + textwrap.dedent(start[worker]) + "os.kill(os.getpid(), 9)\n")

    assert settled(tmp_path) == "killed"
    exp = Exp.open(tmp_path / "runs" / "exp")
    wait_until(lambda: exp.runs[0].children[0].status == "ok")
    assert exp.status == "killed"
