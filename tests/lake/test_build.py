"""A lake holds each line of the logs once, however it was built."""

from __future__ import annotations

import importlib
import json
import os
import shutil
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import logs
import pytest

pytest.importorskip("deltalake")
pytest.importorskip("pyarrow")

from lakes import append, make, metrics, rows, values

import mlv
from mlv import lake
from mlv.bucket.store import open_store
from mlv.lake import plans, tasks
from mlv.lake.builder import Builder, source_of
from mlv.lake.sources import TreeSource
from mlv.lake.tables import checked
from mlv.store import opening


@pytest.fixture
def tree(tmp_path):
    """A folder for experiments."""
    return tmp_path / "runs"


@pytest.fixture
def url(tmp_path):
    """The folder of a lake."""
    return str(tmp_path / "lake")


def test_a_lake_says_what_the_logs_say(tree, url):
    """Numbers that floats or JSON do not hold, coordinates, texts, events and files come out as `mlv export` has them."""
    with mlv.Exp(tree, "digits", {"lr": 0.1, "layers": [1, 2]}, tags=["paper"]) as exp:
        exp.log({"loss": float("nan"), "acc": float("inf"), "big": 2**60 + 1, "word": "x"}, step=1)
        exp.log.at(epoch=3)({"loss": 0.5}, step=2**60 + 1)
        exp.log("checkpointed", {"mb": 3})
        exp.log.value("note", {"a": [1, None]})
        (exp.path / "out.txt").write_text("hello")
        exp.log({"one": 1, "two": True})

    lake.build(tree, url)

    checked = lake.check(url, everything=True)
    assert checked.differences == []
    assert checked.rows["metrics"] == 7
    opened = lake.open(url)
    assert opened.arrow("experiments")["params"].to_pylist() == [[("lr", "0.1"), ("layers", "[1,2]")]]
    assert opened.arrow("experiments")["tags"].to_pylist() == [["paper"]]
    by_name = {row["name"]: row for row in opened.arrow("metrics").to_pylist()}
    assert by_name["big"]["text"] == str(2**60 + 1)
    assert by_name["acc"]["value"] == float("inf")
    assert by_name["word"]["text"] == '"x"'
    assert {row["step_text"] for row in opened.arrow("metrics").to_pylist()} == {None, str(2**60 + 1)}


def test_only_new_lines_are_taken(tree, url):
    """A second build takes what was appended, a third one nothing, and half a line waits for its end."""
    folder = make(tree / "a")
    append(folder, metrics("r1", 1, 0, x=1.0), metrics("r1", 2, 1, x=2.0))
    lake.build(tree, url)
    whole = metrics("r1", 4, 3, x=4.0)
    append(folder, metrics("r1", 3, 2, x=3.0), whole[:30])

    second = lake.build(tree, url)
    again = lake.build(tree, url)
    append(folder, whole[30:])
    third = lake.build(tree, url)

    assert (second.rows["metrics"], again.rows.get("metrics", 0), third.rows["metrics"]) == (1, 0, 1)
    assert [value for _, _, _, value in values(lake.open(url))] == [1.0, 2.0, 3.0, 4.0]


def test_a_log_of_several_tasks_and_ranges(tree, url, monkeypatch):
    """A log that is larger than a task is cut at its lines; its summary is that of all of them."""
    monkeypatch.setattr(plans, "TASK_BYTES", 2000)
    monkeypatch.setattr("mlv.lake.survey.TASK_BYTES", 2000)
    monkeypatch.setattr("mlv.lake.sources.BLOCK", 700)
    for name in ("a", "b"):
        append(make(tree / name), *(metrics("r1", seq, seq, x=float(seq)) for seq in range(1, 101)))

    lake.build(tree, url)

    assert len(rows(lake.open(url))) == 200
    assert [row["count"] for row in lake.open(url).arrow("summaries").to_pylist()] == [100, 100]
    assert lake.check(url).differences == []


def test_superseded_points_stay_and_the_view_leaves_them_out(tree, url):
    """A rewind that comes after a build changes the view, not the table."""
    pytest.importorskip("duckdb")
    with mlv.Exp(tree, "a") as exp:
        for step in range(10):
            exp.log({"x": float(step)}, step=step)
    lake.build(tree, url)
    with mlv.Exp.open(tree / "a", rewind_to=4) as exp:
        exp.log({"x": 50.0}, step=5)

    lake.build(tree, url)

    with lake.open(url).duckdb() as connection:
        assert connection.execute("select value from metrics order by step").fetchall() == [
            (0.0,), (1.0,), (2.0,), (3.0,), (4.0,), (50.0,)
        ]  # fmt: skip
        assert connection.execute("select count(*) from tables.metrics").fetchall() == [(11,)]
        assert connection.execute("select exp_name, max from summaries").fetchall() == [("a", 50.0)]
    assert lake.check(url).differences == []


@pytest.mark.parametrize("change", ["redact", "truncate", "replace", "edit"])
def test_rows_follow_a_log_that_changed(tree, url, change):
    """The rows of a log that no longer begins with what was taken are replaced by what it says now; all others stay."""
    for name in ("a", "b"):
        append(make(tree / name), *(metrics("r1", seq, seq, x=float(seq)) for seq in range(1, 6)))
        append(tree / name, logs.line("r1", 6, "note", data={"text": "password123"}))
    lake.build(tree, url)
    path = tree / "a" / "log.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    if change == "redact":
        from mlv.audit.redact import redact

        list(redact(tree / "a", ["password123"]))
    elif change == "truncate":
        os.truncate(path, sum(map(len, lines[:2])))
    elif change == "replace":
        path.unlink()
        append(tree / "a", *(metrics("r2", seq, seq, x=-1.0) for seq in range(1, 60)))
    else:
        path.write_bytes(b"".join([metrics("r1", 1, 1, x=7.0), *lines[1:]]))

    built = lake.build(tree, url, everything=change == "edit")

    assert built.replaced == 1
    assert lake.check(url).differences == []
    # That of `b` stays, as the folder was not redacted.
    assert str(rows(lake.open(url), "events")).count("password123") == (2 if change == "edit" else 1)
    ids = [mlv.Exp.open(tree / name).id for name in ("a", "b")]
    of_b = [row for row in lake.open(url).arrow("metrics").to_pylist() if row["exp"] == ids[1]]
    assert [row["value"] for row in sorted(of_b, key=lambda row: row["seq"])] == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_folder_of_another_experiment(tree, url):
    """Where an experiment was removed and another one made under its name, only the new one is in the lake."""
    append(make(tree / "a"), metrics("r1", 1, 0, x=1.0))
    lake.build(tree, url)
    shutil.rmtree(tree / "a")
    append(make(tree / "a", params={"new": 1}), metrics("r2", 1, 0, x=2.0))

    lake.build(tree, url)

    assert values(lake.open(url)) == [("r2", "x", 1, 2.0)]
    assert lake.open(url).arrow("experiments").num_rows == 1


def test_copies_count_once(tree, url):
    """Lines that two copies of an experiment have become rows once, and those that only one has are not lost."""
    append(make(tree / "a"), *(metrics("r1", seq, seq, x=float(seq)) for seq in range(1, 5)))
    shutil.copytree(tree / "a", tree / "copy")
    lake.build(tree, url)
    append(tree / "a", metrics("r1", 5, 5, x=5.0))
    append(tree / "copy", *(metrics("r2", seq, seq, x=-float(seq)) for seq in range(1, 3)))
    lake.build(tree, url)
    append(tree / "copy", metrics("r2", 3, 3, x=-3.0))
    append(tree / "a", *(metrics("r2", seq, seq, x=-float(seq)) for seq in range(1, 5)))

    lake.build(tree, url)

    assert [value for *_, value in values(lake.open(url))] == [1.0, 2.0, 3.0, 4.0, 5.0, -1.0, -2.0, -3.0, -4.0]
    assert lake.open(url).arrow("experiments").num_rows == 1
    assert lake.check(url).differences == []


def test_an_experiment_that_moves_stays_one(tree, url):
    """A folder that was renamed is the same experiment, under its new name."""
    append(make(tree / "a"), metrics("r1", 1, 0, x=1.0))
    lake.build(tree, url)
    (tree / "a").rename(tree / "b")
    append(tree / "b", metrics("r1", 2, 1, x=2.0))

    lake.build(tree, url)

    assert [value for *_, value in values(lake.open(url))] == [1.0, 2.0]
    assert lake.open(url).arrow("experiments", ["path"])["path"].to_pylist() == ["b"]


def test_months_are_partitions(tree, url):
    """Rows stand in the month in which their experiment was made, also where it does not say when."""
    append(make(tree / "a", created="2025-01-31T23:59:59Z"), metrics("r1", 1, 0, x=1.0))
    append(make(tree / "b"), metrics("r1", 1, 0, x=1.0))
    append(make(tree / "c", created="yesterday"), metrics("r1", 1, 0, x=1.0))

    lake.build(tree, url)

    assert sorted(row["month"] for row in lake.open(url).arrow("metrics").to_pylist()) == ["2025-01", "2026-11", "none"]
    assert sorted(path.name for path in Path(url, "metrics").glob("month=*")) == [
        "month=2025-01",
        "month=2026-11",
        "month=none",
    ]


def test_a_status_that_changes_without_a_line(tree, url):
    """A run that was running and says nothing any more is looked at again, until its status is sure."""
    folder = make(tree / "a", created=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    append(folder, metrics("r1", 1, 0, x=1.0))
    assert lake.build(tree, url).experiments == 1
    assert lake.build(tree, url).experiments == 1
    os.utime(folder / "log.jsonl", (1, 1))

    assert lake.build(tree, url).experiments == 1
    assert lake.build(tree, url).experiments == 0


def test_unreadable_experiments_are_left_out(tree, url):
    """A broken meta.json costs only its experiment, and a warning."""
    append(
        make(tree / "a"), metrics("r1", 1, 0, x=1.0), b'{"run":"r1","seq":2,"ti\xff\n', b"\0\0\n", metrics("r1", 3, 2, x=3.0)
    )
    (tree / "b").mkdir()
    (tree / "b" / "meta.json").write_text("{")

    with pytest.warns(mlv.MlvWarning, match=r"b/meta.json"):
        lake.build(tree, url)

    assert [value for *_, value in values(lake.open(url))] == [1.0, 3.0]
    assert lake.check(url).differences == []


def test_what_is_not_ours_is_refused(tree, url, tmp_path):
    """Another program's table, a newer lake and an edited plan are refused with what to do; nothing is written over."""
    deltalake = pytest.importorskip("deltalake")
    import pyarrow as pa

    append(make(tree / "a"), metrics("r1", 1, 0, x=1.0))
    deltalake.write_deltalake(str(tmp_path / "other" / "metrics"), pa.table({"x": [1]}))
    with pytest.raises(mlv.errors.LakeDamaged, match="not made"):
        lake.build(tree, tmp_path / "other")
    assert os.listdir(tmp_path / "other") == ["metrics"]
    deltalake.write_deltalake(str(tmp_path / "table"), pa.table({"x": [1]}))
    before = sorted((tmp_path / "table").rglob("*"))
    with pytest.raises(mlv.errors.LakeDamaged, match="is a Delta table of another program"):
        lake.build(tree, tmp_path / "table")
    assert sorted((tmp_path / "table").rglob("*")) == before
    with pytest.raises(mlv.errors.LakeMissing, match="mlv lake build"):
        lake.open(tmp_path / "nothing")

    lake.build(tree, url)
    plan = Path(url, ".mlv", "plans", "00000001.json")
    text = plan.read_bytes()
    plan.write_bytes(text.replace(b'"created":"20', b'"created":"21'))
    with pytest.raises(mlv.errors.LakeDamaged, match=r"plan 1 was edited.*rebuild"):
        lake.build(tree, url)
    plan.write_bytes(text.replace(b'"format":1', b'"format":2'))
    with pytest.raises(mlv.errors.LakeTooNew, match="newer"):
        lake.build(tree, url)
    assert lake.rebuild(tree, url).rows["metrics"] == 1

    record = Path(url, ".mlv", "lake.json")
    record.write_text(json.dumps({**json.loads(record.read_text()), "format": 2}))
    with pytest.raises(mlv.errors.LakeTooNew, match="newer"):
        lake.open(url)


def test_a_rebuild_removes_only_what_is_ours(tree, url):
    """A lake is made anew, and what lies beside its tables stays."""
    append(make(tree / "a"), metrics("r1", 1, 0, x=1.0))
    lake.build(tree, url)
    Path(url, "notes.txt").write_text("mine")

    assert lake.rebuild(tree, url).number == 1

    assert len(rows(lake.open(url))) == 1
    assert Path(url, "notes.txt").read_text() == "mine"


def test_a_rebuild_never_removes_what_others_made(tree, url, tmp_path):
    """Experiments that lie where a table is to be are refused before anything is made, and before anything is removed."""
    append(make(tmp_path / "runs" / "a"), metrics("r1", 1, 0, x=1.0))
    for build in (lake.build, lake.rebuild):
        with pytest.raises(mlv.errors.LakeDamaged, match="empty folder"):
            build(tmp_path / "runs", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]

    append(make(tmp_path / "exps" / "a"), metrics("r1", 1, 0, x=1.0))
    lake.build(tmp_path / "exps", url)
    append(make(Path(url, "files", "b")), metrics("r1", 1, 0, x=1.0))
    with pytest.raises(mlv.errors.LakeDamaged, match=r"files/b/log\.jsonl lies"):
        lake.rebuild(tmp_path / "exps", url)
    assert Path(url, "files", "b", "meta.json").exists()
    assert len(values(lake.open(url))) == 1


@pytest.mark.parametrize("left", [0, 3, 15, 25])
def test_a_rebuild_that_was_killed_is_completed(tree, url, monkeypatch, left):
    """Wherever the removal of a lake ended, a build does not take the rest of it for the lake, and a rebuild goes on."""
    folder = make(tree / "a")
    for seq in (1, 2):
        append(folder, metrics("r1", seq, seq, x=float(seq)))
        lake.build(tree, url)
    number = [left]

    class Dying:
        """A store that ends the process after some removals."""

        def __init__(self, store):
            self._store = store

        def __getattr__(self, name):
            return getattr(self._store, name)

        def delete(self, key):
            if key == ".mlv/trial.json":
                return  # is never there
            if not number[0]:
                raise KeyboardInterrupt
            number[0] -= 1
            self._store.delete(key)

    with monkeypatch.context() as patch:
        patch.setattr("mlv.lake.builder.open_store", lambda url: Dying(open_store(url)))
        with suppress(KeyboardInterrupt):
            lake.rebuild(tree, url)

    with pytest.raises(mlv.errors.LakeBusy, match="run it again"):
        lake.build(tree, url)
    lake.rebuild(tree, url)
    lake.build(tree, url)

    assert len(values(lake.open(url))) == 2
    assert lake.check(url).differences == []


@pytest.mark.parametrize("name", ["a b", "a#b", "a?b", "a*b", "é", "a%b", "a'b"])
def test_folders_of_any_name_hold_a_lake(tree, tmp_path, name):
    """A lake is built and read in a folder with spaces, signs of patterns and of URLs, and letters of any script."""
    pytest.importorskip("duckdb")
    for number, each in enumerate((name, "acb", "abd")):
        append(make(tree / each / "x", params={"n": number}), *(metrics("r1", seq, 0, x=1.0) for seq in range(1, number + 3)))
        lake.build(tree / each, tmp_path / "lakes" / each)

    opened = lake.open(tmp_path / "lakes" / name)

    assert opened.arrow("metrics", ["seq"]).num_rows == 2
    with opened.duckdb() as connection:
        assert connection.sql("select count(*) from metrics").fetchall() == [(2,)]


def test_a_folder_that_deltalake_takes_for_another(tree, tmp_path):
    """A folder with a name that `deltalake` reads otherwise is refused, in each form, before anything is made."""
    tree.mkdir()
    for url in (tmp_path / "a%20b", f"file://{tmp_path}/a%2520b", tmp_path / "a[b]c", tmp_path / "a\nb"):
        with pytest.raises(mlv.errors.InvalidArgument, match="give another folder"):
            lake.build(tree, url)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_checkpoint_spares_the_plans_before_it(tree, url, monkeypatch):
    """A builder elsewhere goes on from the positions of a checkpoint, also where it cannot be read."""
    monkeypatch.setattr("mlv.lake.builder.CHECKPOINT_PLANS", 2)
    folder = make(tree / "a")
    builder = Builder(source_of(tree), checked(url))
    for seq in range(1, 6):
        append(folder, metrics("r1", seq, seq, x=float(seq)))
        builder.build()
    positions = sorted(Path(url, ".mlv", "positions").iterdir())
    assert [path.name for path in positions] == ["00000002.json", "00000004.json"]
    Path(url, ".mlv", "plans", "00000001.json").write_text("not read any more")

    append(folder, metrics("r1", 6, 6, x=6.0))
    assert lake.build(tree, url).rows["metrics"] == 1

    positions[1].write_text("{")
    assert lake.build(tree, url).number == 7
    assert len(values(lake.open(url))) == 6


def test_names_that_are_no_text_are_left_out(tree, url):
    """A folder whose name is no UTF-8 costs only itself."""
    append(make(tree / "a"), metrics("r1", 1, 1, x=1.0))
    append(make(tree / os.fsdecode(b"b\xff"), params={"b": 1}), metrics("r1", 1, 1, x=2.0))

    with pytest.warns(mlv.MlvWarning, match="UTF-8"):
        lake.build(tree, url)

    assert [value for *_, value in values(lake.open(url))] == [1.0]


def test_summaries_are_those_of_the_logs(tree, url):
    """The numbers of each metric are those of `Exp.summary`, whichever way they were computed."""
    odd = [float("nan"), float("inf"), 1.5, -2.0]
    for name, points in (("plain", [3.0, -1.0, 2.0]), ("odd", odd), ("whole", [1, 2, 3]), ("mixed", [1.0, "text", 2.0])):
        with mlv.Exp(tree, name, capture=()) as exp:
            for step in range(1200):
                exp.log({"x": points[step % len(points)], "y": float(step)}, step=step)

    lake.build(tree, url)

    ids = {mlv.Exp.open(tree / name).id: name for name in ("plain", "odd", "whole", "mixed")}
    for row in lake.open(url).arrow("summaries").to_pylist():
        summary = mlv.Exp.open(tree / ids[row["exp"]]).summary()[row["name"]]
        for field in ("min", "max", "mean", "count", "nans", "last_step", "best_step"):
            assert row[field] == pytest.approx(getattr(summary, field), nan_ok=True), (ids[row["exp"]], field)
        last = summary.last
        assert row["last"] == pytest.approx(last, nan_ok=True) if isinstance(last, (int, float)) else row["text"] == f'"{last}"'


def test_a_listing_that_is_older_than_a_plan(tree, url):
    """A builder that listed the tree before another one took more lines replaces nothing, and takes nothing twice."""
    folder = make(tree / "a")
    append(folder, metrics("r1", 1, 1, x=1.0))
    slow = Builder(source_of(tree), checked(url))
    slow.build()
    append(folder, metrics("r1", 2, 2, x=2.0))
    listed = source_of(tree).logs("a")
    append(folder, metrics("r1", 3, 3, x=3.0))
    assert lake.build(tree, url).rows["metrics"] == 2

    class Stale(TreeSource):
        """A tree whose listing is old."""

        def logs(self, path):
            return listed

    built = Builder(Stale(source_of(tree).root), checked(url)).build()

    assert built.replaced == 0
    assert [value for *_, value in values(lake.open(url))] == [1.0, 2.0, 3.0]
    assert slow.build().replaced == 0


@pytest.mark.parametrize("when", ["new", "grown", "planned"])
def test_a_log_that_cannot_be_read_costs_only_itself(tree, url, monkeypatch, when):
    """What the disk refuses is left out, with a warning, and taken once it can be read."""
    for name in ("a", "b"):
        append(make(tree / name), metrics("r1", 1, 1, x=1.0))
    if when == "grown":
        lake.build(tree, url)
        for name in ("a", "b"):
            append(tree / name, metrics("r1", 2, 2, x=2.0))
    real = opening.descriptor
    is_planned = []

    def refused(path, *arguments):
        if Path(path) == tree / "a" / "log.jsonl" and (when != "planned" or is_planned):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments)

    def run_task(task, real=tasks.run_task):
        is_planned.append(True)
        return real(task)

    with monkeypatch.context() as patch:
        patch.setattr(opening, "descriptor", refused)
        patch.setattr("mlv.lake.builder.run_task", run_task)
        for _ in range(2):
            with pytest.warns(mlv.MlvWarning, match="Permission denied"):
                lake.build(tree, url)
        runs = lake.open(url).arrow("metrics", ["value"])["value"].to_pylist()
    assert sorted(runs) == {"new": [1.0], "grown": [1.0, 1.0, 2.0], "planned": [1.0]}[when]

    lake.build(tree, url)

    assert lake.check(url, everything=True).differences == []
    assert len(values(lake.open(url))) == (4 if when == "grown" else 2)
    assert len(rows(lake.open(url), "experiments")) == 2


def test_a_copy_that_is_removed_leaves_its_rows(tree, url):
    """Rows of lines that only a removed copy had stay, and a check finds no fault with them; it does with others."""
    folder = make(tree / "a")
    append(folder, metrics("r1", 1, 1, x=1.0), metrics("r1", 2, 2, x="y"), logs.line("r1", 3, "note", data={"text": "x"}))
    shutil.copytree(folder, tree / "b")
    append(folder, metrics("r2", 1, 3, x=3.0), logs.line("r2", 2, "note", data={"text": "y"}))
    lake.build(tree, url)
    shutil.rmtree(folder)

    lake.build(tree, url)

    checked = lake.check(url, everything=True)
    assert checked.differences == []
    assert len(values(lake.open(url))) == 3
    table = lake.open(url).delta("metrics")
    table.delete("run = 'r1' and seq = 1")
    assert len(lake.check(url, everything=True).differences) == 1


def test_workers_that_do_not_see_the_logs(tree, url, monkeypatch):
    """Where a worker cannot read what is there, the build fails and says so: no row goes missing."""
    append(make(tree / "a"), metrics("r1", 1, 1, x=1.0))
    elsewhere = TreeSource(str(tree / "not" / "mounted"))
    for module, function in (("planner", "run_survey"), ("tasks", "run_task")):
        real = getattr(importlib.import_module(f"mlv.lake.{module}"), function)

        def blind(task, real=real):
            blind_task = task._replace(source=elsewhere) if isinstance(task, tuple) else replace(task, source=elsewhere)
            return real(blind_task)

        with monkeypatch.context() as patch:
            patch.setattr(f"mlv.lake.builder.{function}", blind)
            with pytest.raises(mlv.errors.LakeError, match="a worker cannot read a below"):
                lake.build(tree, url)

    lake.build(tree, url)

    assert len(values(lake.open(url))) == 1
