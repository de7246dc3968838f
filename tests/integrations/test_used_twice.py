"""A callback that is used twice, and two on one experiment: each integration logs each event once, and says so once."""

from __future__ import annotations

import os
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
from training import ONLY_OURS, library, torch_of_one_thread

import mlv

pytestmark = ONLY_OURS
TRAININGS: dict[str, Any] = {}
"""By the name of its integration, what makes a callback for an experiment, and what trains with a list of them."""


def training(function):
    TRAININGS[function.__name__] = function
    return function


@training
def keras():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    torch_of_one_thread()
    library("keras")
    import keras
    import numpy as np

    from mlv.integrations.keras import Callback

    def train(callbacks):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        X = np.ones((4, 1), np.float32)
        for _ in range(2):
            model.fit(X, X, batch_size=2, epochs=1, verbose=0, callbacks=callbacks)
        model.evaluate(X, X, verbose=0, callbacks=callbacks)

    return lambda exp: Callback(exp=exp, batch_every=1, save_every=1), train


@training
def lightning():
    torch_of_one_thread()
    library("lightning.pytorch")
    from lightning.pytorch import Trainer
    from lightning.pytorch.demos.boring_classes import BoringModel

    from mlv.integrations.lightning import Logger

    class Model(BoringModel):
        def training_step(self, batch, index):
            loss = self.step(batch)
            self.log("loss", loss)
            return loss

    def train(loggers):
        trainer = Trainer(
            max_epochs=2, limit_train_batches=2, limit_val_batches=0, log_every_n_steps=1, logger=loggers,
            accelerator="cpu", enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(Model())

    return lambda exp: Logger(exp=exp), train


@training
def fabric():
    torch_of_one_thread()
    library("lightning.pytorch")
    from lightning.fabric import Fabric

    from mlv.integrations.lightning import Logger

    def train(loggers):
        fabric = Fabric(accelerator="cpu", loggers=loggers)
        row: dict[str, float] = {}
        for step in range(3):
            row["loss"] = 1.0 / (step + 1)
            fabric.log_dict(row, step)

    return lambda exp: Logger(exp=exp), train


@training
def transformers():
    torch_of_one_thread()
    library("transformers")
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

    from mlv.integrations.transformers import Callback

    config = BertConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=8,
    )  # fmt: skip
    data = [{"input_ids": [1, 2, 3], "labels": 0}] * 4

    def train(callbacks):
        args = TrainingArguments(
            output_dir="trainer", use_cpu=True, report_to="none", logging_steps=1, num_train_epochs=1, save_strategy="epoch",
            per_device_train_batch_size=2, disable_tqdm=True,
        )  # fmt: skip
        model = BertForSequenceClassification(config)
        trainer = Trainer(model, args, train_dataset=data, eval_dataset=data, callbacks=callbacks)
        trainer.train()
        trainer.evaluate()

    return lambda exp: Callback(exp=exp), train


@training
def accelerate():
    torch_of_one_thread()
    library("accelerate")
    from accelerate import Accelerator

    from mlv.integrations.accelerate import Tracker

    def train(trackers):
        accelerator = Accelerator(cpu=True, log_with=trackers)
        accelerator.init_trackers("project", {"lr": 0.1})
        for step in range(3):
            accelerator.log({"loss": 1.0}, step=step)
        accelerator.end_training()

    return lambda exp: Tracker(exp=exp), train


@training
def xgboost():
    library("xgboost")
    import numpy as np
    import xgboost

    from mlv.integrations.xgboost import Callback

    def train(callbacks):
        X = np.arange(20.0).reshape(10, 2)
        data = xgboost.DMatrix(X, X[:, 0])
        for _ in range(2):
            xgboost.train({"nthread": 1}, data, 2, evals=[(data, "train")], verbose_eval=False, callbacks=callbacks)

    return lambda exp: Callback(exp=exp, save_every=1), train


@training
def lightgbm():
    library("lightgbm")
    import lightgbm
    import numpy as np

    from mlv.integrations.lightgbm import Callback

    def train(callbacks):
        X = np.arange(40.0).reshape(20, 2)
        params = {"num_threads": 1, "verbosity": -1, "min_data_in_leaf": 2}
        model = None
        for _ in range(2):
            data = lightgbm.Dataset(X, X[:, 0], free_raw_data=False)
            model = lightgbm.train(params, data, 2, valid_sets=[data], init_model=model, callbacks=callbacks)

    return lambda exp: Callback(exp=exp, save_every=1), train


@training
def catboost():
    library("catboost")
    import catboost

    from mlv.integrations.catboost import Callback

    def train(callbacks):
        model = catboost.CatBoostRegressor(iterations=3, verbose=False, allow_writing_files=False, thread_count=1)
        model.fit([[0.0], [1.0], [2.0], [3.0]], [0.0, 1.0, 2.0, 3.0], callbacks=callbacks)

    return lambda exp: Callback(exp=exp), train


@training
def sklearn():
    library("sklearn")
    pytest.importorskip("sklearn.callback", reason="scikit-learn has no callbacks yet")
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    from mlv.integrations.sklearn import Callback

    def train(callbacks):
        LogisticRegression(max_iter=3).set_callbacks(*callbacks).fit(*load_iris(return_X_y=True))

    return lambda exp: Callback(exp=exp, scoring="accuracy"), train


@training
def skorch():
    torch = torch_of_one_thread()
    library("skorch")
    from skorch import NeuralNetRegressor

    from mlv.integrations.skorch import Callback

    def train(callbacks):
        X = torch.ones(4, 1)
        net = NeuralNetRegressor(torch.nn.Linear(1, 1), max_epochs=2, train_split=None, verbose=0, callbacks=callbacks)
        net.fit(X, X)

    return lambda exp: Callback(exp=exp, save_every=1), train


@training
def optuna():
    library("optuna")
    import optuna

    from mlv.integrations.optuna import Callback

    def train(callbacks):
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study()
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3, callbacks=callbacks)

    return lambda exp: Callback(exp=exp), train


@training
def hydra():
    library("hydra")
    from omegaconf import OmegaConf

    from mlv.integrations.hydra import Callback

    def train(callbacks):
        runtime = {"overrides": {"task": ["lr=1"]}, "runtime": {"output_dir": "."}, "job": {"num": 0}}
        config = OmegaConf.create({"lr": 1, "hydra": runtime})
        result = SimpleNamespace(_return_value=0.5, status=SimpleNamespace(name="COMPLETED"))
        for callback in callbacks:
            callback.on_job_start(config, task_function=None)
        for callback in callbacks:
            callback.on_job_end(config, result)
        assert "MLV_EXP" not in os.environ

    return lambda exp: Callback(exp=exp), train


@training
def ignite():
    torch = torch_of_one_thread()
    library("ignite.metrics")
    from ignite.engine import Engine, Events

    from mlv.integrations.ignite import Logger

    def train(loggers):
        trainer, evaluator = Engine(lambda engine, batch: batch), Engine(lambda engine, batch: batch)
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run([1.0]))
        for logger in loggers:
            logger.trainer = trainer
            logger.attach_output_handler(trainer, Events.ITERATION_COMPLETED, "train", output_transform=lambda output: output)
            logger.attach_output_handler(evaluator, Events.COMPLETED, "val", output_transform=lambda output: output)
            logger.attach_opt_params_handler(trainer, Events.EPOCH_STARTED, optimizer)
        trainer.run([1.0, 1.0], max_epochs=3)

    return lambda exp: Logger(exp=exp), train


@training
def ray():
    library("ray.tune")
    from ray.tune.callback import CallbackList

    from mlv.integrations.ray import Callback

    def train(callbacks):
        tuned = CallbackList(callbacks)
        tuned.setup()
        other = SimpleNamespace(checkpoint=object(), metrics={"trial_id": "other"})
        trial = SimpleNamespace(
            trial_id="abc_00000", config={"lr": 1}, latest_checkpoint_result=other, last_result={"loss": 1.0}, error_file=None
        )
        of_trial: dict[str, Any] = {"trials": [trial], "trial": trial}
        for iteration in (1, 2, 3):
            tuned.on_trial_start(iteration=iteration, **of_trial)
            tuned.on_trial_result(iteration=iteration, result={"training_iteration": iteration, "loss": 1.0}, **of_trial)
            if iteration < 3:
                tuned.on_trial_recover(iteration=iteration, **of_trial)
        tuned.on_trial_complete(iteration=3, **of_trial)
        tuned.on_experiment_end(trials=[trial])

    return lambda exp: Callback(exp=exp), train


@training
def ray_train():
    library("ray.train")
    from mlv.integrations.ray import TrainCallback

    def train(callbacks):
        config = SimpleNamespace(name="fit", storage_path="/storage")
        context = SimpleNamespace(run_config=config, train_loop_config={"lr": 1})
        for number in range(3):
            metrics = [{"loss": 1.0}]
            for callback in callbacks:
                callback.after_report(context, metrics, None)
            error = ValueError("unlucky")
            for callback in callbacks if number == 1 else ():
                callback.after_exception(context, {0: error})

    return lambda exp: TrainCallback(exp=exp), train


@training
def stable_baselines3():
    torch_of_one_thread()
    library("stable_baselines3")
    from stable_baselines3 import PPO

    from mlv.integrations.stable_baselines3 import Callback

    def train(callbacks):
        model = PPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8, n_epochs=1, seed=0)
        model.learn(24, callback=callbacks)

    return lambda exp: Callback(exp=exp, save_every=16), train


@training
def stable_baselines3_writer():
    torch_of_one_thread()
    library("stable_baselines3")
    from stable_baselines3.common.logger import Logger

    from mlv.integrations.stable_baselines3 import Writer

    def train(writers):
        logger = Logger(None, writers)
        for step in range(1, 4):
            logger.record("loss", 1.0)
            logger.record("note", "same")
            logger.dump(step)

    return lambda exp: Writer(exp=exp), train


SILENT = {("lightgbm", "one"), ("xgboost", "one")}
"""Both keep callbacks in a set, where one is not twice."""


def kept(exp):
    """What is in the logs, without values, which differ from time to time; a rewind to where a log stands changes nothing."""
    every = [event for each in (exp, *exp.sub_exps) for event in each.events()]
    told = [event for event in every if "two callbacks" in str(event.data.get("message"))]
    events = [event for event in every if event.type not in ("run_started", "rewound") and event not in told]
    return [(event.type, event.name, event.step, sorted(event.data), sorted(event.at or ())) for event in events]


@pytest.mark.parametrize("number", ["one", "two"])
@pytest.mark.parametrize("name", TRAININGS)
def test_each_event_is_logged_once(name, number, tmp_path, monkeypatch):
    """One callback that is in the list twice, or two of one experiment, leave what one leaves, and one warning."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLV_INLINE", "1")
    new, train = TRAININGS[name]()
    with mlv.Exp("runs", "once") as exp:
        train([new(exp)])
        once = kept(exp)
    with mlv.Exp("runs", "twice") as exp, warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always", mlv.MlvWarning)
        callback = new(exp)
        train([callback, callback if number == "one" else new(exp)])
        twice = kept(exp)

    assert twice == once
    assert len(once) > 2
    told = [str(warning.message) for warning in shown if issubclass(warning.category, mlv.MlvWarning)]
    assert ["two callbacks" in text for text in told] == [True] * ((name, number) not in SILENT)


ROWS: dict[str, Any] = {}
"""By the name of its integration, what makes a logger, and what makes a function that logs a row to a list of them."""


def rows(function):
    ROWS[function.__name__.removesuffix("_rows")] = function
    return function


@rows
def lightning_rows():
    library("lightning.pytorch")
    from mlv.integrations.lightning import Logger

    def start(loggers):
        return lambda row, step: [logger.log_metrics(row, step=step) for logger in loggers]

    return lambda exp: Logger(exp=exp), start


@rows
def accelerate_rows():
    torch_of_one_thread()
    library("accelerate")
    from accelerate import Accelerator

    from mlv.integrations.accelerate import Tracker

    def start(trackers):
        accelerator = Accelerator(cpu=True, log_with=trackers)
        accelerator.init_trackers("project")
        return lambda row, step: accelerator.log(row, step=step)

    return lambda exp: Tracker(exp=exp), start


@rows
def stable_baselines3_rows():
    torch_of_one_thread()
    library("stable_baselines3")
    from stable_baselines3.common.logger import Logger

    from mlv.integrations.stable_baselines3 import Writer

    def start(writers):
        logger = Logger(None, writers)

        def log(row, step):
            for name, value in row.items():
                logger.record(name, value)
            logger.dump(step)

        return log

    return lambda exp: Writer(exp=exp), start


@rows
def keras_rows():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    torch_of_one_thread()
    library("keras")
    from mlv.integrations.keras import Callback

    def start(callbacks):
        return lambda row, _: [callback.on_test_end(row) for callback in callbacks]  # of a loop of the user's

    return lambda exp: Callback(exp=exp), start


@pytest.mark.parametrize("number", ["single", "one", "two"])
@pytest.mark.parametrize("name", ROWS)
def test_equal_rows_are_all_kept(name, number, tmp_path, monkeypatch):
    """A script may log one mapping at one step again, with the same values or others: each time it is another event."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLV_INLINE", "1")
    new, start = ROWS[name]()
    with mlv.Exp("runs", "rows") as exp, warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always", mlv.MlvWarning)
        logger, row = new(exp), {"loss": 0.0}
        log = start({"single": [logger], "one": [logger, logger], "two": [logger, new(exp)]}[number])
        for step, loss in ((0, 0.0), (0, 0.0), (0, 1.0), (1, 1.0), (1, 1.0)):
            row["loss"] = loss
            log(row, step)
        values = [value for event in exp.events("metrics") for value in event.data.values()]

    assert values == [0.0, 0.0, 1.0, 1.0, 1.0]
    told = [str(warning.message) for warning in shown if issubclass(warning.category, mlv.MlvWarning)]
    assert ["two callbacks" in text for text in told] == [True] * (number != "single")


@pytest.mark.parametrize("name", ["lightning", "stable_baselines3"])
def test_trainings_one_after_the_other_may_be_equal(name, tmp_path, monkeypatch):
    """A training that another logger of the experiment logs, after the end of one with the same values, is all kept."""
    monkeypatch.setenv("MLV_INLINE", "1")
    new, _ = ROWS[name]()
    with mlv.Exp(tmp_path, "rows") as exp:
        row = {"loss": 0.0}
        for logger in (new(exp), new(exp)):
            if name == "lightning":
                logger.log_metrics(row, step=3)
                logger.finalize("success")
            else:
                logger.write(row, {"loss": None}, 3)
                logger.close()
        assert exp.summary()["loss"].count == 2


def test_two_loggers_may_share_a_mapping(tmp_path, monkeypatch):
    """Two loggers of one experiment that a script calls in turn keep what it put into one mapping for each."""
    monkeypatch.setenv("MLV_INLINE", "1")
    new, _ = ROWS["lightning"]()
    with mlv.Exp(tmp_path, "rows") as exp:
        row: dict[str, float] = {}
        for number, logger in enumerate((new(exp), new(exp))):
            row["loss"] = float(number)
            logger.log_metrics(row, step=3)
        assert [event.data["loss"] for event in exp.events("metrics")] == [0.0, 1.0]
