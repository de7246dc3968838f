"""`init(sync_tensorboard=True)`: scalars that a script writes with a SummaryWriter are logged as well."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

from mlv.compat.wandb.run import Run

_MODULES = ("torch.utils.tensorboard", "tensorboardX")
_wrapped: set[type] = set()


def follow(current: Callable[[], Run | None]) -> None:
    """Have the scalars of every SummaryWriter logged into the run that goes on, under their tags and at their steps.

    The event files are written as before. What is installed of torch and tensorboardX is imported, as wandb does it: a script
    may import its writer after `init`.
    """
    for name in _MODULES:
        with suppress(Exception):  # not installed, torch without tensorboard, or an installation that is broken
            _wrap(import_module(name).SummaryWriter, current)


def _wrap(writer: Any, current: Callable[[], Run | None]) -> None:
    if writer in _wrapped:
        return
    _wrapped.add(writer)
    add_scalar, add_scalars = writer.add_scalar, writer.add_scalars

    @functools.wraps(add_scalar)
    def logging_add_scalar(self: Any, tag: str, scalar_value: Any, global_step: Any = None, *args: Any, **options: Any) -> Any:
        result = add_scalar(self, tag, scalar_value, global_step, *args, **options)
        _log(current(), {tag: scalar_value}, global_step)
        return result

    @functools.wraps(add_scalars)
    def logging_add_scalars(
        self: Any, main_tag: str, tag_scalar_dict: Any, global_step: Any = None, *args: Any, **options: Any
    ) -> Any:
        result = add_scalars(self, main_tag, tag_scalar_dict, global_step, *args, **options)
        _log(current(), {f"{main_tag}/{tag}": value for tag, value in tag_scalar_dict.items()}, global_step)
        return result

    writer.add_scalar, writer.add_scalars = logging_add_scalar, logging_add_scalars


def _log(run: Run | None, scalars: dict[str, Any], step: Any) -> None:
    if run is not None:
        run.log(scalars, step=None if step is None else int(step))
