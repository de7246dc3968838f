"""The page and its data as a folder, or as one file, which open by double click: without a server, and offline."""

from __future__ import annotations

import base64
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import orjson

from mlv import words
from mlv.errors import FileUnusable, InvalidArgument, MlvError
from mlv.media.kinds import KINDS
from mlv.optional import package
from mlv.query.many.axes import TIME
from mlv.query.many.values import coded, in_order, numbers, positions
from mlv.query.metrics.long_table import metrics_of_many
from mlv.query.metrics.parse_many_logs import STEP
from mlv.query.moments import surviving
from mlv.store import attached, layout
from mlv.web import built, curves, experiment, files, lines
from mlv.web.columns import columns
from mlv.web.index import PageIndex
from mlv.web.limits import LIMITS
from mlv.web.pixels import KINDS as ODD
from mlv.web.pixels import kept
from mlv.web.plain import as_text
from mlv.web.queries import Queries
from mlv.web.rows import BROKEN, IndexRow

FILES = ("none", "media", "all")
"""The choices of files that go along."""
STRETCHES = 1024
"""Stretches of a curve, of which each keeps its first, least, greatest and last point."""
_MOST_WHOLE = 1000
"""Curves that are kept in so many stretches; of more, each has fewer."""
_LEAST_STRETCHES = 32
_MOST_METRICS, _MOST_EVENTS = 2000, "1000"
_FOLDER_SCRIPT = (
    "window.mlvStore = {};\n"
    "window.mlvData = function (key, value) {\n"
    "  window.mlvStore[key] = value;\n"
    "  if (window.mlvStore.onput) window.mlvStore.onput(key);\n"
    "};\n"
)
_TYPES = {"png", "jpg", "jpeg", "gif", "webp", "bmp", "svg", "wav", "mp3", "ogg", "flac", "mp4", "webm"}
"""Endings of the files that a page of one file holds."""

_POLICY = (
    "default-src 'none'; script-src {source}; style-src {source}; img-src 'self' file: blob: data:; "
    "media-src 'self' file: blob: data:; base-uri 'none'; form-action 'none'"
)
"""Content security policy of the page: it asks nobody, whatever an experiment holds."""

Watch = Callable[[list[IndexRow]], Iterable[IndexRow]]


@dataclass
class Written:
    """What was written, and what was not."""

    path: Path
    experiments: int
    size: int = 0
    left_out: list[str] = field(default_factory=list)
    """Sentences."""


def export(root: Path, to: Path, *, where: str = "", with_files: str = "none", watch: Watch = iter) -> Written:
    """Write the page of experiments into a new or empty folder, or into a file whose name ends in `.html`.

    Args:
        root: The folder of the experiments.
        to: The folder, or the file, which is replaced.
        where: A predicate of SQL that chooses experiments.
        with_files: `none`, `media` or `all`.
        watch: Iterates over the experiments, and may show progress.

    Raises:
        InvalidArgument: The folder is not empty, or lies in an experiment; or there is no such choice of files.
        FileUnusable: The page was not built, or a file cannot be written.
        QueryFailed: The predicate is wrong.
    """
    if with_files not in FILES:
        raise InvalidArgument(f"files={with_files!r}: give one of {', '.join(FILES)}", files=with_files)
    to = layout.absolute(to)
    if any(layout.is_experiment(folder) for folder in (to, *to.parents)):
        raise InvalidArgument(f"{to} lies in an experiment, which keeps its own files: give a path elsewhere", path=str(to))
    index = PageIndex(root)
    index.refresh()
    ids = set(Queries().matching(where, index))
    rows = [row for row in index.rows() if row.digest.id in ids]
    stretches = _stretches(rows)
    answer = _index(index, rows, with_files, stretches)
    sink: _Sink = _OneFile(to) if to.suffix == ".html" else _SiteFolder(to)
    try:
        for row in watch(rows):
            data = _data(index, row, stretches)
            sink.put(f"exp/{row.digest.id}", data, row.digest.id)
            if with_files != "none" and row.status != BROKEN:
                for path in _paths(row, data, with_files):
                    sink.copy(row, path)
        answer["export"]["left_out"] += sink.left_out
        sink.put("index", answer, "index")
        sink.finish()
    except OSError as error:
        if isinstance(error, MlvError):
            raise
        raise FileUnusable(f"{to} could not be written: {error}", path=str(to)) from error
    return Written(to, len(rows), sink.size, answer["export"]["left_out"])


def _stretches(rows: list[IndexRow]) -> int:
    count = sum(min(len(row.digest.metrics), _MOST_METRICS) for row in rows)
    return max(_LEAST_STRETCHES, min(STRETCHES, STRETCHES * _MOST_WHOLE // max(1, count)))


def _index(index: PageIndex, rows: list[IndexRow], with_files: str, stretches: int) -> dict[str, Any]:
    """Return the list in the form of the server's, with a word about the export."""
    wide = [row.digest.name for row in rows if len(row.digest.metrics) > _MOST_METRICS]
    about = {
        "made": datetime.now(timezone.utc).timestamp(), "files": with_files, "points": 4 * stretches,
        "left_out": [f"{as_text(name)} has more than {_MOST_METRICS} metrics: the others are left out" for name in wide],
    }  # fmt: skip
    return {
        "cursor": "export.1", "root": as_text(str(index.root)), "reset": True, "complete": True, "gone": [], "n": len(rows),
        "columns": columns(rows, index.root, archived=index.archived), "export": about,
    }  # fmt: skip


def _data(index: PageIndex, row: IndexRow, stretches: int) -> dict[str, Any]:
    """Return everything about an experiment, in the forms of the server's answers; of a broken one its error."""
    folder = row.digest.path
    try:
        if row.status == BROKEN:
            return {"error": as_text(row.error)}
        overview = experiment.overview(index, row)
        named = {(entry["type"], entry["name"]) for entry in overview["media"]}
        began = [run.started.timestamp() for run in row.digest.state.runs.values() if run.started is not None]
        return {
            "overview": overview, "metrics": curves.names([row]), "began": min(began, default=None),
            "events": lines.events(folder, {"limit": _MOST_EVENTS}),
            "console": lines.console(folder, {"limit": _MOST_EVENTS}),
            "media": {f"{kind} {name}": lines.media(folder, {"type": kind, "name": name}) for kind, name in sorted(named)},
            "verify": experiment.verified(row), "curves": dict(_curves(row, stretches, overview["system"])),
        }  # fmt: skip
    except (MlvError, OSError) as error:
        return {"error": as_text(str(error))}


def _curves(row: IndexRow, stretches: int, system: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each metric with the points that are kept of it."""
    np = package("numpy")
    table = metrics_of_many(row.digest.path)
    order = in_order(table)
    step, time = (positions(table, axis, order, row.digest)[order] for axis in (STEP, TIME))
    codes, names = coded(table.column("name"))
    value, is_number = numbers(table)
    codes, value = np.where(is_number, codes, len(names))[order], value[order]
    by_name = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[by_name], np.arange(len(names) + 1))
    for code, name in enumerate(names[:_MOST_METRICS]):
        own = by_name[ends[code] : ends[code + 1]]
        if len(own):
            yield as_text(name), _curve(step[own], time[own], value[own], stretches)
    for name in (f"{curves.SYSTEM}{name}" for name in system):
        [(time, value)] = curves.Curves().points([row], name, TIME)
        if len(value):
            yield name, _curve(np.full(len(value), np.nan), time, value, stretches)


def _curve(step: Any, time: Any, value: Any, stretches: int) -> dict[str, Any]:
    np, at = package("numpy"), kept(value, stretches)
    odd = (np.isnan(value), value == np.inf, value == -np.inf)
    counts = {kind: int(is_kind.sum()) for kind, is_kind in zip(ODD, odd, strict=True)}
    columns_ = {"step": step, "time": time, "y": value}
    arrays = {name: _base64(column[at]) for name, column in columns_.items()}
    return {"of": len(value), "exact": len(at) == len(value), **counts, **arrays}


def _base64(column: Any) -> str:
    return base64.b64encode(column.astype("<f8").tobytes()).decode()


def _paths(row: IndexRow, data: Mapping[str, Any], with_files: str) -> Iterator[str]:
    """Yield the files of an experiment that go along: those of media, or all that events name."""
    kinds = list(KINDS) if with_files == "media" else [*KINDS, "file", "checkpoint"]
    events = surviving(row.digest.path, kinds, None)
    paths = [reference.get("path") for event in events for reference in files.references(event.data)]
    if with_files == "all":
        paths += [path for entry in data.get("overview", {}).get("checkpoints", ()) for path in entry["paths"]]
    yield from dict.fromkeys(path for path in paths if isinstance(path, str))


class _Sink:
    """Where the page goes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._missing: Counter[str] = Counter()
        self.size = 0

    @property
    def left_out(self) -> list[str]:
        return [f"{count} files of {name} are gone, or could not be read" for name, count in self._missing.items()]

    def put(self, key: str, value: Mapping[str, Any], name: str) -> None:
        """Add data."""
        raise NotImplementedError

    def copy(self, row: IndexRow, path: str) -> None:
        """Add a file of an experiment."""
        try:
            with attached.open_unchecked(row.digest.path, path) as file:
                self.add(row, path, iter(lambda: file.read(1 << 20), b""))
        except FileUnusable:
            self._missing[as_text(row.digest.name)] += 1

    def add(self, row: IndexRow, path: str, chunks: Iterator[bytes]) -> None:
        """Add the content of a file of an experiment."""
        raise NotImplementedError

    def finish(self) -> None:
        """Add the page itself."""
        raise NotImplementedError


class _SiteFolder(_Sink):
    """A folder; what is already there is never touched."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        built.content("index.html")  # before anything is made
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InvalidArgument(f"{path} is not empty: give a new folder, or remove it first", path=str(path))
        for name in ("static", "data"):
            (path / name).mkdir(parents=True, exist_ok=True)

    def put(self, key: str, value: Mapping[str, Any], name: str) -> None:
        self._write(self._path / "data" / f"{name}.js", [_call(key, value)])

    def add(self, row: IndexRow, path: str, chunks: Iterator[bytes]) -> None:
        target = self._path / "files" / row.digest.id / path
        target.parent.mkdir(parents=True, exist_ok=True)
        self._write(target, chunks)

    def finish(self) -> None:
        for name in built.names():
            if name != "index.html":
                self._write(self._path / "static" / name, [built.content(name)])
        self._write(self._path / "static" / "folder.js", [_FOLDER_SCRIPT.encode()])
        scripts = "".join(f'<script src="{name}"></script>\n' for name in ("static/folder.js", "data/index.js"))
        self._write(self._path / "index.html", [_page(scripts).encode()])

    def _write(self, path: Path, chunks: Iterable[bytes]) -> None:
        with open(path, "xb") as file:
            self.size += sum(map(file.write, chunks))


class _OneFile(_Sink):
    """One file with everything in it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        built.content("index.html")
        self._calls: list[bytes] = []
        self._inline = self._too_large = 0

    @property
    def left_out(self) -> list[str]:
        count, most = words.counted(self._too_large, "file"), LIMITS.inline_bytes >> 20
        more = [f"{count} left out: all together hold at most {most} MB; export to a folder to have all"]
        return [*super().left_out, *(more if self._too_large else [])]

    def put(self, key: str, value: Mapping[str, Any], name: str) -> None:
        self._calls.append(_call(key, value))

    def add(self, row: IndexRow, path: str, chunks: Iterator[bytes]) -> None:
        ending = path.rpartition(".")[2].lower()
        if ending not in _TYPES:
            return
        content = bytearray()
        for chunk in chunks:
            content += chunk
            if self._inline + len(content) > LIMITS.inline_bytes:  # a film may be larger than memory
                self._too_large += 1
                return
        self._inline += len(content)
        text = f"data:{files.TYPES[ending]};base64,{base64.b64encode(content).decode()}"
        self._calls.append(_call(f"file/{row.digest.id}/{path}", text))

    def finish(self) -> None:
        scripts = [_FOLDER_SCRIPT, *(call.decode() for call in self._calls), _inert(built.content("page.js").decode())]
        page = _page("", is_inline=True)
        page = page.replace("</head>", f"<style>{built.content('style.css').decode()}</style>\n</head>", 1)
        head, end, tail = page.rpartition("</body>")
        text = f"{head}{''.join(f'<script>{script}</script>{chr(10)}' for script in scripts)}{end}{tail}".encode()
        temporary = self._path.with_name(f"{layout.TEMPORARY}{os.urandom(6).hex()}")
        try:
            temporary.write_bytes(text)
            os.replace(temporary, self._path)
        finally:
            with suppress(OSError):
                temporary.unlink()
        self.size = len(text)


def _page(scripts: str, *, is_inline: bool = False) -> str:
    """Return the page, with scripts in front of its own; with `is_inline`, without its own and its style."""
    policy = _POLICY.format(source="'unsafe-inline'" if is_inline else "'self' file:")
    policy = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    text = built.content("index.html").decode().replace("<html", '<html data-folder="1"', 1)
    text = text.replace("<head>", f"<head>\n{policy}", 1)
    if is_inline:
        return re.sub(r'<(script\b[^>]*\bsrc="static/[^>]*></script|link\b[^>]*\bhref="static/[^>]*)>\n?', "", text)
    return text.replace("<script", f"{scripts}<script", 1)


def _call(key: str, value: Any) -> bytes:
    """Return a script that hands a value to the page; no text in it can end the script."""
    content = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).replace(b"<", b"\\u003c")
    # In a script, other than in JSON, this key would be no name but the object that another inherits from.
    content = re.sub(rb'(?<=[{,])"__proto__":', b'["__proto__"]:', content)
    return b"mlvData(%s, %s);\n" % (orjson.dumps(as_text(key)).replace(b"<", b"\\u003c"), content)


def _inert(script: str) -> str:
    """Return a script without a text that would end the element around it."""
    return re.sub(r"</(script)", r"<\\/\1", script, flags=re.IGNORECASE).replace("<!--", "<\\!--")
