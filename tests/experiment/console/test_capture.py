"""Console capture: what is printed is shown as before, and is in the log, whoever printed it and whoever is killed."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import pytest
from conftest import everything_from, run_command, wait_until

import mlv

LIBRARY = """
import ctypes, os, subprocess, sys, time
import mlv
"""
TOKEN = "ghp_abcdefghij1234567890abcdefghijklmnop"


def start(tmp_path, source, **options):
    """Start a script that captures its console."""
    script = tmp_path / "script.py"
    script.write_text(LIBRARY + textwrap.dedent(source))
    command = [sys.executable, "-W", "error", str(script), str(tmp_path / "runs")]
    return subprocess.Popen(command, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": tmp_path, **options})


def printed(folder, name):
    """The lines that are logged as printed on a descriptor."""
    events = whole_lines(folder / "console.log.jsonl")
    return [event["data"]["message"] for event in events if event["type"] == "message" and event["name"] == name]


def whole_lines(path):
    """The events of a file that is written meanwhile."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def finished(process):
    """What a script printed; it ended well."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err.decode()
    return out, err


def tee_of(folder):
    """The process that captures."""
    lines = whole_lines(folder / "log.jsonl")
    started = [line["data"] for line in lines if line["type"] == "run_started" and "parent_run" in line["data"]]
    return started[-1]["process"]["pid"] if started else None


def is_intact(folder):
    return run_command("verify", folder).returncode == 0


def test_everybody_is_heard(tmp_path):
    """What Python, a C library and children print is shown, in the order of each descriptor, and is in the log."""
    process = start(
        tmp_path,
        """
        exp = mlv.Exp(sys.argv[1], "exp", console=True)
        print("python", flush=True)
        libc = ctypes.CDLL(None)
        libc.puts(b"library")
        libc.fflush(None)
        subprocess.run(["sh", "-c", "echo child; echo complaint >&2"])
        if os.fork() == 0:
            print("fork", flush=True)
            os._exit(0)
        os.wait()
        print("last", end="")
        exp.close()
        print(" and more")
        """,
    )
    out, err = finished(process)
    folder = tmp_path / "runs" / "exp"

    assert out == b"python\nlibrary\nchild\nfork\nlast and more\n"
    assert b"complaint\n" in err
    assert printed(folder, "stdout") == ["python", "library", "child", "fork", "last"]
    assert "complaint" in printed(folder, "stderr")
    assert is_intact(folder)


def test_bytes_of_any_kind(tmp_path):
    """Bytes that are no text, long lines and the rest of a line pass as they are; the log has what can be read of them."""
    process = start(
        tmp_path,
        r"""
        exp = mlv.Exp(sys.argv[1], "exp", console=True)
        os.write(1, b"\xff\x00z\n" + b"x" * 3_000_000 + b"\n" + "\u00e4\U0001f600\r\n".encode() + b"rest")
        """,
    )
    out, _ = finished(process)
    lines = printed(tmp_path / "runs" / "exp", "stdout")

    assert out == b"\xff\x00z\n" + b"x" * 3_000_000 + b"\n\xc3\xa4\xf0\x9f\x98\x80\r\nrest"
    assert lines[0] == "\ufffd\0z"
    assert "".join(lines[1:-2]) == "x" * 3_000_000
    assert lines[-2:] == ["\u00e4\U0001f600", "rest"]


def test_an_exception(tmp_path):
    """The traceback that ends a script is in the log, and so is what was printed before it."""
    process = start(tmp_path, 'exp = mlv.Exp(sys.argv[1], "exp", console=True)\nprint("before")\nraise ValueError("why")')
    out, err = process.communicate(timeout=60)
    folder = tmp_path / "runs" / "exp"

    assert (out, b"ValueError: why" in err) == (b"before\n", True)
    assert printed(folder, "stdout") == ["before"]
    assert printed(folder, "stderr")[-1] == "ValueError: why"
    assert mlv.Exp.open(folder).status == "failed"


def test_killed_while_printing(tmp_path):
    """A script that is killed loses nothing of what it had printed."""
    process = start(
        tmp_path,
        """
        exp = mlv.Exp(sys.argv[1], "exp", console=True)
        for i in range(20_000):
            print(i)
        print("end", flush=True)
        os.kill(os.getpid(), 9)
        """,
    )
    out, _ = process.communicate(timeout=60)
    folder = tmp_path / "runs" / "exp"
    wait_until(lambda: printed(folder, "stdout")[-1:] == ["end"])

    assert process.returncode == -signal.SIGKILL
    assert printed(folder, "stdout") == out.decode().splitlines() == [*map(str, range(20_000)), "end"]
    wait_until(lambda: is_intact(folder))
    assert mlv.Exp.open(folder).status == "killed"


def test_killed_tee(tmp_path):
    """Killing what captures neither ends nor holds up the script, and what it prints is shown; another one takes over."""
    process = start(
        tmp_path,
        """
        exp = mlv.Exp(sys.argv[1], "exp", console=True)
        print("first", flush=True)
        sys.stdin.readline()
        for i in range(200_000):
            print("line", i)
        print("last", flush=True)
        """,
        stdin=subprocess.PIPE,
    )
    folder = tmp_path / "runs" / "exp"
    wait_until(lambda: printed(folder, "stdout") == ["first"])
    os.kill(tee_of(folder), signal.SIGKILL)

    out, err = process.communicate(b"\n", timeout=60)

    assert process.returncode == 0, err.decode()
    assert out.splitlines() == [b"first", *(b"line %d" % i for i in range(200_000)), b"last"]
    assert printed(folder, "stdout") == [line.decode() for line in out.splitlines()]
    wait_until(lambda: is_intact(folder))


def test_tees_that_are_always_killed(tmp_path):
    """Where it is killed again and again, the script goes on and what it prints is shown."""
    process = start(
        tmp_path,
        """
        warnings = __import__("warnings")
        warnings.simplefilter("default")
        exp = mlv.Exp(sys.argv[1], "exp", console=True)
        for line in sys.stdin:
            print(line, end="", flush=True)
        """,
        stdin=subprocess.PIPE,
    )
    folder, seen = tmp_path / "runs" / "exp", set()
    wait_until(lambda: (folder / "log.jsonl").exists())
    for _ in range(4):
        process.stdin.write(b"again\n")
        process.stdin.flush()
        wait_until(lambda: tee_of(folder) not in {None, *seen})
        seen.add(tee_of(folder))
        os.kill(tee_of(folder), signal.SIGKILL)

    out, err = process.communicate(b"x" * 100_000 + b"\n", timeout=60)

    assert process.returncode == 0
    assert out.splitlines()[-1] == b"x" * 100_000
    assert b"not captured any more" in err


def test_a_terminal_stays_one(tmp_path):
    """What writes to a terminal still finds one, of the same size, and it gets the same bytes: colours and bars too."""
    ours, theirs = pty.openpty()
    import fcntl
    import struct
    import termios

    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 33, 111, 0, 0))
    process = start(
        tmp_path,
        r"""
        exp = mlv.Exp(sys.argv[1], "exp", console=True)
        print(sys.stdout.isatty(), os.get_terminal_size(1).columns)
        for percent in range(0, 101, 10):
            print(f"\r\x1b[32m{percent}%\x1b[0m", end="", flush=True)
        print()
        sys.stdin.readline()
        while os.get_terminal_size(1).columns != 99:
            time.sleep(0.01)
        print("wider")
        """,
        stdin=subprocess.PIPE,
        stdout=theirs,
    )
    folder = tmp_path / "runs" / "exp"
    wait_until(lambda: len(printed(folder, "stdout")) == 2)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 33, 99, 0, 0))
    os.close(theirs)
    process.communicate(b"\n", timeout=60)
    shown = everything_from(ours)

    assert process.returncode == 0
    assert shown.startswith(b"True 111\r\n\r\x1b[32m0%\x1b[0m\r\x1b[32m10%")
    assert shown.endswith(b"100%\x1b[0m\r\nwider\r\n")
    assert printed(folder, "stdout") == ["True 111", "100%", "wider"]


def test_nobody_looks_any_more(tmp_path):
    """Where the reader of the output goes away, the script goes on, and the log has all of it."""
    process = start(
        tmp_path,
        """
        exp = mlv.Exp(sys.argv[1], "exp", console=True)
        sys.stdin.readline()
        for i in range(1000):
            print(i, flush=True)
        """,
        stdin=subprocess.PIPE,
    )
    process.stdout.close()
    process.stdin.write(b"\n")
    process.stdin.close()

    assert process.wait(60) == 0, process.stderr.read().decode()
    assert printed(tmp_path / "runs" / "exp", "stdout") == [str(i) for i in range(1000)]
    process.stderr.close()


def test_no_token_reaches_the_disk(tmp_path):
    """Credentials that are printed or logged are shown, and nothing of them is in any file, unless they are exempt."""
    source = f"""
        options = {{"redact": ["plum-[0-9]+"], "redact_except": eval(sys.argv[3]), "capture": ()}}
        exp = mlv.Exp(sys.argv[1], sys.argv[2], console=True, **options)
        print("a token: {TOKEN} and plum-7")
        print("-----BEGIN RSA PRIVATE KEY-----", "MIIEabcd" * 8, "-----END RSA PRIVATE KEY-----", "after", sep="\\n")
        exp.log.info("using {TOKEN}", other="plum-8")
        exp.log.warning("x" * 100_000 + " {TOKEN}")
        exp.add_note("{TOKEN}")
        raise ValueError("{TOKEN}")
        """
    for name, keep in (("hidden", []), ("kept", ["console"])):
        script = tmp_path / "script.py"
        script.write_text(LIBRARY + textwrap.dedent(source))
        command = [sys.executable, str(script), str(tmp_path / "runs"), name, repr(keep)]
        found = subprocess.run(command, capture_output=True, timeout=60, check=False)
        assert TOKEN.encode() in found.stdout
    hidden, kept = (tmp_path / "runs" / name for name in ("hidden", "kept"))
    content = b"".join(path.read_bytes() for path in hidden.rglob("*") if path.is_file())

    assert TOKEN.encode() not in content
    assert b"plum-7" not in content
    assert b"plum-8" not in content
    assert b"MIIEabcd" not in content
    assert printed(hidden, "stdout")[0] == "a token: <redacted> and <redacted>"
    assert printed(hidden, "stdout")[-1] == "after"
    assert TOKEN in printed(kept, "stdout")[0]
    assert is_intact(hidden)


def test_in_a_notebook(tmp_path, capsys):
    """What is printed by a stream without a descriptor, as in a notebook, is shown there and is in the log."""
    before = sys.stdout.write
    exp = mlv.Exp(tmp_path, "exp", console=True)
    print("in a cell")
    exp.close()
    print("after")

    assert capsys.readouterr().out == "in a cell\nafter\n"
    assert "in a cell" in printed(exp.path, "stdout")
    assert "after" not in printed(exp.path, "stdout")
    assert sys.stdout.write == before


def test_descriptors_are_given_back(tmp_path, capfd):
    """After the end nothing is open that was not before, and the descriptors are what they were."""

    def is_open():
        links = {fd: Path("/proc/self/fd") / fd for fd in os.listdir("/proc/self/fd")}
        return {fd: os.readlink(link) for fd, link in links.items() if link.exists()}

    mlv.Exp(tmp_path, "warm", console=True).close()
    before = is_open()

    mlv.Exp(tmp_path, "exp", console=True).close()

    assert is_open() == before


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_several_at_once(tmp_path, order):
    """W13: several experiments may capture, and end in any order: each has what is printed while it does; it is shown once."""
    process = start(
        tmp_path,
        f"""
        exps = []
        for name in "abc":
            exps.append(mlv.Exp(sys.argv[1], name, console=True))
            print("begun", name, flush=True)
        os.write(1, b"all\\n")
        for i in {order}:
            print("until", "abc"[i], flush=True)
            exps[i].close()
        print("nobody")
        """,
    )
    out, _ = finished(process)
    begun = [f"begun {name}" for name in "abc"]
    ends = [f"until {'abc'[i]}" for i in order]

    assert out.decode().splitlines() == [*begun, "all", *ends, "nobody"]
    for i, name in enumerate("abc"):
        assert printed(tmp_path / "runs" / name, "stdout") == [*begun[i:], "all", *ends[: order.index(i) + 1]]
        assert is_intact(tmp_path / "runs" / name)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_several_in_a_notebook(tmp_path, capsys, order):
    """W13: what is written into a stream without a descriptor is in the log of each that captures."""
    exps = [mlv.Exp(tmp_path, name, console=True) for name in "ab"]
    print("both")
    for i in order:
        print("until", i)
        exps[i].close()
    print("nobody")

    for i, exp in enumerate(exps):
        expected = ["both", *(f"until {j}" for j in order[: order.index(i) + 1])]
        assert [line for line in printed(exp.path, "stdout") if "mlv:" not in line] == expected
    assert capsys.readouterr().out == f"both\nuntil {order[0]}\nuntil {order[1]}\nnobody\n"


CELLS = """
import io
class OutStream(io.TextIOBase):
    def __init__(self): self.texts = []
    def write(self, text): self.texts.append(text); return len(text)

def cell(function):  # as IPython 9 does it
    stream = sys.stdout
    write = stream.write
    def recorded(text, *given, **named):
        record.append(text)
        return write(text, *given, **named)
    stream.write = recorded
    try:
        function()
    finally:
        stream.write = write

def begin():
    global exp
    exp = mlv.Exp(sys.argv[1], "exp", console=True, capture=())
    print("begun")

shown, record = OutStream(), []
kernel, sys.stdout = sys.stdout, shown
"""


def test_cells(tmp_path):
    """W10: what is printed in later cells is captured too, although a notebook puts back each time what was there before."""
    process = start(
        tmp_path,
        CELLS
        + textwrap.dedent("""
        cell(lambda: print("before"))
        cell(begin)
        for i in range(2000):
            cell(lambda: print("cell", i))
        cell(lambda: (print("last"), exp.close(), print("after")))
        cell(lambda: print("never"))
        kernel.write("".join(shown.texts) + str(shown.texts == record) + str(type(shown) is OutStream))
        """),
    )
    out, _ = finished(process)
    cells = [f"cell {i}" for i in range(2000)]

    assert out.decode().splitlines() == ["before", "begun", *cells, "last", "after", "never", "TrueTrue"]
    assert printed(tmp_path / "runs" / "exp", "stdout") == ["begun", *cells, "last"]


OTHERS = {
    "a tee": "class Other:\n    def __init__(self): self.out = sys.stdout\n    def write(self, text): self.out.write(text)",
    "several": "class Other:\n    all = [sys.stdout]\n    def write(self, text): self.all[0].write(text)",
    "a proxy": "class Other:\n    def __getattr__(self, name): return getattr(sys.__stdout__, name)",
    "tqdm": "from tqdm.contrib import DummyTqdmFile\ndef Other(): return DummyTqdmFile(sys.stdout)",
    "rich": "import rich, rich.file_proxy\ndef Other(): return rich.file_proxy.FileProxy(rich.get_console(), sys.stdout)",
    "the descriptor": "def Other(): return open(1, 'w', closefd=False)",
    "a copy of it": "def Other(): return open(os.dup(1), 'w')",
    "a file": "def Other(): return open('text', 'w')",
    "a buffer": "def Other(): return __import__('io').StringIO()",
}


@pytest.mark.parametrize(
    ("other", "when"),
    [*((other, when) for other in OTHERS for when in ("before", "around")), ("a tee", "during"), ("a file", "during")],
)
def test_other_streams(tmp_path, other, when):
    """W10: what is printed into a stream that somebody puts in the place of stdout is in the log, and once."""
    if other in ("tqdm", "rich"):
        pytest.importorskip(other)
    begin = 'exp = mlv.Exp(sys.argv[1], "exp", console=True, capture=())'
    put, back = "sys.stdout = stream = Other()", "sys.stdout = sys.__stdout__"
    steps = {"before": [put, begin], "during": [begin, put], "around": [put, begin, back]}[when]
    flush = ["Other.flush = lambda self: sys.__stdout__.flush()"] if "class" in OTHERS[other] else []
    ending = ["stream.flush()", back, "print('last', flush=True)", "exp.close()", "print('after')"]
    source = [OTHERS[other], *flush, *steps, "print('line')", "print('another', file=sys.stdout)", *ending]
    out, _ = finished(start(tmp_path, "\n".join(source)))
    is_elsewhere = other in ("a file", "a buffer") and when != "around"
    is_another = is_elsewhere and when == "during"  # what was redirected on purpose, after the capture began, is no console

    assert out.decode().splitlines() == [*([] if is_elsewhere else ["line", "another"]), "last", "after"]
    assert sorted(printed(tmp_path / "runs" / "exp", "stdout")) == sorted(
        [*([] if is_another else ["line", "another"]), "last"]
    )


@pytest.mark.parametrize("stream", ["sys.stdout = None", "sys.stdout.close()", "os.close(1)", "sys.stdout = sys.stderr"])
def test_streams_that_are_none(tmp_path, stream):
    """W10: a stream that is closed, missing or the other one neither stops the capture of the other nor doubles anything."""
    begin = 'exp = mlv.Exp(sys.argv[1], "exp", console=True, capture=())'
    source = [stream, begin, 'print("line", file=sys.stderr)', r'os.write(2, b"bytes\n")']
    process = start(tmp_path, "\n".join([*source, *(["print('same')"] if "stderr" in stream else [])]))
    _, err = process.communicate(timeout=60)
    expected = ["line", "bytes", *(["same"] if "stderr" in stream else [])]

    assert process.returncode in (0, 120), err
    assert sorted(printed(tmp_path / "runs" / "exp", "stderr")[1:]) == sorted(expected)
    assert printed(tmp_path / "runs" / "exp", "stdout") == []


def test_forks(tmp_path):
    """W13: a fork meets no thread of ours, and so warns of none; the one that looks after the capture is back after it."""
    process = start(
        tmp_path,
        """
        import threading
        seen = []
        os.register_at_fork(before=lambda: seen.append(len(os.listdir("/proc/self/task"))))
        sys.modules.pop("mlv"), [sys.modules.pop(name) for name in list(sys.modules) if name.startswith("mlv.")]
        import mlv  # its hooks come later, and so are called earlier
        exp = mlv.Exp(sys.argv[1], "exp", console=True, capture=())
        for i in range(20):
            pid = os.fork()
            if pid == 0:
                print("child", i, flush=True)
                os._exit(0)
            os.waitpid(pid, 0)
            print("parent", i, flush=True)
        print(seen == [1] * 20, [thread.name for thread in threading.enumerate()], flush=True)
        sys.stdin.readline()
        print("x" * 3_000_000)
        """,
        stdin=subprocess.PIPE,
    )
    folder = tmp_path / "runs" / "exp"
    wait_until(lambda: len(printed(folder, "stdout")) == 41)
    os.kill(tee_of(folder), signal.SIGKILL)
    out, err = process.communicate(b"\n", timeout=60)
    lines = out.decode().splitlines()

    assert process.returncode == 0, err.decode()
    assert lines[:-2] == [f"{who} {i}" for i in range(20) for who in ("child", "parent")]
    assert lines[-2] == "True ['MainThread', 'mlv-console']"
    assert set(lines[-1]) == {"x"}  # a tee that is killed may take along what it has read
    assert printed(folder, "stdout")[:41] == lines[:-1]


def test_in_a_kernel(tmp_path, monkeypatch):
    """W10: in a real notebook all cells are captured, each line once, also where the experiment begins in a captured cell."""
    pytest.importorskip("ipykernel", reason="needs a kernel")
    manager = pytest.importorskip("jupyter_client.manager", reason="needs a kernel")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kernel, client = manager.start_new_kernel(kernel_name="python3")
    shown = []

    def cell(code):
        reply = client.execute_interactive(code, output_hook=lambda message: shown.append(message["content"]), timeout=60)
        assert reply["content"]["status"] == "ok", reply["content"]

    try:
        cell("%%capture\nimport mlv, os, subprocess\nexp = mlv.Exp('runs', 'exp', console=True, capture=())")
        cell("print('cell 2')")
        cell("os.write(1, b'bytes\\n'); subprocess.run(['echo', 'child']); print('cell 3')")
        cell("import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()): print('redirected')")
        cell("%%capture\nprint('hidden')")
        cell("print('cell 6'); exp.close(); print('after')")
        cell("print('never')")
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            client.stop_channels()
            kernel.shutdown_kernel(now=True)
            kernel.cleanup_resources()

    lines = printed(tmp_path / "runs" / "exp", "stdout")
    assert sorted(lines) == sorted(["cell 2", "bytes", "child", "cell 3", "hidden", "cell 6"])
    assert {"cell 2\n", "cell 3\n"} <= {content.get("text") for content in shown}
