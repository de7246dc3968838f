"""The run that the callbacks here log into, and their bases, which are classes of the libraries that they are for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mlv.compat.wandb.errors import Error
from mlv.compat.wandb.run import Run
from mlv.compat.wandb.starting import current


def required_run(call: str) -> Run:
    """Return the run of `wandb.init`.

    Raises:
        Error: There is none.
    """
    run = current()
    if run is None:
        raise Error(f"You must call wandb.init() before {call}()")
    return run


def with_base(own: type, module: str, base: str) -> Any:
    """Return a class with the methods of one of ours, and a class of a library as its base.

    Raises:
        ImportError: The library is not installed.
    """
    foreign = getattr(import_module(module), base)
    name = own.__name__.removeprefix("Own")
    return type(name, (own, foreign), {"__module__": own.__module__, "__qualname__": name, "__doc__": own.__doc__})


def better(metric: str) -> str | None:
    """Return which values of a metric of boosting are the better ones: `min`, `max`, or None where its name does not say."""
    word = metric.lower().partition("@")[0]
    if "loss" in word or word in ("rmse", "rmsle", "mae", "mape", "mphe", "error", "merror", "l1", "l2", "mse", "huber"):
        return "min"
    return "max" if word in ("auc", "aucpr", "ndcg", "map", "auc_mu", "average_precision") else None
