"""`wandb.integration.keras`: callbacks for Keras, with the names of metrics that wandb gives them."""

from __future__ import annotations

import os
from typing import Any

from mlv.compat.wandb.integration.current import required_run, with_base


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


WandbMetricsLogger = with_base(OwnWandbMetricsLogger, "keras.callbacks", "Callback")
WandbModelCheckpoint = with_base(OwnWandbModelCheckpoint, "keras.callbacks", "ModelCheckpoint")
