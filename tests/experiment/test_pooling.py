"""Numbers over families of experiments, and differences between two sides."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import mlv

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
np = pytest.importorskip("numpy")

Make = Callable[..., mlv.Exp]


@pytest.fixture
def make(tmp_path: Path, inline: None) -> Make:
    """Make an experiment of params and a list of losses, None where a step was not logged."""

    def made(name: str, params: dict[str, object], losses: list[float | None], metric: str = "loss") -> mlv.Exp:
        with mlv.Exp(tmp_path, name, params, capture=()) as exp:
            for step, loss in enumerate(losses):
                if loss is not None:
                    exp.log({metric: loss}, step=step)
        return exp

    return made


def table(frame, *columns: str) -> list[tuple[object, ...]]:
    return [tuple(None if value != value else value for value in row) for row in frame[list(columns)].itertuples(index=False)]


def test_a_row_per_family_metric_and_step(make, tmp_path):
    """Seeds are pooled, learning rates are not."""
    make("a", {"lr": 0.1, "seed": 1}, [1.0, 3.0])
    make("b", {"lr": 0.1, "seed": 2}, [2.0, 5.0])
    make("c", {"lr": 0.2, "seed": 1}, [7.0, 8.0])

    found = mlv.find(tmp_path).aggregate(stats=["mean", "std"])

    assert list(found.columns) == [
        "family", "kind", "params.lr", "metric", "step", "count", "diverged", "missing", "mean", "std", "ci_low", "ci_high",
    ]  # fmt: skip
    assert table(found, "params.lr", "metric", "step", "count", "mean") == [
        (0.1, "loss", 0, 2, 1.5), (0.1, "loss", 1, 2, 4.0), (0.2, "loss", 0, 1, 7.0), (0.2, "loss", 1, 1, 8.0),
    ]  # fmt: skip
    assert found["std"][1] == pytest.approx(math.sqrt(2))
    assert math.isnan(found["ci_low"][2])


def test_what_is_missing_is_counted(make, tmp_path):
    """Unequal lengths, other grids and seeds that diverged are told at each step."""
    make("a", {"seed": 1}, [1.0, 2.0, 3.0, 4.0])
    make("b", {"seed": 2}, [3.0, math.nan, None, math.inf])
    make("c", {"seed": 3}, [None, 4.0])
    make("d", {"seed": 4}, [1.0], metric="other")

    found = mlv.find(tmp_path).aggregate(metrics="loss")

    assert table(found, "step", "count", "diverged", "missing", "mean") == [
        (0, 2, 0, 2, 2.0), (1, 2, 1, 1, 3.0), (2, 1, 0, 3, 3.0), (3, 1, 1, 2, 4.0),
    ]  # fmt: skip


def test_a_pattern_that_matches_nothing(make, tmp_path):
    """A pattern with stars may match nothing: no rows, with the columns of any other answer."""
    make("a", {"seed": 1}, [1.0])
    found = mlv.find(tmp_path)

    nothing, all_of_it = found.aggregate(metrics="val/*"), found.aggregate()

    assert len(nothing) == 0
    assert list(nothing.columns) == list(all_of_it.columns)
    assert list(found.history("val/*").columns) == ["exp", "exp_name", "step", "time"]
    assert len(found.paired(found, found, metrics="val/*")) == 0


def test_last_values(make, tmp_path):
    """Without an x the last values are pooled."""
    make("a", {"seed": 1}, [1.0, 2.0])
    make("b", {"seed": 2}, [1.0, 2.0, 4.0])

    assert table(mlv.find(tmp_path).aggregate(x=None, stats="mean"), "metric", "count", "mean") == [("loss", 2, 3.0)]


def test_a_coordinate_as_x(tmp_path, inline):
    """Any coordinate serves as x; of several values there the latest counts."""
    with mlv.Exp(tmp_path, "a", capture=()) as exp:
        for epoch, here in exp.log.each(epoch=range(2)):
            here({"loss": 9.0})
            here({"loss": float(epoch)})

    assert table(mlv.find(tmp_path).aggregate(x="epoch"), "epoch", "mean") == [(0, 0.0), (1, 1.0)]


def test_a_later_run_wins(make, tmp_path):
    """A step that was logged again, as after a restart, counts once, with its latest value."""
    with make("a", {}, [1.0, 2.0]) as exp, mlv.Exp.open(exp.path) as again:
        again.log({"loss": 5.0}, step=1)

    assert table(mlv.find(tmp_path).aggregate(), "step", "count", "mean") == [(0, 1, 1.0), (1, 1, 5.0)]


def test_parents(make, tmp_path):
    """Children of different parents are pooled only over a key of the parent."""
    for seed in range(2):
        parent = make(f"p{seed}", {"seed": seed}, [0.0])
        (parent.path / "model.bin").write_bytes(b"x")
        for rate in (1, 2):
            with mlv.init_sub_exp(parent.path / "model.bin", "prune", params={"rate": rate}) as child:
                child.log({"acc": seed + rate * 10.0}, step=0)
    pruned = mlv.find(tmp_path, kind="prune")

    apart, pooled = (pruned.aggregate(over=over, metrics="acc") for over in ("seed", "parent.seed"))

    assert table(apart, "parent.params.seed", "params.rate", "count", "mean") == [
        (0, 1, 1, 10), (0, 2, 1, 20), (1, 1, 1, 11), (1, 2, 1, 21),
    ]  # fmt: skip
    assert table(pooled, "params.rate", "count", "mean") == [(1, 2, 10.5), (2, 2, 20.5)]


def test_paired(make, tmp_path):
    """Differences are taken seed by seed, and seeds without a partner are counted."""
    for seed, (first, second) in enumerate([(1.0, 2.0), (2.0, 5.0), (0.0, 2.0), (3.0, math.nan)]):
        make(f"a{seed}", {"lr": 0.1, "seed": seed}, [9.0, first])
        make(f"b{seed}", {"lr": 0.2, "seed": seed}, [9.0, second])
    make("a9", {"lr": 0.1, "seed": 9}, [0.0])
    found = mlv.find(tmp_path)

    last = found.paired({"lr": 0.1}, {"lr": 0.2})
    steps = found.paired({"lr": 0.1}, {"lr": 0.2}, x="step")

    assert table(last, "metric", "count", "diverged", "mean", "only_a", "only_b") == [("loss", 3, 1, 2.0, 1, 0)]
    assert (last["ci_low"][0], last["ci_high"][0]) == pytest.approx((2 - 2.484138, 2 + 2.484138), abs=1e-5)
    assert table(steps, "step", "count", "mean") == [(0, 4, 0.0), (1, 3, 2.0)]


def test_sides(make, tmp_path):
    """A side is told by params, by a predicate, or as experiments."""
    pytest.importorskip("duckdb")
    for lr in (0.1, 0.2):
        make(f"lr{lr}", {"lr": lr, "seed": 1}, [lr])
    found = mlv.find(tmp_path)

    for a, b in (("params.lr < 0.15", {"lr": 0.2}), (found[:1], found[1:])):
        assert found.paired(a, b)["mean"][0] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda found: found.aggregate(metrics="los"), "nobody logged a metric 'los'; did you mean 'loss'"),
        (lambda found: found.aggregate(over="lrr"), "over='lrr': no experiment has such a param; did you mean lr"),
        (lambda found: found.aggregate(over=[3]), "over has 3"),
        (lambda found: found.aggregate(over=None), "over=None: give names"),
        (lambda found: found.aggregate(metrics=3), "metrics=3: give names"),
        (lambda found: found.aggregate(metrics="{{"), "nobody logged a metric '{'; there are: loss"),
        (lambda found: found.aggregate(stats=3), "stats has 3: give some of mean"),
        (lambda found: found.aggregate(ci="wide"), "ci='wide': give a number between 0 and 1"),
        (lambda found: found.lines("loss", by=3), "by=3: no experiment has such a param"),
        (lambda found: found.aggregate(x="epoch"), "x='epoch': none of these metrics has such a coordinate"),
        (lambda found: found.paired({"lr": 1}, {"lr": 5}), "b has no experiments"),
        (lambda found: found.paired({"lr": 1}, {"lr": 2}), "no seed in common"),
        (lambda found: found.paired({"lrr": 1}, {"lr": 2}), "did you mean lr"),
        (lambda found: found.paired({"lr": 3}, {"lr": 2}, reruns="all"), "a has c and d with equal seed"),
        (lambda found: found.paired(3, {"lr": 2}), "a side is 3"),
    ],
)
def test_bad_arguments(make, tmp_path, call, said):
    """What cannot be answered is refused with the names that are close."""
    for name, lr, seed in (("a", 1, 1), ("b", 2, 2), ("c", 3, 1), ("d", 3, 1)):
        make(name, {"lr": lr, "seed": seed}, [1.0])

    with pytest.raises((mlv.InvalidArgument, mlv.UnknownMetric), match=said):
        call(mlv.find(tmp_path))


def test_values_that_are_no_numbers(make, tmp_path):
    """Where a metric has texts only, that is said, and not that it has no steps."""
    make("a", {}, ["x", "y"])

    with pytest.raises(mlv.InvalidArgument, match="no value of 'loss' is a number"):
        mlv.find(tmp_path).plot("loss")


def test_history_of_metrics_that_not_all_have(make, tmp_path):
    """An experiment that lacks one of the named metrics shows the others, with steps as they are."""
    make("a", {}, [1.0, 2.0])
    make("b", {}, [3.0], metric="acc")
    make("c", {}, [4.0], metric="other")

    history = mlv.find(tmp_path).history(keys=["loss", "acc"])

    assert table(history, "exp_name", "step", "loss", "acc") == [("a", 0, 1.0, None), ("a", 1, 2.0, None), ("b", 0, None, 3.0)]
    assert history["step"].dtype == np.int64


def test_history_of_all(make, tmp_path):
    """The histories stand one below the other, with the experiments' names; a metric that some lack is no error."""
    first, second = make("a", {}, [1.0, 2.0]), make("b", {}, [3.0], metric="acc")
    found = mlv.find(tmp_path)

    history = found.history()
    assert table(history, "exp", "exp_name", "step", "loss", "acc") == [
        (first.id, "a", 0, 1.0, None), (first.id, "a", 1, 2.0, None), (second.id, "b", 0, None, 3.0),
    ]  # fmt: skip
    assert table(found.history(keys=["acc"], wide=False), "exp_name", "name", "value") == [("b", "acc", 3.0)]
    with pytest.raises(mlv.UnknownMetric):
        found.history(keys=["los"])
    with pytest.raises(mlv.InvalidArgument, match="stream='lgo': nobody logged into such a stream; did you mean 'log'"):
        found.history(stream="lgo")


def test_a_plot_without_the_extra(make, tmp_path, monkeypatch):
    """The extra that is named brings all that a plot needs."""
    make("a", {}, [1.0])
    for package in ("numpy", "matplotlib"):
        monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(mlv.MissingExtra, match=r"pip install 'mlvlogger\[plot\]'"):
        mlv.find(tmp_path).plot("loss")


def test_plot(make, tmp_path):
    """A line per family has its band, and the legend tells members and those that diverged."""
    pytest.importorskip("matplotlib").use("Agg")
    for lr in (0.1, 0.02):
        for seed in range(3):
            make(f"{lr}-{seed}", {"lr": lr, "seed": seed}, [lr, lr + seed, math.nan if (lr, seed) == (0.1, 2) else 1.0])
    found = mlv.find(tmp_path)

    axes = found.plot("loss")
    by_seed = found.plot("loss", by="seed", over=())

    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["lr=0.02 (3)", "lr=0.1 (3, 1 diverged)"]
    assert [list(line.get_ydata()) for line in axes.lines] == [[0.02, 1.02, 1.0], [0.1, 1.1, 1.0]]
    assert len(axes.collections) == 2
    assert len({line.get_color() for line in by_seed.lines}) == 3
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "loss")


def test_no_statistics(make, tmp_path):
    """Without statistics there is how many values each place has, and nothing else about them."""
    make("a", {"seed": 1}, [1.0, 2.0])
    make("b", {"seed": 2}, [1.0, 2.0])

    found = mlv.find(tmp_path).aggregate(stats=(), ci=None)

    assert found["count"].tolist() == [2, 2]
    assert not {"mean", "std", "ci_low"} & set(found.columns)
