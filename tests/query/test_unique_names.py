"""Names that several things share: each has one spelling, and none stands for two."""

from __future__ import annotations

import json
from string import ascii_letters

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import texts

import mlv
from mlv.query.unique_names import beside, distinct, folded, joined, repeated

close = st.one_of(st.text(f'{ascii_letters[:3]}ABC.#"/', max_size=5), texts, st.sampled_from(["", "_", "lr", "LR", "lr#6896"]))
"""Names of which many are nearly the same."""


@given(st.sets(close, max_size=8))
def test_sql_tells_names_apart(names):
    """R6: names that SQL takes for equal have spellings that it tells apart, which no order changes."""
    spelled = dict(zip(sorted(names), distinct(sorted(names)), strict=True))

    assert len(set(map(folded, spelled.values()))) == len(names)
    assert dict(zip(sorted(names, reverse=True), distinct(sorted(names, reverse=True)), strict=True)) == spelled
    plain = [name for name in names if spelled[name] == name]
    assert all(folded(name) != folded(other) for name in plain for other in names if name != other)


@given(st.sets(st.lists(close, min_size=1, max_size=3).map(tuple), max_size=8))
def test_dots_tell_paths_apart(paths):
    """R20: no two nested keys have one dotted name, and those that need no quotes have none."""
    spelled = joined(paths)

    assert len(set(spelled.values())) == len(paths)
    if not any("." in key or '"' in key for path in paths for key in path):
        assert all(spelled[path] == ".".join(path) for path in paths)


names_beside = st.sets(
    st.lists(st.sampled_from(["metric", "at", "step", "time", "loss", "x"]), min_size=1, max_size=4).map(".".join), max_size=6
)


@given(names_beside, names_beside)
def test_metrics_beside_coordinates(taken, names):
    """R6: a metric never has the column of another one, or of what is there, whatever they are called."""
    spelled = beside(taken, sorted(names), "metric")

    assert len({*spelled.values()} | taken) == len(names) + len(taken)
    assert {name: beside(taken, [name], "metric")[name] for name in names} == spelled


def test_columns_of_a_query():
    """Columns that come twice are numbered, and never take the name of another."""
    assert repeated(["name", "name", "name_1", "LR", "lr"]) == ["name", "name_2", "name_1", "LR", "lr"]


@pytest.fixture
def twins(tmp_path, monkeypatch):
    """One experiment whose names clash wherever they can."""
    pytest.importorskip("duckdb")
    pytest.importorskip("pyarrow")
    monkeypatch.setenv("MLV_INLINE", "1")
    params = {
        "lr": 1,
        "LR": 2,
        "": 3,
        "_": 4,
        "a.b": 5,
        "a": {"b": 6},
        'q"t': 7,
        "é": 8,
        "É": 9,
        "e\u0301": 10,
        "n\0": 11,
        "n": 12,
    }
    with mlv.Exp(tmp_path / "runs", "exp", params, capture=()) as exp:
        exp.log.at(epoch=1, time=5)({"top1/acc": 0.1, "Top1/acc": 0.9, "loss": 1.0, "loss.min": 2.0, "epoch": 3.0}, step=0)
        exp.log({"step": 4.0, "time": 5.0, "exp": 6.0, "exp_name": 7.0, "name": 8.0, "value": 9.0, "metric.step": 10.0}, step=1)
    return tmp_path / "runs"


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ('params."lr#6896"', 1),
        ('params."LR#096d"', 2),
        ('params."#e3b0"', 3),
        ("params._", 4),
        ('params."a.b"', 5),
        ("params.a.b", 6),
        ('params."q""t"', 7),
        ('params."é"', 8),
        ('params."É"', 9),
        ('params."e\u0301"', 10),
        ('params."n\\x00"', 11),
        ("params.n", 12),
        ('metrics."top1/acc#9251".last', 0.1),
        ('metrics."Top1/acc#55fd".last', 0.9),
        ("metrics.loss.min", 1.0),
        ('metrics."loss.min".last', 2.0),
        ("metrics.step.last", 4.0),
        ("metrics.exp.last", 6.0),
    ],
)
def test_spellings_in_sql(twins, column, value):
    """R6, R20: each of the names that clash has its own spelling in SQL and `where`."""
    found = mlv.find(twins)

    assert found.sql(f"select {column} from experiments").rows() == [(value,)]
    assert len(mlv.find(twins, where=f"{column} = {value}")) == 1


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("params.lr", r'give params\."LR#096d" or params\."lr#6896"$'),
        ("params.Lr", r'give params\."LR#096d" or params\."lr#6896"$'),
        ('metrics."Top1/acc".last', r'give metrics\."Top1/acc#55fd" or metrics\."top1/acc#9251", or ask the view metrics'),
    ],
)
def test_the_plain_name_of_twins(twins, column, said):
    """R6: a name that differs from another in case only is refused with both spellings."""
    for ask in (
        lambda: mlv.find(twins).sql(f"select {column} from experiments"),
        lambda: list(mlv.find(twins, where=f"{column} > 0")),
    ):
        with pytest.raises(mlv.QueryFailed, match=said):
            ask()


def test_spellings_in_frames(twins):
    """R6, R20: columns of frames have exact names; where two come to the same, keys stand in quotes, or their kind in front."""
    pytest.importorskip("pandas")
    (exp,) = mlv.find(twins)

    row = mlv.find(twins).frame(stats=["min"]).iloc[0]
    assert [row[f"params.{name}"] for name in ("lr", "LR", "", "_", '"a.b"', "a.b")] == [1, 2, 3, 4, 5, 6]
    assert [row[f"metrics.{name}"] for name in ("top1/acc", "Top1/acc", "loss.min", '"loss.min"')] == [0.1, 0.9, 1.0, 2.0]
    wide = exp.history()
    assert wide[["at.time", "epoch", "metric.epoch"]].iloc[0].tolist() == [5, 1, 3]
    assert wide[["metric.step", "metric.time", "exp", "name", "metric.metric.step"]].iloc[1].tolist() == [4, 5, 6, 8, 10]
    many = mlv.find(twins).history()
    assert many.columns.is_unique
    assert many[["exp_name", "metric.exp_name", "metric.exp", "metric.step"]].iloc[1].tolist() == ["exp", 7, 6, 4]


def test_one_column_is_of_one_kind(tmp_path, monkeypatch):
    """R6: what is a coordinate of one experiment and a metric of another stands in two columns of their history."""
    pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    monkeypatch.setenv("MLV_INLINE", "1")
    with mlv.Exp(tmp_path, "a", capture=()) as exp:
        exp.log.at(epoch=1)({"loss": 0.5}, step=0)
    with mlv.Exp(tmp_path, "b", capture=()) as exp:
        exp.log({"epoch": 7.0}, step=0)

    found = mlv.find(tmp_path).history().set_index("exp_name")

    assert found.loc["a", "epoch"] == 1
    assert found.loc["b", "metric.epoch"] == 7
    assert found["epoch"].isna().tolist() == [False, True]


@pytest.mark.parametrize("to", ["csv", "jsonl"])
def test_spellings_in_exports(command, twins, tmp_path, to):
    """R6: CSV and JSON lines hold names as they are."""
    import csv

    assert command("dump", twins, "--to", to, "--out", tmp_path / "out").returncode == 0

    with open(tmp_path / "out" / f"experiments.{to}", encoding="utf-8", newline="") as file:
        row = json.loads(next(file)) if to == "jsonl" else next(csv.DictReader(file))
    names = (
        "params.lr",
        "params.LR",
        'params."a.b"',
        "params.a.b",
        "metrics.Top1/acc",
        "metrics.loss.min",
        'metrics."loss.min"',
    )
    assert [float(row[name]) for name in names] == [1, 2, 5, 6, 0.9, 1, 2]


def test_hyperparameters(tmp_path):
    """R20: TensorBoard's page tells `{"a/b": 1}` from `{"a": {"b": 2}}`."""
    from mlv.projections.hparams import flat_params

    assert dict(flat_params({"a/b": 1, "a": {"b": 2}, "lr": 3})) == {'"a/b"': 1, "a/b": 2, "lr": 3}
