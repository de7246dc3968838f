"""The bridge from XGBoost: a callback for `xgboost.train`, `xgboost.cv` and the estimators."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from mlv.integrations.boosting import Rounds
from mlv.integrations.connection import Connection
from mlv.integrations.derived import derived
from mlv.integrations.frameworks import framework

_TRAINING = ("learner_train_param", "gbtree_train_param", "tree_train_param", "gblinear_train_param", "dart_train_param")
"""Parts of a model's configuration that say how it is trained; the others follow from the data and the machine."""


def __getattr__(name: str) -> Any:
    if name != "Callback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    base = framework("xgboost.callback", least="1.7", below="4", install="xgboost").TrainingCallback
    globals()[name] = derived("Callback", XGBoostCallback, base)
    return globals()[name]


class XGBoostCallback:
    """Logs every round: the step is its number, over all trainings of a model; names are `train/rmse`, data and metric.

    `xgboost.cv` has two metrics instead, `train/rmse-mean` and `train/rmse-std`. How the model is trained is the param
    `xgboost`, and the summary has `best_iteration` and `best_score` where training stopped early. Training that starts from a
    model (`xgb_model=`) goes on behind its rounds: what was logged after them is superseded. Of several workers, the first
    logs.
    """

    def __init__(
        self,
        savedir: Any = None,
        name: str | None = None,
        params: Any = None,
        *,
        exp: Any = None,
        save_every: int | None = None,
        **options: Any,
    ) -> None:
        """Log to an experiment, which is made at its first use, or to the one that is passed.

        Args:
            savedir: As in `mlv.Exp`.
            name: As in `mlv.Exp`.
            params: As in `mlv.Exp`.
            exp: An experiment in place of these three, which stays open; or its path.
            save_every: Rounds between two checkpoints in `exp.checkpoints()`; the last round is one as well. None saves none.
            options: Other arguments of `mlv.Exp`.

        Raises:
            InvalidArgument: An argument cannot be used.
        """
        super().__init__()
        self._rounds = Rounds(Connection(exp, savedir, name, params, **options), save_every, ".ubj")
        self._first = 0
        self._latest: tuple[int, dict[str, Any]] | None = None
        self._log: object = None
        """Where XGBoost keeps the metrics of all rounds of this training."""
        self._is_main = True

    def before_training(self, model: Any) -> Any:
        """Find the round that training starts from."""
        self._is_main = framework("xgboost", least="1.7", below="4").collective.get_rank() == 0
        if self._is_main:
            connection, self._latest = self._rounds.connection, None
            self._first = 0 if _is_cv(model) else model.num_boosted_rounds()
            self._rounds.begin(self._first)
            with connection.guard("params"):
                connection.add_params({"xgboost": _configuration(model.cvfolds[0].bst if _is_cv(model) else model)})
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Mapping[str, Any]]) -> bool:
        """Log a round."""
        if not self._is_main:
            return False
        step, metrics = self._first + epoch, dict(_latest(evals_log))
        self._latest, self._log = (step, metrics), evals_log
        if not self._rounds.connection.is_repeated(evals_log, step):
            self._rounds.record(step, metrics, None if _is_cv(model) else model.save_model)
        return False

    def after_training(self, model: Any) -> Any:
        """Record where training stopped early, save the last round, and close an experiment that was made here."""
        if self._is_main:
            connection = self._rounds.connection
            if self._latest is not None and not _is_cv(model) and not connection.is_repeated(self._log, "end"):
                self._rounds.save(*self._latest, model.save_model)
                with connection.guard("early stopping"):
                    self._log_best(model)
            connection.close()
        return model

    def _log_best(self, model: Any) -> None:
        if (best := model.attr("best_iteration")) is not None:
            values = {"best_iteration": int(best), "best_score": float(model.attr("best_score"))}
            self._rounds.connection.exp.summarize(values)


def _is_cv(model: Any) -> bool:
    return hasattr(model, "cvfolds")


def _latest(evals_log: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, float]]:
    """Go through the latest value of each metric; `cv` has a mean and a deviation of each."""
    for data, scores in evals_log.items():
        for metric, values in scores.items():
            value = values[-1]
            if isinstance(value, tuple):
                yield f"{data}/{metric}-mean", float(value[0])
                yield f"{data}/{metric}-std", float(value[1])
            else:
                yield f"{data}/{metric}", float(value)


def _configuration(model: Any) -> dict[str, Any]:
    """Return how a model is trained, by the names of XGBoost."""
    return dict(_settings(json.loads(model.save_config())["learner"]))


def _settings(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from ((key, _number(text)) for key, text in value.items()) if name in _TRAINING else _settings(value)


def _number(text: Any) -> Any:
    """Return a number for its text: of a float of 32 bits, nine digits are shown, and seven are true."""
    with suppress(ValueError):
        return int(text)
    with suppress(ValueError):
        return float(f"{float(text):.7g}")
    return text
