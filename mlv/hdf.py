"""Reading the files of the HDF5 output: which metrics there are, and the points of one.

>>> mlv.hdf.list_keys("runs/digits")
['train/loss', 'val/acc']
>>> mlv.hdf.read_from_key("runs/digits", "train/loss")["value"]
array([0.9, 0.4, 0.2])
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from errno import EAGAIN
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from mlv.errors import FileUnusable
from mlv.optional import package
from mlv.query.many.values import unknown_metric

FOLDER = "hdf5"
"""Name of the output's folder in an experiment."""
FILES = ("metrics.h5", "arrays.h5", "images.h5")
"""One dataset for each metric in the first; in the others, one for each array or image."""
_DEFAULT_STREAM = "log"
_WAIT_S = 30.0  # its writer holds it only while it changes it
_POLL_S = 0.02
_ESCAPED = re.compile("[%\0]|^[.#]")


def list_keys(path: Path | str, stream: str | None = _DEFAULT_STREAM) -> list[str]:
    """Return the full names of the metrics in a file or folder, in alphabetical order.

    Args:
        path: A file of the output, its folder, or the experiment's.
        stream: One stream; None for those of all.

    Raises:
        FileUnusable: There is no such file, or it cannot be read.
    """
    return sorted({name for file in _files(path) for _, name, _ in _opened(file, stream, None)})


def read_from_key(path: Path | str, key: str, stream: str = _DEFAULT_STREAM) -> Any:
    """Return the points of one metric in the order of the log: an array of numpy with the fields `step`, `time` and `value`.

    Steps are integers, times are seconds since 1970 in UTC. For an array or image, `value` is one: of its shape if all have
    the same, an object if not.

    Raises:
        UnknownMetric: There is none of that name; the text has close ones.
        FileUnusable: There is no such file, or it cannot be read.
    """
    numpy = package("numpy", "hdf5")
    matches = [(file, points) for file in _files(path) for _, _, points in _opened(file, stream, key)]
    if not matches:
        raise unknown_metric(key, list_keys(path, stream))
    first = [points for file, points in matches if file == matches[0][0]]
    return numpy.concatenate(first) if len(first) > 1 else first[0]


def _files(path: Path | str) -> list[Path]:
    """Return the files to look into; those of metrics come first."""
    folder = Path(path)
    if folder.is_file():
        return [folder]
    inner = folder / FOLDER if (folder / FOLDER).is_dir() else folder
    paths = [inner / name for name in FILES if (inner / name).is_file()]
    if not paths:
        raise FileUnusable(
            f"{path} holds none of {', '.join(FILES)}: give an experiment with the output 'hdf5'", path=str(path)
        )
    return paths


def _opened(path: Path, stream: str | None, key: str | None) -> list[tuple[str, str, Any]]:
    """Return stream, name and points of the metrics in a file; without a key, the points are not read.

    While mlv writes into a large file, nobody else can open it: that takes moments, so it is tried again.
    """
    h5py, deadline = package("h5py", "hdf5"), monotonic() + _WAIT_S
    while True:
        try:
            with h5py.File(path, "r") as file:
                return list(_entries(file, stream, key))
        except OSError as error:
            if error.errno != EAGAIN or monotonic() > deadline:
                text = f"{path} cannot be read: {error}. `mlv export EXP --to hdf5` builds it again"
                raise FileUnusable(text, path=str(path)) from error
            sleep(_POLL_S)


def _entries(file: Any, stream: str | None, key: str | None) -> Iterator[tuple[str, str, Any]]:
    for name in file:
        logical = plain(name).partition("@")[0]
        if stream is None or logical == stream:
            for full_name, read in _within(file[name]):
                if key is None or full_name == key:
                    yield logical, full_name, read() if key is not None else None


def _within(group: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield every name below a group, and a function that reads its points."""
    waiting = [(group, "")]
    while waiting:
        group, above = waiting.pop()
        if any(segment.startswith("#") for segment in group):
            yield above.removesuffix("/"), partial(_stacked, group)
        for segment in group:
            inner = group[segment]
            if hasattr(inner, "keys"):
                waiting.append((inner, f"{above}{plain(segment)}/"))
            elif not segment.startswith("#"):
                yield above + plain(segment), partial(inner.__getitem__, ())


def _stacked(group: Any) -> Any:
    """Return the arrays of one name: each is a dataset, as their shapes may differ."""
    datasets = [
        group[link] for link in sorted((link for link in group if link.startswith("#")), key=lambda link: int(link[1:]))
    ]
    numpy = package("numpy", "hdf5")
    shapes = {(dataset.dtype, dataset.shape) for dataset in datasets}
    value = ("value", *shapes.pop()) if len(shapes) == 1 else ("value", object)
    points = numpy.empty(len(datasets), [("step", numpy.int64), ("time", numpy.float64), value])
    for index, dataset in enumerate(datasets):
        points["step"][index], points["time"][index] = dataset.attrs["step"], dataset.attrs["time"]
        points["value"][index] = dataset[()]
    return points


def escaped(segment: str) -> str:
    """Return the link in the file for one segment of a name: `.` and `#` at its beginning, and `%`, are escaped.

    An empty segment is `%`. HDF5 itself could hold neither it nor a single dot.
    """
    text = _ESCAPED.sub(lambda match: f"%{ord(match[0]):02X}", segment)
    return text or "%"


def plain(segment: str) -> str:
    """Return the segment of a name that a link stands for; a `%` at its end is there because its name was taken."""
    return re.sub("%([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), segment.rstrip("%"))
