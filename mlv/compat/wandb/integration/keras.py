"""`wandb.integration.keras`: callbacks for Keras, with the names of metrics that wandb gives them."""

from __future__ import annotations

import os
from typing import Any

from mlv.compat.wandb.artifacts import Artifact
from mlv.compat.wandb.integration.current import required_run, with_base
from mlv.compat.wandb.table import Table


class OwnWandbMetricsLogger:
    """Logs each epoch as `epoch/...`, or batches as `batch/...`, with the rate of learning."""

    model: Any

    def __init__(self, log_freq: str | int = "epoch", initial_global_step: int = 0) -> None:
        """Describe the x axes.

        Args:
            log_freq: `epoch`, `batch`, or batches between two lines.
            initial_global_step: Steps of the optimizer before this training.

        Raises:
            Error: There is no run.
        """
        super().__init__()
        self._run = required_run("WandbMetricsLogger")
        self.log_freq = 1 if log_freq == "batch" else log_freq if isinstance(log_freq, int) else None
        self.global_step, self.global_batch = initial_global_step, 0
        kind, axis = ("epoch", "epoch/epoch") if self.log_freq is None else ("batch", "batch/batch_step")
        self._run.define_metric(axis)
        self._run.define_metric(f"{kind}/*", step_metric=axis)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Log an epoch."""
        self._log("epoch", logs, {"epoch/epoch": epoch})

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Log a batch, where it is due."""
        self.global_step += 1
        if self.log_freq is not None and batch % self.log_freq == 0:
            self._log("batch", logs, {"batch/batch_step": self.global_batch})
            self.global_batch += self.log_freq

    def _log(self, kind: str, logs: Any, axis: dict[str, Any]) -> None:
        rate = self._learning_rate()
        learning = {} if rate is None else {f"{kind}/learning_rate": rate}
        self._run.log({**{f"{kind}/{name}": value for name, value in (logs or {}).items()}, **axis, **learning})

    def _learning_rate(self) -> float | None:
        try:
            rate = self.model.optimizer.learning_rate
            return float(rate(self.global_step) if callable(rate) and not hasattr(rate, "numpy") else rate)
        except Exception:  # optimizers and schedules of a user's own
            return None


class OwnWandbModelCheckpoint:
    """Saves the model as Keras's `ModelCheckpoint` does, and attaches each file."""

    def __init__(self, filepath: Any, *args: Any, **options: Any) -> None:
        """Take the arguments of `ModelCheckpoint`.

        Raises:
            Error: There is no run.
        """
        super().__init__(filepath, *args, **options)  # type: ignore[call-arg]
        self._run = required_run("WandbModelCheckpoint")

    def _save_model(self, epoch: int, batch: Any, logs: Any) -> None:
        super()._save_model(epoch, batch, logs)  # type: ignore[misc]
        path = os.path.abspath(self._get_file_path(epoch, batch, logs))  # type: ignore[attr-defined]
        if os.path.exists(path):
            self._run.save(path, policy="now", glob=False)


class OwnWandbEvalCallback:
    """The base of callbacks that log a table of what is true once, and one of what the model says behind each epoch."""

    def __init__(self, data_table_columns: list[str], pred_table_columns: list[str], *args: Any, **options: Any) -> None:
        """Keep the columns of both tables.

        Raises:
            Error: There is no run.
        """
        super().__init__(*args, **options)
        self._run = required_run("WandbEvalCallback")
        self.data_table_columns, self.pred_table_columns = data_table_columns, pred_table_columns
        self.data_table: Any = None
        self.pred_table: Any = None
        self.data_table_ref: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Log the table of what is true."""
        self.init_data_table(self.data_table_columns)
        self.add_ground_truth(logs)
        self.log_data_table()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Log the table of what the model says."""
        self.init_pred_table(self.pred_table_columns)
        self.add_model_predictions(epoch, logs)
        self.log_pred_table()

    def add_ground_truth(self, logs: Any = None) -> None:
        """Add rows to `data_table`: this is for the class below.

        Raises:
            NotImplementedError: It has no such method.
        """
        raise NotImplementedError(f"{type(self).__name__}.add_ground_truth")

    def add_model_predictions(self, epoch: int, logs: Any = None) -> None:
        """Add rows to `pred_table`, with what `data_table_ref` holds: this is for the class below.

        Raises:
            NotImplementedError: It has no such method.
        """
        raise NotImplementedError(f"{type(self).__name__}.add_model_predictions")

    def init_data_table(self, column_names: list[str]) -> None:
        """Begin the table of what is true."""
        self.data_table = Table(columns=column_names)

    def init_pred_table(self, column_names: list[str]) -> None:
        """Begin a table of what the model says."""
        self.pred_table = Table(columns=column_names)

    def log_data_table(self, name: str = "val", type: str = "dataset", table_name: str = "val_data") -> None:
        """Log the table of what is true as an artifact, and read it back as `data_table_ref`."""
        artifact = Artifact(name, type)
        artifact.add(self.data_table, table_name)
        self.data_table_ref = self._run.use_artifact(artifact).get(table_name)

    def log_pred_table(self, type: str = "evaluation", table_name: str = "eval_data", aliases: list[str] | None = None) -> None:
        """Log the table of what the model says as a version of an artifact."""
        artifact = Artifact(f"run_{self._run.id}_pred", type)
        artifact.add(self.pred_table, table_name)
        self._run.log_artifact(artifact, aliases=aliases)


WandbMetricsLogger = with_base(OwnWandbMetricsLogger, "keras.callbacks", "Callback")
WandbModelCheckpoint = with_base(OwnWandbModelCheckpoint, "keras.callbacks", "ModelCheckpoint")
WandbEvalCallback = with_base(OwnWandbEvalCallback, "keras.callbacks", "Callback")
