"""The bridge from LightGBM: a callback for `lightgbm.train`, `lightgbm.cv` and the estimators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mlv.integrations.boosting import Rounds
from mlv.integrations.connection import Connection
from mlv.integrations.frameworks import framework


class Callback:
    """Logs every round: the step is its number, over all trainings of a model; names are `valid_0/l2`, data and metric.

    `lightgbm.cv` has two metrics instead, `valid/l2-mean` and `valid/l2-stdv`. Which direction is better is described, and
    the settings of training are the param `lightgbm`. Training that starts from a model (`init_model=`) goes on behind its
    rounds: what was logged after them is superseded.

    LightGBM tells nobody when training stops early: an experiment that was made here is closed after the last round, or by
    `close()`, or with the callback.
    """

    order = 20
    """Behind what changes the settings of a round, and before early stopping, which lets no other callback come."""
    before_iteration = False

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
            MissingExtra: LightGBM is not installed, or is too old.
        """
        framework("lightgbm", least="3.3", below="5")
        self._rounds = Rounds(Connection(exp, savedir, name, params, **options), save_every, ".txt")
        self._described: set[str] = set()

    def __call__(self, env: Any) -> None:
        """Log a round."""
        if not self._rounds.connection.is_repeated(env.params, env.iteration):
            self._record(env)
        if env.iteration + 1 == env.end_iteration:
            self._rounds.connection.close()

    def close(self) -> None:
        """Close an experiment that was made here."""
        self._rounds.connection.close()

    def _record(self, env: Any) -> None:
        connection = self._rounds.connection
        if env.iteration == env.begin_iteration:
            self._rounds.begin(env.begin_iteration)
            connection.add_params({"lightgbm": _settings(env.params)})
        metrics = {}
        for metric, value, is_better_high in _results(env.evaluation_result_list or ()):
            metrics[metric] = value
            if metric not in self._described:
                self._described.add(metric)
                connection.log.describe(metric, mode="max" if is_better_high else "min")
        save = None if hasattr(env.model, "boosters") else env.model.save_model
        self._rounds.record(env.iteration, metrics, save)
        if env.iteration + 1 == env.end_iteration:
            self._rounds.save(env.iteration, metrics, save)


def _settings(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a model is trained, without for how long: that is another number where a training goes on."""
    return {name: value for name, value in params.items() if value is not None and name != "num_iterations"}


def _results(results: Any) -> Iterator[tuple[str, float, bool | None]]:
    """Go through name, value and direction of the metrics; a deviation has no direction."""
    for data, metric, value, is_better_high, *deviation in results:
        if data == "cv_agg":  # before LightGBM 4.6, the metric of `cv` begins with the data
            data, _, metric = metric.partition(" ")
        if deviation and deviation[0] is not None:
            yield f"{data}/{metric}-mean", float(value), is_better_high
            yield f"{data}/{metric}-stdv", float(deviation[0]), False
        else:
            yield f"{data}/{metric}", float(value), is_better_high
