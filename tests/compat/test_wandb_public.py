"""Scripts that use wandb run unchanged by `mlv run --as wandb`: two of our own, and public ones, shrunken by their arguments.

The public ones are fetched for the test, at a commit and with a checksum, and are no part of this repository:
`MLV_PUBLIC_SCRIPTS` is `fetch`, or a folder with copies of them, `<owner>/<repository>/<path>`.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from urllib.request import urlopen

import pytest

import mlv
from mlv.audit.verify import verify

SOURCE = os.environ.get("MLV_PUBLIC_SCRIPTS", "")
needs_scripts = pytest.mark.skipif(not SOURCE, reason="set MLV_PUBLIC_SCRIPTS=fetch to fetch public scripts")
pytestmark = pytest.mark.timeout(300)


class Repository(NamedTuple):
    """Files of a repository at a commit, with the SHA-256 of each."""

    name: str
    commit: str
    files: dict[str, str]


NANOGPT = Repository(
    "karpathy/nanoGPT",
    "3adf61e154c3fe3fca428ad6bc3818b27a3b8291",
    {
        "train.py": "413bd97b40bb400a2a0d01230e2946f056c263ebac1b7281c2367d964a123085",
        "model.py": "7c01703240dbec5d554527dc666e35b3df8391d0b117fddc07afcf325a21d11c",
        "configurator.py": "5cc23aca26b4ab3c0d9e5f82740f4781f9444f42718c15abcee70d93c5aabe8f",
    },
)
CLEANRL = Repository(
    "vwxyzjn/cleanrl",
    "fe8d8a03c41a7ef5b523e2e354bd01c363e786bb",
    {"cleanrl/ppo.py": "d8dfbb7ac0b21e747b77d6e6673e566db4d6cdacc83bcebcd19cf87ad0e459ae"},
)
EXAMPLES = Repository(
    "wandb/examples",
    "5cab88702fc51edfb4afc79a1de89e9acf6cb605",
    {
        "examples/wandb-log/sqrt.py": "853ba5a61696879f3ea1d44d45f7d8c31523b25b1f5726e01c1b0b4e826b93cd",
        "examples/api-examples/resume/train.py": "2ed68dab743df694a46163e1fe76ed90457649f1666f0dd3ef429e3d35982212",
        "examples/api-examples/group-and-resume/train.py": "5f06d9d0c1d2ca84ae552cd6b73529673d8cc33c77a212b1fa54c355600f2558",
        "examples/api-examples/group-and-resume/eval.py": "ccbed8087db8dc5df32ee93487af01498d25ba972d8591794ebc8f93d7a67c2b",
        "examples/api-examples/plotly/run.py": "e367728897c439c7cd098afeff4029685fbf2c3f47f781491a246e7103e2ad6d",
        "examples/machine-learning/matplotlib/mpl.py": "2314e522590bd6b06f0fdd8d2d92dc1c1d0c593bbe5990a9df3c3bf40e5f4876",
        "examples/wandb-sweeps/sweeps-boolean-parameters/sweep-bool.yaml": (
            "61ceed599bf9ad5cb906dfcfcb5beda304ef7dc3cee0f89b11a757f200756db1"
        ),
        "examples/wandb-sweeps/sweeps-boolean-parameters/train-bool.py": (
            "f4d661d75bfd9db3136574f3997fff68b6ff5ac98b9e5570d25186a0f33f97cb"
        ),
        "examples/wandb-sweeps/sweeps-cross-validation/train-cross-validation.py": (
            "34a59c58580921dcf0544ca5ae6f7bafc1146b250725a0d0c2594cc6f41f54a3"
        ),
        "examples/boosting-algorithms/xgboost-dermatology/train.py": (
            "2c13d819dc951a66e3030761889386f1858bfcbd22980e18589792970397c031"
        ),
    },
)


def fetched(repository: Repository, path: str, into: Path) -> Path:
    """Put a file into a folder, under its own name; skip the test where it cannot be had."""
    if SOURCE == "fetch":
        address = f"https://raw.githubusercontent.com/{repository.name}/{repository.commit}/{path}"
        try:
            with urlopen(address, timeout=30) as answer:
                content = answer.read()
        except OSError as error:
            pytest.skip(f"{address} cannot be fetched: {error}")
    else:
        content = Path(SOURCE, repository.name, path).read_bytes()
    assert hashlib.sha256(content).hexdigest() == repository.files[path], f"{path} is another file by now"
    target = into / Path(path).name
    target.write_bytes(content)
    return target


def needs(*packages: str) -> None:
    for package in packages:
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


def run(folder: Path, *words: str, **variables: str) -> str:
    """Run a command by `mlv run --as wandb`, and return what it printed."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB_", "MLV_"))}
    environment |= {"MLV_DIR": str(folder / "runs"), "MLV_SYSTEM": "off", "MPLBACKEND": "Agg", **variables}
    command = [sys.executable, "-m", "mlv", "run", "--as", "wandb", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def experiments(folder: Path) -> list[mlv.Exp]:
    """The experiments that were logged, each of which ended well and is intact."""
    exps = [*mlv.find(folder / "runs")]
    assert {(exp.status, verify(exp.path).verdict) for exp in exps} == {("ok", "intact")}
    assert not [event for exp in exps for event in exp.events("rejected")]
    return exps


def rows(exp: mlv.Exp) -> list[tuple[Any, list[str]]]:
    return [(event.step, sorted(event.data)) for event in exp.events("metrics")]


SETTINGS = """
import sys

steps, log, name = 3, False, "run"
own = {key for key, value in [*globals().items()] if not key.startswith("_") and isinstance(value, (int, bool, str))}
for argument in sys.argv[1:]:
    key, value = argument.removeprefix("--").split("=")
    globals()[key] = type(globals()[key])(eval(value)) if key != "name" else value
config = {key: globals()[key] for key in own}

if log:
    import wandb
    wandb.init(project="p", name=name, config=config)
for step in range(steps):
    if log:
        wandb.log({"iter": step, "train/loss": 1 / (step + 1), "lr": 0.1})
"""
"""A script whose settings are its global variables, which imports wandb late and never ends the run."""

WORKERS = """
import multiprocessing
import wandb

def train(number, queue, group):
    run = wandb.init(project="p", group=group, job_type="fold", name=f"{group}-{number}", reinit=True)
    for step in range(2):
        run.log({"acc": number + step})
    wandb.join()
    queue.put(number)

if __name__ == "__main__":
    queue = multiprocessing.Queue()
    workers = [multiprocessing.Process(target=train, args=(number, queue, "g")) for number in range(2)]
    for worker in workers:
        worker.start()
    with wandb.init(project="p", name="all", job_type="main") as run:
        run.log({"acc": sum(queue.get() for _ in workers)})
    for worker in workers:
        worker.join()
"""
"""A script whose workers have runs of their own, in a group, beside its own run."""


def test_settings_that_are_global_variables(tmp_path):
    """A run that nobody ends is complete when the script ends, and well."""
    (tmp_path / "train.py").write_text(SETTINGS)
    run(tmp_path, "train.py", "--log=True", "--name=first", "--steps=2")

    [exp] = experiments(tmp_path)
    assert (exp.name, exp.params) == ("first", {"steps": 2, "log": True, "name": "first"})
    assert rows(exp) == [(step, ["iter", "lr", "train/loss"]) for step in range(2)]


def test_workers_with_runs_of_their_own(tmp_path):
    """Runs of several processes at once are experiments of their own."""
    (tmp_path / "train.py").write_text(WORKERS)
    run(tmp_path, "train.py")

    exps = {exp.name: exp for exp in experiments(tmp_path)}
    assert {name: (exp.kind, len(rows(exp))) for name, exp in exps.items()} == {
        "g-0": ("fold", 2), "g-1": ("fold", 2), "all": ("main", 1),
    }  # fmt: skip


@needs_scripts
def test_nanogpt(tmp_path):
    """nanoGPT logs losses at its own steps, with its settings as params."""
    needs("torch", "numpy")
    import numpy

    for path in NANOGPT.files:
        fetched(NANOGPT, path, tmp_path)
    data = tmp_path / "data" / "tiny"
    data.mkdir(parents=True)
    for name in ("train", "val"):
        numpy.random.default_rng(0).integers(0, 65, 2000).astype(numpy.uint16).tofile(data / f"{name}.bin")
    (data / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": 65}))
    settings = {
        "wandb_log": True, "wandb_project": "p", "wandb_run_name": "gpt", "dataset": "tiny", "device": "cpu",
        "dtype": "float32", "compile": False, "eval_iters": 2, "eval_interval": 2, "block_size": 16, "batch_size": 2,
        "n_layer": 1, "n_head": 2, "n_embd": 8, "max_iters": 4, "gradient_accumulation_steps": 1, "warmup_iters": 1,
    }  # fmt: skip
    run(tmp_path, "train.py", *(f"--{key}={value}" for key, value in settings.items()))

    [exp] = experiments(tmp_path)
    assert (exp.path, exp["n_embd"], exp["compile"]) == (tmp_path / "runs/p/gpt", 8, False)
    assert rows(exp) == [(step, ["iter", "lr", "mfu", "train/loss", "val/loss"]) for step in range(3)]


@needs_scripts
def test_cleanrl(tmp_path):
    """cleanrl's PPO is tracked through its SummaryWriter, whose event files are written as before."""
    needs("torch", "gymnasium", "tyro", "tensorboard")
    fetched(CLEANRL, "cleanrl/ppo.py", tmp_path)
    run(
        tmp_path, "ppo.py", "--track", "--wandb-project-name", "p", "--total-timesteps", "256", "--num-envs", "2",
        "--num-steps", "32", "--no-cuda",
    )  # fmt: skip

    [exp] = [exp for exp in experiments(tmp_path) if exp.path.parent.name == "p"]
    assert exp.params["total_timesteps"] == 256
    losses = [event.step for event in exp.events("metrics") if "losses/value_loss" in event.data]
    assert losses == [64, 128, 192, 256]
    assert list((tmp_path / "runs").glob("CartPole*/events.out.tfevents.*"))


@needs_scripts
def test_sqrt(tmp_path):
    """The shortest example logs ten rows."""
    fetched(EXAMPLES, "examples/wandb-log/sqrt.py", tmp_path)
    run(tmp_path, "sqrt.py", "2")

    [exp] = experiments(tmp_path)
    assert (exp.path.parent.name, exp.params) == ("sqrt2", {"steps": 10})
    assert rows(exp) == [(step, ["Approx. Sqrt2"]) for step in range(10)]
    assert exp.summary()["Approx. Sqrt2"].last == pytest.approx(2**0.5)


@needs_scripts
def test_resume(tmp_path):
    """A run that is resumed by variables goes on in its experiment."""
    fetched(EXAMPLES, "examples/api-examples/resume/train.py", tmp_path)
    run(tmp_path, "train.py", "--num_epochs=1", WANDB_RUN_ID="r1", WANDB_PROJECT="p")
    variables = {"WANDB_RESUME": "allow", "WANDB_RUN_ID": "r1", "WANDB_PROJECT": "p", "WANDB_ALLOW_VAL_CHANGE": "true"}
    run(tmp_path, "train.py", "--start_epoch=1", "--num_epochs=1", **variables)

    [exp] = experiments(tmp_path)
    assert (len(exp.runs), rows(exp)) == (2, [(0, ["acc", "loss"]), (1, ["acc", "loss"])])


@needs_scripts
def test_groups(tmp_path):
    """Runs of training and evaluation share a group, and are of kinds of their own."""
    for name in ("train", "eval"):
        fetched(EXAMPLES, f"examples/api-examples/group-and-resume/{name}.py", tmp_path)
    run(tmp_path, "train.py", "--group_id", "g", WANDB_PROJECT="p")
    run(tmp_path, "eval.py", "--group_id", "g", "--epoch", "3", WANDB_PROJECT="p")

    exps = {exp.kind: exp for exp in experiments(tmp_path)}
    assert {kind: len(rows(exp)) for kind, exp in exps.items()} == {"train": 50, "eval": 1}
    facts = [next(iter(exp.events("event", name="wandb/run"))).data["group"] for exp in exps.values()]
    assert facts == ["g", "g"]


@needs_scripts
def test_figures(tmp_path):
    """Figures of plotly and matplotlib that are logged bare are figures."""
    needs("plotly", "matplotlib", "numpy")
    for path in ("examples/api-examples/plotly/run.py", "examples/machine-learning/matplotlib/mpl.py"):
        run(tmp_path, fetched(EXAMPLES, path, tmp_path).name, WANDB_PROJECT=Path(path).stem)

    figures = {exp.path.parent.name: sorted(event.name for event in exp.events("figure")) for exp in experiments(tmp_path)}
    assert figures == {"run": ["contour", "mpl", "scatter"], "mpl": ["scatter-with-histos"]}


@needs_scripts
def test_a_sweep_of_a_program(tmp_path):
    """The grid of an example is swept, by its YAML and its program."""
    needs("yaml")
    for name in ("sweep-bool.yaml", "train-bool.py"):
        fetched(EXAMPLES, f"examples/wandb-sweeps/sweeps-boolean-parameters/{name}", tmp_path)
    source = "import wandb, yaml; wandb.agent(wandb.sweep(yaml.safe_load(open('sweep-bool.yaml')), project='p'), project='p')"
    run(tmp_path, "-c", source)

    configs = sorted((exp["optimizer"], exp["flag1"], exp["flag2"]) for exp in experiments(tmp_path))
    assert configs == [(name, one, two) for name in ("adam", "sgd") for one in (False, True) for two in (False, True)]


@needs_scripts
def test_workers_of_a_sweep(tmp_path):
    """Cross-validation in processes of their own: a run for each fold, in the group of a sweep, and one for all."""
    path = "examples/wandb-sweeps/sweeps-cross-validation/train-cross-validation.py"
    run(tmp_path, fetched(EXAMPLES, path, tmp_path).name)

    exps = experiments(tmp_path)
    assert len(exps) == 6
    assert all(rows(exp) == [(0, ["val_accuracy"])] for exp in exps)


@needs_scripts
def test_xgboost(tmp_path):
    """`wandb.xgboost.WandbCallback` logs the rounds, and the summary takes what the script computes."""
    needs("xgboost", "numpy")
    fetched(EXAMPLES, "examples/boosting-algorithms/xgboost-dermatology/train.py", tmp_path)
    random = Random(0)
    lines = [
        ",".join(str(random.randrange(1, 7) if column == 34 else random.randrange(4)) for column in range(35))
        for _ in range(60)
    ]
    (tmp_path / "dermatology.data").write_text("\n".join(lines))
    run(tmp_path, "train.py", WANDB_PROJECT="p")

    [exp] = experiments(tmp_path)
    assert exp["num_class"] == 6
    assert [event.data["epoch"] for event in exp.events("metrics") if "epoch" in event.data] == [0, 1, 2, 3, 4]
    assert exp.summary()["Error Rate"].statistic == "summary"
