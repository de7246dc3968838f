"""Hydra: an experiment for each job, below that of a sweep, whatever becomes of the job."""

from __future__ import annotations

import signal

import pytest
from training import DYING, TESTS, is_intact, surviving

import mlv

pytest.importorskip("hydra")

APP = f"""{TESTS}{DYING}
import hydra
import mlv

@hydra.main(config_path=None, version_base="1.2")
def train(config):
    with mlv.Exp() as exp:
        for step in range(3):
            exp.log({{"loss": config.lr / (step + 1)}}, step=step)
            if (config.lr, step) == (9, 1):
                kill()
    if config.lr < 0:
        raise ValueError("no way down")
    return config.lr

train()
"""
CALLBACK = ["+hydra.callbacks.mlv._target_=mlv.integrations.hydra.Callback", "+hydra.callbacks.mlv.name=all"]


@pytest.mark.crash
def test_jobs_of_a_sweep_lie_below_it(python, tmp_path):
    """Each job has an experiment of its own with its config, which ends as the job did: well, with an error, or killed."""
    done = python(APP, "-m", "+lr=1,-1,9", "+other=${lr}", *CALLBACK)
    assert done.returncode == -signal.SIGKILL, done.stderr

    sweep = mlv.Exp.open(tmp_path / "runs" / "all")
    jobs = sweep.sub_exps
    assert [(job.name, job["lr"], job["other"], job.runs[-1].status) for job in jobs] == [
        ("job_0", 1, 1, "ok"),
        ("job_1", -1, -1, "failed"),
        ("job_2", 9, 9, "killed"),
    ]
    assert [surviving(job.path, "loss") for job in jobs] == [[0, 1, 2], [0, 1, 2], [0, 1]]
    assert [[event.data for event in job.events("summary")] for job in jobs] == [[{"return_value": 1}], [], []]
    [error] = jobs[1].events("message")
    assert error.data["exception"]["message"] == "no way down"
    assert [*sweep["overrides"]] == ["+lr=1,-1,9", "+other=${lr}"]
    assert is_intact(sweep.path)


def test_a_job_alone_is_the_experiment(python, tmp_path):
    """Without a sweep, the experiment is that of the job, and goes on when it is named again."""
    for _ in range(2):
        done = python(APP, "+lr=1", *CALLBACK, "+hydra.callbacks.mlv.on_exists=open")
        assert done.returncode == 0, done.stderr

    exp = mlv.Exp.open(tmp_path / "runs" / "all")
    assert (exp["lr"], [run.status for run in exp.runs], exp.sub_exps) == (1, ["ok", "ok"], [])
