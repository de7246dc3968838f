"""The part of `helios.core` that logs."""

from mlv.compat.helios.core import loggers, logging

__all__ = ["loggers", "logging"]
