"""The bridge from Ray: the trials of Tune as sub-experiments, and the reports of Train's workers in one experiment."""

from __future__ import annotations

import os
import pickle
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any, cast

from mlv import Exp, InvalidArgument
from mlv.integrations.checkpoints import keep_link
from mlv.integrations.connection import Connection, log_metrics
from mlv.integrations.derived import derived
from mlv.integrations.frameworks import framework
from mlv.integrations.sub_experiments import sub_experiment

KIND = "trial"
"""The kind of the sub-experiments."""
_ITERATION = "training_iteration"
_LEAST, _BELOW = "2.51", "3"
"""Versions that are known to work: Train has its present form since the first."""
_TIMES = frozenset({"time_total_s", "time_this_iter_s", "timesteps_total", "episodes_total"})
_LEFT_OUT = frozenset({"done", "trial_id", "experiment_tag", "should_checkpoint", "config", "__duplicate__", "__trial_info__"})
"""Entries of a result that are no measurements, beside those of `AUTO_RESULT_KEYS`."""
_CHECKPOINT = "train_checkpoint"
"""The event that tells which report of Train had a checkpoint."""
_BEGIN = "train_began"
"""The event that tells which run of Train reports, by its name and storage."""
_TUNE_CALLBACKS = "RAY_TUNE_CALLBACKS"
"""The variable by which Tune finds callbacks for every experiment."""


def __getattr__(name: str) -> Any:
    if name in globals():
        return globals()[name]
    if name == "Callback":
        own: type = TuneCallback
        base = framework("ray.tune.logger", least=_LEAST, below=_BELOW, install="ray[tune]").LoggerCallback
    elif name == "TrainCallback":
        own = RayTrainCallback
        base = framework("ray.train", least=_LEAST, below=_BELOW, install="ray[train]").UserCallback
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = made = derived(name, own, base)
    return made


def register() -> None:
    """Have each experiment of Tune get a `Callback`, by the variable that Tune reads; children inherit it.

    Raises:
        MissingExtra: Ray is not installed, or is too old.
    """
    path = f"{__name__}.{__getattr__('Callback').__name__}"
    paths = [each for each in os.environ.get(_TUNE_CALLBACKS, "").split(",") if each.strip()]
    if path not in paths:
        os.environ[_TUNE_CALLBACKS] = ",".join([*paths, path])


@cache
def _automatic() -> frozenset[str]:
    """Return the names of what Tune adds to each result that is no measurement."""
    keys = framework("ray.tune.result", least=_LEAST, below=_BELOW, install="ray[tune]").AUTO_RESULT_KEYS
    return (frozenset(keys) | _LEFT_OUT) - _TIMES


class TuneCallback:
    """The methods of `Callback`: `RunConfig(callbacks=[Callback("runs", "search")])`.

    Each trial is a sub-experiment `trial/<id>`, with its config as params and its results as metrics; the step is Tune's
    `training_iteration`. A trial that starts again rewinds to its checkpoint: after a pause, a failure, an exploit of
    population based training, or in `Tuner.restore`. Its checkpoints are linked into its portfolio.

    The experiment has an event `trial` for each that ended, and its last results; their step is the number of the trial.
    """

    def __init__(
        self,
        savedir: Any = None,
        name: str | None = None,
        params: Any = None,
        *,
        exp: Any = None,
        checkpoints: bool = True,
        **options: Any,
    ) -> None:
        """Log to an experiment, which is made when a `Tuner` gets the callback, or to the one that is passed.

        Args:
            savedir: As in `mlv.Exp`.
            name: As in `mlv.Exp`.
            params: As in `mlv.Exp`.
            exp: An experiment in place of these three, which stays open; or its path.
            checkpoints: Whether the portfolios of the trials know their checkpoints, by links.
            options: Other arguments of `mlv.Exp`.

        Raises:
            InvalidArgument: An argument cannot be used.
        """
        self._connection = Connection(exp, savedir, name, params, **options)
        self._keeps_checkpoints = checkpoints
        self._trials: dict[str, Connection] = {}
        """The experiments of trials that were started and did not end, by the trial's ID."""
        self._stopped: set[str] = set()
        """IDs of trials that Tune stops, before their function returns."""
        self._begun: set[str] = set()
        """IDs of trials that did not end, also of those that another callback logs into the same experiment."""

    # What Tune calls.

    def setup(self, **_: Any) -> None:
        """Make or open the experiment, before the state is kept that `Tuner.restore` needs."""
        self._connection.exp  # noqa: B018 - it is made at its first use

    def on_trial_start(self, iteration: int, trials: Sequence[Any], trial: Any, **_: Any) -> None:
        """Begin or go on with a trial, unless another callback of the search has just done so in the same experiment."""
        self._begun.add(trial.trial_id)
        if not self._connection.is_repeated(trial, ("began", iteration)):
            self.log_trial_start(trial)

    def log_trial_start(self, trial: Any) -> None:
        """Begin or go on with the experiment of a trial: this is called each time that its actor starts."""
        exp = self._connection.exp
        with self._connection.guard("a trial"):
            saved = trial.latest_checkpoint_result
            metrics = saved.metrics if saved is not None and saved.checkpoint is not None else {}
            step = metrics.get(_ITERATION, 0)
            if trial.trial_id not in self._trials:
                self._trials[trial.trial_id] = Connection(_trial_exp(exp, trial.trial_id))
            connection = self._trials[trial.trial_id]
            connection.add_params(trial.config)
            connection.rewind(step)
            other = metrics.get("trial_id", trial.trial_id)
            if other != trial.trial_id:
                connection.log("exploited", {"trial": other, "config": _texts(trial.config)}, step=step)

    def log_trial_result(self, iteration: int, trial: Any, result: Mapping[str, Any]) -> None:
        """Log the metrics of a result."""
        if self._connection.is_repeated(result):
            return
        if trial.trial_id not in self._trials:
            self.log_trial_start(trial)
        connection = self._trials.get(trial.trial_id)
        if connection is None:
            return
        with connection.guard("a result"):
            log_metrics(connection.log, _measured(result), result.get(_ITERATION))
            if result.get("done") and not _meets_criterion(trial, result):
                self._stopped.add(trial.trial_id)

    def log_trial_save(self, trial: Any) -> None:
        """Link the latest checkpoint of a trial into its portfolio."""
        connection = self._trials.get(trial.trial_id)
        if connection is None or not self._keeps_checkpoints:
            return
        with connection.guard("a checkpoint"):
            saved = trial.latest_checkpoint_result
            if saved is not None and saved.checkpoint is not None:
                config = trial.run_metadata.checkpoint_manager.checkpoint_config
                _link(connection, saved.checkpoint, saved.metrics.get(_ITERATION), saved.metrics, config)

    def log_trial_restore(self, trial: Any) -> None:
        """Do nothing: a trial that goes on starts again, which rewinds it."""

    def on_trial_recover(self, iteration: int, trials: Sequence[Any], trial: Any, **_: Any) -> None:
        """Keep why a trial failed that Tune tries again."""
        connection = self._trials.get(trial.trial_id)
        if connection is not None and not self._connection.is_repeated(trial, ("failed", iteration)):
            connection.log.error("the trial failed, and is tried again", failure=_error(trial))

    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        """End the experiment of a trial, and keep its results in that of all."""
        self._begun.discard(trial.trial_id)
        connection = self._trials.pop(trial.trial_id, None)
        if connection is None:
            return
        with connection.guard("the end of a trial"):
            if failed:
                connection.log.error("the trial failed", failure=_error(trial))
            if is_stopped := trial.trial_id in self._stopped and not failed:
                connection.exp.add_tags("stopped")
            connection.exp.close("failed" if failed else "ok")
            state = "failed" if failed else "stopped" if is_stopped else "ended"
            self._log_trial(trial, state)

    def on_experiment_end(self, trials: Sequence[Any], **_: Any) -> None:
        """End the experiment; trials that did not end were interrupted."""
        for connection in self._trials.values():
            with connection.guard("the end of a trial"):
                connection.exp.close("interrupted")
        is_whole = not self._trials and not self._begun
        self._trials.clear()
        self._begun.clear()
        self._connection.close("ok" if is_whole else "interrupted")

    def get_state(self) -> dict[str, Any]:
        """Return what `Tuner.restore` needs to go on in the same experiment."""
        return {"exp": str(self._connection.exp.path)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on in the experiment of an earlier process, where this one has none open."""
        if not self._connection.is_open:
            self._connection = Connection(state["exp"])

    def _log_trial(self, trial: Any, state: str) -> None:
        number = trial.trial_id.rpartition("_")[2]
        step = int(number) if number.isdecimal() else None
        log, result = self._connection.log, _measured(trial.last_result)
        log("trial", {"id": trial.trial_id, "state": state, "config": _texts(trial.config), "result": result}, step=step)
        numbers = {f"params/{name}": value for name, value in trial.config.items() if isinstance(value, (int, float))}
        log_metrics(log, {**result, **numbers}, step)

    def __getstate__(self) -> dict[str, Any]:
        """Return what Tune keeps for `Tuner.restore`: where the experiment is, rather than the run in it."""
        return {**vars(self), "_connection": str(self._connection.exp.path), "_trials": {}, "_begun": set()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _connection=Connection(state["_connection"]))


class RayTrainCallback:
    """The methods of `TrainCallback`: `RunConfig(callbacks=[TrainCallback(exp=exp)])` of a trainer.

    Each report of the workers is a line of metrics; its step is the number of the report, from 1. Metrics are those of rank 0,
    or with `ranks="all"` those of each, with the coordinate `rank`. When workers start again, after a failure or in another
    process, the log is rewound to the checkpoint from which they do. Checkpoints are linked into the portfolio.

    Ray calls it in the process of its controller, whose run in the experiment is a child of that of the script.
    """

    def __init__(
        self,
        savedir: Any = None,
        name: str | None = None,
        params: Any = None,
        *,
        exp: Any = None,
        ranks: str = "main",
        checkpoints: bool = True,
        **options: Any,
    ) -> None:
        """Log to an experiment, which is made when the trainer begins, or to the one that is passed.

        Args:
            savedir: As in `mlv.Exp`.
            name: As in `mlv.Exp`.
            params: As in `mlv.Exp`; what the trainer passes to its function is added to them.
            exp: An experiment in place of these three, which stays open; or its path.
            ranks: `main` for the metrics of rank 0, `all` for those of each worker.
            checkpoints: Whether the portfolio of the experiment knows the checkpoints, by links.
            options: Other arguments of `mlv.Exp`.

        Raises:
            InvalidArgument: An argument cannot be used.
        """
        if ranks not in ("main", "all"):
            raise InvalidArgument(f"ranks={ranks!r:.100}: give 'main' or 'all'", ranks=ranks)
        self._connected: Connection | bytes = Connection(exp, savedir, name, params, **options)
        self._logs_all = ranks == "all"
        self._keeps_checkpoints = checkpoints
        self._step: int | None = None
        """The number of the latest report; None before the first one of this process."""
        self._saved = 0
        """The number of the report with the latest checkpoint."""
        self._is_announced = False
        """Whether the run of the script has begun, of which that of the controller is a child."""
        self._arrived: datetime | None = None
        """When this came into the process of Ray's controller; None in that of the script."""

    @property
    def _connection(self) -> Connection:
        if isinstance(self._connected, bytes):
            self._connected = cast("Connection", pickle.loads(self._connected))  # noqa: S301 - it comes from `__getstate__`
        return self._connected

    def after_report(self, run_context: Any, metrics: Sequence[Mapping[str, Any]], checkpoint: Any) -> None:
        """Log the metrics of the workers, and link the checkpoint."""
        connection = self._connection
        with connection.guard("a report"):
            if connection.is_repeated(metrics):
                return
            if self._step is None:
                self._begin(run_context)
            self._step = step = (self._step or 0) + 1
            if self._logs_all:
                for rank, values in enumerate(metrics):
                    log_metrics(connection.log.at(rank=rank), values, step)
            else:
                log_metrics(connection.log, metrics[0], step)
            if checkpoint is not None:
                self._saved = step
                connection.log(_CHECKPOINT, {"of": _run_of(run_context)}, step=step)
                if self._keeps_checkpoints:
                    _link(connection, checkpoint, step, metrics[0], run_context.run_config.checkpoint_config)

    def after_exception(self, run_context: Any, worker_exceptions: Mapping[int, Exception]) -> None:
        """Keep why workers failed, and rewind at once: when they start again they may log into the experiment themselves."""
        connection = self._connection
        with connection.guard("an exception"):
            # The mapping is another one for each callback; the exceptions are not.
            if connection.is_repeated(next(iter(worker_exceptions.values()), worker_exceptions)):
                return
            for rank, error in worker_exceptions.items():
                connection.log.at(rank=rank).error("a worker failed", exc_info=error)
            if self._step is not None:
                self._step = self._saved
                connection.rewind(self._saved)

    def close(self, status: str = "ok") -> None:
        """End the run of an experiment that was made here, in the process of the trainer."""
        self._connection.close(status)

    def _begin(self, run_context: Any) -> None:
        """Add the params, and go on behind the checkpoint from which Ray does: that of an earlier run of the same name."""
        connection = self._connection
        connection.add_params(run_context.train_loop_config or {})
        name, last, saved, is_again = _run_of(run_context), 0.0, 0, False
        for event in connection.exp.events(["metrics", "event", "rewound"]):
            step = event.step if isinstance(event.step, (int, float)) else 0
            if event.type == "rewound":
                last = min(last, event.data["step"])
            elif event.name == _BEGIN and event.data["of"] == name:
                is_again = True
            elif event.name == _CHECKPOINT and event.data["of"] == name:
                saved = int(step)
            elif self._arrived is None or event.time < self._arrived:
                last = max(last, step)
        self._step = self._saved = saved
        connection.log(_BEGIN, {"of": name})
        if is_again and last > saved:  # otherwise the workers have rewound it, and have logged since
            connection.rewind(saved)

    def __getstate__(self) -> dict[str, Any]:
        """Return what travels to Ray's controller: its run in the experiment is a child of the one that goes on here."""
        if not self._is_announced:
            self._is_announced = True
            with self._connection.guard("the trainer"):
                self._connection.log("train", {"ranks": "all" if self._logs_all else "main"})
        # It stays packed where it is not used: in a worker, which opens the experiment by itself, with its own rank.
        return {**vars(self), "_connected": pickle.dumps(self._connection)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _arrived=datetime.now(timezone.utc))


def worker_exp(savedir: Any = None, name: str | None = None, params: Any = None, *, exp: Any = None, **options: Any) -> Exp:
    """Return the experiment of a worker of Train: all workers get one, which rank 0 makes.

    Args:
        savedir: As in `mlv.Exp`.
        name: As in `mlv.Exp`.
        params: As in `mlv.Exp`.
        exp: The path of an experiment in place of these three, which is opened.
        options: Other arguments of `mlv.Exp`; with `ranks="all"` each worker logs into a stream of its own.

    Raises:
        MissingExtra: Ray is not installed, or is too old.
        MlvError: As `mlv.Exp` and `mlv.Exp.open`.
    """
    context = framework("ray.train", least=_LEAST, below=_BELOW, install="ray[train]").get_context()
    collective = framework("ray.train.collective", least=_LEAST, below=_BELOW, install="ray[train]")
    launch = collective.broadcast_from_rank_zero(uuid.uuid4().hex)
    # By these mlv knows the ranks of a launch, and which launch it is: workers that start again are another one.
    os.environ.update(RANK=str(context.get_world_rank()), WORLD_SIZE=str(context.get_world_size()), MLV_LAUNCH=launch)
    return Exp(savedir, name, params, **options) if exp is None else Exp.open(exp, **options)


def _trial_exp(exp: Exp, trial_id: str) -> Exp:
    """Open the experiment of a trial, or make it."""
    folder = exp.path / KIND / trial_id
    return Exp.open(folder) if (folder / "meta.json").exists() else sub_experiment(exp, KIND, trial_id)


def _measured(result: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name not in _automatic() and value is not None}


def _meets_criterion(trial: Any, result: Mapping[str, Any]) -> bool:
    """Return whether a result ends a trial as the user's `stop=` says."""
    for path, least in trial.stopping_criterion.items():
        value: Any = result
        for name in path.split("/"):
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is not None and value >= least:
            return True
    return False


def _texts(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config for an event, in which everything has a JSON form."""
    plain = (int, float, str, bool, type(None))
    return {str(name): value if isinstance(value, plain) else str(value) for name, value in config.items()}


def _error(trial: Any) -> str | None:
    """Return what Tune wrote of the latest failure of a trial, into a file of this machine."""
    try:
        return Path(trial.error_file).read_text(errors="replace").rpartition("Failure # ")[2]
    except (OSError, TypeError):
        return None


def _run_of(run_context: Any) -> str:
    """Return the name of a run of Train, by which Ray finds the checkpoint that it goes on from."""
    config = run_context.run_config
    return f"{config.storage_path}/{config.name}"


def _link(connection: Connection, checkpoint: Any, step: float | None, metrics: Mapping[str, Any], config: Any) -> None:
    """Link the folder of a checkpoint into the portfolio, under the policy by which Ray removes it."""
    policy: dict[str, Any] = {"latest": config.num_to_keep or 1, "every": 1 if config.num_to_keep is None else None}
    if config.num_to_keep is not None and config.checkpoint_score_attribute is not None:
        order = config.checkpoint_score_order
        policy.update(latest=1, top=config.num_to_keep, metric=config.checkpoint_score_attribute, mode=order)
    numbers = {name: value for name, value in metrics.items() if isinstance(value, (int, float)) and name not in _automatic()}
    keep_link(connection, Path(checkpoint.path), step=step, metrics=numbers, policy=policy)
