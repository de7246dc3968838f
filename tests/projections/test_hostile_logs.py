"""What outputs make of logs that somebody else wrote: no file of the reader's comes into them."""

from __future__ import annotations

import io
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from logs import line

import mlv
from mlv.projections import replay

pytestmark = pytest.mark.usefixtures("inline")

SECRET = b"RIFF-a-secret-of-the-reader"
KINDS = {"audio": "a.wav", "image": "a.png", "figure": "a.png", "video": "a.gif", "array": "a.npy", "graph": "a.json"}


def hostile(root: Path, kind: str, path: str, content: bytes, **more: Any) -> Path:
    """An experiment whose last event refers to a file, with the right size and hash of what is to be stolen."""
    with mlv.Exp(root, "exp", capture=()) as exp:
        exp.log({"loss": 1.0}, step=1)
    reference = {"_mlv": "file", "path": path, "size": len(content), "sha256": sha256(content).hexdigest()}
    with open(exp.path / "log.jsonl", "ab") as log:
        log.write(line("rattacker0", 1, kind, name="x", data={"file": reference, "rate": 1, "channels": 1, **more}))
    return exp.path


def holds(folder: Path, content: bytes) -> bool:
    return any(content in path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("output", ["tensorboard", "hdf5"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["..", "absolute", "a link", "a folder that is a link", "another file of the experiment"])
def test_files_from_elsewhere(tmp_path, output, kind, way):
    """B5: no output embeds what lies outside the experiment, or behind a link, or is no attachment, whatever the event says."""
    pytest.importorskip("tensorboardX" if output == "tensorboard" else "h5py")
    numpy = pytest.importorskip("numpy")
    content = SECRET
    if output == "hdf5" or kind == "array":
        numpy.save(buffer := io.BytesIO(), numpy.frombuffer(SECRET, numpy.uint8))
        content = buffer.getvalue()
    name = "a.npy" if output == "hdf5" else KINDS[kind]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / name).write_bytes(content)
    path = {
        "..": f"../../elsewhere/{name}", "absolute": str(tmp_path / "elsewhere" / name), "a link": f"files/{name}",
        "a folder that is a link": f"files/in/{name}", "another file of the experiment": f"squeeze/{name}",
    }[way]  # fmt: skip
    folder = hostile(tmp_path / "runs", kind, path, content)
    for place in ("files", "squeeze"):
        (folder / place).mkdir()
    if way == "a link":
        (folder / path).symlink_to(tmp_path / "elsewhere" / name)
    elif way == "a folder that is a link":
        (folder / "files" / "in").symlink_to(tmp_path / "elsewhere")
    elif way.startswith("another"):
        (folder / path).write_bytes(content)

    assert not holds(replay(folder, output), SECRET)


@pytest.mark.parametrize("other", ["other bytes", "another size", "a pipe"])
def test_files_that_are_not_as_recorded(tmp_path, other):
    """B5: a file that is not the one that was recorded is named, not shown; a pipe is not waited for."""
    pytest.importorskip("tensorboardX")
    if other == "a pipe" and not hasattr(os, "mkfifo"):
        pytest.skip("this system has no pipes")
    folder = hostile(tmp_path / "runs", "audio", "files/a.wav", SECRET)
    (folder / "files").mkdir()
    if other == "a pipe":
        os.mkfifo(folder / "files" / "a.wav")
    else:
        (folder / "files" / "a.wav").write_bytes(SECRET[::-1] if other == "other bytes" else SECRET * 2)

    written = replay(folder, "tensorboard")

    assert not holds(written, SECRET[::-1])
    assert holds(written, b"This audio cannot be shown")


def test_a_film_that_is_a_list_of_files(tmp_path):
    """B5: a playlist that calls itself a video does not have other files read."""
    pytest.importorskip("tensorboardX")
    pytest.importorskip("imageio_ffmpeg")
    listed = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{tmp_path}/secret.ts\n#EXT-X-ENDLIST\n".encode()
    (tmp_path / "secret.ts").write_bytes(SECRET)
    folder = hostile(tmp_path / "runs", "video", "files/a.mp4", listed)
    (folder / "files").mkdir()
    (folder / "files" / "a.mp4").write_bytes(listed)

    assert holds(replay(folder, "tensorboard"), b"This video cannot be shown")
