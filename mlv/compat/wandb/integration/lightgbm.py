"""`wandb.integration.lightgbm`: a callback for boosting, with the names of metrics that wandb gives them."""

from __future__ import annotations

import os
from typing import Any

from mlv.compat.wandb.integration.current import better, required_run
from mlv.compat.wandb.plot import bar
from mlv.compat.wandb.table import Table


class WandbCallback:
    """Logs each round, and the params."""

    order = 20
    before_iteration = False

    def __init__(self, log_params: bool = True, define_metric: bool = True) -> None:
        """Keep the options; `wandb_callback` says what they mean."""
        self._log_params, self._define_metric = log_params, define_metric

    def __call__(self, env: Any) -> None:
        """Log a round."""
        run = required_run("wandb_callback")
        row: dict[str, Any] = {}
        for item in env.evaluation_result_list:
            data, name = (item[0], item[1]) if item[0] != "cv_agg" else item[1].split(" ", 1)
            spread = getattr(item, "metric_std_dev", None) if hasattr(item, "metric_std_dev") else (*item, None)[4]
            values = {name: item[2]} if spread is None else {f"{name}-mean": item[2], f"{name}-stdv": spread}
            for key, value in values.items():
                if self._define_metric and env.iteration == env.begin_iteration and better(name) is not None:
                    run.define_metric(f"{data}_{key}", summary=better(name))
                row[f"{data}_{key}"] = value
        if self._log_params and env.iteration == env.begin_iteration:
            run.config.update(env.params)
        run.log({**row, "iteration": env.iteration})


def wandb_callback(log_params: bool = True, define_metric: bool = True) -> WandbCallback:
    """Make a callback for `lightgbm.train`.

    Args:
        log_params: Whether the params are added to the config.
        define_metric: Whether the best value of a metric stands for it in the summary, where its name says which is better.
    """
    return WandbCallback(log_params, define_metric)


def log_summary(model: Any, feature_importance: bool = True, save_model_checkpoint: bool = False) -> None:
    """Put the best round and score into the summary, and log the importance of features as a chart.

    Args:
        model: The booster.
        feature_importance: Whether the importance is logged.
        save_model_checkpoint: Whether the model is attached.

    Raises:
        Error: There is no run.
    """
    run = required_run("log_summary")
    run.summary.update({"best_iteration": model.best_iteration, "best_score": dict(model.best_score)})
    if feature_importance:
        rows = [[name, value] for name, value in zip(model.feature_name(), model.feature_importance(), strict=True)]
        table = Table(["Feature", "Importance"], rows)
        run.log({"Feature Importance": bar(table, "Feature", "Importance", title="Feature Importance")})
    if save_model_checkpoint:
        path = os.path.join(run.dir, f"{run.id}_model.txt")
        model.save_model(path)
        run.save(path)
