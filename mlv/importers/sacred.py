"""Folders of Sacred's FileStorageObserver: `run.json`, `config.json`, `metrics.json`, `info.json`, `cout.txt`, files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mlv.experiment.importing.source import Item, RunBegins, SourceEvent, SourceExperiment, SourceFile
from mlv.importers import json_files, log_lines
from mlv.importers.endings import end_of
from mlv.importers.listing import SourceListing, size_of
from mlv.importers.reading import Opened, SourceReading, Unit
from mlv.importers.values import time_of

NAME = "sacred"
_RUN, _CONFIG, _METRICS, _INFO, _OUTPUT = "run.json", "config.json", "metrics.json", "info.json", "cout.txt"
_MAIN = "main"
_STATUSES = {"COMPLETED": "ok", "FAILED": "failed", "INTERRUPTED": "interrupted", "TIMEOUT": "killed", "DIED": "killed"}
_KEPT_APART = ("_resources", "_sources")
"""Folders beside the runs, with files that they share."""


def units(listing: SourceListing) -> Iterator[Unit]:
    """Yield the folders of runs."""
    for folder, names in list(listing.folders.items()):
        if _RUN in names and (_CONFIG in names or _OUTPUT in names):
            shared = [path for name in _KEPT_APART for path in listing.below(folder.parent / name)]
            listing.take([*listing.below(folder), *shared])
            yield Unit(NAME, folder, size_of(folder / name for name in names), _SacredFolder(folder).open)


class _SacredFolder:
    """The folder of a run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, reading: SourceReading) -> Opened:
        """Return the experiment, and its items."""
        run = self._json(_RUN, reading)
        config = {key: _plain(value) for key, value in self._json(_CONFIG, reading).items()}
        info, meta = _mapping(run.get("experiment")), _mapping(_mapping(run.get("meta")).get("options"))
        title = str(info.get("name") or "sacred")
        created = time_of(run.get("start_time")) or datetime.fromtimestamp(self._folder.stat().st_mtime, timezone.utc)
        experiment = SourceExperiment(
            str(meta.get("--name") or self._folder.name),
            created,
            {"format": NAME, "experiment": title, "id": self._folder.name, "start": str(run.get("start_time"))},
            config,
            tags=["imported", NAME],
            notes=str(meta["--comment"]) if meta.get("--comment") else None,
            captured=_captured(info, _mapping(run.get("host"))),
            folders=(title,),
        )
        return Opened(experiment, lambda created: self._items(run, config, created, reading), may_gain_params=True)

    def _json(self, name: str, reading: SourceReading) -> dict[str, Any]:
        return json_files.mapping_of(self._folder / name, reading)

    def _items(self, run: dict[str, Any], config: dict[str, Any], created: datetime, reading: SourceReading) -> Iterator[Item]:
        latest, count = created, 0
        yield RunBegins(_MAIN, created)
        for time, name, step, value in sorted(self._points(created, reading), key=lambda point: (point[0], point[1])):
            latest, count = max(latest, time), count + 1
            yield SourceEvent(_MAIN, time, "metrics", {name: value}, "", step)
        latest = max(latest, time_of(run.get("stop_time")) or latest)
        trace = run.get("fail_trace")
        exception = _exception(trace) if isinstance(trace, list) and trace else None
        output = self._folder / _OUTPUT
        console = log_lines.PrintedFile(output) if reading.takes_file(output, self._folder) else None
        if console is not None:
            yield from console.items(_MAIN, created, reading)
        status = _STATUSES.get(str(run.get("status")))
        length = f"{count} points, heartbeat {run.get('heartbeat')}"
        yield from end_of(
            _MAIN, latest, status, lambda name: self._last(name, run, config, latest, console, reading), reading,
            length=length, exception=exception,
        )  # fmt: skip

    def _points(self, created: datetime, reading: SourceReading) -> Iterator[tuple[datetime, str, Any, Any]]:
        for name, series in self._json(_METRICS, reading).items():
            values, steps, times = (_mapping(series).get(key) for key in ("values", "steps", "timestamps"))
            if not (isinstance(values, list) and isinstance(steps, list) and isinstance(times, list)):
                reading.leave("metrics without values, steps and timestamps")
                continue
            lengths = sorted(map(len, (values, steps, times)))
            if lengths[0] < lengths[-1]:
                reading.leave("values, steps or times of metrics without the others", lengths[-1] - lengths[0])
            for step, time, value in zip(steps, times, values, strict=False):
                yield time_of(time) or created, name, step if isinstance(step, (int, float)) else None, _plain(value)

    def _last(
        self,
        name: str,
        run: dict[str, Any],
        config: dict[str, Any],
        time: datetime,
        console: log_lines.PrintedFile | None,
        reading: SourceReading,
    ) -> Iterator[SourceEvent]:
        if added := reading.params_to_add(config):
            yield SourceEvent(name, time, "params", added)
        totals = {key: _plain(value) for key, value in self._json(_INFO, reading).items()}
        if run.get("result") is not None:
            totals["result"] = _plain(run["result"])
        if totals:
            yield SourceEvent(name, time, "summary", totals)
        if console is not None:
            yield from console.last(name, time)
        for label, path in self._files(run):
            if reading.takes_file(path, self._folder.parent):
                yield SourceEvent(name, time, "file", SourceFile(path, path.suffix, is_linked=True), label)
            else:
                reading.leave("files that are gone, or lie elsewhere")

    def _files(self, run: dict[str, Any]) -> Iterator[tuple[str, Path]]:
        """Yield name and path of artifacts, resources and sources; trees are moved, so absolute paths only tell names."""
        for artifact in run.get("artifacts") or []:
            name = str(artifact["name"] if isinstance(artifact, dict) else artifact)
            yield f"artifacts/{name}", self._folder / Path(name).name
        for pair in run.get("resources") or []:
            yield f"resources/{Path(str(pair[0])).name}", self._folder.parent / "_resources" / Path(str(pair[1])).name
        for pair in _mapping(run.get("experiment")).get("sources") or []:
            yield f"sources/{pair[0]}", self._folder.parent / "_sources" / Path(str(pair[1])).name


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _plain(value: Any) -> Any:
    """Return a value without the marks of jsonpickle, as far as it is a plain one."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    for mark in ("py/tuple", "py/set"):
        if mark in value:
            return [_plain(item) for item in value[mark]]
    return {key: _plain(item) for key, item in value.items()}


def _exception(trace: list[Any]) -> dict[str, str]:
    lines = [str(line) for line in trace]
    kind, _, message = lines[-1].strip().partition(": ")
    return {"type": kind or "Exception", "message": message, "traceback": "".join(lines)}


def _captured(info: Mapping[str, Any], host: Mapping[str, Any]) -> dict[str, Any]:
    captured: dict[str, Any] = {}
    if info.get("mainfile"):
        python = {"version": str(host["python_version"])} if host.get("python_version") else {}
        folder = str(info.get("base_dir") or "")
        captured["script"] = {
            "kind": "script",
            "path": str(Path(folder) / str(info["mainfile"])),
            "cwd": folder,
            "python": python,
        }
    packages = dict(str(text).split("==", 1) for text in info.get("dependencies") or [] if "==" in str(text))
    variables = {str(key): str(value) for key, value in _mapping(host.get("ENV")).items()}
    if packages or variables:
        captured["env"] = {"variables": variables, "packages": packages}
    if host:
        system = host.get("os")
        platform = str(system[-1]) if isinstance(system, list) and system else None
        captured["machine"] = {"host": host.get("hostname"), "cpu": host.get("cpu"), "platform": platform}
    repositories = info.get("repositories") or []
    if repositories and isinstance(repositories[0], dict):
        first = repositories[0]
        captured["git"] = {"commit": first.get("commit"), "dirty": bool(first.get("dirty"))}
        if first.get("url"):
            captured["git"]["remotes"] = {"origin": str(first["url"])}
    return captured
