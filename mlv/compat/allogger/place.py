"""The experiment of one logdir, and the files around it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from socket import gethostname
from time import time
from typing import Any

import mlv
from mlv.compat.allogger.outputs import H5, KIND, ROUTE, EventFiles
from mlv.compat.room import room_in

NOWHERE = "none"
"""The route of values that go to no output, only to the log."""


class LogdirExperiment:
    """The experiment `<logdir>/.mlv-experiments/<time>_<host>` of a logdir in use, and its outputs in `<logdir>/events`.

    The folder of the experiment has a name that nobody else gets; the other files are called by it, too. The object
    travels to spawned children, which log into the same experiment.
    """

    def __init__(self, logdir: str, requested: Iterable[str], hooked: Iterable[str], writers: Iterable[Any] = ()) -> None:
        """Begin the experiment.

        Args:
            logdir: Its folder.
            requested: Outputs that were asked for.
            hooked: Outputs that follow from these.
            writers: The outputs of the user's own writers.

        Raises:
            MissingExtra: An output that was asked for needs a package that is not installed.
        """
        self.route = frozenset((*requested, *hooked))
        outputs = [*_outputs(Path(logdir, "events"), frozenset(requested), self.route), *writers]
        self.own = frozenset(writer.output for writer in writers)
        self.exp = mlv.Exp(room_in(Path(logdir)), f"{int(time())}_{gethostname()}", outputs=outputs)
        os.makedirs(Path(logdir, "events"), exist_ok=True)
        self.text_log = os.path.abspath(Path(logdir, f"{self.exp.name}.log"))
        self._loggers: dict[tuple[frozenset[str], str | None], mlv.Logger] = {}

    def logger(self, route: frozenset[str], kind: str | None = None) -> mlv.Logger:
        """Return the Logger of a route and a kind; lines name only those that differ from the usual ones."""
        log = self._loggers.get((route, kind))
        if log is None:
            at: dict[str, Any] = {} if route == self.route else {ROUTE: ",".join(sorted(route)) or NOWHERE}
            log = self.exp.log.at(**at, **({KIND: kind} if kind else {}))
            self._loggers[route, kind] = log
        return log

    def close(self) -> None:
        """End the run of this process in the experiment; the process that began it waits for the outputs."""
        self.exp.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loggers": {}}


def _outputs(events: Path, requested: frozenset[str], route: frozenset[str]) -> Iterator[Any]:
    """Yield both outputs, as any call may ask for either; one that is not installed matters only where it is requested."""
    for name, kind in (("tensorboard", EventFiles), ("hdf", H5)):
        try:
            yield kind(path=events.absolute(), by_default=name in route)
        except mlv.MissingExtra as error:
            if name in requested:
                raise
            if name in route:
                warnings.warn(f"{error}: what is logged to TensorBoard is not in HDF5 as well", mlv.MlvWarning, stacklevel=2)
