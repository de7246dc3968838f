"""The files in `<logdir>/events`: projections of the log for TensorBoard and HDF5."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import orjson

import mlv
from mlv.compat.allogger.tables import REUSE_SPACE, append
from mlv.projections import Output, TensorBoard, open_attached
from mlv.projections.h5files import change_h5, check_h5, clear_h5

ROUTE = "outputs"
"""The coordinate of a line that goes to other outputs than most of its experiment: their names, joined by commas."""
KIND = "kind"
"""The coordinate of an array that is an image."""

_MOST_BYTES = 64 << 20


@dataclass(kw_only=True)
class EventFiles(TensorBoard):
    """`events.out.tfevents.*`: scalars, images, histograms and texts under tags such as `root.main/value`."""

    NOTES_IN_EXPERIMENT: ClassVar[bool] = True

    name: str = field(default="allogger-tensorboard", repr=False)
    hparams: bool = False
    texts: bool = False
    by_default: bool = True
    """Whether lines without a route go here."""

    def write(self, batch: Any) -> None:
        """Add the lines that are for TensorBoard."""
        if not self.by_default or f'"{ROUTE}":'.encode() in batch.lines:
            batch = replace(batch, lines=b"".join(line for line in batch.lines.splitlines(keepends=True) if self._is_for(line)))
        super().write(batch)

    def _is_for(self, line: bytes) -> bool:
        try:
            at = orjson.loads(line).get("at", {})
        except ValueError:
            return False
        return is_for("tensorboard", at, self.by_default)


@dataclass(kw_only=True)
class H5(Output):
    """`<experiment>.h5`: datasets `<scalar|image|array>/<scope>/<key>`, a row for each record.

    A row has `step` (int64), `time` and `walltime` (float64: seconds since 1970 in UTC, and since the log began) and `value`
    (float64, of the shape of the logged value). The scope stands without its `root.`, and `-` becomes `/`, as ALLogger has it.
    Where a name is taken by another series, by one whose values have another shape, or by a group, `%` follows. Empty arrays,
    texts and None are left out.
    """

    NEEDS: ClassVar[tuple[str, ...]] = ("h5py",)
    EXTRA: ClassVar[str] = "hdf5"
    NOTES_IN_EXPERIMENT: ClassVar[bool] = True

    name: str = field(default="allogger-hdf", repr=False)
    by_default: bool = True
    """Whether lines without a route go here."""

    def open(self, place: Path, resume: Any) -> None:
        """Begin anew, or where the last `commit` left off.

        Raises:
            CannotResume: The file is not as it was left; a broken one was set aside as `NAME.broken-1`.
            FileUnusable: Another program writes into it.
        """
        state = resume or {"file": "", "commit": 0, "exp": "", "began_s": 0.0, "series": []}
        self._folder, self._file, self._commit = place, state["file"], state["commit"]
        self._exp, self._began_s = state["exp"], state["began_s"]
        self._series = {(kind, name, tuple(shape)): (path, rows) for kind, name, shape, path, rows in state["series"]}
        self._waiting: dict[tuple[str, str, tuple[int, ...]], list[tuple[Any, ...]]] = {}
        self._waiting_bytes = 0
        if self._commit:
            check_h5(place / self._file, self._commit)

    def write(self, batch: Any) -> None:
        """Collect the values of the lines."""
        for event in batch:
            if not self._file and event.type == "run_started":
                self._exp, self._began_s = event.data["exp"], event.time.timestamp()
                self._file = f"{batch.folder.name}.h5"
                clear_h5(self._folder / self._file)
            if is_for("hdf", event.at, self.by_default):
                for kind, name, value in _values(event, batch.folder):
                    self._collect(event, kind, name, value)
        if self._waiting_bytes > _MOST_BYTES:
            self._write_out()

    def commit(self) -> dict[str, Any]:
        """Write the collected values."""
        self._write_out()
        series = [[*key, *table] for key, table in self._series.items()]
        began = {"exp": self._exp, "began_s": self._began_s}
        return {"file": self._file, "commit": self._commit, **began, "series": series}

    def close(self) -> None:
        """Do nothing: the file is open only while it is written."""

    def discard(self, place: Path, resume: Any) -> None:
        """Remove the file."""
        if resume["file"]:
            (place / resume["file"]).unlink(missing_ok=True)

    def _collect(self, event: mlv.Event, kind: str, name: str, value: Any) -> None:
        time_s = event.time.timestamp()
        which = (kind, name, tuple(getattr(value, "shape", ())))
        self._waiting.setdefault(which, []).append((event.step or 0, time_s, time_s - self._began_s, value))
        self._waiting_bytes += getattr(value, "nbytes", 32)

    def _write_out(self) -> None:
        if self._waiting:
            change_h5(self._folder / self._file, self._exp, self._commit + 1, self._append, **REUSE_SPACE)
            self._commit += 1
            self._waiting, self._waiting_bytes = {}, 0

    def _append(self, file: Any) -> None:
        for which, rows in self._waiting.items():
            path, before = self._series.get(which) or ("", 0)
            with suppress(ValueError, TypeError):  # HDF5 has no form for it, such as for a row above 4 GiB
                path = append(file, path or f"{which[0]}/{_path_of(which[1])}", before, rows, which[2])
                self._series[which] = path, before + len(rows)


def is_for(output: str, at: Mapping[str, Any], by_default: bool) -> bool:
    """Return whether a line with these coordinates goes to an output."""
    route = at.get(ROUTE)
    return by_default if route is None else output in str(route).split(",")


def _values(event: mlv.Event, folder: Path) -> Iterator[tuple[str, str, Any]]:
    """Yield kind, full name and value of everything that HDF5 can hold."""
    if event.type == "metrics" and isinstance(event.data, Mapping):
        prefix = f"{event.name}/" if event.name else ""
        for key, value in event.data.items():
            if isinstance(value, (int, float)):
                yield "scalar", prefix + key, _float(value)
    elif event.type == "array":
        with suppress(Exception):  # its file is gone, or of a dtype that HDF5 lacks
            import numpy

            with open_attached(folder, event.data["file"]) as file:
                value = numpy.load(file, allow_pickle=False).astype(numpy.float64, casting="same_kind")
            if value.size:
                yield "image" if event.at.get(KIND) == "image" else "array", event.name, value


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _path_of(name: str) -> str:
    """Return groups and dataset of a series; HDF5 ignores an empty segment and `.`, so those are escaped."""
    segments = name.removeprefix("root.").replace("-", "/").replace("\0", "%00").encode("utf-8", "backslashreplace").decode()
    return "/".join({"": "%", ".": "%2E"}.get(segment, segment) for segment in segments.split("/"))
