"""What vanishes while it is read costs itself only, with a word, in every reader of many experiments."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

import mlv
from mlv.cli.index import Index
from mlv.cli.overview import read_row, rows_below
from mlv.query.tail import Tail
from mlv.store import layout

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


class Hook:
    """Acts when a folder is listed, or a file in it opened, for the `number`th time."""

    def __init__(self) -> None:
        self._folder, self._action, self.number, self.count = "", lambda: None, -1, 0
        sys.addaudithook(self._on)

    def _on(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._folder or event not in ("open", "os.scandir", "os.listdir"):
            return
        path = arguments[0]
        if isinstance(path, (str, bytes, os.PathLike)) and os.fsdecode(path).startswith(self._folder):
            self.count += 1
            if self.count - 1 == self.number:
                folder, self._folder = self._folder, ""
                self._action()
                self._folder = folder

    @contextmanager
    def acting(self, folder: Path, action: Callable[[], Any], number: int) -> Iterator[None]:
        """Watch a folder."""
        self._folder, self._action, self.number, self.count = str(folder), action, number, 0
        try:
            yield
        finally:
            self._folder = ""


HOOK = Hook()


def replaced(folder: Path) -> None:
    (folder / "log.jsonl").unlink()
    (folder / "log.jsonl").mkdir()


ACTIONS: dict[str, Callable[[Path], Any]] = {
    "an experiment removed": shutil.rmtree,
    "a stream removed": lambda folder: (folder / "log.jsonl").unlink(),
    "a stream replaced": replaced,
}


def exported(root: Path, to: str) -> list[str]:
    out = root.parent / "out"
    shutil.rmtree(out, ignore_errors=True)
    mlv.find(root).export(to, out)
    text = (out / "metrics.csv").read_text() if to == "csv" else "a,b"
    return text.replace('"', "").replace("\n", ",").split(",")


def sql(root: Path, query: str) -> list[str]:
    return [row[0] for row in mlv.find(root).sql(query).rows()]


def pooled(root: Path, x: str = "step") -> list[str]:
    table = mlv.find(root).aggregate(over=[], metrics="loss", x=x)
    return list(table[table["count"] > 0]["params.name"]) if "params.name" in table else ["a"]


READERS: dict[str, Callable[[Path], Any]] = {
    "iterate": lambda root: [exp.name for exp in mlv.find(root)],
    "where": lambda root: [exp.name for exp in mlv.find(root, where="metrics.loss.last > 0", tags="t")],
    "frame": lambda root: mlv.find(root).frame()["name"],
    "experiments": lambda root: sql(root, "select name from experiments"),
    "metrics": lambda root: sql(root, "select distinct exp_name from metrics"),
    "events": lambda root: sql(root, "select distinct exp_name from events"),
    "files": lambda root: sql(root, "select distinct exp_name from files"),
    "history": lambda root: mlv.find(root).history()["exp_name"],
    "aggregate": pooled,
    "lines": lambda root: [line.label.partition("=")[2] or "a" for line in mlv.find(root).lines("loss", over=[])],
    "active": lambda root: pooled(root, "active"),
    "to parquet": lambda root: exported(root, "parquet"),
    "to csv": lambda root: exported(root, "csv"),
    "ls": lambda root: [row.name for row in Index(root, lambda path, files: read_row(path, files, NOW)).rows()],
    "ls --json": lambda root: [row.name for row in rows_below(root, is_whole=True)],
    "whence": lambda root: [origin.exp.name for origin in mlv.whence(root / "a" / "files" / "file.txt", root)],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two experiments, which are copied for each test."""
    made = tmp_path_factory.mktemp("made") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLV_INLINE", "1")
        for name in ("a", "b"):
            with mlv.Exp(made, name, {"name": name}, capture=(), tags=["t"]) as exp:
                exp.log({"loss": 1.0}, step=0)
                exp.logger("val")({"acc": 1}, step=1)
                with exp.file("file.txt", "w") as file:
                    file.write("the same")
    return made


@pytest.fixture
def root(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two experiments."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Path(shutil.copytree(made, tmp_path / "runs", symlinks=True))


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("reader", READERS)
def test_costs_itself_only(root, tmp_path, reader, action):
    """R11: whenever one experiment, or its log, goes away while many are read, the other is read, and what is missing told."""
    pytest.importorskip("duckdb")
    shutil.copytree(root / "b", tmp_path / "kept", symlinks=True)
    number = 0
    while True:
        with warnings.catch_warnings(record=True) as said, HOOK.acting(root / "b", lambda: ACTIONS[action](root / "b"), number):
            warnings.simplefilter("always")
            found = list(READERS[reader](root))

        assert "a" in found
        if HOOK.count <= number:
            break  # nothing is read after what was done
        # A stream that is gone before the streams are listed is none.
        assert "b" in found or said or action != "an experiment removed"
        shutil.rmtree(root / "b", ignore_errors=True)
        shutil.copytree(tmp_path / "kept", root / "b", symlinks=True)
        layout.unlisted.clear()
        number += 1
    assert number > 0


def test_tail(root):
    """R11: a stream that goes away while the last events are looked for costs itself only, with a word."""
    remove = (root / "b" / "log.jsonl").unlink
    with warnings.catch_warnings(record=True) as said, HOOK.acting(root / "b", remove, 1):
        warnings.simplefilter("always")
        found = Tail(root / "b", types=["metrics"]).last(5)

    assert [event.event.data for event in found] == [{"acc": 1}]
    assert said


def test_a_folder_that_cannot_be_listed(root, monkeypatch):
    """R11: a folder that may not be listed, or was removed meanwhile, is passed over with a word, once."""
    (root / "locked").mkdir()
    real = os.scandir

    def scandir(path: Any = ".") -> Any:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert len(mlv.find(root)) == 2
        assert len(list(rows_below(root, is_whole=True))) == 2
        assert len(list(Index(root, lambda path, files: read_row(path, files, NOW)).rows())) == 2
    assert [str(warning.message).partition("locked ")[2][:37] for warning in said] == ["cannot be listed (Permission denied):"]
