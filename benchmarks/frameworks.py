"""What mlv costs a framework per step, beside the framework's own logger; rows of what is not installed are left out."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter
from types import SimpleNamespace
from typing import Any

from benchmarks.figures import Figure, ratio
from benchmarks.measuring import ACC, LOSS, LR, folder, in_turn

Step = Callable[[int], object]


def frameworks(quick: bool) -> list[Figure]:
    """A step with three metrics and an epoch, as each framework hands it to its loggers."""
    count, repetitions = (1_000, 4) if quick else (5_000, 12)
    figures = []
    for library, what, pair in (
        ("lightning", "Lightning's CSVLogger", _lightning),
        ("transformers", "TensorBoard's callback of transformers", _transformers),
        ("accelerate", "TensorBoard's tracker of Accelerate", _accelerate),
        ("keras", "CSVLogger of Keras", _keras),
        ("stable_baselines3", "CSV of Stable-Baselines3", _stable_baselines3),
        ("ignite", "TensorBoard's logger of Ignite", _ignite),
    ):
        if find_spec(library) is None or find_spec("tensorboard") is None:
            continue
        with folder() as place:
            theirs, ours = pair(place)
            measured = in_turn(_spent(theirs, count), _spent(ours, count), repetitions)
            figures.append(ratio(f"a step beside {what}", "us", *map(median, measured), 0.5))
    return figures


def _spent(step: Step, count: int) -> Callable[[], float]:
    """Return a function that makes steps, and returns the microseconds that one takes."""
    steps = iter(range(10**9))

    def spent() -> float:
        began = perf_counter()
        for _ in range(count):
            step(next(steps))
        return (perf_counter() - began) / count * 1e6

    return spent


def _lightning(place: Path) -> tuple[Step, Step]:
    from lightning.pytorch.loggers import CSVLogger

    from mlv.integrations.lightning import Logger

    def step_of(logger: Any) -> Step:
        def step(number: int) -> None:  # the trainer saves after each call
            logger.log_metrics(metrics={"loss": LOSS, "acc": ACC, "lr": LR, "epoch": number // 1000}, step=number)
            logger.save()

        return step

    return step_of(CSVLogger(str(place), "theirs")), step_of(Logger(place, "ours", capture=()))


def _transformers(place: Path) -> tuple[Step, Step]:
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations.integration_utils import TensorBoardCallback

    from mlv.integrations.transformers import Callback

    args = SimpleNamespace(output_dir=str(place), run_name=None)

    def step_of(callback: Any) -> Step:
        def step(number: int) -> None:
            state = SimpleNamespace(is_world_process_zero=True, global_step=number)
            callback.on_log(args, state, None, logs={"loss": LOSS, "acc": ACC, "lr": LR, "epoch": number / 1000})

        return step

    return step_of(TensorBoardCallback(SummaryWriter(place / "theirs"))), step_of(Callback(place, "ours", capture=()))


def _accelerate(place: Path) -> tuple[Step, Step]:
    from accelerate import Accelerator
    from accelerate.tracking import TensorBoardTracker

    from mlv.integrations.accelerate import Tracker

    Accelerator(cpu=True)  # both ask it which process this is

    def step_of(tracker: Any) -> Step:
        tracker.start()
        return lambda number: tracker.log({"loss": LOSS, "acc": ACC, "lr": LR, "epoch": number // 1000}, step=number)

    return step_of(TensorBoardTracker("theirs", place)), step_of(Tracker(place, "ours", capture=()))


def _keras(place: Path) -> tuple[Step, Step]:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    from mlv.integrations.keras import Callback

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")

    def step_of(callback: Any) -> Step:
        callback.set_model(model)
        callback.set_params({"epochs": 1, "steps": 1})
        callback.on_train_begin()

        def step(number: int) -> None:
            callback.on_epoch_begin(number)
            callback.on_epoch_end(number, {"loss": LOSS, "acc": ACC, "learning_rate": LR})

        return step

    return step_of(keras.callbacks.CSVLogger(str(place / "theirs.csv"))), step_of(Callback(place, "ours", capture=()))


def _stable_baselines3(place: Path) -> tuple[Step, Step]:
    from stable_baselines3.common.logger import CSVOutputFormat

    from mlv.integrations.stable_baselines3 import Writer

    values = {"train/loss": LOSS, "rollout/acc": ACC, "train/lr": LR, "time/iterations": 1}
    excluded = dict.fromkeys(values, ())

    def step_of(writer: Any) -> Step:
        return lambda number: writer.write(values, excluded, number)

    return step_of(CSVOutputFormat(str(place / "theirs.csv"))), step_of(Writer(place, "ours", capture=()))


def _ignite(place: Path) -> tuple[Step, Step]:
    from ignite.engine import Engine, Events
    from ignite.handlers import TensorboardLogger, tensorboard_logger

    from mlv.integrations.ignite import Logger, OutputHandler

    engine = Engine(lambda *_: None)
    engine.state.output = {"loss": LOSS, "acc": ACC, "lr": LR}

    def step_of(logger: Any, handler_class: Any) -> Step:
        handler = handler_class("train", output_transform=lambda output: output)

        def step(number: int) -> None:
            engine.state.iteration = number
            handler(engine, logger, Events.ITERATION_COMPLETED)

        return step

    theirs = TensorboardLogger(log_dir=str(place / "theirs"))
    return step_of(theirs, tensorboard_logger.OutputHandler), step_of(Logger(place, "ours", capture=()), OutputHandler)
