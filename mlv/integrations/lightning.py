"""PyTorch Lightning and Fabric: `Logger` and `Callback`, of the classes of the package `lightning`.

Those of the package `pytorch_lightning` are in `mlv.integrations.pytorch_lightning`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from mlv import Logger as MlvLogger
from mlv.integrations.checkpoints import keep_link
from mlv.integrations.connection import Connection, log_metrics
from mlv.integrations.frameworks import framework

LEAST, BELOW = "2.1", "3"
"""Versions that are known to work."""
_FAILED = ("failed", "aborted")
_KEY = "mlv"
"""Key of our entry in Lightning's checkpoints."""


class LightningLogger:
    """The methods of `Logger`: an experiment as a logger of Lightning's `Trainer` and of `Fabric`.

    `Trainer(logger=Logger("runs", "digits"))` is all. The experiment is made on the main rank when the run begins. Everything
    that Lightning writes, its checkpoints included, lies in the folder of the experiment, for that is the logger's `save_dir`;
    its `name` and `version` are empty. The step of a metric is Lightning's, and `epoch` a coordinate.
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
            name: As in `mlv.Exp`.
            params: As in `mlv.Exp`; the hyperparameters of modules are added to them.
            exp: An experiment in place of these three, or its path.
            checkpoints: Whether the portfolio of the experiment knows Lightning's checkpoints, by links.
            options: As in `mlv.Exp`, such as `tags`, `outputs` and `on_exists`.

        Raises:
            InvalidArgument: The arguments do not fit.
        """
        self._connection = Connection(exp, savedir, name, params, **options)
        self._keeps_checkpoints = checkpoints
        self._folders: list[str] = []
        """Keys of Lightning's checkpoint callbacks: each has a portfolio of its own."""
        self._linked: tuple[str, Any] | None = None
        self._position: int | None = None
        """The last step that the trainer has made, as `Callback` tells it."""
        self._scores: dict[str, float] = {}
        self._of_epoch: tuple[Any, MlvLogger | None] = (None, None)

    # Where things lie.

    @property
    def name(self) -> str:
        """Empty, so that checkpoints lie in the folder of the experiment."""
        return ""

    @property
    def version(self) -> str:
        """Empty, so that checkpoints lie in the folder of the experiment."""
        return ""

    @property
    def save_dir(self) -> str | None:
        """The folder of the experiment; None on ranks that do not make it, where Lightning takes that of the main one."""
        return str(self._connection.exp.path) if _is_main() or self._connection.is_open else None

    @property
    def root_dir(self) -> str | None:
        """The folder of the experiment."""
        return self.save_dir

    @property
    def log_dir(self) -> str | None:
        """The folder of the experiment."""
        return self.save_dir

    # What is logged.

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log metrics at Lightning's step; an `epoch` among them is a coordinate."""
        if not _is_main():
            return
        log = self._connection.log
        if self._connection.is_row_repeated(metrics, step, self):
            return
        if isinstance(metrics, Mapping) and "epoch" in metrics and len(metrics) > 1:
            metrics = dict(metrics)
            log = self._log_of(metrics.pop("epoch"))
        log_metrics(log, metrics, step)

    def _log_of(self, epoch: Any) -> MlvLogger:
        known, log = self._of_epoch
        if log is None or known != epoch or not self._connection.is_open:
            log = self._connection.log
            with self._connection.guard("the epoch of metrics"):
                log = log.at(epoch=int(epoch) if isinstance(epoch, float) and epoch.is_integer() else epoch)
            self._of_epoch = epoch, log
        return log

    def log_hyperparams(self, params: Any, metrics: Any = None, *_: Any, step: int | None = None, **__: Any) -> None:
        """Add hyperparameters to the params, leniently: as `Exp.add_params(params, lenient=True)` does.

        Metrics that come with them, as Lightning's TensorBoardLogger takes them, are logged.
        """
        if not _is_main():
            return
        self._connection.add_params(params if params is not None else {})
        if isinstance(metrics, Mapping):
            self.log_metrics(metrics, step)

    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Log the graph of a module, where there is an input to trace it with: Lightning itself gives none."""
        if _is_main() and input_array is not None:
            self._connection.log.graph("model", model, input_array)

    def log_image(self, key: str, images: Sequence[Any], step: int | None = None, caption: Any = None, **_: Any) -> None:
        """Log images, as Lightning's WandbLogger does."""
        if _is_main():
            self._connection.log.images(key, images, step=step, captions=caption)

    def log_text(self, key: str, text: str, step: int | None = None) -> None:
        """Log a text."""
        if _is_main():
            self._connection.log.text(key, text, step=step)

    def log_table(
        self, key: str, columns: Sequence[str] | None = None, data: Any = None, dataframe: Any = None, step: int | None = None
    ) -> None:
        """Log a table: a data frame, or rows with the names of their columns."""
        if _is_main():
            table = data if dataframe is None else dataframe
            self._connection.log.table(key, table, step=step, columns=columns if dataframe is None else None)

    # The course of a run.

    def save(self) -> None:
        """Do nothing: what is logged is written already."""

    def finalize(self, status: str) -> None:
        """End the run in the experiment, unless it was passed; a later use of the logger begins another one."""
        if _is_main():
            self._of_epoch = None, None
            self._connection.close("failed" if status in _FAILED else "ok")

    def rewind(self, step: float) -> None:
        """Go on from a restored step: what was logged with a greater one is superseded. For loops with Fabric."""
        if _is_main():
            self._connection.rewind(step)

    def _tell(self, position: int, scores: Mapping[str, Any] | None = None) -> None:
        """Take note of the trainer's last step, and of its latest metrics where a checkpoint is about to be saved."""
        self._position = position
        if scores is not None:
            with self._connection.guard("metrics of a checkpoint"):
                self._scores = {name: float(value) for name, value in scores.items() if _is_scalar(value)}

    # Checkpoints.

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Link the checkpoint that was saved into the portfolio; what the callback removes, the portfolio lets go."""
        if not _is_main() or not self._keeps_checkpoints:
            return
        with self._connection.guard("a checkpoint"):
            path = str(checkpoint_callback._last_checkpoint_saved)
            step = self._position_at(checkpoint_callback)
            if self._connection.is_repeated(checkpoint_callback, (path, step, _modified(path))):
                return
            is_last = path == checkpoint_callback.last_model_path and path not in checkpoint_callback.best_k_models
            if is_last and self._linked == (_key(checkpoint_callback), step):
                return  # the same state was saved just now, under the name of its step
            self._linked = _key(checkpoint_callback), step
            metrics, policy = self._scores_at(checkpoint_callback, path), _policy(checkpoint_callback)
            folder = self._folder_of(_key(checkpoint_callback))
            keep_link(self._connection, path, step=step, metrics=metrics, policy=policy, folder=folder)

    def _folder_of(self, key: str) -> str:
        """Return the portfolio of a checkpoint callback: `models` for the first one, then `models_2`."""
        if key not in self._folders:
            self._folders.append(key)
        number = self._folders.index(key) + 1
        return "models" if number == 1 else f"models_{number}"

    def _position_at(self, callback: Any) -> int | None:
        if self._position is not None:
            return self._position
        step = getattr(callback, "_last_global_step_saved", None)
        return None if step is None else step - 1  # Lightning's loggers count from 0

    def _scores_at(self, callback: Any, path: str) -> dict[str, float]:
        scores = dict(self._scores)
        if callback.monitor is not None:
            score = callback.best_k_models.get(path)
            scores[callback.monitor] = float(score) if score is not None else scores.get(callback.monitor, math.nan)
        return scores

    def __getstate__(self) -> dict[str, Any]:
        self._connection.stays_closed = not _is_main()
        return {**vars(self), "_of_epoch": (None, None)}


class LightningCallback:
    """The methods of `Callback`, which tells each `Logger` of a trainer how far it is.

    Lightning adds it by an entry point to each trainer, once a `Logger` is in use. When a trainer goes on from a checkpoint,
    the experiment is rewound to the step that was restored.
    """

    def __init__(self) -> None:
        self._restored: int | None = None

    def on_fit_start(self, trainer: Any, *_: Any) -> None:
        """Tell the loggers the order of the checkpoint callbacks, so that each has the same portfolio in each run."""
        for logger in _loggers_of(trainer):
            for callback in trainer.checkpoint_callbacks:
                logger._folder_of(_key(callback))

    def on_load_checkpoint(self, trainer: Any, module: Any, checkpoint: Mapping[str, Any]) -> None:
        """Remember the step of a checkpoint that the trainer restores to go on with the fit."""
        if trainer.state.fn != "fit":
            return
        entry = checkpoint.get(_KEY)
        position = entry.get("step") if isinstance(entry, Mapping) else checkpoint.get("global_step", 0) - 1
        self._restored = position if isinstance(position, int) and position >= 0 else None

    def on_train_start(self, trainer: Any, *_: Any) -> None:
        """Rewind the loggers to the step that was restored."""
        restored, self._restored = self._restored, None
        if restored is not None:
            for logger in _loggers_of(trainer):
                logger._tell(restored)
                logger.rewind(restored)

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Tell the loggers the step that ends."""
        position = _position_of(trainer)
        for logger in _loggers_of(trainer):
            logger._tell(position)

    def on_save_checkpoint(self, trainer: Any, module: Any, checkpoint: dict[str, Any]) -> None:
        """Put the step into the checkpoint, and tell the loggers the metrics that it was saved with."""
        for logger in _loggers_of(trainer):
            if logger._position is not None:
                checkpoint[_KEY] = {"step": logger._position}
                logger._tell(logger._position, trainer.callback_metrics)


def _position_of(trainer: Any) -> int:
    """Return the step that loggers get: batches after which the optimizers stepped, however many there are of these."""
    steps = getattr(trainer.fit_loop.epoch_loop, "_batches_that_stepped", None)
    return int(steps if steps is not None else trainer.global_step - 1)


def _loggers_of(trainer: Any) -> list[LightningLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, LightningLogger)]


def _key(callback: Any) -> str:
    return str(getattr(callback, "state_key", id(callback)))


def _policy(callback: Any) -> dict[str, Any]:
    """Return the policy by which a checkpoint callback keeps files, as that of a portfolio."""
    policy: dict[str, Any] = {"latest": 1, "every": 1 if callback.save_top_k == -1 else None}
    if callback.monitor is not None and callback.save_top_k != 0:
        policy.update(top=max(callback.save_top_k, 1), metric=callback.monitor, mode=callback.mode)
    return policy


def _modified(path: str) -> int | None:
    """Return when a file was last written, in nanoseconds; None for one that is on no disk of this machine."""
    return os.stat(path).st_mtime_ns if os.path.exists(path) else None


def _is_scalar(value: Any) -> bool:
    return not isinstance(value, (str, bool)) and getattr(value, "numel", lambda: 1)() == 1


def _is_main() -> bool:
    """Return whether this is the main rank, which alone logs, as far as Lightning knows."""
    from lightning_utilities.core.rank_zero import rank_zero_only  # comes with Lightning

    return getattr(rank_zero_only, "rank", 0) == 0


def class_of(module: str, tree: str, name: str) -> Any:
    """Return the class `Logger` or `Callback` of a package of Lightning; modules of integrations get their classes here.

    Args:
        module: The module that offers the class, where pickle looks for it.
        tree: Package of Lightning's own classes, such as `lightning.pytorch`.
        name: Of the class.

    Raises:
        AttributeError: There is no such class.
        MissingExtra: Lightning is not installed, or too old.
    """
    if name not in ("Logger", "Callback"):
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    install = "lightning" if tree.startswith("lightning") else "pytorch-lightning"
    if name == "Callback":
        bases: tuple[Any, ...] = (LightningCallback, framework(tree, least=LEAST, below=BELOW, install=install).Callback)
        members: dict[str, Any] = {}
    else:
        loggers = framework(f"{tree}.loggers.logger", least=LEAST, below=BELOW, install=install)
        bases = (LightningLogger, loggers.Logger)
        members = {"experiment": property(loggers.rank_zero_experiment(_experiment))}
    documentation = bases[0].__doc__
    return type(name, bases, {**members, "__module__": module, "__qualname__": name, "__doc__": documentation})


def _experiment(logger: LightningLogger) -> Any:
    """Return the `Exp`; on ranks that do not log, Lightning puts an object in its place that takes every call."""
    return logger._connection.exp


def callbacks() -> list[Any]:
    """Return the callbacks that each trainer gets; Lightning calls this by an entry point."""
    return [__getattr__("Callback")()] if "Logger" in globals() else []


def register() -> None:
    """Have each trainer that is made from now on get the callback, and raise what speaks against it."""
    __getattr__("Logger")


def __getattr__(name: str) -> Any:
    if name in globals():
        return globals()[name]
    globals()[name] = made = class_of(__name__, "lightning.pytorch", name)
    return made
