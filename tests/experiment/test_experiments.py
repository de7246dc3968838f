"""Many experiments: finding them, and the table that they make."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

import pytest

import mlv


@pytest.fixture
def runs(tmp_path, inline) -> Path:
    """Two experiments, the second tagged, and one of the kind `squeeze` below the first."""
    root = tmp_path / "runs"
    first = mlv.Exp(root, "a", {"lr": 0.1, "model": {"layers": [4, 2]}}, capture=("machine",))
    first.log.describe("loss", mode="min")
    for step, loss in enumerate([3.0, 1.0, 2.0]):
        first.log({"loss": loss, "test/acc": step / 10}, step=step)
    (first.path / "model.npz").write_bytes(b"weights")
    with mlv.init_sub_exp(first.path / "model.npz", "squeeze", params={"rate": 0.5}) as sub:
        sub.log({"loss": math.nan}, step=0)
    first.close()
    with mlv.Exp(root / "deep", "b", {"lr": 0.2, "seed": 3}, capture=()) as second:
        second.add_tags("paper", "best")
        second.log({"loss": 5.0})
    return root


def names(found: mlv.Experiments) -> list[str]:
    return [exp.name for exp in found]


def test_all_below_a_folder(runs):
    """Experiments at any depth are found, sub-experiments included, in the order of their paths."""
    found = mlv.find(runs)

    assert names(found) == ["a", "subexp_1", "b"]
    assert len(found) == 3
    assert found[-1] == mlv.Exp.open(runs / "deep" / "b")
    assert names(found[1:]) == ["subexp_1", "b"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"kind": "squeeze"}, ["subexp_1"]),
        ({"tags": "paper"}, ["b"]),
        ({"tags": ["paper", "best"]}, ["b"]),
        ({"tags": ["paper", "worst"]}, []),
        ({"kind": "none"}, []),
    ],
)
def test_choosing(runs, choice, expected):
    """Kind and tags, added ones included, choose; of several tags all are wanted."""
    assert names(mlv.find(runs, **choice)) == expected


def test_finding_is_lazy(runs):
    """The first experiment is there before the others are looked at."""
    found = iter(mlv.find(runs))

    assert next(found).name == "a"
    (runs / "deep" / "b" / "meta.json").unlink()
    assert [exp.name for exp in found] == ["subexp_1"]


def test_frame(runs):
    """A row per experiment tells what it is, its params, and the last of each metric."""
    pytest.importorskip("pandas")
    table = mlv.find(runs).frame().set_index("name")

    assert list(table["status"]) == ["ok", "ok", "ok"]
    assert table.loc["a", "id"] == mlv.Exp.open(runs / "a").id
    assert table.loc["subexp_1", "parent"] == table.loc["a", "id"]
    assert table.loc["a", "params.model.layers"] == [4, 2]
    assert list(table["params.lr"].dropna()) == [0.1, 0.2]
    assert table.loc["a", "metrics.loss"] == 2.0
    assert table.loc["a", "metrics.test/acc"] == 0.2
    assert math.isnan(table.loc["subexp_1", "metrics.loss"])
    assert table.loc["a", "machine.host"] == os.uname().nodename


def test_more_of_each_metric(runs):
    """Stats that are asked for are columns behind the metric's name."""
    pytest.importorskip("pandas")
    row = mlv.find(runs).frame(stats=["min", "max", "mean", "best", "count"]).iloc[0]

    assert [row[f"metrics.loss.{stat}"] for stat in ("min", "max", "mean", "best", "count")] == [1, 3, 2, 1, 3]
    assert row["metrics.test/acc.best"] is None or math.isnan(row["metrics.test/acc.best"])


def test_a_running_experiment_is_read_again(tmp_path, inline):
    """What was logged since is in the next table."""
    pytest.importorskip("pandas")
    with mlv.Exp(tmp_path, "exp", capture=()) as exp:
        found = mlv.find(tmp_path)
        exp.log({"loss": 1.0})
        exp.flush()
        before = found.frame()["metrics.loss"][0]
        exp.log({"loss": 0.5})
        exp.flush()

        assert (before, found.frame()["metrics.loss"][0]) == (1.0, 0.5)


def test_a_broken_one_among_others(runs):
    """An experiment that cannot be read is warned of, and hides no other one."""
    (runs / "broken").mkdir()
    (runs / "broken" / "meta.json").write_text("{")

    with pytest.warns(mlv.MlvWarning, match="broken"):
        assert names(mlv.find(runs)) == ["a", "subexp_1", "b"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere",), "root 'nowhere' does not exist"),
        ((__file__,), "is a file: give a folder"),
        ((".", 3), "kind=3 is of type int"),
        ((".", None, None, [3]), "tag=3 is of type int"),
    ],
)
def test_bad_arguments(arguments, said):
    """What cannot be meant is refused at once."""
    with pytest.raises(mlv.InvalidArgument, match=said):
        mlv.find(*arguments)


def test_none(tmp_path):
    """An empty folder has no experiments; a table of none is refused with the folder's name."""
    assert len(mlv.find(tmp_path)) == 0
    with pytest.raises(mlv.NotAnExperiment, match="no experiments at or below"):
        mlv.find(tmp_path).frame()


def test_an_unknown_stat(runs):
    """A stat that there is not is refused, and the known ones are told."""
    with pytest.raises(mlv.InvalidArgument, match="'median': give some of last, min"):
        mlv.find(runs).frame(stats=["median"])


def test_without_pandas(runs, monkeypatch):
    """Without pandas the extra is named."""
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(mlv.MissingExtra, match=r"needs pandas.*: pip install 'mlvlogger\[frame\]'"):
        mlv.find(runs).frame()
