"""The calls of a Logger about a metric as a whole: its description, and the value that stands for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlv import encoding
from mlv.encoding import Conversion, dumps, shown
from mlv.experiment.log_arguments import is_mapping, joined, problem_of_description, rejected, warn_of_rejected
from mlv.experiment.session import Session
from mlv.never_raising import never_raising

if TYPE_CHECKING:
    from mlv.experiment.logger import Logger


class DescribingCalls:
    """The part of `Logger` that describes metrics and summarizes them."""

    __slots__ = ()

    if TYPE_CHECKING:
        _session: Session
        _name: str

        def _reject(self, type: str, name: str, data: Any, step: Any, reason: str) -> None: ...
        def _named(self, type: str, name: str, data: Any, step: Any) -> None: ...
        def _into(self, stream: str) -> Logger: ...

    @never_raising
    def describe(
        self,
        name: str,
        *,
        unit: str | None = None,
        format: str | None = None,
        mode: str | None = None,
        description: str | None = None,
        x: str | None = None,
        summary: str | None = None,
    ) -> None:
        """Describe a metric, before or after it is logged: a line of type `metadata` under the metric's full name.

        Args:
            name: Of the metric, below this logger.
            unit: Such as `s` or `nat`.
            format: A format specification for `format(value, ...)`, such as `.4f`.
            mode: `min` or `max`: which value is the best.
            description: A sentence.
            x: Its x axis in plots and in TensorBoard instead of the step: a coordinate, or the full name of another metric; in
                plots also `time`, `elapsed` or `active`.
            summary: The statistic that stands for it in lists and tables: `last min max mean best none`, `last` by default.
        """
        fields = {"unit": unit, "format": format, "mode": mode, "description": description, "x": x}
        data = {key: item for key, item in fields.items() if item is not None}
        chosen = {} if summary is None else {"summary": summary}
        problem = problem_of_description(mode, x, summary)
        if problem:
            self._reject("metadata", self._name, {"name": name, **data, **chosen}, None, problem)
            return
        if data or not chosen:
            self._named("metadata", name, data, None)
        if chosen:
            self._into(self._session.summary_stream)._named("metadata", name, chosen, None)

    @never_raising
    def summarize(self, values: Mapping[str, Any]) -> None:
        """Record values that are no series, such as a total time, below this logger: a line of type `summary`.

        Lists, tables and SQL show and find each as they do a metric; where a metric has the same name, the value stands for it.
        Of several values for one name the last counts. Values are numbers, NaN too, texts and truth values; nested mappings
        join with `/`. Where no run goes on none begins, as for tags. Of ranks only the main one records.
        """
        if self._session.rank:
            return
        conversion = Conversion()
        if not is_mapping(values):
            reason, rest = f"summaries are a mapping of names to values, not {shown(values)}", conversion.value(values)
            self._reject_summary(reason, rest, conversion.nonfinite)
            return
        flat = conversion.metrics(values)
        for key, value in zip(list(flat), encoding.restored(flat, conversion.nonfinite).values(), strict=True):
            if not isinstance(value, (int, float, str)):
                conversion.problems.append((key, "is no number, text or truth value"))
                conversion.unusable[key] = flat.pop(key)
        good, bad = conversion.nonfinite_by_use()
        if flat:
            self._annotate("summary", dumps(flat), good)
        if conversion.problems:
            self._reject_summary(joined(conversion.problems), conversion.unusable, bad)

    def _reject_summary(self, reason: str, readable: Any, nonfinite: Mapping[str, str]) -> None:
        self._annotate("rejected", *rejected("summary", reason, readable, nonfinite))
        warn_of_rejected("summary", self._name, reason)

    def _annotate(self, type: str, data: bytes, nonfinite: Mapping[str, str]) -> None:
        """Write an event for which no run begins: into the run that goes on, or beside all runs."""
        self._session.put_summary(encoding.head(type, self._name) + encoding.tail(None, {}, data, nonfinite))
