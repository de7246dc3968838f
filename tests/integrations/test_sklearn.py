"""scikit-learn in an experiment: the results of a search, with the spread over folds, and the tasks of a fit."""

from __future__ import annotations

import signal
import warnings

import pytest
from training import DYING, TESTS, is_intact, surviving

import mlv

sklearn = pytest.importorskip("sklearn")
pytest.importorskip("pandas")

from sklearn.datasets import load_iris  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402
from sklearn.pipeline import Pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.svm import SVC  # noqa: E402

from mlv.integrations.sklearn import log_search  # noqa: E402

has_callbacks = pytest.mark.skipif(not hasattr(LogisticRegression, "set_callbacks"), reason="scikit-learn has no callbacks yet")


@pytest.fixture(scope="module")
def search():
    """A search in which the fits of one candidate fail, with two scores."""
    grid = {"C": [0.1, 1.0, -1.0], "gamma": ["scale", 0.1]}
    search = GridSearchCV(SVC(), grid, cv=3, scoring=["accuracy", "f1_macro"], refit="accuracy", return_train_score=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return search.fit(*load_iris(return_X_y=True))


def test_candidates_are_steps_and_folds_a_coordinate(search, tmp_path):
    """What the search has of a candidate stands under the names of scikit-learn; the folds show the spread behind it."""
    with mlv.Exp(tmp_path, "search") as exp:
        log_search(exp, search)

    means = exp.history("mean_test_accuracy")["mean_test_accuracy"]
    folds = exp.history("test_accuracy").groupby("step")["test_accuracy"]
    assert [*means[:4]] == [*search.cv_results_["mean_test_accuracy"][:4]] == pytest.approx([*folds.mean()[:4]])
    assert [*folds.std(ddof=0)[:4]] == pytest.approx(search.cv_results_["std_test_accuracy"][:4])
    assert {"rank_test_f1_macro", "train_f1_macro", "std_fit_time"} <= {*exp.summary()}
    table = exp.tables("cv_results")
    assert [*map(str, table["param_gamma"])] == ["scale", "0.1"] * 3
    [event] = exp.events("event", name="search")
    [summary] = exp.events("summary")
    assert (event.data["best_params"], summary.data["best_index"]) == (search.best_params_, search.best_index_)


def test_candidates_become_sub_experiments(search, tmp_path):
    """On request each candidate is an experiment with its params; one whose every fit failed has failed."""
    results = {name: column[:5] for name, column in search.cv_results_.items()}
    with mlv.Exp(tmp_path, "search") as exp:
        log_search(exp, results, sub_exps=True)

    candidates = exp.sub_exps
    assert [one["C"] for one in candidates] == [0.1, 0.1, 1, 1, -1]
    assert [one.runs[-1].status for one in candidates] == ["ok"] * 4 + ["failed"]
    assert surviving(candidates[0].path, "test_accuracy") == [0, 1, 2]
    assert is_intact(exp.path)


def test_a_search_that_was_not_fitted_is_refused(tmp_path):
    """What has no results is refused at once, with what to give."""
    exp = mlv.Exp(tmp_path, "search")
    with pytest.raises(mlv.InvalidArgument, match="GridSearchCV and has no cv_results_ with params"):
        log_search(exp, GridSearchCV(SVC(), {"C": [1]}))
    exp.close()


@has_callbacks
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_tasks_of_a_fit(n_jobs, tmp_path):
    """Each task leaves one event, whichever process it was in; iterations have scores; an experiment made here is closed."""
    from mlv.integrations.sklearn import Callback

    pipeline = Pipeline([("scale", StandardScaler()), ("model", LogisticRegression())])
    search = GridSearchCV(pipeline, {"model__C": [1.0]}, cv=2, n_jobs=n_jobs)
    search.set_callbacks(Callback(savedir=tmp_path, name="search", scoring="accuracy"))
    search.fit(*load_iris(return_X_y=True))

    exp = mlv.Exp.open(tmp_path / "search")
    fits = exp.frame("event", "StandardScaler/fit")
    assert sorted(fits["task"]) == ["0.0.0", "0.0.1", "0.1"]
    assert (fits["duration_s"] > 0).all()
    scores = exp.history("LogisticRegression/lbfgs-iter/accuracy")
    assert {*scores["task"]} == {"0.0.0.1", "0.0.1.1", "0.1.1"}
    assert all([*steps] == [*range(len(steps))] for _, steps in scores.sort_values("step").groupby("task")["step"])
    assert (exp["estimator"]["class"], exp["estimator"]["cv"], exp.runs[-1].status) == ("GridSearchCV", 2, "ok")


@has_callbacks
def test_clones_share_a_callback(tmp_path):
    """A clone has the callback of its original: when its fit ends while that of the original goes on, nothing is closed."""
    from sklearn.base import clone

    from mlv.integrations.sklearn import Callback

    clones = []

    def accuracy(estimator, X, y):
        if not clones:
            clones.append(clone(model))
            clones[0].fit(X, y)
        return estimator.score(X, y)

    model = LogisticRegression().set_callbacks(Callback(savedir=tmp_path, name="fit", scoring=accuracy))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sklearn.exceptions.ConvergenceWarning)
        model.fit(*load_iris(return_X_y=True))

    exp = mlv.Exp.open(tmp_path / "fit")
    iterations = [*exp.events("event", name="LogisticRegression/lbfgs-iter")]
    assert len([*exp.events("metrics")]) == len(iterations) > 1
    assert [run.status for run in exp.runs] == ["ok"]


@has_callbacks
@pytest.mark.crash
def test_a_fit_that_is_killed(python, tmp_path):
    """The iterations before a kill are in the log, once and in order."""
    script = f"""{TESTS}{DYING}
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from mlv.integrations.sklearn import Callback

class Last(Callback):
    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        super().on_fit_task_end(estimator, context, X=X, y=y, fitted_estimator=fitted_estimator)
        if context.task_id == 4:
            kill()

LogisticRegression().set_callbacks(Last(savedir="runs", name="fit", scoring="accuracy")).fit(*load_iris(return_X_y=True))
"""
    assert python(script).returncode == -signal.SIGKILL

    path = tmp_path / "runs" / "fit"
    assert [event.step for event in mlv.Exp.open(path).events("metrics")] == [0, 1, 2, 3, 4]
    assert is_intact(path)
