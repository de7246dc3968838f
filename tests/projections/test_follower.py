"""The process of an output: what it imports."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from conftest import wait_until

FAKE = """
import os, sys
with open({record!r}, "a") as file:
    file.write(f"{{__name__}} {{'mlv.projections.follower' in sys.orig_argv}}\\n")
Tensor = ()
"""
TRAINING = """
import mlv
exp = mlv.Exp("runs", "exp", outputs=["tensorboard"], capture=(), system=False)
exp.log({"loss": 0.5}, step=1)
exp.log.text("said", "hello", step=1)
exp.log.histogram("weights", [1.0, 2.0, 2.0], step=1)
exp.close()
"""


@pytest.mark.parametrize("package", ["torch", "comet_ml", "tensorflow", "boto3"])
def test_event_files_need_no_heavy_packages(tmp_path, package):
    """D10: the process that keeps TensorBoard files imports neither torch nor what else tensorboardX would import."""
    pytest.importorskip("tensorboardX")
    pytest.importorskip("numpy")
    record = tmp_path / "imported"
    (tmp_path / f"{package}.py").write_text(FAKE.format(record=str(record)))
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(TRAINING))

    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, timeout=60, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    wait_until(lambda: list((tmp_path / "runs/exp/tensorboard").glob("*tfevents*")))
    assert not record.exists(), record.read_text()


def test_output_that_needs_torch_has_it(tmp_path):
    """Torch is hidden from tensorboardX only: an output of the user's own may import it."""
    pytest.importorskip("tensorboardX")
    (tmp_path / "torch.py").write_text("VALUE = 1\nTensor = ()\n")
    (tmp_path / "mine.py").write_text(
        textwrap.dedent("""
        from mlv.projections import TensorBoard

        class Mine(TensorBoard):
            def write(self, batch):
                import torch
                (self._folder / "torch").write_text(str(torch.VALUE))
                super().write(batch)
        """)
    )
    script = tmp_path / "train.py"
    script.write_text(TRAINING.replace('["tensorboard"]', "[mine.Mine()]").replace("import mlv", "import mlv, mine"))

    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, timeout=60, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs/exp/tensorboard/torch").read_text() == "1"


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(tmp_path, closed):
    """Where standard streams are closed, what the processes inherit is not taken for one of them."""
    (tmp_path / "train.py").write_text(TRAINING.replace('"tensorboard"', '"csv"'))
    subprocess.run(["sh", "-c", f"exec {sys.executable} train.py {closed}"], cwd=tmp_path, timeout=60, check=False)

    assert "loss,1," in (tmp_path / "runs/exp/csv/log.csv").read_text()
