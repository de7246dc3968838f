"""What a plot shows is what the table says."""

from __future__ import annotations

import math
import time

import pytest

import mlv
from mlv.errors import InvalidArgument, MlvWarning

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
import numpy as np

from mlv.query.many.plot import Style


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Make an experiment of params and rows of step and metrics."""
    monkeypatch.setenv("MLV_INLINE", "1")

    def made(name, params, rows):
        with mlv.Exp(tmp_path, name, params, capture=(), system=False) as exp:
            for step, metrics in rows:
                exp.log(metrics, step=step)
        return exp

    return made


def test_uneven_grids(make, tmp_path):
    """R10: seeds that logged at different steps make no zigzag: they are interpolated, and the axis says so."""
    from mlv.query.many.plot import x_label

    for seed in range(3):
        rng = np.random.default_rng(seed)
        steps = np.cumsum(rng.integers(50, 200, 100))
        make(f"s{seed}", {"seed": seed}, [(int(step), {"return": 50.0 * (seed + 1)}) for step in steps])
    experiments = mlv.find(tmp_path)

    [line] = experiments.lines("return")
    inner = (line.x > 250) & (line.x < 9000)

    assert set(line.middle[inner]) == {100.0}
    assert x_label([line], "step") == "step (interpolated)"
    assert line.title == "(3)"
    [binned] = experiments.lines("return", style=Style(grid=10))
    assert (len(binned.x), set(binned.middle)) == (10, {100.0})
    assert x_label([binned], "step") == "step (in 10 bins)"
    table = experiments.aggregate(metrics="return", grid=10, stats=["p50"])
    assert (table["step"].tolist(), table["p50"].tolist()) == (binned.x.tolist(), binned.middle.tolist())


def test_described_axis(tmp_path, monkeypatch):
    """Without an x, metrics stand over what their descriptions say of all of them: a coordinate, or a metric; else the step."""
    from mlv.query.many.plot import axis_of

    monkeypatch.setenv("MLV_INLINE", "1")
    with mlv.Exp(tmp_path, "exp", capture=(), system=False) as exp:
        for name, x in {"val/acc": "epoch", "val/f1": "train/samples", "val/map": "nowhere", "late": "elapsed"}.items():
            exp.log.describe(name, x=x)
        for epoch, here in exp.log.each(epoch=range(3)):
            values = dict.fromkeys(["val/acc", "val/f1", "val/map", "late", "plain"], 0.5)
            here({"train/samples": 100 * epoch, **values}, step=10 * epoch)
    found = mlv.find(tmp_path)

    def drawn(metrics, x=None):
        lines = found.lines(metrics, x)
        return axis_of(lines, x), lines[0].x.tolist()

    assert drawn("val/acc") == ("epoch", [0, 1, 2])
    assert drawn("val/f1") == ("metrics.train/samples", [0, 100, 200])
    assert drawn("late")[0] == "elapsed"
    for metrics in ("plain", "val/map", ["val/acc", "plain"], ["val/acc", "val/f1"], "val/*"):
        assert drawn(metrics) == ("step", [0, 10, 20]), metrics
    assert drawn("val/acc", "step") == ("step", [0, 10, 20])
    assert found.plot("val/acc").get_xlabel() == "epoch"


def test_described_time(tmp_path, monkeypatch):
    """A described axis of time counts from when the runs began, also in an experiment that says nothing of it."""
    monkeypatch.setenv("MLV_INLINE", "1")
    for name in ("new", "old"):
        with mlv.Exp(tmp_path, name, {"name": name}, capture=(), system=False) as exp:
            if name == "new":
                exp.log.describe("loss", x="active")
            exp.log("begun")
            exp.log({"loss": 0.5})
    found = mlv.find(tmp_path)

    described, asked = ({line.label: line.x.tolist() for line in found.lines("loss", x)} for x in (None, "active"))

    assert described == asked
    assert min(described.values()) > [0]


@pytest.mark.parametrize(("metric", "axis"), [("acc", "step"), ("loss", "epoch"), ("note", "epoch"), ("a*", "step")])
def test_described_axis_that_some_lack(tmp_path, monkeypatch, metric, axis):
    """An axis that an experiment with values of the metric lacks is not taken: none is left out without being asked for."""
    from mlv.query.many.plot import axis_of

    monkeypatch.setenv("MLV_INLINE", "1")
    for name, values in {"new": dict.fromkeys(["acc", "loss", "note"], 0.5), "old": {"acc": 0.25, "note": "none"}}.items():
        with mlv.Exp(tmp_path, name, {"name": name}, capture=(), system=False) as exp:
            if name == "new":
                for described in values:
                    exp.log.describe(described, x="epoch")
            (exp.log.at(epoch=7) if name == "new" else exp.log)(values, step=1)

    lines = mlv.find(tmp_path).lines(metric)

    assert (axis_of(lines, None), len(lines)) == (axis, 2 if axis == "step" else 1)


def test_several_metrics(make, tmp_path):
    """R10: each metric of a pattern has a line of its own, whose count is of those that logged it."""
    make("a", {"seed": 1}, [(step, {"val/loss": 0.5, "val/n": 5000.0}) for step in range(2)])
    make("b", {"seed": 2}, [(0, {"val/n": 4000.0})])
    make("c", {"seed": 3}, [(0, {"other": 1.0})])

    lines = {line.label: line for line in mlv.find(tmp_path).lines("val/*")}

    assert {label: line.title for label, line in lines.items()} == {"val/loss": "val/loss (1 of 3)", "val/n": "val/n (2 of 3)"}
    assert lines["val/loss"].middle.tolist() == [0.5, 0.5]
    assert lines["val/n"].middle.tolist() == [4500.0, 5000.0]


def test_last_of_each_epoch_is_said(make, tmp_path):
    """R10: where several values stand at one x, the axis says which is drawn."""
    from mlv.query.many.plot import x_label

    with mlv.Exp(tmp_path, "a", capture=(), system=False) as exp:
        for epoch, log in exp.log.each(epoch=range(2)):
            for batch in range(3):
                log({"loss": epoch + batch / 10}, step=3 * epoch + batch)

    [line] = mlv.find(tmp_path).lines("loss", x="epoch")

    assert (line.x.tolist(), line.middle.tolist()) == ([0.0, 1.0], [0.2, 1.2])
    assert x_label([line], "epoch") == "epoch (the last value of each)"


@pytest.mark.parametrize("rows", ["same line", "same step", "without steps"])
def test_another_metric_as_x(tmp_path, monkeypatch, rows):
    """A metric is drawn over another one: over its value at the same step, or the latest before it."""
    monkeypatch.setenv("MLV_INLINE", "1")
    with mlv.Exp(tmp_path, "a", capture=(), system=False) as exp:
        for number in range(4):
            step = None if rows == "without steps" else number
            if rows == "same line":
                exp.log({"loss": 10.0 - number, "epoch": number / 2}, step=step)
            elif rows == "same step":
                exp.log({"loss": 10.0 - number}, step=step)
                exp.log({"epoch": number / 2}, step=step)
            else:
                exp.log({"epoch": number / 2})
                exp.log({"loss": 10.0 - number})

    [line] = mlv.find(tmp_path).lines("loss", x="metrics.epoch")

    assert (line.x.tolist(), line.middle.tolist()) == ([0.0, 0.5, 1.0, 1.5], [10.0, 9.0, 8.0, 7.0])


def test_a_metric_that_is_no_coordinate(make, tmp_path):
    """Who asks for a coordinate that is a metric is told how to spell it."""
    make("a", {}, [(0, {"loss": 1.0, "epoch": 0})])

    with pytest.raises(InvalidArgument, match=r"give x='metrics\.epoch'"):
        mlv.find(tmp_path).lines("loss", x="epoch")
    with pytest.raises(InvalidArgument, match=r"did you mean metrics\.epoch"):
        mlv.find(tmp_path).lines("loss", x="metrics.epok")


def test_times_as_x(tmp_path, monkeypatch):
    """The wall clock, seconds since the start, and seconds without pauses and the time between runs, are axes."""
    monkeypatch.setenv("MLV_INLINE", "1")
    with mlv.Exp(tmp_path, "a", capture=(), system=False) as exp:
        exp.log({"loss": 3.0}, step=0)
        with exp.paused("lunch"):
            time.sleep(0.3)
        exp.log({"loss": 2.0}, step=1)
    time.sleep(0.3)
    with mlv.Exp.open(tmp_path / "a") as exp:
        exp.log({"loss": 1.0}, step=2)
    experiments = mlv.find(tmp_path)

    x = {name: experiments.lines("loss", x=name)[0].x for name in ("time", "elapsed", "active")}

    moments = [event.time.timestamp() for event in exp.events("metrics")]
    assert x["time"] == pytest.approx(moments)
    assert np.diff(x["elapsed"]) == pytest.approx(np.diff(moments))
    assert np.diff(x["elapsed"] - x["active"]).min() >= 0.29
    assert x["elapsed"][0] == pytest.approx(x["active"][0])
    frame = experiments.aggregate(metrics="loss", x="time")
    assert [moment.timestamp() for moment in frame["time"]] == pytest.approx(moments)


def test_reruns(make, tmp_path):
    """R9: of experiments with equal params and seed the latest counts, with a word; a rule chooses otherwise."""
    for name, loss in (("a", 1.0), ("again", 3.0)):
        make(name, {"lr": 0.1, "seed": 0}, [(0, {"loss": loss})])
    make("other", {"lr": 0.1, "seed": 1}, [(0, {"loss": 5.0})])
    experiments = mlv.find(tmp_path)

    with pytest.warns(MlvWarning, match="a and again are equal in all params, seed included"):
        latest = experiments.aggregate(stats=["mean"])
    assert (latest["count"][0], latest["mean"][0]) == (2, 4.0)
    assert experiments.aggregate(reruns="all")["count"][0] == 3
    with pytest.raises(InvalidArgument, match="give reruns="):
        experiments.aggregate(reruns="error")
    with pytest.raises(InvalidArgument, match="reruns='first'"):
        experiments.aggregate(reruns="first")


def test_repeats_without_a_seed(make, tmp_path):
    """Experiments that record no seed are repeats, not reruns: nothing tells them apart."""
    for name, loss in (("a", 1.0), ("b", 3.0)):
        make(name, {"lr": 0.1}, [(0, {"loss": loss})])

    assert mlv.find(tmp_path).aggregate()["count"].tolist() == [2]


def test_copies_count_once(make, tmp_path):
    """R9: a copy of an experiment is the same experiment: the longest counts, in every table, and a word says so."""
    import shutil

    make("s0", {"seed": 0}, [(0, {"loss": 1.0})])
    shutil.copytree(tmp_path / "s0", tmp_path / "backup")
    with mlv.Exp.open(tmp_path / "s0") as exp:
        exp.log({"loss": 2.0}, step=1)
    experiments = mlv.find(tmp_path)

    with pytest.warns(MlvWarning, match="each experiment counts once"):
        table = experiments.aggregate(metrics="loss")
    with pytest.warns(MlvWarning, match="backup is a copy of"):
        frame = experiments.frame()

    assert table["count"].tolist() == [1, 1]
    assert frame["path"].tolist() == [str(tmp_path / "s0")]
    pytest.importorskip("duckdb")
    query = "select count(*) from metrics m join experiments e on e.id = m.exp"
    with pytest.warns(MlvWarning, match="copy"):
        assert experiments.sql(query).rows() == [(2,)]
    with pytest.warns(MlvWarning, match="copy"):
        assert "experiments.parquet" in experiments.export("parquet", tmp_path / "out")


@pytest.mark.parametrize("band", ["p10-p90", "p25-p75", "min-max", "std", "ci", "none"])
@pytest.mark.parametrize("center", ["median", "mean"])
def test_bands(make, tmp_path, center, band):
    """The line and its band are what `aggregate` gives for them."""
    for seed, loss in enumerate([1.0, 2.0, 6.0]):
        make(f"s{seed}", {"seed": seed}, [(0, {"loss": loss})])
    experiments = mlv.find(tmp_path)
    row = experiments.aggregate(stats=["mean", "std", "p10", "p25", "p50", "p75", "p90", "min", "max"]).iloc[0]

    [line] = experiments.lines("loss", style=Style(center, band))

    middle = row["p50" if center == "median" else "mean"]
    edges = {
        "p10-p90": (row["p10"], row["p90"]), "p25-p75": (row["p25"], row["p75"]), "min-max": (1.0, 6.0),
        "std": (middle - row["std"], middle + row["std"]), "ci": (row["ci_low"], row["ci_high"]), "none": (middle, middle),
    }[band]  # fmt: skip
    assert (line.middle[0], line.low[0], line.high[0]) == pytest.approx((middle, *edges))


def test_smoothing(make, tmp_path):
    """Smoothing is the moving average that is corrected for its beginning; NaN stays, and breaks nothing."""
    values = [1.0, 3.0, math.nan, 5.0]
    make("a", {}, [(step, {"loss": value}) for step, value in enumerate(values)])

    [line] = mlv.find(tmp_path).lines("loss", style=Style(smooth=0.5))

    assert line.middle[:2] == pytest.approx([1.0, (0.5 * 1 * 0.5 + 3 * 0.5) / 0.75])
    assert math.isnan(line.middle[2])
    assert 3.0 < line.middle[3] < 5.0


@pytest.mark.parametrize("options", [{"center": "mode"}, {"band": "p5"}, {"grid": "x"}, {"smooth": 1}, {"smooth": "a"}])
def test_styles_that_cannot_be(options):
    """What is no style is refused, with what there is."""
    with pytest.raises(InvalidArgument, match=next(iter(options))):
        Style(**options)


def test_drawn(make, tmp_path):
    """Lines of one colour differ in their dashes; axes are logarithmic, limited and labelled as they were asked for."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    for size in (1, 2):
        for lr in (0.1, 0.2):
            make(f"{size}-{lr}", {"lr": lr, "size": size}, [(step, {"loss": step * lr}) for step in range(4)])
    experiments = mlv.find(tmp_path)

    axes = experiments.plot("loss", by="lr", log="y", xlim=(0, 3), smooth=0.5)

    styles = [(line.get_color(), line.get_linestyle()) for line in axes.get_lines()]
    assert len({color for color, _ in styles}) == 2
    assert len(set(styles)) == 4
    assert (axes.get_yscale(), axes.get_xlim()) == ("symlog", (0.0, 3.0))
    assert axes.get_xlabel() == "step (smoothed 0.5)"
    assert "linear below" in axes.get_ylabel()
    assert experiments.plot("loss", x="time").get_xlabel().startswith("time in ")
    matplotlib.pyplot.close("all")
    for options in ({"log": "z"}, {"xlim": 3}, {"ylim": (0, math.nan)}):
        with pytest.raises(InvalidArgument):
            experiments.plot("loss", **options)


def test_truth_values_count(make, tmp_path):
    """R20: a metric of truth values is aggregated and drawn as 1 and 0."""
    make("a", {"seed": 1}, [(0, {"success": True}), (1, {"success": False})])
    make("b", {"seed": 2}, [(0, {"success": True}), (1, {"success": True})])
    experiments = mlv.find(tmp_path)

    assert experiments.aggregate(stats=["mean"])["mean"].tolist() == [1.0, 0.5]
    [line] = experiments.lines("success", style=Style("mean", "none"))
    assert line.middle.tolist() == [1.0, 0.5]


def test_a_seed_below_another_param(make, tmp_path):
    """R20: who keeps the seed as `train.seed` is told how to pool over it."""
    for seed in (1, 2):
        make(f"s{seed}", {"train": {"seed": seed}}, [(0, {"loss": 1.0})])
    experiments = mlv.find(tmp_path)

    with pytest.warns(MlvWarning, match=r"give over='train\.seed'"):
        assert len(experiments.aggregate()) == 2
    assert experiments.aggregate(over="train.seed")["count"].tolist() == [2]


def test_where_of_params(make, tmp_path):
    """R20: `find` takes a mapping of params, as `paired` does."""
    for lr in (0.1, 0.2):
        make(f"lr{lr}", {"lr": lr, "net": {"depth": 3}}, [])

    assert [path.name for path in mlv.find(tmp_path, where={"lr": 0.1, "net": {"depth": 3}}).paths] == ["lr0.1"]
    with pytest.raises(InvalidArgument, match="where='lrr': no experiment has such a param; did you mean lr"):
        len(mlv.find(tmp_path, where={"lrr": 1}))
