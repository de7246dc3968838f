"""What a step costs with a callback of ours, beside the logger that the library itself has, with the same numbers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.figures import Figure, ratio
from benchmarks.measuring import ACC, LOSS, LR, experiment, folder, in_turn
from mlv import Exp

_BAR = 0.5
_Step = Callable[[int], object]


def callbacks(quick: bool) -> list[Figure]:
    """Of each library that is installed: its own logger, and ours."""
    count, repetitions = (500, 4) if quick else (5_000, 10)
    libraries = {"keras": _keras, "stable_baselines3": _stable_baselines3, "ignite": _ignite}
    figures = []
    for name, pairs in libraries.items():
        if not find_spec(name):
            continue
        with folder() as place, experiment(place) as exp:
            for what, theirs, ours in pairs(place, exp):

                def spent(action: _Step, exp: Exp = exp) -> float:
                    exp.flush()
                    began = perf_counter()
                    for step in range(count):
                        action(step)
                    return (perf_counter() - began) / count * 1e6

                reference, mlv = in_turn(lambda: spent(theirs), lambda: spent(ours), repetitions)  # noqa: B023 - called at once
                figures.append(ratio(what, "us", median(reference), median(mlv), _BAR))
    return figures


def _keras(place: Path, exp: Exp) -> Iterator[tuple[str, _Step, _Step]]:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    from mlv.integrations.keras import Callback

    theirs, ours = keras.callbacks.CSVLogger(str(place / "epochs.csv")), Callback(exp=exp)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    logs = {"loss": LOSS, "acc": ACC, "val_loss": LOSS, "learning_rate": LR}
    for callback in (theirs, ours):
        callback.set_model(model)
        callback.set_params({"epochs": 1, "steps": 1})
        callback.on_train_begin()
    ours.on_epoch_begin(0)
    yield "Keras: an epoch, beside CSVLogger", lambda i: theirs.on_epoch_end(i, logs), lambda i: ours.on_epoch_end(i, logs)
    theirs.on_train_end()


def _stable_baselines3(place: Path, exp: Exp) -> Iterator[tuple[str, _Step, _Step]]:
    from stable_baselines3.common.logger import CSVOutputFormat

    from mlv.integrations.stable_baselines3 import Writer

    theirs, ours = CSVOutputFormat(str(place / "progress.csv")), Writer(exp=exp)
    values = {"rollout/ep_rew_mean": 21.5, "rollout/ep_len_mean": 21.5, "time/fps": 900, "train/loss": LOSS, "train/lr": LR}
    excluded = dict.fromkeys(values, ())
    what = "Stable-Baselines3: a rollout, beside its CSV"
    yield what, lambda i: theirs.write(values, excluded, i), lambda i: ours.write(values, excluded, i)
    theirs.close()


def _ignite(place: Path, exp: Exp) -> Iterator[tuple[str, _Step, _Step]]:
    if not find_spec("tensorboardX"):
        return
    from ignite.engine import Engine, Events
    from ignite.handlers import TensorboardLogger
    from ignite.handlers import tensorboard_logger as tensorboard

    from mlv.integrations.ignite import Logger, OutputHandler

    engine = Engine(lambda *_: None)
    engine.state.output = {"loss": LOSS, "acc": ACC}
    own, logger = TensorboardLogger(log_dir=str(place / "tensorboard")), Logger(exp=exp, trainer=engine)
    options = {"tag": "train", "output_transform": lambda output: output}
    theirs, ours = tensorboard.OutputHandler(**options), OutputHandler(**options)

    def at(step: int) -> Engine:
        engine.state.iteration = step
        return engine

    event = Events.ITERATION_COMPLETED
    what = "Ignite: an iteration, beside TensorBoard"
    yield what, lambda i: theirs(at(i), own, event), lambda i: ours(at(i), logger, event)
    own.close()
