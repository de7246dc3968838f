"""The experiments that hold DLLogger's records, one for each file, and the routes of Loggers to them."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from mlv import Exp, ForeignStep, InvalidStep
from mlv.compat.dllogger.lines import METADATA, OPENED, RECORD, STARTED, DLLLines
from mlv.compat.room import put_away, room_in

_PLAIN = frozenset({int, float, bool, str, type(None)})
_WHOLE = frozenset({int})
_DESCRIBED = ("unit", "format", "description")
"""Fields of a metric's metadata that mlv's `describe` takes as well."""


class RecordExperiment:
    """An experiment that holds records: `.mlv-experiments/log.json` beside `log.json`, or one in the default folder."""

    def __init__(self, path: Path | None) -> None:
        """Make the experiment, or open it again; with None it has no file beside it.

        Raises:
            OSError: The file cannot be opened.
        """
        outputs = [DLLLines(path=path.parent, file=path.name)] if path is not None else []
        folder, name = (room_in(path.parent), path.name) if path is not None else (None, None)
        self.exp = Exp(folder, name, outputs=outputs, on_exists="suffix" if path is None else "open")
        self._routes = 0
        self._lock = threading.Lock()

    def route(self, started_s: float, verbosity: float) -> ExperimentRoute:
        """Return the route of one more Logger to it."""
        with self._lock:
            number, self._routes = self._routes, self._routes + 1
        return ExperimentRoute(self.exp, number, started_s, verbosity)


def experiment_beside(filename: str | os.PathLike[str], append: bool) -> RecordExperiment:
    """Return the experiment of a file, one for each file of this process; the file is there afterwards.

    A file that mlv has not written moves to `.mlv-experiments/.replaced` where it would be emptied.

    Raises:
        OSError: The file cannot be opened.
    """
    path = Path(os.path.realpath(filename))
    if path.exists() and not path.is_file() and not path.is_dir():
        return RecordExperiment(None)  # /dev/null
    with _lock:
        append = bool(append) and path.exists()  # who has deleted it wants it to begin anew
        room = room_in(path.parent)
        if not append and path.is_file() and path.stat().st_size and not (room / path.name).exists():
            put_away(path, room)
        open(path, "ab").close()
        experiment = _experiments.get(str(path)) or _experiments.setdefault(str(path), RecordExperiment(path))
    # The events that end those runs may come later than this one.
    gone = [run.id for run in experiment.exp.runs if run.status in ("killed", "lost")] if not append else []
    experiment.exp.log(OPENED, {"append": append, **({"gone": gone} if gone else {})})
    return experiment


_experiments: WeakValueDictionary[str, RecordExperiment] = WeakValueDictionary()
_lock = threading.Lock()


class ExperimentRoute:
    """The route of one Logger's records to an experiment."""

    def __init__(self, exp: Exp, number: int, started_s: float, verbosity: float) -> None:
        self._log = exp.log.at(logger=number) if number else exp.log
        self._exp, self._verbosity = exp, verbosity
        self._by_verbosity = {0: self._log}
        self.start(started_s)

    def start(self, started_s: float) -> None:
        """Log the time at which the Logger was made: the elapsed times in the file count from there."""
        verbosity = self._verbosity if math.isfinite(self._verbosity) else None
        moment = datetime.fromtimestamp(started_s, timezone.utc)
        self._log(STARTED, {"start": moment, **({} if verbosity is None else {"verbosity": verbosity})})

    def record(self, step: Any, data: Any, verbosity: int, **at: Any) -> None:
        """Keep a record."""
        log = self._by_verbosity.get(verbosity)
        if log is None:
            log = self._by_verbosity[verbosity] = self._log.verbose(verbosity)
        if at:
            log = log.at(**at)
        if type(data) is dict and (_PLAIN.issuperset(map(type, data.values())) or _is_flat(data)):
            log(data, step=step if type(step) is int else _step(step))
        else:
            log(RECORD, {"data": data}, step=_step(step))

    def metadata(self, metric: Any, metadata: Any, **at: Any) -> None:
        """Keep the metadata of a metric as it is, and pass its texts to `describe`."""
        log = self._log.at(**at) if at else self._log
        log(METADATA, {"metric": metric, "metadata": metadata})
        if isinstance(metric, str) and metric and isinstance(metadata, Mapping):
            texts = {key: value for key in _DESCRIBED if isinstance(value := metadata.get(key), str)}
            log.describe(metric, **{**texts, **({"format": texts["format"].strip("{}:")} if "format" in texts else {})})

    def flush(self) -> None:
        """Return when the log and the file hold all records."""
        self._exp.flush(outputs=True)


def _is_flat(data: Mapping[Any, Any]) -> bool:
    """Return whether no value is a mapping: a metric of mlv has no levels."""
    return not any(isinstance(value, Mapping) for value in data.values())


def _step(step: Any) -> Any:
    """Return a step in a form that an event can have."""
    if step is None or type(step) in (int, float):
        return step
    if type(step) is str or (type(step) is tuple and _WHOLE.issuperset(map(type, step))):
        return ForeignStep(step)
    if isinstance(step, (str, tuple, list)):
        return _checked(ForeignStep(step))
    if not isinstance(step, bool) and hasattr(step, "item"):
        return step
    return ForeignStep(str(step))


def _checked(step: ForeignStep) -> ForeignStep:
    try:
        step.plain()
        return step
    except InvalidStep:
        return ForeignStep(str(step.value))
