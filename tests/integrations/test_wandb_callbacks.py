"""Callbacks for wandb, of other libraries and of wandb itself, log into experiments by `mlv.compat.wandb`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from training import ONLY_OURS, library
from wandb_folder import installed, own_folder

import mlv
import mlv.compat.wandb as wandb

os.environ.setdefault("KERAS_BACKEND", "torch")
pytestmark = [*ONLY_OURS, pytest.mark.usefixtures("inline")]


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`import wandb` gives the drop-in, in a folder of its own."""
    with own_folder(tmp_path, monkeypatch), installed():
        yield


def rows(name: str, project: str = "p") -> list[tuple[Any, dict[str, Any]]]:
    """Step and data of each line of metrics."""
    exp = mlv.Exp.open(Path("runs", project, name))
    assert exp.status == "ok"
    return [(event.step, dict(event.data)) for event in exp.events("metrics")]


def statistics(name: str) -> dict[str, str]:
    return {metric: summary.statistic for metric, summary in mlv.Exp.open(Path("runs/p", name)).summary().items()}


def data() -> tuple[Any, Any]:
    numpy = library("numpy")
    inputs = numpy.random.default_rng(0).random((60, 3)).astype("float32")
    return inputs, (inputs[:, 0] > 0.5).astype("int64")


def test_transformers():
    """A Trainer with `report_to="wandb"` finds the drop-in: config, metrics with their axis, and what training took."""
    torch, transformers = library("torch"), library("transformers")
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    examples = [{"input_ids": torch.arange(8), "labels": torch.tensor(number % 2)} for number in range(8)]
    arguments = transformers.TrainingArguments(
        "out", report_to="wandb", max_steps=4, logging_steps=2, eval_strategy="steps", eval_steps=4, save_strategy="no",
        run_name="hf", use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    model = transformers.BertForSequenceClassification(config)
    transformers.Trainer(model=model, args=arguments, train_dataset=examples, eval_dataset=examples).train()
    wandb.finish()

    logged = rows("hf", "huggingface")
    assert [data["train/global_step"] for _, data in logged if "train/loss" in data] == [2, 4]
    exp = mlv.Exp.open("runs/huggingface/hf")
    assert exp.params["hidden_size"] == 16
    assert exp.params["model/num_parameters"] > 0
    assert exp.summary()["train_runtime"].statistic == "summary"
    assert {event.data["x"] for event in exp.events("metadata")} == {"train/global_step"}


def test_ignite():
    """Ignite's WandBLogger finds the drop-in."""
    library("ignite")
    engines, handlers = import_module("ignite.engine"), import_module("ignite.handlers.wandb_logger")
    trainer = engines.Engine(lambda _, batch: {"loss": batch})
    logger = handlers.WandBLogger(project="p", name="ignite", config={"lr": 1})
    logger.attach_output_handler(
        trainer, event_name=engines.Events.ITERATION_COMPLETED, tag="train", output_transform=lambda output: output
    )
    trainer.run([1.0, 2.0], max_epochs=1)
    logger.close()

    assert [data["train/loss"] for _, data in rows("ignite")] == [1.0, 2.0]


def test_skorch():
    """skorch's WandbLogger takes a run of the drop-in, and watches the module."""
    torch = library("torch")
    library("skorch")
    callbacks = import_module("skorch.callbacks")
    inputs, _ = data()
    with wandb.init(project="p", name="skorch") as run:
        net = import_module("skorch").NeuralNetRegressor(
            torch.nn.Linear, module__in_features=3, module__out_features=1, max_epochs=2, verbose=0,
            callbacks=[callbacks.WandbLogger(run)],
        )  # fmt: skip
        net.fit(inputs, inputs[:, :1])

    assert [step for step, data in rows("skorch") if "train_loss" in data] == [0, 1]
    assert Path("runs/p/skorch/files/best_model.pth").is_file()


def test_stable_baselines3():
    """`wandb.integration.sb3`: the algorithm is in the config, its model attached."""
    library("stable_baselines3")
    callback = import_module("wandb.integration.sb3").WandbCallback
    with wandb.init(project="p", name="sb3"):
        model = import_module("stable_baselines3").PPO(
            "MlpPolicy", "CartPole-v1", n_steps=32, batch_size=32, n_epochs=1, device="cpu"
        )
        model.learn(32, callback=callback(model_save_path="saved", gradient_save_freq=1))

    exp = mlv.Exp.open("runs/p/sb3")
    assert exp.params["algo"] == "PPO"
    assert (exp.path / "files/model.zip").is_file()
    assert any(event.name.startswith("gradients/") for event in exp.events("histogram"))


def test_keras():
    """`wandb.integration.keras`: epochs over their number, batches over theirs, and each model that was saved."""
    keras = library("keras")
    callbacks = import_module("wandb.integration.keras")
    inputs, labels = data()
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with wandb.init(project="p", name="epochs"):
        saving = callbacks.WandbModelCheckpoint("saved/model_{epoch}.keras")
        model.fit(inputs, labels, epochs=2, verbose=0, callbacks=[callbacks.WandbMetricsLogger(), saving])
    with wandb.init(project="p", name="batches"):
        model.fit(inputs, labels, batch_size=20, verbose=0, callbacks=[callbacks.WandbMetricsLogger(log_freq="batch")])

    assert [data["epoch/epoch"] for _, data in rows("epochs")] == [0, 1]
    assert {"epoch/loss", "epoch/learning_rate"} <= rows("epochs")[0][1].keys()
    assert sorted(path.name for path in Path("runs/p/epochs/files/saved").iterdir()) == ["model_1.keras", "model_2.keras"]
    assert [data["batch/batch_step"] for _, data in rows("batches") if "batch/loss" in data] == [0, 1, 2]


def test_keras_tables():
    """`WandbEvalCallback`: a table of what is true, and one for each epoch, as versions of artifacts."""
    keras = library("keras")
    base = wandb.keras.WandbEvalCallback

    class Predictions(base):  # type: ignore[misc, valid-type]
        def add_ground_truth(self, logs: Any = None) -> None:
            for number, label in enumerate(labels[:3].tolist()):
                self.data_table.add_data(number, label)

        def add_model_predictions(self, epoch: int, logs: Any = None) -> None:
            for index in self.data_table_ref.get_index():
                self.pred_table.add_data(epoch, index, self.data_table_ref.data[index][1])

    inputs, labels = data()
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with wandb.init(project="p", name="tables") as run:
        model.fit(inputs, labels, epochs=2, verbose=0, callbacks=[Predictions(["idx", "label"], ["epoch", "row", "label"])])
        predictions = run.use_artifact(f"run_{run.id}_pred:v1").get("eval_data")

    assert [row[0] for row in predictions.data] == [1, 1, 1]
    assert predictions.data[2][1].get_row() == {"idx": 2, "label": labels[2]}
    with wandb.init(project="p"), pytest.raises(NotImplementedError, match="add_ground_truth"):
        base([], []).on_train_begin()


def test_xgboost():
    """`wandb.integration.xgboost`: rounds, the better value of each metric as its summary, importance, the model."""
    xgboost = library("xgboost")
    callback = import_module("wandb.integration.xgboost").WandbCallback
    matrix = xgboost.DMatrix(*data())
    params = {"objective": "binary:logistic", "eval_metric": ["logloss", "auc"]}
    with wandb.init(project="p", name="xgb") as run:
        xgboost.train(params, matrix, 3, evals=[(matrix, "train")], verbose_eval=False, callbacks=[callback(log_model=True)])

    assert [data["epoch"] for _, data in rows("xgb")] == [0, 1, 2]
    assert statistics("xgb") == {"train-logloss": "min", "train-auc": "max", "epoch": "last"}
    exp = mlv.Exp.open("runs/p/xgb")
    assert [event.data["columns"] for event in exp.events("table")] == [["Feature", "Importance"]]
    assert (exp.path / "files" / f"{run.id}_model.json").is_file()


def test_lightgbm():
    """`wandb.integration.lightgbm`: rounds of training and of `cv`, the best round and score."""
    lightgbm = library("lightgbm")
    callbacks = import_module("wandb.integration.lightgbm")
    params = {"objective": "binary", "verbose": -1, "num_threads": 1}
    training = lightgbm.Dataset(*data())
    with wandb.init(project="p", name="lgb"):
        model = lightgbm.train(
            params, training, 3, valid_sets=[training], valid_names=["train"], callbacks=[callbacks.wandb_callback()]
        )
        callbacks.log_summary(model, save_model_checkpoint=True)
    with wandb.init(project="p", name="cv"):
        lightgbm.cv(params, lightgbm.Dataset(*data()), 2, nfold=2, callbacks=[callbacks.wandb_callback()])

    assert [data["iteration"] for _, data in rows("lgb")] == [0, 1, 2]
    assert statistics("lgb")["train_binary_logloss"] == "min"
    assert "best_score/train/binary_logloss" in statistics("lgb")
    assert {"valid_binary_logloss-mean", "valid_binary_logloss-stdv"} <= rows("cv")[0][1].keys()


@pytest.mark.parametrize(
    ("package", "name", "arguments"),
    [
        ("xgboost", "WandbCallback", ()),
        ("keras", "WandbMetricsLogger", ()),
        ("keras", "WandbModelCheckpoint", ("a.keras",)),
        ("stable_baselines3", "WandbCallback", ()),
    ],
)
def test_callbacks_without_a_run(package, name, arguments):
    """A callback without a run says what to call first."""
    library(package)
    module = import_module(f"wandb.integration.{'sb3' if package == 'stable_baselines3' else package}")

    with pytest.raises(wandb.Error, match=rf"before {name}\(\)"):
        getattr(module, name)(*arguments)
