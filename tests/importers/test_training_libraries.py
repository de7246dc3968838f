"""What Lightning, Keras, transformers and Ray themselves write comes over, while it is written, cut, damaged, and in part gone.

Each library trains once, in a process of its own; after each epoch it waits until the test has looked. `tox run -e importers`
has them all.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import run_command, wait_until

import mlv
from importers.trees import content, import_all, points
from mlv.errors import InvalidArgument
from mlv.importers.importing import Outcome

pytestmark = pytest.mark.timeout(240)
EPOCHS = 3

PAUSE = """
    import json, pathlib, sys, time

    def pause(number):
        pathlib.Path(f"at-{number}").touch()
        while not pathlib.Path(f"go-{number}").exists():
            time.sleep(0.01)

    def tell(rows):
        pathlib.Path("told.json").write_text(json.dumps(rows))
"""
"""What the scripts share: to wait after an epoch, and to tell the numbers that the library has in memory, by name and step."""

KERAS = """
    import numpy, keras

    class Waits(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            pause(epoch)

    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    x = numpy.arange(8.0).reshape(4, 2)
    log = keras.callbacks.CSVLogger("source/training.csv")
    history = model.fit(x, x[:, :1], epochs=EPOCHS, verbose=0, callbacks=[log, Waits()], validation_split=0.5).history
    tell([[step, name, float(value)] for name, values in history.items() for step, value in enumerate(values)])
"""

LIGHTNING = """
    import lightning, torch
    from lightning.pytorch.demos.boring_classes import BoringModel
    from lightning.pytorch.loggers import CSVLogger

    told = []

    class Model(BoringModel):
        def training_step(self, batch, index):
            loss = super().training_step(batch, index)["loss"]
            self.log("train_loss", loss, on_step=True, on_epoch=False)
            told.append([self.global_step, "train_loss", float(loss)])
            return loss

        def on_train_epoch_end(self):
            self.trainer.logger.save()
            pause(self.current_epoch)

    model = Model()
    model.save_hyperparameters({"lr": 0.1, "layers": [1, 2]})
    trainer = lightning.Trainer(
        max_epochs=EPOCHS, limit_train_batches=2, limit_val_batches=0, log_every_n_steps=1, accelerator="cpu",
        logger=CSVLogger("source", name="fit", flush_logs_every_n_steps=1),
        enable_progress_bar=False, enable_model_summary=False,
    )
    trainer.fit(model)
    tell(told)
"""

TRANSFORMERS = """
    import torch, transformers

    config = transformers.BertConfig(
        vocab_size=16, hidden_size=16, num_hidden_layers=1, num_attention_heads=1, intermediate_size=16,
        max_position_embeddings=8,
    )
    rows = [{"input_ids": torch.arange(4), "labels": torch.tensor(number % 2)} for number in range(4)]

    class Waits(transformers.TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            pause(round(state.epoch) - 1)

    arguments = transformers.TrainingArguments(
        "source", num_train_epochs=EPOCHS, per_device_train_batch_size=2, logging_steps=1, save_strategy="epoch",
        eval_strategy="epoch", report_to=[], use_cpu=True, disable_tqdm=True,
    )
    model = transformers.BertForSequenceClassification(config)
    trainer = transformers.Trainer(model, arguments, train_dataset=rows, eval_dataset=rows, callbacks=[Waits()])
    trainer.train()
    trainer.save_state()
    tell([
        [row["step"], name.replace("eval_", "eval/"), value] for row in trainer.state.log_history if "train_runtime" not in row
        for name, value in row.items() if name not in ("step", "epoch")
    ])
"""

RAY = """
    import os
    from ray import tune
    import ray

    home = os.getcwd()

    def train(config):
        import os, pathlib, time
        from ray import tune

        for number in range(EPOCHS):
            tune.report({"loss": config["x"] / (1 + number)})
            if config["x"] == 1:
                pathlib.Path(home, f"at-{number}").touch()
                while not pathlib.Path(home, f"go-{number}").exists():
                    time.sleep(0.01)

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    run = tune.RunConfig(name="sweep", storage_path=home + "/source", verbose=0)
    results = tune.Tuner(train, param_space={"x": tune.grid_search([1, 2])}, run_config=run).fit()
    tell([[step + 1, "loss", x / (1 + step)] for x in (1, 2) for step in range(EPOCHS)])
    ray.shutdown()
"""


SETTINGS = {
    "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "KERAS_BACKEND": "torch", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "TOKENIZERS_PARALLELISM": "false",
}  # fmt: skip


class Library(NamedTuple):
    """A library, and what it leaves."""

    module: str
    script: str
    format: str | None
    """To name, where a folder does not show it."""
    series: str
    """Pattern of the files with the metrics."""
    settings: str
    """Pattern of a file beside them that may be gone."""
    of_library: tuple[str, ...]
    """Metrics that it adds to those that it told of."""


LIBRARIES = {
    "keras": Library("keras", KERAS, "csv", "training.csv", "", ()),
    "lightning": Library("lightning", LIGHTNING, None, "fit/version_*/metrics.csv", "fit/version_*/hparams.yaml", ()),
    "transformers": Library("transformers", TRANSFORMERS, None, "checkpoint-*/trainer_state.json", "trainer_state.json", ()),
    "ray": Library("ray", RAY, None, "sweep/train_*/result.json", "sweep/train_*/params.json", ("time_total_s",)),
}


class Written(NamedTuple):
    """A source that a library wrote, and the numbers that it had in memory."""

    library: Library
    source: Path
    told: Counter[tuple[Any, ...]]
    seen: list[Path]
    """Copies of the source after each epoch, while it was being written."""


def written(name: str, folder: Path) -> Written:
    library = LIBRARIES[name]
    script = textwrap.dedent(PAUSE) + textwrap.dedent(library.script).replace("EPOCHS", str(EPOCHS))
    (folder / "source").mkdir()
    (folder / "train.py").write_text(script)
    env = {**os.environ, **SETTINGS}
    seen = []
    with (folder / "output.txt").open("w") as output:
        training = subprocess.Popen([sys.executable, "train.py"], env=env, cwd=folder, stdout=output, stderr=output)
        try:
            for number in range(EPOCHS):
                wait_until(lambda number=number: (folder / f"at-{number}").exists() or training.poll() is not None, 150)
                seen.append(folder / f"seen-{number}" / "source")
                shutil.copytree(folder / "source", seen[-1])
                (folder / f"go-{number}").touch()
            assert training.wait(60) == 0, (folder / "output.txt").read_text()[-3000:]
        finally:
            if training.poll() is None:
                training.kill()
                training.wait()
    told = Counter((step, key, round(value, 5)) for step, key, value in json.loads((folder / "told.json").read_text()))
    return Written(library, folder / "source", told, seen)


@pytest.fixture(scope="module", params=LIBRARIES)
def original(request: Any, tmp_path_factory: Any) -> Written:
    if find_spec(LIBRARIES[request.param].module) is None:
        pytest.skip(f"{request.param} writes the files")
    if request.param == "keras":
        pytest.importorskip("torch", reason="Keras runs on it here")
    if request.param in ("lightning",):
        pytest.importorskip("yaml")
    return written(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def copy(original: Written, tmp_path: Path) -> Written:
    """A copy of it, which a test may damage."""
    shutil.copytree(original.source, tmp_path / "source")
    return original._replace(source=tmp_path / "source")


def imported(written: Written, root: Path, source: Path | None = None) -> list[Outcome]:
    return import_all(source or written.source, root, written.library.format)


def values(outcomes: list[Outcome], library: Library) -> Counter[tuple[Any, ...]]:
    paths = {outcome.imported.path for outcome in outcomes if outcome.imported is not None}
    return Counter(
        (step, name, round(value, 5) if isinstance(value, float) else value)
        for path in paths
        for step, data in points(mlv.Exp.open(path))
        for name, value in data.items() if name not in library.of_library
    )  # fmt: skip


def are_intact(outcomes: list[Outcome]) -> bool:
    paths = [outcome.imported.path for outcome in outcomes if outcome.imported is not None and outcome.events]
    return all(str(run_command("verify", path).stdout).startswith("intact") for path in paths)


def series(written: Written) -> list[Path]:
    return sorted(written.source.glob(written.library.series))


def test_as_it_was_written(copy, tmp_path):
    """All numbers that the library had in memory are there, once; a second import changes nothing."""
    outcomes = imported(copy, tmp_path / "runs")

    assert [(each.error, dict(each.left)) for each in outcomes] == [("", {})] * len(outcomes)
    assert values(outcomes, copy.library) == copy.told
    assert are_intact(outcomes)
    before = content(tmp_path / "runs")
    imported(copy, tmp_path / "runs")
    assert content(tmp_path / "runs") == before


def test_that_is_being_written(copy, tmp_path):
    """Imports after each epoch bring what is there by then; in the end each number is there once."""
    source = tmp_path / "source"
    for seen in copy.seen:
        shutil.rmtree(source)
        shutil.copytree(seen, source)
        if not series(copy):  # Ray writes results when it finds the time
            continue
        outcomes = imported(copy, tmp_path / "runs")
        assert [(each.error, each.imported.differences) for each in outcomes] == [("", [])] * len(outcomes)
    shutil.rmtree(source)
    shutil.copytree(copy.seen[0].parents[1] / "source", source)

    outcomes = imported(copy, tmp_path / "runs")

    assert [each.imported.differences for each in outcomes] == [[]] * len(outcomes)
    assert values(outcomes, copy.library) == copy.told
    assert are_intact(outcomes)


@pytest.mark.parametrize("cut", [1, 3, 12])
def test_a_torn_last_line(copy, tmp_path, cut):
    """A last line that is cut waits, or its file is named; when it is whole, no number is half, stale or there twice."""
    wholes = {path: path.read_bytes() for path in series(copy)}
    for path, whole in wholes.items():
        path.write_bytes(whole[:-cut])
    first = imported(copy, tmp_path / "runs")
    assert all(each.notes or each.left or each.error for each in first if each.unit.size_bytes)
    for path, whole in wholes.items():
        path.write_bytes(whole)

    outcomes = imported(copy, tmp_path / "runs")

    assert [(each.error, each.imported.differences) for each in outcomes] == [("", [])] * len(outcomes)
    assert values(outcomes, copy.library) == copy.told


def flipped(content: bytes, letter: bytes) -> bytes:
    position = content.rindex(letter, 0, len(content) * 2 // 3)
    return content[:position] + bytes([content[position] ^ 0x40]) + content[position + 1 :]


def test_a_flipped_bit(copy, tmp_path):
    """A bit that is flipped between two values is counted or named, and costs the line that it is in, at most its file."""
    damaged = series(copy)[0]
    damaged.write_bytes(flipped(damaged.read_bytes(), b"," if damaged.suffix == ".csv" else b":"))

    outcomes = imported(copy, tmp_path / "runs")

    assert sum(sum(each.left.values()) for each in outcomes) >= 1
    assert not values(outcomes, copy.library) - copy.told
    assert are_intact(outcomes)


def test_a_missing_file(copy, tmp_path):
    """Settings that are gone are reported, and the numbers come over; without those it says what there could be."""
    for path in copy.source.glob(copy.library.settings) if copy.library.settings else ():
        path.unlink()
    outcomes = imported(copy, tmp_path / "runs")

    assert [each.error for each in outcomes] == [""] * len(outcomes)
    assert values(outcomes, copy.library) == copy.told
    assert copy.library.module in ("keras", "transformers") or any(
        "that is gone" in text for each in outcomes for text in each.left
    )
    for path in [*series(copy), *copy.source.glob("trainer_state.json"), *copy.source.glob("sweep/*/events.out*")]:
        path.unlink()
    with pytest.raises(InvalidArgument, match="holds nothing"):
        imported(copy, tmp_path / "runs")


def test_two_runs_in_one_folder(copy, tmp_path):
    """Two runs below one folder are experiments of their own; a trial has an ID, and a copy of it is the same one."""
    both = tmp_path / "both"
    for name in ("one", "two"):
        shutil.copytree(copy.source, both / name)

    outcomes = imported(copy, tmp_path / "runs", both)

    assert [each.error for each in outcomes] == [""] * len(outcomes)
    paths, times = [each.imported.path for each in outcomes], 1 if copy.library.module == "ray" else 2
    assert len(set(paths)) * 2 == len(paths) * times
    assert values(outcomes, copy.library) == Counter({key: times * count for key, count in copy.told.items()})
