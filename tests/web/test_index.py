"""The table of experiments: all of them once, then what has changed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import mlv
from mlv.query.digest import read_digest
from mlv.store.meta import read_meta
from mlv.web import index, rows, saved
from mlv.web.index import PageIndex


def whole(client, since: str = "", **more: object) -> tuple[dict[str, dict], str, list[str]]:
    """Ask until all experiments have been read; return rows by path, the cursor, and the IDs that are gone."""
    rows: dict[str, dict] = {}
    gone: list[str] = []
    while True:
        answer = client.get("api/index", params={"since": since, **more}).json()
        columns, since = answer["columns"], answer["cursor"]
        for at in range(answer["n"]):
            row = {name: values[at] for name, values in columns.items() if isinstance(values, list)}
            row["params"] = {name: values[at] for name, values in columns["params"].items()}
            row["metrics"] = {
                name: {stat: values[at] for stat, values in stats.items()} for name, stats in columns["metrics"].items()
            }
            rows[row["path"]] = row
        gone += answer["gone"]
        if answer["complete"]:
            return rows, since, gone


def test_all_experiments_are_listed(client):
    """Every experiment has its params, and each metric in a few numbers; NaN is counted."""
    rows, _, _ = whole(client)

    assert sorted(rows) == ["digits", "digits_1"]
    assert rows["digits"]["status"] == "ok"
    assert rows["digits_1"]["params"] == {"lr": 0.2, "model.depth": 3}
    expected = {"value": "NaN", "last": "NaN", "min": 0, "max": 0.5, "mean": 0.25, "count": 3, "nans": 1}
    assert rows["digits"]["metrics"]["acc"] == expected


def test_only_changes_are_sent(client, runs):
    """With a cursor only what has changed since is sent: nothing, a new experiment, one that is gone."""
    rows, cursor, _ = whole(client)
    unchanged, cursor, _ = whole(client, cursor)
    with mlv.Exp(runs, "more", {"lr": 9}, capture=()) as exp:
        exp.log({"loss": 1.0})
    added, cursor, _ = whole(client, cursor)
    shutil.rmtree(runs / "digits")
    _, cursor, gone = whole(client, cursor)

    assert unchanged == {}
    assert list(added) == ["more"]
    assert gone == [rows["digits"]["id"]]


def test_cursor_of_another_server_starts_anew(client):
    """A page that was open while the server was started again gets everything."""
    whole(client)

    answer = client.get("api/index", params={"since": "ffffffff.5"}).json()

    assert answer["reset"] is True
    assert answer["n"] == 2


def test_broken_experiment_is_a_row(client, runs):
    """An experiment that cannot be read hides no other, and says why."""
    (runs / "broken").mkdir()
    (runs / "broken" / "meta.json").write_text("{")

    rows, _, _ = whole(client)

    assert len(rows) == 3
    assert rows["broken"]["status"] == "broken"
    assert "meta.json" in rows["broken"]["error"]


def test_copy_counts_once(client, runs):
    """A copy of an experiment is no second row."""
    shutil.copytree(runs / "digits", runs / "later")

    rows, _, _ = whole(client)

    assert len(rows) == 2


def exchanged(runs: Path) -> None:
    """Let two experiments have the folders of each other."""
    (runs / "digits").rename(runs / "aside")
    (runs / "digits_1").rename(runs / "digits")
    (runs / "aside").rename(runs / "digits_1")


def replaced(runs: Path) -> None:
    """Put another experiment where a copy was."""
    shutil.rmtree(runs / "later")
    with mlv.Exp(runs, "later", capture=()) as exp:
        exp.log({"loss": 9.0}, step=1)


def gone_on(runs: Path) -> None:
    """Log into the copy, which is longer then."""
    with mlv.Exp.open(runs / "later") as exp:
        exp.log({"loss": 9.0}, step=100)


def gone(runs: Path) -> None:
    """Remove that of which there is a copy."""
    shutil.rmtree(runs / "digits")


@pytest.mark.parametrize("change", [exchanged, replaced, gone_on, gone])
def test_folders_that_have_got_another_experiment(runs, change):
    """After renaming, replacing or removing, also of copies, the list is what a server that is started then has."""
    shutil.copytree(runs / "digits", runs / "later")
    page, fresh = PageIndex(runs), PageIndex(runs)
    page.refresh()
    change(runs)
    for _ in range(2):  # one in whose place there was another a moment ago may need a second look
        page.refresh()
    fresh.refresh()

    def listed(index: PageIndex) -> dict[str, tuple[float, int]]:
        return {row.digest.id: (row.digest.metrics["loss"].last, row.digest.metrics["loss"].count) for row in index.rows()}

    assert listed(page) == listed(fresh)
    assert all(read_meta(row.digest.path).id == row.digest.id for row in page.rows())


def test_many_metrics_are_cut(client, runs):
    """An experiment with thousands of metrics is listed with some of them."""
    with mlv.Exp(runs, "wide", capture=()) as exp:
        exp.log({f"m{number}": 1.0 for number in range(2000)})

    rows, _, _ = whole(client)

    assert sum(stats["count"] is not None for stats in rows["wide"]["metrics"].values()) == 500


def test_select_answers_sql(client):
    """The predicate is that of `mlv ls --where`; a wrong one is answered with a sentence."""
    rows, _, _ = whole(client)

    chosen = client.get("api/select", params={"where": "params.lr < 0.15 and metrics.loss.min < 1"})
    wrong = client.get("api/select", params={"where": "params.lx < 0.15"})

    assert chosen.json()["ids"] == [rows["digits"]["id"]]
    assert wrong.status_code == 400
    assert "params.lr" in wrong.json()["error"]


@pytest.fixture
def many(tmp_path, monkeypatch) -> Path:
    """A folder with as many experiments as it is worth to save the rows of, changed long ago."""
    monkeypatch.setattr(saved, "WORTH", 2)
    monkeypatch.setattr(index, "SETTLED_NS", -10_000_000_000)
    for name in ("first", "second"):
        with mlv.Exp(tmp_path / "many", name, {"lr": 1}, capture=()) as exp:
            exp.log({"loss": 1.0})
    return tmp_path / "many"


def test_next_server_reads_what_has_changed(many, monkeypatch):
    """Rows are saved, and a server that is started again reads only experiments that have changed since."""
    PageIndex(many).refresh()
    with mlv.Exp.open(many / "second") as exp:
        exp.log({"loss": 2.0})
    read: list[str] = []

    def noted(folder: Path, *more: object, **options: object) -> object:
        read.append(folder.name)
        return read_digest(folder, *more, **options)

    monkeypatch.setattr(rows, "read_digest", noted)
    again = PageIndex(many)
    again.refresh()

    assert read == ["second"]
    assert {row.digest.name: row.digest.metrics["loss"].last for row in again.rows()} == {"first": 1.0, "second": 2.0}
    assert {row.status for row in again.rows()} == {"ok"}


def test_rows_are_saved_when_one_has_changed(many):
    """A server that reads nothing anew writes nothing."""
    PageIndex(many).refresh()
    [path] = (Path(os.environ["XDG_CACHE_HOME"]) / "mlv" / "pages").iterdir()
    before = path.stat()
    PageIndex(many).refresh()
    unchanged = path.stat()
    with mlv.Exp.open(many / "second") as exp:
        exp.log({"loss": 2.0})
    PageIndex(many).refresh()

    assert (unchanged.st_ino, unchanged.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert path.stat().st_mtime_ns > before.st_mtime_ns


@pytest.mark.parametrize("damage", [b"", b"x", b"0" * 64 + b"\ncos\nsystem\n(S'touch taken'\ntR."])
def test_foreign_rows_are_not_believed(many, tmp_path, monkeypatch, damage):
    """Saved rows that this user did not sign, and damaged ones, are read anew; nothing in them is run."""
    monkeypatch.chdir(tmp_path)
    PageIndex(many).refresh()
    [path] = (Path(os.environ["XDG_CACHE_HOME"]) / "mlv" / "pages").iterdir()
    path.write_bytes(damage)
    again = PageIndex(many)
    again.refresh()

    assert {row.digest.name for row in again.rows()} == {"first", "second"}
    assert not (tmp_path / "taken").exists()
    assert path.read_bytes() != damage


def test_rows_of_a_changed_file_are_not_believed(many):
    """A file that was replaced by one of the same size and time is read again."""
    PageIndex(many).refresh()
    log = many / "first" / "log.jsonl"
    status = log.stat()
    content = log.read_bytes()
    log.write_bytes(content.replace(b'"loss":1.0', b'"loss":7.0'))
    os.utime(log, ns=(status.st_atime_ns, status.st_mtime_ns))
    again = PageIndex(many)
    again.refresh()

    assert again.at(many / "first").digest.metrics["loss"].last == 7.0


def test_below_an_archived_experiment_all_are_archived(client, runs):
    """Archiving passes on to the experiments below, as in `mlv ls`, and so does taking it back."""
    below = runs / "digits" / "inner"
    shutil.copytree(runs / "digits_1", below)
    shutil.rmtree(runs / "digits_1")
    before, cursor, _ = whole(client)
    exp = mlv.Exp.open(runs / "digits")
    exp.archive()
    archived, cursor, _ = whole(client, cursor)
    exp.unarchive()
    restored, _, _ = whole(client, cursor)

    assert {path: row["archived"] for path, row in before.items()} == {"digits": False, "digits/inner": False}
    assert {path: row["archived"] for path, row in archived.items()} == {"digits": True, "digits/inner": True}
    assert {path: row["archived"] for path, row in restored.items()} == {"digits": False, "digits/inner": False}
