"""Ignite: engines share the axis of the trainer's iterations; a trainer goes on behind its checkpoint."""

from __future__ import annotations

import pytest
from training import ONLY_OURS, die_and_go_on, is_intact, library, surviving, torch_of_one_thread

import mlv

pytestmark = ONLY_OURS
torch_of_one_thread()
library("ignite.metrics")

TRAINING = """
import torch
from ignite.engine import Engine, Events
from ignite.handlers import global_step_from_engine
from ignite.metrics import Average
from mlv.integrations.ignite import Logger

weight = torch.nn.Linear(1, 1)
optimizer = torch.optim.SGD(weight.parameters(), lr=0.5)
data = [1.0, 2.0, 3.0]
trainer = Engine(lambda engine, batch: {"loss": batch / engine.state.iteration})
evaluator = Engine(lambda engine, batch: batch)
Average().attach(evaluator, "mean")
trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(data))
"""
FIT = """
exp = Exp("runs", "fit", on_exists="open")
if "models" in os.listdir(exp.path):
    trainer.load_state_dict(exp.latest.load()["trainer"])
logger = Logger(exp=exp, trainer=trainer)
logger.attach_output_handler(trainer, Events.ITERATION_COMPLETED, tag="train", output_transform=lambda output: output)
logger.attach_output_handler(evaluator, Events.COMPLETED, tag="val", metric_names="all")
logger.attach_opt_params_handler(trainer, Events.EPOCH_STARTED, optimizer)

@trainer.on(Events.EPOCH_COMPLETED(every=2))
def save():
    state = {"trainer": trainer.state_dict(), "weight": weight.state_dict()}
    exp.checkpoints().save(state, step=trainer.state.iteration)

@trainer.on(Events.ITERATION_COMPLETED)
def end():
    if trainer.state.iteration == last:
        kill()

trainer.run(data, max_epochs=4)
"""


@pytest.mark.crash
def test_a_trainer_goes_on_after_a_kill(tmp_path, monkeypatch):
    """Of a trainer and an evaluator, each step is in the log once and in order, on one axis, over a kill."""
    monkeypatch.chdir(tmp_path)

    die_and_go_on(TRAINING + FIT, last=8)

    path = tmp_path / "runs" / "fit"
    assert surviving(path, "train/loss") == [*range(1, 13)]
    assert surviving(path, "val/mean") == [3, 6, 9, 12]
    assert surviving(path, "lr/group_0") == [1, 4, 7, 10]
    means = [event for event in mlv.Exp.open(path).events("metrics") if "val/mean" in event.data]
    assert [(event.step, event.at["epoch"], event.data["val/mean"]) for event in means][:2] == [(3, 1, 2.0), (6, 2, 2.0)]
    assert is_intact(path)


def test_engines_without_a_trainer_and_with_steps_of_their_own(tmp_path):
    """An engine alone has its own iterations as steps; a transform decides where there is one; texts are kept."""
    from mlv.integrations.ignite import Logger

    scope: dict = {}
    exec(TRAINING, scope)
    trainer, evaluator, events = scope["trainer"], scope["evaluator"], scope["Events"]
    with Logger(tmp_path, "fit", {"seed": 1}) as logger:
        options = {"output_transform": lambda output: {**output, "note": "x"}}
        logger.attach_output_handler(trainer, events.ITERATION_COMPLETED(every=2), tag="train", **options)
        epoch = scope["global_step_from_engine"](trainer)
        logger.attach_output_handler(
            evaluator, events.EPOCH_COMPLETED, tag="val", metric_names=["mean"], global_step_transform=epoch
        )
        trainer.run(scope["data"], max_epochs=2)

    exp = mlv.Exp.open(tmp_path / "fit")
    assert surviving(exp.path, "train/loss") == [2, 4, 6]
    assert surviving(exp.path, "val/mean") == [1, 2]
    assert ([run.status for run in exp.runs], exp["seed"]) == (["ok"], 1)


def test_what_handlers_log(tmp_path):
    """Outputs, metrics and attributes of the state are logged by name; scalars of tensors are numbers, texts are texts."""
    torch = pytest.importorskip("torch")
    from ignite.engine import Engine, Events, State

    from mlv.integrations.ignite import Logger, OptimizerParamsHandler, OutputHandler

    class Optimizer:
        """One that is no optimizer of torch, as DeepSpeed has them."""

        param_groups = ({"lr": 0.1, "params": []}, {"lr": 0.2, "params": []})

        def step(self):
            """Do nothing."""

    engine = Engine(lambda *_: None)
    metrics = {"a": 0, "b": "one", "c": {"d": 23, "e": [1, 2]}}
    engine.state = State(
        iteration=7, epoch=2, output=5.0, metrics=metrics, alpha=torch.tensor(0.5), beta=torch.tensor([1.0, 2.0])
    )
    with Logger(tmp_path, "logged") as logger:
        for handler in (
            OutputHandler("output", output_transform=lambda output: output),
            OutputHandler("loss", output_transform=lambda output: {"loss": output}),
            OutputHandler("some", metric_names=["a"]),
            OutputHandler("all", metric_names="all"),
            OutputHandler("state", state_attributes=["alpha", "beta"]),
            OptimizerParamsHandler(Optimizer(), "lr", tag="group"),
        ):
            logger.attach(engine, handler, Events.EPOCH_COMPLETED)
        engine.fire_event(Events.EPOCH_COMPLETED)

    events = [*mlv.Exp.open(tmp_path / "logged").events("metrics")]
    assert {(event.step, event.at["epoch"]) for event in events} == {(7, 2)}
    assert [event.data for event in events] == [
        {"output/output": 5.0},
        {"loss/loss": 5.0},
        {"some/a": 0},
        {"all/a": 0, "all/b": "one", "all/c/d": 23, "all/c/e/0": 1, "all/c/e/1": 2},
        {"state/alpha": 0.5, "state/beta/0": 1.0, "state/beta/1": 2.0},
        {"group/lr/group_0": 0.1, "group/lr/group_1": 0.2},
    ]


def test_a_step_that_is_none(tmp_path):
    """A transform that gives no step ends no training: its row is kept as rejected, and one warning says so."""
    from mlv.integrations.ignite import Logger

    scope: dict = {}
    exec(TRAINING, scope)
    trainer, events = scope["trainer"], scope["Events"]
    with Logger(tmp_path, "fit") as logger:
        options = {"output_transform": lambda output: output, "global_step_transform": lambda *_: "a"}
        logger.attach_output_handler(trainer, events.COMPLETED, tag="train", **options)
        with pytest.warns(mlv.MlvWarning, match="step"):
            trainer.run(scope["data"])

    exp = mlv.Exp.open(tmp_path / "fit")
    assert [event.type for event in exp.events(["metrics", "rejected"])] == ["rejected"]
