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


def test_another_sitecustomize(process, tmp_path, monkeypatch):
    """A `sitecustomize` that somebody has runs as well."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "sitecustomize.py").write_text("import sys\nsys.mine = 1\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "mine"), os.environ.get("PYTHONPATH", "")]))

    code = "import sys, wandb, sitecustomize; print(sys.mine, wandb.__name__, hasattr(sitecustomize, '_begin'))"
    done = process("run", "--as", "wandb", "-c", code)

    assert done.stdout == "1 mlv.compat.wandb False\n", done.stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--as", "aim", "train.py"), "--as aim: give one or more of wandb"),
        (("--as", ",", "train.py"), "give one or more of wandb"),
        (("--as", "wandb", "missing.py"), "there is no script missing.py"),
        (("--as", "wandb", "no-such-program"), "no-such-program cannot be run: No such file"),
        (("--as", "wandb"), "there is nothing to run"),
    ],
)
def test_bad_input(process, words, reason):
    """What cannot be run is said, with status 2."""
    done = process("run", *words)

    assert done.returncode == 2
    assert reason in done.stderr
