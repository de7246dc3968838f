"""`wandb.plot`: charts are tables, with a figure where matplotlib is installed."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from wandb_folder import own_folder

import mlv
import mlv.compat.wandb as wandb

numpy = pytest.importorskip("numpy", reason="numpy is not installed")
pytestmark = pytest.mark.usefixtures("inline")

TRUTH = [0, 0, 1, 1]
PROBABILITIES = [[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.8, 0.2]]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with own_folder(tmp_path, monkeypatch):
        yield


def table() -> Any:
    return wandb.Table(columns=["x", "y", "kind"], data=[[1, 2, "a"], [2, 3, "b"], [3, 1, "a"]])


CHARTS = {
    "line": lambda: wandb.plot.line(table(), "x", "y", title="t"),
    "strokes": lambda: wandb.plot.line(table(), "x", "y", stroke="kind"),
    "scatter": lambda: wandb.plot.scatter(table(), "x", "y"),
    "bar": lambda: wandb.plot.bar(table(), "kind", "y"),
    "histogram": lambda: wandb.plot.histogram(table(), "x"),
    "series": lambda: wandb.plot.line_series([0, 1], [[1, 2], [3, 4]], keys=["a", "b"]),
    "confusion": lambda: wandb.plot.confusion_matrix(preds=[0, 1, 1, 0], y_true=TRUTH, class_names=["cat", "dog"]),
    "pr": lambda: wandb.plot.pr_curve(TRUTH, PROBABILITIES, labels=["cat", "dog"]),
    "roc": lambda: wandb.plot.roc_curve(TRUTH, PROBABILITIES),
}


def test_charts(tmp_path):
    """Each chart leaves its table, its description, and a figure."""
    with wandb.init(project="p", name="n") as run:
        wandb.log({name: make() for name, make in CHARTS.items()})
        wandb.log({"own": wandb.plot_table("me/chart", table(), {"x": "x"}, {"title": "t"})})

    exp = mlv.Exp.open(run.exp.path)
    assert [event.name for event in exp.events("table")] == [f"{name}_table" for name in [*CHARTS, "own"]]
    described = {event.name: event.data for event in exp.events("event") if event.name.endswith("_chart")}
    assert described["own_chart"] == {
        "table": "own_table", "spec": "me/chart", "fields": {"x": "x"}, "strings": {"title": "t"},
    }  # fmt: skip
    figures = [event.name for event in exp.events("figure")]
    assert figures == ([*CHARTS] if find_spec("matplotlib") else [])
    assert not [*exp.events("message")]


def test_confusion_matrix():
    """Rows count how often each class is taken for each, with names, from predictions or probabilities."""
    rows = wandb.plot.confusion_matrix(probs=PROBABILITIES, y_true=TRUTH, class_names=["cat", "dog"]).table.data

    assert rows == [["cat", "cat", 1], ["cat", "dog", 1], ["dog", "cat", 1], ["dog", "dog", 1]]
    assert wandb.plot.confusion_matrix(preds=["a", "b"], y_true=["a", "a"]).table.data[1] == ["Class_0", "Class_1", 1]


def test_curves():
    """Precision over recall, and the rates of true and false positives, as counted by hand."""
    precision = wandb.plot.pr_curve(TRUTH, PROBABILITIES, labels=["cat", "dog"], classes_to_plot=[1], interp_size=3).table.data
    rates = wandb.plot.roc_curve(TRUTH, PROBABILITIES, classes_to_plot=[1]).table.data

    assert precision == [["dog", 0.667, 1.0], ["dog", 1.0, 0.5], ["dog", 1.0, 0.0]]
    assert rates == [["1", 0.0, 0.0], ["1", 0.0, 0.5], ["1", 0.5, 0.5], ["1", 0.5, 1.0], ["1", 1.0, 1.0]]


@pytest.mark.parametrize(
    "make",
    [
        lambda: wandb.plot.confusion_matrix(preds=[0], probs=[[1]], y_true=[0]),
        lambda: wandb.plot.confusion_matrix(preds=[0], y_true=[0, 1]),
        lambda: wandb.plot.confusion_matrix(preds=[5], y_true=[0], class_names=["a"]),
        lambda: wandb.plot.line_series([[0], [1]], [[1]]),
        lambda: wandb.plot.line_series([0], [[1]], keys=["a", "b"]),
        lambda: wandb.plot.pr_curve(TRUTH, [[0.5, 0.5]]),
        lambda: wandb.plot.roc_curve(TRUTH, [0.5] * 4),
    ],
)
def test_bad_input(make):
    """Numbers that do not belong together are refused."""
    with pytest.raises(ValueError, match=r".+"):
        make()
