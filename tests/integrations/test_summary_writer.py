"""Libraries that import a SummaryWriter themselves: with the drop-in installed, their runs are experiments."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from compat.board import read, runs
from training import ONLY_OURS, library, torch_of_one_thread

import mlv
from mlv.compat.tensorboard import SummaryWriter, install, uninstall

torch = torch_of_one_thread()
library("tensorboard")
library("tensorboardX")
np = library("numpy")
pytestmark = ONLY_OURS


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in a folder of the test's own, with the drop-in in the place of the originals."""
    monkeypatch.chdir(tmp_path)
    install()
    yield tmp_path
    uninstall()


def the_only_run(folder: Path) -> tuple[mlv.Exp, dict[Any, Any]]:
    """Return the experiment, and what TensorBoard reads beside it, where there is one run."""
    [exp] = mlv.find(folder)
    [run] = runs(folder)
    return exp, read(folder / run)


def test_lightning(folder):
    """Lightning's TensorBoardLogger: metrics, hyperparameters without a run of their own, and the graph."""
    lightning = library("lightning.pytorch")
    demos = library("lightning.pytorch.demos.boring_classes")
    loggers = library("lightning.pytorch.loggers")

    class Model(demos.BoringModel):
        def __init__(self, lr=0.1):
            super().__init__()
            self.save_hyperparameters()
            self.example_input_array = torch.zeros(1, 32)

        def training_step(self, batch, number):
            self.log("loss", loss := self.step(batch))
            return loss

    logger = loggers.TensorBoardLogger("logs", name="run", log_graph=True)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    lightning.Trainer(logger=logger, max_steps=3, log_every_n_steps=1, accelerator="cpu", **quiet).fit(Model())

    assert isinstance(logger.experiment, SummaryWriter)
    logger.experiment.close()
    exp, board = the_only_run(folder)
    assert exp.path.is_relative_to(folder / "logs" / "run" / "version_0")
    assert [step for step, _ in board["scalars", "loss"]] == [0, 1, 2]
    assert ("graph", "") in board
    assert ("metadata", "_hparams_/session_start_info") in board


def test_transformers(folder):
    """The callback of Hugging Face's Trainer, by its name."""
    transformers = library("transformers")
    library("accelerate")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    config = transformers.BertConfig(vocab_size=20, max_position_embeddings=8, **sizes)
    rows = [{"input_ids": torch.full((4,), index), "labels": torch.tensor(index % 2)} for index in range(8)]
    quick = {"max_steps": 2, "logging_steps": 1, "save_strategy": "no", "use_cpu": True, "disable_tqdm": True}
    arguments = transformers.TrainingArguments(output_dir="out", report_to="tensorboard", **quick)
    transformers.Trainer(model=transformers.BertForSequenceClassification(config), args=arguments, train_dataset=rows).train()

    exp, board = the_only_run(folder)
    assert [step for step, _ in board["scalars", "train/loss"]] == [1, 2]
    assert {"args", "model_config"} <= {event.name for event in exp.events("text")}


def test_accelerate(folder):
    """Accelerate's tracker, and the images that scripts of diffusers log through its writer."""
    accelerate = library("accelerate")
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = accelerate.Accelerator(cpu=True, log_with="tensorboard", project_dir="logs")
    accelerator.init_trackers("loop", {"lr": 0.1})
    for step in range(3):
        accelerator.log({"loss": 1.0 / (step + 1), "both": {"a": 1.0, "b": 2.0}}, step=step)
    accelerator.get_tracker("tensorboard").writer.add_images("image", np.zeros((2, 4, 4, 3)), 1, dataformats="NHWC")
    accelerator.end_training()

    exp, board = the_only_run(folder)
    assert exp["lr"] == 0.1
    assert [step for step, _ in board["scalars", "loss"]] == [0, 1, 2]
    assert board["scalars", "both/b"][0] == (0, 2.0)
    assert ("images", "image") in board


def test_ignite(folder):
    """Ignite's TensorboardLogger."""
    engine = library("ignite.engine")
    handlers = library("ignite.handlers.tensorboard_logger")
    trainer = engine.Engine(lambda engine, batch: batch)
    with handlers.TensorboardLogger(log_dir="logs") as logger:
        each = engine.Events.ITERATION_COMPLETED
        logger.attach_output_handler(trainer, each, tag="train", output_transform=lambda x: {"x": x})
        trainer.run([1.0, 2.0, 3.0])

    _, board = the_only_run(folder)
    assert board["scalars", "train/x"] == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_stable_baselines(folder):
    """The logger of Stable-Baselines3, which has imported the class long before."""
    library("gymnasium")
    sb3 = library("stable_baselines3")
    sb3.PPO("MlpPolicy", "CartPole-v1", n_steps=16, batch_size=16, n_epochs=1, tensorboard_log="logs").learn(32)

    exp, board = the_only_run(folder)
    assert [step for step, _ in board["scalars", "time/fps"]] == [16, 32]
    assert exp.path.is_relative_to(folder / "logs" / "PPO_1")


CLEANRL = """
import mlv.compat.tensorboard
mlv.compat.tensorboard.install()
import random, time
import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter

args = {"seed": 1, "learning_rate": 0.1}
writer = SummaryWriter(f"runs/CartPole__{args['seed']}")
writer.add_text(
    "hyperparameters", "|param|value|\\n|-|-|\\n%s" % ("\\n".join([f"|{key}|{value}|" for key, value in args.items()]))
)
for global_step in range(5):
    writer.add_scalar("charts/episodic_return", np.array([global_step], dtype=np.float32), global_step)
    writer.add_scalar("losses/td_loss", torch.tensor(0.5, requires_grad=True), global_step)
writer.close()
"""


def test_a_script_of_cleanrl(folder):
    """A script after the manner of cleanrl, by two lines at its beginning."""
    subprocess.run([sys.executable, "-c", textwrap.dedent(CLEANRL)], check=True, timeout=120, capture_output=True)

    exp, board = the_only_run(folder)
    assert board["scalars", "charts/episodic_return"] == [(step, float(step)) for step in range(5)]
    assert len(board["scalars", "losses/td_loss"]) == 5
    assert exp.status == "ok"
