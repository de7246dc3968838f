"""Spools that another user of the machine made, or frames that name what is not theirs: nothing is read, moved or removed."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import run_command
from contracts.evidence import events
from other_user import OTHER_UID, as_other

import mlv
from mlv.encoding import DATA, head
from mlv.store.owners import Owner
from mlv.transport import recovery, spool, spool_lock, writer
from mlv.transport.frames import BIG
from mlv.transport.header import look
from mlv.transport.source import Source
from transport.rig import GONE, LATE, LOG, Rig

RUN = "rforged123"
SECRET = b'"type":"event","data":{"key":"the key of the victim"}}'


@pytest.fixture
def shared(monkeypatch) -> Iterator[Path]:
    """A folder that everybody may write into, as /dev/shm is, and that holds spools."""
    folder = Path(tempfile.mkdtemp(prefix="mlv-shared-"))
    folder.chmod(0o1777)
    monkeypatch.setenv("MLV_SPOOL", str(folder))
    yield folder
    shutil.rmtree(folder)


def forged(tmp_path: Path, folder: Path, victim: Path) -> bytes:
    """The bytes of a ring whose frames name a file of the victim; its process is gone."""
    rig = Rig(tmp_path / "elsewhere")
    channel = rig.ring(RUN, GONE)
    channel.put(LOG, BIG, 0, os.fsencode(victim))
    [path] = [ring for place in rig.candidates for ring in spool.rings_in(place)]
    content = path.read_bytes().replace(os.fsencode(rig.folder), os.fsencode(folder))
    path.unlink()
    return content


def make_spool(place: Path, how: str, ring: bytes) -> None:
    """Lay a trap where the spool of an experiment would be."""
    mode = 0o700 if how == "private" else 0o777
    for folder in (place.parent, place):
        folder.mkdir(mode)
    if how == "pipe":
        for name in (f"{RUN}.ring", spool.LOCK, spool.ERRORS, spool.WAKE):
            os.mkfifo(place / name, 0o666)
    else:
        (place / f"{RUN}.ring").write_bytes(ring)
        (place / f"{RUN}.0a.job").write_bytes(b"")


def refused(ring: Path) -> None:
    """Open a ring to drain it, in vain."""
    with pytest.raises(OSError):
        Source(ring)


def entries(exp: mlv.Exp, place: Path) -> dict[str, Callable[[], object]]:
    """Everything that looks into spools."""
    folder = exp.path
    return {
        "find": lambda: spool.find(folder, Owner.current()),
        "existing": lambda: list(spool.existing()),
        "rings_in": lambda: spool.rings_in(place),
        "big_files": lambda: spool.big_files(RUN, place.name),
        "remove": lambda: spool.remove(place),
        "look": lambda: look(place / f"{RUN}.ring"),
        "Source": lambda: refused(place / f"{RUN}.ring"),
        "lock": lambda: spool_lock.lock(place, 0.1),
        "rescue": lambda: writer.rescue(folder, place, 0.2),
        "serve": lambda: writer.serve(folder, place),
        "drain_spool": lambda: recovery.drain_spool(folder, place, 0.2),
        "needs_recovery": lambda: recovery.needs_recovery(folder),
        "recover": lambda: recovery.recover(folder, 0.2),
        "spools_below": lambda: list(recovery.spools_below(folder.parent)),
        "Exp.open": lambda: mlv.Exp.open(folder),
        "mlv recover": lambda: run_command("recover", folder.parent),
        "mlv verify": lambda: run_command("verify", folder),
        "mlv doctor": lambda: run_command("doctor"),
    }


@pytest.mark.timeout(180)
@pytest.mark.parametrize("how", ["open to all", "private", "pipe"])
def test_spools_of_another_user(tmp_path, shared, monkeypatch, how):
    """B1, U1 to U4: a spool that somebody else made is as good as none, whoever looks, root too."""
    exp = mlv.Exp(tmp_path / "runs", "a", capture=())
    exp.close()
    victim = tmp_path / "id_rsa"
    victim.write_bytes(SECRET)
    shutil.rmtree(shared / f"mlv-{os.getuid()}", ignore_errors=True)
    monkeypatch.setenv("MLV_SPOOL", str(tmp_path))
    content = forged(tmp_path, exp.path, victim)
    monkeypatch.setenv("MLV_SPOOL", str(shared))
    [place, *_] = spool.candidates(exp.path, Owner.current())
    as_other(lambda: make_spool(place, how, content))
    log, names = (exp.path / "log.jsonl").read_bytes(), sorted(os.listdir(place))

    for entry in entries(exp, place).values():
        entry()

    assert victim.read_bytes() == SECRET
    assert (exp.path / "log.jsonl").read_bytes() == log
    assert sorted(os.listdir(place)) == names
    assert {path.lstat().st_uid for path in place.iterdir()} == {OTHER_UID}


@pytest.mark.parametrize("opened", ["mlv-UID", "KEY"])
def test_folders_that_are_open_to_others(tmp_path, shared, opened):
    """B1: a spool of one's own that others can enter is left alone: they may have put anything into it."""
    rig = Rig(tmp_path / "exp")
    rig.ring(RUN, GONE)
    folder = rig.place if opened == "KEY" else rig.place.parent
    folder.chmod(0o770)

    assert spool.rings_in(rig.place) == spool.find(rig.folder, Owner.current()) == []
    assert rig.place not in spool.existing()
    assert look(rig.place / f"{RUN}.ring") is None
    writer.rescue(rig.folder, rig.place, 0.1)
    spool.remove(rig.place)
    assert (rig.place / f"{RUN}.ring").exists()


def replaced(what: str, ring: Path, victim: Path) -> None:
    """Put something else where a ring was."""
    content = ring.read_bytes()
    ring.unlink()
    if what == "pipe":
        os.mkfifo(ring)
    elif what == "link":
        (victim.parent / "copy").write_bytes(content)
        ring.symlink_to(victim.parent / "copy")
    elif what == "folder":
        ring.mkdir()
    elif what == "somebody else's":
        if os.getuid() != 0:
            pytest.skip("only root can make a file of somebody else's")
        ring.write_bytes(content)
        os.chown(ring, OTHER_UID, OTHER_UID)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("what", ["pipe", "link", "folder", "somebody else's"])
def test_rings_that_are_none(tmp_path, what):
    """B1: of a ring that is no regular file of this user nothing is read, and nobody waits for it."""
    rig = Rig(tmp_path / "exp")
    rig.ring(RUN, GONE)
    ring = rig.place / f"{RUN}.ring"
    replaced(what, ring, tmp_path / "victim")
    kind = stat.S_IFMT(ring.lstat().st_mode)

    assert look(ring) is None
    writer.rescue(rig.folder, rig.place, 0.1)
    assert stat.S_IFMT(ring.lstat().st_mode) == kind


NAMES = (
    "{victim}", "{place}/../../victim", "{place}/rother1234.0a.big", "{place}/rforged123.ring",
    "{place}/rforged123.0a.big/../../victim", "rforged123.0a.big", "{tmp}/rforged123.0a.big",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", ["", ".job"])
def test_frames_name_files_of_their_run_only(tmp_path, name, suffix):
    """B1: what a frame names is a file of its own run in a spool of its experiment, or it is lost, and nothing else."""
    rig = Rig(tmp_path / "exp")
    channel = rig.ring(RUN, GONE)
    named = name.format(victim=tmp_path / "victim", place=rig.place, tmp=tmp_path) + suffix
    victim = Path(os.path.normpath(named))
    if victim.suffix != ".ring" and victim.is_absolute():
        victim.write_bytes(SECRET)
    channel.put(LOG, BIG, 0, os.fsencode(named))
    channel.put(LATE, DATA, 0, b'{"i":1}')

    writer.rescue(rig.folder, rig.place, 5)

    text = (rig.folder / "log.jsonl").read_text()
    assert "the key of the victim" not in text
    assert [event["data"]["reason"] for event in events(rig.folder) if event["type"] == "dropped"] == ["its spool file is gone"]
    if victim.suffix != ".ring" and victim.is_absolute():
        assert victim.read_bytes() == SECRET


@pytest.mark.parametrize("stream", ["../../x", "/tmp/x", "", ".mlv", "a/b", "x\n", 3])
def test_streams_are_names(tmp_path, stream):
    """U9: a cursor whose stream is no name costs its events, which are named as lost; the others go on."""
    rig = Rig(tmp_path / "exp")
    channel = rig.ring(RUN, GONE)
    channel.add_cursor(3, (stream, head("metrics", "")))
    channel.put(3, DATA, 0, b'{"i":1}')
    channel.put(1, DATA, 0, b'{"i":2}')

    writer.rescue(rig.folder, rig.place, 5)

    assert [event["data"]["i"] for event in events(rig.folder) if event["run"] == RUN and event["type"] == "metrics"] == [2]
    assert [event["data"]["first"] for event in events(rig.folder) if event["type"] == "dropped"] == [1]
    assert {path.name for path in tmp_path.iterdir()} <= {"exp", "spool"}


@pytest.mark.parametrize("suffix", ["/../../../../../victim", ".png/x", "", ".", "..", ".a b", "." + "a" * 17, ".tar.gz"])
def test_suffixes_of_media(tmp_path, suffix):
    """U2: a job names the end of a file, never a path."""
    from mlv.media.jobs import Job, perform
    from mlv.media.target import FolderTarget

    (tmp_path / "exp").mkdir()
    job = Job("document", "a", "document", {"suffixes": [suffix], "several": False, "data": {}}, buffers=[b"text"])

    line = perform(job, FolderTarget(tmp_path / "exp", "a", None, "r1-1"))

    assert line.startswith(b'"type":"rejected"')
    assert b"no suffix" in line
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_experiments_are_known_by_an_id(tmp_path):
    """U6: a ring without an ID belongs to no experiment, also where it names the folder of one."""
    exp = mlv.Exp(tmp_path / "runs", "a", capture=())
    exp.close()
    rig = Rig(tmp_path / "other")
    rig.ring(RUN, GONE)  # whose ID is empty
    ring = rig.place / f"{RUN}.ring"
    data = ring.read_bytes()
    ring.write_bytes(data.replace(os.fsencode(rig.folder), os.fsencode(exp.path).ljust(len(os.fsencode(rig.folder)), b"/")))

    assert list(recovery.spools_below(tmp_path)) == []
