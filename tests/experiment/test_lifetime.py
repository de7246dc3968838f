"""How runs end that nobody closes: real processes, in the ways in which people start them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import wait_until
from logs import read

from mlv import Exp

BEGIN = "import mlv, os, sys\nexp = mlv.Exp('runs', 'exp', capture=())\nexp.log({'a': 1})\n"


def opened(folder: Path) -> Exp:
    return Exp.open(folder / "runs" / "exp")


def settled(folder: Path) -> str:
    """The status, once the writer has said all it has to say."""
    wait_until(lambda: opened(folder).status != "running")
    return opened(folder).status


class TestEndings:
    @pytest.mark.parametrize(
        ("end", "status", "error"),
        [
            ("", "ok", None),
            ("sys.exit()", "ok", None),
            ("sys.exit(0)", "ok", None),
            ("exp.close()", "ok", None),
            ("exp.close('preempted')", "preempted", None),
            ("del exp", "ok", None),
            ("raise ValueError('no')", "failed", "ValueError"),
            ("raise KeyboardInterrupt", "interrupted", "KeyboardInterrupt"),
            ("1 / 0", "failed", "ZeroDivisionError"),
            ("def main():\n    own = exp\n    raise OSError('no')\nmain()", "failed", "OSError"),
            ("try:\n    1 / 0\nexcept Exception:\n    pass", "ok", None),
            ("import threading\nt = threading.Thread(target=lambda: exp.log({'b': 1}))\nt.start()", "ok", None),
        ],
    )
    def test_end_of_a_script(self, python, tmp_path, end, status, error):
        """At its end a script's run is ok, or failed with the traceback of what ended it."""
        done = python(BEGIN + end + "\n")

        exp = opened(tmp_path)
        [ended] = exp.events("run_ended")
        assert ended.data["status"] == exp.status == status, done.stderr
        assert ended.data.get("exception", {}).get("type") == error
        assert error is None or "Traceback" in ended.data["exception"]["traceback"]
        assert error is None or error in done.stderr
        assert len(list(exp.events("metrics"))) >= 1

    def test_made_in_a_function(self, python, tmp_path):
        """An experiment that only a function knows fails with the exception that went through it."""
        python(
            """
            import mlv

            def main():
                exp = mlv.Exp("runs", "exp", capture=())
                exp.log({"a": 1})
                raise RuntimeError("deep down")

            main()
            """
        )

        assert opened(tmp_path).runs[-1].exception["message"] == "deep down"

    def test_last_reference(self, tmp_path):
        """A run ends when nobody can log into it any more; a logger is enough to go on."""
        exp = Exp(tmp_path, "exp", capture=())
        path, log = exp.path, exp.log.sub("a")
        del exp
        log({"b": 1})
        reader = Exp.open(path)
        assert reader.status == "running"
        del reader
        del log

        wait_until(lambda: read(path)[-1]["type"] == "seal")
        assert Exp.open(path).status == "ok"

    def test_closed_by_os_exit(self, python, tmp_path):
        """What was logged before `os._exit` is there; the run went without a word."""
        done = python(BEGIN + "for i in range(1000): exp.log({'i': i})\nos._exit(3)\n")

        assert done.returncode == 3
        assert settled(tmp_path) == "killed"
        assert [event.data.get("i") for event in opened(tmp_path).events("metrics")][1:] == list(range(1000))

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGSEGV])
    def test_killed(self, python, tmp_path, number):
        """What was logged before a signal is there; the run was killed."""
        done = python(BEGIN + f"for i in range(1000): exp.log({{'i': i}})\nos.kill(os.getpid(), {int(number)})\n")

        assert done.returncode == -number
        assert settled(tmp_path) == "killed"
        assert [event.data.get("i") for event in opened(tmp_path).events("metrics")][1:] == list(range(1000))

    def test_ctrl_c(self, tmp_path):
        """Ctrl-C interrupts the run; the writer, which it passes by, writes everything."""
        script = tmp_path / "script.py"
        script.write_text(BEGIN + "print('ready', flush=True)\nimport time\ntime.sleep(60)\n")
        process = subprocess.Popen(
            [sys.executable, str(script)], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)

        exp = opened(tmp_path)
        assert (exp.status, exp.runs[-1].exception["type"]) == ("interrupted", "KeyboardInterrupt")

    def test_python_c(self, tmp_path):
        """`python -c` works."""
        subprocess.run([sys.executable, "-W", "error", "-c", BEGIN], cwd=tmp_path, capture_output=True, timeout=60, check=True)

        assert opened(tmp_path).status == "ok"

    def test_python_m(self, tmp_path):
        """`python -m module` works."""
        (tmp_path / "train.py").write_text(BEGIN)
        subprocess.run([sys.executable, "-m", "train"], cwd=tmp_path, capture_output=True, timeout=60, check=True)

        assert opened(tmp_path).status == "ok"

    def test_stdin(self, tmp_path):
        """A script on stdin works."""
        subprocess.run(
            [sys.executable, "-W", "error", "-"],
            cwd=tmp_path,
            input=BEGIN.encode(),
            capture_output=True,
            timeout=60,
            check=True,
        )

        assert opened(tmp_path).status == "ok"

    def test_a_zip(self, tmp_path):
        """A script in a zip file works."""
        import zipapp

        (tmp_path / "app").mkdir()
        (tmp_path / "app" / "__main__.py").write_text(BEGIN)
        zipapp.create_archive(tmp_path / "app", tmp_path / "app.pyz")
        subprocess.run([sys.executable, "app.pyz"], cwd=tmp_path, capture_output=True, timeout=60, check=True)

        assert opened(tmp_path).status == "ok"


INTERACTIVE = """
import mlv
exp = mlv.Exp("runs", "exp", capture=())
1 / 0
exp.log({"a": 1})
raise KeyboardInterrupt
exp.log({"a": 2})
"""


class TestInteractive:
    def test_a_failing_statement(self, tmp_path):
        """In an interactive session a failing statement does not end the run, nor make it failed."""
        subprocess.run(
            [sys.executable, "-i", "-c", ""],
            input=INTERACTIVE,
            text=True,
            cwd=tmp_path,
            capture_output=True,
            timeout=60,
            check=False,
        )

        exp = opened(tmp_path)
        assert exp.status == "ok"
        assert [event.data for event in exp.events("metrics")] == [{"a": 1}, {"a": 2}]

    def test_a_failing_cell(self, python, tmp_path):
        """In a notebook, whose cells are run by `exec`, neither."""
        python(
            """
            import code, sys

            sys.ps1 = "In : "  # as IPython does
            shell = code.InteractiveInterpreter()
            with open("cells.txt") as file:
                cells = file.read().split("#")
            for cell in cells:
                shell.runcode(compile(cell, "<cell>", "exec"))
            """,
            cwd=_with_cells(tmp_path),
        )

        exp = opened(tmp_path)
        assert exp.status == "ok"
        assert [event.data for event in exp.events("metrics")] == [{"a": 1}, {"a": 2}]

    def test_warnings_of_statements(self, tmp_path):
        """Each statement at the prompt is a line of code of its own."""
        session = "import mlv\nexp = mlv.Exp('runs', 'exp', capture=())\nexp.log({'a': len})\nexp.log({'b': len})\n"
        done = subprocess.run(
            [sys.executable, "-i", "-c", ""],
            input=session,
            text=True,
            cwd=tmp_path,
            capture_output=True,
            timeout=60,
            check=True,
        )

        assert done.stderr.count("RejectedWarning") == 2


def _with_cells(folder: Path) -> Path:
    cells = ["import mlv", "exp = mlv.Exp('runs', 'exp', capture=())", "1 / 0", "exp.log({'a': 1})", "raise ValueError"]
    (folder / "cells.txt").write_text("\n#".join([*cells, "exp.log({'a': 2})\n"]))
    return folder


class TestSurroundings:
    """Places in which a script may find itself."""

    def test_files_named_like_modules(self, tmp_path):
        """A `queue.py` in the current folder, which the script does not import, harms nothing."""
        for module in ("queue", "json", "orjson", "struct", "threading", "subprocess", "mlv_", "selectors", "re", "types"):
            (tmp_path / f"{module}.py").write_text("raise SystemExit('imported the wrong one')")
        (tmp_path / "inner").mkdir()
        script = tmp_path / "inner" / "train.py"
        script.write_text(BEGIN)
        done = subprocess.run(
            [sys.executable, str(script)], cwd=tmp_path, capture_output=True, timeout=60, text=True, check=False
        )

        assert done.returncode == 0, done.stderr
        assert opened(tmp_path).status == "ok"

    def test_a_script_beside_such_files(self, tmp_path):
        """The writer does not import a `queue.py` that lies beside the script, even if the script has imported it."""
        modules = ("queue", "data", "utils", "profile", "calendar", "statistics", "csv", "test")
        for module in modules:
            (tmp_path / f"{module}.py").write_text("import sys\nsys.stderr.write(f'imported {__name__}\\n')\n")
        script = tmp_path / "train.py"
        script.write_text(f"import mlv\nimport {', '.join(modules)}\n" + BEGIN)
        done = subprocess.run(
            [sys.executable, str(script)], cwd=tmp_path, capture_output=True, timeout=60, text=True, check=False
        )

        assert done.returncode == 0, done.stderr
        assert [module for module in modules if done.stderr.count(f"imported {module}\n") > 1] == []
        assert opened(tmp_path).status == "ok"

    def test_captured_output(self, tmp_path):
        """A parent that reads the script's output until its end does not wait for the writer."""
        script = tmp_path / "train.py"
        script.write_text(BEGIN + "os._exit(0)\n")

        done = subprocess.run(
            [sys.executable, str(script)], cwd=tmp_path, capture_output=True, timeout=60, text=True, check=True
        )

        assert done.stdout == ""

    @pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "</dev/null >/dev/full 2>/dev/full"])
    def test_closed_streams(self, tmp_path, closed):
        """Standard streams that are closed, or full, harm nothing, and nothing of them gets into the log."""
        (tmp_path / "train.py").write_text(BEGIN + "exp.log({'b': len})\nexp.close()\nexp.log({'c': 1})\n")
        subprocess.run(["sh", "-c", f"exec {sys.executable} train.py {closed}"], cwd=tmp_path, timeout=60, check=False)

        exp = opened(tmp_path)
        assert exp.status == "ok"
        assert [event.type for event in exp.events()][:4] == ["run_started", "metrics", "rejected", "run_ended"]
        read(exp.path)

    @pytest.mark.parametrize("break_it", ["sys.stderr = None", "sys.stderr.close()", "sys.stdout = sys.stderr = None"])
    def test_no_stderr(self, python, tmp_path, break_it):
        """A program without a terminal, as under pythonw, logs like any other."""
        done = python(f"import sys\n{break_it}\n{BEGIN}exp.log({{'b': len}})\nexp.close()\nexp.log({{'c': 1}})\n")

        assert done.returncode == 0
        assert opened(tmp_path).status == "ok"
        assert done.stdout == ""

    def test_a_pipe_that_nobody_reads(self, tmp_path):
        """A closed pipe on stderr harms nothing."""
        (tmp_path / "train.py").write_text("import time\ntime.sleep(0.3)\n" + BEGIN + "exp.log({'b': len})\n")
        process = subprocess.Popen([sys.executable, "train.py"], cwd=tmp_path, stderr=subprocess.PIPE)
        assert process.stderr is not None
        process.stderr.close()
        process.wait(60)

        assert opened(tmp_path).status == "ok"

    def test_stderr_that_raises(self, python, tmp_path):
        """A stderr that somebody replaced by something that raises harms nothing."""
        done = python(
            "import sys\nclass Bad:\n    def write(self, text): raise RuntimeError\n    flush = write\nsys.stderr = Bad()\n"
            + BEGIN
            + "exp.log({'b': len})\nprint(exp.status)\n"
        )

        assert done.stdout == "running\n"
        assert opened(tmp_path).status == "ok"

    def test_a_folder_that_is_gone(self, python, tmp_path):
        """With an absolute savedir, the current folder may be gone."""
        done = python(
            f"""
            import os, tempfile
            folder = tempfile.mkdtemp()
            os.chdir(folder)
            os.rmdir(folder)
            import mlv
            with mlv.Exp({str(tmp_path)!r} + "/runs", "exp") as exp:
                exp.log({{"a": 1}})
            """
        )

        assert done.returncode == 0, done.stderr
        assert opened(tmp_path).status == "ok"

    def test_relative_to_a_folder_that_is_gone(self, python, tmp_path):
        """A relative one is refused with a reason."""
        done = python(
            """
            import os, tempfile
            folder = tempfile.mkdtemp()
            os.chdir(folder)
            os.rmdir(folder)
            import mlv
            mlv.Exp("runs", "exp", capture=())
            """
        )

        assert "InvalidArgument: savedir='runs' is relative to a folder that is gone" in done.stderr

    def test_a_folder_where_nothing_can_be_written(self, python, tmp_path):
        """The current folder need not be writable."""
        done = python(
            f"import mlv\nwith mlv.Exp({str(tmp_path)!r} + '/runs', 'exp') as exp: exp.log({{'a': 1}})\n", cwd="/proc"
        )

        assert done.returncode == 0, done.stderr
        assert opened(tmp_path).status == "ok"

    def test_an_experiment_whose_folder_is_removed(self, python, tmp_path):
        """A script whose experiment somebody deletes runs to its end."""
        removal = "import shutil\nexp.flush()\nshutil.rmtree(exp.path)\nfor i in range(100): exp.log({'i': i})\n"
        done = python(BEGIN + removal + "exp.close()\nprint('end')\n", timeout=100)

        assert done.stdout == "end\n", done.stderr
        assert not (tmp_path / "runs" / "exp").exists()

    def test_a_bare_environment(self, tmp_path):
        """A process without a single variable logs like any other."""
        (tmp_path / "train.py").write_text(f"import sys\nsys.path.extend({sys.path!r})\n" + BEGIN)
        spool = os.environ["MLV_SPOOL"]
        subprocess.run(
            [sys.executable, "train.py"], cwd=tmp_path, env={"MLV_SPOOL": spool}, timeout=60, check=True, capture_output=True
        )

        assert opened(tmp_path).status == "ok"

    @pytest.mark.parametrize("flag", ["-I", "-S", "-OO", "-u", "-B", "-Xutf8=0", "-Xdev"])
    def test_flags_of_the_interpreter(self, tmp_path, flag):
        """The interpreter's own options harm nothing."""
        (tmp_path / "train.py").write_text(f"import sys\nsys.path.extend({sys.path!r})\n" + BEGIN)
        done = subprocess.run(
            [sys.executable, flag, "train.py"], cwd=tmp_path, timeout=60, check=False, capture_output=True, text=True
        )

        assert done.returncode == 0, done.stderr
        assert opened(tmp_path).status == "ok"

    def test_another_locale(self, tmp_path):
        """Names outside ASCII work where the locale has no word for them."""
        (tmp_path / "train.py").write_text(
            "import mlv\nwith mlv.Exp('runs', 'exp', {'ü': 'é'}) as exp: exp.log({'λ': 1})\n", "utf-8"
        )
        environ = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        subprocess.run([sys.executable, "train.py"], cwd=tmp_path, env=environ, timeout=60, check=True, capture_output=True)

        assert [event.data for event in opened(tmp_path).events("metrics")] == [{"λ": 1}]

    def test_few_files(self, python, tmp_path):
        """A process that may open few more files, and then none at all, keeps logging."""
        done = python(
            BEGIN
            + textwrap.dedent(
                """
                files = []
                try:
                    while True: files.append(open(os.devnull))
                except OSError:
                    pass
                for i in range(100): exp.log({"i": i})
                files.clear()
                """
            ),
            preexec_fn=_few_files,
        )

        assert done.returncode == 0, done.stderr
        assert len(list(opened(tmp_path).events("metrics"))) == 101

    def test_tracing_and_profiling(self, python, tmp_path):
        """A debugger, a profiler or a tracer that looks on harms nothing."""
        python("import sys\nsys.settrace(lambda *_: None)\nsys.setprofile(lambda *_: None)\n" + BEGIN)

        assert opened(tmp_path).status == "ok"

    def test_signal_handlers_that_log(self, python, tmp_path):
        """A signal handler that logs in the middle of a call loses and doubles nothing."""
        done = python(
            BEGIN
            + textwrap.dedent(
                """
                import signal
                signals = 0
                def handler(*_):
                    global signals
                    signals += 1
                    exp.log("signal", {"number": signals})
                signal.signal(signal.SIGALRM, handler)
                signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
                for i in range(20_000): exp.log({"i": i})
                signal.setitimer(signal.ITIMER_REAL, 0)
                print(signals)
                """
            )
        )

        exp = opened(tmp_path)
        run = exp.runs[0].id
        mine = [event for event in exp.events() if event.run == run]
        assert [event.seq for event in mine] == list(range(1, len(mine) + 1))
        assert [event.data["i"] for event in mine if event.type == "metrics" and "i" in event.data] == list(range(20_000))
        assert len([event for event in mine if event.name == "signal"]) == int(done.stdout)


def _few_files() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
