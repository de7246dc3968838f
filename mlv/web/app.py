"""The routes of the page's server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from mlv.errors import FileUnusable, MlvError, NotAnExperiment
from mlv.optional import package
from mlv.web import built, code, curves, differences, downloads, experiment, files, lines, own, plain, points
from mlv.web.guard import App, Guard
from mlv.web.index import PageIndex
from mlv.web.lists import ExperimentList
from mlv.web.live import Follower, Live
from mlv.web.patience import Patience, Waiting
from mlv.web.plain import as_text
from mlv.web.queries import Queries
from mlv.web.rows import IndexRow

if TYPE_CHECKING:
    from mlv.lake.listing import LakeListing
    from mlv.web.lake_index import LakeIndex

_TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
          ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8"}  # fmt: skip
_WAIT_S = 1.0
_LONG_S = _FIRST_S = 120.0
"""How long a reading of many experiments may take: a hundred long logs, read for the first time, take 20 s."""
_VERIFY_S = 1800.0
"""How long the check of every line and every file of an experiment may take."""
_SPARK_COLUMNS, _MOST_SPARK_COLUMNS = 48, 200
_MOMENTS = 2
"""Past moments whose experiments stay in memory."""

T = TypeVar("T")
Query = Mapping[str, str]
Answer = Callable[[Query], Any]
AnswerOfOne = Callable[[ExperimentList, IndexRow, Query], Any]

_OF_ONE: dict[str, AnswerOfOne] = {
    "": lambda index, row, _: experiment.overview(index, row),
    "/events": lambda _, row, query: lines.events(row.digest.path, query, row.moment),
    "/line": lambda _, row, query: points.line(row, query) if "y" in query else lines.line(row.digest.path, query),
    "/console": lambda _, row, query: lines.console(row.digest.path, query, row.moment),
    "/media": lambda _, row, query: lines.media(row.digest.path, query, row.moment),
}
"""The answers about one experiment, by the end of their path."""


def application(
    root: Path,
    token: str,
    allowed_hosts: Iterable[str] = (),
    lake: LakeListing | None = None,
    bring: Callable[[], object] | None = None,
) -> App:
    """Return the server's application for a folder of experiments.

    Args:
        root: The folder.
        token: The secret of its address.
        allowed_hosts: Names that it answers to, beside those of this machine.
        lake: Has the list of the experiments; without one their logs are read.
        bring: Beside a lake of a bucket, brings the logs of all of its experiments, for a reader who asks for these.

    Raises:
        MissingExtra: starlette is not installed.
    """
    routing = package("starlette.routing", "ui")
    site = _Site(PageIndex(root, bring=bring), lake)
    routes = [
        routing.Route("/", site.page),
        routing.Route("/e/{id}", site.page),
        routing.Route("/static/{name}", site.static),
        routing.Route("/api/index", site.json(site.index)),
        routing.Route("/api/select", site.json(site.select)),
        routing.Route("/api/curves", site.curves),
        routing.Route("/api/live", site.live),
        routing.Route("/api/metrics", site.json(site.metrics)),
        routing.Route("/api/sparks", site.json(site.sparks)),
        routing.Route("/api/csv", site.csv),
        routing.Route("/api/compare", site.json(site.compare)),
        routing.Route("/api/sql", site.json(site.sql)),
        routing.Route("/api/code", site.json(site.code)),
        routing.Route("/api/own", site.json(site.own)),
        routing.Route("/api/own", site.write, methods=["POST"]),
        *(routing.Route(f"/api/exp/{{id}}{end}", site.of_one(answer)) for end, answer in _OF_ONE.items()),
        routing.Route("/api/exp/{id}/verify", site.of_one(lambda _, row, __: experiment.verified(row), _VERIFY_S)),
        routing.Route("/api/exp/{id}/file", site.file),
    ]
    inner = package("starlette.applications", "ui").Starlette(
        routes=routes, exception_handlers={MlvError: _error, OSError: _unreadable}
    )
    inner.router.redirect_slashes = False  # it would lead to an address without the secret
    compressed = package("starlette.middleware.gzip", "ui").GZipMiddleware(inner, minimum_size=1024, compresslevel=5)
    return Guard(compressed, token, allowed_hosts)


def _respond(content: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Any:
    responses = package("starlette.responses", "ui")
    return responses.Response(content, status, {"content-type": "application/json", **(headers or {})})


def _error(_request: Any, error: MlvError) -> Any:
    """Return an error as its sentence."""
    status = 503 if isinstance(error, Waiting) else 404 if isinstance(error, (NotAnExperiment, FileUnusable)) else 400
    return _refusal(status, type(error).__name__, str(error))


def _unreadable(_request: Any, error: OSError) -> Any:
    """Return the error of a file that cannot be read, such as one of somebody else."""
    path = f"{error.filename}: " if error.filename else ""
    return _refusal(500, type(error).__name__, f"{path}{error.strerror or error}")


def _refusal(status: int, kind: str, sentence: str) -> Any:
    return _respond(orjson.dumps({"error": as_text(sentence), "kind": kind}), status)


class _Site:
    """The answers."""

    def __init__(self, logs: PageIndex, lake: LakeListing | None) -> None:
        self._logs = logs
        self._index: PageIndex | LakeIndex = logs if lake is None else _of_lake(lake, logs)
        self._past: dict[datetime, PageIndex] = {}
        """The experiments as of the moments that were asked for last."""
        self._lock = Lock()
        self._curves = curves.Curves()
        self._lives = {index: Live(index) for index in dict.fromkeys((self._index, logs))}
        """The streams of pages that show the lake, and of those that show the logs."""
        self._queries = Queries()
        self._own = own.Own(logs.root)
        self._patient = Patience()

    def json(self, answer: Answer) -> Callable[[Any], Any]:
        """Return a handler that gives an answer as JSON; it runs in a thread."""

        def handle(request: Any) -> Any:
            return _respond(orjson.dumps(answer(request.query_params), option=orjson.OPT_SERIALIZE_NUMPY))

        return handle

    def of_one(self, answer: AnswerOfOne, seconds: float | None = None) -> Callable[[Any], Any]:
        """Return a handler that gives an answer about one experiment as JSON."""

        def handle(request: Any) -> Any:
            query, word = request.query_params, request.path_params["id"]
            index = self._index_of(query, [word])
            folder = index.row(word).digest.path
            content = self._patient.answer(str(folder), lambda: answer(index, index.current(word), query), seconds)
            return _respond(orjson.dumps(content))

        return handle

    def page(self, request: Any) -> Any:
        """Send the page; below a folder its links lead one folder up."""
        if not built.is_built():
            return _respond(built.NOT_BUILT.encode(), 503, {"content-type": "text/plain; charset=utf-8"})
        text = built.content("index.html")
        if "id" in request.path_params:
            for attribute in (b'href="', b'src="'):
                text = text.replace(attribute + b"static/", attribute + b"../static/")
        return _respond(text, 200, {"content-type": _TYPES[".html"]})

    def static(self, request: Any) -> Any:
        """Send a file of the page."""
        name = request.path_params["name"]
        kind = _TYPES.get(Path(name).suffix, "application/octet-stream")
        return _respond(built.content(name), 200, {"content-type": kind, "cache-control": "no-cache"})

    def index(self, query: Query) -> Any:
        """Return the rows that have changed."""
        index = self._index_at(query)
        index.refresh_soon(_WAIT_S)
        # Of a page of the logs, the way back leads to a lake if there is one.
        return {**index.news(query.get("since", ""), _WAIT_S), "has_lake": self._index is not self._logs}

    def select(self, query: Query) -> Any:
        """Return the IDs of the experiments for which a predicate of SQL holds."""
        index = self._index_of(query)
        return {"ids": self._reading(query, lambda: self._queries.matching(query.get("where", ""), index))}

    def sql(self, query: Query) -> Any:
        """Return the rows of a query."""
        index = self._index_of({"fresh": query.get("fresh", "")})
        return self._reading(query, lambda: self._queries.answer(query, index))

    def sparks(self, query: Query) -> Any:
        """Return a metric of some experiments in a few columns each, for the cells of a table."""
        count = plain.whole(query, "n", _SPARK_COLUMNS, _MOST_SPARK_COLUMNS)
        metric, rows = curves.question(query).metric, self._rows(query)[: curves.MOST_CURVES]
        return {"m": metric, "curves": self._reading(query, lambda: self._curves.sparks(rows, metric, count), rows)}

    def csv(self, request: Any) -> Any:
        """Send all points of a metric of some experiments as CSV."""
        asked = curves.question(request.query_params)
        rows = self._rows(request.query_params)
        headers = {
            "content-type": "text/csv; charset=utf-8",
            "content-disposition": f'attachment; filename="{downloads.file_name(asked.metric)}"',
        }
        streaming = package("starlette.responses", "ui").StreamingResponse
        return streaming(downloads.points(rows, asked.metric, asked.x), 200, headers)

    def compare(self, query: Query) -> Any:
        """Return the differences between some experiments."""
        rows = self._rows(query)
        return self._reading(query, lambda: differences.compared([experiment.whole(row) for row in rows]), rows)

    def code(self, query: Query) -> Any:
        """Return the lines that make a view."""
        present = self._present(query)
        source = present.source if not isinstance(present, PageIndex) else {"fresh": True} if present is not self._index else {}
        return asdict(code.code(self._index.origin, query, **source))

    def curves(self, request: Any) -> Any:
        """Send a metric of some experiments as columns of pixels."""
        query = request.query_params
        asked, rows = curves.question(query), self._rows(query)
        answer = self._reading(query, lambda: self._curves.answer(rows, asked), rows)
        # Floats are hardly shorter when they are compressed, and that would take longer than all before.
        return _respond(answer, 200, {"content-type": "application/octet-stream", "content-encoding": "identity"})

    def live(self, request: Any) -> Any:
        """Send what is logged, for as long as the page is connected."""
        query = request.query_params
        live = self._lives[self._present(query)]
        if live.is_full:
            return _refusal(503, "Busy", "Too many pages are connected: close some.")
        watched = list(filter(None, query.get("watch", "").split(",")))
        index = self._index_of({"fresh": query.get("fresh", "")}, watched)
        cursor = request.headers.get("last-event-id") or query.get("cursor", "")
        folders = live.folders(watched)
        with suppress(MlvError):  # its store is away: what comes later is news
            self._bring(index, list(folders.values()))
        follower = Follower(folders, cursor)
        headers = {
            "content-type": "text/event-stream", "content-encoding": "identity",  # compressed, it would be held back
            "x-accel-buffering": "no",
        }  # fmt: skip
        return package("starlette.responses", "ui").StreamingResponse(live.messages(follower), 200, headers)

    def own(self, _: Query) -> Any:
        """Return the reader's own things."""
        return self._patient.answer(str(self._index.root), self._own.fold, key="own")

    async def write(self, request: Any) -> Any:
        """Add to the reader's own things."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return _refusal(415, "NotJson", "Send content of type application/json.")
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > own.MOST_BYTES:
                return _refusal(413, "TooLarge", f"Send at most {own.MOST_BYTES} bytes.")
        return await package("anyio.to_thread", "ui").run_sync(self._write, body)

    def _write(self, body: bytes) -> Any:
        try:
            said = orjson.loads(body)
        except ValueError:
            return _refusal(400, "NotJson", "This is no JSON.")
        try:
            return _respond(orjson.dumps(self._patient.answer(str(self._index.root), lambda: self._own.add(said), key="own")))
        except Waiting:
            raise
        except OSError as error:
            return _refusal(409, "NotWritten", f"Your own things could not be written: {error}")

    def metrics(self, query: Query) -> Any:
        """Return the names of the metrics of some experiments."""
        rows = self._rows(query)
        return self._reading(query, lambda: curves.names(rows), rows)

    def file(self, request: Any) -> Any:
        """Send a file of an experiment, or a range of its bytes."""
        word = request.path_params["id"]
        query = request.query_params
        index, path = self._index_of({"fresh": query.get("fresh", "")}, [word]), query.get("path", "")
        folder = index.row(word).digest.path
        folder = self._patient.answer(str(folder), lambda: index.current(word)).digest.path
        file = self._patient.answer(str(folder), lambda: files.named_file(folder, path), _LONG_S)
        status = os.fstat(file.fileno())
        headers = files.headers(path, status)
        if request.headers.get("if-none-match") == headers["etag"]:
            file.close()
            return _respond(b"", 304, headers)
        try:
            is_same = request.headers.get("if-range", headers["etag"]) == headers["etag"]
            span = files.span(request.headers.get("range") if is_same else None, status.st_size)
        except ValueError:
            file.close()
            return _respond(b"", 416, {**headers, "content-range": f"bytes */{status.st_size}"})
        begin, end = span or (0, status.st_size)
        if span is not None:
            headers["content-range"] = f"bytes {begin}-{end - 1}/{status.st_size}"
        headers["content-length"] = str(end - begin)
        streaming = package("starlette.responses", "ui").StreamingResponse
        return streaming(files.chunks(file, begin, end), 200 if span is None else 206, headers)

    def _rows(self, query: Query) -> list[IndexRow]:
        """Return the experiments that are named, each once; of those at a moment, or of a lake, the ones that are there.

        Raises:
            Waiting: The disk of one hangs; it is named, and is asked no more until it answers.
        """
        words = list(dict.fromkeys(filter(None, query.get("ids", "").split(","))))
        index = self._index_of(query, words)
        # A lake keeps experiments that were removed: of several, the others are shown.
        is_gone = not isinstance(index, PageIndex) and len(words) > 1
        later = [NotAnExperiment] if index.asof is not None or is_gone else []
        by_folder: dict[str, str] = {}
        for word in words:
            with suppress(*later):
                by_folder.setdefault(str(index.row(word).digest.path), word)

        self._bring(index, list(map(Path, by_folder)))

        def current(folder: str) -> IndexRow | None:
            with suppress(*later):
                return index.current(by_folder[folder])
            return None

        return [row for row in self._patient.answers(by_folder, current) if row is not None]

    def _bring(self, index: ExperimentList, folders: Sequence[Path]) -> None:
        """Bring the logs of experiments of a bucket, all at once.

        Raises:
            Waiting: It takes too long.
        """
        if not isinstance(index, PageIndex):
            key = f"bring {' '.join(map(str, folders))}"
            self._patient.answer(str(index.root), lambda: index.bring(folders), _LONG_S, key=key)

    def _reading(self, query: Query, read: Callable[[], T], rows: Sequence[IndexRow] = ()) -> T:
        """Return what a reading of some experiments, or of all, gives.

        Raises:
            Waiting: It takes too long.
        """
        root = self._index.root
        subject = str(rows[0].digest.path) if len(rows) == 1 else f"{root}, or of a folder below it,"
        return self._patient.answer(subject, read, _LONG_S, key=f"{read.__qualname__} {query}")

    def _index_of(self, query: Query, words: Iterable[str] | None = None) -> ExperimentList:
        """Return the experiments as of the moment of a question, once those of some IDs, or all, have been read.

        Raises:
            Waiting: That takes too long.
        """
        index = self._index_at(query)
        if not index.wait(words, _FIRST_S):
            folder = (index.waiting or {}).get("folder", index.root)
            raise Waiting(f"the experiments are still being read, now {folder}: ask again", path=str(folder))
        return index

    def _index_at(self, query: Query) -> ExperimentList:
        """Return the experiments as of the moment of a question."""
        asof, index = plain.asof(query), self._present(query)
        if asof is None:
            return index
        if not isinstance(index, PageIndex):
            return index.at_moment(asof)
        with self._lock:
            past = self._past.pop(asof, None) or PageIndex(index.root, asof, index)
            self._past[asof] = past
            while len(self._past) > _MOMENTS:
                del self._past[next(iter(self._past))]
        return past

    def _present(self, query: Query) -> PageIndex | LakeIndex:
        """Return the experiments of the lake, or of the logs where a reader asks for these, or no lake is there."""
        return self._logs if query.get("fresh") == "1" else self._index


def _of_lake(lake: LakeListing, logs: PageIndex) -> LakeIndex:
    from mlv.web.lake_index import LakeIndex  # most pages know no lake, and need none of its packages

    return LakeIndex(lake, logs)
