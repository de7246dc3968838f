"""Events other than metrics for TensorBoard: values of its summaries, made with tensorboardX."""

from __future__ import annotations

import io
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from mlv.encoding import TAG, json_of_any, shown
from mlv.events import Event
from mlv.optional import is_installed
from mlv.store import attached

MOST_THRESHOLDS = 127
"""Number of points of a curve that TensorBoard takes."""
_MOST_FRAMES = 200  # an image is in memory as a whole in whoever looks at it
_CONVERTING_S = 60  # the other outputs wait for it
_FILMS = "mov,mp4,matroska,webm,avi,gif,mpeg,mpegts,flv,ogg,asf"
"""Formats that hold all that they show; a playlist would let ffmpeg read files anywhere."""


class SummaryValue(NamedTuple):
    """One value, and the series that it belongs to."""

    kind: str
    """A page of TensorBoard: image, audio, histogram, text, pr_curve."""
    name: str
    value: Any
    """A `Summary.Value`, whose tag is still to be set."""


def shown_values(event: Event, folder: Path, *, arrays: bool = False) -> Iterator[SummaryValue]:
    """Yield the values of an event of a type in `TYPES`; one that cannot be shown becomes a text with the reason.

    Paths in the event are relative to the experiment's folder; arrays are shown, where asked, as histograms of their values.
    """
    try:
        if isinstance(event.data, Mapping) and (event.type != "array" or arrays):
            yield from list(_MAKERS[event.type](event, folder))
    except Exception as error:  # a file may be gone or damaged; the next events are not
        yield _text(event.name or event.type, f"This {event.type} cannot be shown: {shown(error)}")


def _images(event: Event, folder: Path) -> Iterator[SummaryValue]:
    for name, reference in _files(event):
        yield from _image(name, reference, folder, event.data)
    for mask, data in (event.data.get("masks") or {}).items():
        yield from _image(f"{event.name}/{mask}", data["file"], folder, {})


def _image(name: str, reference: Mapping[str, Any], folder: Path, options: Mapping[str, Any]) -> Iterator[SummaryValue]:
    suffix = _suffix(reference)
    if suffix in (".png", ".jpg", ".jpeg", ".gif"):
        yield SummaryValue("image", name, _picture(attached.read(folder, reference), options))
    elif suffix == ".npy":  # written where Pillow was not installed
        with attached.open_attached(folder, reference) as file:
            yield SummaryValue("image", name, _picture(_png(file), options))
    else:
        yield _text(name, f"`{reference['path']}`")


def _videos(event: Event, folder: Path) -> Iterator[SummaryValue]:
    for name, reference in _files(event):
        suffix = _suffix(reference)
        if suffix == ".gif":
            yield SummaryValue("image", name, _picture(attached.read(folder, reference), event.data))
        elif suffix != ".npy" and is_installed("imageio_ffmpeg"):
            with attached.open_attached(folder, reference) as file:
                yield SummaryValue("image", name, _picture(_gif(file, folder / reference["path"], event.data), event.data))
        else:
            yield _text(name, f"`{reference['path']}`")


def _suffix(reference: Mapping[str, Any]) -> str:
    return PurePosixPath(reference["path"]).suffix


def _picture(content: bytes, options: Mapping[str, Any]) -> Any:
    """Return an image as it is stored; its size is for readers that do not decode it."""
    from tensorboardX.proto.summary_pb2 import Summary

    size = {field: options[field] for field in ("width", "height") if isinstance(options.get(field), int)}
    image = Summary.Image(encoded_image_string=content, colorspace=options.get("channels") or 3, **size)
    return Summary.Value(image=image)


def _png(array: BinaryIO) -> bytes:
    import numpy
    from PIL import Image

    pixels, file = numpy.load(array, allow_pickle=False), io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, "PNG")
    return file.getvalue()


def _gif(film: BinaryIO, path: Path, options: Mapping[str, Any]) -> bytes:
    """Return a video as TensorBoard plays it; of a long one, frames at equal distances."""
    from imageio_ffmpeg import get_ffmpeg_exe

    frames = options.get("frames") or (options.get("duration_s") or 0) * (options.get("fps") or 0)
    step = max(1, math.ceil(frames / _MOST_FRAMES))
    reduced = ["-vf", f"framestep={step}", "-frames:v", str(_MOST_FRAMES), "-threads", "1"]
    # The very file that was looked at, where the system can name it; never a name that a program would take for an option.
    source = f"/dev/fd/{film.fileno()}" if os.path.exists("/dev/fd") else os.path.abspath(path)
    command = [get_ffmpeg_exe(), "-v", "error", "-nostdin", "-format_whitelist", _FILMS, "-i", f"file:{source}"]
    return subprocess.run(
        [*command, *reduced, "-f", "gif", "-"], check=True, capture_output=True, stdin=subprocess.DEVNULL,
        timeout=_CONVERTING_S, pass_fds=[film.fileno()] if os.name == "posix" else (),
    ).stdout  # fmt: skip


def _audios(event: Event, folder: Path) -> Iterator[SummaryValue]:
    from tensorboardX.proto.summary_pb2 import Summary

    data = event.data
    for name, reference in _files(event):
        sound = Summary.Audio(
            sample_rate=float(data.get("rate") or 0),
            num_channels=int(data.get("channels") or 0),
            length_frames=round((data.get("duration_s") or 0) * (data.get("rate") or 0)),
            encoded_audio_string=attached.read(folder, reference),
            content_type=reference.get("media_type") or "audio/wav",
        )
        yield SummaryValue("audio", name, Summary.Value(audio=sound))


def _histograms(event: Event, _folder: Path) -> Iterator[SummaryValue]:
    data = event.data
    below, above = data.get("below", 0), data.get("above", 0)
    counts, edges = data["counts"], data["edges"]
    low, high = (data.get(name, edge) for name, edge in (("min", edges[0]), ("max", edges[-1])))
    mean, std, count = data.get("mean"), data.get("std", 0.0), data.get("count", sum(counts))
    if mean is None:  # of ready counts: as if all values lay in the middle of their bins
        middles = [a / 2 + b / 2 for a, b in pairwise(edges)]
        total = sum(n * middle for n, middle in zip(counts, middles, strict=True))
        squares = sum(n * middle**2 for n, middle in zip(counts, middles, strict=True))
    else:
        total, squares = mean * count, (mean**2 + std**2) * count
    # A bucket is known by its right end alone, so the first one ends where the bins begin.
    yield _histogram(event.name, low, high, count, total, squares, [*edges, sys.float_info.max], [below, *counts, above])


def _arrays(event: Event, folder: Path) -> Iterator[SummaryValue]:
    import numpy

    with attached.open_attached(folder, event.data["file"]) as file:
        values = numpy.load(file, allow_pickle=False).astype(float).ravel()
    values = values[numpy.isfinite(values)]
    if len(values):
        counts, edges = numpy.histogram(values, 64)
        sums = float(values.sum()), float((values**2).sum())
        limits, buckets = edges.tolist(), [0, *counts.tolist()]
        yield _histogram(event.name, float(values.min()), float(values.max()), len(values), *sums, limits, buckets)


def _histogram(
    name: str, low: float, high: float, count: float, total: float, squares: float, limits: list[float], counts: list[float]
) -> SummaryValue:
    from tensorboardX.summary import histogram_raw

    return SummaryValue("histogram", name, histogram_raw("", low, high, count, total, squares, limits, counts).value[0])


def _pr_curves(event: Event, _folder: Path) -> Iterator[SummaryValue]:
    from tensorboardX.summary import pr_curve_raw

    data, count = event.data, len(event.data["thresholds"])
    size = min(count, MOST_THRESHOLDS)
    indices = [number * (count - 1) // max(1, size - 1) for number in range(size)]
    rows = [[data[field][number] for number in indices] for field in ("tp", "fp", "tn", "fn", "precision", "recall")]
    yield SummaryValue("pr_curve", event.name, pr_curve_raw("", *rows, num_thresholds=size).value[0])


def _texts(event: Event, folder: Path) -> Iterator[SummaryValue]:
    inline = event.data.get("text")  # a long one stands in a file
    yield _text(event.name, attached.read(folder, event.data["file"]).decode() if inline is None else str(inline))


def _notes(event: Event, _folder: Path) -> Iterator[SummaryValue]:
    yield _text(event.name or "notes", str(event.data["text"]))


def _messages(event: Event, _folder: Path) -> Iterator[SummaryValue]:
    data = event.data
    exception = data.get("exception")
    traceback = exception.get("traceback") if isinstance(exception, Mapping) else None
    code = f"\n\n```\n{traceback}\n```" if traceback else ""
    name = f"{event.name}/messages" if event.name else "messages"
    yield _text(name, f"**{data.get('level', 'info')}** {data.get('message', '')}{code}")


def _named_events(event: Event, _folder: Path) -> Iterator[SummaryValue]:
    yield _text(event.name, f"```json\n{json_of_any(event.data)}\n```")


def _tables(event: Event, _folder: Path) -> Iterator[SummaryValue]:
    rows = [event.data["columns"], ["---"] * len(event.data["columns"]), *event.data["rows"]]
    yield _text(event.name, "\n".join("|" + "|".join(map(_cell, row)) + "|" for row in rows))


def _cell(value: Any) -> str:
    if isinstance(value, Mapping) and TAG in value:
        return f"`{value.get('path', value[TAG])}`"
    return str(value).replace("|", "\\|").replace("\n", "<br>")


def _text(name: str, content: str) -> SummaryValue:
    return SummaryValue("text", name, text_value(content))


def text_value(content: str) -> Any:
    """Return a text that TensorBoard shows as Markdown; its tag is still to be set."""
    from tensorboardX.summary import text

    return text("", content.encode("utf-8", "backslashreplace").decode()).value[0]


def _files(event: Event) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Name and reference of each file: one has the event's name, several are numbered below it."""
    if "files" in event.data:
        yield from ((f"{event.name}/{number}", reference) for number, reference in enumerate(event.data["files"]))
    elif "file" in event.data:
        yield event.name, event.data["file"]


_MAKERS: Mapping[str, Callable[[Event, Path], Iterator[SummaryValue]]] = {
    "image": _images, "figure": _images, "video": _videos, "audio": _audios, "histogram": _histograms, "array": _arrays,
    "pr_curve": _pr_curves, "text": _texts, "table": _tables, "message": _messages, "note": _notes, "event": _named_events,
}  # fmt: skip

TYPES = frozenset(_MAKERS)
"""Types of events that have values."""
