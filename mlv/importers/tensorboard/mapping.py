"""Event files as experiments: each folder of them is one, each file in it a run, each record an event at its own time.

Scalars of one record are one line of metrics; tags are names. Two kinds of folders belong to the one around them: those that
`add_scalars` makes for each of its curves (`loss_train` with the tag `loss` is `loss/train`), and those of `add_hparams`.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, NamedTuple

from mlv.errors import FileUnusable
from mlv.experiment.importing.source import Item, RunBegins, RunEnds, SourceEvent, SourceExperiment, SourceFile, SourcePoints
from mlv.importers import protobuf, values
from mlv.importers.listing import SourceListing, size_of
from mlv.importers.protobuf import UNDECODABLE
from mlv.importers.reading import Opened, SourceReading, Unit
from mlv.importers.tensorboard import records as r
from mlv.importers.values import moment
from mlv.optional import package

NAME = "tensorboard"
_OF_HPARAMS = re.compile(r"\d{9,}\.\d+\Z")
_PROJECTOR = "projector_config.pbtxt"
_PROJECTED = re.compile(r'(?:tensor_path|metadata_path|image_path): "([^"]+)"')
_START = 1
"""Of a session log: a writer goes on from a step, and what was written from there on is purged."""
_LEVELS = {10: "debug", 30: "warning", 40: "error", 50: "error"}
_PEEKED = 8
_TEXT_END = "/text_summary"
_MLV = b"mlv "


class _EventFile(NamedTuple):
    path: Path
    part: str
    """Name of its folder in the one of the experiment; empty in that itself."""
    name: str
    begun: float
    """Time of its first record."""


def units(listing: SourceListing) -> Iterator[Unit]:
    """Yield the folders with event files."""
    folders: dict[Path, list[Path]] = {}
    times: dict[Path, float] = {}
    for path in list(listing.files()):
        if "tfevents" in path.name:
            begun = _begun(path)
            if begun is not None or not size_of([path]):  # others are named as files of no format
                listing.take([path])
            if begun is not None:
                times[path] = begun
            folders.setdefault(path.parent, []).append(path)
    wholes = {folder: _whole(folder, folders) for folder in folders}
    for folder in sorted(folder for folder, whole in wholes.items() if whole == folder):
        inner = [part for part in sorted(wholes) if wholes[part] == folder]
        files = [
            _EventFile(path, part, f"{part}/{path.name}" if part else path.name, times[path])
            for part, paths in ((_part(path, folder), folders[path]) for path in inner)
            for path in paths
            if path in times
        ]
        projected = _projected(folder, listing)
        if files:
            place = listing.place(folder)
            yield Unit(NAME, folder, size_of(file.path for file in files), _opener(files, place, projected))


def _whole(folder: Path, folders: Mapping[Path, Sequence[Path]]) -> Path:
    """Return the folder that a folder is a part of: itself, or one around it."""
    around = next((outer for outer in folder.parents if outer in folders), None)
    if around is None:
        return folder
    part = _part(folder, around)
    if not _OF_HPARAMS.match(part):
        tags = {tag for path in folders[folder] for tag in _first_tags(path)}
        if not tags or not all(_curve(part, tag) for tag in tags):
            return folder
    return _whole(around, folders)


def _part(folder: Path, around: Path) -> str:
    return folder.relative_to(around).as_posix() if folder != around else ""


def _curve(part: str, tag: str) -> str:
    """Return the curve that a folder of `add_scalars` is named for: torch joins tag and curve by `_`, tensorboardX by `/`."""
    for beginning in (f"{tag}/", f"{tag.replace('/', '_')}_"):
        if part.startswith(beginning) and "/" not in part.removeprefix(beginning):
            return part.removeprefix(beginning)
    return ""


def _first_tags(path: Path) -> Iterator[str]:
    for number, payload in enumerate(r.first_payloads(path)):
        if number > _PEEKED:
            return
        try:
            for summary in r.event_of(payload).fields.get(r.SUMMARY, []):
                yield from (value.tag for value in r.values_of(summary))
        except UNDECODABLE:
            continue


def _begun(path: Path) -> float | None:
    """Return the time of the first record of a file, None where it has none."""
    for payload in r.first_payloads(path):
        try:
            return r.event_of(payload).time
        except UNDECODABLE:
            continue
    return None


def _projected(folder: Path, listing: SourceListing) -> list[Path]:
    """Return the paths of the files that an embedding projector shows, as its settings name them."""
    config = folder / _PROJECTOR
    if _PROJECTOR not in listing.folders.get(folder, []):
        return []
    names = [_PROJECTOR, *_PROJECTED.findall(config.read_text(errors="replace"))]
    paths = [folder / name for name in dict.fromkeys(names)]
    listing.take(paths)
    return paths


def _opener(
    files: Sequence[_EventFile], place: tuple[tuple[str, ...], str], projected: Sequence[Path]
) -> Callable[[SourceReading], Opened]:
    def opened(reading: SourceReading) -> Opened:
        first = files[0]
        _refuse_own(first.path)
        folders, name = place
        identity = {"format": NAME, "name": name, "file": first.path.name, "time": first.begun}
        experiment = SourceExperiment(
            name, moment(first.begun) or moment(0.0), identity, tags=["imported", NAME], folders=folders,  # type: ignore[arg-type]
        )  # fmt: skip
        return Opened(experiment, lambda created: _items(files, projected, created, reading))

    return opened


def _refuse_own(path: Path) -> None:
    """Refuse a file that mlv wrote from an experiment: importing it would double that.

    Raises:
        FileUnusable: It is one.
    """
    for payload in r.first_payloads(path):
        try:
            source = protobuf.grouped(payload).get(r.SOURCE, [b""])[-1]
            writer = protobuf.octets(protobuf.grouped(source).get(1, [b""])[-1])
        except UNDECODABLE:
            return
        if writer.startswith(_MLV):
            experiment = writer.removeprefix(_MLV)[:8].decode(errors="replace")
            text = f"{path} is an output that mlv itself wrote of experiment {experiment}: copy or merge that"
            raise FileUnusable(text, path=str(path))
        return


def _items(files: Sequence[_EventFile], projected: Sequence[Path], created: datetime, reading: SourceReading) -> Iterator[Item]:
    """Yield the items: all runs begin before the first event, since files that are written side by side grow in any order."""
    main = next((file.name for file in files if not file.part), None)
    for file in files:
        parent = main if file.part and main is not None else None
        yield RunBegins(file.name, moment(file.begun) or created, parent=parent)
    ends, before = [], dict[str, list[str]]()
    params: dict[str, Any] = {}
    for file in files:
        reader = _FileReader(file, before.setdefault(file.part, []), params, moment(file.begun) or created, reading)
        yield from reader.items()
        before[file.part].append(file.name)
        ends.append(RunEnds(file.name, reader.latest, reader.status))
    if reading.options.follows:
        return
    yield from ends
    if projected:
        latest = max(end.time for end in ends)
        yield RunBegins(_PROJECTOR, latest, parent=files[0].name)
        for path in projected:
            if ".." in path.parts or not path.is_relative_to(projected[0].parent) or not path.is_file():
                reading.leave("files of a projector that are gone, or lie elsewhere")
                continue
            name = f"projector/{path.relative_to(projected[0].parent).as_posix()}"
            yield SourceEvent(_PROJECTOR, latest, "file", SourceFile(path, path.suffix), name)
        yield RunEnds(_PROJECTOR, latest, "ended")


class _FileReader:
    """The items of one file."""

    def __init__(
        self, file: _EventFile, before: Sequence[str], params: dict[str, Any], begun: datetime, reading: SourceReading
    ) -> None:
        self._file, self._before, self._params, self._reading = file, before, params, reading
        self._time = self.latest = begun
        self.status = "ended"
        """How the run ended, as far as the file says."""
        self._plugins: dict[str, str] = {}
        """By tag: only its first value names the plugin."""
        self._names: dict[str, str] = {}

    def items(self) -> Iterator[Item]:
        """Yield them."""
        for record in r.records(self._file.path, self._reading):
            if isinstance(record, r.Points):
                yield self._points(record)
                continue
            try:
                yield from list(self._event(r.event_of(record)))
            except UNDECODABLE:
                self._reading.leave("records that cannot be decoded")

    def _points(self, points: r.Points) -> SourcePoints:
        names = {tag: self._names.get(tag) or self._name(tag) for tag in set(points.tags)}
        self._at(max(points.times))
        times = [round(time * 1e6) for time in points.times]
        return SourcePoints(self._file.name, times, [names[tag] for tag in points.tags], points.steps, points.values)

    def _at(self, seconds: float) -> None:
        self._time = time = (moment(seconds) if 0 <= seconds < r.LATEST else None) or self.latest
        if time > self.latest:
            self.latest = time

    def _name(self, tag: str) -> str:
        """Return the name of a tag in the experiment."""
        part = self._file.part
        curve = _curve(part, tag)
        name = f"{tag}/{curve}" if curve else tag if not part or _OF_HPARAMS.match(part) else f"{part}/{tag}"
        self._names[tag] = name = name or "value"
        return name

    def _item(self, type_: str, data: Any, name: str = "", step: Any = None) -> SourceEvent:
        return SourceEvent(self._file.name, self._time, type_, data, name, step)

    def _event(self, event: r.EventRecord) -> Iterator[Item]:
        self._at(event.time)
        step, content = event.step, event.fields
        for summary in content.get(r.SUMMARY, []):
            yield from self._summary(summary, step)
        for number, name in ((r.GRAPH, "graph"), (r.META_GRAPH, "meta_graph")):
            for graph in content.get(number, []):
                yield self._item("file", SourceFile(protobuf.octets(graph), ".pb"), self._file_name(f"{name}.pb"), step)
        for message in content.get(r.LOG_MESSAGE, []):
            fields = protobuf.grouped(message)
            level = _LEVELS.get(fields.get(1, [0])[-1], "info")
            yield self._item("message", {"level": level, "message": protobuf.text(fields.get(2, [b""])[-1])}, "", step)
        for session in content.get(r.SESSION, []):
            yield from self._session(session, step)
        for metadata in content.get(r.RUN_METADATA, []):
            fields = protobuf.grouped(metadata)
            name = f"run_metadata/{protobuf.text(fields.get(1, [b'run'])[-1])}.pb"
            content_ = protobuf.octets(fields.get(2, [b""])[-1])
            yield self._item("file", SourceFile(content_, ".pb"), self._file_name(name), step)

    def _file_name(self, name: str) -> str:
        return f"{self._file.part}/{name}" if self._file.part else name

    def _session(self, session: bytes, step: int) -> Iterator[Item]:
        fields = protobuf.grouped(session)
        if fields.get(1, [0])[-1] == _START and step > 0:
            yield self._item("rewound", {"step": step - 1, "last": [*self._before, self._file.name]})
        elif fields.get(2):
            path = protobuf.text(fields[2][-1])
            yield self._item("event", {"path": path}, "checkpoint", step)

    def _summary(self, summary: bytes, step: int) -> Iterator[Item]:
        metrics: dict[str, float] = {}
        for value in r.values_of(summary):
            tag = value.tag
            plugin = value.plugin or self._plugins.get(tag, "")
            if value.plugin:
                self._plugins[tag] = value.plugin
            if plugin == "hparams":
                yield from self._hparams(value)
                continue
            name = self._names.get(tag) or self._name(tag)
            number = _scalar(value, plugin)
            if number is not None:
                if value.description:
                    yield self._item("metadata", {"description": value.description}, name)
                if name in metrics:
                    yield self._item("metrics", metrics, "", step)
                    metrics = {}
                metrics[name] = number
                continue
            for type_, data, ending in _converted(value, plugin):
                yield self._item(type_, data, f"{name.removesuffix(_TEXT_END)}{ending}", step)
        if metrics:
            yield self._item("metrics", metrics, "", step)

    def _hparams(self, value: r.Value) -> Iterator[Item]:
        content = protobuf.grouped(value.content)
        for start in content.get(3, []):
            params: dict[str, Any] = {}
            for entry in protobuf.grouped(start).get(1, []):
                fields = protobuf.grouped(entry)
                params[protobuf.text(fields.get(1, [b""])[-1])] = _plain(fields.get(2, [b""])[-1])
            added = {key: item for key, item in params.items() if key not in self._params}
            changed = {key: item for key, item in params.items() if key in self._params and self._params[key] != item}
            self._params.update(params)
            if added:
                yield self._item("params", added)
            if changed:
                yield self._item("params_changed", changed)
        for end in content.get(4, []):
            self.status = {1: "ok", 2: "failed"}.get(protobuf.grouped(end).get(1, [0])[-1], self.status)
        # The experiment of the plugin lists which params and metrics its page shows: nothing that was measured.


def _plain(message: bytes) -> Any:
    """Return a `google.protobuf.Value`."""
    for number, value in protobuf.fields(message):
        if number == 2:
            number_ = protobuf.double(value)
            return int(number_) if number_.is_integer() and abs(number_) < 1 << 53 else number_
        if number == 3:
            return protobuf.text(value)
        if number == 4:
            return bool(value)
        if number == 6:
            return [_plain(item) for item in protobuf.grouped(value).get(1, [])]
        if number == 5:
            entries = [protobuf.grouped(entry) for entry in protobuf.grouped(value).get(1, [])]
            return {protobuf.text(entry[1][-1]): _plain(entry.get(2, [b""])[-1]) for entry in entries if 1 in entry}
    return None


def _scalar(value: r.Value, plugin: str) -> float | None:
    """Return the number of a scalar, None where the value is another one."""
    if 2 in value.fields:
        return protobuf.single(value.fields[2][-1])
    if plugin != "scalars" or 8 not in value.fields:
        return None
    tensor = r.tensor_of(value.fields[8][-1])
    if isinstance(tensor, (bytes, list)) or tensor.size != 1:
        return None
    number: float = tensor.reshape(-1)[0].item()
    return number


Converted = tuple[str, Mapping[str, Any], str]
"""Type and data of an event, and what follows its tag in its name."""


def _converted(value: r.Value, plugin: str) -> Iterator[Converted]:
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
            converted = list(convert(tensor)) if convert is not None else []
        except (TypeError, ValueError, IndexError, AttributeError):
            converted = []  # of another form than the plugin has today
        yield from converted or _of_any_plugin(tensor, plugin, value.content)
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
    while len(counts) > 1 and not counts[0]:
        counts, limits, least = counts[1:], limits[1:], max(least, limits[0])
    if len(limits) != len(counts) or not counts:
        return "event", {"min": least, "max": greatest, "num": count, "limits": limits, "counts": counts}, ""
    limits[-1] = min(limits[-1], max(greatest, limits[-2] if len(limits) > 1 else least))
    edges = [min(least, limits[0]), *limits]
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
    file = io.BytesIO()
    package("numpy", "tensorboard").save(file, tensor, allow_pickle=False)
    npy = SourceFile(file.getvalue(), ".npy")
    yield "array", {"file": npy, "shape": list(tensor.shape), "dtype": str(tensor.dtype), **named}, ""


_PLUGINS: Mapping[str, Callable[[Any], Iterator[Converted]]] = {
    "images": _images,
    "audio": _audios,
    "histograms": _histograms,
    "text": _texts,
    "pr_curves": _pr_curves,
}
"""Plugins whose values are tensors."""
