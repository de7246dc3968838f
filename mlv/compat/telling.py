"""Warnings that cannot end a training run."""

from __future__ import annotations

import sys
import warnings

import mlv


def warn(text: str, category: type[mlv.MlvWarning] = mlv.MlvWarning) -> None:
    """Show a warning; where warnings are turned into errors it goes to stderr instead."""
    try:
        warnings.warn(text, category, stacklevel=3)
    except mlv.MlvWarning:
        print(f"{category.__name__}: {text}", file=sys.stderr)
