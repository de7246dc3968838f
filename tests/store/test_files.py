"""Files that are published appear whole, or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlv.store import files
from mlv.store.files import publish


def test_publish(tmp_path):
    """A new file has its content, its mode, and nothing beside it."""
    path = tmp_path / "meta.json"

    assert publish(path, b"{}", mode=0o444) == hashlib.sha256(b"{}").hexdigest()

    assert path.read_bytes() == b"{}"
    assert path.stat().st_mode & 0o777 == 0o444 & ~_umask()
    assert list(tmp_path.iterdir()) == [path]


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("has_links", [True, False])
def test_one_that_is_there(tmp_path, monkeypatch, has_links):
    """A file that is there stays as it was."""
    if not has_links:
        monkeypatch.setattr(files.os, "link", _raising(errno.EPERM))
    publish(tmp_path / "a", b"first")

    with pytest.raises(FileExistsError):
        publish(tmp_path / "a", b"second")

    assert (tmp_path / "a").read_bytes() == b"first"
    assert len(list(tmp_path.iterdir())) == 1


def _raising(number):
    def call(*_):
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize("call", ["fsync", "link"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_refuses(tmp_path, monkeypatch, call, number):
    """When it cannot be written there is no file, and nothing beside it."""
    monkeypatch.setattr(files.os, call, _raising(number))
    if call == "link":
        monkeypatch.setattr(files.os, "rename", _raising(number))

    with pytest.raises(OSError, match=r"No space|Input/output"):
        publish(tmp_path / "a", b"content")

    assert list(tmp_path.iterdir()) == []


def test_many_at_once(tmp_path):
    """Of many that publish the same file one succeeds, and the file is whole whenever it is looked at."""
    begin = threading.Barrier(8)

    def attempt(number):
        begin.wait()
        try:
            publish(tmp_path / "a", b"%d" % number * 100_000)
            return number
        except FileExistsError:
            return None

    with ThreadPoolExecutor(8) as pool:
        [winner] = [number for number in pool.map(attempt, range(8)) if number is not None]

    assert (tmp_path / "a").read_bytes() == b"%d" % winner * 100_000
