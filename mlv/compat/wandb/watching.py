"""`wandb.watch`: histograms of the parameters and gradients of torch modules, every so many passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlv.compat.wandb.media import Histogram
from mlv.compat.wandb.values import as_array

CHOICES = ("gradients", "parameters", "all", None)


class Watch:
    """The hooks on one module."""

    def __init__(
        self, module: Any, prefix: str, log: str | None, log_freq: int, put: Callable[[Callable[[], dict[str, Any]]], None]
    ) -> None:
        """Put the hooks on a module.

        Args:
            module: The module of torch.
            prefix: In front of the names of its parameters.
            log: `gradients`, `parameters`, `all`, or None for nothing.
            log_freq: Every so many passes a histogram is logged.
            put: Logs the mapping that a function makes into the row that is open, and raises nothing.
        """
        self.module, self._prefix, self._every, self._put = module, prefix, max(1, int(log_freq)), put
        self._handles: list[Any] = []
        if log in ("parameters", "all"):
            self._forwards = 0
            self._handles.append(module.register_forward_hook(self._log_parameters))
        if log in ("gradients", "all"):
            for name, parameter in module.named_parameters():
                if parameter.requires_grad:
                    self._handles.append(parameter.register_hook(self._gradient_hook(name)))

    def remove(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _log_parameters(self, module: Any, *_: Any) -> None:
        if getattr(module, "training", True):
            self._forwards += 1
            if self._forwards % self._every == 0:
                named = ((f"parameters/{self._prefix}{name}", value) for name, value in module.named_parameters())
                self._put(lambda: {name: _histogram(value) for name, value in named})

    def _gradient_hook(self, name: str) -> Callable[[Any], None]:
        passes = 0

        def hook(gradient: Any) -> None:
            nonlocal passes
            passes += 1
            if passes % self._every == 0:
                self._put(lambda: {f"gradients/{self._prefix}{name}": _histogram(gradient)})

        return hook


def _histogram(values: Any) -> Histogram:
    sparse = getattr(values, "is_sparse", False)
    return Histogram(as_array(values.coalesce().values() if sparse else values))
