"""Files that are images already are stored byte by byte, however they are given."""

from __future__ import annotations

import os
import sys

import pytest

from media.places import Folder
from mlv.media import given, image
from mlv.media.jobs import Unusable

pillow = pytest.importorskip("PIL.Image")


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "media")


def written(path, format, size=(6, 4)):
    pillow.effect_noise(size, 50).convert("RGB").save(path, format)
    return path


FORMATS = [("PNG", ".png"), ("JPEG", ".jpg"), ("GIF", ".gif"), ("WEBP", ".webp"), ("BMP", ".bmp")]
AS = {
    "str": str,
    "path": lambda path: path,
    "bytes": lambda path: path.read_bytes(),
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
}


@pytest.mark.parametrize(("format", "suffix"), FORMATS)
@pytest.mark.parametrize("form", AS)
def test_formats(folder, tmp_path, format, suffix, form):
    """The format is known by the first bytes, not by the name; not a byte changes."""
    path = written(tmp_path / "image.without-suffix", format)

    data = folder.data(image.prepare(AS[form](path)))

    stored = folder.at(data["file"])
    assert stored.suffix == suffix
    assert stored.read_bytes() == path.read_bytes()
    assert (data["width"], data["height"]) == (6, 4)


def test_without_pillow(folder, tmp_path, monkeypatch):
    """Nobody looks into the file then; it is stored all the same."""
    path = written(tmp_path / "a.png", "PNG")
    monkeypatch.setitem(sys.modules, "PIL", None)

    data = folder.data(image.prepare(path))

    assert set(data) == {"file"}
    assert folder.at(data["file"]).read_bytes() == path.read_bytes()


def test_overwritten_at_once(folder, tmp_path):
    """A small file may be overwritten as soon as the call has returned."""
    path = written(tmp_path / "a.png", "PNG")
    content = path.read_bytes()
    prepared = image.prepare(path)

    path.write_bytes(b"something else")

    assert folder.at(folder.data(prepared)["file"]).read_bytes() == content


@pytest.fixture
def large(tmp_path, monkeypatch):
    """A file that counts as large."""
    monkeypatch.setattr(given, "READ_AT_ONCE", 1000)
    return written(tmp_path / "large.bmp", "BMP", (40, 30))


def test_a_large_file(folder, large, monkeypatch):
    """It is not read by the training process: a worker copies it from where it lies, wherever the worker is."""
    monkeypatch.chdir(large.parent)
    prepared = image.prepare("large.bmp")
    monkeypatch.chdir("/")

    data = folder.data(prepared)

    assert prepared.buffers == []
    assert folder.at(data["file"]).read_bytes() == large.read_bytes()
    assert (data["width"], data["height"]) == (40, 30)


@pytest.mark.parametrize("has_pillow", [True, False])
@pytest.mark.parametrize(
    ("do", "reason"),
    [
        (lambda path: path.unlink(), "is no longer there to be read: No such file"),
        (lambda path: path.write_bytes(path.read_bytes() + b"more"), "changed before it was copied"),
        (lambda path: os.utime(path, ns=(1, 1)), "changed before it was copied"),
        (lambda path: (path.unlink(), path.mkdir()), "is no longer there to be read: Is a directory"),
    ],
    ids=["vanished", "grew", "touched", "replaced"],
)
def test_a_large_file_that_changes(folder, large, monkeypatch, has_pillow, do, reason):
    """The event says so, and nothing is stored."""
    prepared = image.prepare(large)
    do(large)
    if not has_pillow:
        monkeypatch.setitem(sys.modules, "PIL", None)

    assert reason in folder.reason(prepared)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "WEBP", "BMP"])
def test_half_a_file(folder, tmp_path, format):
    """What cannot be read to its end is no image."""
    content = written(tmp_path / "a", format, (60, 40)).read_bytes()

    assert "cannot be read" in folder.reason(image.prepare(content[: len(content) // 2]))


def test_what_is_no_file(tmp_path):
    """A path that leads nowhere, to a folder, or to something else is refused at once."""
    (tmp_path / "text.png").write_text("not an image at all")
    os.mkfifo(tmp_path / "pipe.png")
    for path, reason in [
        ("missing.png", "cannot be read: No such file"),
        ("", "is a folder"),
        ("pipe.png", "no regular file"),
        ("text.png", "is no image that is known: PNG, JPG, GIF, WEBP, BMP are, and this begins with b'not an image"),
        ("with\0null", "cannot be read"),
        ("x" * 5000, "cannot be read: File name too long"),
    ]:
        with pytest.raises(Unusable, match=reason):
            image.prepare(str(tmp_path / path))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    """The reason is that of the system."""
    path = written(tmp_path / "a.png", "PNG")
    path.chmod(0)

    with pytest.raises(Unusable, match="Permission denied"):
        image.prepare(path)


@pytest.mark.parametrize("content", [b"", b"hello", memoryview(b"")])
def test_bytes_that_are_no_image(content):
    """They are refused at once, with how they begin."""
    with pytest.raises(Unusable, match="bytes given are no image that is known"):
        image.prepare(content)
