"""Boosting in an experiment: rounds are steps, also over a kill; cross-validation has a mean and a deviation."""

from __future__ import annotations

from pathlib import Path

import pytest
from training import die_and_go_on, is_intact, surviving

import mlv

np = pytest.importorskip("numpy")

DATA = """
import numpy as np
X = np.random.default_rng(0).normal(size=(200, 4))
y = (X[:, 0] + X[:, 1] ** 2 > 0).astype(int)
"""
XGBOOST = """
import xgboost
from mlv.integrations.xgboost import Callback

class Last(xgboost.callback.TrainingCallback):
    def after_iteration(self, model, epoch, evals_log):
        if epoch == last:
            kill()

data, model = xgboost.DMatrix(X, y), start and str(start.path)
options = {"callbacks": [Callback(exp=exp, save_every=3), Last()], "verbose_eval": False}
xgboost.train({"max_depth": 2}, data, 12 - first, evals=[(data, "train")], xgb_model=model, **options)
"""
LIGHTGBM = """
import lightgbm
from mlv.integrations.lightgbm import Callback

def end(env):
    if env.iteration == last:
        kill()
end.order = 25

data, model = lightgbm.Dataset(X, y, free_raw_data=False), start and str(start.path)
callbacks = [Callback(exp=exp, save_every=3), end]
settings = {"verbose": -1, "metric": "l2", "num_threads": 1}
lightgbm.train(settings, data, 12 - first, [data], ["train"], callbacks=callbacks, init_model=model)
"""
CATBOOST = """
import catboost
from mlv.integrations.catboost import Callback

class Last:
    def after_iteration(self, info):
        if info.iteration - 1 == last:
            kill()
        return True

model = catboost.CatBoostRegressor(iterations=12, verbose=False, train_dir="catboost", thread_count=1)
options = {"save_snapshot": True, "snapshot_file": "snapshot", "snapshot_interval": 0}
model.fit(X, y, callbacks=[Callback(exp=exp, model=model), Last()], **options)
"""
METRICS = {"xgboost": "train/rmse", "lightgbm": "train/l2", "catboost": "learn/RMSE"}
SCRIPTS = {"xgboost": XGBOOST, "lightgbm": LIGHTGBM, "catboost": CATBOOST}
TRAINING = """
exp = Exp("runs", "fit", on_exists="open")
start = exp.latest if "models" in os.listdir(exp.path) else None
first = start.step + 1 if start else 0
"""


@pytest.fixture
def data():
    values = np.random.default_rng(0).normal(size=(60, 3))
    return values, (values[:, 0] > 0).astype(int)


@pytest.mark.crash
@pytest.mark.parametrize("library", METRICS)
def test_rounds_go_on_after_a_kill(library, python, tmp_path, monkeypatch):
    """A training that is killed and goes on from its checkpoint has each round once, in order; so has the log."""
    pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)

    die_and_go_on(DATA + TRAINING + SCRIPTS[library], last=7, python=python)

    path = tmp_path / "runs" / "fit"
    assert surviving(path, METRICS[library]) == [*range(12)]
    assert [*mlv.Exp.open(path).events(["params_changed", "message"])] == []
    assert is_intact(path)


def test_xgboost_logs_settings_and_early_stopping(data, tmp_path):
    """How a model is trained is a param, by the names of XGBoost; where it stopped is a summary; a model can be saved."""
    xgboost = pytest.importorskip("xgboost")
    from mlv.integrations.xgboost import Callback

    callback = Callback(savedir=tmp_path, name="fit", params={"seed": 1}, save_every=100)
    model = xgboost.XGBClassifier(n_estimators=50, learning_rate=0.9, early_stopping_rounds=2, callbacks=[callback])
    model.fit(*data, eval_set=[(data[0], 1 - data[1])], verbose=False)

    exp = mlv.Exp.open(tmp_path / "fit")
    [summary] = exp.events("summary")
    assert summary.data == {"best_iteration": model.best_iteration, "best_score": pytest.approx(model.best_score)}
    assert exp.latest.step == exp.summary()["validation_0/logloss"].count - 1
    assert (exp["seed"], exp["xgboost"]["objective"], exp["xgboost"]["learning_rate"]) == (1, "binary:logistic", 0.9)
    assert xgboost.Booster(model_file=exp.latest.path).num_boosted_rounds() == exp.latest.step + 1
    assert [run.status for run in exp.runs] == ["ok"]


def test_copies_of_an_estimator_share_an_experiment(data, tmp_path):
    """A search copies an estimator with its callback: all fits are in the experiment that is made here, and each ends well."""
    xgboost, selection = pytest.importorskip("xgboost"), pytest.importorskip("sklearn.model_selection")
    from mlv.integrations.xgboost import Callback

    estimator = xgboost.XGBRegressor(n_estimators=2, n_jobs=1, callbacks=[Callback(tmp_path, "search")])
    selection.GridSearchCV(estimator, {"subsample": [1.0]}, cv=2, refit=False).fit(*data)

    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["search"]
    assert [run.status for run in mlv.Exp.open(tmp_path / "search").runs] == ["ok", "ok"]


def test_cross_validation_has_mean_and_deviation(data, tmp_path):
    """Of each metric of `cv`, the mean and the deviation over folds are two metrics, under the framework's names."""
    exp = mlv.Exp(tmp_path, "cv")
    if xgboost := _library("xgboost"):
        from mlv.integrations.xgboost import Callback

        xgboost.cv({}, xgboost.DMatrix(*data), 3, nfold=2, callbacks=[Callback(exp=exp)])
        assert {"train/rmse-mean", "train/rmse-std", "test/rmse-mean", "test/rmse-std"} <= {*exp.summary()}
    if lightgbm := _library("lightgbm"):
        from mlv.integrations.lightgbm import Callback as LightCallback

        lightgbm.cv({"verbose": -1}, lightgbm.Dataset(*data), 3, nfold=2, callbacks=[LightCallback(exp=exp)])
        assert {"valid/l2-mean", "valid/l2-stdv"} <= {*exp.summary()}
    if catboost := _library("catboost"):
        from mlv.integrations.catboost import log_cv

        settings = {"loss_function": "RMSE", "verbose": False, "allow_writing_files": False}
        log_cv(exp, catboost.cv(catboost.Pool(*data), settings, iterations=3, fold_count=2))
        assert {"test/RMSE-mean", "test/RMSE-std", "train/RMSE-mean"} <= {*exp.summary()}

    assert [name for name, series in exp.summary().items() if (series.count, series.last_step) != (3, 2)] == []
    exp.close()


def test_lightgbm_logs_the_round_that_stops_early(data, tmp_path):
    """The round at which early stopping ends the training is logged; the direction of a metric is described."""
    lightgbm = pytest.importorskip("lightgbm")
    from mlv.integrations.lightgbm import Callback

    callback = Callback(savedir=tmp_path, name="fit")
    train, valid = lightgbm.Dataset(*data), lightgbm.Dataset(data[0], 1 - data[1])
    stopping = lightgbm.early_stopping(2, verbose=False)
    settings = {"verbose": -1, "objective": "binary", "metric": "auc", "eta": 0.5}
    model = lightgbm.train(settings, train, 50, [valid], callbacks=[stopping, callback])
    callback.close()

    exp = mlv.Exp.open(tmp_path / "fit")
    assert exp.summary()["valid_0/auc"].last_step == model.best_iteration + 1
    assert exp["lightgbm"]["eta"] == 0.5
    assert [event.data for event in exp.events("metadata")] == [{"mode": "max"}]


def test_catboost_goes_on_from_a_model(data, tmp_path):
    """With `init_model`, rounds are counted on; a metric that is computed seldom is logged as seldom."""
    catboost = pytest.importorskip("catboost")
    from mlv.integrations.catboost import Callback

    exp = mlv.Exp(tmp_path, "fit")
    options = {"iterations": 4, "verbose": False, "allow_writing_files": False}
    first = catboost.CatBoostRegressor(**options).fit(*data, callbacks=[Callback(exp=exp)])
    second = catboost.CatBoostRegressor(**options, metric_period=2)
    second.fit(*data, eval_set=data, init_model=first, callbacks=[Callback(exp=exp, init_model=first)])

    assert surviving(exp.path, "learn/RMSE")[:5] == [0, 1, 2, 3, 4]
    assert surviving(exp.path, "validation/RMSE") == [4, 6, 7]
    exp.close()
    with pytest.raises(mlv.InvalidArgument, match="init_model is of type str and has no trees"):
        Callback(exp=exp, init_model="model.cbm")


def _library(name: str):
    try:
        return __import__(name)
    except ImportError:
        return None


def test_a_number_of_rounds_is_asked_for(tmp_path: Path):
    """What is no number of rounds is refused before training begins."""
    pytest.importorskip("lightgbm")
    from mlv.integrations.lightgbm import Callback

    with pytest.raises(mlv.InvalidArgument, match="save_every=0"):
        Callback(savedir=tmp_path, save_every=0)


@pytest.mark.filterwarnings("always::mlv.MlvWarning")
@pytest.mark.parametrize("trouble", ["closed", "no folder for models"])
def test_training_goes_on_whatever_becomes_of_the_experiment(trouble, data, tmp_path):
    """With an experiment that is closed, or whose models cannot be saved, training ends as without; few warnings say so."""
    lightgbm = pytest.importorskip("lightgbm")
    from mlv.integrations.lightgbm import Callback

    exp = mlv.Exp(tmp_path, "fit")
    if trouble == "closed":
        exp.close()
    else:
        (exp.path / "models").write_text("in the way")
    dataset, callbacks = lightgbm.Dataset(*data), [Callback(exp=exp, save_every=1)]
    with pytest.warns(mlv.MlvWarning) as warned:
        model = lightgbm.train({"verbose": -1, "num_threads": 1}, dataset, 4, [dataset], callbacks=callbacks)

    assert model.num_trees() == 4
    assert len(warned) <= 3  # of logging, of saving, and of noting that in the log: not one for each round
    exp.close()
