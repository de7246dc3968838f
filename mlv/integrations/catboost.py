"""The bridge from CatBoost: a callback for `fit`, and the results of `catboost.cv`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlv import Exp, InvalidArgument
from mlv.integrations.boosting import Rounds
from mlv.integrations.connection import Connection
from mlv.integrations.frameworks import framework


class Callback:
    """Logs every round: the step is its number; names are `learn/Logloss` and `validation/Logloss`, data and metric.

    A `fit` that goes on from a snapshot (`save_snapshot=True`) goes on behind its rounds: what was logged after them is
    superseded. So does one with `init_model=`, where the callback gets the same model: CatBoost counts its rounds from 1.

    CatBoost tells nobody when training ends: an experiment that was made here is closed by `close()`, or with the callback.
    """

    def __init__(
        self,
        savedir: Any = None,
        name: str | None = None,
        params: Any = None,
        *,
        exp: Any = None,
        init_model: Any = None,
        model: Any = None,
        **options: Any,
    ) -> None:
        """Log to an experiment, which is made at its first use, or to the one that is passed.

        Args:
            savedir: As in `mlv.Exp`.
            name: As in `mlv.Exp`.
            params: As in `mlv.Exp`.
            exp: An experiment in place of these three, which stays open; or its path.
            init_model: The model that `fit` gets as `init_model`.
            model: The model that is fitted: its params become the param `catboost`.
            options: Other arguments of `mlv.Exp`.

        Raises:
            InvalidArgument: An argument cannot be used; `init_model` is not fitted.
            MissingExtra: CatBoost is not installed, or is too old.
        """
        framework("catboost", least="1.1", below="2")
        self._first = _rounds(init_model)
        self._model = model
        self._rounds = Rounds(Connection(exp, savedir, name, params, **options), None, ".cbm")
        self._counts: dict[str, int] = {}
        self._iteration: int | None = None

    def after_iteration(self, info: Any) -> bool:
        """Log a round; training goes on."""
        if self._rounds.connection.is_repeated(info):
            return True
        if self._iteration is None or info.iteration <= self._iteration:
            self._begin(info)
        self._iteration = info.iteration
        metrics = {}
        for data, scores in (info.metrics or {}).items():
            for metric, values in scores.items():
                name = f"{data}/{metric}"
                if len(values) != self._counts.get(name):  # with `metric_period`, most rounds have no new value
                    self._counts[name], metrics[name] = len(values), float(values[-1])
        if metrics:
            self._rounds.record(self._first + info.iteration - 1, metrics, None)
        return True

    def close(self) -> None:
        """Close an experiment that was made here."""
        self._rounds.connection.close()

    def _begin(self, info: Any) -> None:
        self._counts.clear()
        self._rounds.begin(self._first + info.iteration - 1)
        if self._model is not None:
            self._rounds.connection.add_params({"catboost": self._model.get_params()})


def log_cv(exp: Exp, scores: Any) -> None:
    """Log the results of `catboost.cv`, which takes no callbacks: `test/Logloss-mean` and `test/Logloss-std` by round.

    Args:
        exp: The experiment.
        scores: The data frame that `cv` returns, or its mapping of lists with `as_pandas=False`.

    Raises:
        InvalidArgument: It is neither.
    """
    columns = scores.to_dict("list") if hasattr(scores, "to_dict") else scores
    if not isinstance(columns, Mapping):
        raise InvalidArgument(f"scores is of type {type(scores).__name__}: give what catboost.cv returns", scores=scores)
    names = {column: column.replace("-", "/", 1) for column in columns if column != "iterations"}
    rounds = columns.get("iterations") or range(max(map(len, columns.values()), default=0))
    for index, iteration in enumerate(rounds):
        exp.log({name: columns[column][index] for column, name in names.items()}, step=int(iteration))


def _rounds(model: Any) -> int:
    """Return how many rounds a model has; 0 for None."""
    if model is None:
        return 0
    rounds = getattr(model, "tree_count_", None)
    if not isinstance(rounds, int):
        text = f"init_model is of type {type(model).__name__} and has no trees: give a fitted model, as load_model() returns it"
        raise InvalidArgument(text, init_model=model)
    return rounds
