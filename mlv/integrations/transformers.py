"""Hugging Face transformers: `Callback` for its `Trainer` and those of TRL; `report_to="mlv"` after `register()`."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlv import Logger as MlvLogger
from mlv import MissingExtra
from mlv.integrations.checkpoints import keep_link, unshare
from mlv.integrations.connection import Connection, log_metrics, warn
from mlv.integrations.derived import derived
from mlv.integrations.frameworks import framework

LEAST, BELOW = "4.57", "6"
"""Versions that are known to work."""
_EVAL = "eval_"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_ALL = 1_000_000
"""So many of the latest checkpoints stay where the trainer removes none."""


class TransformersCallback:
    """The methods of `Callback`: an experiment for a `Trainer`.

    `Trainer(..., callbacks=[Callback("runs", "finetune")])` is all. The experiment is made on the main rank when training
    begins. The step of a metric is the trainer's, `epoch` a coordinate, and `eval_loss` becomes `eval/loss`. What training took
    as a whole (`train_runtime`, `train_loss`, `total_flos` ...) is a summary, no series.
    """

    def __init__(
        self,
        savedir: str | os.PathLike[str] | None = None,
        name: str | None = None,
        params: Any = None,
        *,
        exp: Any = None,
        checkpoints: bool = True,
        **options: Any,
    ) -> None:
        """Keep which experiment is meant; see `mlv.integrations.connection.Connection` for the arguments.

        Args:
            savedir: As in `mlv.Exp`.
            name: As in `mlv.Exp`; `run_name` of the training arguments where nothing else names the experiment.
            params: As in `mlv.Exp`; the training arguments, and `model_config`, are added to them.
            exp: An experiment in place of these three, or its path.
            checkpoints: Whether the portfolio of the experiment knows the trainer's checkpoints, by links.
            options: As in `mlv.Exp`, such as `tags`, `outputs` and `on_exists`.

        Raises:
            InvalidArgument: The arguments do not fit.
        """
        self._making = {"savedir": savedir, "name": name, "params": params, **options}
        self._connection = Connection(exp, **self._making)
        self._keeps_checkpoints = checkpoints
        self._is_replaced = False
        """Whether another callback of this class logs for the trainer."""
        self._saved: tuple[Path, int] | None = None
        self._evaluated: tuple[int, dict[str, Any]] = (-1, {})

    # The course of a run.

    def on_init_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Log alone for this trainer: of several callbacks the last one, which the script has added."""
        other = getattr(control, "_mlv_callback", None)
        control._mlv_callback = self
        if other is not None and other is not self:
            other._is_replaced = True
            warn("this trainer has two callbacks of mlv: only the last one logs")

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Make the experiment, or go on in it from the step that the trainer restored."""
        if not self._logs_for(state):
            return
        if state.is_hyper_param_search and self._connection.is_own:
            self._begin_trial(state)
        self._add_params(args, model)
        with self._connection.guard("sharing checkpoints with the trainer"):
            for step, folder in _checkpoints_in(args.output_dir):
                if step > state.global_step:
                    unshare(folder)  # the trainer is about to write them again
        if state.global_step > 0:
            self._connection.rewind(state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """End the run in the experiment, unless it was passed; what is evaluated afterwards is another one."""
        if self._logs_for(state):
            self._connection.close()

    # What is logged.

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, model: Any = None, **_: Any) -> None:
        """Log what the trainer logs, at its step."""
        if not self._logs_for(state) or logs is None:
            return
        self._name_by(args)
        exp = self._connection.exp
        if self._connection.is_row_repeated(logs, state.global_step, self):
            return
        with self._connection.guard("logs of the trainer"):
            metrics = dict(logs)
            epoch = metrics.pop("epoch", None)
            summary = _summary_of(metrics)
            if summary:
                exp.summarize(summary)
            metrics = {_renamed(name): value for name, value in metrics.items() if name not in summary}
            if any(name.startswith("eval/") for name in metrics):
                self._evaluated = state.global_step, metrics
            if metrics:
                log_metrics(_at(exp.log, epoch), metrics, state.global_step)

    def on_predict(self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any) -> None:
        """Log the metrics of a prediction, which the trainer does not log itself."""
        if not self._logs_for(state) or not metrics:
            return
        self._name_by(args)
        if not self._connection.is_row_repeated(metrics, state.global_step, self):
            renamed = {_renamed(name): value for name, value in metrics.items()}
            log_metrics(self._connection.log, renamed, state.global_step)

    # Checkpoints.

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Link the checkpoint that was saved into the portfolio."""
        if not self._logs_for(state) or not self._keeps_checkpoints:
            return
        with self._connection.guard("a checkpoint"):
            path = _saved_at(args.output_dir, state.global_step)
            if self._saved == (path, state.global_step) or self._connection.is_repeated(state, ("saved", state.global_step)):
                return
            self._saved = path, state.global_step
            step, metrics = self._evaluated
            metrics = metrics if step == state.global_step else {}
            policy = _policy(args)
            if "metric" in policy:
                metrics = {policy["metric"]: math.nan, **metrics}
            keep_link(self._connection, path, step=state.global_step, metrics=metrics, policy=policy)

    # Internals.

    def _logs_for(self, state: Any) -> bool:
        return bool(state.is_world_process_zero) and not self._is_replaced

    def _begin_trial(self, state: Any) -> None:
        """Give each trial of a search an experiment of its own."""
        trial = dict(state.trial_params or {})
        making = {**self._making, "name": state.trial_name or self._making["name"]}
        self._connection = Connection(None, **{**making, "params": {**dict(making["params"] or {}), **trial}})

    def _add_params(self, args: Any, model: Any) -> None:
        self._name_by(args)
        self._connection.exp  # noqa: B018 - what is wrong with the experiment is said before anything is trained
        with self._connection.guard("params"):
            params = dict(args.to_dict())
            config = getattr(model, "config", None)
            if config is not None:
                params["model_config"] = config.to_dict() if hasattr(config, "to_dict") else config
            self._connection.add_params(params)

    def _name_by(self, args: Any) -> None:
        """Name the experiment after `run_name`, where nothing else names it."""
        self._connection.suggest_name(getattr(args, "run_name", None))


def _at(log: MlvLogger, epoch: Any) -> MlvLogger:
    return log if epoch is None else log.at(epoch=epoch)


def _renamed(name: str) -> str:
    return f"eval/{name[len(_EVAL) :]}" if name.startswith(_EVAL) else name


def _summary_of(logs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the trainer logs about the whole training at its end: as a series it would follow the curves."""
    if "train_runtime" not in logs:
        return {}
    return {name: value for name, value in logs.items() if name.startswith("train_") or name == "total_flos"}


def _checkpoints_in(folder: str | os.PathLike[str]) -> list[tuple[int, Path]]:
    """Return steps and folders of the checkpoints that lie in a trainer's folder."""
    paths = Path(folder).iterdir() if os.path.isdir(folder) else ()
    return [(int(match[1]), path) for path in paths if (match := _CHECKPOINT.fullmatch(path.name))]


def _saved_at(folder: str | os.PathLike[str], step: int) -> Path:
    """Return the folder of the checkpoint that was saved just now; a search has a folder for each trial in between."""
    path = Path(folder, f"checkpoint-{step}")
    of_trials = [] if path.is_dir() else list(Path(folder).glob(f"*/{path.name}"))
    return max(of_trials, key=lambda trial: trial.stat().st_mtime, default=path)


def _policy(args: Any) -> dict[str, Any]:
    """Return the policy by which a trainer keeps checkpoints, as that of a portfolio, which keeps none that it removes."""
    limit = args.save_total_limit if args.save_total_limit and args.save_total_limit > 0 else None
    metric = args.metric_for_best_model
    if metric is None:
        return {"latest": limit or _ALL}
    name = _renamed(metric if metric.startswith(_EVAL) else _EVAL + metric)
    latest = max(limit - 1, 1) if limit else _ALL
    return {"latest": latest, "top": 1, "metric": name, "mode": "max" if args.greater_is_better else "min"}


def register() -> None:
    """Have `TrainingArguments(report_to="mlv")` log with a `Callback`, whose experiment the settings decide.

    Raises:
        MissingExtra: transformers is not installed, or has no table of integrations.
    """
    integrations = framework("transformers.integrations.integration_utils", least=LEAST, below=BELOW)
    table = getattr(integrations, "INTEGRATION_TO_CALLBACK", None)
    if not isinstance(table, dict):
        text = 'this version of transformers takes no others: pass callbacks=[Callback(...)] in place of report_to="mlv"'
        raise MissingExtra(text, package="transformers", extra=None)
    table["mlv"] = __getattr__("Callback")


def __getattr__(name: str) -> Any:
    if name != "Callback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name not in globals():
        callbacks = framework("transformers.trainer_callback", least=LEAST, below=BELOW)
        globals()[name] = derived(name, TransformersCallback, callbacks.TrainerCallback)
    return globals()[name]
