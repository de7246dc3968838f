"""A process does with an experiment what it would have done without one: signals, hooks and process-wide state."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import wait_until

from mlv import Exp

if os.name != "posix":
    pytest.skip("needs signals", allow_module_level=True)

BEGIN = """
import asyncio, faulthandler, multiprocessing, os, signal, subprocess, sys, threading, time
TERM, USR1, DFL = signal.SIGTERM, signal.SIGUSR1, signal.SIG_DFL

class Without:
    def log(self, *given, **named): pass
    close = flush = log

def begin():
    if sys.argv[1] == "without":
        return Without()
    import mlv
    exp = mlv.Exp("runs", "exp", capture=())
    exp.log({"a": 1})
    return exp

def say(*words):
    print(*words, flush=True)

def kill(number=TERM):
    os.kill(os.getpid(), number)
    time.sleep(0.05)  # the handler runs here

def mine(number, frame):
    say("mine", number)
"""

SIGNALS = {
    "nobody": ("exp = begin()\nkill()", ["SIGTERM"]),
    "nobody, SIGUSR1": ("exp = begin()\nkill(USR1)", []),
    "ignored": ("signal.signal(TERM, signal.SIG_IGN)\nexp = begin()\nkill()", []),
    "set before": ("signal.signal(TERM, mine)\nexp = begin()\nkill()\nsay('on')", ["SIGTERM"]),
    "set before, SIGUSR1": ("signal.signal(USR1, mine)\nexp = begin()\nkill(USR1)\nsay('on')", ["SIGUSR1"]),
    "set after": ("exp = begin()\nsignal.signal(TERM, mine)\nkill()\nsay('on')", []),
    "set after, calls the earlier one": (
        """
        exp = begin()
        before = signal.getsignal(TERM)
        def chaining(number, frame):
            say("chaining")
            if callable(before):
                before(number, frame)
        signal.signal(TERM, chaining)
        kill()
        kill()
        say("on")
        """,
        ["SIGTERM", "SIGTERM"],
    ),
    "set before, between and after, all chained": (
        """
        def chain(word):
            before = signal.getsignal(TERM)
            def chaining(number, frame):
                say(word)
                if callable(before):
                    before(number, frame)
            signal.signal(TERM, chaining)
        chain("before")
        exp = begin()
        chain("between")
        if sys.argv[1] == "with":
            import mlv
            other = mlv.Exp("runs", "other", capture=())
        chain("after")
        kill()
        say("on")
        """,
        ["SIGTERM"],
    ),
    "set after, puts the earlier one back and sends it again": (
        """
        exp = begin()
        def restoring(number, frame):
            say("restoring")
            signal.signal(TERM, before)
            os.kill(os.getpid(), TERM)
        before = signal.signal(TERM, restoring)
        kill()
        say("never")
        """,
        ["SIGTERM"],
    ),
    "put back after the end of the run": (
        "exp = begin()\nbefore = signal.signal(TERM, mine)\nexp.close()\nsignal.signal(TERM, before)\nkill()\nsay('never')",
        [],
    ),
    "put back after the end of the run, with one before": (
        """
        signal.signal(TERM, mine)
        exp = begin()
        before = signal.signal(TERM, lambda *given: say("later"))
        exp.close()
        signal.signal(TERM, before)
        kill()
        say("on")
        """,
        [],
    ),
    "called after the end of the run": (
        """
        exp = begin()
        before = signal.getsignal(TERM)
        signal.signal(TERM, lambda *given: callable(before) and before(*given))
        exp.close()
        kill()
        say("on")
        """,
        [],
    ),
    "requeued, as Lightning does it": (
        """
        exp = begin()
        def requeue(number, frame):
            say("requeue")
        def stop(number, frame):
            say("stop")
        def taken(number):
            return signal.getsignal(number) not in (None, DFL)
        if not taken(USR1):
            signal.signal(USR1, requeue)
        handlers = [stop, *([signal.getsignal(TERM)] if taken(TERM) else [])]
        signal.signal(TERM, lambda *given: [handler(*given) for handler in handlers])
        kill(USR1)
        kill(TERM)
        say("on")
        """,
        ["SIGTERM"],
    ),
    "requeued, as submitit does it": (
        """
        signal.signal(USR1, lambda *_: say("checkpoint") or sys.exit(-1))
        signal.signal(TERM, lambda *_: say("bypass"))
        exp = begin()
        kill(TERM)
        kill(USR1)
        say("never")
        """,
        ["SIGTERM", "SIGUSR1"],
    ),
    "raised, as torchelastic does it": (
        """
        class SignalException(Exception): pass
        def raising(number, frame):
            raise SignalException(number)
        signal.signal(TERM, raising)
        exp = begin()
        try:
            kill()
        except SignalException as error:
            say("caught", error)
        """,
        ["SIGTERM"],
    ),
    "asyncio, before": (
        """
        async def main():
            done = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(TERM, done.set)
            exp = begin()
            os.kill(os.getpid(), TERM)
            await asyncio.wait_for(done.wait(), 10)
            say("done")
        asyncio.run(main())
        """,
        ["SIGTERM"],
    ),
    "asyncio, after": (
        """
        exp = begin()
        async def main():
            done = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(TERM, done.set)
            os.kill(os.getpid(), TERM)
            await asyncio.wait_for(done.wait(), 10)
            asyncio.get_running_loop().remove_signal_handler(TERM)
            say("done", signal.getsignal(TERM))
        asyncio.run(main())
        """,
        [],
    ),
    "a wake-up descriptor": (
        """
        read, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write)
        signal.signal(TERM, mine)
        exp = begin()
        kill()
        say(os.read(read, 10), signal.set_wakeup_fd(-1) == write)
        """,
        ["SIGTERM"],
    ),
    "waited for": (
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, {TERM, USR1})
        exp = begin()
        os.kill(os.getpid(), TERM)
        say(signal.sigwait({TERM}))
        os.kill(os.getpid(), USR1)
        say(signal.sigtimedwait({USR1}, 10).si_signo)
        """,
        [],
    ),
    "blocked": ("exp = begin()\nsignal.pthread_sigmask(signal.SIG_BLOCK, {TERM})\nkill()\nsay(signal.sigpending())", []),
    "a pause": (
        """
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.alarm(20)  # where the other signal came before the pause
        signal.signal(TERM, mine)
        exp = begin()
        threading.Timer(0.2, kill).start()
        signal.pause()
        say("on")
        """,
        ["SIGTERM"],
    ),
    "an error of a handler": ("signal.signal(TERM, lambda *_: 1 / 0)\nexp = begin()\nkill()", ["SIGTERM"]),
    "faulthandler, before": (
        "faulthandler.register(TERM, sys.stdout)\nfaulthandler.register(USR1, sys.stdout)\nexp = begin()\n"
        "kill(USR1)\nkill(TERM)\nsay('on')",
        [],
    ),
    "faulthandler, after": (
        "exp = begin()\nfaulthandler.register(TERM, sys.stdout)\nfaulthandler.register(USR1, sys.stdout)\n"
        "kill(USR1)\nkill(TERM)\nexp.close()\nkill(TERM)\nsay('on')",
        [],
    ),
    "faulthandler over a handler": (
        """
        signal.signal(TERM, mine)
        faulthandler.register(TERM, sys.stdout, chain=True)
        exp = begin()
        kill()
        exp.close()
        kill()
        say("on")
        """,
        ["SIGTERM"],
    ),
    "faulthandler after, chained": (
        "exp = begin()\nfaulthandler.register(TERM, sys.stdout, chain=True)\nexp.close()\nkill()\nsay('never')",
        [],
    ),
    "from a thread": (
        "signal.signal(TERM, mine)\nthread = threading.Thread(target=begin)\nthread.start(), thread.join()\nkill()\nsay('on')",
        None,
    ),
    "children": (
        """
        exp = begin()
        if os.fork() == 0:
            say(signal.getsignal(TERM))
            kill()
        say(os.wait()[1])
        process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
        process.start()
        process.terminate()
        process.join()
        say(process.exitcode)
        child = subprocess.Popen(["sleep", "60"])
        child.terminate()
        say(child.wait())
        """,
        [],
    ),
    "a shell that was started with nohup": (
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\nexp = begin()\nkill(signal.SIGHUP)\nsay('on')",
        [],
    ),
    "system calls that are not interrupted": (
        """
        import ctypes
        signal.signal(TERM, mine)
        signal.siginterrupt(TERM, False)
        exp = begin()
        read, write = os.pipe()
        threading.Timer(0.2, os.kill, (os.getpid(), TERM)).start()
        threading.Timer(0.6, os.write, (write, b"x")).start()
        say(ctypes.CDLL(None).read(read, ctypes.create_string_buffer(1), 1))
        """,
        ["SIGTERM"],
    ),
}


def ran(folder: Path, script: str, mode: str) -> tuple[int, str, str]:
    """How a script ends, and what it prints, with an experiment or without one."""
    path = folder / f"{mode}.py"
    path.write_text(BEGIN + 'if __name__ == "__main__":\n' + textwrap.indent(textwrap.dedent(script), "    "))
    environ = {**os.environ, "SLURM_JOB_ID": "7", "PYTHONWARNINGS": "ignore::DeprecationWarning"}
    done = subprocess.run(
        [sys.executable, str(path), mode], cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    printed = re.sub("0x[0-9a-f]+", "ADDRESS", done.stdout.replace(path.name, "script.py"))
    return done.returncode, printed, done.stderr


@pytest.mark.parametrize("case", SIGNALS)
def test_signals(tmp_path, case):
    """W4: whoever handles a signal, and whenever, it does what it would have done; a notice is where Python sees it."""
    script, notices = SIGNALS[case]
    without, with_ = (ran(tmp_path, script, mode) for mode in ("without", "with"))

    assert with_[:2] == without[:2], with_[2]
    if notices is not None:
        exp = Exp.open(tmp_path / "runs" / "exp")
        wait_until(lambda: exp.status != "running")  # a process that dies of a signal does not wait for long
        assert [event.data["extra"]["signal"] for event in exp.events("message")] == notices


STATE = """
import asyncio, builtins, decimal, faulthandler, gc, json, locale, logging, multiprocessing
import os, random, resource, signal, socket, sys, tempfile, threading, time, traceback, warnings

def stream(name):
    stream = getattr(sys, name)
    return [id(stream), type(stream).__name__, stream.encoding, stream.errors, stream.line_buffering, stream.closed,
            stream.fileno(), "write" in vars(stream), os.get_inheritable(stream.fileno()), os.get_blocking(stream.fileno())]

def logger(name):
    logger = logging.getLogger(name)
    return [logger.level, list(map(id, logger.handlers)), logger.propagate, logger.disabled, list(map(id, logger.filters))]

def children():
    try:
        return os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None

STATE = {
    "signals": lambda: {int(n): str(signal.getsignal(n)) for n in signal.valid_signals() - {signal.SIGTERM}},
    "SIGTERM": lambda: str(signal.getsignal(signal.SIGTERM)),
    "signal mask": lambda: sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "timers": lambda: [signal.getitimer(timer) for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)],
    "hooks": lambda: [id(hook) for hook in (sys.excepthook, sys.unraisablehook, sys.displayhook, sys.breakpointhook,
                      threading.excepthook, traceback.print_exc, traceback.print_exception, builtins.print, builtins.open,
                      builtins.__import__, os.fork, os.write, os._exit, sys.exit, threading.Thread.start, warnings.showwarning,
                      warnings.warn, warnings._showwarnmsg_impl, warnings.formatwarning)],
    "builtins": lambda: sorted(vars(builtins)),
    "tracing": lambda: [sys.gettrace(), sys.getprofile(), sys.getrecursionlimit(), sys.getswitchinterval()],
    "warnings": lambda: [str(one) for one in warnings.filters],
    "logging": lambda: [logging.raiseExceptions, logging.root.manager.disable, id(logging.lastResort),
                        id(logging.getLoggerClass()), id(logging.getLogRecordFactory()),
                        logger(None), logger("asyncio"), logger("concurrent")],
    "streams": lambda: [stream(name) for name in ("stdin", "stdout", "stderr")],
    "original streams": lambda: [id(sys.__stdin__), id(sys.__stdout__), id(sys.__stderr__)],
    "descriptors": lambda: [list(os.fstat(fd))[:3] for fd in range(3)],
    "locale": lambda: [locale.setlocale(locale.LC_ALL), time.tzname, sys.getfilesystemencoding()],
    "umask": lambda: umask(),
    "folder": lambda: [os.getcwd(), tempfile.gettempdir()],
    "environment": lambda: dict(os.environ),
    "imports": lambda: [sys.path[:], list(map(str, sys.meta_path)), len(sys.path_hooks), sys.dont_write_bytecode, sys.argv[:]],
    "garbage": lambda: [gc.isenabled(), gc.get_threshold(), len(gc.callbacks), gc.get_debug(), gc.get_freeze_count()],
    "faulthandler": lambda: faulthandler.is_enabled(),
    "random": lambda: hash(random.getstate()),
    "decimal": lambda: str(decimal.getcontext()),
    "sockets": lambda: socket.getdefaulttimeout(),
    "asyncio": lambda: id(asyncio.get_event_loop_policy()),
    "multiprocessing": lambda: [multiprocessing.get_start_method(allow_none=True), len(multiprocessing.active_children())],
    "limits": lambda: [resource.getrlimit(n) for n in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE, resource.RLIMIT_STACK)],
    "scheduling": lambda: [os.getpriority(os.PRIO_PROCESS, 0), sorted(os.sched_getaffinity(0))],
    "process": lambda: [os.getpgid(0), os.getsid(0), children(), [t.name for t in threading.enumerate()],
                        threading.stack_size(), open("/proc/self/comm").read()],
}

def umask():
    old = os.umask(0o22)
    os.umask(old)
    return old

def state():
    return {name: look() for name, look in STATE.items()}

os.umask(0o27)
state()  # what looking at it changes is changed once
before = state()
import mlv
imported = state()
exp = mlv.Exp("runs", "exp", {"lr": 0.1}, console=sys.argv[1] == "console")
exp.log({"loss": 1.0}, step=1)
exp.log.info("a message")
exp.log("rejected", object())
with exp.file("a.txt", "w") as file:
    file.write("x")
exp.flush()
during = state()
exp.close()
after = state()
differing = {name: [what for what, one in (("import", imported), ("run", during), ("end", after)) if one[name] != before[name]]
             for name in before}
print(json.dumps({name: moments for name, moments in differing.items() if moments}))
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks at /proc")
@pytest.mark.parametrize(
    ("mode", "differing"),
    [
        ("plain", {"SIGTERM": ["run"], "hooks": ["run"]}),
        ("console", {"SIGTERM": ["run"], "hooks": ["run"], "descriptors": ["run"], "process": ["run"]}),
    ],
)
def test_everything_else(python, mode, differing):
    """
    W4: a run changes nothing that the whole process shares but the console that it captures and what tells how it ended (the
    handler of SIGTERM and `sys.exit`).
    """
    done = python(STATE, mode)

    assert json.loads(done.stdout.splitlines()[-1]) == differing, done.stderr
