"""The run that is going on, for what is below it: artifacts that are saved without one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlv.compat.wandb.run import Run


class _Hooks:
    latest: Callable[[], Run | None] = staticmethod(lambda: None)
    begin: Callable[..., Run]


def register(latest: Callable[[], Run | None], begin: Callable[..., Run]) -> None:
    """Have runs come from these: the one that began last and goes on, and a new one."""
    _Hooks.latest, _Hooks.begin = staticmethod(latest), staticmethod(begin)


def latest() -> Run | None:
    """Return the run that began last and goes on; None if there is none."""
    return _Hooks.latest()


def begin(**arguments: Any) -> Run:
    """Begin a run, as `wandb.init` does."""
    return _Hooks.begin(**arguments)
