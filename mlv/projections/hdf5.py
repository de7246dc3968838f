"""HDF5: a table of steps, times and values for each metric; arrays and images beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, ClassVar

from mlv import hdf
from mlv.encoding import text_only
from mlv.errors import CannotResume
from mlv.events import Event
from mlv.projections import h5files
from mlv.projections.appending import inside
from mlv.projections.batch import LineBatch
from mlv.projections.columns import Column, Columns
from mlv.projections.output import Output
from mlv.projections.points import points_and_events, whole_step
from mlv.query.metrics.lines import MetricsLine, microseconds
from mlv.store import attached, layout

METRICS, ARRAYS, IMAGES = hdf.FILES
_MOST_LINES = 400_000  # what waits is in memory, and a commit writes it
_MOST_BYTES = 64 << 20  # arrays are large: few of them wait
_LEAST_CHUNK, _GREATEST_CHUNK = 512, 16_384  # small chunks cost an index each, large ones lie empty


@dataclass(slots=True)
class H5Series:
    """One dataset of points, or a group with a dataset for each array."""

    path: str
    """Path in the file; empty before the dataset is made."""
    count: int = 0


@dataclass(frozen=True, slots=True)
class Pending:
    """An array on its way to its file."""

    stream: str
    name: str
    step: int | None
    time_s: float
    value: Any


@dataclass(kw_only=True)
class HDF5(Output):
    """`metrics.h5`: under `<stream>/<full name>` a dataset for each metric, of `step` (int64), `time` and `value` (float64).

    Times are seconds since 1970 in UTC. Values are the nearest float: integers beyond 2**53 lose digits, beyond the range of
    floats they are infinite; bools are 0 and 1; texts, None and lists are left out. A step that is a whole number stays what
    it is, a fraction is rounded down, a list or mapping with one number counts as that number. All else, and no step, is
    the position in the series, from 0, over all runs. Superseded lines are left out: a new rewind has all built again.

    Names are parts of paths: `.` and `#` at the beginning of a part, and `%`, are escaped as in `mlv.hdf.escaped`; where a
    name is also the beginning of another one, the later of the two ends with `%`. `mlv.hdf` reads names as they were.
    """

    NEEDS: ClassVar[tuple[str, ...]] = ("h5py",)
    EXTRA: ClassVar[str] = "hdf5"

    name: str = field(default="hdf5", repr=False)
    arrays: bool = False
    """Whether arrays go to `arrays.h5`: `<stream>/<name>/#0`, `#1` ... with attributes `step` and `time`."""
    images: bool = False
    """Whether images and figures go to `images.h5`, as pixels, in the same way; needs Pillow."""

    def open(self, place: Path, resume: Any) -> None:
        """Begin anew, or where the last `commit` left off.

        Raises:
            CannotResume: A file is not as it was left; a broken one was set aside as `NAME.broken-1`.
            FileUnusable: Another program writes into a file.
        """
        self._folder, self._exp = place, ""
        self._commits: dict[str, int] = {}
        self._series: dict[str, dict[tuple[str, str], H5Series]] = {name: {} for name in hdf.FILES}
        self._columns: dict[str, Columns] = {}
        self._pending: dict[str, list[Pending]] = {ARRAYS: [], IMAGES: []}
        if resume is None:
            for name in hdf.FILES:
                h5files.clear_h5(place / name)
            return
        self._exp = resume["exp"]
        for name, commit in resume["commits"].items():
            h5files.check_h5(inside(place, name), commit)
            self._commits[name] = commit
        for name, rows in resume["series"].items():
            self._series[name] = {(stream, series): H5Series(path, count) for stream, series, path, count in rows}

    def path_of(self, stream: str, name: str) -> list[str]:
        """Return the names of the groups and of the dataset for a metric, unescaped; called once for each metric."""
        return [stream, *name.split("/")]

    def write(self, batch: LineBatch) -> None:
        """Collect the points, arrays and images of the lines."""
        self._exp = self._exp or layout.exp_id(batch.folder)
        columns = self._columns_of(batch.file)
        if not (batch.selection.takes_all and columns.add_lines(batch.lines)):
            for entry in points_and_events(batch):
                if type(entry) is MetricsLine:
                    columns.add(entry)
                elif isinstance(entry, Event):
                    self._collect(batch, entry)
        if columns.lines > _MOST_LINES:
            self._write_out()

    def commit(self) -> dict[str, Any]:
        """Write the collected points, arrays and images."""
        self._write_out()
        series = {
            file: [[*names, entry.path, entry.count] for names, entry in entries.items()]
            for file, entries in self._series.items()
        }
        return {"exp": self._exp, "commits": dict(self._commits), "series": series}

    def close(self) -> None:
        """Do nothing: files are open only while they are written."""

    def _columns_of(self, stream: str) -> Columns:
        if stream not in self._columns:
            entries = self._series[METRICS].items()
            self._columns[stream] = Columns({name: entry.count for (of, name), entry in entries if of == stream})
        return self._columns[stream]

    def _collect(self, batch: LineBatch, event: Event) -> None:
        """Read an array or images; a file that is gone, damaged, or of a type that HDF5 lacks, is left out."""
        file = {"array": ARRAYS, "image": IMAGES, "figure": IMAGES}.get(event.type)
        if file is None or not (self.arrays if file == ARRAYS else self.images) or not isinstance(event.data, Mapping):
            return
        step, time_s = whole_step(event.step), microseconds(event.time) / 1e6
        for name, reference in _references(event):
            with suppress(Exception):  # files of others may be anything
                with attached.open_attached(batch.folder, reference) as content:
                    is_array = file == ARRAYS or PurePosixPath(reference["path"]).suffix == ".npy"
                    value = _array(content) if is_array else _pixels(content)
                self._pending[file].append(Pending(batch.file, text_only(name), step, time_s, value))
        if sum(array.value.nbytes for array in self._pending[file]) > _MOST_BYTES:
            self._write_out()

    def _write_out(self) -> None:
        columns = {stream: taken for stream, collected in self._columns.items() if (taken := list(collected.take()))}
        if columns:
            self._change(METRICS, lambda file: self._append(file, columns))
        for name, pending in self._pending.items():
            if pending:
                self._change(name, lambda file, name=name, pending=pending: self._add(file, name, pending))  # type: ignore[misc]
                pending.clear()

    def _change(self, name: str, work: Callable[[Any], None]) -> None:
        commit = self._commits.get(name, 0) + 1
        # To go on in a new file would leave out all that was in the old one.
        if name in self._commits and not (self._folder / name).exists():
            raise CannotResume(f"{self._folder / name} was removed", path=str(self._folder))
        h5files.change_h5(self._folder / name, self._exp, commit, work)
        self._commits[name] = commit

    def _append(self, file: Any, columns: Mapping[str, list[Column]]) -> None:
        import numpy

        kind = [("step", numpy.int64), ("time", numpy.float64), ("value", numpy.float64)]
        for stream, stream_columns in columns.items():
            for column in stream_columns:
                rows: Any = numpy.empty(len(column.steps), kind)
                rows["step"], rows["time"], rows["value"] = column.steps, column.times_s, column.values
                series = self._series[METRICS].setdefault((stream, column.name), H5Series(""))
                if series.path:
                    dataset = file[series.path]
                    dataset.resize(series.count + len(rows), 0)
                    dataset[series.count :] = rows
                else:
                    group, link = h5files.free_link(file, map(hdf.escaped, self.path_of(stream, column.name)))
                    chunk = min(max(len(rows), _LEAST_CHUNK), _GREATEST_CHUNK)
                    dataset = group.create_dataset(link, data=rows, maxshape=(None,), chunks=(chunk,))
                    series.path = dataset.name
                series.count += len(rows)

    def _add(self, file: Any, name: str, pending: list[Pending]) -> None:
        for array in pending:
            series = self._series[name].setdefault((array.stream, array.name), H5Series(""))
            group = file.require_group("/".join(map(hdf.escaped, self.path_of(array.stream, array.name))))
            series.path = group.name
            with suppress(TypeError, ValueError):  # a dtype that HDF5 lacks
                dataset = group.create_dataset(f"#{series.count}", data=array.value)
                dataset.attrs["step"] = series.count if array.step is None else array.step
                dataset.attrs["time"] = array.time_s
                series.count += 1


def _references(event: Event) -> Iterator[tuple[str, Mapping[str, Any]]]:
    several = event.data.get("files")
    if isinstance(several, list):
        yield from ((f"{event.name}/{number}", reference) for number, reference in enumerate(several))
    elif isinstance(event.data.get("file"), Mapping):
        yield event.name, event.data["file"]


def _array(file: BinaryIO) -> Any:
    import numpy

    return numpy.load(file, allow_pickle=False)


def _pixels(file: BinaryIO) -> Any:
    import numpy
    from PIL import Image

    with Image.open(file) as image:
        return numpy.asarray(image)
