"""The tables of a lake stay few large files, and readers do not notice."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

import pytest

deltalake = pytest.importorskip("deltalake")
pytest.importorskip("pyarrow")

# ruff: noqa: E402 - nothing of it without these packages
import pyarrow.parquet as pq
from lakes import append, make, metrics, values

import mlv
from mlv import lake
from mlv.audit.redact import redact
from mlv.lake import upkeep
from mlv.lake.tables import LakeTables, checked


def tables_of(url):
    return LakeTables(checked(url), lake.open(url).info()["id"])


def grown(tree, url, count, created="2026-11-03T00:00:00Z"):
    """A lake of so many builds."""
    folder = make(tree / "a", created=created)
    for seq in range(1, count + 1):
        append(folder, metrics("r1", seq, seq, x=float(seq)))
        lake.build(tree, url)
    return folder


def test_months_of_many_files_become_few(tmp_path, monkeypatch):
    """The files of a month are written as one, with the same rows; a reader that opened the table before goes on reading."""
    monkeypatch.setattr(upkeep, "MOST_FILES", 5)
    monkeypatch.setattr(upkeep, "ENDED_FILES", 5)
    tree, url = tmp_path / "runs", tmp_path / "lake"
    folder = grown(tree, url, 5)
    before = lake.open(url).delta("metrics")
    assert len(before.file_uris()) == 5
    append(folder, metrics("r1", 6, 6, x=6.0))

    lake.build(tree, url)

    assert lake.open(url).info()["tables"]["metrics"]["files"] == 1
    assert [value for *_, value in values(lake.open(url))] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert before.to_pyarrow_table().num_rows == 5
    assert lake.build(tree, url).rows.get("metrics", 0) == 0


def test_months_that_ended_are_sorted_as_a_whole(tmp_path, monkeypatch):
    """A month that is over becomes one file sooner, whatever month it is now."""
    monkeypatch.setattr(upkeep, "ENDED_FILES", 2)
    tree, url = tmp_path / "runs", tmp_path / "lake"
    grown(tree, url, 3, created="2020-01-03T00:00:00Z")

    assert lake.open(url).info()["tables"]["metrics"]["files"] == 1
    assert lake.open(url).info()["tables"]["rewinds"]["files"] == 0
    assert lake.check(url).differences == []


def test_files_are_removed_after_their_retention(tmp_path, monkeypatch):
    """Files that no table names are removed once they are old enough, not before; those that it names never are."""
    monkeypatch.setattr(upkeep, "MOST_FILES", 2)
    tree, url = tmp_path / "runs", tmp_path / "lake"
    folder = grown(tree, url, 3)
    month = Path(url, "metrics", "month=2026-11")
    assert len(list(month.glob("*.parquet"))) > 1

    for seq in (4, 5):
        append(folder, metrics("r1", seq, seq, x=float(seq)))
        with monkeypatch.context() as patch:
            patch.setattr(upkeep, "maintain", lambda *_: None)
            lake.build(tree, url)
    upkeep.maintain(tables_of(url), datetime.now(timezone.utc), retention_h=0)

    assert len(list(month.glob("*.parquet"))) == 1
    assert len(values(lake.open(url))) == 5


def test_redacted_text_is_removed_with_the_files_that_held_it(tmp_path, monkeypatch):
    """Old files are removed in time, also by a build that takes nothing; the logs of Delta never held the text."""
    tree, url = tmp_path / "runs", tmp_path / "lake"
    with suppress(ValueError), mlv.Exp(tree, "a", {"key": "hunter2"}, capture=()) as exp:
        exp.log({"x": "hunter3"}, step=1)
        exp.log("event", {"text": "hunter4"})
        raise ValueError("hunter5")
    lake.build(tree, url)
    list(redact(exp.path, ["hunter."]))

    def texts():
        files = [path for path in url.rglob("*") if path.is_file()]
        tables = [pq.ParquetFile(path).read().to_pylist() for path in files if path.parent.name.startswith("month=")]
        return str(tables), b"".join(path.read_bytes() for path in files if path.suffix == ".json").decode()

    assert lake.build(tree, url).replaced
    assert "hunter2" in texts()[0]
    maintain = upkeep.maintain
    monkeypatch.setattr(upkeep, "maintain", lambda tables, now: maintain(tables, now, retention_h=0))

    assert lake.build(tree, url).plans == 0

    assert [text for text in texts() if "hunter" in text] == []
    assert lake.check(url).differences == []


def test_a_store_that_fails_during_the_upkeep(tmp_path, monkeypatch):
    """An error of the store is one of ours, which names the table; the rows are there."""
    tree, url = tmp_path / "runs", tmp_path / "lake"
    append(make(tree / "a"), metrics("r1", 1, 1, x=1.0))

    def failing(*_, **options):
        raise deltalake.exceptions.DeltaError("503 Slow Down")

    monkeypatch.setattr(deltalake.DeltaTable, "vacuum", failing)

    with pytest.raises(mlv.errors.LakeError, match=r"lake/metrics: 503 Slow Down"):
        lake.build(tree, url)

    assert len(values(lake.open(url))) == 1


def test_readers_beside_a_builder(tmp_path, monkeypatch):
    """Whoever reads while a lake is built and compacted sees the rows of whole plans, and never fewer than before."""
    monkeypatch.setattr(upkeep, "MOST_FILES", 1)
    monkeypatch.setattr(upkeep, "ENDED_FILES", 1)
    tree, url = tmp_path / "runs", tmp_path / "lake"
    folder = grown(tree, url, 1)
    is_over, counts, errors = threading.Event(), [0], []

    def read():
        while not is_over.is_set():
            try:
                counts.append(lake.open(url).arrow("metrics", ["seq"]).num_rows)
            except BaseException as error:
                errors.append(error)
                return

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(1, 6):
            append(folder, *(metrics("r1", 10 * number + seq, seq, x=1.0) for seq in range(10)))
            lake.build(tree, url)
    finally:
        is_over.set()
        reader.join()

    assert not errors
    assert counts == sorted(counts)
    assert {count % 10 for count in counts} <= {0, 1}
