"""What tests of outputs share: lines of metrics that scripts might have logged, and an output that has come to its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from conftest import wait_until

from mlv.encoding import TAIL, Composer, Conversion, dumps, event_from_line, head, tail
from mlv.errors import InvalidArgument
from mlv.projections import replay

_BEGAN_NS = 1_800_000_000_000_000_000


def metric_line(seq: int, name: str, data: Mapping[Any, Any], step: Any) -> bytes:
    """The line that `log.sub(name)(data, step=step)` leaves."""
    conversion = Conversion()
    flat = conversion.metrics(data)
    payload = tail(step, {}, dumps(flat), conversion.nonfinite)
    return Composer("r1").line(seq, _BEGAN_NS + seq * 1_234_567_000, head("metrics", name), TAIL, 0, payload)


def pairs(lines: bytes) -> Iterator[tuple[str, Any]]:
    """Full name and value of each metric, as a reader of events gets them."""
    for line in lines.splitlines(keepends=True):
        event = event_from_line(line, "log")
        for key, value in event.data.items():
            yield f"{event.name}/{key}" if event.name else key, value


def followed(exp: Any, output: Any) -> Path:
    """The folder of an output, once its process has left it, and what a kill kept from it was added."""
    found: list[Path] = []

    def replayed() -> bool:
        with suppress(InvalidArgument):  # its process is still at work
            found.append(replay(exp, output))
        return bool(found)

    wait_until(replayed)
    return found[0]
