"""Videos: frames are handed over as they lie in memory, and stored by a worker as MP4 or GIF; files stay as they are."""

from __future__ import annotations

import errno
import math
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from tempfile import TemporaryFile
from typing import IO, Any

from mlv.encoding import shown
from mlv.media import npy, pixels
from mlv.media.extras import FFMPEG, PILLOW
from mlv.media.given import Formats, Received, formats, given_file, received
from mlv.media.image import pillow_if_installed
from mlv.media.jobs import Prepared, Target, Unusable
from mlv.protocols import Buffer

FORMATS: Formats = formats(
    mov=rb"....ftypqt", mp4=rb"....ftyp", webm=rb"\x1a\x45\xdf\xa3.*webm", mkv=rb"\x1a\x45\xdf\xa3", avi=rb"RIFF....AVI ",
    gif=rb"GIF8[79]a", ogv=rb"OggS",
)  # fmt: skip

_WRITTEN = ("mp4", "gif")
_LOWEST_FPS, _HIGHEST_FPS = 0.01, 1000
_FINISHING_S = 600  # all frames are encoded already: it only writes the rest
_LOOKING_S = 60  # it reads no more than the headers

_PIXELS = {1: "gray", 2: "ya8", 3: "rgb24", 4: "rgba"}
# One thread: the others belong to the training. With this preset a frame of 640x480 takes 4 ms; with the usual one 10 ms, for
# a file that is no smaller.
_MP4 = (
    "-an", "-vcodec", "libx264", "-pix_fmt", "yuv420p", "-crf", "18", "-preset", "veryfast", "-threads", "1", "-f", "mp4",
)  # fmt: skip


# In the training process.


def needed_package(options: Mapping[str, Any]) -> str | None:
    """Return the package that a worker needs for an event with these options: none where it is a file already."""
    if "video" in options:
        return None
    return PILLOW if options.get("format") == "gif" else FFMPEG


def prepare(value: Any, *, fps: float = 24, format: str = "mp4", caption: Any = None, layout: str | None = None) -> Prepared:
    """Recognise a video, and look at it no closer: its values are checked by a worker.

    Args:
        value: Frames as an array or tensor of shape THW, THWC or TCHW with 1 to 4 channels, or as a list of images of one
            size; of the dtypes that images have. Or an MP4, MOV, WebM, MKV, AVI, GIF or OGV as a path or as bytes, which is
            stored as it is.
        fps: Frames per second, of which a GIF shows at most 100; not looked at for a file.
        format: `mp4` or `gif`; not looked at for a file. Both are without alpha; MP4 has an even width and height: a row
            and a column are repeated where they are odd.
        caption: A text.
        layout: Such as `TCHW`, where both ends of the shape of a frame may be channels (the last one wins), and for frames
            of a width of 1 to 4.

    Raises:
        Unusable: It is no video, or cannot have this rate or format.
    """
    options: dict[str, Any] = {} if caption is None else {"caption": caption}
    file = given_file(value, FORMATS, "video")
    if file is not None:
        return Prepared("video", "video", {"video": file[0], **options}, file[1])
    if format not in _WRITTEN:
        raise Unusable(f"format={shown(format)} is not written: give {' or '.join(map(repr, _WRITTEN))}, or a file")
    frames = [pixels.one_image(frame, layout) for frame in value] if isinstance(value, (list, tuple)) else []
    descriptions, buffers = zip(*(frames or [pixels.many_images(value, "T", layout)]), strict=True)
    options.update(frames=list(descriptions), fps=_checked_fps(fps), format=format)
    return Prepared("video", "video", options, buffers)


def _checked_fps(fps: Any) -> float:
    try:
        plain = float(fps)
    except (TypeError, ValueError, OverflowError):
        plain = math.nan
    if not _LOWEST_FPS <= plain <= _HIGHEST_FPS:
        raise Unusable(f"fps={shown(fps)} is no rate of frames: give a number from {_LOWEST_FPS} to {_HIGHEST_FPS}")
    return int(plain) if plain == int(plain) else plain


# In a worker.


def encode(options: Mapping[str, Any], buffers: Sequence[Buffer], target: Target) -> dict[str, Any]:
    """Store frames as MP4 or GIF, and files as they are. Where the extra is missing, frames are stored as `.npy` (THWC, uint8).

    Raises:
        Unusable: A frame has values out of range or is not of the first one's size, or the file is gone; nothing is stored.
    """
    caption = {key: options[key] for key in ("caption",) if key in options}
    if "video" in options:
        return {**_file_data(received(options["video"], iter(buffers)), target), **caption}
    count = sum(pixels.count(description) for description in options["frames"])
    first = next(_frames(options, buffers))
    suffix, write = _writing(options, first, count)
    reference = target.file(suffix, lambda path: write(path, _frames(options, buffers)))
    return {
        "file": reference, "frames": count, "fps": options["fps"], "width": first.width, "height": first.height,
        "duration_s": count / options["fps"], **({"encoding": "npy"} if suffix == ".npy" else {}), **caption,
    }  # fmt: skip


def _frames(options: Mapping[str, Any], buffers: Sequence[Buffer]) -> Iterator[pixels.Pixels]:
    """Yield the frames, checking that all are like the first one."""
    first: pixels.Pixels | None = None
    for description, buffer in zip(options["frames"], buffers, strict=True):
        for frame in pixels.pixels_in(description, buffer):
            first = first or frame
            if frame[:3] != first[:3]:
                raise Unusable(
                    f"a frame of {_size(frame)} follows one of {_size(first)} (width x height x channels): give them one size"
                )
            yield frame


def _size(frame: pixels.Pixels) -> str:
    return f"{frame.width}x{frame.height}x{frame.channels}"


_Write = Callable[[str, Iterable[pixels.Pixels]], None]


def _writing(options: Mapping[str, Any], first: pixels.Pixels, count: int) -> tuple[str, _Write]:
    """Return the suffix of the file, and a function that writes it with the installed packages."""
    if options["format"] == "gif" and pillow_if_installed() is not None:
        return ".gif", lambda path, frames: _write_gif(path, frames, options["fps"])
    program = _ffmpeg()
    if options["format"] == "mp4" and program is not None:
        return ".mp4", lambda path, frames: _write_mp4(_command(program, path, first, options["fps"]), path, frames)
    return ".npy", lambda path, frames: _write_npy(path, frames, (count, first.height, first.width, first.channels))


def _ffmpeg() -> str | None:
    """Return the path of the program that comes with the extra, None without it."""
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):  # or it was installed without a program for this machine
        return None


def _write_npy(path: str, frames: Iterable[pixels.Pixels], shape: tuple[int, ...]) -> None:
    with open(path, "wb") as file:
        file.write(npy.header("|u1", shape))
        for frame in frames:
            file.write(frame.data)


def _write_gif(path: str, frames: Iterable[pixels.Pixels], fps: float) -> None:
    pillow = pillow_if_installed()
    first, *following = (
        pillow.frombytes(pixels.MODES[frame.channels], (frame.width, frame.height), bytes(frame.data)).convert("RGB")
        for frame in frames
    )
    duration_ms = max(round(1000 / fps), 10)  # a GIF counts in hundredths of a second
    try:
        first.save(path, "GIF", save_all=True, append_images=following, duration=duration_ms, loop=0)
    except OSError as error:
        if error.errno is None:  # from Pillow itself, not from the disk
            raise Unusable(f"the frames cannot be encoded: {shown(error)}") from error
        raise


def _command(program: str, path: str, first: pixels.Pixels, fps: float) -> list[str]:
    rate, size = str(Fraction(fps).limit_denominator(100_000)), f"{first.width}x{first.height}"
    right, below = first.width % 2, first.height % 2
    even = f"pad={first.width + right}:{first.height + below},fillborders=right={right}:bottom={below}:mode=smear"
    return [
        program, "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", _PIXELS[first.channels], "-s", size, "-r", rate, "-i", "-",
        *(["-vf", even] if right or below else []), *_MP4, path,
    ]  # fmt: skip


def _write_mp4(command: list[str], path: str, frames: Iterable[pixels.Pixels]) -> None:
    with TemporaryFile() as errors:
        with _running(command, errors) as (process, pipe):
            with suppress(BrokenPipeError), pipe:  # it says itself why it ended
                for frame in frames:
                    pipe.write(frame.data)
            process.wait(_FINISHING_S)
        errors.seek(0)
        reason = errors.read().decode(errors="replace").strip()
    if process.returncode != 0:
        if os.strerror(errno.ENOSPC) in reason:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        raise Unusable(f"the frames cannot be encoded: {shown(reason)}")


@contextmanager
def _running(command: list[str], errors: Any) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Start a process that does not outlive the block, with `errors` as its stderr; yield it and its input."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors) as process:
        try:
            assert process.stdin is not None  # it was asked for
            yield process, process.stdin
        except BaseException:
            process.kill()
            raise


def _file_data(file: Received, target: Target) -> dict[str, Any]:
    properties: dict[str, Any] = {}

    def write(path: str) -> None:
        file.write(path)
        with suppress(Exception):  # a video that is not understood here is stored all the same
            properties.update(_look_into(path))

    return {"file": target.file(file.suffix, write), **properties}


def _look_into(path: str) -> dict[str, Any]:
    """Read size, rate and duration of a video, as far as the installed packages can; of a GIF size and number of frames."""
    pillow, program = pillow_if_installed(), _ffmpeg()
    if path.endswith(".gif"):
        if pillow is None:
            return {}
        with pillow.open(path) as image:
            return {"frames": image.n_frames, "width": image.width, "height": image.height}
    if program is None:
        return {}
    command = [program, "-hide_banner", "-i", path]
    output = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LOOKING_S).stderr
    return described(output.decode(errors="replace"))


def described(output: str) -> dict[str, Any]:
    """Parse ffmpeg's description of a file into numbers."""
    properties: dict[str, Any] = {}
    if match := re.search(r"Video: .*, ([\d.]+) fps", output):
        properties["fps"] = float(match[1])
    if match := re.search(r"Video: .*?, (\d+)x(\d+)\b", output):
        properties.update(width=int(match[1]), height=int(match[2]))
    if match := re.search(r"Duration: (\d+):(\d\d):([\d.]+)", output):
        properties["duration_s"] = int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])
    return properties
