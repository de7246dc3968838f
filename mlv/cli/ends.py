"""The row of an experiment from its meta.json and the two ends of its log, where these are enough."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, cast

import orjson

from mlv import wire, words
from mlv.cli.row import METRICS_SHOWN, Row, in_utc, row_of
from mlv.encoding import TAG, TIME_LENGTH, BadLine, loads, parse_time, records_from_lines
from mlv.events import full_name, subject_of
from mlv.order import in_order
from mlv.query.view import ExperimentView
from mlv.state import verdict_in, with_description
from mlv.store import layout, opening
from mlv.store.meta import FORMAT

HEAD_BYTES, TAIL_BYTES = 2 << 10, 4 << 10
"""Bytes that are read of a long log. The events that end a run take 1 KiB."""

Record = dict[str, Any]


def row_from_ends(
    folder: str | os.PathLike[str],
    files: Sequence[str] | None = None,
    *,
    head_bytes: int = HEAD_BYTES,
    tail_bytes: int = TAIL_BYTES,
) -> Row | None:
    """Return the row of an experiment with one stream and one finished run; None where that is not certain.

    The middle of the log is not read. It cannot hold another run if this run began the log, and if all lines of the writer
    that ended it are in the tail: the writer would have sealed any other run.
    """
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, BadLine):
        path, log = os.fspath(folder), layout.stream_file(layout.DEFAULT_STREAM)
        if (files or [layout.META, *map(layout.stream_file, layout.streams_in(Path(path)))]) != [layout.META, log]:
            return None
        text = opening.content(f"{path}/{layout.META}")
        meta, ends = _plain_meta(text), _read_ends(f"{path}/{log}", head_bytes, tail_bytes)
        run = _only_run(ends)
        if meta is None or run is None:
            return None
        if _is_summarized(ends):
            return None  # by lines that may be anywhere
        metrics = _first_metrics(ends)
        if not metrics and not ends.is_all:
            return None  # its metrics stand before the files and checkpoints that end it
        # A row needs the path's text alone: to make a Path of it takes 5 of 100 us.
        view = ExperimentView(cast("Path", path), hashlib.sha256(text).hexdigest(), meta)
        if run.exp not in (None, view.id):
            return None
        return row_of(view, status=run.status, started=run.started, duration_s=run.duration_s, error=None, metric_texts=metrics)
    return None


def _plain_meta(text: bytes) -> Mapping[str, Any] | None:
    """Return the content of a meta.json of this format whose params need no decoding, else None."""
    meta = loads(text)
    is_plain = type(meta["format"]) is int and meta["format"] <= FORMAT and type(meta["params"]) is dict
    if not is_plain or meta.get("nonfinite") or (wire.TAGGED in text and TAG in orjson.dumps(meta["params"]).decode()):
        return None
    return meta  # type: ignore[no-any-return]


@dataclass(slots=True)
class _Ends:
    """The records at the beginning and the end of a log."""

    records: list[Record]
    near_end: int
    """Number of records in the tail."""
    is_all: bool
    """Whether these are all records of the log."""


def _read_ends(path: str, head_bytes: int, tail_bytes: int) -> _Ends:
    fd, size = opening.descriptor(path)
    try:
        begin = max(0, size - tail_bytes - 1)
        is_all = begin <= head_bytes
        head = os.read(fd, begin if is_all else head_bytes)
        if not is_all:
            os.lseek(fd, begin, os.SEEK_SET)
        tail = os.read(fd, size - begin)
    finally:
        os.close(fd)
    if begin:  # the line that the start of the tail cuts belongs to the head
        line_end, newline, tail = tail.partition(b"\n")
        head = head + line_end + newline if is_all else _without_metrics(head[: head.rfind(b"\n") + 1])
    return _Ends(records_from_lines(head + tail), tail.count(b"\n"), is_all)


_METRICS = re.compile(rb'"seq":\d+,"time":"[^"]{%d}","type":"metrics",' % TIME_LENGTH)


def _without_metrics(head: bytes) -> bytes:
    """Return the beginning of a long log without its run's metrics, which no row needs: that saves 13 of 118 us."""
    begin = head[: head.find(b",") + 1]  # its run
    lines = head.splitlines(keepends=True)
    return b"".join([line for line in lines if not (line.startswith(begin) and _METRICS.match(line, len(begin)))])


@dataclass(slots=True)
class _Run:
    status: str
    started: str | None
    duration_s: float
    exp: Any


def _only_run(ends: _Ends) -> _Run | None:
    """Return the only run of a log, if it has ended, else None."""
    first, last = ends.records[0], ends.records[-1]
    run, writer = first["run"], last["run"]
    by_writer, verdicts = 0, []
    for record in ends.records:
        if record["run"] == run and record["type"] == "metrics":
            continue
        about = subject_of(record["run"], record.get("data"))
        if record["run"] != run:
            if record["run"] != writer or record["type"] in ("run_started", "metrics") or about not in (run, writer):
                return None
            by_writer += 1
        if record["type"] in _OF_RUNS:
            if about != run or (record["type"] == "run_started" and record is not first):
                return None
            if record["type"] == "run_ended":
                verdicts.append(record)
    began = first.get("data") or {}
    if first["type"] != "run_started" or began.get("parent_run") is not None or len(verdicts) != 1:
        return None
    if not ends.is_all and not _ends_with_whole_seal(last, by_writer):
        return None
    [verdict] = verdicts
    started, ended = parse_time(first["time"]), parse_time(verdict["time"])
    if ended < started:
        return None
    return _Run(verdict_in(verdict.get("data")), in_utc(first["time"]), (ended - started).total_seconds(), began.get("exp"))


_OF_RUNS = ("run_started", "run_ended", "run_paused", "run_resumed")


def _ends_with_whole_seal(last: Record, count: int) -> bool:
    """Return whether the log ends with its writer's seal over its own lines, of which all `count` were read."""
    data = last["data"]
    is_own = last["type"] == "seal" and data["of"] == last["run"] and data.get("previous") is None
    return is_own and last["seq"] == count and data["lines"] == count - 1


def _is_summarized(ends: _Ends) -> bool:
    """Return whether anything but its last value may stand for a metric. `mlv` records that in a stream of its own."""
    return any(
        record["type"] == "summary" or (record["type"] == "metadata" and "summary" in (record.get("data") or ()))
        for record in ends.records
    )


def _first_metrics(ends: _Ends) -> list[list[str]]:
    """Return the first metrics of those in the tail with their latest values, the described ones before the others."""
    latest: dict[str, tuple[int, Any]] = {}  # all lines are of one run: their `seq` decides
    later: tuple[str, Any, int] = ("", {}.keys(), 0)
    for record in ends.records[: -ends.near_end - 1 : -1]:
        if record["type"] != "metrics" or type(data := record.get("data")) is not dict:
            continue
        prefix, seq = record.get("name") or "", record["seq"]
        if seq <= later[2] and prefix == later[0] and data.keys() <= later[1]:
            continue  # a later line has all its metrics
        later = prefix, data.keys(), seq
        for key, value in data.items():
            name = full_name(prefix, key)
            if name not in latest or latest[name][0] < seq:
                latest[name] = seq, value
    described = _descriptions(ends.records)
    names = sorted(latest, key=lambda name: name not in described)[:METRICS_SHOWN]
    return [[name, words.number(latest[name][1], _format(described.get(name, {})))] for name in names]


def _descriptions(records: Sequence[Record]) -> Mapping[str, Mapping[str, Any]]:
    descriptions: Mapping[str, Mapping[str, Any]] = {}
    described = [record for record in records if record["type"] == "metadata"]
    for record in in_order(described, itemgetter("run", "seq", "time")) if len(described) > 1 else described:
        data = record.get("data")
        descriptions = with_description(descriptions, record.get("name") or "", data if type(data) is dict else {})
    return descriptions


def _format(described: Mapping[str, Any]) -> str | None:
    text = described.get("format")
    return text if type(text) is str else None
