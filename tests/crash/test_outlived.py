"""The outputs of a run are completed by whoever outlives it, at whatever moment its processes are killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import orjson
import pytest
from conftest import wait_until

import mlv
from mlv.cli.recover import recovered
from mlv.store.owners import Owner
from mlv.transport import orders, spool

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

STEPS = 200
HELPERS = """
import os, signal, sys, time
from contextlib import suppress
import psutil

if sys.argv[1:] and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[1])])

def processes(module):
    "The processes of this run that are at work in a module."
    for process in psutil.process_iter():
        try:
            if module in process.cmdline() and process.environ().get("MLV_SPOOL") == os.environ["MLV_SPOOL"]:
                yield process
        except psutil.Error:
            pass

def killed(module, count=1):
    "Kill the processes of this run that are at work in a module, once there are so many."
    while len(found := list(processes(module))) < count:
        time.sleep(0.005)
    for process in found:
        process.kill()
    psutil.wait_procs(found, 10)

def all_killed():
    "Kill both followers and the writer; they are stopped before, as each starts those that are missing."
    stopped = {}
    while not is_complete(stopped):
        for module in ("mlv.projections.follower", "mlv.transport.writer"):
            for process in processes(module):
                if process not in stopped:
                    with suppress(psutil.Error):  # it has just ended
                        process.suspend()
                        stopped[process] = module
    for process in stopped:
        process.kill()
    psutil.wait_procs(list(stopped), 10)

def is_complete(stopped):
    "Whether all are stopped that there are: two followers, the writer, and whoever they had just started."
    modules = list(stopped.values())
    missing = [one for module in set(modules) for one in processes(module) if one not in stopped]
    return modules.count("mlv.projections.follower") >= 2 and "mlv.transport.writer" in modules and not missing

def end():
    os.kill(os.getpid(), signal.SIGKILL)
"""
MINE = """
import os, time

class Mine:
    name = "mine"
    def open(self, place, resume):
        self._file = open(place / "lines.txt", "ab")
        self._file.truncate(resume or 0)
        self._slow = os.path.join(os.path.dirname(__file__), "slow")
    def write(self, batch):
        while os.path.exists(self._slow):
            time.sleep(0.01)
        self._file.writelines(f"{event.data['loss']}\\n".encode() for event in batch if event.type == "metrics")
    def commit(self):
        self._file.flush()
        return self._file.tell()
    def close(self):
        self._file.close()
"""
TRAINING = """
{helpers}
import mlv
from mine import Mine

{before}
exp = mlv.Exp("runs", "exp", outputs=["csv", Mine()], capture=(), system=False)
{after}
for i in range({steps}):
    exp.log({{"loss": i}}, step=i)
{last}
end()
"""
BEFORE_THE_OUTPUTS = "from mlv.transport import orders; orders.begin = lambda path: end()"
"""The moment between the order and the process that carries it out."""


def trained(folder: Path, cores: int = 2, before: str = "", after: str = "", last: str = "", steps: int = STEPS) -> Path:
    """A run that ended in the middle of something; its folder."""
    (folder / "mine.py").write_text(MINE)
    script = folder / "train.py"
    script.write_text(TRAINING.format(helpers=HELPERS, before=before, after=after, last=last, steps=steps))
    subprocess.run([sys.executable, str(script), str(cores)], cwd=folder, timeout=120, capture_output=True, text=True)
    return folder / "runs" / "exp"


def recover(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`mlv recover` as a user calls it."""
    command = [sys.executable, "-m", "mlv", "recover", str(folder), *options]
    return subprocess.run(command, timeout=120, capture_output=True, text=True)


def rows(exp: Path) -> tuple[list[str], list[str]]:
    """Losses in both outputs."""
    try:
        csv = [line.split(",") for line in (exp / "csv" / "log.csv").read_text().splitlines() if line.startswith("loss,")]
        mine = (exp / "mine" / "lines.txt").read_text().splitlines()
    except OSError:
        return [], []
    return [line[3] for line in csv], mine


def logged(exp: Path) -> list[str]:
    return [str(event.data["loss"]) for event in mlv.Exp.open(exp).events("metrics")] if (exp / "log.jsonl").exists() else []


def places() -> list[Path]:
    """The spools of this test; others of the user may belong to whoever else is at work."""
    return [place for place in spool.existing() if place.is_relative_to(os.environ["MLV_SPOOL"]) and place.exists()]


def waiting() -> list[Path]:
    """Everything that lies in the spools of this test."""
    return [path for place in places() for path in sorted(place.glob("*"))]


def assert_complete(exp: Path, steps: int = STEPS) -> None:
    """Both outputs hold each loss once, and nobody has anything left to do."""
    expected = [str(i) for i in range(steps)]
    wait_until(lambda: not waiting(), 60)
    assert rows(exp) == (expected, expected)
    assert logged(exp) == expected
    assert not list(recovered(exp, 10))


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize(
    "moment",
    [
        {"before": BEFORE_THE_OUTPUTS, "steps": 0},
        {"after": "end()", "steps": 0},
        {"steps": 1},
        {},
        {"last": "os._exit(0)"},
        {"last": "killed('mlv.projections.follower')"},
        {"after": "killed('mlv.projections.follower')"},
        {"after": "killed('mlv.transport.writer')"},
        {"last": "killed('mlv.transport.writer')"},
    ],
    ids=lambda moment: " ".join(f"{when}: {what}" for when, what in moment.items()) or "at the end",
)
def test_somebody_lives(tmp_path, moment, cores):
    """Writer and follower start each other where the training process cannot, and complete what it wanted."""
    exp = trained(tmp_path, cores, **moment)

    assert_complete(exp, moment.get("steps", STEPS))


def test_nobody_lives(tmp_path):
    """Where all were killed `mlv recover` finishes both outputs, and says so."""
    exp = trained(tmp_path, last="all_killed()")
    assert waiting()

    assert "completed csv, mine" in recover(tmp_path).stdout
    assert_complete(exp)


def test_inline(tmp_path, monkeypatch):
    """Without a writer, the order lies in a spool all the same: `mlv recover` completes what nobody had begun."""
    monkeypatch.setenv("MLV_INLINE", "1")
    exp = trained(tmp_path, before=BEFORE_THE_OUTPUTS)

    assert "completed csv, mine" in recover(tmp_path).stdout
    assert_complete(exp, 0)


def test_the_next_run_finishes(tmp_path):
    """Opening the experiment again completes the outputs of a run before, whatever its own are."""
    exp = trained(tmp_path, last="all_killed()")
    with mlv.Exp.open(exp) as again:
        again.log.info("again")

    assert_complete(exp)


def test_only_the_follower_is_killed_at_last(tmp_path):
    """A follower that is killed after all others have gone leaves its order: `mlv recover --json` names the output."""
    (tmp_path / "slow").touch()
    exp = trained(tmp_path)
    wait_until(lambda: [path.suffix for path in waiting()] == [orders.SUFFIX], 60)  # that of `Mine`, which is slow
    subprocess.run([sys.executable, "-c", f"{HELPERS}\nkilled('mlv.projections.follower')"], timeout=60, check=True)
    (tmp_path / "slow").unlink()

    assert "mine" in orjson.loads(recover(tmp_path, "--json").stdout)["outputs"]
    assert_complete(exp)


def test_the_machine_dies(tmp_path):
    """Where the spool is gone as well, `mlv recover` completes what was begun, or says what builds it."""
    last = "assert exp.flush(outputs=True); killed('mlv.projections.follower'); exp.log({'loss': 200}, step=200)"
    exp = trained(tmp_path, last=f"{last}; assert exp.flush(); killed('mlv.transport.writer')")
    for place in places():
        shutil.rmtree(place)

    done = recover(tmp_path)
    assert done.returncode == 1
    assert "completed csv, mine cannot be completed: it was made by mine.Mine()" in done.stdout
    assert [len(losses) for losses in rows(exp)] == [STEPS + 1, STEPS]
    assert not list(recovered(exp, 10))


def test_class_is_gone(tmp_path):
    """An output whose class is gone cannot be completed: `mlv recover` says what builds it, once."""
    exp = trained(tmp_path, last="all_killed()")
    (tmp_path / "mine.py").unlink()

    done = recover(tmp_path)
    assert done.returncode == 1
    assert "completed csv" in done.stdout
    assert "mine cannot be completed: ModuleNotFoundError" in done.stdout
    assert f"mlv.projections.replay('{exp}'" in done.stdout
    assert recover(tmp_path).returncode == 0
    assert not waiting()


@pytest.mark.parametrize("how", ["mode", "link", "folder"])
def test_order_of_somebody_else(tmp_path, how):
    """What an order holds is run: one that others could have written is neither read nor begun (B1)."""
    folder = mlv.Exp(tmp_path, "exp", capture=()).path
    order = orders.Order("csv", "mlv export", str(folder), "0" * 64, "r1", Owner.current().to_data(), [], b"x")
    path = orders.keep(order)
    assert orders.read(path) == order
    if how == "mode":
        path.chmod(0o622)
    elif how == "folder":
        path.parent.chmod(0o777)
    else:
        (tmp_path / "elsewhere").write_bytes(path.read_bytes())
        (tmp_path / "elsewhere").chmod(0o600)
        path.unlink()
        path.symlink_to(tmp_path / "elsewhere")

    assert orders.read(path) is None
    with pytest.raises(OSError, match=r"private|symbolic|links"):
        orders.begin(path)


@pytest.mark.parametrize("content", [b"", b"{}", b"{}\n", b"[]\nx", b'{"output":"csv"}\nx', b"\xff\n"])
def test_damaged_order(tmp_path, spool, content):
    """What is no order is passed over."""
    place = spool / f"mlv-{os.getuid()}" / "key"
    place.mkdir(parents=True, mode=0o700)
    place.parent.chmod(0o700)
    path = place / f"r1.x{orders.SUFFIX}"
    path.write_bytes(content)
    path.chmod(0o600)

    assert orders.read(path) is None
    assert orders.left_orders([place]) == []


HELIOS = """
import pathlib
from mlv.compat.helios.core import logging
logging.create_default_loggers()
logging.setup_default_loggers("myrun", pathlib.Path("logs"), pathlib.Path("runs"))
for i in range({steps}):
    logging.get_root_logger().info(f"loss {{i}}")
"""
DLLOGGER = """
from mlv.compat import dllogger
dllogger.init([dllogger.JSONStreamBackend(dllogger.Verbosity.VERBOSE, "out.json")])
for i in range({steps}):
    dllogger.log(step=i, data={{"loss": i}})
"""


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize(
    ("source", "pattern", "package"),
    [(HELIOS, "logs/*.log", "tensorboardX"), (DLLOGGER, "out.json", "orjson")],
    ids=["helios", "dllogger"],
)
@pytest.mark.parametrize("last", ["", "killed('mlv.projections.follower')"], ids=["trainer", "and followers"])
def test_drop_ins(tmp_path, source, pattern, package, last, cores):
    """The files of drop-ins are completed as well: each message once."""
    pytest.importorskip(package)
    script = tmp_path / "train.py"
    script.write_text(f"{HELPERS}\n{textwrap.dedent(source.format(steps=STEPS))}\n{last}\nend()\n")
    subprocess.run([sys.executable, str(script), str(cores)], cwd=tmp_path, timeout=120, capture_output=True)

    wait_until(lambda: not waiting(), 60)
    [path] = tmp_path.glob(pattern)
    assert len([line for line in path.read_text().splitlines() if "loss" in line]) == STEPS
