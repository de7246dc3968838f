"""The bridge from Keras 3: a callback for `fit` and `evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlv.integrations.arguments import checked_interval
from mlv.integrations.connection import Connection
from mlv.integrations.derived import derived
from mlv.integrations.frameworks import framework


def __getattr__(name: str) -> Any:
    if name != "Callback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = derived("Callback", KerasCallback, framework("keras.callbacks", least="3.0", below="4").Callback)
    return globals()[name]


class KerasCallback:
    """Logs every epoch, under the names of Keras: the step is the number of batches trained so far, `epoch` a coordinate.

    With `batch_every=10`, what Keras has for a batch is logged for each tenth as `batch/loss`, on the same axis. What
    `evaluate` finds outside of `fit` is `test/loss`. The configuration of the optimizer is the param `optimizer`.

    A `fit` with `initial_epoch=3` goes on behind the epochs before: what was logged after them is superseded. Its batches are
    counted on from those that the optimizer has behind it or, where a model without its optimizer was loaded, from as many as
    these epochs have.
    """

    if TYPE_CHECKING:  # attributes of the class of Keras
        model: Any
        params: Any

    def __init__(
        self,
        savedir: Any = None,
        name: str | None = None,
        params: Any = None,
        *,
        exp: Any = None,
        batch_every: int | None = None,
        save_every: int | None = None,
        **options: Any,
    ) -> None:
        """Log to an experiment, which is made at its first use, or to the one that is passed.

        Args:
            savedir: As in `mlv.Exp`.
            name: As in `mlv.Exp`.
            params: As in `mlv.Exp`.
            exp: An experiment in place of these three, which stays open; or its path.
            batch_every: Batches between two that are logged; None logs epochs alone.
            save_every: Epochs between two checkpoints in `exp.checkpoints()`, whose metrics have the `epoch`. None saves none.
            options: Other arguments of `mlv.Exp`.

        Raises:
            InvalidArgument: An argument cannot be used.
        """
        super().__init__()
        self._connection = Connection(exp, savedir, name, params, **options)
        self._batch_every = checked_interval("batch_every", batch_every)
        self._save_every = checked_interval("save_every", save_every)
        self._step: int | None = None
        self._before_epoch = 0
        self._epoch: int | None = None
        """The last epoch that was logged in this `fit`."""
        self._is_training = False
        self._begun: object = None
        """What Keras hands to all callbacks of a `fit` at its beginning."""
        self._is_second = False
        """Whether another callback logs the `fit` into the same experiment."""

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Begin, at the latest, the run; where to go on is known with the first epoch."""
        self._log = self._connection.log  # what is wrong with the experiment is said before anything is trained
        was_training, self._is_training = self._is_training, True
        self._step, self._epoch = None, None
        self._join(was_training)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Find the step that the epoch begins with."""
        if self._step is None:
            with self._connection.guard("where the training goes on"):
                self._begin(epoch)
        self._before_epoch = self._step or 0
        self._log_of_epoch = self._log.at(epoch=epoch)  # once an epoch: it costs as much as logging a batch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log a batch, if it is its turn."""
        step = self._before_epoch + batch + 1
        is_again, self._step = step == self._step, step  # the same callback may be in the list twice
        if self._batch_every is None or not logs or step % self._batch_every or is_again or self._is_second:
            return
        self._log_of_epoch({f"batch/{name}": value for name, value in logs.items()}, step=step)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log an epoch, and save the model if it is its turn."""
        if epoch == self._epoch or self._is_second:
            return
        self._epoch = epoch
        metrics: Any = logs or {}
        if "learning_rate" not in metrics:
            metrics = {**metrics}
            with self._connection.guard("the learning rate"):
                metrics["learning_rate"] = float(self.model.optimizer.learning_rate)
        self._log_of_epoch(metrics, step=self._step)
        if self._save_every is not None and (epoch + 1) % self._save_every == 0:
            with self._connection.guard("a checkpoint"):
                self._connection.exp.checkpoints().save(self.model, step=self._step, metrics={**metrics, "epoch": epoch})

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Close an experiment that was made here."""
        self._is_training = False
        self._connection.close()

    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Log an evaluation, unless it is the one at the end of an epoch, whose metrics come with those of the epoch."""
        if not self._is_training and logs and not self._connection.is_row_repeated(logs, self._step, self):
            self._connection.log({f"test/{name}": value for name, value in logs.items()}, step=self._step)

    def _join(self, was_training: bool) -> None:
        """Find out whether another callback of the same `fit` logs into the experiment: asked here, not for each epoch."""
        is_again, self._begun = self._begun is self.params, self.params
        if self.params is None:  # a loop of the user's, which hands over nothing that tells two apart
            self._is_second = False
        elif is_again:
            if was_training:  # otherwise it is the next `fit` with a `CallbackList` of the user's
                self._connection.report_repeats()
        else:
            self._is_second = self._connection.is_repeated(self.params, "begun")

    def _begin(self, epoch: int) -> None:
        trained = _batches_behind(self.model.optimizer)
        if not trained and not epoch:
            self._step = 0
            optimizer = self.model.optimizer
            config = {key: value for key, value in optimizer.get_config().items() if key != "name"}  # a number is a part of it
            self._connection.add_params({"optimizer": {"class": type(optimizer).__name__, **config}})
            return
        self._step = trained or epoch * int(self.params["steps"] or 0)
        self._connection.rewind(self._step)


def _batches_behind(optimizer: Any) -> int:
    """Return how many batches an optimizer has behind it: `iterations` are updates, one for each n where it accumulates n."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    counted = [variable for variable in optimizer.variables if variable.name == "iteration"]
    return int(counted[0] if counted else optimizer.iterations)
