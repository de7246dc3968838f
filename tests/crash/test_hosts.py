"""Two machines and one shared folder: no file gets two writers, and nobody takes over from a machine that it cannot judge."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import wait_until
from contracts import evidence

import mlv
from mlv.audit.verify import verify
from mlv.store import claims

WRITING = """
    import os, sys, time
    from pathlib import Path

    host, folder, steps = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    if os.environ.get("MLV_INLINE"):  # a fake machine: nothing but what it says of itself is another one
        from mlv.store import owners
        owners._host = lambda: (host, f"boot of {host}", "pid:[1]")
    import mlv

    exp = mlv.Exp.open(folder)
    exp.log("begun", {"host": host})
    exp.flush()
    (folder.parent / f"{host}.begun").touch()
    deadline = time.monotonic() + 30
    while not (folder.parent / "go").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    for step in range(steps):
        exp.log({"i": step}, step=step)
    exp.flush()
    (folder.parent / f"{host}.logged").touch()
    if steps == 0:
        time.sleep(60)
    exp.close()
"""

Start = Callable[[str, int], "subprocess.Popen[bytes]"]


@pytest.fixture(params=["namespaces", "fake"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Start:
    """Start the script on a machine of a name, in namespaces of its own or by its own word; 0 steps: until it is killed."""
    script = tmp_path / "writing.py"
    script.write_text(textwrap.dedent(WRITING))
    mlv.Exp(tmp_path, "exp", capture=()).close()
    in_namespaces = request.param == "namespaces"
    separate = ["unshare", "--uts", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if in_namespaces and (not shutil.which("unshare") or subprocess.run([*separate, "true"], capture_output=True).returncode):
        pytest.skip("no namespaces can be made here")

    def started(host: str, steps: int) -> subprocess.Popen[bytes]:
        python = [sys.executable, str(script), host, str(tmp_path / "exp"), str(steps)]
        named = ["sh", "-c", 'hostname "$0"; exec "$@"', host]
        environment = {**os.environ, "MLV_SPOOL": str(tmp_path / f"spool of {host}")}
        environment.update({} if in_namespaces else {"MLV_INLINE": "1"})
        command = [*separate, *named, *python] if in_namespaces else python
        return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)

    return started


def hosts_in(path: Path) -> set[str]:
    """The machines whose runs, or whose writers, have lines in a file, but for the one that made the experiment."""
    events = [json.loads(line) for line in evidence.raw_lines(path)]
    return {event["data"]["host"] for event in events if event.get("name") == "begun"}


def test_two_at_once(tmp_path, start):
    """Two machines that write into one experiment at once have files of their own, and all that both logged is proven."""
    running = [start("alpha", 200), start("beta", 200)]
    for host in ("alpha", "beta"):
        wait_until((tmp_path / f"{host}.begun").exists)
    (tmp_path / "go").touch()

    assert [process.wait(60) for process in running] == [0, 0]

    exp = tmp_path / "exp"
    assert [len(hosts_in(path)) for path in evidence.files(exp)] == [1, 1]
    evidence.assert_complete(exp)
    assert verify(exp).findings == ()
    steps = [event.data["i"] for event in mlv.Exp.open(exp).events("metrics")]
    assert sorted(steps) == sorted([*range(200)] * 2)


def test_silence_is_no_death(tmp_path, start):
    """However long a machine was not heard of, its stream is its own: others write beside it, and its run stays `lost`."""
    silent = start("alpha", 0)
    wait_until((tmp_path / "alpha.begun").exists)
    silent.send_signal(signal.SIGKILL)
    silent.wait(60)
    exp = tmp_path / "exp"
    log = exp / "log.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"time":"202', b'"time":"192'))
    before = log.read_bytes()
    for path in exp.rglob("*"):
        os.utime(path, (0, 0))

    other = start("beta", 3)
    (tmp_path / "go").touch()

    assert other.wait(60) == 0
    assert log.read_bytes() == before
    assert claims.stale(exp) == []
    assert [run.status for run in mlv.Exp.open(exp).runs] == ["ok", "lost", "ok"]
