"""`mlv run`: scripts for other loggers run unchanged, as themselves."""

from __future__ import annotations

import os
import sys

import pytest

import mlv

TRAIN = """
import subprocess, sys
import wandb

with wandb.init(project="p", name="n", config={"args": sys.argv[1:]}) as run:
    wandb.log({"loss": 0.5})
print(__name__, sys.argv[0], wandb.__name__)
child = "import wandb.sdk.lib.config_util, sys; print(wandb.__name__, sys.path[:1])"
print(subprocess.run([sys.executable, "-c", child], capture_output=True, text=True).stdout, end="")
sys.exit(7)
"""


@pytest.fixture(autouse=True)
def _own(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_CONSOLE", "off")
    monkeypatch.setenv("MLV_DIR", "runs")
    (tmp_path / "train.py").write_text(TRAIN)


def test_script(process, tmp_path):
    """A script has its arguments, its name and its exit status, and children have the drop-in, too."""
    done = process("run", "--as", "wandb", "train.py", "--lr", "0.1", "-h")

    own = "mlv.compat.wandb"
    assert (done.returncode, done.stdout) == (7, f"__main__ train.py {own}\n{own} ['']\n"), done.stderr
    exp = mlv.Exp.open(tmp_path / "runs/p/n")
    assert (exp.params, exp.summary()["loss"].last) == ({"args": ["--lr", "0.1", "-h"]}, 0.5)


def test_module_and_program(process, tmp_path):
    """Modules run as with `python -m`, and any program has the drop-in in the Pythons that it starts."""
    module = process("run", "--as", "wandb", "-m", "train", "--lr")
    program = process("run", "--as", "wandb", sys.executable, "-c", "import wandb; print(wandb.__name__)")

    assert (module.returncode, mlv.Exp.open(tmp_path / "runs/p/n").params) == (7, {"args": ["--lr"]})
    assert (program.returncode, program.stdout) == (0, "mlv.compat.wandb\n")


def test_several_libraries(process, tmp_path):
    """`--as wandb,tensorboard` replaces both: scalars are an experiment, and metrics of the run that follows them."""
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    (tmp_path / "both.py").write_text(
        """
import wandb
from tensorboardX import SummaryWriter

with wandb.init(project="p", name="n", sync_tensorboard=True), SummaryWriter("board") as writer:
    writer.add_scalar("loss", 0.5, 3)
print(SummaryWriter.__module__)
"""
    )

    done = process("run", "--as", "wandb,tensorboard", "both.py")

    assert done.stdout == "mlv.compat.tensorboardX.writer\n", done.stderr
    for folder in ("runs/p/n", "board"):
        [exp] = mlv.find(tmp_path / folder)
        assert [(event.step, event.data) for event in exp.events("metrics")] == [(3, {"loss": 0.5})]


def test_another_sitecustomize(process, tmp_path, monkeypatch):
    """A `sitecustomize` that somebody has runs as well."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "sitecustomize.py").write_text("import sys\nsys.mine = 1\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "mine"), os.environ.get("PYTHONPATH", "")]))

    code = "import sys, wandb, sitecustomize; print(sys.mine, wandb.__name__, hasattr(sitecustomize, '_begin'))"
    done = process("run", "--as", "wandb", "-c", code)

    assert done.stdout == "1 mlv.compat.wandb False\n", done.stderr


def test_a_sitecustomize_that_fails(process, tmp_path, monkeypatch):
    """Python reports the fault, as without `mlv run`, and the script has the drop-in all the same: nothing is sent anywhere."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "sitecustomize.py").write_text("raise RuntimeError('of my own')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "mine"), os.environ.get("PYTHONPATH", "")]))

    done = process("run", "--as", "wandb", "-c", "import wandb; print(wandb.__name__)")

    assert done.stdout == "mlv.compat.wandb\n", done.stderr
    assert "RuntimeError: of my own" in done.stderr


def test_the_current_folder_in_the_path_of_modules(process, tmp_path, monkeypatch):
    """An empty entry of PYTHONPATH is the current folder, as for Python itself."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "train.py").write_text("import beside\nprint(beside.__name__)\n")
    (tmp_path / "beside.py").touch()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", os.environ.get("PYTHONPATH", str(tmp_path / "none"))]))

    done = process("run", "--as", "wandb", os.path.join("scripts", "train.py"))

    assert done.stdout == "beside\n", done.stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--as", "aim", "train.py"), "--as aim: give one or more of wandb"),
        (("--as", ",", "train.py"), "give one or more of wandb"),
        (("--as", "wandb", "missing.py"), "there is no script missing.py"),
        (("--as", "wandb", "no-such-program"), "no-such-program cannot be run: No such file"),
        (("--as", "wandb"), "there is nothing to run"),
        (("--as", "wandb", ""), "there is nothing to run"),
    ],
)
def test_bad_input(command, words, reason):
    """What cannot be run is said, with status 2."""
    done = command("run", *words)

    assert done.returncode == 2
    assert reason in done.stderr
