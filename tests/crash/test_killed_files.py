"""Processes that are killed while they publish files, and disks that are full when they do."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import wait_until

import mlv
from crash.victims import SEED, scaled
from mlv.errors import FileUnusable
from mlv.store.blobs import TEMPORARY
from mlv.store.contents import content_of

TRIALS = scaled(16, soak=200)

PUBLISHING = """
import itertools, sys
from pathlib import Path
import mlv

exp = mlv.Exp.open(sys.argv[1])
source = Path(sys.argv[2])
for number in itertools.count():
    content = b"%d\\n" % (number % 5) * 200_000
    source.write_bytes(content)
    with exp.file("file", "wb") as file:
        file.write(content)
    with exp.filepath("folder") as path:
        path.mkdir()
        for name in "abc":
            (path / name).write_bytes(content)
    exp.attach(source, f"attached{number % 3}", how=("copy", "link", "move")[number % 3])
"""
WHOLE = {hashlib.sha256(b"%d\n" % number * 200_000).hexdigest() for number in range(5)}


@pytest.mark.crash
@pytest.mark.timeout(scaled(300, soak=1800))
def test_a_process_is_killed_while_it_publishes(tmp_path):
    """Every file is whole whenever that happens; what was not finished is removed by the next one, and nothing else is."""
    with mlv.Exp(tmp_path, "exp", capture=()) as exp:
        pass
    files = exp.path / "files"
    print(f"MLV_CRASH_SEED={SEED}")
    chance = random.Random(SEED)
    left = 0

    for _ in range(TRIALS):
        command = [sys.executable, "-W", "error", "-c", PUBLISHING, str(exp.path), str(tmp_path / "source")]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, cwd=tmp_path)
        began = time.time()
        wait_until(lambda began=began: is_changed_since(files, began))
        time.sleep(chance.random() * 0.1)
        process.send_signal(signal.SIGKILL)
        assert process.communicate()[1] == b""

        assert_all_whole(files)
        left += sum(entry.name.startswith(TEMPORARY) for entry in entries(files))
        with mlv.Exp.open(exp.path) as again, again.file("last", "w"):
            pass
        assert not [entry for entry in entries(files) if entry.name.startswith(TEMPORARY)]

    assert left > 0, "no process was killed at a moment that matters"


CUT_SHORT = """
import os, signal, sys
import mlv
from mlv.store import blobs

exp = mlv.Exp.open(sys.argv[1])
make_durable = blobs.make_durable

def killed(path, **options):
    if path.parent.name == "files":
        os.kill(os.getpid(), signal.SIGKILL)
    make_durable(path, **options)

blobs.make_durable = killed
with exp.filepath("folder") as path:
    path.mkdir()
    (path / "a").write_text("first")
"""


def test_a_folder_that_was_moved_and_has_no_event(tmp_path):
    """A folder whose process was killed between its move and its event is published again under its name."""
    with mlv.Exp(tmp_path, "exp", capture=()) as exp:
        pass
    done = subprocess.run([sys.executable, "-W", "error", "-c", CUT_SHORT, str(exp.path)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert (exp.path / "files" / "folder" / "a").read_text() == "first"

    with mlv.Exp.open(exp.path) as again, again.filepath("folder") as path:
        path.mkdir()
        (path / "a").write_text("second")

    assert (exp.path / "files" / "folder" / "a").read_text() == "second"
    assert [event.name for event in again.events("file")] == ["folder"]
    assert list((exp.path / ".mlv" / "unfinished").iterdir()) == []


def entries(folder: Path) -> list[Path]:
    return [Path(entry.path) for entry in os.scandir(folder)] if folder.exists() else []


def is_changed_since(folder: Path, time_s: float) -> bool:
    """Whether there is a file that is younger; one that vanishes meanwhile was one on its way."""
    for entry in entries(folder):
        with suppress(FileNotFoundError):
            if entry.stat().st_mtime > time_s:
                return True
    return False


def assert_all_whole(files: Path) -> None:
    """Each file has one of the contents that are whole; each folder has the same one in all its files."""
    for path in entries(files):
        if not path.name.startswith(("file", "folder", "attached")):
            continue  # not finished, or captured by a later run
        found = {content_of(file).sha256 for file in (path.iterdir() if path.is_dir() else [path])}
        assert len(found) == 1, path
        assert found <= WHOLE, path


def test_full_disk(small_disk):
    """On a full disk nothing is published in part: what was there stays, and training goes on."""
    with mlv.Exp(small_disk, "full", capture=()) as exp:
        path = exp.save_extra("state", "old" * 1000)
        before = path.read_bytes()
        too_much = "new" * 200_000
        source = small_disk.parent / "source"
        source.write_text(too_much)

        def by_hand():
            with exp.filepath("state") as path:
                path.write_text(too_much)

        def in_pieces():
            with exp.file("state", "w") as file:
                for _ in range(600):
                    file.write("n" * 1000)

        for publish in (
            by_hand,
            in_pieces,
            lambda: exp.save_extra("state", too_much),
            lambda: exp.attach(source, "extra/state.json"),
            lambda: exp.attach(source, "extra/state.json", how="move"),
        ):
            with pytest.raises(FileUnusable, match="No space left on device"):
                publish()

        assert path.read_bytes() == before
        assert [entry.name for entry in entries(exp.path / "files")] == ["extra"]
        assert [entry.name for entry in entries(path.parent)] == ["state.json"]
        assert source.exists()
        exp.save_extra("state", "small enough")

    assert mlv.Exp.open(exp.path).load_extra("state") == "small enough"
