"""Launchers: the flags of absl are params; jobs of submitit log as any other process."""

from __future__ import annotations

import sys

import pytest
from training import is_intact, surviving

import mlv

ABSL = """
from absl import app, flags, logging
import logging as standard
import mlv
from mlv.integrations.absl import flag_values
from mlv.integrations.logging import Handler

flags.DEFINE_float("lr", 0.1, "the rate")
flags.DEFINE_list("layers", ["8", "8"], "the widths")

def main(_):
    with mlv.Exp("runs", "flags", flag_values()) as exp:
        standard.getLogger().addHandler(Handler(exp.log))
        logging.warning("step %d", 3)

app.run(main)
"""


def test_flags_become_params(python, tmp_path):
    """The flags of the script are params, those of absl are not; what absl logs comes through the handler of logging."""
    pytest.importorskip("absl.app", reason="absl-py is not installed")
    done = python(ABSL, "--lr=0.3")
    assert done.returncode == 0, done.stderr

    exp = mlv.Exp.open(tmp_path / "runs" / "flags")
    assert dict(exp.params) == {"lr": 0.3, "layers": ["8", "8"]}
    [message] = exp.events("message")
    assert (message.data["level"], message.data["message"]) == ("warning", "step 3")


def _job(exp, number):
    with mlv.Exp(exp.path.parent, f"job_{number}", {"number": number}) as own:
        own.log({"loss": number}, step=number)
    exp.log({"done": 1}, step=number)
    return str(own.path)


def test_jobs_of_submitit(tmp_path):
    """A job makes an experiment of its own, or logs into one that it is handed, whose run then is a child of the first."""
    submitit = pytest.importorskip("submitit")
    exp = mlv.Exp(tmp_path, "all")
    executor = submitit.LocalExecutor(folder=tmp_path / "submitit")
    executor.update_parameters(timeout_min=1)
    pickled = sys.modules["cloudpickle"] if "cloudpickle" in sys.modules else pytest.importorskip("cloudpickle")
    pickled.register_pickle_by_value(sys.modules[__name__])
    try:
        jobs = [executor.submit(_job, exp, number) for number in range(2)]
        paths = [job.result() for job in jobs]
    finally:
        pickled.unregister_pickle_by_value(sys.modules[__name__])

    assert [surviving(path, "loss") for path in paths] == [[0], [1]]
    assert sorted(surviving(exp.path, "done")) == [0, 1]
    exp.close()
    assert is_intact(exp.path)
