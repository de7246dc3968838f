"""What the drop-ins leave beside the files of their originals: one hidden folder, which nobody's pattern takes for a file."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import wait_until

import mlv
from mlv.compat.room import REPLACED, ROOM, put_away

pytest.importorskip("h5py")
pytest.importorskip("tensorboardX")
pytest.importorskip("yaml")

SCRIPTS = {
    "allogger": """
        import mlv.compat.allogger as allogger
        allogger.basic_configure(logdir="log", default_outputs=["tensorboard", "hdf"])
        own = allogger.get_logger("own", logdir="log/own")
        for value in range(20):
            allogger.get_logger("main").log(value, "x")
            own.log(value, "x")
        own.info("hello")
    """,
    "dllogger": """
        import mlv.compat.dllogger as DLLogger
        DLLogger.init([DLLogger.JSONStreamBackend(1, "log.json")])
        for step in range(20):
            DLLogger.log(step, {"loss": step})
    """,
    "helios": """
        import pathlib
        from mlv.compat.helios.core import logging
        logging.create_default_loggers()
        logging.setup_default_loggers("myrun", pathlib.Path("logs"), pathlib.Path("runs"))
        for step in range(20):
            logging.get_root_logger().info(str(step))
            logging.get_tensorboard_writer().add_scalar("loss", step, step)
        logging.get_tensorboard_writer().add_scalars("m", {"a": 1.0}, 1)
    """,
    "helios2": """
        import pathlib
        from mlv.compat.helios.core import loggers
        loggers.create_loggers()
        loggers.setup_loggers("myrun", pathlib.Path("root"))
        for step in range(20):
            loggers.get_root_logger().info(str(step))
            loggers.get_tensorboard_writer().add_scalar("loss", step, step)
    """,
    "mle": """
        from mlv.compat.mle_logging import MLELogger
        log = MLELogger("run", ["epoch"], ["loss"], model_type="jax", seed_id=1, use_tboard=True)
        for step in range(20):
            log.update({"epoch": step}, {"loss": step}, model=[step], extra_obj=[step], save=True)
    """,
    "summary_writer": """
        from mlv.compat.tensorboardX import SummaryWriter
        writer = SummaryWriter()
        for step in range(20):
            writer.add_scalar("loss", step, step)
        writer.add_scalars("both", {"a": 1.0}, 1)
        writer.add_hparams({"lr": 0.1}, {"acc": 0.5})
    """,
}
LEFT = {
    "allogger": r"log(/own)?/(\d+_.*\.log|events/(\d+_.*\.h5|events\.out\.tfevents\..*))",
    "dllogger": r"log\.json",
    # A number follows the name of a run that begins in the same second as another.
    "helios": r"logs/myrun_\w{5}_[-\d]{8}(_1)?\.log|runs/myrun_\w{5}_[-\d]{8}(_1)?/(m_a/)?events\.out\.tfevents\..*",
    "helios2": r"root/(myrun_\w{5}_[-\d]{8}(_1)?\.log|tensorboard/myrun_\w{5}_[-\d]{8}(_1)?/events\.out\.tfevents\..*)",
    "mle": r"run/(config_dict\.yaml|logs/log_seed_1\.hdf5|models/final/final_seed_1\.pkl|extra/extra_\d+_seed_1\.pkl|"
    r"tboards/tboard_seed_1/events\.out\.tfevents\..*)",
    "summary_writer": r"runs/\w{5}_[-\d]{8}_[^/]+/events\.out\.tfevents\.[^/]*",
}
"""What each original would have left, and nothing else."""
PATTERNS = ("*tfevents*", "*.h5", "*.hdf5", "*.log", "*.pkl", "*.pt", "*.png", "*.yaml", "log.json", "log.json.*")
"""What users of the originals look for."""
ENDS = {"well": "", "killed": "os.kill(os.getpid(), 9)"}


def files(folder: Path) -> Iterator[str]:
    """Every file outside of hidden folders of the drop-ins, relative to a folder."""
    for path, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != ROOM]
        yield from (os.path.relpath(os.path.join(path, name), folder) for name in names)


def taken(folder: Path) -> list[str]:
    """What patterns find in the hidden folders, by whatever walks into them."""
    inside = [path for room in folder.rglob(ROOM) for path in room.rglob("*") if REPLACED not in path.parts]
    return [str(path) for path in inside if path.is_file() and any(fnmatch.fnmatch(path.name, one) for one in PATTERNS)]


def ran(folder: Path, name: str, end: str) -> list[str]:
    """The files that there were just before a script's end."""
    folder.mkdir(exist_ok=True)
    seen = "print([os.path.join(p, n) for p, d, ns in os.walk('.') for n in ns if '.mlv-experiments' not in p], flush=True)"
    source = "import os\n" + textwrap.dedent(SCRIPTS[name]) + f"{seen}\n{end}\n"
    done = subprocess.run([sys.executable, "-c", source], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == (-9 if "kill" in end else 0), done.stderr
    return [os.path.relpath(path) for path in eval(done.stdout.splitlines()[-1])]


def is_left(name: str, path: str) -> bool:
    # Files that are being made begin with a dot and do not end as what they become.
    begun = os.path.basename(path).startswith(".") and not any(fnmatch.fnmatch(os.path.basename(path), one) for one in PATTERNS)
    return bool(re.fullmatch(LEFT[name], path)) or begun


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", SCRIPTS)
def test_nothing_but_files_of_the_original(tmp_path, name, end):
    """D2, D6: while a script runs, after whatever ends it, and after a second run, there are only files of the original."""
    place = tmp_path / "place"
    for _ in range(2):
        assert [path for path in ran(place, name, ENDS[end]) if not is_left(name, path)] == []

        wait_until(lambda: not [exp for exp in mlv.find(place) if exp.status == "running"])
        assert [path for path in files(place) if not is_left(name, path)] == []
        assert taken(place) == []
        assert len(mlv.find(place)) > 0


@pytest.mark.parametrize("end", ["well", "killed"])
def test_numbered_logs_of_dllogger(tmp_path, end):
    """D2: scripts that number their logs by `log.json.*` find none, also where a foreign file was in the way."""
    place = tmp_path / "place"
    place.mkdir()
    (place / "log.json").write_text("DLLL {}\n")
    for _ in range(2):
        ran(place, "dllogger", ENDS[end])
        assert glob.glob(str(place / "log.json*")) == [str(place / "log.json")]
        assert [path.name for path in place.glob("log.json*")] == ["log.json"]
        assert [name for name in os.listdir(place) if "log.json" in name] == ["log.json"]
    assert (place / ROOM / REPLACED / "log.json.1").read_text() == "DLLL {}\n"


def test_the_newest_run_of_helios(tmp_path):
    """D6: the last folder of `runs`, by name or by age, is a run, and going on with it is going on with its experiment."""
    place = tmp_path / "place"
    ran(place, "helios", "")
    more = """
        import os, pathlib
        from mlv.compat.helios.core import logging
        runs = pathlib.Path("runs")
        newest = sorted(runs.iterdir())[-1]
        assert newest == max(runs.iterdir(), key=os.path.getmtime)
        logging.create_default_loggers()
        logging.restore_default_loggers(None, newest)
        logging.get_tensorboard_writer().add_scalar("loss", 20, 20)
        logging.close_default_loggers()
        assert len(os.listdir(runs)) == 1
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(more)], cwd=place, check=True, timeout=60)

    [exp] = mlv.find(place)
    assert [event.step for event in exp.events("metrics", name="loss")] == list(range(21))


def test_a_run_of_helios_under_another_name(tmp_path):
    """D6: a run that was moved takes its experiment along, and goes on with it."""
    place = tmp_path / "place"
    ran(place, "helios", "")
    [run] = (place / "runs").iterdir()
    run.rename(place / "runs" / "renamed")
    more = """
        import pathlib
        from mlv.compat.helios.core import logging
        logging.create_default_loggers()
        logging.restore_default_loggers(None, pathlib.Path("runs/renamed"))
        logging.get_tensorboard_writer().add_scalar("loss", 20, 20)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(more)], cwd=place, check=True, timeout=60)

    [exp] = mlv.find(place)
    assert len(exp.runs) == 2


def test_logs_of_helios_without_runs(tmp_path):
    """D6: without folders of runs, the last entry of `logs` is a text file."""
    place = tmp_path / "place"
    place.mkdir()
    script = """
        import pathlib
        from mlv.compat.helios.core import logging
        logging.create_default_loggers(enable_tensorboard=False)
        logging.setup_default_loggers("myrun", pathlib.Path("logs"))
        logging.get_root_logger().info("hello")
        logging.close_default_loggers()
        assert "hello" in sorted(pathlib.Path("logs").iterdir())[-1].read_text()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=place, check=True, timeout=60)

    assert len(glob.glob(str(place / "logs" / "*"))) == 1


def test_put_away(tmp_path):
    """Files of one name are put away under numbers; what is gone already is no error."""
    path, room = tmp_path / "a.txt", tmp_path / ROOM
    for text in ("first", "second"):
        path.write_text(text)
        put_away(path, room)

    assert put_away(path, room) is None
    assert [(room / REPLACED / f"a.txt.{number}").read_text() for number in (1, 2)] == ["first", "second"]
