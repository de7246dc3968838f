"""`wandb.integration.xgboost`: a callback for boosting, with the names of metrics that wandb gives them."""

from __future__ import annotations

import json
import os
from typing import Any

from mlv.compat.wandb.integration.current import better, required_run, with_base
from mlv.compat.wandb.plot import bar
from mlv.compat.wandb.table import Table


class OwnWandbCallback:
    """Logs each round, the settings of the booster, the importance of features as a chart, and the best score."""

    def __init__(
        self,
        log_model: bool = False,
        log_feature_importance: bool = True,
        importance_type: str = "gain",
        define_metric: bool = True,
    ) -> None:
        """Keep the options.

        Args:
            log_model: Whether the model is attached at the end.
            log_feature_importance: Whether the importance of features is logged at the end.
            importance_type: Which importance, as xgboost names it.
            define_metric: Whether the best value of a metric stands for it in the summary, where its name says which is better.

        Raises:
            Error: There is no run.
        """
        super().__init__()
        self._run = required_run("WandbCallback")
        self.log_model, self.log_feature_importance = log_model, log_feature_importance
        self.importance_type, self.define_metric = importance_type, define_metric

    def before_training(self, model: Any) -> Any:
        """Add the settings of the booster to the config."""
        self._run.config.update(json.loads(model.save_config()))
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Log a round."""
        row: dict[str, Any] = {}
        for data, metrics in evals_log.items():
            for name, values in metrics.items():
                if self.define_metric and better(name) is not None:
                    self._run.define_metric(f"{data}-{name}", summary=better(name))
                row[f"{data}-{name}"] = values[-1]
        self.define_metric = False
        self._run.log({**row, "epoch": epoch})
        return False

    def after_training(self, model: Any) -> Any:
        """Log the end of training."""
        if self.log_model:
            path = os.path.join(self._run.dir, f"{self._run.id}_model.json")
            model.save_model(path)
            self._run.save(path)
        if self.log_feature_importance:
            importance = model.get_score(importance_type=self.importance_type)
            table = Table(["Feature", "Importance"], [[key, value] for key, value in importance.items()])
            self._run.log({"Feature Importance": bar(table, "Feature", "Importance", title="Feature Importance")})
        if model.attr("best_score") is not None:
            best = {"best_score": float(model.attr("best_score")), "best_iteration": int(model.attr("best_iteration"))}
            self._run.log(best)
        return model


WandbCallback = with_base(OwnWandbCallback, "xgboost.callback", "TrainingCallback")
