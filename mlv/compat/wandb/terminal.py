"""Lines on the terminal as wandb prints them: on stderr, with `wandb:` in front."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

_printed: set[str] = set()
_WORDS = {"true", "1", "yes", "on", "y", "t"}


def is_on(variable: str) -> bool:
    """Return whether an environment variable says yes."""
    return os.environ.get(variable, "").strip().lower() in _WORDS


def termlog(string: str = "", newline: bool = True, repeat: bool = True, prefix: bool = True) -> None:
    """Print a line; with `repeat=False` each text once."""
    _print(str(string), newline, repeat, prefix, "")


def termwarn(string: str, newline: bool = True, repeat: bool = True, prefix: bool = True) -> None:
    """Print a warning; see `termlog`."""
    _print(str(string), newline, repeat, prefix, "WARNING ")


def termerror(string: str, newline: bool = True, repeat: bool = True, prefix: bool = True) -> None:
    """Print an error; see `termlog`."""
    _print(str(string), newline, repeat, prefix, "ERROR ")


def _print(text: str, newline: bool, repeat: bool, prefix: bool, level: str) -> None:
    if is_on("WANDB_SILENT") or (not repeat and text in _printed):
        return
    _printed.add(text)
    lines = "\n".join(f"wandb: {level}{line}" for line in text.split("\n")) if prefix else text
    with suppress(Exception):  # a closed stderr ends no training
        print(lines, end="\n" if newline else "", file=sys.stderr, flush=True)
