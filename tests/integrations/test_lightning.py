"""Lightning and Fabric: one logger, with which everything lands in the experiment, also after a kill."""

from __future__ import annotations

import enum
import math
import os
import pickle

import pytest
from training import ONLY_OURS, done, experiments, kill, killed, library, steps, torch_of_one_thread

import mlv
from mlv.integrations import lightning

torch = torch_of_one_thread()
pl = library("lightning.pytorch")
boring = library("lightning.pytorch.demos.boring_classes")
pytestmark = ONLY_OURS


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def model_of(classes=boring, kill_at=None, **hparams):
    """A model that logs its loss per step and per epoch, and dies in a step if it shall."""

    class Model(classes.BoringModel):
        def __init__(self, **hparams):
            super().__init__()
            self.save_hyperparameters()

        def training_step(self, batch, batch_idx):
            if self.global_step == kill_at:
                kill()
            loss = super().training_step(batch, batch_idx)["loss"]
            self.log("loss", loss, on_step=True, on_epoch=True)
            return loss

        def validation_step(self, batch, batch_idx):
            self.log("val/x", super().validation_step(batch, batch_idx)["x"])

    return Model(**hparams)


def trainer_of(logger, package=pl, **options):
    """A quick trainer: five steps an epoch, each of which is logged."""
    quick = {"max_epochs": 2, "limit_train_batches": 5, "limit_val_batches": 2, "log_every_n_steps": 1}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return package.Trainer(logger=logger, **{**quick, **quiet, **options})


def ours(shown):
    """The warnings of mlv."""
    return [str(warning.message) for warning in shown if issubclass(warning.category, mlv.MlvWarning)]


def saved(exp):
    """The steps of the checkpoints that the portfolio keeps."""
    return [checkpoint.step for checkpoint in exp.checkpoints().kept]


def test_a_fit(folder):
    """Metrics land at Lightning's steps, with the epoch as coordinate; the run is over when the fit is."""
    trainer_of(lightning.Logger("runs", "boring", {"seed": 1})).fit(model_of())

    exp = mlv.Exp.open("runs/boring")
    history = exp.history()
    assert exp.status == "ok"
    assert exp.params["seed"] == 1
    assert list(history["step"]) == [*range(10)]
    assert list(history["epoch"]) == [0] * 5 + [1] * 5
    assert [int(row.step) for row in history.dropna(subset="loss_epoch").itertuples()] == [4, 9]
    assert [int(step) for step in exp.history("val/x")["step"]] == [4, 9]


def test_steps_of_the_model(folder):
    """A model that logs a `step` has its metrics there; with accumulated gradients, steps are those of the optimizer."""
    model = model_of()
    model.on_train_epoch_end = lambda: model.log_dict({"step": 100.0 + model.current_epoch, "acc": 0.5})
    trainer_of(lightning.Logger("runs", "boring"), accumulate_grad_batches=5, limit_train_batches=10).fit(model)

    exp = mlv.Exp.open("runs/boring")
    assert steps(exp.path, "loss_step") == [0, 1, 2, 3]
    assert steps(exp.path, "acc") == [100, 101]


def test_beside_another_logger(folder):
    """With the logger of another library in front, its folder has the checkpoints, and the portfolio links them."""
    from lightning.pytorch.loggers import CSVLogger

    trainer = trainer_of([CSVLogger("csv", "theirs"), lightning.Logger("runs", "boring")])
    trainer.fit(model_of())

    exp = mlv.Exp.open("runs/boring")
    [theirs] = folder.glob("csv/theirs/version_0/checkpoints/*.ckpt")
    assert os.path.samefile(exp.latest.path, theirs)
    assert steps(exp.path, "loss_step") == [*range(10)]


def test_everything_lands_in_the_experiment(folder):
    """Checkpoints, and whatever else Lightning puts into its folder for logs, lie in the experiment."""
    trainer = trainer_of(lightning.Logger("runs", "boring"))
    trainer.fit(model_of())

    assert os.path.samefile(trainer.log_dir, "runs/boring")
    assert os.path.samefile(trainer.checkpoint_callback.dirpath, "runs/boring/checkpoints")
    assert [path.name for path in folder.iterdir()] == ["runs"]
    assert experiments(folder / "runs") == ["boring"]


@pytest.mark.parametrize(
    "policy",
    [
        {"every_n_train_steps": 3, "save_top_k": 2, "monitor": "loss_step"},
        {"monitor": "val/x", "save_top_k": 2, "save_last": True},
        {"save_on_train_epoch_end": False, "save_last": "link"},
        {"every_n_train_steps": 1, "save_top_k": -1, "save_weights_only": False},
    ],
    ids=["in the middle of an epoch", "at its end", "after validation", "after each step"],
)
def test_a_kill(folder, policy, command):
    """After a kill a fit goes on from its checkpoint: no step is lost, doubled or out of order."""

    def fit(kill_at=None):
        logger = lightning.Logger("runs", "boring", on_exists="open")
        trainer = trainer_of(logger, max_epochs=4, callbacks=[pl.callbacks.ModelCheckpoint(**policy)])
        files = sorted(folder.glob("runs/boring/checkpoints/*"), key=lambda path: path.stat().st_mtime)
        trainer.fit(model_of(kill_at=kill_at), ckpt_path=files[-1] if files else None)

    killed(lambda: fit(kill_at=13))
    done(fit)

    exp = mlv.Exp.open("runs/boring")
    assert steps(exp.path, "loss_step") == [*range(20)]
    assert steps(exp.path, "loss_epoch") == steps(exp.path, "val/x") == [4, 9, 14, 19]
    assert [run.status for run in exp.runs] == ["killed", "ok"]
    assert command("verify", "runs/boring").returncode == 0


def test_two_optimizers(folder, command):
    """With several optimizers the trainer counts more steps than its loggers: metrics and resume follow the loggers' steps."""

    class Model(boring.BoringModel):
        automatic_optimization = False
        kill_at = None

        def training_step(self, batch, batch_idx):
            if (self.current_epoch, batch_idx) == self.kill_at:
                kill()
            for optimizer in self.optimizers():
                optimizer.zero_grad()
                loss = super().training_step(batch, batch_idx)["loss"]
                self.manual_backward(loss)
                optimizer.step()
            self.log("loss", loss)

        def configure_optimizers(self):
            return [torch.optim.SGD(self.parameters(), lr=0.01), torch.optim.SGD(self.parameters(), lr=0.01)]

    def fit(kill_at=None, path=None):
        model = Model()
        model.kill_at = kill_at
        trainer = trainer_of(lightning.Logger("runs", "gan", on_exists="open"), max_epochs=3)
        trainer.fit(model, ckpt_path=path)

    killed(lambda: fit(kill_at=(1, 3)))
    done(lambda: fit(path="runs/gan/checkpoints/epoch=0-step=10.ckpt"))

    assert steps("runs/gan", "loss") == [*range(15)]
    assert saved(mlv.Exp.open("runs/gan")) == [14]
    assert command("verify", "runs/gan").returncode == 0


def test_removals(folder):
    """The portfolio keeps what Lightning keeps, by links: of a checkpoint that both let go nothing is left."""
    checkpoint = pl.callbacks.ModelCheckpoint(monitor="score", mode="max", save_top_k=2, filename="{epoch}")

    class Model(boring.BoringModel):
        def on_train_epoch_end(self):
            self.log("score", [3.0, 1.0, 5.0, 2.0][self.current_epoch])

    trainer_of(lightning.Logger("runs", "boring"), max_epochs=4, callbacks=[checkpoint]).fit(Model())

    exp = mlv.Exp.open("runs/boring")
    kept = {path.stat().st_ino for path in folder.glob("runs/boring/checkpoints/*.ckpt")}
    assert {path.stat().st_ino for path in folder.glob("runs/boring/models/top_k/*.ckpt")} == kept
    assert {path.stat().st_ino for path in folder.glob("runs/boring/models/*/*.ckpt")} == kept
    assert (exp.best.step, exp.best.metrics["score"]) == (14, 5.0)
    assert torch.load(exp.best.path, weights_only=False)["global_step"] == 15
    assert saved(exp) == [4, 14]


def test_two_checkpoint_callbacks(folder):
    """Each checkpoint callback has a portfolio of its own, in the order of the callbacks."""
    callbacks = [
        pl.callbacks.ModelCheckpoint(monitor="val/x", save_top_k=1, filename="best-{epoch}"),
        pl.callbacks.ModelCheckpoint(every_n_train_steps=4, save_top_k=-1, filename="step-{step}"),
    ]
    trainer_of(lightning.Logger("runs", "boring"), callbacks=callbacks).fit(model_of())

    exp = mlv.Exp.open("runs/boring")
    assert exp.best.metrics["val/x"] == exp.history("val/x")["val/x"].min()
    assert [checkpoint.step for checkpoint in exp.checkpoints(folder="models_2").kept] == [3, 7]


class Colour(enum.Enum):
    RED = 1


def test_hparams_of_all_sorts(folder):
    """Hyperparameters with modules, tensors, functions and enums are stored; what is no setting is its text."""
    hparams = {"lr": 0.1, "layer": torch.nn.Linear(1, 1), "mean": torch.zeros(2), "act": torch.relu, "colour": Colour.RED}
    with pytest.warns(mlv.MlvWarning, match="layer"):
        trainer_of(lightning.Logger("runs", "boring")).fit(model_of(**hparams))

    params = mlv.Exp.open("runs/boring").params
    assert params["lr"] == 0.1
    assert {*hparams} <= {*params}


def test_hparams_that_change(folder):
    """Of a hyperparameter that another fit changes the first value stays, and the log has the other."""
    logger = lightning.Logger("runs", "boring")
    trainer_of(logger).fit(model_of(lr=0.1))
    with pytest.warns(mlv.MlvWarning, match="params.lr is now 0.2"):
        trainer_of(logger).fit(model_of(lr=0.2))

    exp = mlv.Exp.open("runs/boring")
    assert exp["lr"] == 0.1
    assert [event.data for event in exp.events("params_changed")] == [{"lr": 0.2}]


def test_metrics_that_are_none(folder):
    """A metric that is no number costs no other, and no error."""
    logger = lightning.Logger("runs", "boring")
    logger.log_metrics(metrics={"loss": torch.tensor(0.5), "text": "good", "list": [1, 2], "none": None}, step=3)
    with pytest.warns(mlv.MlvWarning, match="stored as rejected"):
        logger.log_metrics({"loss": 0.25, "object": object()}, step=4)
    with pytest.warns(mlv.MlvWarning, match="stored as rejected"):
        logger.log_metrics([0.1], step=5)
    logger.finalize("success")

    assert steps("runs/boring", "loss") == [3, 4]


def test_an_epoch_that_is_no_number(folder):
    """An epoch that cannot be a coordinate is left out with a warning, and the metrics beside it are logged."""
    logger = lightning.Logger("runs", "boring")
    with pytest.warns(mlv.MlvWarning, match="left out the epoch of metrics") as shown:
        _ = [logger.log_metrics({"loss": 1.0, "epoch": math.nan}, step) for step in range(2)]
    logger.finalize("ok")

    assert len(ours(shown)) == 1
    assert steps(folder / "runs" / "boring", "loss") == [0, 1]


def test_evaluation_after_training(folder):
    """What is tested after the fit goes into the same experiment, in another run."""
    logger = lightning.Logger("runs", "boring")
    trainer = trainer_of(logger)
    model = model_of()
    trainer.fit(model)
    trainer.validate(model, verbose=False)
    logger.experiment.log({"final": 1.0})
    logger.finalize("success")

    exp = mlv.Exp.open("runs/boring")
    assert experiments(folder / "runs") == ["boring"]
    assert steps(exp.path, "val/x") == [4, 9, 10]
    assert [run.status for run in exp.runs] == ["ok", "ok", "ok"]


def test_an_experiment_of_the_callers(folder):
    """An experiment that is passed goes on after the fit; checkpoints lie in it."""
    with mlv.Exp("runs", "mine") as exp:
        trainer_of(lightning.Logger(exp=exp)).fit(model_of())
        exp.log({"after": 1.0}, step=10)

    assert (exp.status, len(exp.runs)) == ("ok", 1)
    assert steps(exp.path, "after") == [10]
    assert [*folder.glob("runs/mine/checkpoints/*.ckpt")]


def test_an_experiment_closed_too_early(folder):
    """A fit whose experiment was closed goes on; one warning says that nothing is stored."""
    exp = mlv.Exp("runs", "mine")
    exp.close()
    trainer = trainer_of(lightning.Logger(exp=exp), enable_checkpointing=False)
    with pytest.warns(mlv.MlvWarning) as shown:
        trainer.fit(model_of())

    assert trainer.global_step == 10
    assert len(ours(shown)) == 1


@pytest.mark.parametrize(
    ("error", "raised", "status"), [(ValueError, ValueError, "failed"), (KeyboardInterrupt, SystemExit, "interrupted")]
)
def test_a_fit_that_fails(folder, error, raised, status):
    """A fit that ends with an exception leaves its end in the log."""

    class Model(boring.BoringModel):
        def on_train_epoch_end(self):
            raise error("of the user")

    with pytest.raises(raised):
        trainer_of(lightning.Logger("runs", "boring")).fit(Model())

    assert mlv.Exp.open("runs/boring").status == status


def test_a_checkpoint_that_cannot_be_kept(folder):
    """Where the portfolio cannot take a checkpoint, the fit goes on, and one warning says so."""
    logger = lightning.Logger("runs", "boring")
    (logger.experiment.path / "models").write_text("in the way")
    with pytest.warns(mlv.MlvWarning, match="left out a checkpoint") as shown:
        trainer_of(logger).fit(model_of())

    assert len(ours(shown)) == 1
    assert steps("runs/boring", "loss_step") == [*range(10)]


def test_a_callback_used_twice(folder):
    """The callback in addition to that of the entry point changes nothing."""
    policy = {"every_n_train_steps": 4, "save_top_k": -1}

    def fit(epochs, path=None):
        callbacks = [lightning.Callback(), pl.callbacks.ModelCheckpoint(**policy)]
        logger = lightning.Logger("runs", "boring", on_exists="open")
        trainer = trainer_of(logger, max_epochs=epochs, callbacks=callbacks)
        trainer.fit(model_of(), ckpt_path=path)

    fit(1)
    fit(2, "runs/boring/checkpoints/epoch=0-step=4.ckpt")

    exp = mlv.Exp.open("runs/boring")
    assert steps(exp.path, "loss_step") == [*range(10)]
    assert saved(exp) == [3, 7]


@pytest.mark.parametrize("search", ["learning rate", "batch size"])
def test_a_search(folder, search):
    """A tuner takes the logger out of the trainer and puts it back: its trials log nothing."""
    logger = lightning.Logger("runs", "boring")
    trainer = trainer_of(logger)
    model = model_of()
    model.configure_optimizers = lambda: torch.optim.SGD(model.parameters(), lr=model.lr)
    model.lr, model.batch_size = 0.1, 1
    tuner = library("lightning.pytorch.tuner").Tuner(trainer)
    if search == "learning rate":
        tuner.lr_find(model, num_training=3, attr_name="lr")
    else:
        tuner.scale_batch_size(model, steps_per_trial=1, max_trials=1)
    assert trainer.logger is logger
    trainer.fit(model)

    assert experiments(folder / "runs") == ["boring"]
    assert steps("runs/boring", "loss_step") == [*range(10)]


def test_a_fast_dev_run_leaves_nothing(folder):
    """Lightning takes the logger out of a trial run: no experiment is made."""
    trainer_of(lightning.Logger("runs", "boring"), fast_dev_run=True).fit(model_of())

    assert [*folder.iterdir()] == []


def test_pickling(folder):
    """A pickled logger, and one within its trainer, logs into the same experiment."""
    logger = lightning.Logger("runs", "boring")
    trainer = trainer_of(logger)
    pickle.loads(pickle.dumps(logger)).log_metrics({"a": 1.0}, step=0)
    pickle.loads(pickle.dumps(trainer)).logger.log_metrics({"a": 1.0}, step=1)
    logger.log_metrics({"a": 1.0}, step=2)
    logger.finalize("success")

    assert experiments(folder / "runs") == ["boring"]
    assert sorted(steps("runs/boring", "a")) == [0, 1, 2]


@pytest.mark.parametrize(("strategy", "devices"), [("ddp_fork", 2), ("ddp_spawn", 1)])  # to import torch anew takes a while
def test_several_processes(folder, strategy, devices):
    """Processes of a trainer make one experiment, in which the main rank's metrics and checkpoints are."""
    logger = lightning.Logger("runs", "boring")
    trainer = trainer_of(logger, strategy=strategy, devices=devices, max_epochs=1)
    trainer.fit(Logged())

    assert experiments(folder / "runs") == ["boring"]
    assert steps("runs/boring", "x") == [*range(5)]
    assert saved(mlv.Exp.open("runs/boring")) == [4]
    logger.finalize("success")


class Logged(boring.BoringModel):
    """A model that spawned processes can import."""

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)["loss"]
        self.log("x", loss)
        return loss


def test_ranks_that_do_not_log(folder, monkeypatch):
    """On other ranks a logger makes nothing, and its experiment takes every call."""
    rank_zero = library("lightning_utilities.core.rank_zero").rank_zero_only
    monkeypatch.setattr(rank_zero, "rank", 1)
    logger = lightning.Logger("runs", "boring")
    logger.log_metrics({"a": 1.0}, step=0)
    logger.log_hyperparams({"lr": 0.1})
    logger.experiment.log({"a": 1.0})
    logger.finalize("success")

    assert logger.save_dir is None
    assert pickle.loads(pickle.dumps(logger)).save_dir is None
    assert [*folder.iterdir()] == []


def test_a_test_from_a_checkpoint(folder):
    """A checkpoint that is tested only rewinds nothing, also not the fit that follows."""
    logger = lightning.Logger("runs", "boring")
    trainer = trainer_of(logger)
    model = model_of()
    trainer.fit(model)
    trainer.test(model, ckpt_path=trainer.checkpoint_callback.best_model_path, verbose=False)
    trainer_of(logger).fit(model)

    assert not any(mlv.Exp.open("runs/boring").events("rewound"))


def test_fabric(folder):
    """A loop of Fabric logs with its own steps, and rewinds to where it goes on."""
    logger = lightning.Logger("runs", "loop", {"lr": 0.1})
    fabric = library("lightning.fabric").Fabric(accelerator="cpu", devices=1, loggers=logger)
    for step in range(4):
        fabric.log_dict({"loss": torch.tensor(1.0 - step), "epoch": step // 2}, step=step)
    logger.rewind(1)
    fabric.log("loss", 7.0, step=2)
    logger.finalize("success")

    exp = mlv.Exp.open("runs/loop")
    assert steps(exp.path, "loss") == [0, 1, 2]
    assert [event.at.get("epoch") for event in exp.events("metrics")] == [0, 0, 1, 1, None]


def test_media(folder):
    """Images, texts and tables are logged as with Lightning's own loggers."""
    logger = lightning.Logger("runs", "media")
    logger.log_image("samples", [torch.zeros(3, 4, 4), torch.ones(3, 4, 4)], step=1, caption=["a", "b"])
    logger.log_text("note", "good", step=1)
    logger.log_table("rows", columns=["a", "b"], data=[[1, 2], [3, 4]], step=1)
    logger.log_graph(torch.nn.Linear(2, 1), torch.zeros(1, 2))
    logger.finalize("success")

    exp = mlv.Exp.open("runs/media")
    assert sorted(event.type for event in exp.events() if event.name) == ["graph", "image", "table", "text"]


def test_the_other_package(folder):
    """Trainers of `pytorch_lightning` take the logger of that package, with all that belongs to it."""
    other = library("pytorch_lightning")
    from mlv.integrations import pytorch_lightning

    trainer = trainer_of(pytorch_lightning.Logger("runs", "boring"), other)
    trainer.fit(model_of(library("pytorch_lightning.demos.boring_classes")))

    assert steps("runs/boring", "loss_step") == [*range(10)]
    assert saved(mlv.Exp.open("runs/boring")) == [9]


def test_an_unknown_name():
    """Only the classes are there."""
    with pytest.raises(AttributeError, match="no attribute 'Trainer'"):
        _ = lightning.Trainer
