"""The bridge from scikit-learn: the results of a search over parameters, and what happens within a `fit`."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from mlv import Exp, InvalidArgument
from mlv.integrations.connection import Connection
from mlv.integrations.frameworks import framework
from mlv.integrations.sub_experiments import sub_experiment

_FOLD = re.compile(r"split(\d+)_(.+)")
_PARAM = "param_"
_BEST = ("best_index_", "best_score_", "n_splits_", "refit_time_")
_beginning_or_ending = threading.Lock()
"""Held while a fit begins or ends: a callback is pickled, and has no lock of its own."""


def log_search(exp: Exp, search: Any, *, sub_exps: bool = False) -> None:
    """Log the results of a fitted search: of `GridSearchCV`, `RandomizedSearchCV`, a halving one, or any with `cv_results_`.

    The number of a candidate is the step. `mean_test_score`, `std_test_score`, `rank_test_score` and all else that the search
    has of a candidate are metrics of these names; the score of each fold is `test_score`, at the coordinate `fold`. The table
    `cv_results` has a row for each candidate, with its params. The best one is in the summary, and its params in the event
    `search`.

    Args:
        exp: The experiment.
        search: The search after its `fit`, or its `cv_results_`.
        sub_exps: Whether each candidate becomes a sub-experiment of kind `candidate` as well, with its params; the step of its
            scores is the fold. One whose every fold failed has the status `failed`.

    Raises:
        InvalidArgument: It has no results: it was not fitted.
    """
    candidates = [*_candidates(_results(search))]
    for number, candidate in enumerate(candidates):
        if candidate.numbers:
            exp.log(candidate.numbers, step=number)
        for fold, scores in sorted(candidate.folds.items()):
            exp.log.at(fold=fold)(scores, step=number)
    exp.log.table("cv_results", [{**candidate.row, **candidate.numbers} for candidate in candidates])
    best = _Candidate(getattr(search, "best_params_", {})).params
    exp.log("search", {"type": type(search).__name__, "candidates": len(candidates), "best_params": best})
    exp.summarize({name.rstrip("_"): _plain(getattr(search, name)) for name in _BEST if hasattr(search, name)})
    for number, candidate in enumerate(candidates) if sub_exps else ():
        _log_candidate(exp, number, candidate)


class _Candidate:
    """The results of one candidate: its params, its numbers, and the scores of its folds."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.params = {name: _plain(value) for name, value in params.items()}
        self.numbers: dict[str, float] = {}
        self.folds: dict[int, dict[str, float]] = {}

    @property
    def row(self) -> dict[str, Any]:
        """The params and the folds, under the names that scikit-learn has for them."""
        params = {f"{_PARAM}{name}": value if _is_plain(value) else str(value) for name, value in self.params.items()}
        return params | {f"split{fold}_{name}": score for fold, scores in self.folds.items() for name, score in scores.items()}

    @property
    def has_failed(self) -> bool:
        """Whether there are folds, and all of their scores are NaN: their `fit` has raised."""
        scores = [score for fold in self.folds.values() for name, score in fold.items() if name.startswith("test_")]
        return bool(scores) and all(score != score for score in scores)


def _results(search: Any) -> Mapping[str, Any]:
    results = search if isinstance(search, Mapping) else getattr(search, "cv_results_", None)
    if isinstance(results, Mapping) and "params" in results:
        return results
    raise InvalidArgument(
        f"search is of type {type(search).__name__} and has no cv_results_ with params: give a GridSearchCV or another search "
        f"after its fit, or its cv_results_",
        search=search,
    )


def _candidates(results: Mapping[str, Any]) -> Iterator[_Candidate]:
    """Go through the candidates; a column that is no list of numbers, such as that of a param, is passed over."""
    columns = {name: column for name, column in results.items() if name != "params" and not name.startswith(_PARAM)}
    for index, params in enumerate(results["params"]):
        candidate = _Candidate(params)
        for name, column in columns.items():
            value = _plain(column[index])
            if not isinstance(value, (int, float)):
                continue
            if match := _FOLD.fullmatch(name):
                candidate.folds.setdefault(int(match[1]), {})[match[2]] = value
            else:
                candidate.numbers[name] = value
        yield candidate


def _log_candidate(exp: Exp, number: int, candidate: _Candidate) -> None:
    sub_exp = sub_experiment(exp, "candidate", f"candidate_{number}")
    sub_exp.add_params(candidate.params, lenient=True)
    for name in candidate.folds.get(0, ()):
        sub_exp.log.describe(name, summary="mean")
    for fold, scores in sorted(candidate.folds.items()):
        sub_exp.log(scores, step=fold)
    sub_exp.summarize(candidate.numbers)
    sub_exp.close("failed" if candidate.has_failed else "ok")


def _plain(value: Any) -> Any:
    """Return a scalar of numpy as a number of Python, and what stands in a mapping likewise; anything else as it is."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    return value.item() if hasattr(value, "dtype") and getattr(value, "ndim", None) == 0 else value


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


class Callback:
    """Logs what happens within a `fit`, from scikit-learn 1.9 on: `estimator.set_callbacks(Callback(exp=exp))`.

    Each task of an estimator that knows callbacks (such as `GridSearchCV`, `Pipeline` and `LogisticRegression`) leaves an event
    of its name, `Pipeline/fit-transform-scale`, with its duration. Its number among its siblings is the step, and the
    coordinate `task` has the numbers of the tasks around it. With `scoring`, each task that leaves a model which can predict,
    such as an iteration of `LogisticRegression`, has the scores on the training data as metrics below the same name.

    The params of the estimator are the param `estimator`. What processes of `n_jobs` log are runs of their own.
    """

    max_propagation_depth = None
    """At how many levels of nested estimators scikit-learn calls it: at all."""

    def __init__(
        self,
        savedir: Any = None,
        name: str | None = None,
        params: Any = None,
        *,
        exp: Any = None,
        scoring: Any = None,
        **options: Any,
    ) -> None:
        """Log to an experiment, which is made at its first use, or to the one that is passed.

        Args:
            savedir: As in `mlv.Exp`.
            name: As in `mlv.Exp`.
            params: As in `mlv.Exp`.
            exp: An experiment in place of these three, which stays open; or its path.
            scoring: As in `GridSearchCV`: a name or several, a scorer, or a mapping of names to scorers. None scores nothing.
            options: Other arguments of `mlv.Exp`.

        Raises:
            InvalidArgument: An argument cannot be used.
            MissingExtra: scikit-learn is not installed, or has no callbacks yet.
        """
        framework("sklearn.callback", least="1.9", below="2", install="scikit-learn")
        self._connection = Connection(exp, savedir, name, params, **options)
        self._scoring = [scoring] if isinstance(scoring, str) else {"score": scoring} if callable(scoring) else scoring
        self._began: dict[Any, float] = {}
        self._fits: set[Any] = set()
        """The outermost fits that go on: clones of an estimator share its callback, and threads fit them at the same time."""

    def setup(self, estimator: Any, context: Any) -> None:
        """Begin with the outermost estimator."""
        with _beginning_or_ending:
            exp = self._connection.exp
            self._fits.add(context.root_uuid)
        with self._connection.guard("params"):
            values = estimator.get_params()
            params = {name: value if _is_plain(value) else str(value) for name, value in values.items()}
            exp.add_params({"estimator": {"class": type(estimator).__name__, **params}}, lenient=True)

    def teardown(self, estimator: Any, context: Any) -> None:
        """Close an experiment that was made here, with the last fit that goes on."""
        with _beginning_or_ending:
            self._fits.discard(context.root_uuid)
            if not self._fits:
                self._connection.close()

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Take the time."""
        self._began[_key(context)] = time.monotonic()

    def on_fit_task_end(
        self,
        estimator: Any,
        context: Any,
        *,
        X: Any = None,  # noqa: N803 - scikit-learn passes what has this name
        y: Any = None,
        metadata: Any = None,
        fitted_estimator: Any = None,
    ) -> None:
        """Log a task."""
        with self._connection.guard("a task"):
            began = self._began.pop(_key(context), None)
            name, around = f"{context.estimator_name}/{context.task_name}", _numbers(context.parent)
            if self._connection.is_repeated(context.root_uuid, (name, *_numbers(context))):
                return
            log = self._connection.log.at(task=".".join(around)) if around else self._connection.log
            duration = None if began is None else time.monotonic() - began
            log(name, {"duration_s": duration}, step=context.task_id)
            if self._scoring is not None and hasattr(fitted_estimator, "predict"):
                scorer = framework("sklearn.metrics", least="1.9", below="2").check_scoring(fitted_estimator, self._scoring)
                scores = scorer(fitted_estimator, X, y, **(metadata or {}))
                log.sub(name)({score: float(value) for score, value in scores.items()}, step=context.task_id)


def _key(context: Any) -> tuple[Any, ...]:
    return context.root_uuid, *_numbers(context)


def _numbers(context: Any) -> list[str]:
    """Return the numbers of a task and of those around it among their siblings, the outermost first."""
    numbers: list[str] = []
    while context is not None:
        numbers.insert(0, str(context.task_id))
        context = context.parent
    return numbers
