"""Experiments as views for SQL."""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path

import pytest
from logs import line, write

import mlv
from mlv.query.sql import engine

duckdb = pytest.importorskip("duckdb")
pytest.importorskip("pyarrow")


@pytest.fixture
def runs(tmp_path, monkeypatch) -> Path:
    """Three experiments `a`, `b` and `c`, and one below `a`; `c` failed."""
    monkeypatch.setenv("MLV_INLINE", "1")
    root = tmp_path / "runs"
    for name, lr in (("a", 0.1), ("b", 0.01)):
        with mlv.Exp(root, name, {"lr": lr, "model": {"size": 3, "layers": [4, 2]}}, capture=(), tags=["x"]) as exp:
            exp.log.describe("acc", mode="max")
            for step in range(3):
                exp.log({"acc": step * lr, "test/loss": 1 / (step + 1)}, step=step)
            with exp.file("notes.txt", "w") as file:
                file.write(name)
    with mlv.init_sub_exp(root / "a" / "files" / "notes.txt", "squeeze", params={"rate": 1}) as sub:
        sub.log({"acc": math.nan}, step=0)
    with pytest.raises(ValueError, match="no"), mlv.Exp(root, "c", {"lr": "auto"}, capture=()):
        raise ValueError("no")
    return root


needs_at = pytest.mark.skipif(not duckdb.__version__.startswith("2"), reason="`at` is no word of this DuckDB's SQL")


def rows(root: Path, query: str) -> list[tuple[object, ...]]:
    return mlv.find(root).sql(query).rows()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("select name from experiments order by name", [("a",), ("b",), ("c",), ("subexp_1",)]),
        ("select name, params.lr from experiments where metrics.acc.max > 0.1", [("a", "0.1")]),
        ("select name from experiments where metrics.acc.last > 0.1", [("a",)]),
        ("select metrics.\"test/loss\".min from experiments where name = 'a'", [(1 / 3,)]),
        ("select metrics.acc.best, metrics.acc.count from experiments where name = 'b'", [(0.02, 3)]),
        ("select params.model.size, params.model.layers[2] from experiments where name = 'b'", [(3, 2)]),
        ("select e.name from experiments e join experiments p on e.parent = p.id where p.name = 'a'", [("subexp_1",)]),
        ("select count(*) from experiments where created > '2020-01-01' and list_contains(tags, 'x')", [(2,)]),
        ("select exception, message from runs where status = 'failed'", [("ValueError", "no")]),
        ("select count(*) from events where type = 'metrics' and exp_name = 'a'", [(3,)]),
        ("select data->>'$.acc' from events where type = 'metrics' and exp_name = 'b' and step = 2", [("0.02",)]),
        ("select max(value) from metrics where name = 'test/loss' and exp_name = 'b' and step >= 1", [(0.5,)]),
        (
            "select e.name, count(*) from experiments e join metrics m on e.id = m.exp group by all order by 1",
            [("a", 6), ("b", 6), ("subexp_1", 1)],
        ),
        (
            "select exp_name, path, size from files where type = 'file' order by 1",
            [("a", "files/notes.txt", 1), ("b", "files/notes.txt", 1)],
        ),
    ],
)
def test_views(runs, query, expected):
    """Each view answers in plain SQL, with dotted names for params and metrics."""
    assert rows(runs, query) == expected


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("from runs", 4),
        ("with a as (select 1) select * from a", 1),
        ("values (1), (2)", 2),
        ("describe files", 14),
        ("summarize runs", 13),
        ("show tables", 5),
        ("explain select 1", 1),
        ("pivot metrics on name using count(*) group by exp_name", 3),
        ("pivot metrics on name in ('acc') using count(*) group by exp_name;", 3),
        ("-- how many\n(select name from experiments) -- are there", 4),
    ],
)
def test_every_reading_statement(runs, query, count):
    """Whatever reads is answered, not only a select."""
    assert len(rows(runs, query)) == count


@pytest.mark.parametrize(
    "query",
    [
        "select count(*) from metrics join runs using (exp, run)",
        "select count(*), max(value) from metrics natural join runs",
        "with m as (select * from metrics) select count(*) from m join runs using (exp)",
        "from metrics join runs using (run) select runs.status, max(value) group by all order by all",
        "select count(*) from events semi join runs using (run)",
        "select count(*) from metrics m asof join runs r on m.exp = r.exp and m.time >= r.started",
        "select e.name, m.top from experiments e, lateral (select max(value) top from metrics where exp = e.id) m order by 1",
        "select exp_name, name, value from metrics qualify row_number() over (partition by exp, name order by step desc) = 1 "
        "order by all",
        "with recursive t(n) as (select 1 union all select n + 1 from t where n < 3) select * from t",
        'select count(*) from main."metrics"',
        "select count(*) from temp.METRICS",
        "select status from (pivot metrics on name using max(value) group by exp) join runs using (exp) order by all",
        "describe select * from metrics join runs using (run)",
        "unpivot (select 1 a, 2 b) on a, b",
    ],
)
def test_as_duckdb_answers(runs, query):
    """R5: what DuckDB answers over the same tables is answered, joins by common columns included."""
    from mlv.query.digest import Depth
    from mlv.query.sql import views

    digests = mlv.find(runs).digests(Depth.METRICS)
    connection = duckdb.connect()
    for name, view in views.VIEWS.items():
        connection.register(name, view(digests))
    for name, view in views.LONG_VIEWS.items():
        connection.register(name, view(digests, []))

    assert list(map(repr, rows(runs, query))) == list(map(repr, connection.sql(query).fetchall()))


def test_rows_are_fetched(runs):
    """A result gives its rows as DuckDB's cursors do: one by one, then the others."""
    result = mlv.find(runs).sql("select name from experiments order by name")

    assert (result.fetchone(), result.fetchall()) == (("a",), [("b",), ("c",), ("subexp_1",)])
    assert (result.fetchone(), result.fetchall()) == (None, [])
    assert len(result.rows()) == 4


def test_one_experiment(runs):
    """An experiment answers about itself, what was logged a moment ago included."""
    with mlv.Exp.open(runs / "a") as exp:
        exp.log({"acc": 7.0})

        assert exp.sql("select metrics.acc.last from experiments").rows() == [(7.0,)]


def test_results_speak_arrow(runs):
    """pandas, pyarrow and polars take a result."""
    result = mlv.find(runs).sql("select name, params.lr from experiments order by 1")

    assert (result.columns, len(result)) == (["name", "lr"], 4)
    assert result.arrow().column("name").to_pylist() == ["a", "b", "c", "subexp_1"]
    assert list(pytest.importorskip("pandas").DataFrame(result.df())["name"]) == ["a", "b", "c", "subexp_1"]
    assert list(pytest.importorskip("polars").DataFrame(result)["name"]) == ["a", "b", "c", "subexp_1"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("selec", 'syntax error at or near "selec"'),
        ("select nam from experiments", r"nam.* did you mean .*name"),
        ("select params.lrr from experiments", r"lrr.* did you mean params\.lr\?"),
        ("select metrics.acc.maxx from experiments", r"maxx.* did you mean .*max"),
        ("select 1 from experimens", r"experimens.* did you mean experiments\?"),
        ("select metrics.acc > 1 from experiments", "give one number, such as metrics.acc.max"),
        ("select name::int from experiments", "Could not convert"),
        ("", "query='' is no text, or empty"),
        (3, "query=3 is no text"),
        pytest.param("select name, at from metrics", 'write "at"', marks=needs_at),
        ("copy experiments to 'stolen.csv'", "of type COPY, and only reading ones"),
        ("attach 'stolen.db'", "of type ATTACH, and only reading ones"),
        ("create table x as select 1", "of type CREATE, and only reading ones"),
        ("set threads = 1", "of type SET, and only reading ones"),
        ("select 1; select 2", "has 2 statements: give one"),
        ("pivot metrics on name using sum(value); copy (select 1) to 'stolen.csv'", "statements: give one"),
        ("-- nothing", "has no statement: give one"),
        ("select * from read_text('/etc/hosts')", "A query sees experiments, .*, and no files"),
        ("explain analyze copy (select 1) to 'stolen.csv'", "and no files"),
    ],
)
def test_errors(runs, query, said):
    """What DuckDB does not accept is told in one line, with the names that are close."""
    with pytest.raises(mlv.QueryFailed, match=said) as caught:
        mlv.find(runs).sql(query)

    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_hostile_names(tmp_path, monkeypatch):
    """Params and metrics of any name are there, those that differ in case only with a digest."""
    monkeypatch.setenv("MLV_INLINE", "1")
    with mlv.Exp(tmp_path, "exp", {"lr": 1, "LR": 2, "": 3, 'a"b.c': 4, "big": 2**80, "none": None}, capture=()) as exp:
        exp.log({"Acc": 1.0, "acc": 2.0, "é'x": 3.0, "inf": math.inf})

    found = mlv.find(tmp_path).sql(
        'select params."lr#6896", params."LR#096d", params."#e3b0", params."a""b.c", params.big, params.none, '
        'metrics."acc#4143".last, metrics."é\'x".last, metrics.inf.last from experiments'
    )

    assert found.rows() == [(1, 2, 3, 4, str(2**80), None, 2.0, 3.0, math.inf)]


def test_integers_beyond_what_a_float_holds(tmp_path, monkeypatch):
    """One great integer stands in the way of no query: where a column is of floats, it is the nearest one."""
    monkeypatch.setenv("MLV_INLINE", "1")
    for name, size in (("great", 2**60 + 1), ("small", 0.5)):
        with mlv.Exp(tmp_path, name, {"size": size}, capture=()) as exp:
            exp.log({"tokens": 2**60 + 1, "beyond": -(10**400), "acc": 0.5})

    found = mlv.find(tmp_path).sql(
        "select params.size, metrics.tokens.last, metrics.beyond.min from experiments where metrics.acc.max > 0.4 order by name"
    )

    assert found.rows() == [(2.0**60, 2.0**60, -math.inf), (0.5, 2.0**60, -math.inf)]


def test_an_experiment_without_anything(tmp_path, monkeypatch):
    """Views have their columns though nothing was recorded."""
    monkeypatch.setenv("MLV_INLINE", "1")
    mlv.Exp(tmp_path, "exp", capture=()).close()
    found = mlv.find(tmp_path)

    assert found.sql("select params, metrics, git.commit, kind from experiments").rows() == [(None, None, None, None)]
    assert len(found.sql("select * from files")) == 0


def test_variables_of_python_are_not_seen(runs):
    """A query sees the views only."""
    secret = pytest.importorskip("pandas").DataFrame({"x": [1]})

    with pytest.raises(mlv.QueryFailed, match="secret"):
        mlv.find(runs).sql("select * from secret")
    assert len(secret) == 1


@pytest.mark.parametrize("package", ["duckdb", "pyarrow"])
def test_without_the_extra(runs, monkeypatch, package):
    """Without its packages the extra is named."""
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(mlv.MissingExtra, match=rf"needs {package}.*: pip install 'mlvlogger\[sql\]'"):
        mlv.find(runs).sql("select 1")


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("params.model.size = 3 and metrics.acc.max > 0.1", ["a"]),
        ("status = 'failed' -- a comment", ["c"]),
        ("kind = 'squeeze' or params.lr = 'auto'", ["subexp_1", "c"]),
        ("false", []),
    ],
)
def test_where(runs, where, expected):
    """A predicate of SQL chooses experiments."""
    assert sorted(exp.name for exp in mlv.find(runs, where=where)) == sorted(expected)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("params.lrr > 1", r"lrr.* did you mean params\.lr\?"),
        ("(", "syntax error"),
        ("true); copy (select 1) to 'stolen.csv'; select (1", "3 statements"),
        ("  ", "where='  ' is no text, or empty"),
        ("lr < 1", r"params\.lr"),
        ("params.lr < 1", r"try_cast\(params\.lr as double\)"),
    ],
)
def test_where_errors(runs, where, said):
    """A predicate that cannot be evaluated is told of when the experiments are looked for."""
    with pytest.raises(mlv.QueryFailed, match=said):
        list(mlv.find(runs, where=where))


def test_sql_of_none(runs):
    """Where nothing was chosen there are no columns to ask for, and that is said."""
    with pytest.raises(mlv.NotAnExperiment, match="none of the experiments at or below"):
        mlv.find(runs, kind="none").sql("select params.lr from experiments")


def test_where_of_none(tmp_path):
    """A predicate over an empty folder is refused with the folder's name."""
    with pytest.raises(mlv.NotAnExperiment, match="no experiments"):
        list(mlv.find(tmp_path, where="params.lr > 1"))


@pytest.mark.parametrize(
    ("predicate", "there"), [("params.zzqq < 1", "there are params.lr"), ("zzqq = 1", "there are created")]
)
def test_a_name_that_is_like_no_other(runs, predicate, there):
    """Where nothing is close to an unknown name, those that are there are told."""
    with pytest.raises(mlv.QueryFailed, match=there):
        len(mlv.find(runs, where=predicate))


@pytest.fixture
def mixed(tmp_path, monkeypatch) -> Path:
    """An experiment `good`, one that diverged, and an odd one whose values are texts where those of others are numbers."""
    monkeypatch.setenv("MLV_INLINE", "1")
    values: dict[str, tuple[object, object, object]] = {
        "good": (2.0, 0.4, "warm"), "diverged": (math.nan, math.nan, 7), "odd": (math.inf, "n/a", "null")
    }  # fmt: skip
    for name, (clip, acc, phase) in values.items():
        params = {"clip": clip, "list": [clip, 1.0], "sort": "off" if name == "odd" else clip}
        with mlv.Exp(tmp_path, name, params, capture=()) as exp:
            exp.log({"acc": 0.1 if acc == acc else acc}, step=0)
            exp.log({"acc": acc, "phase": phase, "ready": True}, step=1)
    return tmp_path


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("select exp_name from metrics where name = 'acc' group by 1 having max(value) > 1", []),
        ("select exp_name, value from metrics where name = 'acc' order by value desc nulls last, 1 limit 1", [("good", 0.4)]),
        ("select avg(value) from metrics where name = 'acc'", [(pytest.approx(0.2),)]),
        ("select exp_name, step from metrics where text = 'nan' order by all", [("diverged", 0), ("diverged", 1)]),
        ("select name from experiments where params.clip > 0 order by 1", [("good",), ("odd",)]),
        ("select name from experiments where list_max(params.list) < 2", [("diverged",)]),
        ("select name from experiments where metrics.acc.last > 0", [("good",)]),
        ("select name from experiments order by metrics.acc.max desc nulls last limit 1", [("good",)]),
    ],
)
def test_what_diverged_never_wins(mixed, query, expected):
    """R14: NaN is no greatest number, no mean and no match, in no view."""
    assert rows(mixed, query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("select name, params.sort from experiments order by 1", [("diverged", "nan"), ("good", "2.0"), ("odd", "off")]),
        ("select name from experiments where metrics.phase.text = 'warm'", [("good",)]),
        ("select metrics.acc.last, metrics.acc.text from experiments where name = 'odd'", [(None, "n/a")]),
        ("select metrics.phase.last from experiments where name = 'diverged'", [(7.0,)]),
        ("select exp_name from metrics where text = 'warm'", [("good",)]),
        ("select value, text from metrics where name = 'ready' limit 1", [(None, "true")]),
        ("select name from experiments where metrics.ready.last", [("diverged",), ("good",), ("odd",)]),
    ],
)
def test_mixed_types(mixed, query, expected):
    """R15: where some values are texts none is lost, and a text is asked for as it was logged."""
    assert sorted(rows(mixed, query), key=str) == sorted(expected, key=str)


def test_texts_only(tmp_path, monkeypatch):
    """R15: of a metric that is text in all experiments the last value is one."""
    monkeypatch.setenv("MLV_INLINE", "1")
    with mlv.Exp(tmp_path, "a", capture=()) as exp:
        exp.log({"phase": "warm"})

    assert len(mlv.find(tmp_path, where="metrics.phase.last = 'warm'")) == 1


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("select 1 from experiments where params.sort == 0.1", "Where some values are text, all are: try_cast"),
        ("select 1 from experiments where params.sort in (1, 2)", "try_cast"),
        ("select 1 from experiments where params.sort between 1 and 2", "try_cast"),
        ("select params.sort + 1 from experiments", "try_cast"),
        ("select 1 from experiments where metrics.acc.last = 'warm'", r"metrics\.acc\.text"),
        ("select metrics.nope.last from experiments", r"nope.*there are metrics\.acc, metrics\.phase, metrics\.ready$"),
        ("select e.metrics.acc.lst from experiments e", r"did you mean metrics\.acc\.last\?$"),
    ],
)
def test_hints(mixed, query, said):
    """R15: an error about types says how to write it, and a hint names what stands in that place."""
    with pytest.raises(mlv.QueryFailed, match=said):
        rows(mixed, query)


def test_metrics_come_in_the_order_of_logging(tmp_path):
    """A1, R14: the view `metrics` has its rows in the one order of events, whatever their types, streams and clocks."""
    folder = tmp_path / "e"
    folder.mkdir()
    (folder / "meta.json").write_text('{"format": 1, "params": {}, "created": "2026-01-01T00:00:00.000000Z"}')
    values = [0.5, "warm", 1, True, 2.5, float("nan"), 3]
    rows = [
        line("r1", place + 2, "metrics", 9 - place, step=7 - place, data={"a": None if value != value else value},
             **({"nonfinite": {"/a": "nan"}} if value != value else {}))
        for place, value in enumerate(values)
    ]  # fmt: skip
    write(folder, line("r1", 1, "run_started", data={}), *reversed(rows[::2]))
    write(folder, *rows[1::2], stream="val")

    found = mlv.find(tmp_path).sql("select step, value, text from metrics").rows()

    assert [step for step, _, _ in found] == [7.0 - place for place in range(len(values))]
    assert [text for _, _, text in found if text is not None] == ["warm", "true", "nan"]
    assert mlv.find(tmp_path).sql("select last(value) from metrics").rows() == [(3.0,)]


def test_predicates_see_all_views(tmp_path, monkeypatch):
    """R5: a predicate may ask the other views, in a query within it."""
    monkeypatch.setenv("MLV_INLINE", "1")
    for name, value in (("a", 0.5), ("b", 2.0)):
        with mlv.Exp(tmp_path, name, {"metrics": 1}, capture=(), tags=["paper"]) as exp:
            exp.log({"loss": value}, step=1)

    for predicate in (
        "id in (select exp from metrics where value > 1)",
        "exists (from metrics m where m.exp = id and value > 1)",
    ):
        assert [exp.name for exp in mlv.find(tmp_path, where=predicate)] == ["b"]
    assert len(mlv.find(tmp_path, where="'paper' in tags and metrics.loss.last < 9")) == 2
    for predicate in ("tags = 'paper'", "notes like '%x%'"):
        with pytest.raises(mlv.QueryFailed, match=r"Tags and notes are lists: 'paper' in tags"):
            list(mlv.find(tmp_path, where=predicate))
    with pytest.raises(mlv.QueryFailed, match=r"Function with name getenv does not exist$"):
        mlv.find(tmp_path).sql("select getenv('HOME')")


def test_large_query_leaves_nothing_behind(runs, tmp_path, monkeypatch):
    """What does not fit into the memory goes to a folder of its own, which is gone afterwards; the current one stays empty."""
    current, temporary = tmp_path / "current", tmp_path / "temporary"
    current.mkdir()
    temporary.mkdir()
    monkeypatch.chdir(current)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setitem(engine.SETTINGS, "memory_limit", "48MB")
    monkeypatch.setitem(engine.SETTINGS, "threads", 1)

    result = mlv.find(runs).sql("select * from (select range as n from range(4000000) order by hash(range)) limit 2000000")

    assert len(result) == 2_000_000
    assert list(current.iterdir()) == list(temporary.iterdir()) == []
