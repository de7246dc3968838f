"""What `mlv.store.attached` promises: a path that stands in data leads to a file of the experiment, or to none at all."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest

from mlv.errors import FileUnusable
from mlv.store import attached, layout

SECRET = b"a secret of somebody else"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An experiment with attachments, beside a file of somebody else."""
    exp = tmp_path / "runs" / "exp"
    for place in ("files/media", "models/top_k", "val/latest"):
        (exp / place).mkdir(parents=True)
    (tmp_path / "secret").write_bytes(SECRET)
    (exp / layout.META).write_text("{}")
    return exp


def reference(path: str, content: bytes = SECRET) -> dict[str, object]:
    return {"_mlv": "file", "path": path, "size": len(content), "sha256": sha256(content).hexdigest()}


@pytest.mark.parametrize(
    "path", ["files/a", "files/media/train/loss/1.png", "models/top_k/000001-step3.npz", "val/latest/000001", "files/.hidden"]
)
def test_what_an_experiment_attaches(folder, path):
    """Files below `files`, and checkpoints in the folders of a portfolio, are read."""
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(SECRET)

    assert attached.checked(folder, path) == folder / path
    assert attached.read(folder, reference(path)) == SECRET


@pytest.mark.parametrize(
    "path",
    [
        None, 3, ["files/a"], "", ".", "..", "files", "models", "files/", "/files/a", "files//a", "files/.", "files/..",
        "files/../meta.json", "files/a/../../log.jsonl", "./files/a", "../exp/files/a", "../secret", "/etc/passwd", "~/secret",
        "files\\..\\secret", "files/a\\b", "files/a\0b", "files/a\nb", "files/\ud800", "files/" + 256 * "a",
        "meta.json", "log.jsonl", "val.log.jsonl", ".mlv/cache/log.arrow", ".mlv/claims/log.json", "csv/.mlv-csv.json",
        "files/.mlv-csv.json", "files/.tmp-1-a", "models/top_k", "models/top_k/..", "models/top_k/.", "models/top_k/",
        "models/other/a", "models/top_k/a/b", "models/top_k/meta.json", "models/top_k/log.jsonl", "models/top_k/.mlv",
        "val.log.jsonl/top_k/a", ".mlv/top_k/a", "log/top_k/a", "rank1/top_k/a", "notes.txt", "csv/log.csv",
    ],
)  # fmt: skip
def test_what_is_none_of_its_files(folder, path):
    """B2, B5, B6: what leads out, or to what is the store's own, is no path of an attachment, whoever names it."""
    assert not attached.is_attachable(path)
    with pytest.raises(FileUnusable):
        attached.checked(folder, path)


@pytest.mark.parametrize("link", ["files", "files/media", "files/media/a.png"])
def test_links(folder, tmp_path, link):
    """No symbolic link is followed, wherever it is on the way and wherever it leads: also not within the experiment."""
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    for place in ("media/a.png", "a.png"):
        (outside / place).parent.mkdir(exist_ok=True)
        (outside / place).write_bytes(SECRET)
    path = folder / link
    if path.is_dir():
        for inner in sorted(path.rglob("*")):
            inner.rmdir()
        path.rmdir()
    path.symlink_to(tmp_path / "secret" if link.endswith(".png") else outside)

    with pytest.raises(FileUnusable, match="is a symbolic link"):
        attached.read(folder, reference("files/media/a.png"))


def test_a_folder_may_be_reached_by_a_link(folder, tmp_path):
    """The experiment itself may be: that path is the user's own."""
    (folder / "files" / "a").write_bytes(SECRET)
    (tmp_path / "link").symlink_to(folder)

    assert attached.read(tmp_path / "link", reference("files/a")) == SECRET


def test_an_experiment_of_the_name_of_a_section(folder):
    """A sub-experiment `latest` of the kind `val` is no folder of checkpoints."""
    (folder / "val" / "latest" / layout.META).write_text("{}")
    (folder / "val" / "latest" / "files").mkdir()

    assert not attached.is_attachable("val/latest/files")
    with pytest.raises(FileUnusable, match="experiment of its own"):
        attached.checked(folder, "val/latest/notes")


@pytest.mark.parametrize("change", ["size", "sha256"])
def test_other_content(folder, change):
    """Other bytes than were recorded are not read, nor is a file of another size, nor one without a hash."""
    (folder / "files" / "a").write_bytes(SECRET)
    wrong = {**reference("files/a"), change: 1}

    for given in (wrong, {"path": "files/a"}):
        with pytest.raises(FileUnusable, match="recorded"):
            attached.read(folder, given)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_what_is_no_file(folder):
    """A pipe is not waited for; a folder and nothing at all are no file either."""
    os.mkfifo(folder / "files" / "pipe")

    for name in ("pipe", "media", "gone"):
        with pytest.raises(FileUnusable):
            attached.read(folder, reference(f"files/{name}"))


def test_an_open_file_starts_at_its_beginning(folder):
    """What was hashed is what is read, with a position that can be moved."""
    (folder / "files" / "a").write_bytes(SECRET)

    with attached.open_attached(folder, reference("files/a")) as file:
        assert (file.read(8), file.seek(2), file.read()) == (SECRET[:8], 2, SECRET[2:])
