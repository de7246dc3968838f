"""The settings of a logger: its logdir, its outputs, and the form of its messages."""

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
class WriterOptions:
    """Options of both writers.

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
        """Return whether the filter lets a key pass."""
        return self.filter == ".*" or re.search(self.filter, key) is not None


@dataclass(frozen=True)
class HDFOptions(WriterOptions):
    """Options in `hdf_writer_params`."""

    precision: int | None = None
    """Without effect, as in the original: values stay whole."""


@dataclass(frozen=True)
class TensorBoardOptions(WriterOptions):
    """Options in `tensorboard_writer_params`."""

    use_hdf_hook: bool = True
    """Whether values for TensorBoard go to HDF5 as well."""


@dataclass(frozen=True)
class MessageOptions:
    """Options in `basic_logging_params`."""

    level: int = logging.WARNING
    """The console shows messages from this level on."""
    formatter: Mapping[str, Any] | None = None
    """Arguments of `logging.Formatter`."""

    def made_formatter(self) -> logging.Formatter:
        """Return the formatter for console and text log."""
        return logging.Formatter(**{**_LINE, **(self.formatter or {})})


@dataclass(frozen=True)
class Settings:
    """Settings of one logger; None is inherited."""

    logdir: str | None = None
    default_outputs: tuple[str, ...] | None = None
    hdf: HDFOptions | None = None
    tensorboard: TensorBoardOptions | None = None
    log_only_main_process: bool = False
    debug: bool = False
    messages: MessageOptions | None = None
    writers: Mapping[str, WriterOptions] | None = None
    """Options of each writer of the user's, by the name of its output."""


def checked_outputs(outputs: Iterable[str] | None, writers: Iterable[str] = ()) -> tuple[str, ...] | None:
    """Check the names of outputs, and return them.

    Raises:
        ValueError: One is none of `valid_outputs`, nor that of a writer.
    """
    if outputs is None:
        return None
    names = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    for output in names:
        if output not in (*valid_outputs, *writers):
            raise ValueError(f"{output} is not a valid output")
    return names
