"""The logging of helios: `mlv.compat.helios.core.logging` of helios up to 1.4, `mlv.compat.helios.core.loggers` of helios 2."""

from mlv.compat.helios import core

__all__ = ["core"]
