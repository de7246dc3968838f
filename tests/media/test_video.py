"""Frames become a file that players show; files of videos are stored as they are."""

from __future__ import annotations

import errno
import math
import os
import subprocess
import sys

import pytest

from media.places import Folder
from mlv.media import given, video
from mlv.media.jobs import Unusable

numpy = pytest.importorskip("numpy")

RANDOM = numpy.random.default_rng(0)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "media")


@pytest.fixture
def ffmpeg():
    """The program that shows what players show."""
    return pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()


@pytest.fixture
def pillow():
    return pytest.importorskip("PIL.Image")


def levels(count, *shape):
    """Frames that are each of one level, from black to white."""
    frames = numpy.linspace(0, 255, count).astype("u1")
    return numpy.broadcast_to(frames.reshape(-1, *([1] * len(shape))), (count, *shape))


def shown(ffmpeg, path, width, height):
    """The frames of a file as players show them, scaled to nothing: their pixels."""
    command = [ffmpeg, "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    content = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    return numpy.frombuffer(content, "u1").reshape(-1, height, width, 3)


def test_what_is_left(folder, ffmpeg):
    """One MP4, and data that says what is in it."""
    data = folder.data(video.prepare(levels(6, 32, 48, 3), fps=12, caption="brighter"))

    path = folder.at(data["file"])
    assert data == {
        "file": data["file"], "frames": 6, "fps": 12, "width": 48, "height": 32, "duration_s": 0.5, "caption": "brighter",
    }  # fmt: skip
    assert data["file"]["media_type"] == "video/mp4"
    found = shown(ffmpeg, path, 48, 32)
    assert found.mean((1, 2, 3)) == pytest.approx(numpy.linspace(0, 255, 6), abs=4)


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((4, 16, 20), None),
        ((4, 16, 20, 1), None),
        ((4, 16, 20, 2), None),
        ((4, 16, 20, 3), None),
        ((4, 16, 20, 4), None),
        ((4, 1, 16, 20), None),
        ((4, 3, 16, 20), None),
        ((3, 16, 20, 4), "CHWT"),
    ],
)
def test_shapes(folder, ffmpeg, shape, layout):
    """The axes are known by the shape; where it leaves a choice THWC wins, unless a layout is given."""
    data = folder.data(video.prepare(RANDOM.integers(0, 256, shape, dtype="u1"), layout=layout))

    assert (data["frames"], data["height"], data["width"]) == (4, 16, 20)
    assert shown(ffmpeg, folder.at(data["file"]), 20, 16).shape == (4, 16, 20, 3)


@pytest.mark.parametrize("size", [(15, 21), (1, 1), (16, 17), (100, 3)])
def test_odd_sizes(folder, ffmpeg, size):
    """A row and a column are repeated where they are odd: most players show nothing else."""
    data = folder.data(video.prepare(levels(3, *size, 3)))

    assert (data["height"], data["width"]) == size
    found = shown(ffmpeg, folder.at(data["file"]), *(length + length % 2 for length in reversed(size)))
    assert found.mean((1, 2, 3)) == pytest.approx([0, 127, 255], abs=4)


@pytest.mark.parametrize("fps", [0.01, 0.5, 29.97, 24_000 / 1001, 1000, numpy.float32(30)])
def test_rates(folder, ffmpeg, fps):
    """A file moves as fast as was asked for."""
    data = folder.data(video.prepare(levels(3, 8, 8), fps=fps))

    again = folder.data(video.prepare(folder.at(data["file"])))
    assert data["fps"] == pytest.approx(float(fps))
    assert again["duration_s"] == pytest.approx(data["duration_s"], abs=0.01)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_channels(folder, ffmpeg, channels):
    """Grey stays as light as it was; alpha is left out."""
    data = folder.data(video.prepare(levels(5, 16, 16, channels)))

    found = shown(ffmpeg, folder.at(data["file"]), 16, 16)
    assert found.mean((1, 2, 3)) == pytest.approx(numpy.linspace(0, 255, 5), abs=4)


def test_a_list_of_frames(folder, ffmpeg, pillow):
    """Frames may come one by one, as whatever an image can be."""
    frames = [numpy.zeros((8, 8, 3), "u1"), numpy.full((8, 8, 3), 0.5), pillow.new("RGB", (8, 8), "white")]

    data = folder.data(video.prepare(frames))

    assert shown(ffmpeg, folder.at(data["file"]), 8, 8).mean((1, 2, 3)) == pytest.approx([0, 127, 255], abs=4)


def test_gif(folder, pillow):
    """A GIF moves at the rate that was asked for."""
    data = folder.data(video.prepare(levels(3, 15, 21), fps=10, format="gif"))

    with pillow.open(folder.at(data["file"])) as image:
        assert (image.n_frames, image.size, image.info["duration"]) == (3, (21, 15), 100)
        image.seek(2)
        assert image.convert("RGB").getpixel((5, 5)) == (255, 255, 255)
    assert (data["frames"], data["width"], data["height"], data["duration_s"]) == (3, 21, 15, 0.3)


@pytest.mark.parametrize(("format", "missing"), [("mp4", "imageio_ffmpeg"), ("gif", "PIL")])
@pytest.mark.parametrize("scale", [1, 255])
def test_without_the_extra(folder, monkeypatch, format, missing, scale):
    """The frames are stored as an array: frames, rows, columns, channels."""
    monkeypatch.setitem(sys.modules, missing, None)
    value = RANDOM.integers(0, 256, (3, 1, 5, 7), dtype="u1")

    data = folder.data(video.prepare(value if scale == 1 else value / 255, format=format))

    assert (data["encoding"], data["frames"], data["width"], data["height"]) == ("npy", 3, 7, 5)
    found = numpy.load(folder.at(data["file"]), allow_pickle=False)
    assert numpy.array_equal(found, value.transpose(0, 2, 3, 1))


def test_without_a_program(folder, monkeypatch):
    """Where ffmpeg is missing though its package is installed, the frames are stored as an array."""
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")

    def none():
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", none)

    assert folder.data(video.prepare(levels(2, 4, 4)))["encoding"] == "npy"


@pytest.fixture
def failing(tmp_path, monkeypatch):
    """Puts a program in the place of ffmpeg, which says a text and fails."""
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")

    def put(text):
        program = tmp_path / "ffmpeg"
        program.write_text(f"#!/bin/sh\necho '{text}' >&2\nexit 1\n")
        program.chmod(0o755)
        monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(program))

    return put


def test_an_encoder_that_fails(folder, failing):
    """What it says becomes the reason, and no broken file is left."""
    failing("Unknown encoder")

    assert folder.reason(video.prepare(levels(200, 64, 64, 3))) == "the frames cannot be encoded: 'Unknown encoder'"


def test_a_full_disk(folder, failing):
    """It is an error of the disk: the same can be done again when there is space."""
    failing(f"av_interleaved_write_frame(): {os.strerror(errno.ENOSPC)}")

    with pytest.raises(OSError, match="No space left"):
        folder.line(video.prepare(levels(200, 64, 64, 3)))


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([numpy.zeros((4, 4), "u1"), numpy.zeros((4, 5), "u1")], "a frame of 5x4x1 follows one of 4x4x1"),
        ([numpy.zeros((4, 4, 3), "u1"), numpy.zeros((4, 4, 4), "u1")], "a frame of 4x4x4 follows"),
        (numpy.full((3, 4, 4), math.nan), "16 of 16 values that are NaN or infinite"),
        (numpy.stack([numpy.zeros((4, 4)), numpy.full((4, 4), 9.0)]), "from 9 to 9 instead of 0..1"),
    ],
)
@pytest.mark.parametrize("format", ["mp4", "gif"])
def test_frames_that_cannot_be_stored(folder, frames, format, reason):
    """A worker rejects the event, and leaves no file."""
    assert reason in folder.reason(video.prepare(frames, format=format))


@pytest.mark.parametrize(
    ("value", "options", "reason"),
    [
        (numpy.zeros((4, 4)), {}, "known are THW, THWC or TCHW"),
        (numpy.zeros((40, 40, 3)), {}, "say layout='THW'"),
        (numpy.zeros((2, 5, 5, 5)), {}, "does not hold many images"),
        (numpy.zeros((2, 0, 4, 3)), {}, "has no pixels"),
        (numpy.zeros((2, 4, 4), complex), {}, "dtype complex128"),
        ([], {}, "type list is no array"),
        ([numpy.zeros(4)], {}, r"shape \(4,\) is no image"),
        ("missing.mp4", {}, "cannot be read: No such file"),
        (b"hello", {}, "bytes given are no video that is known: MOV, MP4"),
        (numpy.zeros((2, 4, 4)), {"fps": 0}, "fps=0 is no rate of frames"),
        (numpy.zeros((2, 4, 4)), {"fps": math.nan}, "fps=nan"),
        (numpy.zeros((2, 4, 4)), {"fps": 1e-5}, "give a number from 0.01 to 1000"),
        (numpy.zeros((2, 4, 4)), {"fps": "fast"}, "fps='fast'"),
        (numpy.zeros((2, 4, 4)), {"format": "avi"}, "format='avi' is not written: give 'mp4' or 'gif'"),
    ],
)
def test_what_is_no_video(value, options, reason):
    """It is refused at once, and the text says what was seen and what is known."""
    with pytest.raises(Unusable, match=reason):
        video.prepare(value, **options)


# Files.


@pytest.fixture(params=["mp4", "gif"])
def path(request, tmp_path, ffmpeg, pillow):
    """A video that somebody made."""
    made = Folder(tmp_path / "made")
    return made.at(made.data(video.prepare(levels(5, 16, 24, 3), fps=10, format=request.param))["file"])


@pytest.mark.parametrize("form", ["path", "bytes", "large"])
def test_files(folder, path, form, monkeypatch):
    """Not a byte changes; the size is that which the file says."""
    if form == "large":
        monkeypatch.setattr(given, "READ_AT_ONCE", 100)
    prepared = video.prepare(path.read_bytes() if form == "bytes" else path, caption="a caption")

    data = folder.data(prepared)

    assert sum(map(len, prepared.buffers)) == (0 if form == "large" else path.stat().st_size)
    assert folder.at(data["file"]).read_bytes() == path.read_bytes()
    assert folder.at(data["file"]).suffix == path.suffix
    assert (data["width"], data["height"], data["caption"]) == (24, 16, "a caption")
    if path.suffix == ".mp4":
        assert (data["fps"], data["duration_s"]) == (10, 0.5)


def test_a_large_file_that_changed(folder, path, monkeypatch):
    """The event says so, and nothing is stored."""
    monkeypatch.setattr(given, "READ_AT_ONCE", 100)
    prepared = video.prepare(path)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes() + b"more")

    assert "changed before it was copied" in folder.reason(prepared)


BEGINNINGS = [
    (b"\0\0\0\x20ftypisom", ".mp4"),
    (b"\0\0\0\x14ftypqt  ", ".mov"),
    (b"\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x1f\x42\x82\x84webm", ".webm"),
    (b"\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x1f\x42\x82\x88matroska", ".mkv"),
    (b"RIFF\0\0\0\0AVI LIST", ".avi"),
    (b"OggS\0\2", ".ogv"),
]


@pytest.mark.parametrize(("content", "suffix"), BEGINNINGS)
def test_formats(folder, content, suffix):
    """The format is known by the first bytes; a file that nobody here understands is stored all the same."""
    data = folder.data(video.prepare(content))

    assert set(data) == {"file"}
    assert folder.at(data["file"]).suffix == suffix


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "  Duration: 01:02:03.50, start: 0.0\n  Stream #0:0[0x1](und): Video: h264 (High) (avc1 / 0x31637661), "
            "yuv420p(tv, bt709), 640x480 [SAR 1:1 DAR 4:3], 21 kb/s, 29.97 fps, 29.97 tbr, 30k tbn",
            {"duration_s": 3723.5, "width": 640, "height": 480, "fps": 29.97},
        ),
        ("  Duration: N/A, bitrate: N/A\n  Stream #0:0: Audio: aac, 44100 Hz, stereo", {}),
        ("Invalid data found when processing input", {}),
    ],
)
def test_what_is_said_about_a_file(said, expected):
    """Only what is said is taken."""
    assert video.described(said) == expected
