"""The examples do what they show: train on real digits, prune the checkpoint, and leave everything on the disk."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import everything_from

import mlv
from mlv.audit.verify import verify
from mlv.store.seals import chains_of

np = pytest.importorskip("numpy")
pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
pytest.importorskip("rich")

EXAMPLES = Path(__file__).parents[2] / "examples"
EPOCHS = 20


@dataclass
class Ran:
    """A process that has ended, and the experiment that it made."""

    process: subprocess.CompletedProcess[str]
    exp: mlv.Exp


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run an example as a person would, in a folder of its own."""
    folder = tmp_path_factory.mktemp("examples")
    environment = {**os.environ, "MLV_SPOOL": str(tmp_path_factory.mktemp("spool"))}

    def run(name: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", EXAMPLES / name, *map(str, arguments)]
        settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 60, **options}
        process = subprocess.run(command, cwd=folder, env=environment, text=True, **settings)
        assert process.returncode == 0, process.stderr
        return process

    return run


@pytest.fixture(scope="module")
def training(run) -> Ran:
    process = run("train_digits.py", "--exp-name", "digits", "--epochs", EPOCHS)
    return Ran(process, mlv.Exp.open(Path(process.stdout.splitlines()[0].split()[-1]).parents[2]))


@pytest.fixture(scope="module")
def squeezing(run, training) -> Ran:
    process = run("squeeze.py", training.exp.path, "--rates", 0.5, 0.9)
    return Ran(process, training.exp)


def test_training_says_what_came_of_it(training):
    """The lines give the accuracy, which is good, the best checkpoint, and how to look; errors get the path and the digest."""
    outcome, look = training.process.stdout.splitlines()
    words = outcome.split()
    # Of a new machine, matplotlib says that it looks for fonts.
    errors = [line for line in training.process.stderr.splitlines() if "atplotlib" not in line]

    assert float(words[1]) > 0.95
    assert Path(words[-1]) == training.exp.best.path
    assert look == f"look at it: {sys.executable} -m mlv ui {training.exp.path.parent}"
    assert errors[0] == f"mlv: {training.exp.path}"
    assert re.fullmatch(r"mlv: digits is complete, digest [0-9a-f]{64}", errors[1])
    assert len(errors) == 2


def test_training_is_logged(training):
    """Every epoch has its metrics and a timed validation; the arguments are the params."""
    exp = training.exp
    series = {name: list(exp.events("metrics", name=name)) for name in ("train", "test")}

    assert [event.step for event in series["train"]] == [event.step for event in series["test"]] == list(range(EPOCHS))
    assert series["train"][-1].data["loss"] < series["train"][0].data["loss"]
    assert series["test"][-1].data["acc"] > 0.95
    assert len([event for event in exp.events("event", name="test/validation") if event.data["duration_s"] > 0]) == EPOCHS
    assert exp.params == {"epochs": EPOCHS, "hidden": 64, "lr": 0.05, "momentum": 0.9, "batch_size": 32, "seed": 0}


def test_training_describes_itself(training):
    """Metrics have units and modes, and a table tells which digits the best checkpoint takes for which."""
    described = {event.name: event.data for event in training.exp.events("metadata")}
    [confusion] = training.exp.events("event", name="test/confusion")
    counts = np.array(confusion.data["counts"])

    assert described["test/acc"]["mode"] == "max"
    assert described["train/loss"] == {"unit": "nat", "format": ".4f", "mode": "min"}
    assert counts.shape == (10, 10)
    assert counts.sum() == 450
    assert counts.trace() / 450 == training.exp.best.metrics["test/acc"]


def test_training_keeps_the_best(training):
    """Three checkpoints are those with the least loss, one is the latest; the best can be loaded."""
    exp = training.exp
    losses = {event.step: event.data["loss"] for event in exp.events("metrics", name="test")}
    in_order = sorted(losses, key=losses.__getitem__)
    names = {folder: sorted(path.stem for path in (exp.path / "models" / folder).iterdir()) for folder in ("top_k", "latest")}

    assert names["top_k"] == sorted(f"{step + 1:06d}-step{step}" for step in in_order[:3])
    assert names["latest"] == [f"{EPOCHS:06d}-step{EPOCHS - 1}"]
    assert (exp.best.step, exp.best.metrics["test/loss"]) == (in_order[0], losses[in_order[0]])
    assert {name: weights.shape for name, weights in exp.best.load().items()} == {
        "w1": (64, 64),
        "b1": (64,),
        "w2": (64, 10),
        "b2": (10,),
    }


def test_training_is_seen(training):
    """Every few epochs ten digits are logged with what was said of them, and the weights; at the end a figure."""
    image = pytest.importorskip("PIL.Image")
    exp = training.exp
    hardest = list(exp.events("image", name="test/hardest"))
    [figure] = exp.events("figure", name="test/confusion")
    with image.open(exp.path / figure.data["file"]["path"]) as picture:
        size = picture.size

    assert [event.step for event in hardest] == [0, 5, 10, 15, 19]
    assert [event.data["sizes"] for event in hardest] == [[[64, 64]] * 10] * 5
    assert all(re.fullmatch(r"\d, said \d", caption) for event in hardest for caption in event.data["captions"])
    assert {event.step for event in exp.events("histogram", name="weights/w1")} == {0, 5, 10, 15, 19}
    assert min(size) > 400


def test_training_is_complete(training):
    """The run ended well, its seal covers every line of it, and every file is as the log says."""
    [main] = training.exp.runs

    assert training.exp.status == "ok"
    assert verify(training.exp.path).verdict == "intact"
    assert chains_of(training.exp.path / "log.jsonl")[main.id].lines == 0


def test_squeezing_makes_sub_experiments(squeezing, training):
    """Each rate is a sub-experiment, which names its parent and the exact checkpoint."""
    subs = squeezing.exp.sub_exps

    assert [sub.path.relative_to(training.exp.path).as_posix() for sub in subs] == ["squeeze/subexp_1", "squeeze/subexp_2"]
    assert [sub["rate"] for sub in subs] == [0.5, 0.9]
    assert {sub.parent.id for sub in subs} == {sub.meta["parent"]["id"] for sub in subs} == {training.exp.id}
    assert {sub.meta["parent"]["checkpoint"]["sha256"] for sub in subs} == {training.exp.best.sha256}
    assert {sub.status for sub in subs} == {"ok"}


def test_squeezing_is_logged(squeezing, training):
    """Each sub-experiment says what the pruning cost; the terminal shows the same numbers."""
    best = training.exp.best.metrics["test/acc"]
    found = [next(iter(sub.events("metrics"))).data for sub in squeezing.exp.sub_exps]
    _, *rows = squeezing.process.stdout.splitlines()

    assert [metrics["acc/before"] for metrics in found] == [best, best]
    assert found[0]["acc/after"] > 0.9 > found[1]["acc/after"]
    assert [metrics["sparsity"] for metrics in found] == pytest.approx([0.5, 0.9], abs=0.01)
    assert [float(row.split()[3]) for row in rows] == [round(metrics["acc/after"], 4) for metrics in found]


def test_squeezing_keeps_what_it_pruned(squeezing):
    """The pruned network is a file of its sub-experiment."""
    for sub in squeezing.exp.sub_exps:
        [event] = sub.events("file")
        with np.load(sub.resolve(event.data)) as weights:
            assert (weights["w1"] == 0).mean() == pytest.approx(sub["rate"], abs=0.01)


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal that can be played")
def test_terminals_see_progress(run):
    """On a terminal a bar shows how far the training is."""
    ours, theirs = os.openpty()
    try:
        run("train_digits.py", "--epochs", 2, stderr=theirs)
    finally:
        os.close(theirs)
    shown = everything_from(ours).decode()

    assert "training" in shown
    assert "100%" in shown


def test_sweep(run, tmp_path):
    """Networks at each learning rate, from each seed, become one picture and the name of the best rate."""
    pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    process = run("sweep_digits.py", "--root", tmp_path / "sweep", "--epochs", 1, "--seeds", 2, "--out", tmp_path / "out.png")

    assert len(mlv.find(tmp_path / "sweep")) == 6
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    assert re.search(r"^lr [\d.]+: accuracy 0\.\d+, the mean of 2 seeds$", process.stdout, re.MULTILINE)
