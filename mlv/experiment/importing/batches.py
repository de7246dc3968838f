"""Metrics of sources many at a time: their data as JSON, and the names that stand in a line as they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mlv.capture.redaction import Redactor
from mlv.encoding import TAIL, Conversion, dumps, head
from mlv.experiment.importing.source import SourcePoints, SourceRows
from mlv.transport.censor import Censor

_MOST_PLAIN = 10_000
"""Names of metrics that are remembered as harmless."""


def data_of_points(points: SourcePoints) -> list[bytes] | None:
    """Return the data of each point as JSON, None where a number is not finite."""
    payload = dumps(list(points.values))
    if b"null" in payload:
        return None
    keys = {name: dumps(name) for name in set(points.names)}
    return [b"{%s:%s}" % pair for pair in zip(map(keys.__getitem__, points.names), payload[1:-1].split(b","), strict=True)]


_OTHERS = (b":null", b":true", b":false", b":[", b":{")
"""Stand in JSON where a value is neither a finite number nor a text; a name may hold them, and then costs time only."""


def data_of_rows(rows: SourceRows) -> list[bytes] | None:
    """Return the data of each row as JSON, None where a value is no finite number, or a row is empty."""
    payloads = list(map(dumps, rows.rows))
    joined = b"".join(payloads)
    # Whole batches are searched, as that costs a tenth of a look at the type of each value.
    if joined.count(b'"') != 2 * sum(map(len, rows.rows)) or any(other in joined for other in _OTHERS):
        return None
    return None if b"{}" in payloads else payloads


class PlainMetrics:
    """Names of metrics that stand in a line as they are: nothing in them is escaped, joined, refused or a credential."""

    def __init__(self, name: str, redactor: Redactor) -> None:
        self.head = head("metrics", name)
        self.keys: set[str] = set()
        self._censor = Censor(redactor)

    def learn(self, keys: Iterable[Any]) -> bool:
        """Return whether all of them are such, and remember them."""
        return all(key in self.keys or self._learn(key) for key in keys)

    def _learn(self, key: Any) -> bool:
        if type(key) is not str or len(self.keys) >= _MOST_PLAIN:
            return False
        conversion, zero = Conversion(), {key: 0}
        if conversion.metrics(zero) != zero or conversion.problems:
            return False
        payload = self.head + b'"data":' + dumps(zero) + b"}"
        if self._censor.event(b"", TAIL, payload)[1] != payload or not self._censor.are_clean([payload]):
            return False
        self.keys.add(key)
        return True
