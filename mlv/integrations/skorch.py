"""The bridge from skorch: a callback for `fit` and `partial_fit`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlv.integrations.arguments import checked_interval
from mlv.integrations.connection import Connection
from mlv.integrations.derived import derived
from mlv.integrations.frameworks import framework

_IGNORED = re.compile(r"batches|epoch|event_.*|.*_best|.*_batch_count")
"""Keys of the history that are no measurements."""


def __getattr__(name: str) -> Any:
    if name != "Callback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = derived(name, SkorchCallback, framework("skorch.callbacks", least="0.12", below="2").Callback)
    return globals()[name]


class SkorchCallback:
    """The methods of `Callback`: the history of a net as it grows, under its names: `train_loss`, `valid_acc`, `dur`.

    The step is the number of the epoch, from 1. The plain params of the net are the param `net`. A `partial_fit` behind a
    history that was loaded goes on behind its epochs: what was logged after them is superseded.

    With `save_every=2`, the params of the net, its optimizer and its history are a checkpoint each second epoch: a folder with
    `params.pt`, `optimizer.pt` and `history.json`, as `net.load_params` reads them.
    """

    def __init__(
        self,
        savedir: Any = None,
        name: str | None = None,
        params: Any = None,
        *,
        exp: Any = None,
        save_every: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Log to an experiment, which is made at its first use, or to the one that is passed.

        A callback of skorch is copied by its arguments, so that options are in a mapping here.

        Args:
            savedir: As in `mlv.Exp`.
            name: As in `mlv.Exp`.
            params: As in `mlv.Exp`.
            exp: An experiment in place of these three, which stays open; or its path.
            save_every: Epochs between two checkpoints in `exp.checkpoints()`. None saves none.
            options: Other arguments of `mlv.Exp`.
        """
        self.savedir, self.name, self.params, self.exp = savedir, name, params, exp
        self.save_every, self.options = save_every, options

    def initialize(self) -> SkorchCallback:
        """Find the experiment, anew where the net is initialized anew.

        Raises:
            InvalidArgument: An argument cannot be used.
        """
        self.save_every_ = checked_interval("save_every", self.save_every)
        self.connection_ = Connection(self.exp, self.savedir, self.name, self.params, **(self.options or {}))
        return self

    def on_train_begin(self, net: Any, **_: Any) -> None:
        """Begin, or go on behind the epochs of the history."""
        if epochs := len(net.history):
            self.connection_.rewind(epochs)
        else:
            self.connection_.add_params({"net": _settings(net)})

    def on_epoch_end(self, net: Any, **_: Any) -> None:
        """Log an epoch."""
        epoch, step = net.history[-1], len(net.history)
        if self.connection_.is_repeated(net.history, step):
            return
        metrics = {name: value for name, value in epoch.items() if _is_measured(name, value)}
        self.connection_.log(metrics, step=step)
        if self.save_every_ is not None and step % self.save_every_ == 0:
            with self.connection_.guard("a checkpoint"):
                self.connection_.exp.checkpoints().save(lambda path: _save(net, path), step=step, metrics=metrics)

    def on_train_end(self, net: Any, **_: Any) -> None:
        """Close an experiment that was made here."""
        self.connection_.close()


def _is_measured(name: str, value: Any) -> bool:
    return value is not None and not _IGNORED.fullmatch(name)


def _settings(net: Any) -> dict[str, Any]:
    """Return the params of a net that are plain values, and the names of classes and functions."""
    params = {name: getattr(value, "__name__", value) for name, value in net.get_params(deep=False).items()}
    return {name: value for name, value in params.items() if isinstance(value, (bool, int, float, str))}


def _save(net: Any, path: Path) -> None:
    path.mkdir()
    names = {"f_params": "params.pt", "f_optimizer": "optimizer.pt", "f_history": "history.json"}
    net.save_params(**{argument: str(path / name) for argument, name in names.items()})
