"""Logs of MLELogger: a group of HDF5 for each seed, with `meta`, `stats` and `time`, also merged, and the files beside them."""

from __future__ import annotations

import re
from ast import literal_eval
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from mlv.errors import MissingExtra
from mlv.experiment.importing.source import Item, RunBegins, SourceEvent, SourceExperiment, SourceFile
from mlv.importers import hdf5, own_files, tables, yaml_files
from mlv.importers.endings import end_of
from mlv.importers.listing import SourceListing, size_of
from mlv.importers.reading import UNREADABLE, Opened, SourceReading, Unit, unreadable

NAME = "mle_logging"
_LOGS = "logs"
_SUFFIXES = (".hdf5", ".h5")
_GROUPS = frozenset({"meta", "stats", "time"})
_UNNAMED = "no_seed_provided"
_SEED = re.compile(r"seed_(\d{1,18})\Z")
_TIME_FORMAT = "%y-%m-%d/%H:%M"
_RUN = "log"
_CLOCK = ("time", "time_elapsed", "num_updates")
_STEP = re.compile(r"step_*\Z")
_FOLDERS = ("models", "figures", "extra")
_CONFIG = "config_dict.yaml"
_LONGEST_S = 1e9  # a damaged time is none
_BLOCK_ROWS = 1000
"""Of 5,000 bytes for each time."""


class _Seed(NamedTuple):
    """The log of a seed."""

    file: Path
    group: str
    folder: Path
    """Folder of its experiment, `experiment_dir`."""
    name: str
    updates: int
    owner: str
    """ID of the experiment of mlv that the file was made of; empty where it was not."""


def units(listing: SourceListing) -> Iterator[Unit]:
    """Yield the logs of all seeds; of those that were merged and stay, the longer ones."""
    seeds: dict[tuple[Path, str], _Seed] = {}
    for path in list(listing.files()):
        if not path.name.endswith(_SUFFIXES) or not hdf5.is_hdf5(path):
            continue
        try:
            inside = list(_seeds_in(path))
        except (MissingExtra, *UNREADABLE) as error:
            if path.parent.name == _LOGS:  # by its place it is one; another file of HDF5 is no matter of this format
                listing.take([path])
                yield unreadable(NAME, path, size_of([path]), error)
            continue
        for seed in inside:
            listing.take([path])
            before = seeds.get((seed.folder, seed.name))
            if before is None or before.updates < seed.updates:
                seeds[seed.folder, seed.name] = seed
    for seed in seeds.values():
        listing.take(path for name in _FOLDERS for path in listing.below(seed.folder / name))
        listing.take([seed.folder / _CONFIG])
        folders, name = listing.place(seed.folder)
        place = ((*folders, name), seed.name) if seed.name != _UNNAMED else (folders, name)
        yield Unit(NAME, seed.file, size_of([seed.file]), partial(_opened, seed, place))


def _seeds_in(path: Path) -> Iterator[_Seed]:
    folder = path.parent.parent if path.parent.name == _LOGS else path.parent
    with hdf5.opened(path) as file:
        owner = str(file.attrs.get("mlv_exp", ""))
        for name, group in hdf5.groups(file):
            if _is_log(group):
                yield _Seed(path, name, folder, name, _updates(group), owner)
            else:  # of several configurations, which were merged
                for seed, inner in hdf5.groups(group):
                    if _is_log(inner):
                        yield _Seed(path, f"{name}/{seed}", folder / name, seed, _updates(inner), owner)


def _is_log(group: Any) -> bool:
    names = {name for name, _ in hdf5.groups(group)}
    return "meta" in names and names <= _GROUPS and len(names) > 1


def _updates(group: Any) -> int:
    """Return the number of updates: that of the rows of any variable of time."""
    return max((len(dataset) for _, dataset in hdf5.datasets(group.get("time", {})) if dataset.ndim), default=0)


def _opened(seed: _Seed, place: tuple[tuple[str, ...], str], reading: SourceReading) -> Opened:
    if seed.owner:
        raise own_files.own_file(seed.file, seed.owner[:8])
    with hdf5.opened(seed.file) as file:
        meta = _meta(file[seed.group], reading)
        times = dict(hdf5.datasets(file[seed.group].get("time", {}))).get("time")
        begun = _moment(times[0]) if times is not None and len(times) else None
    params = _params(seed, meta, reading)
    match = _SEED.match(seed.name)
    if match and "seed" not in params:
        params["seed"] = int(match[1])
    folders, name = place
    experiment = SourceExperiment(
        name,
        begun or tables.modified(seed.file),
        {"format": NAME, "path": str(seed.folder.resolve()), "seed": seed.name},
        params,
        tags=["imported", NAME],
        folders=folders,
    )
    return Opened(experiment, lambda created: _items(seed, meta, created, reading))


def _meta(group: Any, reading: SourceReading) -> dict[str, list[Any]]:
    return {
        name: [hdf5.text_of(value) if isinstance(value, bytes) else value for block in blocks for value in block.tolist()]
        for name, dataset in hdf5.datasets(group.get("meta", {}))
        if dataset.ndim and (blocks := list(hdf5.blocks(dataset, _BLOCK_ROWS, reading)))
    }


def _params(seed: _Seed, meta: Mapping[str, list[Any]], reading: SourceReading) -> dict[str, Any]:
    """Return the configuration; a long one is cut in the log, and then that of the file beside it."""
    text = next(iter(meta.get("config_dict", [])), "{}")
    with suppress(ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        value = literal_eval(text)
        if isinstance(value, dict):
            return {str(key): item for key, item in value.items()}
    for path in (seed.folder / _CONFIG, seed.folder / Path(next(iter(meta.get("config_fname", [])), _CONFIG)).name):
        if path.suffix in (".yaml", ".yml", ".json") and path.exists():  # JSON is YAML
            return yaml_files.mapping_of(path, reading)
    reading.leave("configurations that were cut, without a file beside them")
    return {}


def _moment(value: Any) -> datetime | None:
    """Return a moment, which is written to the minute, and without its zone."""
    try:
        return datetime.strptime(hdf5.text_of(value), _TIME_FORMAT).replace(tzinfo=timezone.utc)
    except ValueError:
        return None


def _items(seed: _Seed, meta: Mapping[str, list[Any]], created: datetime, reading: SourceReading) -> Iterator[Item]:
    reading.note("times of MLELogger name no zone, and are taken as UTC")
    latest, count = created, 0
    with hdf5.opened(seed.file) as file:
        clock = dict(hdf5.datasets(file[seed.group].get("time", {})))
        stats = {name: dataset for name, dataset in hdf5.datasets(file[seed.group].get("stats", {})) if dataset.ndim}
        regular = {name: dataset for name, dataset in stats.items() if len(dataset) == seed.updates}
        irregular = [name for name in stats if name not in regular]
        yield RunBegins(_RUN, created)
        for name in irregular:
            yield RunBegins(name, created, parent=_RUN)
        for time, step, at, row in _rows(clock, regular, created, seed.updates, reading):
            latest, count = max(latest, time), count + 1
            if row:
                yield SourceEvent(_RUN, time, "metrics", row, "", step, at)
        for name in irregular:
            reading.note("values of a variable that not every update had: to which updates they belong is not in the file")
            yield from _irregular(name, stats[name], created, reading)
    last = partial(_files, seed, meta, latest, reading)
    length = f"{count} updates and {sum(map(len, meta.values()))} facts"
    yield from end_of(_RUN, latest, None, last, reading, length=length, has_ends=False)
    for name in irregular:
        yield from end_of(name, latest, None, lambda run: [], reading, length="", has_ends=False)
    reading.advance(size_of([seed.file]))


def _rows(
    clock: Mapping[str, Any], stats: Mapping[str, Any], created: datetime, updates: int, reading: SourceReading
) -> Iterator[tuple[datetime, int | None, dict[str, Any], dict[str, Any]]]:
    """Yield time, step, coordinates and values of each update."""
    time, since, before = created, created, 0.0
    for begin in range(0, updates, _BLOCK_ROWS):
        end = min(begin + _BLOCK_ROWS, updates)
        clocks = {name: _block(dataset, begin, end, reading) for name, dataset in clock.items()}
        values = {name: _block(dataset, begin, end, reading) for name, dataset in stats.items()}
        for index in range(end - begin):
            at = {name: column[index] for name, column in clocks.items() if index < len(column)}
            elapsed, minute = at.pop("time_elapsed", None), _moment(at.pop("time", b""))
            if not isinstance(elapsed, float) or not abs(elapsed) < _LONGEST_S:
                time, elapsed = minute or time, before
            elif elapsed < before or begin + index == 0:  # a logger that was loaded again counts from 0
                time = since = max(time, minute or time)
                since -= timedelta(seconds=elapsed)
            else:
                time = since + timedelta(seconds=elapsed)
            before = elapsed
            number = at.pop("num_updates", None)
            step = int(number) if isinstance(number, float) and number.is_integer() else None
            coordinates = {f"{name}_" if _STEP.match(name) else name: _whole(value) for name, value in at.items()}
            row = {name: column[index] for name, column in values.items() if index < len(column)}
            yield time, step, {key: value for key, value in coordinates.items() if value is not None}, row


def _block(dataset: Any, begin: int, end: int, reading: SourceReading) -> list[Any]:
    if not dataset.ndim or dataset.nbytes > hdf5.most_bytes(dataset):
        if begin == 0:
            reading.leave("datasets that claim more values than their file holds")
        return []
    block: list[Any] = dataset[begin:end].tolist()
    return block


def _whole(value: Any) -> Any:
    """Return a coordinate; those that are not finite are none."""
    if not isinstance(value, float):
        return hdf5.text_of(value) if isinstance(value, bytes) else None
    if value != value or value in (float("inf"), float("-inf")):
        return None
    return int(value) if value.is_integer() else value


def _irregular(name: str, dataset: Any, created: datetime, reading: SourceReading) -> Iterator[SourceEvent]:
    index = 0
    for block in hdf5.blocks(dataset, _BLOCK_ROWS, reading):
        for value in block.tolist():
            time = created + timedelta(microseconds=index)
            yield SourceEvent(name, time, "metrics", {name: value}, "", None, {"irregular": index})
            index += 1


def _files(
    seed: _Seed, meta: Mapping[str, list[Any]], time: datetime, reading: SourceReading, run: str
) -> Iterator[SourceEvent]:
    """Yield the files that a log names, as far as they are there, and what else it says."""
    yield SourceEvent(
        run, time, "event", {key: value for key, value in meta.items() if key != "config_dict"}, "mle_logging/meta"
    )
    for key in sorted(meta):
        for text in dict.fromkeys(value for value in meta[key] if isinstance(value, str) and value):
            parts = Path(text).parts
            begin = next((index for index in reversed(range(len(parts) - 1)) if parts[index] in _FOLDERS), None)
            if begin is None:
                continue
            path = seed.folder.joinpath(*parts[begin:])
            if ".." in parts[begin:] or not reading.takes_file(path, seed.folder):
                reading.leave("files that are gone, or lie elsewhere")
            elif parts[begin] == "figures":
                yield SourceEvent(run, time, "image", {"file": SourceFile(path, path.suffix)}, "/".join(parts[begin:]))
            else:
                yield SourceEvent(run, time, "file", SourceFile(path, path.suffix), "/".join(parts[begin:]))
