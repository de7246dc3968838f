"""Spools are private places on this machine; what cannot be one is passed over."""

from __future__ import annotations

import os
import subprocess

import pytest
from contracts.evidence import payloads

from mlv.errors import MlvWarning, WritingStalled
from mlv.transport import channels, spool
from mlv.transport.inline import Inline
from mlv.transport.ring import Ring
from transport.rig import HERE

EVENT = b'"type":"event","data":{"i":1}}'


def run_once(folder, run="rspool1234"):
    """Log one event in a run of its own; gives the channel and the place that listed its ring."""
    folder.mkdir(exist_ok=True)
    channel = channels.open_channel(folder, "id", run, None)
    place = channel._spool if isinstance(channel, Ring) else None
    channel.add_cursor(0, ("log", b""))
    channel.put(0, 0, 0, EVENT)
    assert channel.close(20)
    assert payloads(folder, run) == [1]
    return channel, place


def test_the_folder_that_the_user_chose(tmp_path, spool):
    """MLV_SPOOL holds the rings, in a folder of the user's own."""
    _, place = run_once(tmp_path / "exp")
    assert place.parent == spool / f"mlv-{os.getuid()}"


@pytest.mark.parametrize("name", ["missing", "missing/deeper", "./missing"])
def test_a_folder_that_is_not_there(tmp_path, monkeypatch, name):
    """MLV_SPOOL is made where it is missing; a relative one is below the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLV_SPOOL", name)
    _, place = run_once(tmp_path / "exp")
    assert place.parent == tmp_path / os.path.normpath(name) / f"mlv-{os.getuid()}"


def test_a_folder_that_is_a_file(tmp_path, monkeypatch):
    """Where MLV_SPOOL cannot be a folder the next place serves, which is said."""
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("MLV_SPOOL", str(tmp_path / "file"))
    with pytest.warns(MlvWarning, match="cannot hold a spool"):
        _, place = run_once(tmp_path / "exp")
    assert tmp_path not in place.parents


@pytest.mark.parametrize("what", ["open to others", "a link", "somebody else's", "a file"])
def test_a_folder_of_others(tmp_path, spool, what):
    """A folder that others may enter, or that was put there by somebody else, is never used."""
    mine = spool / f"mlv-{os.getuid()}"
    if what == "open to others":
        mine.mkdir()
        mine.chmod(0o777)
    elif what == "a link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        mine.symlink_to(tmp_path / "elsewhere")
    elif what == "a file":
        mine.write_bytes(b"")
    elif os.getuid() == 0:
        mine.mkdir(mode=0o700)
        os.chown(mine, 65534, 65534)
    else:
        pytest.skip("only root can make a folder of somebody else's")
    with pytest.warns(MlvWarning, match="cannot hold a spool"):
        _, place = run_once(tmp_path / "exp")
    assert spool not in place.parents
    if what != "a file":
        assert list(mine.iterdir()) == []


def test_no_place_at_all(tmp_path, monkeypatch):
    """Without any local folder the run writes from its own process, which is said."""
    monkeypatch.setattr(spool, "bases", lambda environ=os.environ: [])
    with pytest.warns(WritingStalled, match="no local folder is there"):
        channel, _ = run_once(tmp_path / "exp")
    assert isinstance(channel, Inline)


def test_nothing_is_left(tmp_path, spool):
    """When the last run has ended, its spool is removed everywhere."""
    run_once(tmp_path / "exp")
    places = spool_module_candidates(tmp_path / "exp")
    from conftest import wait_until

    wait_until(lambda: not any(place.exists() for place in places))


def spool_module_candidates(folder):
    return spool.candidates(folder, HERE)


def test_an_experiment_made_in_the_place_of_another(tmp_path):
    """What waits for an experiment that was removed is not for one that is made at the same path."""
    folder = tmp_path / "exp"
    folder.mkdir()
    (folder / "meta.json").write_bytes(b"one")
    first = spool.key_of(folder, HERE)
    (folder / "meta.json").write_bytes(b"two")

    assert spool.key_of(folder, HERE) != first


def test_network_mounts_are_passed_over(monkeypatch):
    """A base on a network mount is none, unless the user chose it."""
    monkeypatch.delenv("MLV_SPOOL")
    monkeypatch.setattr(spool, "file_system_of", lambda path: "nfs4" if str(path) == "/dev/shm" else "ext4")
    assert "/dev/shm" not in map(str, spool.bases())
    monkeypatch.setenv("MLV_SPOOL", "/dev/shm")
    assert str(spool.bases()[0]) == "/dev/shm"


@pytest.fixture
def small(tmp_path):
    """A file system smaller than a ring."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k,mode=700", "tmpfs", str(folder)]
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_spool(tmp_path, monkeypatch, small):
    """A ring that does not fit into the first place is in the next one, and is listed in the first; no signal, no loss."""
    monkeypatch.setenv("MLV_SPOOL", str(small))
    folder = tmp_path / "exp"
    folder.mkdir()
    channel = channels.open_channel(folder, "id", "rspool1234", None)
    channel.add_cursor(0, ("log", b""))
    [listed] = (small / f"mlv-{os.getuid()}").glob("*/*.ring")
    assert listed.is_symlink()
    for i in range(5000):
        channel.put(0, 0, 0, b'"type":"event","data":{"i":%d,"x":"%s"}}' % (i, b"x" * (2_000_000 if i == 2500 else 100)))
    assert channel.close(30)

    assert isinstance(channel, Ring)
    assert payloads(folder, "rspool1234") == list(range(5000))


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_nobody_else_looks_in(tmp_path, umask, python):
    """Spool folders are the user's own, whatever the umask is; the experiment's folders and files honour it."""
    done = python(
        f"""
        import os
        os.umask({umask})
        import mlv
        from mlv.store.owners import Owner
        from mlv.transport import spool
        exp = mlv.Exp("runs", "exp", capture=())
        exp.log({{"loss": 1}})
        exp.flush()
        [place] = spool.find(exp.path, Owner.current())
        paths = [place, place.parent, exp.path, exp.path / "log.jsonl", exp.path / "meta.json"]
        print(*(oct(path.stat().st_mode & 0o777) for path in paths))
        exp.close()
        """
    )

    modes = [int(word, 8) for word in done.stdout.split()]
    assert modes == [0o700, 0o700, 0o777 & ~umask, 0o666 & ~umask, 0o444 & ~umask], done.stderr
