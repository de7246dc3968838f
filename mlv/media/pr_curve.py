"""Curves of precision and recall over thresholds, computed in a worker."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from numbers import Integral
from operator import mul, sub
from typing import Any

from mlv.media import arrays
from mlv.media.jobs import Prepared, Target, Unusable
from mlv.protocols import Buffer

MOST_THRESHOLDS = 10_000  # they stand in the line itself


def prepare(labels: Any, predictions: Any, *, thresholds: Any = 127) -> Prepared:
    """Prepare the quality of a binary classifier for an event of type `pr_curve`.

    A prediction counts as positive from the threshold on, as in scikit-learn. Where nothing is predicted positive, precision
    is 1. Without a positive label there is no recall and no average precision: they are NaN.

    Args:
        labels: 0 and 1, or bools; of any shape.
        predictions: As many numbers from 0 to 1.
        thresholds: How many, evenly spaced from 0 to 1, or the thresholds themselves, ascending.

    Raises:
        Unusable: They are no numbers, do not fit together, or there is none. The values themselves are checked later.
    """
    truth, scores = arrays.raw(labels), arrays.raw(predictions)
    if truth.kind not in "biuf" or scores.kind not in "biuf":
        raise Unusable(f"labels and predictions are numbers, not of dtype {truth.dtype} and {scores.dtype}")
    if truth.size != scores.size or not truth.size:
        raise Unusable(f"a pr_curve has as many labels as predictions, not {truth.shape} and {scores.shape}")
    options = {"labels": truth.descr, "predictions": scores.descr, "thresholds": _checked(thresholds)}
    return Prepared("pr_curve", "pr_curve", options, [truth.content, scores.content])


def _checked(thresholds: Any) -> list[Any]:
    explicit = None if isinstance(thresholds, Integral) else arrays.ascending(thresholds, "thresholds")
    count = int(thresholds) if explicit is None else len(explicit)
    if not (1 if explicit else 2) <= count <= MOST_THRESHOLDS:
        raise Unusable(f"a pr_curve has 2 to {MOST_THRESHOLDS} thresholds, not {count}")
    return explicit or [i / (count - 1) for i in range(count)]


def encode(options: Mapping[str, Any], buffers: Sequence[Buffer], _target: Target) -> dict[str, Any]:
    """Count at each threshold: the event's data.

    Raises:
        Unusable: A label is neither 0 nor 1, or a prediction not from 0 to 1.
    """
    labels = arrays.floats(options["labels"], buffers[0])
    predictions = arrays.floats(options["predictions"], buffers[1])
    positive, negative = _ordered(predictions, labels, 1), _ordered(predictions, labels, 0)
    if len(positive) + len(negative) != len(labels):
        raise Unusable("a label of a pr_curve is 0 or 1: some are neither")
    if not (_are_probabilities(positive) and _are_probabilities(negative)):
        raise Unusable("a prediction of a pr_curve is from 0 to 1: some are NaN, or outside")
    thresholds = options["thresholds"]
    tp, fp = _reached(positive, thresholds), _reached(negative, thresholds)
    positives, negatives = len(positive), len(negative)
    return {
        "thresholds": thresholds,
        "precision": list(map(_precision, tp, fp)),
        "recall": [true / positives if positives else math.nan for true in tp],
        "tp": tp,
        "fp": fp,
        "tn": [negatives - false for false in fp],
        "fn": [positives - true for true in tp],
        "positives": positives,
        "negatives": negatives,
        "average_precision": _average_precision(positive, negative) if positives else math.nan,
    }


def _ordered(predictions: Any, labels: Any, label: int) -> Any:
    """Return the predictions for one label in ascending order: a list, or an array of numpy where they came in one."""
    if isinstance(labels, array):
        return sorted(prediction for prediction, actual in zip(predictions, labels, strict=True) if actual == label)
    chosen = predictions[labels == label]
    chosen.sort()
    return chosen


def _are_probabilities(ordered: Any) -> bool:
    if isinstance(ordered, list):
        return all(0 <= prediction <= 1 for prediction in ordered)
    return bool(((ordered >= 0) & (ordered <= 1)).all())


def _reached(ordered: Any, thresholds: Any) -> list[int]:
    """Return the number of predictions from each threshold on."""
    if isinstance(ordered, list):
        return [len(ordered) - bisect_left(ordered, threshold) for threshold in thresholds]
    counts: list[int] = (len(ordered) - ordered.searchsorted(thresholds, "left")).tolist()
    return counts


def _precision(tp: int, fp: int) -> float:
    return tp / (tp + fp) if tp + fp else 1.0


def _average_precision(positive: Any, negative: Any) -> float:
    """Return the mean of the precision over the positives, each taken with the threshold that just reaches it."""
    distinct = sorted(set(positive if isinstance(positive, list) else positive.tolist()))
    tp, fp = _reached(positive, distinct), _reached(negative, distinct)
    gains = map(sub, tp, [*tp[1:], 0])
    return math.fsum(map(mul, gains, map(_precision, tp, fp))) / len(positive)
