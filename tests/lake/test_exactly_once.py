"""Each line becomes rows once, whoever builds and whatever is killed."""

from __future__ import annotations

import os
import shutil

import pytest

deltalake = pytest.importorskip("deltalake")
pa = pytest.importorskip("pyarrow")
pytest.importorskip("hypothesis")

# ruff: noqa: E402 - nothing of it without these packages
import logs
from hypothesis import given, settings
from hypothesis import strategies as st
from lakes import SEED, Growing, append, build_and_kill, make, metrics, values

from mlv import lake
from mlv.bucket.store import open_store
from mlv.lake import plans
from mlv.lake.tables import LakeTables

KILLS = 50 if os.environ.get("MLV_SOAK") else 10


@pytest.mark.timeout(600)
def test_two_builders_and_kills(tmp_path):
    """Two builders at once, killed at any time, neither lose nor double a row of logs that grow meanwhile."""
    growing, url = Growing(tmp_path / "runs"), str(tmp_path / "lake")
    build_and_kill(growing, url, KILLS, within_s=0.3)

    lake.build(growing.tree, url)

    assert values(lake.open(url)) == growing.values(), SEED
    assert lake.check(url, everything=True).differences == [], SEED


class Killed(BaseException):
    """The end of a process."""


def dying(function, left):
    """A function that ends the process once it was called so often."""

    def call(*arguments, **options):
        if left[0] == 0:
            raise Killed
        left[0] -= 1
        return function(*arguments, **options)

    return call


class Dying:
    """A store in which the process ends after so many objects."""

    def __init__(self, store, left):
        self._store, self.create = store, dying(store.create, left)

    def __getattr__(self, name):
        return getattr(self._store, name)


def test_a_build_that_ends_anywhere_is_completed(tmp_path, monkeypatch):
    """Whichever write to the lake is the last one, the next build goes on from there."""
    tree = tmp_path / "runs"
    make(tree / "a")
    url = str(tmp_path / "lake")
    append(tree / "a", metrics("r1", 1, 1, x=1.0), logs.line("r1", 2, "note", data={"text": "x"}))
    left = [0]

    with monkeypatch.context() as patch:
        for module in ("builder", "tasks"):
            patch.setattr(f"mlv.lake.{module}.open_store", lambda url: Dying(open_store(url), left))
        patch.setattr(LakeTables, "commit", dying(LakeTables.commit, left))
        for calls in range(100):
            left[0] = calls
            if calls % 3 == 2:
                append(tree / "a", metrics("r1", calls + 10, calls, x=1.0))
            try:
                lake.build(tree, url)
            except Killed:
                continue
            break

    assert calls > 5
    lake.build(tree, url)
    assert lake.check(url).differences == []
    assert lake.open(url).arrow("experiments").num_rows == 1


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize("checkpoint", [1, 64])
def test_an_experiment_that_is_moved_before_its_plan_is_done(tmp_path, monkeypatch, is_new, checkpoint):
    """A plan of which the lines are elsewhere by now costs no row: the next plan takes them where they are."""
    monkeypatch.setattr("mlv.lake.builder.CHECKPOINT_PLANS", checkpoint)
    tree, url = tmp_path / "runs", str(tmp_path / "lake")
    folder = make(tree / "a")
    append(make(tree / "z", params={"z": 1}), metrics("r1", 1, 1, x=1.0))
    append(folder, metrics("r1", 1, 1, x=1.0))
    if not is_new:
        lake.build(tree, url)
        append(folder, metrics("r1", 2, 2, x=2.0))

    def ended(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("mlv.lake.builder.Builder._do", ended)
        with pytest.raises(Killed):
            lake.build(tree, url)
    folder.rename(tree / "b")
    with monkeypatch.context() as patch:  # the plan is carried out, and the builder ends before the next one
        patch.setattr("mlv.lake.builder.Planner.news", ended)
        with pytest.raises(Killed):
            lake.build(tree, url)

    lake.build(tree, url)

    assert lake.check(url, everything=True).differences == []
    assert len(lake.open(url).arrow("metrics", ["seq"])) == 3 - is_new
    assert sorted(lake.open(url).arrow("experiments")["path"].to_pylist()) == ["b", "z"]


def test_an_experiment_that_is_removed_before_its_status_is_looked_at(tmp_path, monkeypatch):
    """What is removed between a plan without lines of it and its rows stays in all tables."""
    tree, url = tmp_path / "runs", str(tmp_path / "lake")
    for name in ("a", "b"):
        folder = make(tree / name)
        append(folder, metrics("r" + name, 1, 1, x=1.0))
    lake.build(tree, url)
    plan = plans.Plan

    def removing(*arguments, **options):
        shutil.rmtree(tree / "a", ignore_errors=True)
        return plan(*arguments, **options)

    append(folder, metrics("rb", 2, 2, x=2.0))
    monkeypatch.setattr("mlv.lake.planner.Plan", removing)
    lake.build(tree, url)

    assert sorted(lake.open(url).arrow("experiments")["name"].to_pylist()) == ["a", "b"]
    assert sorted(lake.open(url).arrow("metrics")["run"].to_pylist()) == ["ra", "rb", "rb"]


def test_deltalake_refuses_a_version_by_the_handle(tmp_path):
    """Of two handles that were opened before, only one commits a version of an application.

    What a lake rests on is behaviour of `deltalake`, not documented. If this fails, builders may double rows.
    """
    table = pa.table({"x": [1], "month": ["m"]})
    deltalake.write_deltalake(tmp_path / "t", table, partition_by=["month"])

    def properties(version):
        return deltalake.CommitProperties(app_transactions=[deltalake.Transaction("mlv.lake", version)])

    def replace(handle, version):
        deltalake.write_deltalake(
            handle, table, mode="overwrite", predicate="month in ('m') and x in (1)", commit_properties=properties(version)
        )

    def append_rows(handle, version):
        deltalake.write_deltalake(handle, table, mode="append", commit_properties=properties(version))

    def append_files(handle, version):
        handle.create_write_transaction(
            [], mode="append", schema=handle.schema(), partition_by=["month"], commit_properties=properties(version)
        )

    def remove(handle, version):
        handle.delete("month in ('m') and x in (1)", commit_properties=properties(version))

    commits = [append_rows, replace, append_files, remove]
    version = 0
    for commit in commits:
        for other in commits:
            version += 1
            deltalake.write_deltalake(tmp_path / "t", table, mode="append")  # something to remove
            first, second = deltalake.DeltaTable(tmp_path / "t"), deltalake.DeltaTable(tmp_path / "t")
            commit(first, version)
            with pytest.raises(deltalake.exceptions.CommitFailedError):
                other(second, version)
            assert deltalake.DeltaTable(tmp_path / "t").transaction_version("mlv.lake") == version


FOLDERS, STREAMS = ["a", "b", "a/sub"], ["log", "val", "val@merged"]
STEPS = st.lists(
    st.tuples(st.sampled_from(FOLDERS), st.sampled_from(STREAMS), st.integers(1, 3), st.integers(0, 3)), max_size=12
)
"""Folder, stream, run and kind of each line."""


@settings(max_examples=200 if os.environ.get("MLV_SOAK") else 6)
@given(rounds=st.lists(STEPS, min_size=1, max_size=3), data=st.data())
def test_any_increments_give_the_rows_of_the_logs(tmp_path_factory, rounds, data):
    """However a tree grows between builds, with copies, half lines and odd values, the lake is what the logs say at the end."""
    tmp_path = tmp_path_factory.mktemp("lake")
    tree, url = tmp_path / "runs", str(tmp_path / "lake")
    for name in FOLDERS:
        make(tree / name)
    numbers, ends = {}, {}
    odd = st.sampled_from(
        [b'{"x":null},"nonfinite":{"/x":"nan"}', b'{"x":"text"}', b'{"x":18446744073709551617}', b'{"x":1.5},"at":{"epoch":3}']
    )
    try:
        for steps in rounds:
            for name, stream, number, kind in steps:
                run = f"r{number}{stream.replace('@', '')}"
                seq = numbers[name, run] = numbers.get((name, run), 0) + 1
                if kind == 0:
                    line = logs.line(run, seq, "note", data={"text": str(seq)})
                elif kind == 1:
                    line = metrics(run, seq, 1, x=0).replace(b'{"x":0}', data.draw(odd))
                else:
                    line = metrics(run, seq, seq, x=float(seq), y=2)
                cut = data.draw(st.integers(1, len(line)))
                append(tree / name, ends.pop((name, stream), b"") + line[:cut], stream=stream)
                ends[name, stream] = line[cut:]
            assert lake.build(tree, url).replaced == 0
        for (name, stream), rest in ends.items():
            append(tree / name, rest, stream=stream)
        if data.draw(st.booleans()):
            shutil.copytree(tree / "b", tree / "copy")

        lake.build(tree, url)

        checked = lake.check(url, everything=True)
        assert checked.differences == []
        assert checked.experiments == 3
        lake.rebuild(tree, url)
        again = lake.check(url, everything=True)
        assert (again.differences, again.rows) == ([], checked.rows)
    finally:
        shutil.rmtree(tmp_path)


@pytest.mark.parametrize("on", ["number", "threads", "dask"], indirect=True)
def test_tasks_make_the_same_files_anywhere(tmp_path, monkeypatch, on):
    """Wherever tasks are run, a plan makes the same files, by name and content."""
    monkeypatch.setattr(plans, "TASK_EXPERIMENTS", 2)
    tree = tmp_path / "runs"
    for number in range(5):
        append(make(tree / f"e{number}"), *(metrics("r1", seq, seq, x=float(seq)) for seq in range(1, 10)))

    lake.build(tree, tmp_path / "here")
    lake.build(tree, tmp_path / "there", on)

    def files(url):
        return {path.name: path.read_bytes() for path in (url / "metrics").rglob("part-*.parquet")}

    assert files(tmp_path / "here") == files(tmp_path / "there")
    assert len(files(tmp_path / "here")) == 4
