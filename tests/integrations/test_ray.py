"""Ray: trials of Tune as sub-experiments, and reports of Train, on a cluster of this machine with two processors."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest
from training import ONLY_OURS, TESTS, is_intact, library, surviving

import mlv
from mlv import integrations

os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # before Ray is imported: it would write a token into the home folder
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
ray = library("ray")
tune = library("ray.tune")
pytestmark = [*ONLY_OURS, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two processors, which the tests share."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not know the folder of the tests
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    return tmp_path


def search(config):
    """Count on from a checkpoint; each step is reported with one."""
    import tempfile

    from ray import tune

    step, checkpoint = 0, tune.get_checkpoint()
    if checkpoint:
        step = int(Path(checkpoint.path, "step").read_text())
    for now in range(step + 1, config.get("steps", 4) + 1):
        if now == config.get("fails_at") and not (config.get("once") and checkpoint):
            raise ValueError("unlucky")
        with tempfile.TemporaryDirectory() as saved:
            Path(saved, "step").write_text(str(now))
            metrics = {"loss": config["x"] / now, "nested": {"a": now}, "text": "t"}
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(saved))


def run(callbacks, space, folder, *, name="search", scheduler=None, stop=None, failures=0, keep=None):
    config = tune.RunConfig(
        name=name,
        storage_path=str(folder / "ray"),
        callbacks=callbacks,
        verbose=0,
        stop=stop,
        failure_config=tune.FailureConfig(max_failures=failures),
        checkpoint_config=tune.CheckpointConfig(num_to_keep=keep),
    )
    tuner = tune.Tuner(search, param_space=space, run_config=config, tune_config=tune.TuneConfig(scheduler=scheduler))
    return tuner.fit()


def trials_of(exp):
    return [mlv.Exp.open(trial.path) for trial in exp.sub_exps]


def errors_of(exp):
    return " ".join(str(dict(event.data)) for event in exp.events("message"))


def test_trials_are_sub_experiments(cluster, folder):
    """Each trial has its config, its results by iteration, its checkpoints and its status; the experiment an event for each."""
    from mlv.integrations.ray import Callback

    with mlv.Exp(folder / "runs", "search") as exp:
        run([Callback(exp=exp)], {"x": tune.grid_search([1.0, 2.0]), "fails_at": 3, "f": len, "once": False}, folder, keep=1)
        run([Callback(exp=exp)], {"x": 3.0}, folder, name="again")

    first, second, third = sorted(trials_of(exp), key=lambda trial: trial["x"])
    assert [trial.status for trial in (first, second, third)] == ["failed", "failed", "ok"]
    assert surviving(first.path, "loss") == [1, 2]
    assert surviving(third.path, "loss") == surviving(third.path, "nested/a") == [1, 2, 3, 4]
    assert {event.name for event in third.events("metrics")} == {""}
    assert {*third.summary()} == {"loss", "nested/a", "text", "time_this_iter_s", "time_total_s"}
    assert "unlucky" in errors_of(first)
    assert (third.latest.step, third.latest.path.joinpath("step").read_text()) == (4, "4")
    assert third.latest.path.joinpath("step").stat().st_nlink > 1
    assert [event.data["state"] for event in exp.events("event", name="trial")] == ["failed", "failed", "ended"]
    assert exp.summary()["params/x"].count == 3
    assert exp.status == "ok"
    assert all(is_intact(path) for path in (exp.path, first.path, third.path))


def test_a_trial_that_is_tried_again_rewinds(cluster, folder):
    """A trial that fails and goes on from its checkpoint has each step once, and says why it failed."""
    from mlv.integrations.ray import Callback

    run([Callback(folder / "runs", "search")], {"x": 1.0, "fails_at": 3, "once": True}, folder, failures=1)

    [trial] = trials_of(mlv.Exp.open(folder / "runs" / "search"))
    assert surviving(trial.path, "loss") == [1, 2, 3, 4]
    assert [event.data["message"] for event in trial.events("message")] == ["the trial failed, and is tried again"]
    assert trial.status == "ok"


def test_trials_that_tune_stops_say_so(cluster, folder):
    """A trial that a scheduler stops has a tag; one that reaches a criterion of the user's has none."""
    from mlv.integrations.ray import Callback

    class StopSmall(tune.schedulers.FIFOScheduler):
        def on_trial_result(self, controller, trial, result):
            return self.STOP if result["loss"] < 1 and trial.config["x"] == 2 else self.CONTINUE

    space = {"x": tune.grid_search([1.0, 2.0]), "steps": 9}
    run([Callback(folder / "runs", "search")], space, folder, scheduler=StopSmall(), stop={"training_iteration": 5})

    first, second = sorted(trials_of(mlv.Exp.open(folder / "runs" / "search")), key=lambda trial: trial["x"])
    assert (first.tags, first.status, surviving(first.path, "loss")) == ((), "ok", [1, 2, 3, 4, 5])
    assert (second.tags, second.status, surviving(second.path, "loss")) == (("stopped",), "ok", [1, 2, 3])


def test_an_exploit_is_a_rewind(cluster, folder):
    """A trial that takes over the checkpoint of another one goes on from its step, with the new config as an event."""
    from mlv.integrations.ray import Callback

    scheduler = tune.schedulers.PopulationBasedTraining(
        time_attr="training_iteration",
        metric="loss",
        mode="max",
        perturbation_interval=2,
        quantile_fraction=0.5,
        resample_probability=1.0,
        synch=True,
        hyperparam_mutations={"x": lambda: 7.0},
    )
    run([Callback(folder / "runs", "search")], {"x": tune.grid_search([1.0, 50.0])}, folder, scheduler=scheduler)

    exp = mlv.Exp.open(folder / "runs" / "search")
    first, second = sorted(trials_of(exp), key=lambda trial: trial["x"])
    exploits = list(first.events("event", name="exploited"))
    assert exploits
    assert {event.data["trial"] for event in exploits} == {second.name}
    assert first["x"] == 1.0
    assert [event.data["config"]["x"] for event in exploits] == [7.0] * len(exploits)
    assert surviving(first.path, "loss") == surviving(second.path, "loss") == [1, 2, 3, 4]
    assert is_intact(first.path)


TUNER = """
import os, tempfile
from pathlib import Path
import ray
from ray import tune
from mlv.integrations.ray import Callback
import test_ray
from test_ray import search
from training import kill

class Killer(tune.Callback):
    def on_trial_result(self, iteration, trials, trial, result, **info):
        if result["training_iteration"] == 3 and not os.path.exists("killed"):
            open("killed", "w").close()
            kill()

ray.cloudpickle.register_pickle_by_value(test_ray)
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
path = os.path.abspath("ray/search")
if tune.Tuner.can_restore(path):
    tuner = tune.Tuner.restore(path, search, param_space=None, resume_errored=True)
else:
    config = tune.RunConfig("search", os.path.dirname(path), callbacks=[Callback("runs", "search"), Killer()], verbose=0)
    tuner = tune.Tuner(search, param_space={"x": tune.grid_search([1.0, 2.0])}, run_config=config)
tuner.fit()
ray.shutdown()
"""


@pytest.mark.crash
def test_a_search_goes_on_after_a_kill(folder, python):
    """A search whose process is killed goes on in the same experiment with `Tuner.restore`: no step is lost or doubled."""
    here = f"{TESTS}sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    code = here + textwrap.dedent(TUNER)

    killed = python(code)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    again = python(code)
    assert again.returncode == 0, again.stderr

    exp = mlv.Exp.open(folder / "runs" / "search")
    assert [run.status for run in exp.runs] == ["killed", "ok"]
    trials = trials_of(exp)
    assert sorted(trial["x"] for trial in trials) == [1.0, 2.0]
    assert all(surviving(trial.path, "loss") == [1, 2, 3, 4] for trial in trials)
    assert {trial.status for trial in trials} == {"ok"}
    assert all(is_intact(path) for path in (exp.path, *(trial.path for trial in trials)))


def loop(config):
    """Train in two workers: the second report has a checkpoint, and rank 0 fails once at the third."""
    import tempfile

    from ray import train

    from mlv.integrations.ray import worker_exp

    rank, step = train.get_context().get_world_rank(), 0
    if train.get_checkpoint():
        step = int(Path(train.get_checkpoint().path, "step").read_text())
    with worker_exp(exp=config["exp"], ranks="all", rewind_to=step or None) as exp:
        for now in range(step + 1, 5):
            if now == 3 and rank == 0 and step == 0:
                raise ValueError("unlucky")
            exp.log({"own": rank}, step=now)
            with tempfile.TemporaryDirectory() as saved:
                Path(saved, "step").write_text(str(now))
                checkpoint = train.Checkpoint.from_directory(saved) if now == 2 and rank == 0 else None
                train.report({"loss": rank + 1 / now}, checkpoint=checkpoint)


def test_workers_of_train_share_an_experiment(cluster, folder):
    """Reports of all workers, and what they log themselves, are in one experiment, also when workers fail and start again."""
    from ray import train
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    from mlv.integrations.ray import TrainCallback

    with mlv.Exp(folder / "runs", "fit") as exp:
        trainer = DataParallelTrainer(
            loop,
            train_loop_config={"lr": 0.1, "exp": str(exp.path)},
            scaling_config=train.ScalingConfig(num_workers=2, resources_per_worker={"CPU": 0.5}),
            run_config=train.RunConfig(
                name="fit",
                storage_path=str(folder / "ray"),
                callbacks=[TrainCallback(exp=exp, ranks="all")],
                failure_config=train.FailureConfig(max_failures=1),
            ),
        )
        trainer.fit()

    fit = mlv.Exp.open(exp.path)
    reported = survivors(fit, "loss")
    assert sorted(reported) == [(step, rank) for step in range(1, 5) for rank in range(2)]
    assert [step for step, _ in survivors(fit, "own", stream="log")] == [1, 2, 3, 4]
    assert [step for step, _ in survivors(fit, "own", stream="rank1")] == [1, 2, 3, 4]
    assert fit["lr"] == 0.1
    assert fit.latest.step == 2
    assert "unlucky" in errors_of(fit)
    assert is_intact(fit.path)


def survivors(exp, name, stream=None):
    """The steps and ranks of a metric that are not superseded."""
    history = exp.history(name, stream=stream, wide=False)
    ranks = history["rank"] if "rank" in history else [None] * len(history)
    return list(zip(history["step"], ranks, strict=True))


# Scenarios of Ray's own tests of its loggers, without a cluster.


def trial_of(folder, config=None, trial_id="abc_00000", checkpoint=None):
    """What a callback asks of a trial."""
    return SimpleNamespace(
        trial_id=trial_id,
        config=config or {},
        latest_checkpoint_result=checkpoint,
        last_result={},
        stopping_criterion={},
        error_file=None,
    )


def test_results_of_all_kinds(folder):
    """Results with what has no JSON form, None, NaN and lists are logged; what can be stored of each is."""
    import numpy

    from mlv.integrations.ray import Callback

    callback, trial = (
        Callback(folder / "runs", "tuned"),
        trial_of(folder, {"a": 2, "c": {"x": "y"}, "d": [1, 2], "e": int, "f": None}),
    )
    callback.log_trial_result(
        0, trial, {"training_iteration": 1, "a": numpy.float32(0.5), "b": [1, 2], "c": None, "done": False}
    )
    with pytest.warns(mlv.MlvWarning):
        callback.log_trial_result(1, trial, {"training_iteration": 2, "a": float("nan"), "o": object()})
    callback.log_trial_result(2, trial, {"a": 3.0})  # without an iteration
    callback.log_trial_end(trial)
    callback.on_experiment_end([trial])

    exp = mlv.Exp.open(folder / "runs" / "tuned")
    [made] = exp.sub_exps
    assert [event.step for event in made.events("metrics")] == [1, 2, None]
    assert made.summary()["a"].count == 3
    assert (made["a"], made["c"]["x"], made["f"]) == (2, "y", None)
    assert (made.status, exp.status) == ("ok", "ok")


def test_a_callback_travels(folder):
    """A callback is pickled, and its state restored, without a second experiment."""
    from mlv.integrations.ray import Callback

    callback, trial = Callback(folder / "runs", "tuned"), trial_of(folder)
    callback.log_trial_result(0, trial, {"training_iteration": 1, "loss": 1.0})
    new = Callback(folder / "runs", "tuned")  # as Tune makes it of its variable, in the process that goes on
    new.set_state(callback.get_state())

    for other in (pickle.loads(pickle.dumps(callback)), new):
        saved = SimpleNamespace(checkpoint=SimpleNamespace(path="/nowhere"), metrics={"training_iteration": 1})
        other.log_trial_start(trial_of(folder, checkpoint=saved))
    callback.log_trial_end(trial)
    callback.on_experiment_end([trial])

    assert [path.parent.name for path in Path("runs").glob("*/meta.json")] == ["tuned"]
    [made] = mlv.Exp.open("runs/tuned").sub_exps
    assert surviving(made.path, "loss") == [1]


def test_a_trial_that_ended_goes_on(folder):
    """A trial that starts once more, after its end and with another callback, goes on in its own experiment."""
    from mlv.integrations.ray import Callback

    for iteration in (1, 2):
        callback = Callback(exp=folder / "runs" / "tuned") if iteration > 1 else Callback(folder / "runs", "tuned")
        saved = SimpleNamespace(checkpoint=SimpleNamespace(path="/nowhere"), metrics={"training_iteration": iteration - 1})
        trial = trial_of(folder, {"lr": iteration}, checkpoint=saved)
        callback.log_trial_start(trial)
        callback.log_trial_result(iteration, trial, {"training_iteration": iteration, "loss": 0.5, f"only_{iteration}": 1})
        callback.log_trial_end(trial, failed=iteration == 1)
        callback.on_experiment_end([trial])

    [made] = mlv.Exp.open("runs/tuned").sub_exps
    assert surviving(made.path, "loss") == [1, 2]
    assert {*made.summary()} == {"loss", "only_1", "only_2"}
    assert ([run.status for run in made.runs], made["lr"]) == (["failed", "ok"], 1)
    assert "2" in str([dict(event.data) for event in made.events("params_changed")])


def test_checkpoints_elsewhere_are_events(folder):
    """A checkpoint in a store of objects, which cannot be linked, is named by an event."""
    from mlv.integrations.ray import Callback

    config = SimpleNamespace(num_to_keep=2, checkpoint_score_attribute="loss", checkpoint_score_order="min")
    checkpoint = SimpleNamespace(path="bucket/checkpoint_000001")
    trial = trial_of(folder, checkpoint=SimpleNamespace(checkpoint=checkpoint, metrics={"training_iteration": 1, "loss": 0.5}))
    trial.run_metadata = SimpleNamespace(checkpoint_manager=SimpleNamespace(checkpoint_config=config))
    callback = Callback(folder / "runs", "tuned")
    callback.log_trial_start(trial)
    callback.log_trial_save(trial)
    callback.on_experiment_end([trial])

    [made] = mlv.Exp.open("runs/tuned").sub_exps
    [event] = made.events("event", name="checkpoint_saved_elsewhere")
    assert (event.step, event.data["file"]) == (1, "bucket/checkpoint_000001")


def report(callback, metrics, checkpoint=None, name="fit"):
    """Report to a callback of Train as its controller does."""
    config = SimpleNamespace(
        name=name,
        storage_path="/storage",
        checkpoint_config=SimpleNamespace(num_to_keep=None, checkpoint_score_attribute=None, checkpoint_score_order="max"),
    )
    context = SimpleNamespace(run_config=config, train_loop_config={"lr": 0.1})
    callback.after_report(context, metrics, checkpoint)
    return context


def test_reports_of_train(folder):
    """Reports are numbered; a failure, and a trainer of the same name elsewhere, go on behind the checkpoint."""
    from mlv.integrations.ray import TrainCallback

    saved = folder / "saved"
    saved.mkdir()
    saved.joinpath("weights").write_text("w")
    with mlv.Exp(folder / "runs", "fit") as exp:
        callback = TrainCallback(exp=exp)
        report(callback, [{"loss": 1.0}, {"loss": 9.0}], SimpleNamespace(path=str(saved)))
        context = report(callback, [{"loss": 0.9}, {"loss": 9.0}])
        callback.after_exception(context, {1: ValueError("unlucky")})
        report(callback, [{"loss": 0.8}, {"loss": 9.0}])
        report(callback, [{"loss": 0.7}, {"loss": 9.0}])
        again = TrainCallback(exp=exp)
        report(again, [{"loss": 0.6}])
        report(TrainCallback(exp=exp, ranks="all"), [{"other": 1.0}, {"other": 2.0}], name="second")

    assert surviving(exp.path, "loss") == [1, 2]
    assert list(exp.history("loss")["loss"]) == [1.0, 0.6]
    assert [(event.step, event.at["rank"]) for event in exp.events("metrics") if "other" in event.data] == [(1, 0), (1, 1)]
    assert "unlucky" in errors_of(exp)
    assert (exp.latest.step, exp.latest.path.joinpath("weights").read_text()) == (1, "w")
    assert exp["lr"] == 0.1


def test_trials_that_did_not_end_were_interrupted(folder):
    """When an experiment of Tune ends before its trials do, these are interrupted, and so is it."""
    from mlv.integrations.ray import Callback

    callback = Callback(folder / "runs", "tuned")
    callback.log_trial_result(0, trial_of(folder), {"training_iteration": 1, "loss": 1.0})
    callback.on_experiment_end([])

    exp = mlv.Exp.open("runs/tuned")
    assert exp.sub_exps[0].status == exp.status == "interrupted"


def test_registered_callbacks_are_met_by_tune(folder, monkeypatch):
    """After `register("ray")`, Tune makes the callback itself; registering again changes nothing."""
    from ray.tune.utils.callback import _initialize_env_callbacks

    from mlv.integrations.ray import Callback

    monkeypatch.setenv("RAY_TUNE_CALLBACKS", "")
    integrations.register("ray")
    integrations.register("ray")

    [callback] = _initialize_env_callbacks()
    assert isinstance(callback, Callback)
    assert isinstance(callback, ray.tune.logger.LoggerCallback)


def test_arguments_are_checked():
    """An argument that cannot be used is refused before anything runs."""
    from mlv.integrations import ray as bridge

    with pytest.raises(mlv.errors.InvalidArgument, match="ranks="):
        bridge.TrainCallback(ranks="some")
    with pytest.raises(mlv.errors.InvalidArgument, match="nonsense"):
        bridge.Callback(nonsense=1)
