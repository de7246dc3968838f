"""Curves of precision and recall are those of scikit-learn, with numpy and without."""

from __future__ import annotations

import math
import random

import pytest

from media.places import Folder
from mlv.media import arrays, pr_curve
from mlv.media.jobs import Unusable


@pytest.fixture(params=["numpy", "plain"])
def folder(request, monkeypatch, tmp_path):
    """A place for the event, once with numpy in the worker, once without."""
    if request.param == "plain":
        monkeypatch.setattr(arrays, "numpy_if_there", lambda: None)
    else:
        pytest.importorskip("numpy")
    return Folder(tmp_path)


def test_by_hand(folder):
    """A prediction counts from the threshold on; where none does, precision is 1."""
    data = folder.data(pr_curve.prepare([True, False, True, False], [0.9, 0.8, 0.5, 0.1], thresholds=[0, 0.5, 0.85, 1]))

    assert data == {
        "thresholds": [0, 0.5, 0.85, 1],
        "precision": [0.5, 2 / 3, 1, 1],
        "recall": [1, 1, 0.5, 0],
        "tp": [2, 2, 1, 0],
        "fp": [2, 1, 0, 0],
        "tn": [0, 1, 2, 2],
        "fn": [0, 0, 1, 2],
        "positives": 2,
        "negatives": 2,
        "average_precision": (1 + 2 / 3) / 2,
    }


@pytest.mark.parametrize("digits", [1, 2, 17])
def test_as_scikit_learn(folder, digits):
    """Precision, recall and average precision are those of scikit-learn, also where predictions are equal."""
    metrics = pytest.importorskip("sklearn.metrics")
    source = random.Random(digits)
    labels = [source.randint(0, 1) for _ in range(300)]
    predictions = [round(0.3 * label + 0.7 * source.random(), digits) for label in labels]
    precision, recall, thresholds = metrics.precision_recall_curve(labels, predictions)

    data = folder.data(pr_curve.prepare(labels, predictions, thresholds=thresholds))

    assert data["precision"] == pytest.approx(precision[:-1].tolist(), abs=1e-15)
    assert data["recall"] == pytest.approx(recall[:-1].tolist(), abs=1e-15)
    assert data["average_precision"] == pytest.approx(metrics.average_precision_score(labels, predictions), abs=1e-12)


def test_evenly_spaced_thresholds(folder):
    """A number of thresholds means that many from 0 to 1."""
    data = folder.data(pr_curve.prepare([0, 1], [[0.2], [0.7]], thresholds=5))

    assert data["thresholds"] == [0, 0.25, 0.5, 0.75, 1]
    assert len(folder.data(pr_curve.prepare([0, 1], [0.2, 0.7]))["thresholds"]) == 127


def test_without_a_positive(folder):
    """Without a positive label, recall and average precision are not defined: NaN."""
    line = folder.line(pr_curve.prepare([0, 0], [0.2, 0.7], thresholds=[0.5]))

    assert line["data"]["recall"] == [None]
    assert line["nonfinite"] == {"/recall/0": "nan", "/average_precision": "nan"}
    assert line["data"]["precision"] == [0]


def test_without_a_negative(folder):
    """Without a negative label, every prediction of a positive is right."""
    data = folder.data(pr_curve.prepare([1, 1], [0.2, 0.7], thresholds=[0.5]))

    assert (data["precision"], data["recall"], data["average_precision"]) == ([1], [0.5], 1)


@pytest.mark.parametrize(
    ("labels", "predictions", "reason"),
    [
        ([0, 2], [0.1, 0.2], "a label of a pr_curve is 0 or 1"),
        ([0, math.nan], [0.1, 0.2], "a label of a pr_curve is 0 or 1"),
        ([0, 1], [0.1, 1.5], "from 0 to 1"),
        ([0, 1], [-0.1, 1], "from 0 to 1"),
        ([0, 1, 1], [0.1, math.nan, 0.5], "from 0 to 1"),
    ],
)
def test_numbers_that_are_none_of_a_classifier(folder, labels, predictions, reason):
    """Labels and predictions out of their range make the event a rejected one."""
    assert reason in folder.reason(pr_curve.prepare(labels, predictions))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (([0, 1], [0.5]), r"not \(2,\) and \(1,\)"),
        (([], []), "as many labels as predictions"),
        (([0], [1j]), "are numbers"),
        (("a", [1]), "a value of type str is no array"),
        (([0], [0.5], 1), "2 to 10000 thresholds, not 1"),
        (([0], [0.5], []), "2 to 10000 thresholds, not 0"),
        (([0], [0.5], [0.5, 0.1]), "each greater"),
    ],
)
def test_what_does_not_fit(given, reason):
    """What cannot be a curve is refused at once, and the reason says why."""
    with pytest.raises(Unusable, match=reason):
        pr_curve.prepare(*given[:2], **({"thresholds": given[2]} if len(given) > 2 else {}))
