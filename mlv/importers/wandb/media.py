"""Values of W&B with a `_type`: images, tables, histograms ... and their files below `files/` of the run's folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mlv.experiment.importing.source import SourceFile
from mlv.importers import values
from mlv.importers.reading import SourceReading

_MOST_TABLE_BYTES = 256 << 20
_MOST_IMAGES = 10_000
"""Of one row: W&B keeps 108 of them."""


class Medium(NamedTuple):
    """An event of a type of mlv."""

    type: str
    data: Mapping[str, Any]


class MediaFiles:
    """The files of a run, and which of them events referred to."""

    def __init__(self, folder: Path, reading: SourceReading) -> None:
        self.folder = folder
        self.used: set[str] = set()
        """Paths below the folder."""
        self._reading = reading

    def file(self, value: Any, label: str = "") -> SourceFile | None:
        """Return the file that a value names by its path below the folder, None where it is not there."""
        path = value.get("path") if isinstance(value, Mapping) else value
        if not isinstance(path, str) or not path or path.startswith("/") or ".." in path.split("/"):
            self._reading.leave("files of media whose path leads elsewhere, or that have none")
            return None
        if not self._reading.takes_file(self.folder / path, self.folder):
            self._reading.leave("files of media that are gone, or lie elsewhere")
            return None
        self.used.add(path)
        return SourceFile(self.folder / path, _suffix(path), label, is_linked=True)

    def json(self, value: Any) -> Any:
        """Return the content of a file of JSON that a value names, None where it cannot be read."""
        file = self.file(value)
        if file is None or not isinstance(file.content, Path):
            return None
        try:
            if file.content.stat().st_size > _MOST_TABLE_BYTES:
                self._reading.leave("tables of more than 256 MiB")
                return None
            return json.loads(file.content.read_bytes())
        except (OSError, ValueError, RecursionError):
            self._reading.leave("files of media that cannot be read")
            return None


def _suffix(path: str) -> str:
    name = path.rpartition("/")[2]
    for whole in (".table.json", ".pts.json", ".plotly.json", ".graph.json"):
        if name.endswith(whole):
            return whole
    return Path(name).suffix


def media_of(value: Mapping[str, Any], files: MediaFiles) -> list[Medium]:
    """Return the events of a value with a `_type`; none where its files are gone, which is recorded."""
    try:
        return _KINDS.get(str(value["_type"]), _other)(value, files)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return [Medium("event", _beside(value))]


def _beside(value: Mapping[str, Any], *without: str) -> dict[str, Any]:
    return {key: item for key, item in value.items() if key not in without}


def _caption(value: Mapping[str, Any]) -> dict[str, Any]:
    return {"caption": value["caption"]} if value.get("caption") else {}


def _sized(value: Mapping[str, Any], *fields: str) -> dict[str, Any]:
    return {field: value[field] for field in fields if isinstance(value.get(field), int)}


def _image(value: Mapping[str, Any], files: MediaFiles) -> list[Medium]:
    file = files.file(value)
    if file is None:
        return []
    data = {"file": file, **_sized(value, "width", "height"), **_caption(value)}
    return [Medium("image", {**data, **_boxes(value, files), **_masks(value, files)})]


def _images(value: Mapping[str, Any], files: MediaFiles) -> list[Medium]:
    if not value.get("filenames") and value["count"] > _MOST_IMAGES:
        raise ValueError("no row has so many images")
    names = value.get("filenames") or [
        f"media/images/{value['_name']}_{number}.{value.get('format', 'png')}" for number in range(value["count"])
    ]
    sources = [file for number, name in enumerate(names) if (file := files.file(name, str(number)))]
    if not sources:
        return []
    captions = value.get("captions")
    data: dict[str, Any] = {"files": sources}
    if isinstance(value.get("width"), int) and isinstance(value.get("height"), int):
        data["sizes"] = [[value["width"], value["height"]] for _ in sources]
    if isinstance(captions, list) and any(captions) and len(sources) == len(names):
        data["captions"] = captions
    extra = {key: value[key] for key in ("all_boxes", "all_masks") if value.get(key)}
    return [Medium("image", data), *([Medium("event", extra)] if extra else [])]


def _boxes(value: Mapping[str, Any], files: MediaFiles) -> dict[str, Any]:
    boxes = []
    for group in (value.get("boxes") or {}).values():
        content = files.json(group)
        for box in content.get("box_data", []) if isinstance(content, dict) else []:
            corners = _corners(box, value)
            if corners is not None:
                boxes.append(_named_box(corners, box, content.get("class_labels") or {}))
    return {"boxes": boxes} if boxes else {}


def _corners(box: Mapping[str, Any], image: Mapping[str, Any]) -> list[float] | None:
    """Return a box in pixels: W&B has those, or shares of the image."""
    position = box["position"]
    if "minX" in position:
        corners = [position["minX"], position["minY"], position["maxX"], position["maxY"]]
    else:
        x, y = position["middle"]
        corners = [x - position["width"] / 2, y - position["height"] / 2, x + position["width"] / 2, y + position["height"] / 2]
    if box.get("domain") == "pixel":
        return corners
    if not isinstance(image.get("width"), int) or not isinstance(image.get("height"), int):
        return None
    return [corner * image["height" if index % 2 else "width"] for index, corner in enumerate(corners)]


def _named_box(corners: list[float], box: Mapping[str, Any], labels: Mapping[str, Any]) -> dict[str, Any]:
    label = box.get("box_caption") or labels.get(str(box.get("class_id")), box.get("class_id"))
    scores = box.get("scores") or {}
    named = {"box": corners, **({"label": label} if label is not None else {})}
    return {**named, "score": next(iter(scores.values())) if len(scores) == 1 else scores} if scores else named


def _masks(value: Mapping[str, Any], files: MediaFiles) -> dict[str, Any]:
    masks = {}
    for name, mask in (value.get("masks") or {}).items():
        file = files.file(mask, name)
        if file is not None:
            masks[name] = {"file": file}
    return {"masks": masks} if masks else {}


def _audio(value: Mapping[str, Any], files: MediaFiles) -> list[Medium]:
    file = files.file(value)
    return [] if file is None else [Medium("audio", {"file": file, **_caption(value)})]


def _video(value: Mapping[str, Any], files: MediaFiles) -> list[Medium]:
    file = files.file(value)
    return [] if file is None else [Medium("video", {"file": file, **_sized(value, "width", "height"), **_caption(value)})]


def _page(value: Mapping[str, Any], files: MediaFiles) -> list[Medium]:
    file = files.file(value)
    return [] if file is None else [Medium("figure", {"file": file})]


def _several(field: str) -> Callable[[Mapping[str, Any], MediaFiles], list[Medium]]:
    def convert(value: Mapping[str, Any], files: MediaFiles) -> list[Medium]:
        captions = value.get("captions") or []
        return [
            medium
            for number, item in enumerate(value[field])
            for medium in media_of({**item, **({"caption": captions[number]} if number < len(captions) else {})}, files)
        ]

    return convert


def _table(value: Mapping[str, Any], files: MediaFiles) -> list[Medium]:
    content = files.json(value)
    if not isinstance(content, dict):
        return []
    rows = [[_cell(cell, files) for cell in row] for row in content["data"]]
    return [Medium("table", values.table(content["columns"], rows))]


def _cell(cell: Any, files: MediaFiles) -> Any:
    """Return a cell; one with a `_type` becomes its file."""
    if isinstance(cell, dict) and cell.get("_type") and isinstance(cell.get("path"), str):
        return files.file(cell) or cell
    return cell


def _histogram(value: Mapping[str, Any], _: MediaFiles) -> list[Medium]:
    edges = value.get("bins")
    if edges is None:
        packed = value["packedBins"]
        if packed["count"] != len(value["values"]):
            raise ValueError("a histogram has other counts than bins")
        edges = [packed["min"] + packed["size"] * number for number in range(packed["count"] + 1)]
    counts: Sequence[float] = value["values"]
    data = values.histogram(counts, edges)
    return [Medium("event", _beside(value)) if data is None else Medium("histogram", data)]


def _other(value: Mapping[str, Any], files: MediaFiles) -> list[Medium]:
    """Return an event of any other kind, with the file that it names."""
    if not isinstance(value.get("path"), str):
        return [Medium("event", _beside(value))]
    file = files.file(value)
    return [Medium("event", {**_beside(value, "path", "sha256", "size"), **({"file": file} if file is not None else {})})]


_KINDS: Mapping[str, Callable[[Mapping[str, Any], MediaFiles], list[Medium]]] = {
    "image-file": _image,
    "images/separated": _images,
    "audio-file": _audio,
    "audio": _several("audio"),
    "video-file": _video,
    "videos": _several("videos"),
    "html-file": _page,
    "html": _several("html"),
    "table-file": _table,
    "histogram": _histogram,
}
