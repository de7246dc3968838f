"""What a logger was told: where to write, to which outputs, and how its messages look."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import mlv

valid_outputs = ["tensorboard", "hdf"]

_LINE = {"fmt": "%(asctime)s (%(levelname)s) [%(name)s] > %(message)s", "datefmt": "%Y-%m-%d %H:%M:%S"}


@dataclass(frozen=True)
class Writer:
    """What both writers take.

    Raises:
        InvalidPattern: The filter is no regular expression.
    """

    min_time_diff_btw_disc_writes: float = 180
    """Seconds; kept in any case, as the files are complete up to the last second."""
    filter: str = ".*"
    """A regular expression over keys without their scope; `re.search` decides."""

    def __post_init__(self) -> None:
        try:
            re.compile(self.filter)
        except (re.error, TypeError) as error:
            text = f"filter={self.filter!r} is no regular expression: {error}"
            raise mlv.InvalidPattern(text, pattern=self.filter) from None

    def takes(self, key: str) -> bool:
        """Whether the filter lets a key pass."""
        return self.filter == ".*" or re.search(self.filter, key) is not None


@dataclass(frozen=True)
class HDFWriter(Writer):
    """What `hdf_writer_params` may say."""

    precision: int | None = None
    """Without effect, as in the original: values stay whole."""


@dataclass(frozen=True)
class TensorBoardWriter(Writer):
    """What `tensorboard_writer_params` may say."""

    use_hdf_hook: bool = True
    """Whether what goes to TensorBoard goes to HDF5 as well."""


@dataclass(frozen=True)
class Messages:
    """What `basic_logging_params` may say."""

    level: int = logging.WARNING
    """The console shows messages from this level on."""
    formatter: Mapping[str, Any] | None = None
    """Arguments of `logging.Formatter`."""

    def made_formatter(self) -> logging.Formatter:
        """The formatter for console and text log."""
        return logging.Formatter(**{**_LINE, **(self.formatter or {})})


@dataclass(frozen=True)
class Settings:
    """What one logger was told; None is what it inherits."""

    logdir: str | None = None
    default_outputs: tuple[str, ...] | None = None
    hdf: HDFWriter | None = None
    tensorboard: TensorBoardWriter | None = None
    log_only_main_process: bool = False
    debug: bool = False
    messages: Messages | None = None
    writers: Mapping[str, Writer] | None = None
    """What each writer of the user's takes, by the name of its output."""


def checked_outputs(outputs: Iterable[str] | None, writers: Iterable[str] = ()) -> tuple[str, ...] | None:
    """The names of outputs.

    Raises:
        ValueError: One is none of `valid_outputs`, nor that of a writer.
    """
    if outputs is None:
        return None
    found = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    for output in found:
        if output not in (*valid_outputs, *writers):
            raise ValueError(f"{output} is not a valid output")
    return found
