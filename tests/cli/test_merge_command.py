"""What `mlv merge` says, and with which status it ends."""

from __future__ import annotations

import errno
import json
import os

import pytest

from mlv.audit.merge import Merged
from mlv.cli.merge import show
from mlv.errors import FileUnusable


def test_what_it_did(command, runs):
    """Each experiment that got something is told; the second time nothing is lacking."""
    done = command("merge", "runs", "copy")

    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first.startswith("copy/digits (new): brought ")
    assert "lines into log.jsonl" in first
    assert second.startswith("copy/digits/squeeze/subexp_1 (new): brought ")
    assert command("merge", "runs", "copy").stdout == "nothing is lacking in copy\n"
    assert command("verify", "copy/digits").returncode == 0


def test_only_looked(command, runs, tmp_path):
    """With --dry-run it says the same in other words, and does nothing."""
    planned = command("merge", "--dry-run", "runs", "copy").stdout

    assert not (tmp_path / "copy").exists()
    assert planned.replace("would bring", "brought") == command("merge", "runs", "copy").stdout


def test_what_differs(command, runs, tmp_path):
    """Bytes that should be equal and are not give status 1, and say where."""
    command("merge", "runs", "copy")
    log = runs / "digits" / "log.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"mb":3', b'"mb":4'))

    done = command("merge", "runs", "copy")

    assert done.returncode == 1
    assert "differs: runs/digits/log.jsonl, bytes " in done.stdout
    assert "is another one than ours, which stays" in done.stdout


def test_json(command, runs):
    """Each experiment is a JSON object on a line."""
    done = [json.loads(line) for line in command("merge", "--json", "runs", "copy").stdout.splitlines()]

    assert [(one["target"], one["new"], one["differences"]) for one in done] == [
        ("copy/digits", True, []), ("copy/digits/squeeze/subexp_1", True, [])
    ]  # fmt: skip
    assert done[0]["files"] == ["model.npz"]


def test_a_source_that_is_none(command, tmp_path):
    """A folder without experiments is a mistake, told in one line."""
    done = command("merge", "nowhere", "copy")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "mlv: nowhere holds no experiment: give an experiment, or a folder with some\n"


def test_no_room_for_it(tmp_path):
    """A full disk is told with the folder and the next step; what it has by then is told before."""

    def merging():
        yield Merged(tmp_path / "src", tmp_path / "dst" / "first")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(FileUnusable, match=r"dst cannot be written: No space left on device\. Make room there"):
        show(merging(), tmp_path / "dst", dry_run=False, as_json=False)
