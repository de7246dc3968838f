"""`tboards/tboard_<seed>`: event files of a logger for TensorBoard."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

from mlv import Logger
from mlv.projections import TensorBoard

ROOM = "tboard"
"""Name of the events that are for TensorBoard only."""


@dataclass(kw_only=True)
class SeedBoard(TensorBoard):
    """Statistics as `performance/<name>`, weights and gradients as histograms, figures as `plot`."""

    EXTRA: ClassVar[str] = "compat"
    NOTES_IN_EXPERIMENT: ClassVar[bool] = True

    name: str = field(default="tboard", repr=False)
    hparams: bool = False
    texts: bool = False
    types: Collection[str] | None = ("figure", "histogram", "metrics")

    def tag_of(self, name: str) -> str:
        """Return the tag of a series; names outside `tboard` are statistics."""
        room, _, inner_name = name.partition("/")
        return inner_name if room == ROOM else f"performance/{name}"


def show(
    log: Logger, stats: Mapping[str, Any], model_type: str, model: Any, grads: Any, figure: Any, *, step: float | None
) -> None:
    """Log the values of an update for TensorBoard beside its numbers: means of vectors, histograms, a figure. Never raises."""
    board = log.sub(ROOM)
    means = {f"performance/{name}": _mean(value) for name, value in stats.items() if isinstance(value, list)}
    if means:
        board(means, step=step)
    named = [("weights", _parameters(model, model_type)), ("gradients", _gradients(model, grads, model_type))]
    for room, values in named:
        with suppress(Exception):  # the methods of a model may raise anything; training goes on
            for name, value in values:
                board.histogram(f"{room}/{name}", value, step=step)
    if figure is not None:
        board.figure("plot", figure, step=step)


def _mean(value: list[Any]) -> float:
    import numpy

    with suppress(TypeError, ValueError):
        return float(numpy.mean(numpy.array(value, dtype=float))) if value else float("nan")
    return float("nan")


def _parameters(model: Any, model_type: str) -> Iterator[tuple[str, Any]]:
    if model_type == "torch" and hasattr(model, "named_parameters"):
        for name, parameter in model.named_parameters():
            yield name, parameter.detach().cpu().clone()
    elif model_type == "jax":
        yield from leaves(model)


def _gradients(model: Any, grads: Any, model_type: str) -> Iterator[tuple[str, Any]]:
    if model_type == "torch" and hasattr(model, "named_parameters"):
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                yield name, parameter.grad.detach().cpu().clone()
    elif model_type == "jax":
        yield from leaves(grads)


def leaves(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the arrays of nested mappings and sequences, by their paths; no package is needed to look at them."""
    if tree is None:
        return
    if isinstance(tree, Mapping):
        items = [(str(key), value) for key, value in tree.items()]
    elif isinstance(tree, (list, tuple)):
        items = [(str(number), value) for number, value in enumerate(tree)]
    else:
        yield prefix.removesuffix("/"), tree
        return
    for key, value in items:
        yield from leaves(value, f"{prefix}{key}/")
