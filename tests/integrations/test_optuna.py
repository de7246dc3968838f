"""Studies of Optuna: a sub-experiment for each trial, with a status that says how it ended."""

from __future__ import annotations

import pytest
from training import die_and_go_on, is_intact, surviving

import mlv

optuna = pytest.importorskip("optuna")

STUDY = """
import optuna
from mlv.integrations.optuna import Callback

def objective(trial, exp):
    x = trial.suggest_float("x", -1, 1)
    for step in range(3):
        exp.log({"loss": x**2 + step}, step=step)
    if trial.number == last:
        kill()
    return x**2

exp = Exp("runs", "study", on_exists="open")
study = optuna.create_study(storage="sqlite:///study.db", study_name="study", load_if_exists=True)
callback = Callback(exp=exp)
study.optimize(callback.track(objective), n_trials=6 - len(study.trials), callbacks=[callback])
"""


@pytest.mark.crash
def test_a_study_goes_on_after_a_kill(tmp_path, monkeypatch):
    """A study that is killed in a trial goes on: the trial says so, and the others are there once."""
    monkeypatch.chdir(tmp_path)

    die_and_go_on(STUDY, last=2)

    study = mlv.Exp.open(tmp_path / "runs" / "study")
    assert surviving(study.path, "value") == [0, 1, 3, 4, 5]
    assert {trial.name: trial.runs[-1].status for trial in study.sub_exps} == {
        f"trial_{number}": "killed" if number == 2 else "ok" for number in range(6)
    }
    assert all(surviving(trial.path, "loss") == [0, 1, 2] for trial in study.sub_exps)
    assert is_intact(study.path)


@pytest.mark.parametrize("is_tracked", [True, False], ids=["tracked", "afterwards"])
def test_pruned_and_failed_trials_say_so(is_tracked, tmp_path):
    """A trial that was pruned or failed has no value, and its status and tag say how it ended."""
    from mlv.integrations.optuna import Callback

    def objective(trial, exp=None):
        trial.suggest_categorical("kind", ["a"])
        trial.report(0.5 + trial.number, step=7)
        if trial.number == 1:
            raise optuna.TrialPruned
        if trial.number == 2:
            raise ValueError("unlucky")
        return 1.0

    callback = Callback(savedir=tmp_path, name="study")
    study = optuna.create_study()
    tracked = callback.track(objective) if is_tracked else objective
    study.optimize(tracked, n_trials=3, catch=ValueError, callbacks=[callback])
    callback.close()

    exp = mlv.Exp.open(tmp_path / "study")
    trials = {trial.name: trial for trial in exp.sub_exps}
    assert [run.status for trial in trials.values() for run in trial.runs] == ["ok", "interrupted", "failed"]
    assert [trial.tags for trial in trials.values()] == [(), ("pruned",), ()]
    assert {trial["kind"] for trial in trials.values()} == {"a"}
    assert trials["trial_1"].summary()["reported"].last_step == 7
    assert [event.data["state"] for event in exp.events("event", name="trial")] == ["COMPLETE", "PRUNED", "FAIL"]
    assert surviving(exp.path, "value") == surviving(exp.path, "best_value") == [0]
    assert (exp["study"]["sampler"], exp.runs[-1].status) == ("TPESampler", "ok")


def test_several_objectives(tmp_path):
    """The values of several objectives are several series."""
    from mlv.integrations.optuna import Callback

    exp = mlv.Exp(tmp_path, "study")
    study = optuna.create_study(directions=["minimize", "maximize"])
    study.optimize(lambda trial: (trial.suggest_int("n", 1, 3), 2.0), n_trials=2, callbacks=[Callback(exp=exp)])

    assert {"value_0", "value_1", "params/n"} == {*exp.summary()}
    exp.close()
