"""What mlv costs a framework per step, beside the framework's own logger; rows of what is not installed are left out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter
from types import SimpleNamespace
from typing import Any

from benchmarks.figures import Figure, ratio
from benchmarks.measuring import ACC, LOSS, LR, folder, in_turn

Step = Callable[[int], object]
_WANDB = "W&B offline"


def frameworks(quick: bool) -> list[Figure]:
    """A step with three metrics and an epoch, as each framework hands it to its loggers."""
    count, repetitions = (1_000, 4) if quick else (5_000, 12)
    figures = []
    for library, steps_of in (
        ("lightning", _lightning),
        ("transformers", _transformers),
        ("accelerate", _accelerate),
        ("keras", _keras),
        ("stable_baselines3", _stable_baselines3),
        ("ignite", _ignite),
    ):
        if find_spec(library) is None or find_spec("tensorboard") is None:
            continue
        with folder() as place, _offline(place):
            ours, theirs = steps_of(place)
            for logger, step in theirs.items():
                is_wandb = logger.startswith(_WANDB)
                steps = count // 5 if is_wandb else count
                measured = in_turn(_spent(step, steps), _spent(ours, steps), repetitions)
                figures.append(ratio(f"a step beside {logger}", "us", *map(median, measured), 0.1 if is_wandb else 0.5))
    return figures


@contextmanager
def _offline(place: Path) -> Iterator[None]:
    """Have W&B, where it is installed, write below a folder; its run ends with the block."""
    os.environ.update(WANDB_MODE="offline", WANDB_DIR=str(place), WANDB_SILENT="true", WANDB_CONSOLE="off")
    with redirect_stdout(sys.stderr):  # stdout is for figures
        yield
        if wandb := sys.modules.get("wandb"):
            wandb.finish()


def _spent(step: Step, count: int) -> Callable[[], float]:
    """Return a function that makes steps, and returns the microseconds that one takes."""
    steps = iter(range(10**9))

    def spent() -> float:
        began = perf_counter()
        for _ in range(count):
            step(next(steps))
        return (perf_counter() - began) / count * 1e6

    return spent


def _lightning(place: Path) -> tuple[Step, dict[str, Step]]:
    from lightning.pytorch.loggers import CSVLogger, WandbLogger

    from mlv.integrations.lightning import Logger

    def step_of(logger: Any) -> Step:
        def step(number: int) -> None:  # the trainer saves after each call
            logger.log_metrics(metrics={"loss": LOSS, "acc": ACC, "lr": LR, "epoch": number // 1000}, step=number)
            logger.save()

        return step

    theirs = {"Lightning's CSVLogger": step_of(CSVLogger(str(place), "theirs"))}
    if find_spec("wandb"):
        theirs[f"{_WANDB}, by Lightning's WandbLogger"] = step_of(WandbLogger(save_dir=place, offline=True))
    return step_of(Logger(place, "ours", capture=())), theirs


def _transformers(place: Path) -> tuple[Step, dict[str, Step]]:
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations.integration_utils import TensorBoardCallback, WandbCallback

    from mlv.integrations.transformers import Callback

    args = SimpleNamespace(output_dir=str(place), run_name=None)

    def step_of(callback: Any) -> Step:
        def step(number: int) -> None:
            state = SimpleNamespace(is_world_process_zero=True, global_step=number)
            callback.on_log(args, state, None, logs={"loss": LOSS, "acc": ACC, "lr": LR, "epoch": number / 1000})

        return step

    theirs = {"TensorBoard's callback of transformers": step_of(TensorBoardCallback(SummaryWriter(place / "theirs")))}
    if find_spec("wandb"):
        import wandb

        wandb.init()
        callback = WandbCallback()
        callback._initialized = True  # it would ask a model for its configuration
        theirs[f"{_WANDB}, by the callback of transformers"] = step_of(callback)
    return step_of(Callback(place, "ours", capture=())), theirs


def _accelerate(place: Path) -> tuple[Step, dict[str, Step]]:
    from accelerate import Accelerator
    from accelerate.tracking import TensorBoardTracker, WandBTracker

    from mlv.integrations.accelerate import Tracker

    Accelerator(cpu=True)  # all ask it which process this is

    def step_of(tracker: Any) -> Step:
        tracker.start()
        return lambda number: tracker.log({"loss": LOSS, "acc": ACC, "lr": LR, "epoch": number // 1000}, step=number)

    theirs = {"TensorBoard's tracker of Accelerate": step_of(TensorBoardTracker("theirs", place))}
    if find_spec("wandb"):
        theirs[f"{_WANDB}, by the tracker of Accelerate"] = step_of(WandBTracker("theirs"))
    return step_of(Tracker(place, "ours", capture=())), theirs


def _keras(place: Path) -> tuple[Step, dict[str, Step]]:
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

    theirs = {"CSVLogger of Keras": step_of(keras.callbacks.CSVLogger(str(place / "theirs.csv")))}
    if find_spec("wandb") and find_spec("tensorflow"):  # W&B's callback imports both
        import wandb
        from wandb.integration.keras import WandbMetricsLogger

        wandb.init()
        theirs[f"{_WANDB}, by its callback for Keras"] = step_of(WandbMetricsLogger())
    return step_of(Callback(place, "ours", capture=())), theirs


def _stable_baselines3(place: Path) -> tuple[Step, dict[str, Step]]:
    from stable_baselines3.common.logger import CSVOutputFormat

    from mlv.integrations.stable_baselines3 import Writer

    values = {"train/loss": LOSS, "rollout/acc": ACC, "train/lr": LR, "time/iterations": 1}
    excluded = dict.fromkeys(values, ())

    def step_of(writer: Any) -> Step:
        return lambda number: writer.write(values, excluded, number)

    # W&B has no output of its own here: it reads the files of TensorBoard.
    theirs = {"CSV of Stable-Baselines3": step_of(CSVOutputFormat(str(place / "theirs.csv")))}
    return step_of(Writer(place, "ours", capture=())), theirs


def _ignite(place: Path) -> tuple[Step, dict[str, Step]]:
    from ignite.engine import Engine, Events
    from ignite.handlers import TensorboardLogger, WandBLogger, tensorboard_logger, wandb_logger

    from mlv.integrations.ignite import Logger, OutputHandler

    engine = Engine(lambda *_: None)
    engine.state.output = {"loss": LOSS, "acc": ACC, "lr": LR}

    def step_of(logger: Any, handler_class: Any) -> Step:
        handler = handler_class("train", output_transform=lambda output: output)

        def step(number: int) -> None:
            engine.state.iteration = number
            handler(engine, logger, Events.ITERATION_COMPLETED)

        return step

    tensorboard = TensorboardLogger(log_dir=str(place / "theirs"))
    theirs = {"TensorBoard's logger of Ignite": step_of(tensorboard, tensorboard_logger.OutputHandler)}
    if find_spec("wandb"):
        theirs[f"{_WANDB}, by the logger of Ignite"] = step_of(WandBLogger(), wandb_logger.OutputHandler)
    return step_of(Logger(place, "ours", capture=()), OutputHandler), theirs
