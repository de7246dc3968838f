"""Processes log together, by every start method, and whatever kills one costs no record."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import wait_until

import mlv
import mlv.compat.allogger as allogger
from mlv.projections import replay

numpy = pytest.importorskip("numpy")
h5py = pytest.importorskip("h5py")
pytest.importorskip("tensorboardX")
event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder of its own; whatever a test began is over behind it."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    allogger.close()


def rows(key, events="log/events"):
    return allogger.api.hdf.read_from_key(events, key)


WORKERS = """
    import multiprocessing, sys
    import mlv.compat.allogger as allogger

    def work(own):
        logdir = {"logdir": f"log/{multiprocessing.current_process().name}"} if own else {}
        logger = allogger.get_logger("worker", **logdir)
        for value in range(10):
            logger.log(value, "value")
        logger.info("done")
        if own:
            allogger.close()

    def count():
        for value in range(200):
            allogger.get_logger("twins").log(value, "value")

    if __name__ == "__main__":
        multiprocessing.set_start_method(sys.argv[1])
        allogger.basic_configure(logdir="log", default_outputs=["tensorboard"])
        logger = allogger.get_logger("main")
        logger.log(1, "value")
        processes = [multiprocessing.Process(target=work, args=(own,)) for own in (False, True)]
        processes += [multiprocessing.Process(target=count, name="twin") for _ in range(3)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        logger.log(2, "value")
        steps = {key: step for key, step in allogger.get_root().step_per_key.items()}
        assert steps["root.main-MainProcess", "value"] == 3, steps
        assert sorted(steps.values()) == [3, 11, 11, 601], steps
        allogger.close()
        assert multiprocessing.active_children() == []
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children(python, method):
    """Children log into the session of the process that started them; a logdir of their own is apart."""
    done = python(WORKERS, method)

    assert done.returncode == 0, done.stderr
    [key] = [key for key in keys("log/events") if key.startswith("scalar/worker/")]
    assert list(rows(key)["step"]) == list(range(1, 11))
    [apart] = [name for name in os.listdir("log") if "Process" in name]
    assert list(rows(f"scalar/worker/{apart.replace('-', '')}/value", f"log/{apart}/events")["value"]) == list(range(10))
    assert sorted(rows("scalar/twins/twin/value")["step"]) == list(range(1, 601))
    [exp] = [exp for exp in mlv.find("log") if exp.path.parents[1] == Path("log").absolute()]
    parents = {event.run: event.data.get("parent_run") for event in exp.events("run_started")}
    [main] = [run for run, parent in parents.items() if parent is None]
    assert sorted(filter(None, parents.values())) == [main] * 4
    assert (exp.path.parents[1] / f"{exp.name}.log").read_text().count("done") == 2


def keys(events):
    """All datasets of the only file of a folder."""
    [name] = [name for name in os.listdir(events) if name.endswith(".h5")]
    found = []
    with h5py.File(f"{events}/{name}") as file:
        file.visititems(lambda name, item: found.append(name) if hasattr(item, "dtype") else None)
    return found


def test_only_the_main_process(python):
    """`log_only_main_process` keeps out what children log, also through scopes that inherit it."""
    done = python("""
        import multiprocessing
        import mlv.compat.allogger as allogger

        def work():
            allogger.get_logger("main").log(1, "x")

        if __name__ == "__main__":
            multiprocessing.set_start_method("fork")
            allogger.basic_configure(logdir="log", default_outputs=["hdf"], log_only_main_process=True)
            allogger.get_logger("main").log(1, "x")
            child = multiprocessing.Process(target=work)
            child.start()
            child.join()
            allogger.close()
    """)

    assert done.returncode == 0, done.stderr
    assert keys("log/events") == ["scalar/main/x"]


@pytest.mark.parametrize("ending", ["os._exit(0)", "os.kill(os.getpid(), 9)", "os.kill(os.getpid(), 15)", "1 / 0", "pass"])
def test_whatever_ends_a_script(python, ending):
    """What was logged is in the log and in the files soon after, once, with the exact values, and no `close()` is needed."""
    python(f"""
        import os
        import mlv.compat.allogger as allogger

        allogger.basic_configure(logdir="log", default_outputs=["tensorboard"])
        logger = allogger.get_logger("main")
        for value in range(50):
            logger.log(value / 3, "x")
        logger.info("last words")
        {ending}
    """)

    wait_until(has_all_rows)
    [exp] = mlv.find("log")
    text = exp.path.parents[1] / f"{exp.name}.log"  # kept by another process than the rows
    wait_until(lambda: text.exists() and "last words" in text.read_text())
    assert [event.data["root.main/x"] for event in exp.events("metrics")] == [value / 3 for value in range(50)]
    assert list(rows("scalar/main/x")["value"]) == [value / 3 for value in range(50)]


def has_all_rows():
    try:
        return len(rows("scalar/main/x")) == 50
    except (OSError, KeyError):  # not there yet
        return False


@pytest.mark.crash
@pytest.mark.parametrize("seed", range(3))
def test_killed_outputs(python, place, seed):
    """Whenever the process of an output is killed, and started again, each record is in its file once."""
    script = place / "training.py"
    script.write_text("""
import sys, numpy
import mlv.compat.allogger as allogger
allogger.basic_configure(logdir="log", default_outputs=["tensorboard", "hdf"])
logger = allogger.get_logger("main")
for _ in sys.stdin:
    for value in range(100):
        logger.log(value, "x")
    logger.log(numpy.full((3, 4), 1.0), "a")
    print("done", flush=True)
""")
    with subprocess.Popen([sys.executable, script], stdin=-1, stdout=-1, text=True, cwd=place) as training:
        for wait_s in numpy.random.default_rng(seed).uniform(0.1, 0.6, 4):
            training.stdin.write("go\n")
            training.stdin.flush()
            training.stdout.readline()
            kill_outputs(wait_s)
        training.stdin.close()
    [exp] = mlv.find("log")
    for output in outputs_of(exp):
        wait_until(lambda output=output: replayed(exp, output))

    assert list(rows("scalar/main/x")["step"]) == list(range(1, 401))
    assert rows("array/main/a")["value"].shape == (4, 3, 4)
    found = event_accumulator.EventAccumulator("log/events", {"scalars": 0}).Reload().Scalars("root.main/x")
    assert [point.step for point in found] == list(range(1, 401))


def kill_outputs(wait_s):
    """Let the outputs work for a while, then kill them."""
    time.sleep(wait_s)
    for process in psutil.process_iter(["cmdline", "environ"]):
        command = " ".join(process.info["cmdline"] or ())
        if (
            "mlv.projections.follower" in command
            and (process.info["environ"] or {}).get("MLV_SPOOL") == os.environ["MLV_SPOOL"]
        ):
            process.kill()


def outputs_of(exp):
    from mlv.compat.allogger.outputs import H5, EventFiles

    events = exp.path.parents[1] / "events"
    return [EventFiles(path=events), H5(path=events)]


def replayed(exp, output):
    try:
        replay(exp, output)
    except mlv.InvalidArgument:  # its process is still at work
        return False
    return True


def test_a_broken_file_is_rebuilt(place):
    """A file that was damaged is set aside, and built again from the log."""
    allogger.basic_configure(logdir="log", default_outputs=["hdf"])
    allogger.get_logger("main").log(1, "x")
    allogger.close()
    [exp] = mlv.find("log")
    path = place / "log" / "events" / f"{exp.name}.h5"
    path.write_bytes(path.read_bytes()[:700])

    replay(exp, outputs_of(exp)[1])

    assert list(rows("scalar/main/x")["value"]) == [1]
    assert path.with_name(f"{path.name}.broken-1").exists()


def test_a_replay_equals_what_was_kept_live(place):
    """The files that were kept as the log grew hold the same as those that are built afterwards."""
    allogger.basic_configure(logdir="log", default_outputs=["tensorboard", "hdf"])
    for value in range(100):
        allogger.get_logger("main").log(value, "x")
        allogger.get_logger("main").log([value, 2, 3], "a", data_type="array")
    allogger.close()
    [exp] = mlv.find("log")
    from mlv.compat.allogger.outputs import H5

    (exp.path / ".mlv" / "outputs" / "allogger-hdf.json").unlink()
    replay(exp, H5(path=place / "again"))

    for key in ("scalar/main/x", "array/main/a"):
        numpy.testing.assert_array_equal(rows(key), rows(key, place / "again"))


def test_forks_without_multiprocessing(python):
    """A plain `os.fork` shares series, steps and files with its parent; nothing is doubled."""
    done = python("""
        import os
        import mlv.compat.allogger as allogger

        allogger.basic_configure(logdir="log", default_outputs=["hdf"])
        logger = allogger.get_logger("main")
        logger.log(0, "x")
        child = os.fork()
        for value in range(300):
            logger.log(value, "x")
        if child:
            os.waitpid(child, 0)
        allogger.close()
    """)

    assert done.returncode == 0, done.stderr
    assert sorted(rows("scalar/main/x")["step"]) == list(range(1, 602))


def test_nothing_stays_behind(python):
    """Shared counters are removed with the session."""
    done = python("""
        import os
        import mlv.compat.allogger as allogger
        from mlv.compat.allogger.hub import hub

        allogger.basic_configure(logdir="log", default_outputs=["hdf"])
        if os.fork() == 0:
            allogger.get_logger("main").log(1, "x")
            os._exit(0)
        os.wait()
        folder = hub.steps.folder
        assert folder.exists()
        allogger.close()
        assert not folder.exists()
    """)

    assert done.returncode == 0, done.stderr


def test_a_child_without_its_session(python):
    """Where the experiment is gone, a spawned child is told so, and goes on with its work."""
    done = python("""
        import multiprocessing, os, shutil, warnings
        import mlv.compat.allogger as allogger

        def work():
            warnings.simplefilter("always")
            allogger.get_logger("main").log(1, "x")
            print("went on")

        if __name__ == "__main__":
            allogger.basic_configure(logdir="log")
            shutil.rmtree("log")
            child = multiprocessing.get_context("spawn").Process(target=work)
            child.start()
            child.join()
            os._exit(child.exitcode)
    """)

    assert (done.returncode, done.stdout) == (0, "went on\n")
    assert "cannot log into the session" in done.stderr
