"""Values of event files that are no scalars, as events: images, sounds, histograms, texts, and what any plugin stores."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate, pairwise
from typing import Any

from mlv.experiment.importing.source import SourceFile
from mlv.importers import protobuf, values
from mlv.importers.tensorboard import records as r

Converted = tuple[str, Mapping[str, Any], str]
"""Type and data of an event, and what follows its tag in its name."""


def converted(value: r.Value, plugin: str) -> Iterator[Converted]:
    """Yield the events of a value that is no scalar."""
    fields = value.fields
    if 4 in fields:
        yield from _image(protobuf.grouped(fields[4][-1]))
    elif 5 in fields:
        yield _histogram(protobuf.grouped(fields[5][-1]))
    elif 6 in fields:
        yield _audio(protobuf.grouped(fields[6][-1]))
    elif 8 in fields:
        tensor = r.tensor_of(fields[8][-1])
        convert = _PLUGINS.get(plugin)
        try:
            events = list(convert(tensor)) if convert is not None else []
        except (TypeError, ValueError, IndexError, AttributeError):
            events = []  # of another form than the plugin has today
        yield from events or _of_any_plugin(tensor, plugin, value.content)
    elif value.content:
        yield "event", {"plugin": plugin, "content": value.content}, ""


def _file(content: bytes) -> SourceFile:
    return SourceFile(content, r.suffix_of(bytes(content[:4])))


def _image(fields: dict[int, list[Any]]) -> Iterator[Converted]:
    content = fields.get(4, [b""])[-1]
    size = {name: fields[number][-1] for name, number in (("width", 2), ("height", 1)) if fields.get(number, [0])[-1]}
    yield from _picture(content, size)


def _picture(content: bytes, size: Mapping[str, int]) -> Iterator[Converted]:
    """Yield an image; a GIF of many frames is how videos are stored."""
    file = _file(content)
    yield ("video" if file.suffix == ".gif" else "image"), {"file": file, **size}, ""


def _images(tensor: Any) -> Iterator[Converted]:
    width, height, *pictures = tensor
    if len(pictures) == 1:
        yield from _picture(pictures[0], {"width": int(width), "height": int(height)})
    elif pictures:
        sizes = [[int(width), int(height)]] * len(pictures)
        files = [SourceFile(content, r.suffix_of(content[:4]), str(number)) for number, content in enumerate(pictures)]
        yield "image", {"files": files, "sizes": sizes}, ""


def _audio(fields: dict[int, list[Any]]) -> Converted:
    content = fields.get(4, [b""])[-1]
    rate = protobuf.single(fields[1][-1]) if 1 in fields else 0.0
    frames = fields.get(3, [0])[-1]
    data: dict[str, Any] = {"file": _file(content)}
    if rate >= 1 and math.isfinite(rate):
        data["rate"] = int(rate)
        if frames:
            data["duration_s"] = frames / int(rate)
    if fields.get(2, [0])[-1]:
        data["channels"] = fields[2][-1]
    return "audio", data, ""


def _audios(tensor: Any) -> Iterator[Converted]:
    for number, row in enumerate(tensor):
        content, label = row[0], row[1] if len(row) > 1 else b""
        caption = {"caption": label.decode(errors="replace")} if label else {}
        yield "audio", {"file": _file(content), **caption}, f"/{number}" if len(tensor) > 1 else ""


def _histogram(fields: dict[int, list[Any]]) -> Converted:
    """Return a histogram with upper limits of its bins; the first bin begins at the least value."""
    least, greatest, count, total, squares = [protobuf.double(fields[n][-1]) if n in fields else 0.0 for n in range(1, 6)]
    limits = [limit for item in fields.get(6, []) for limit in r.unpacked(item, "d")]
    counts = [number for item in fields.get(7, []) for number in r.unpacked(item, "d")]
    while len(counts) > 1 and not counts[-1]:
        counts.pop()
    limits = limits[: len(counts)]
    first = least
    while len(counts) > 1 and not counts[0]:
        counts, limits, first = counts[1:], limits[1:], max(first, limits[0])
    if len(limits) != len(counts) or not counts:
        return "event", {"min": least, "max": greatest, "num": count, "limits": limits, "counts": counts}, ""
    limits[-1] = min(limits[-1], max(greatest, limits[-2] if len(limits) > 1 else first))
    edges = [min(first, limits[0]), *limits]
    if any(b <= a for a, b in pairwise(edges)):  # all values are equal, or a limit is doubled
        edges = list(accumulate(edges, lambda before, edge: max(edge, math.nextafter(before, math.inf))))
    data: dict[str, Any] = {"counts": counts, "edges": edges, "count": count, "min": least, "max": greatest}
    if count > 0:
        mean = total / count
        data |= {"mean": mean, "std": math.sqrt(max(0.0, squares / count - mean * mean))}
    return "histogram", data, ""


def _histograms(tensor: Any) -> Iterator[Converted]:
    lefts, rights, counts = tensor.T.tolist()
    data = values.histogram(counts, [*lefts, rights[-1]])
    if data is not None:
        yield "histogram", data, ""


def _texts(tensor: Any) -> Iterator[Converted]:
    if isinstance(tensor, bytes):
        tensor = [tensor]
    if tensor and isinstance(tensor[0], list):
        rows = [[cell.decode(errors="replace") for cell in row] for row in tensor]
        yield "table", values.table([str(number) for number in range(len(rows[0]))], rows), ""
        return
    text = "\n\n".join(item.decode("utf-8", "backslashreplace") for item in tensor)
    yield "text", {"text": text, "format": "markdown"}, ""


def _pr_curves(tensor: Any) -> Iterator[Converted]:
    tp, fp, tn, fn, precision, recall = tensor.tolist()
    count = len(tp)
    hits = [before - after for before, after in zip(recall, [*recall[1:], 0.0], strict=True)]
    yield (
        "pr_curve",
        {
            "thresholds": [number / max(1, count - 1) for number in range(count)],
            "precision": precision,
            "recall": recall,
            **{name: list(map(round, row)) for name, row in (("tp", tp), ("fp", fp), ("tn", tn), ("fn", fn))},
            "positives": round(tp[0] + fn[0]),
            "negatives": round(fp[0] + tn[0]),
            # From the points of the curve: the predictions themselves are not in the file.
            "average_precision": sum(hit * value for hit, value in zip(hits, precision, strict=True)),
        },
        "",
    )


def _of_any_plugin(tensor: Any, plugin: str, content: bytes) -> Iterator[Converted]:
    """Yield what any plugin has: an array, or texts, and beside it its own content."""
    named = {**({"plugin": plugin} if plugin else {}), **({"content": content} if content else {})}
    if isinstance(tensor, (bytes, list)):
        yield "event", {**named, "values": tensor}, ""
        return
    yield "array", {**values.array(tensor), **named}, ""


_PLUGINS: Mapping[str, Callable[[Any], Iterator[Converted]]] = {
    "images": _images,
    "audio": _audios,
    "histograms": _histograms,
    "text": _texts,
    "pr_curves": _pr_curves,
}
"""Plugins whose values are tensors."""
