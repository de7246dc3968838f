"""The bridge from Hydra: a callback that makes an experiment for each job, below that of a sweep."""

from __future__ import annotations

import os
from typing import Any

from mlv import Exp
from mlv.integrations.connection import Connection, warn
from mlv.integrations.frameworks import framework
from mlv.integrations.sub_experiments import sub_experiment

KIND = "job"
"""The kind of the experiments of jobs below a sweep."""
_VARIABLE = "MLV_EXP"
_jobs: list[Callback] = []
"""Callbacks whose job goes on in this process."""


class Callback:
    """Makes an experiment for each job, with its config as params, and ends it with the job: `ok` or `failed`.

    In the config of an application: `hydra.callbacks.mlv._target_: mlv.integrations.hydra.Callback`, and beside it the
    arguments. In the job, `mlv.Exp()` without a name is that experiment. With `--multirun`, the experiment is that of the
    sweep, whose param `overrides` says what is swept, and each job is a sub-experiment `job/job_3`; a number that the job
    returns is `return_value` in its summary.
    """

    def __init__(
        self, savedir: Any = None, name: str | None = None, params: Any = None, *, exp: Any = None, **options: Any
    ) -> None:
        """Keep which experiment is meant: that of the job, or of the sweep. Nothing is written yet.

        Args:
            savedir: As in `mlv.Exp`.
            name: As in `mlv.Exp`.
            params: As in `mlv.Exp`; the config is added to them.
            exp: The path of an experiment in place of these three, which is opened again.
            options: Other arguments of `mlv.Exp`.

        Raises:
            InvalidArgument: An argument cannot be used.
            MissingExtra: Hydra is not installed, or is too old.
        """
        framework("hydra", least="1.1", below="2", install="hydra-core")
        self._connection = Connection(exp, savedir, name, params, **options)
        self._is_sweep = False
        self._job: Exp | None = None
        self._before: str | None = None

    def on_compose_config(self, config: Any, **_: Any) -> None:
        """Do nothing."""

    def on_run_start(self, config: Any, **_: Any) -> None:
        """Do nothing: what a job needs begins with it, in its own process."""

    def on_run_end(self, config: Any, **_: Any) -> None:
        """Do nothing: what a job needs ends with it."""

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        """Make the experiment of the sweep, before any job."""
        self._is_sweep = True
        with self._connection.guard("the sweep"):
            self._connection.add_params({"overrides": _overrides(config)})

    def on_multirun_end(self, config: Any, **_: Any) -> None:
        """Close the experiment of the sweep."""
        self._connection.close()
        self._is_sweep = False

    def on_job_start(self, config: Any, *, task_function: Any = None, **_: Any) -> None:
        """Make the experiment of a job, and have `mlv.Exp()` open it."""
        try:
            if any(other._connection.exp.id == self._connection.exp.id for other in _jobs):
                self._connection.report_repeats()
                return
            self._job = self._job_exp(config)
        except Exception as error:  # Hydra goes on with the job, whatever a callback raises
            warn(f"this job has no experiment: {type(error).__name__}: {error}")
            return
        self._before = os.environ.get(_VARIABLE)
        os.environ[_VARIABLE] = str(self._job.path)
        _jobs.append(self)

    def on_job_end(self, config: Any, job_return: Any, **_: Any) -> None:
        """Close the experiment of a job."""
        exp, self._job = self._job, None
        if exp is None:
            return
        self._restore_variable()
        with self._connection.guard("the end of a job"):
            result = vars(job_return).get("_return_value")  # to ask for `return_value` would raise an exception, and print it
            if isinstance(result, BaseException):
                exp.log.error("the job failed", exc_info=result)
            elif isinstance(result, (int, float)):
                exp.summarize({"return_value": result})
            has_failed = job_return.status.name == "FAILED"
            if self._is_sweep:
                exp.close("failed" if has_failed else "ok")
            else:
                self._connection.close("failed" if has_failed else "ok")

    def _restore_variable(self) -> None:
        index = _jobs.index(self)
        _jobs.remove(self)
        if index < len(_jobs):  # Hydra ends the callback first that began first
            _jobs[index]._before = self._before
        elif self._before is None:
            os.environ.pop(_VARIABLE, None)
        else:
            os.environ[_VARIABLE] = self._before

    def _job_exp(self, config: Any) -> Exp:
        exp = self._connection.exp
        if self._is_sweep:
            exp = sub_experiment(exp, KIND, f"job_{config.hydra.job.num}")
        exp.add_params(_task_config(config), lenient=True)
        exp.log("hydra", {"overrides": _overrides(config), "output_dir": str(config.hydra.runtime.output_dir)})
        return exp


def _omegaconf() -> Any:
    return framework("omegaconf", least="2.1", below="3").OmegaConf


def _overrides(config: Any) -> list[str]:
    """Return the overrides of the command line, as they were written."""
    overrides: list[str] = _omegaconf().to_container(config.hydra.overrides.task, resolve=False)
    return overrides


def _task_config(config: Any) -> dict[str, Any]:
    """Return the config of the task as plain values; where an interpolation leads nowhere, as they were written."""
    conf = _omegaconf()
    task = conf.masked_copy(config, [name for name in config if name != "hydra"])
    try:
        values: dict[str, Any] = conf.to_container(task, resolve=True)
    except Exception:
        values = conf.to_container(task, resolve=False)
    return values
