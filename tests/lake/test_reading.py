"""Lists, frames and predicates that a lake answers are those of the logs."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

pytest.importorskip("deltalake")
pytest.importorskip("duckdb")
pytest.importorskip("pandas")
pytest.importorskip("hypothesis")


import logs
from bucket.laid import lay
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from lakes import append, bucket_with_lake, files_of_list, json_rows, make, metrics, requests_of
from strategies import metric_values, same, values

import mlv
from mlv import lake
from mlv.audit.redact import redact
from mlv.bucket.store import open_store
from mlv.errors import (
    BucketMissing,
    InvalidArgument,
    LakeDamaged,
    LakeError,
    LakeMissing,
    LakeTooNew,
    MlvError,
    MlvWarning,
    NotAnExperiment,
    QueryFailed,
)
from mlv.frozen import thawed
from mlv.lake.listing import LakeListing
from mlv.lake.record import Look, note_look, read_look
from mlv.lake.summaries import EXACT
from mlv.query.digest import STATS, Depth
from mlv.query.sql.views import experiments as experiments_view
from mlv.store import layout

PATHS = ["a", "a/x", "a-b", "b", "b/kind/y", "B", "a/x/z", "c d"]
names = st.sampled_from(["loss", "acc", "val/loss", "Acc", "a.b", "ünd"])
experiments = st.fixed_dictionaries({
    "params": st.dictionaries(st.sampled_from(["lr", "seed", "net", "Lr", "a.b", "_mlv"]), values, max_size=4),
    "metrics": st.lists(st.dictionaries(names, metric_values, max_size=3), max_size=5),
    "tags": st.lists(st.sampled_from(["paper", "x", "ünd"]), unique=True),
    "notes": st.sampled_from([None, "first, and best"]),
    "kind": st.sampled_from([None, "train", "prune"]),
    "mode": st.sampled_from([None, "min", "max"]),
    "runs": st.integers(1, 2),
    "is_rewound": st.booleans(),
    "is_archived": st.booleans(),
})  # fmt: skip
trees = st.dictionaries(st.sampled_from(PATHS), experiments, min_size=3, max_size=len(PATHS))
pytest_plugins = ["bucket.stores"]

QUERIES = [
    "from metrics order by all",
    "from experiments order by all",
    "select * exclude (params), params::varchar from runs order by all",
    "select m.name, count(*), count(value), max(text) from metrics m join experiments e on exp = id group by all order by all",
    "select count(*), count(distinct type), max(data) from events",
]
AXES = [
    {},
    {"x": None},
    {"x": "elapsed"},
    {"x": "metrics.loss"},
    {"x": "at.epoch", "over": "lr"},
    {"metrics": "*/*", "grid": 3},
]
PREDICATES = [
    "id in (select exp from metrics where value > 1)",
    "status = 'ok' and list_contains(tags, 'paper')",
    "kind = 'train' or name < 'b'",
    "params::varchar like '%1%'",
    "metrics::varchar like '%1%'",
    "duration_s > 0.001",
]


def log(root, path, own):
    """An experiment with its first run."""
    options = {"kind": own["kind"], "tags": own["tags"], "notes": own["notes"]}
    folder = root / path
    exp = mlv.Exp(folder.parent, folder.name, own["params"], capture=(), **options)
    with exp:
        log_run(exp, own)


def log_again(root, path, own):
    """A second run of it, from the beginning or from step 0 of the first one; and what is done to an experiment later."""
    folder = root / path
    if own["runs"] > 1:
        options = {"rewind_to": 0} if own["is_rewound"] and any(own["metrics"]) else {}
        with mlv.Exp.open(folder, **options) as exp:
            log_run(exp, own)
    if own["is_archived"]:
        mlv.Exp.open(folder).archive()


def log_run(exp, own):
    """The metrics of a run."""
    if own["mode"]:
        exp.log.describe("loss", mode=own["mode"], summary="best", format=".3g")
    for step, data in enumerate(own["metrics"]):
        exp.log.at(epoch=step // 2)(data, step=step)


def outcome(call, **options):
    """What a call returns, or how it fails."""
    try:
        return call(**options)
    except MlvError as error:
        return f"{type(error)}: {error}"


def reprs(table):
    """The cells of a table, in which NaN equals NaN, and 1 is not 1.0."""
    return [list(table.columns), *([repr(value) for value in row] for row in table.itertuples(index=False))]


def alike(one, other):
    """Whether two digests of one experiment say the same."""
    names = ("id", "name", "made_as", "kind", "path", "created", "created_at", "tags", "notes", "is_archived")
    return (
        all(getattr(one, name) == getattr(other, name) for name in names)
        and same(thawed(one.params), thawed(other.params))
        and list(one.metrics) == list(other.metrics)
        and all(
            same(getattr(own, stat), getattr(other.metrics[name], stat))
            for name, own in one.metrics.items()
            for stat in {*EXACT, *STATS, "statistic"}
        )
    )


@pytest.mark.filterwarnings("ignore::mlv.errors.MlvWarning")
@given(trees)
@settings(max_examples=4, phases=[Phase.generate])  # a smaller example would take a hundred builds more
def test_nothing_differs(tree):
    """Whatever was logged: the same experiments in the same order, the same values of the same types, the same columns."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLV_INLINE", "1")  # written by this process, which is quicker
        root, url = Path(folder, "runs"), Path(folder, "lake")
        for step in (log, log_again):  # the lake takes up what is new
            for path, own in sorted(tree.items()):
                step(root, path, own)
            lake.build(root, url)
        of_logs, of_lake = mlv.find(root), mlv.find(root, lake=url)

        assert of_lake.paths == of_logs.paths
        ours, theirs = of_lake.digests(Depth.METRICS), of_logs.digests(Depth.METRICS)
        assert [one.path for one, other in zip(ours, theirs, strict=True) if not alike(one, other)] == []
        assert json_rows(LakeListing(lake.Lake(url), root).experiments()) == json_rows(experiments_view(ours))
        frame, expected = of_lake.frame(stats=STATS), of_logs.frame(stats=STATS)
        assert list(zip(frame.columns, frame.dtypes, strict=True)) == list(zip(expected.columns, expected.dtypes, strict=True))
        assert reprs(frame) == reprs(expected)
        for predicate in PREDICATES:
            choice = {"where": predicate}
            assert mlv.find(root, lake=url, **choice).paths == mlv.find(root, **choice).paths
        for query in QUERIES:
            answer, expected_answer = of_lake.sql(query), of_logs.sql(query)
            assert answer.arrow().schema == expected_answer.arrow().schema
            assert list(map(repr, answer.rows())) == list(map(repr, expected_answer.rows()))
        for options in AXES:
            table, expected_table = (outcome(found.aggregate, **options) for found in (of_lake, of_logs))
            if isinstance(expected_table, str):
                assert table == expected_table
            else:
                assert table.dtypes.to_dict() == expected_table.dtypes.to_dict()
                assert reprs(table) == reprs(expected_table)
        for choice in ({"kind": "train"}, {"tags": "paper"}, {"tags": ["x", "ünd"]}):
            assert mlv.find(root, lake=url, **choice).paths == mlv.find(root, **choice).paths


def test_runs_and_their_children(tmp_path):
    """The runs of an experiment come as the logs have them, those of children below theirs, and the parent by its ID."""
    folder = make(tmp_path / "runs" / "a")
    append(
        folder,
        logs.line("r1", 1, "run_started", 1, data={"process": {"host": "node7", "pid": 1}, "params": {"lr": 0.5}}),
        logs.line("r2", 1, "run_started", 2, data={"parent_run": "r1", "process": {"host": "node8", "pid": 2}}),
        logs.line("r2", 2, "run_ended", 3, data={"status": "failed", "exception": {"type": "E", "message": "m"}}),
        logs.line("r1", 2, "run_ended", 4, data={"status": "ok"}),
        logs.line("r3", 1, "run_started", 5),
        logs.line("r3", 2, "run_ended", 6.5, data={"status": "ok"}),
    )
    lake.build(tmp_path / "runs", tmp_path / "lake")

    def runs(experiments):
        return [
            (run.id, run.status, run.started, run.duration_s, dict(run.params), [child.id for child in run.children])
            for run in experiments.digests()[0].runs(datetime.now(timezone.utc))
        ]

    assert runs(mlv.find(tmp_path / "runs", lake=tmp_path / "lake")) == runs(mlv.find(tmp_path / "runs"))


@pytest.mark.parametrize(
    ("value_of", "count"),
    [
        (lambda seq: seq, 2000),
        (lambda seq: float(seq), 2000),
        (lambda seq: seq / 2 if seq % 2 else seq // 2, 2000),
        (lambda seq: 1 / seq, 2000),
        (lambda seq: float(seq), 4),
    ],
)
def test_integers_of_a_long_log(tmp_path, value_of, count):
    """Of a log that is read by columns too a whole number stays what it was: an integer, or a float."""
    folder = make(tmp_path / "runs" / "a", params={})
    append(folder, *(metrics("r1", seq, seq, **{"x": value_of(seq), "y/z": 0.5}) for seq in range(1, count + 1)))
    lake.build(tmp_path / "runs", tmp_path / "lake")
    ours, theirs = (mlv.find(tmp_path / "runs", **options) for options in ({"lake": tmp_path / "lake"}, {}))

    for stat in EXACT:
        values = [getattr(found.digests(Depth.METRICS)[0].metrics["x"], stat) for found in (ours, theirs)]
        assert same(*values), (stat, values)


def test_what_sql_sees(tmp_path):
    """The views of a lake leave out what a rewind superseded, have files, and see no others."""
    folder = make(tmp_path / "runs" / "a")
    append(folder, *(metrics("r1", seq, seq, x=float(seq), y='a"b', z=[1.5, "n"]) for seq in range(1, 6)))
    append(folder, logs.line("r2", 1, "rewound", 2, data={"step": 2, "last": {"r1": 5}}), stream=layout.REWOUND)
    append(folder, metrics("r2", 2, 3, x=-1.0))
    reference = {"_mlv": "file", "path": "files/a.png", "sha256": "0" * 64, "size": 3, "media_type": "image/png"}
    append(folder, logs.line("r2", 3, "image", 3, name="shown", step=3, data=reference))
    make(tmp_path / "runs" / "b")
    lake.build(tmp_path / "runs", tmp_path / "lake")
    of_logs, of_lake = mlv.find(tmp_path / "runs"), mlv.find(tmp_path / "runs", lake=tmp_path / "lake")

    for query in (*QUERIES, "from files order by all", "show tables", "describe files"):
        assert of_lake.sql(query).rows() == of_logs.sql(query).rows(), query
    assert of_lake.sql("select count(*) from metrics where name = 'x'").fetchone() == (3,)
    assert of_lake.sql("select text from metrics where name in ('y', 'z') group by all order by all").fetchall() == [
        ('[1.5,"n"]',), ('a"b',)
    ]  # fmt: skip
    assert mlv.find(tmp_path / "runs", where="name = 'b'", lake=tmp_path / "lake").sql("from metrics").rows() == []
    for query in (
        "from '/etc/passwd'",
        f"from read_parquet('{folder}/x.parquet')",
        "copy metrics to 'x.csv'",
        "select 1; select 2",
    ):
        with pytest.raises(QueryFailed):
            of_lake.sql(query)


@pytest.fixture
def tree(tmp_path):
    """Three experiments, and a lake of them."""
    for number in range(3):
        append(make(tmp_path / "runs" / "sub" / f"e{number}"), *(metrics("r1", seq, seq, x=float(seq)) for seq in range(1, 9)))
    lake.build(tmp_path / "runs", tmp_path / "lake")
    return tmp_path / "runs"


def test_a_lake_is_as_old_as_it_says(tree, monkeypatch):
    """New lines show with `fresh`, or after the next build; `as_of` is the moment of the lake, and None with logs."""
    url = tree.parent / "lake"
    append(tree / "sub/e0", metrics("r1", 9, 9, x=99.0))
    monkeypatch.setenv("MLV_LAKE", str(url))

    def greatest(**options):
        return mlv.find(tree, **options).frame(stats=["max"])["metrics.x.max"].max()

    before = mlv.find(tree).as_of
    assert (greatest(), greatest(lake=url), greatest(fresh=True)) == (8.0, 8.0, 99.0)
    lake.build(tree, url)
    assert greatest() == 99.0
    assert mlv.find(tree).as_of > before
    assert mlv.find(tree, fresh=True).as_of is None


def test_below_the_source(tree):
    """A folder below the source of a lake is read from it too, and experiments there are opened as usual."""
    found = mlv.find(tree / "sub", lake=tree.parent / "lake", where="id <> ''")

    assert [path.relative_to(tree).as_posix() for path in found.paths] == ["sub/e0", "sub/e1", "sub/e2"]
    assert [exp.name for exp in found] == ["e0", "e1", "e2"]
    assert found[1].history()["x"].tolist() == [float(seq) for seq in range(1, 9)]
    assert found[1:].history("x").groupby("exp_name").size().to_dict() == {"e1": 8, "e2": 8}
    assert found.aggregate(metrics="x", x=None)["count"].tolist() == [1, 1, 1]
    assert mlv.find(tree / "sub/e0", lake=tree.parent / "lake").paths == [tree / "sub/e0"]


@pytest.mark.parametrize("form", [
    "select count(*) from metrics union all select count(*) from read_parquet('{file}')",
    "select (select count(*) from metrics), * from '{file}'",
    "from query('select count(*) from ''{file}'' ') where (select count(*) from metrics) > 0",
    "pivot (select m.* from metrics, read_parquet('{file}') m) on name using max(value)",
    "select e.x from (select x from (pivot metrics on name using max(value))) e, read_parquet('{file}')",
])  # fmt: skip
def test_no_other_rows_of_a_file(tree, form):
    """A query has the rows of the experiments below its root; the files of the tables, which hold others, it cannot read."""
    url = tree.parent / "lake"
    file = lake.open(url).files("metrics")[0]
    found = mlv.find(tree / "sub" / "e0", lake=url)
    chosen = mlv.find(tree, lake=url, where=f"id in (select exp from metrics) and exists (from '{file}')")

    with pytest.raises(QueryFailed, match=r"no files|not found"):
        found.sql(form.format(file=file))
    with pytest.raises(QueryFailed, match=r"no files"):
        len(chosen)
    assert found.sql("select max(x) from (pivot metrics on name using max(value))").rows() == [(8.0,)]


def test_a_parent_around_the_root(tmp_path):
    """Sub-experiments belong to the families of their parent, also where only they are below the root."""
    checkpoint = tmp_path / "runs" / "p" / "files" / "w.bin"
    with mlv.Exp(tmp_path / "runs", "p", {"lr": 0.5}, capture=()):
        checkpoint.parent.mkdir()
        checkpoint.write_bytes(b"w")
    for seed in range(2):
        with mlv.init_sub_exp(checkpoint, "kind", params={"seed": seed}) as exp:
            exp.log({"x": float(seed)}, step=0)
    lake.build(tmp_path / "runs", tmp_path / "lake")
    root = tmp_path / "runs" / "p" / "kind"

    of_logs, of_lake = (mlv.find(root, where={"parent.lr": 0.5}, **options) for options in ({}, {"lake": tmp_path / "lake"}))
    assert [len(of_lake), of_lake.paths] == [2, of_logs.paths]
    assert reprs(of_lake.aggregate(over=["seed", "parent.lr"])) == reprs(of_logs.aggregate(over=["seed", "parent.lr"]))


def test_folders_that_changed_since(tree):
    """The log of another experiment, which is in the folder by now, is never taken for that of the one that the lake has."""
    found = mlv.find(tree, lake=tree.parent / "lake")
    (tree / "sub/e0").rename(tree / "sub/e9")
    make(tree / "sub" / "e0", params={"new": 1})
    shutil.rmtree(tree / "sub/e1")

    with pytest.raises(NotAnExperiment, match=r"e0 does not hold the experiment any more"):
        found[0]
    with pytest.warns(MlvWarning, match=r"e0 does not hold .* is left out$"), pytest.warns(MlvWarning, match=r"e1 does not"):
        assert [exp.name for exp in found] == ["e2"]
    with pytest.warns(MlvWarning, match=r"e0 does not hold .* is left out, as are 1 more"):
        assert found.history()["exp_name"].unique().tolist() == ["e2"]
    assert found.aggregate(x=None)["count"].sum() == 3


def test_a_lake_that_changed_since(tree):
    """A list that was taken before a build is read without the experiments that it replaced; after a rebuild it is an error."""
    url = tree.parent / "lake"
    found = mlv.find(tree, lake=url)
    assert len(found) == 3
    shutil.rmtree(tree / "sub/e1")
    make(tree / "sub" / "e1", params={"new": 1})
    lake.build(tree, url)

    with pytest.warns(MlvWarning, match=r"e1 is left out: the lake was built on"):
        assert found.frame()["name"].tolist() == ["e0", "e2"]
    assert mlv.find(tree, lake=url).frame()["name"].tolist() == ["e0", "e1", "e2"]
    lake.rebuild(tree, url)
    with pytest.raises(LakeError, match="was rebuilt since it was opened"):
        found.sql("from metrics")


def test_a_build_that_ends_while_one_looks(tree, monkeypatch):
    """The source of a lake is read whichever build ends between the listing of their notes and the reading of the latest."""
    store = open_store(f"file://{tree.parent}/lake")
    began, read, ends = lake.open(tree.parent / "lake").as_of, store.get, iter(range(1, 4))

    def overtaken(key):
        for number in ends:
            note_look(open_store(store.url), began + timedelta(seconds=number), str(tree))
            break
        return read(key)

    monkeypatch.setattr(store, "get", overtaken)

    assert read_look(store) == Look(began + timedelta(seconds=3), str(tree))


def test_an_experiment_that_was_redacted_since(tree):
    """It has another ID then, and is still the one that the lake has in its folder."""
    exp = mlv.Exp(tree, "secret", {"who": "hunter22"}, capture=())
    exp.close()
    lake.build(tree, tree.parent / "lake")
    found = mlv.find(tree, lake=tree.parent / "lake", where="name = 'secret'")
    list(redact(exp.path, ["hunter22"]))

    [opened] = found
    assert opened.id != exp.id
    assert "hunter22" not in opened.params["who"]


def damaged(url):
    """Remove a file of the table of experiments."""
    next(url.glob("experiments/month=*/*.parquet")).unlink()


def too_new(url):
    """Let a later version have built it."""
    path = url / ".mlv" / "lake.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))


def edited(url):
    """Make its record no record."""
    (url / ".mlv" / "lake.json").write_text("{}")


def unfinished(url):
    """Let no build have ended."""
    for look in (url / ".mlv" / "looks").iterdir():
        look.unlink()


@pytest.mark.parametrize(
    ("change", "error"), [(damaged, LakeDamaged), (too_new, LakeTooNew), (edited, LakeDamaged), (unfinished, LakeMissing)]
)
def test_a_lake_that_cannot_be_used(tree, monkeypatch, change, error):
    """A lake that was named is an error; in place of the one of the settings the logs are read, with a warning."""
    url = tree.parent / "lake"
    change(url)
    with pytest.raises(error, match=r"lake"):
        mlv.find(tree, lake=url)

    monkeypatch.setenv("MLV_LAKE", str(url))
    with pytest.warns(MlvWarning, match="the logs are read, and not the lake"):
        found = mlv.find(tree)
    assert (found.as_of, len(found)) == (None, 3)


@pytest.mark.parametrize("path", ["../secret", "sub/../../secret", "{secret}", "sub//e0", "sub/.", "e0\0", "", None])
@pytest.mark.parametrize("reader", [mlv.find, lambda root, lake: LakeListing(lake, root)])
def test_a_row_that_leads_elsewhere(tree, path, reader):
    """An experiment whose path is not below the root is no experiment of a lake, though its ID is that of one there."""
    deltalake, pa = pytest.importorskip("deltalake"), pytest.importorskip("pyarrow")
    secret, opened = make(tree.parent / "secret"), lake.open(tree.parent / "lake")
    rows = opened.arrow("experiments").slice(0, 1)
    for column, text in (("id", layout.exp_id(secret)), ("path", path and path.format(secret=secret))):
        rows = rows.set_column(rows.schema.get_field_index(column), column, pa.array([text], pa.string()))
    deltalake.write_deltalake(opened.delta("experiments"), rows, mode="overwrite")

    with pytest.raises(LakeDamaged, match="leads out of its folder, or nowhere"):
        reader(tree, lake=opened if reader is not mlv.find else opened.url)


@pytest.mark.parametrize("name", ["../../other", "{other}", "file://{other}", "a/..%2F../other"])
def test_a_file_that_is_elsewhere(tree, name):
    """A file that the log of a table names outside the folder of the table is not read."""
    url, other = tree.parent / "lake", tree.parent / "other"
    opened = lake.open(url)
    Path(opened.files("experiments")[0]).rename(other)
    for log in url.glob("experiments/_delta_log/*.json"):
        actions = [json.loads(line) for line in log.read_text().splitlines()]
        for action in actions:
            if "add" in action:
                action["add"]["path"] = name.format(other=other)
        log.write_text("".join(json.dumps(action) + "\n" for action in actions))

    for read in (opened.files, opened.arrow):
        with pytest.raises(LakeDamaged, match="leads out of its folder"):
            read("experiments")


@pytest.mark.parametrize("change", [Path.unlink, lambda path: os.truncate(path, 99)])
def test_a_file_that_is_damaged(tree, change):
    """A file of a table that is missing or cut off is an error of the lake for all that reads the table, and the logs go on."""
    url = tree.parent / "lake"
    found = mlv.find(tree, lake=url)
    change(next(url.glob("metrics/month=*/*.parquet")))

    for read in (
        lambda: found.sql("from metrics"),
        lambda: found.aggregate(),
        lambda: mlv.find(tree, lake=url, where="id in (select exp from metrics)").paths,
    ):
        with pytest.raises(LakeDamaged, match=r"cannot be read .*fresh=True"):
            read()
    assert len(mlv.find(tree, fresh=True).sql("from metrics")) == 24


def test_signs_in_the_name_of_a_lake(tree):
    """A folder whose name DuckDB takes for a pattern is a lake like any other."""
    url = tree.parent / "l'*? %"
    lake.build(tree, url)
    found = mlv.find(tree, lake=url, where="id in (select exp from metrics where value > 7)")

    assert found.sql("select count(*), max(value) from metrics").fetchone() == (24, 8.0)
    assert found.aggregate(x=None)["count"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("name", ["s4://lab/lake", "lake[1]", "none"])
def test_a_lake_of_the_settings_that_cannot_be(tree, monkeypatch, name):
    """Whatever is wrong with the lake of the settings, the logs are read, with a warning."""
    monkeypatch.setenv("MLV_LAKE", name)
    with pytest.warns(MlvWarning, match=r"the logs are read, and not the lake: "):
        assert len(mlv.find(tree)) == 3


@pytest.mark.parametrize("name", ["nothing", "runs/lake", "s4://lab/lake"])
def test_a_lake_of_the_settings_that_a_bucket_cannot_use(tree, tmp_path, monkeypatch, name):
    """A warning says so, and the bucket's own lake is read; of a bucket without one, the logs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    lake.build(tree, tmp_path / "runs" / "lake")  # of another source
    url, beside = bucket_with_lake(f"file://{tmp_path}/bucket", tmp_path / "node", 2)
    lay(make(tmp_path / "node" / "c"), open_store(f"file://{tmp_path}/other"), "c")
    monkeypatch.setenv("MLV_LAKE", name)

    with pytest.warns(MlvWarning, match=r"the bucket's own lake is read, and not that of MLV_LAKE: ") as warnings:
        found = mlv.find(url)
    assert (found.as_of, len(found), len(warnings)) == (mlv.find(url, lake=beside).as_of, 2, 1)
    with pytest.warns(MlvWarning, match=r"the logs are read, and not the lake: "):
        assert len(mlv.find(f"file://{tmp_path}/other")) == 1


def test_another_source(tree, tmp_path):
    """A lake of another root, or none at all, is an error, as is one together with `fresh`."""
    make(tmp_path / "others" / "a")
    with pytest.raises(LakeError, match=r"was built from .*runs"):
        mlv.find(tmp_path / "others", lake=tmp_path / "lake")
    with pytest.raises(LakeError, match=r"was built from"):
        mlv.find(tmp_path, lake=tmp_path / "lake")
    with pytest.raises(LakeMissing, match="there is no lake"):
        mlv.find(tree, lake=tmp_path / "nothing")
    with pytest.raises(InvalidArgument, match="give one of them"):
        mlv.find(tree, lake=tmp_path / "lake", fresh=True)
    with pytest.raises(NotAnExperiment, match="no experiments"):
        mlv.find(tmp_path / "runs" / "none", lake=tmp_path / "lake").frame()


def test_the_lake_of_a_bucket(tree, monkeypatch):
    """The lake at `.mlv/lake` of a bucket answers without a mirror; an experiment that is opened is brought alone."""
    url = f"file://{tree.parent}/bucket"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tree.parent / "cache"))
    store = open_store(url)
    for number in range(3):
        lay(tree / "sub" / f"e{number}", store, f"sub/e{number}")
    assert mlv.find(url).as_of is None
    lake.build(url, f"{url}/.mlv/lake")
    expected = mlv.find(url, fresh=True).frame()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tree.parent / "other"))

    found = mlv.find(url)
    frame = found.frame()
    assert found.as_of is not None
    assert not list((tree.parent / "other").rglob("log.jsonl"))
    assert frame.drop(columns="path").equals(expected.drop(columns="path"))
    assert found[1].history()["x"].max() == 8.0
    assert [path.parent.name for path in (tree.parent / "other").rglob("log.jsonl")] == ["e1"]
    assert found.history("x")["x"].count() == 24


def test_one_that_was_removed_from_a_bucket(tree, monkeypatch):
    """An experiment that is not in the bucket any more is left out of what is read from logs, and costs no other one."""
    url = f"file://{tree.parent}/bucket"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tree.parent / "cache"))
    store = open_store(url)
    for number in range(3):
        lay(tree / "sub" / f"e{number}", store, f"sub/e{number}")
    lake.build(url, tree.parent / "beside")
    found = mlv.find(url, lake=tree.parent / "beside")
    shutil.rmtree(tree.parent / "bucket" / "sub" / "e1")

    with pytest.warns(MlvWarning, match="e1 does not hold the experiment any more"):
        assert found.history()["exp_name"].unique().tolist() == ["e0", "e2"]
    shutil.rmtree(tree.parent / "bucket")
    with pytest.raises(BucketMissing):
        found.history()


def test_a_clock_that_was_ahead(tree):
    """A build by a machine whose clock is right ends what one whose clock was ahead has noted: readers see its moment."""
    url = tree.parent / "lake"
    note_look(open_store(f"file://{url}"), datetime.now(timezone.utc) + timedelta(minutes=20), str(tree))
    listing = LakeListing(lake.open(url), tree)
    make(tree / "new")
    lake.build(tree, url)

    assert listing.refresh()
    assert "new" in listing.listing.experiments["path"].to_pylist()
    assert listing.as_of <= datetime.now(timezone.utc)


def test_odd_names_in_a_bucket(tree, monkeypatch):
    """An experiment of any name is brought; and where deltalake could keep no lake, a bucket is read as if it had none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tree.parent / "cache"))
    url = f"file://{tree.parent}/b%5B1%5D"
    lay(tree / "sub" / "e0", open_store(url), "what?#1 %41")
    assert [path.name for path in mlv.find(url).paths] == ["what?#1 %41"]

    lake.build(url, tree.parent / "other")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tree.parent / "elsewhere"))
    assert mlv.find(url, lake=tree.parent / "other")[0].history()["x"].max() == 8.0


def test_requests_of_a_list(far, command, tmp_path, monkeypatch):
    """A list of a bucket with a lake takes five requests, however many experiments there are, and the files once."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    url, beside = bucket_with_lake(far.bucket().url, tmp_path / "runs", 12)
    expected = command("ls", url, "--fresh", "--json").stdout
    counts = []
    for _ in range(2):
        requests_of(far)
        assert command("ls", url).stdout.count("x=3") == 12
        counts.append(requests_of(far))

    assert counts[1] <= 5
    assert counts[0] == counts[1] + files_of_list(beside, tmp_path / "cache")
    assert command("ls", url, "--json").stdout == expected


def test_the_copy_of_a_log(far, tmp_path, monkeypatch):
    """A copy is fetched anew where it was cut off; the log of rebuilt tables is never read behind that of the former ones."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    far.set(delay_s=0.0)
    root, base, mark, options = tmp_path / "runs", *far.bucket().url.partition("?")
    url, folder = f"{base}/lake{mark}{options}", make(root / "e")

    def built(seq, build=lake.build):
        append(folder, metrics("r1", seq, seq, x=1.0))
        build(root, url)

    built(1)
    built(2)
    opened = lake.open(url)
    opened.delta("metrics").create_checkpoint()
    assert opened.connected("metrics").sql("select seq from tables.metrics order by all").fetchall() == [(1,), (2,)]
    checkpoint = next((tmp_path / "cache").rglob("*.checkpoint.parquet"))
    size = checkpoint.stat().st_size
    os.truncate(checkpoint, size // 2)
    assert len(opened.files("metrics")) == 2
    assert checkpoint.stat().st_size == size
    built(3, lake.rebuild)
    built(4)
    built(5)

    with pytest.raises(LakeError, match="was rebuilt since it was opened"):
        opened.files("metrics")
    assert lake.open(url).connected("metrics").sql("select seq from tables.metrics order by all").fetchall()[-1] == (5,)


def test_requests_of_the_first_list(far, command, tmp_path, monkeypatch):
    """The first list on a machine takes fifteen requests at most, after whatever number of builds."""
    far.set(delay_s=0.0)
    url, beside = bucket_with_lake(far.bucket().url, tmp_path / "runs", 3)
    counts = []
    for number in range(5):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"cache{number}"))
        requests_of(far)
        assert command("ls", url).stdout.count("x=") == 3 + number
        counts.append(requests_of(far))
        folder = make(tmp_path / "runs" / f"later{number}")
        append(folder, metrics("r1", 1, 1, x=1.0))
        lay(folder, open_store(url), folder.name)
        lake.build(url, beside, everything=True)
    assert max(counts) <= 15
