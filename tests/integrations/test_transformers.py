"""Hugging Face transformers: one callback, with which a trainer's run is in the experiment, also after a kill."""

from __future__ import annotations

import os

import pytest
from training import ONLY_OURS, done, experiments, kill, killed, library, steps, torch_of_one_thread

import mlv
import mlv.integrations

torch = torch_of_one_thread()
transformers = library("transformers")
Callback = library("mlv.integrations.transformers").Callback
library("accelerate")
pytestmark = ONLY_OURS


@pytest.fixture(scope="module", autouse=True)
def imported(tmp_path_factory):
    """Train once without mlv: the first training imports much, which each forked child would import anew."""
    trainer_of(max_steps=1, output_dir=str(tmp_path_factory.mktemp("out"))).train()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in a folder of the test's own, without the variables that launchers would set."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def model_of(kill_at=None):
    """A tiny BERT; with `kill_at` its process dies in that forward pass of training."""
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    config = transformers.BertConfig(vocab_size=20, max_position_embeddings=8, **sizes)

    model = transformers.BertForSequenceClassification(config)
    passes = iter(range(1, 1000))
    model.register_forward_pre_hook(lambda module, _: kill() if module.training and next(passes) == kill_at else None)
    return model


def rows(number=16):
    return [{"input_ids": torch.full((4,), index % 20), "labels": torch.tensor(index % 2)} for index in range(number)]


def trainer_of(*callbacks, model=None, **options):
    """A quick trainer: four steps an epoch, each of which is logged."""
    quick = {"num_train_epochs": 2, "per_device_train_batch_size": 4, "logging_steps": 1, "save_strategy": "no"}
    quiet = {"use_cpu": True, "disable_tqdm": True, "report_to": "none", "output_dir": "out"}
    return transformers.Trainer(
        model=model or model_of(),
        args=transformers.TrainingArguments(**{**quick, **quiet, **options}),
        train_dataset=rows(),
        eval_dataset=rows(4),
        callbacks=list(callbacks),
    )


def saved(exp):
    """The steps of the checkpoints that the portfolio keeps."""
    return [checkpoint.step for checkpoint in exp.checkpoints().kept]


def test_training(folder):
    """Metrics land at the trainer's steps, evaluation under `eval/`, with the epoch as coordinate."""
    trainer_of(Callback("runs", "tiny", {"seed": 1}), eval_strategy="epoch").train()

    exp = mlv.Exp.open("runs/tiny")
    assert exp.status == "ok"
    assert steps(exp.path, "loss") == [*range(1, 9)]
    assert steps(exp.path, "eval/loss") == [4, 8]
    assert [event.at["epoch"] for event in exp.events("metrics") if "eval/loss" in event.data] == [1.0, 2.0]
    assert {"loss", "grad_norm", "learning_rate", "eval/loss", "eval/runtime"} <= {*exp.summary()}


def test_params(folder):
    """The training arguments and the model's configuration are params, beside those of the script."""
    trainer_of(Callback("runs", "tiny", {"seed": 1}), seed=1).train()

    params = mlv.Exp.open("runs/tiny").params
    assert (params["seed"], params["num_train_epochs"]) == (1, 2)
    assert params["model_config"]["hidden_size"] == 8


def test_params_that_cannot_be_read(folder):
    """A configuration that raises is left out with a warning, and the training goes on."""
    model = model_of()
    model.config.to_dict = lambda: 1 / 0

    with pytest.warns(mlv.MlvWarning, match="left out params, and the run goes on: ZeroDivisionError"):
        trainer_of(Callback("runs", "tiny"), model=model, max_steps=1).train()

    assert steps(folder / "runs" / "tiny", "loss") == [1]


def test_what_training_took_is_a_summary(folder):
    """Values about the whole training are no series, and hide no curve."""
    trainer_of(Callback("runs", "tiny")).train()

    exp = mlv.Exp.open("runs/tiny")
    [summary] = exp.events("summary")
    assert {"train_runtime", "train_loss", "total_flos"} <= {*summary.data}
    assert not any("train_runtime" in event.data or "train_loss" in event.data for event in exp.events("metrics"))


def test_evaluation_after_training(folder):
    """What is evaluated and predicted after training goes into the same experiment."""
    trainer = trainer_of(Callback("runs", "tiny"))
    trainer.train()
    trainer.evaluate()
    trainer.predict(rows(4))
    del trainer

    exp = mlv.Exp.open("runs/tiny")
    assert experiments(folder / "runs") == ["tiny"]
    assert steps(exp.path, "eval/loss") == [8]
    assert steps(exp.path, "test_loss") == [8]


@pytest.mark.parametrize("limit", [None, 2])
def test_a_kill(folder, command, limit):
    """After a kill training goes on from the latest checkpoint: no step is lost, doubled or out of order."""

    def train(kill_at=None):
        callback = Callback("runs", "tiny", on_exists="open")
        options = {"save_strategy": "steps", "save_steps": 2, "save_total_limit": limit, "eval_strategy": "epoch"}
        trainer = trainer_of(callback, model=model_of(kill_at), num_train_epochs=3, **options)
        trainer.train(resume_from_checkpoint=any(folder.glob("out/checkpoint-*")))

    killed(lambda: train(kill_at=8))
    done(train)

    exp = mlv.Exp.open("runs/tiny")
    assert steps(exp.path, "loss") == [*range(1, 13)]
    assert steps(exp.path, "eval/loss") == [4, 8, 12]
    assert [run.status for run in exp.runs] == ["killed", "ok"]
    assert saved(exp) == ([2, 4, 6, 8, 10, 12] if limit is None else [10, 12])
    assert command("verify", "runs/tiny").returncode == 0


def test_checkpoints_that_are_written_again(folder, command):
    """A trainer that goes on from an earlier checkpoint writes the later ones again: the kept ones keep their content."""

    def train(from_=None):
        options = {"save_strategy": "steps", "save_steps": 2}
        trainer_of(Callback("runs", "tiny", on_exists="open"), **options).train(resume_from_checkpoint=from_)

    train()
    killed(lambda: (train("out/checkpoint-4"), kill()))

    exp = mlv.Exp.open("runs/tiny")
    assert saved(exp) == [2, 4, 6, 8]
    assert command("verify", "runs/tiny").returncode == 0


def test_the_best_checkpoint(folder):
    """The portfolio knows the best checkpoint as the trainer does, by links to its files."""
    best = {"metric_for_best_model": "loss", "save_total_limit": 2, "load_best_model_at_end": True}
    trainer = trainer_of(
        Callback("runs", "tiny"), eval_strategy="steps", eval_steps=2, save_strategy="steps", save_steps=2, **best
    )
    trainer.train()

    exp = mlv.Exp.open("runs/tiny")
    assert f"checkpoint-{exp.best.step}" == os.path.basename(trainer.state.best_model_checkpoint)
    assert exp.best.metrics["eval/loss"] == trainer.state.best_metric
    for name in ("model.safetensors", "optimizer.pt"):
        assert os.path.samefile(exp.best.path / name, f"out/checkpoint-{exp.best.step}/{name}")
    linked = {path.stat().st_ino for path in exp.path.glob("models/*/*/*")}
    assert linked <= {path.stat().st_ino for path in folder.glob("out/*/*")}


def test_report_to(folder, monkeypatch):
    """After `register`, `report_to="mlv"` logs into the experiment that the variables or `run_name` name."""
    mlv.integrations.register("transformers")
    monkeypatch.setenv("MLV_DIR", "here")
    trainer_of(report_to="mlv", run_name="tiny").train()

    assert steps("here/tiny", "loss") == [*range(1, 9)]


def test_report_to_and_a_callback(folder):
    """Of two callbacks of a trainer the script's own one logs, and a warning says so."""
    mlv.integrations.register("transformers")
    with pytest.warns(mlv.MlvWarning, match="two callbacks"):
        trainer = trainer_of(Callback("runs", "tiny"), report_to="mlv", run_name="other")
    trainer.train()

    assert experiments(folder / "runs") == ["tiny"]
    assert steps("runs/tiny", "loss") == [*range(1, 9)]


def test_an_experiment_of_the_callers(folder):
    """An experiment that is passed goes on after training."""
    with mlv.Exp("runs", "mine") as exp:
        trainer = trainer_of(Callback(exp=exp))
        trainer.train()
        trainer.evaluate()
        exp.log({"after": 1.0}, step=9)

    assert (exp.status, len(exp.runs)) == ("ok", 1)
    assert steps(exp.path, "eval/loss") == [8]


def test_a_search(folder):
    """Each trial of a search has an experiment of its own, with its params."""
    optuna = library("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trainer = trainer_of(Callback("runs", "search"), eval_strategy="epoch", save_strategy="epoch", num_train_epochs=1)
    trainer.model_init = lambda _: model_of()
    trainer.hyperparameter_search(
        lambda trial: {"learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2)},
        n_trials=2,
        backend="optuna",
        hp_name=lambda trial: f"trial_{trial.number}",
    )

    names = experiments(folder / "runs")
    assert names == ["trial_0", "trial_1"]
    assert all(steps(folder / "runs" / name, "eval/loss") == [4] for name in names)
    assert all(saved(mlv.Exp.open(folder / "runs" / name)) == [4] for name in names)
    assert len({mlv.Exp.open(folder / "runs" / name)["learning_rate"] for name in names}) == 2


def test_metrics_of_all_sorts(folder):
    """Logs that are strings, lists or None end nothing, and cost no number."""

    class Trainer(transformers.Trainer):
        def log(self, logs, *arguments, **options):
            super().log({**logs, "note": "good", "list": [1, 2], "none": None}, *arguments, **options)

    trainer = trainer_of(Callback("runs", "tiny"))
    trainer.__class__ = Trainer
    trainer.train()

    assert steps("runs/tiny", "loss") == [*range(1, 9)]


def test_an_experiment_closed_too_early(folder):
    """Training whose experiment was closed goes on; one warning says that nothing is stored."""
    exp = mlv.Exp("runs", "mine")
    exp.close()
    trainer = trainer_of(Callback(exp=exp))
    with pytest.warns(mlv.MlvWarning) as shown:
        trainer.train()

    assert trainer.state.global_step == 8
    assert len([warning for warning in shown if issubclass(warning.category, mlv.MlvWarning)]) == 1


def test_a_checkpoint_that_cannot_be_kept(folder):
    """Where the portfolio cannot take a checkpoint, training goes on, and one warning says so."""
    with mlv.Exp("runs", "mine") as exp:
        (exp.path / "models").write_text("in the way")
        trainer = trainer_of(Callback(exp=exp), save_strategy="epoch")
        with pytest.warns(mlv.MlvWarning, match="left out a checkpoint") as shown:
            trainer.train()

    assert len([warning for warning in shown if issubclass(warning.category, mlv.MlvWarning)]) == 1
    assert steps(exp.path, "loss") == [*range(1, 9)]


def test_ranks_that_do_not_log(folder, monkeypatch):
    """On other ranks a callback makes nothing."""
    callback = Callback("runs", "tiny")
    trainer = trainer_of(callback)
    monkeypatch.setattr(trainer.callback_handler, "callbacks", [])
    trainer.state.is_world_process_zero = False
    callback.on_train_begin(trainer.args, trainer.state, trainer.control)
    callback.on_log(trainer.args, trainer.state, trainer.control, logs={"loss": 1.0})
    callback.on_save(trainer.args, trainer.state, trainer.control)
    callback.on_train_end(trainer.args, trainer.state, trainer.control)

    assert [*folder.glob("runs")] == []
