"""The bridge from Optuna: the trials of a study as sub-experiments, and their values as a series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import wraps
from typing import Any

from mlv import Exp
from mlv.integrations.connection import Connection
from mlv.integrations.frameworks import framework
from mlv.integrations.sub_experiments import sub_experiment

KIND = "trial"
"""The kind of the sub-experiments."""
PATH = "mlv_exp"
"""The user attribute of a trial that has the path of its sub-experiment."""
_STATUSES = {"COMPLETE": "ok", "PRUNED": "interrupted", "FAIL": "failed"}


class Callback:
    """Keeps the trials of a study: `study.optimize(callback.track(objective), callbacks=[callback])`.

    In the experiment, the number of a trial is the step of `value` (of `value_0`, `value_1` ... where there are several
    objectives), of `best_value`, and of each param, `params/lr`. A trial that was pruned or failed has no value; the event
    `trial` has the state and the duration of each.

    Each trial is a sub-experiment `trial/trial_3`, with the params that were suggested and the series `reported`. Its status is
    `ok`, `failed`, or `interrupted` with the tag `pruned`. With `track`, the objective gets it as its second argument, to log
    into, and it lives as long as the trial; without, it is made after the trial.
    """

    def __init__(
        self, savedir: Any = None, name: str | None = None, params: Any = None, *, exp: Any = None, **options: Any
    ) -> None:
        """Log to an experiment, which is made at its first use, or to the one that is passed.

        Raises:
            InvalidArgument: An argument cannot be used.
            MissingExtra: Optuna is not installed, or is too old.
        """
        framework("optuna", least="3.0", below="6")
        self._connection = Connection(exp, savedir, name, params, **options)
        self._is_described = False

    def track(self, objective: Callable[[Any, Exp], Any]) -> Callable[[Any], Any]:
        """Return an objective for Optuna, of one that takes the trial and its sub-experiment."""
        pruned = framework("optuna", least="3.0", below="6").TrialPruned

        @wraps(objective)
        def tracked(trial: Any) -> Any:
            exp = self._sub_exp(trial.number)
            trial.set_user_attr(PATH, str(exp.path))
            state = "FAIL"
            try:
                value = objective(trial, exp)
                state = "COMPLETE"
                return value
            except pruned:
                state = "PRUNED"
                raise
            except Exception:
                exp.log.exception("the trial failed")
                raise
            finally:
                with self._connection.guard("the end of a trial"):
                    _finish(exp, trial.study.get_trials(deepcopy=False)[trial.number], state)

        return tracked

    def __call__(self, study: Any, trial: Any) -> None:
        """Log a trial that has ended."""
        connection = self._connection
        with connection.guard("a trial"):
            # Each callback gets a trial of its own, and no two of a study have begun at one moment under one number.
            if connection.is_repeated(PATH, (study.study_name, trial.number, trial.datetime_start)):
                return
            self._describe(study)
            duration = trial.duration.total_seconds() if trial.duration else None
            data = {"state": trial.state.name, "duration_s": duration, "params": trial.params}
            connection.log("trial", data, step=trial.number)
            connection.log(_metrics(study, trial), step=trial.number)
            if PATH not in trial.user_attrs:
                _finish(self._sub_exp(trial.number), trial, trial.state.name)

    def close(self) -> None:
        """Close an experiment that was made here."""
        self._connection.close()

    def _describe(self, study: Any) -> None:
        if self._is_described:
            return
        self._is_described = True
        with self._connection.guard("a study"):
            self._connection.add_params({"study": _description(study)})
            if len(study.directions) == 1:
                self._connection.log.describe("value", mode=study.direction.name.lower()[:3], summary="best")

    def _sub_exp(self, number: int) -> Exp:
        return sub_experiment(self._connection.exp, KIND, f"trial_{number}")


def _finish(exp: Exp, trial: Any, state: str) -> None:
    """Log what Optuna knows of a trial into its sub-experiment, and end that."""
    exp.add_params(trial.params, lenient=True)
    for step, value in sorted(trial.intermediate_values.items()):
        exp.log({"reported": value}, step=step)
    exp.summarize(_values(trial))
    if state == "PRUNED":
        exp.add_tags("pruned")
    exp.close(_STATUSES.get(state, "ended"))


def _values(trial: Any) -> dict[str, float]:
    """Return the values of a trial, by name; Optuna has the last reported one as the value of a pruned trial, which is none."""
    values: Sequence[float] = trial.values if trial.state.name == "COMPLETE" else ()
    return {"value": values[0]} if len(values) == 1 else {f"value_{index}": value for index, value in enumerate(values)}


def _metrics(study: Any, trial: Any) -> dict[str, Any]:
    metrics = {**_values(trial), **{f"params/{name}": value for name, value in trial.params.items()}}
    if "value" in metrics:
        with suppress(ValueError, RuntimeError):  # there is none yet, or there are several objectives
            metrics["best_value"] = study.best_value
    return metrics


def _description(study: Any) -> dict[str, Any]:
    return {
        "name": study.study_name,
        "directions": [direction.name.lower() for direction in study.directions],
        "sampler": type(study.sampler).__name__,
        "pruner": type(study.pruner).__name__,
    }
