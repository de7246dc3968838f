"""Keras in an experiment: batches trained so far are the step, epochs a coordinate; a fit goes on behind its checkpoint."""

from __future__ import annotations

import os

import pytest
from training import ONLY_OURS, die_and_go_on, is_intact, library, surviving, torch_of_one_thread

import mlv

os.environ.setdefault("KERAS_BACKEND", "torch")
torch_of_one_thread()
library("keras")

pytestmark = ONLY_OURS

MODEL = """
import keras, numpy as np
from mlv.integrations.keras import Callback

X = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
y = X.sum(axis=1, keepdims=True)

def new_model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    return model
"""
FIT = """
class Last(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (last, 2):
            kill()
    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

exp = Exp("runs", "fit", on_exists="open")
start = exp.latest if "models" in os.listdir(exp.path) else None
model = start.load() if start else new_model()
first = int(start.metrics["epoch"]) + 1 if start else 0
model.fit(X, y, batch_size=10, epochs=5, initial_epoch=first, validation_data=(X, y), verbose=0,
          callbacks=[Callback(exp=exp, batch_every=1, save_every=2), Last()])
"""


@pytest.fixture
def scope():
    scope: dict = {}
    exec(MODEL, scope)
    return scope


@pytest.mark.crash
def test_a_fit_goes_on_after_a_kill(tmp_path, monkeypatch):
    """A fit that is killed in epoch 3 goes on with `initial_epoch` from its checkpoint: each batch and epoch is there once."""
    monkeypatch.chdir(tmp_path)

    die_and_go_on(MODEL + FIT, last=3)

    path = tmp_path / "runs" / "fit"
    assert surviving(path, "batch/loss") == [*range(1, 21)]
    assert surviving(path, "val_mae") == surviving(path, "learning_rate") == [4, 8, 12, 16, 20]
    epochs = mlv.Exp.open(path).events("metrics")
    assert [(event.step, event.at["epoch"]) for event in epochs if "val_loss" in event.data][:3] == [(4, 0), (8, 1), (12, 2)]
    assert is_intact(path)


def test_epochs_checkpoints_and_evaluations(scope, tmp_path):
    """The best checkpoint, and the number that stands for a metric, are those of the best epoch; evaluations are apart."""
    from mlv.integrations.keras import Callback

    exp = mlv.Exp(tmp_path, "fit")
    exp.log.describe("val_loss", mode="max", summary="best")
    exp.checkpoints(top=1, metric="val_loss", mode="max")
    model, X, y = scope["new_model"](), scope["X"], scope["y"]
    callback = Callback(exp=exp, save_every=1)
    model.fit(X, y, epochs=3, batch_size=20, validation_data=(X, y), verbose=0, callbacks=[callback])
    result = model.evaluate(X, y, verbose=0, callbacks=[callback], return_dict=True)
    model.fit(X, y, epochs=1, batch_size=20, verbose=0, callbacks=[callback])

    assert (exp.best.step, exp.best.metrics["epoch"], exp.latest.step) == (2, 0, 8)
    assert exp.latest.load().optimizer.iterations == 8
    assert exp.summary()["val_loss"].value == exp.summary()["val_loss"].max > exp.summary()["val_loss"].last
    assert exp.summary()["test/loss"].last == pytest.approx(result["loss"])
    assert surviving(exp.path, "loss") == [2, 4, 6, 8]
    assert (exp["optimizer"]["class"], exp["optimizer"]["beta_1"]) == ("Adam", 0.9)
    exp.close()


def test_an_experiment_that_is_made_is_closed(scope, tmp_path):
    """With `savedir` and `name` an experiment is made and closed with the fit; the same callback goes on in it."""
    from mlv.integrations.keras import Callback

    callback = Callback(savedir=tmp_path, name="fit", params={"seed": 1})
    model = scope["new_model"]()
    for _ in range(2):
        model.fit(scope["X"], scope["y"], batch_size=40, verbose=0, callbacks=[callback])

    exp = mlv.Exp.open(tmp_path / "fit")
    assert surviving(exp.path, "loss") == [1, 2]
    assert ({run.status for run in exp.runs} - {"ended"}, exp["seed"]) == ({"ok"}, 1)
    with pytest.raises(mlv.InvalidArgument, match="save_every=0"):
        Callback(exp=exp, save_every=0)


def test_a_list_of_callbacks_is_used_again(scope, tmp_path):
    """A `CallbackList` that a script hands to one fit after the other has all of them logged, and warns of nothing."""
    keras, model = scope["keras"], scope["new_model"]()
    with mlv.Exp(tmp_path, "fit") as exp:
        each = [scope["Callback"](exp=exp)]
        callbacks = keras.callbacks.CallbackList(each, add_history=True, model=model, epochs=1, steps=4, verbose=0)
        for _ in range(2):
            model.fit(scope["X"], scope["y"], batch_size=10, epochs=1, verbose=0, callbacks=callbacks)

    assert surviving(exp.path, "loss") == [4, 8]
    assert not list(exp.events("message"))


def test_a_fit_whose_gradients_are_accumulated_goes_on(scope, tmp_path):
    """Where only every third batch updates the weights, the next fit goes on behind all batches, and supersedes none."""
    model, keras = scope["new_model"](), scope["keras"]
    model.compile(keras.optimizers.Adam(gradient_accumulation_steps=3), "mse")
    with mlv.Exp(tmp_path, "fit") as exp:
        for _ in range(2):
            model.fit(scope["X"], scope["y"], batch_size=10, verbose=0, callbacks=[scope["Callback"](exp=exp, batch_every=1)])

    assert surviving(exp.path, "batch/loss") == [*range(1, 9)]
    assert surviving(exp.path, "loss") == [4, 8]
