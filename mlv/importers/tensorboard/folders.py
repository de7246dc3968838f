"""Folders of event files as experiments: which files belong together, and what they are called.

Two kinds of folders belong to the one around them: those that `add_scalars` makes for each of its curves (`loss_train` with the
tag `loss` is `loss/train`), and those of `add_hparams`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mlv.experiment.importing.source import Item, SourceExperiment
from mlv.importers import protobuf
from mlv.importers.listing import SourceListing, size_of
from mlv.importers.own_files import own_file
from mlv.importers.protobuf import UNDECODABLE
from mlv.importers.reading import Opened, SourceReading, Unit
from mlv.importers.tensorboard import records as r
from mlv.importers.tensorboard.mapping import PROJECTOR, MappedEventFile, curve_of, is_of_hparams, items_of
from mlv.importers.values import moment

NAME = "tensorboard"
_PROJECTED = re.compile(r'(?:tensor_path|metadata_path|image_path): "([^"]+)"')
_PEEKED = 8
_MLV = b"mlv "


class EventFolder(NamedTuple):
    """A folder whose event files are one experiment."""

    path: Path
    files: Sequence[MappedEventFile]
    projected: Sequence[Path]
    """Files that an embedding projector shows."""

    @property
    def size_bytes(self) -> int:
        """Size of the event files."""
        return size_of(file.path for file in self.files)

    def items(self, created: datetime, reading: SourceReading) -> Iterator[Item]:
        """Yield what happened."""
        return items_of(self.files, self.projected, created, reading)


def units(listing: SourceListing) -> Iterator[Unit]:
    """Yield the folders with event files."""
    for folder in event_folders(listing):
        yield Unit(NAME, folder.path, folder.size_bytes, partial(_opened, folder, listing.place(folder.path)))


def event_folders(listing: SourceListing, below: Path | None = None) -> list[EventFolder]:
    """Take the event files of a source, or of a folder in it, and return the folders that hold experiments."""
    folders: dict[Path, list[Path]] = {}
    times: dict[Path, float] = {}
    for path in list(listing.files() if below is None else listing.below(below)):
        if "tfevents" in path.name:
            begun = _begun(path)
            if begun is not None or not size_of([path]):  # others are named as files of no format
                listing.take([path])
            if begun is not None:
                times[path] = begun
            folders.setdefault(path.parent, []).append(path)
    wholes = {folder: _whole(folder, folders) for folder in folders}
    result = []
    for folder in sorted(folder for folder, whole in wholes.items() if whole == folder):
        inner = [part for part in sorted(wholes) if wholes[part] == folder]
        files = [
            MappedEventFile(path, part, f"{part}/{path.name}" if part else path.name, times[path])
            for part, paths in ((_part(path, folder), folders[path]) for path in inner)
            for path in paths
            if path in times
        ]
        projected = _projected(folder, listing)
        if files:
            result.append(EventFolder(folder, files, projected))
    return result


def _whole(folder: Path, folders: Mapping[Path, Sequence[Path]]) -> Path:
    """Return the folder that a folder is a part of: itself, or one around it."""
    around = next((outer for outer in folder.parents if outer in folders), None)
    if around is None:
        return folder
    part = _part(folder, around)
    if not is_of_hparams(part):
        tags = {tag for path in folders[folder] for tag in _first_tags(path)}
        if not tags or not all(curve_of(part, tag) for tag in tags):
            return folder
    return _whole(around, folders)


def _part(folder: Path, around: Path) -> str:
    return folder.relative_to(around).as_posix() if folder != around else ""


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
    config = folder / PROJECTOR
    if PROJECTOR not in listing.folders.get(folder, []):
        return []
    names = [PROJECTOR, *_PROJECTED.findall(config.read_text(errors="replace"))]
    paths = [folder / name for name in dict.fromkeys(names)]
    listing.take(paths)
    return paths


def _opened(folder: EventFolder, place: tuple[tuple[str, ...], str], reading: SourceReading) -> Opened:
    first = folder.files[0]
    refuse_own(first.path)
    folders, name = place
    identity = {"format": NAME, "name": name, "file": first.path.name, "time": first.begun}
    experiment = SourceExperiment(
        name, moment(first.begun) or moment(0.0), identity, tags=["imported", NAME], folders=folders,  # type: ignore[arg-type]
    )  # fmt: skip
    return Opened(experiment, lambda created: folder.items(created, reading))


def refuse_own(path: Path) -> None:
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
            raise own_file(path, experiment)
        return
