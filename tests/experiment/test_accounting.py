"""What `log()` accepted is in the log, or a `dropped` event or a warning names it; and no message promises what nobody does."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import run_command, wait_until

import mlv
from mlv.store.owners import Owner
from mlv.transport import new_rings, spool_lock
from mlv.transport import spool as spools

fcntl = pytest.importorskip("fcntl")


def limited(bytes_: int, folder: Path, source: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A script whose files may not be larger than that: `ulimit -f`."""
    script = folder / "train.py"
    script.write_text(textwrap.dedent(source))
    return subprocess.run(
        [sys.executable, str(script)], cwd=folder, timeout=100, capture_output=True, text=True, env={**os.environ, **variables},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, bytes_)),
    )  # fmt: skip


def test_inline_events_that_the_disk_refuses(tmp_path):
    """D5: without a writer nobody goes on after the process: the warning at its end counts what is lost."""
    done = limited(
        20_000,
        tmp_path,
        """
        import mlv
        exp = mlv.Exp("runs", "exp", capture=(), system=False)
        for i in range(1000): exp.log({"loss": i}, step=i)
        exp._session.close("ok", None, 0.5)
        """,
        MLV_INLINE="1",
    )
    kept = len((tmp_path / "runs/exp/log.jsonl").read_text().splitlines())

    assert done.returncode == 0, done.stderr
    assert f"{1002 - kept} events of run" in done.stderr  # with `run_started` and `run_ended`
    assert "are lost: [Errno 27]" in done.stderr
    assert "goes on" not in done.stderr


def ring_and_no_writer(monkeypatch, tmp_path: Path) -> tuple[mlv.Exp, Path]:
    """A run whose writer was never started."""
    monkeypatch.setattr("mlv.transport.channels.launch", lambda *_: None)
    exp = mlv.Exp(tmp_path / "runs", "exp", capture=(), system=False)
    exp.log({"loss": 1}, step=1)
    [ring] = [ring for place in spools.find(exp.path, Owner.current()) for ring in spools.rings_in(place)]
    return exp, ring


def test_no_writer(monkeypatch, tmp_path):
    """Where no writer can be had, the warning says where the events wait; `mlv recover`, which it names, brings them in."""
    exp, ring = ring_and_no_writer(monkeypatch, tmp_path)
    with pytest.warns(mlv.MlvWarning) as told:
        exp._session.close("ok", None, 0.2)

    [text] = [str(one.message) for one in told]
    assert "there is no writer" in text
    assert str(ring) in text
    assert run_command("recover", tmp_path).returncode == 0
    assert [event.data for event in exp.events("metrics")] == [{"loss": 1}]


def test_no_writer_and_no_spool(monkeypatch, tmp_path):
    """Where somebody removed the spool as well, the events are said to be lost."""
    exp, ring = ring_and_no_writer(monkeypatch, tmp_path)
    ring.unlink()

    with pytest.warns(mlv.MlvWarning, match="its events are lost"):
        exp._session.close("ok", None, 0.2)


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK])
def test_spool_without_locks(monkeypatch, tmp_path, number):
    """D8: where the spools lie on file systems without locks, the run is inline from the beginning: nothing waits."""

    def refuse(fd: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(mlv.MlvWarning, match="writes from its own process"):
        exp = mlv.Exp(tmp_path / "runs", "exp", capture=(), system=False)
    exp.log({"loss": 1}, step=1)

    assert '"loss":1' in (exp.path / "log.jsonl").read_text()
    exp.close()


@pytest.mark.parametrize("made_s", [0, 3600])
def test_ring_that_was_never_finished(tmp_path, made_s):
    """D12: what a process left that was killed while it made a ring is removed by the next writer, or `mlv recover`."""
    exp = mlv.Exp(tmp_path / "runs", "exp", capture=(), system=False)
    exp.log({"loss": 1}, step=1)
    [ring] = [ring for place in spools.find(exp.path, Owner.current()) for ring in spools.rings_in(place)]
    left = ring.with_name(f"rdead12345.ring{new_rings.UNFINISHED}")
    left.write_bytes(bytes(4096))
    os.utime(left, (left.stat().st_mtime - made_s,) * 2)
    exp.close()

    wait_until(lambda: not (ring.parent / spools.LOCK).exists())
    spool_lock.tidy(ring.parent)
    assert left.exists() == (made_s == 0)  # another process may be making it at this moment


@pytest.mark.parametrize("limit", [0, 10])
def test_no_room_for_an_experiment(tmp_path, limit):
    """D5: where not even meta.json finds room, `Exp` raises an MlvError that is an OSError, with the path; no folder stays."""
    done = limited(
        limit,
        tmp_path,
        """
        import mlv
        try:
            mlv.Exp("runs", "exp", {"lr": 0.1}, capture=())
        except mlv.MlvError as error:
            assert isinstance(error, OSError) and error.path and error.errno == 27
            print(error)
        """,
        PYTHONDONTWRITEBYTECODE="1",
    )

    assert done.returncode == 0, done.stderr
    assert "File too large" in done.stdout
    assert str(tmp_path / "runs") in done.stdout
    assert not list((tmp_path / "runs").iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_experiment_that_cannot_be_read(tmp_path):
    """D5, of its kind: opening an experiment whose log may not be read raises an MlvError that is an OSError, with the path."""
    with mlv.Exp(tmp_path, "exp", capture=(), system=False) as exp:
        exp.log({"loss": 1})
    (exp.path / "log.jsonl").chmod(0)

    with pytest.raises(mlv.MlvError, match="Permission denied") as raised:
        mlv.Exp.open(exp.path)
    assert isinstance(raised.value, OSError)


def test_capture_that_fails_leaves_no_folder(tmp_path, monkeypatch):
    """D5, of its kind: whatever ends the making of an experiment, also Ctrl-C, leaves no empty folder."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mlv.experiment.opening.setup.capture", interrupt)
    with pytest.raises(KeyboardInterrupt):
        mlv.Exp(tmp_path / "runs", "exp")

    assert not list((tmp_path / "runs").iterdir())
