"""The bytes of a line tell the same as the line does once it is parsed, or nothing."""

from __future__ import annotations

import orjson
import pytest

from mlv import wire
from mlv.encoding import DATA, TAG, Composer, Reference, dumps, head

LINE = Composer("rk3").line(17, 1_790_000_000_123_456_000, head("metrics", "train"), DATA, 0, dumps({"loss": 0.5}))
SPACED = b'{"run": "rk3", "seq": 17, "time": "2026-09-21T14:13:20.123456Z", "type": "metrics", "data": {"loss": 0.5}}\n'


def test_lines_of_mlv():
    """Run, seq and time stand in the first bytes, the type behind them."""
    fields = orjson.loads(LINE)

    assert wire.run_seq_time(LINE) == (fields["run"].encode(), fields["seq"], fields["time"].encode())
    assert wire.run_and_seq(LINE) == (fields["run"].encode(), fields["seq"])
    assert wire.run_of(LINE) == b"rk3"
    assert LINE.startswith(wire.beginning("rk3"))
    assert wire.METRICS in LINE
    assert wire.time_in(LINE) == fields["time"].encode()


@pytest.mark.parametrize("line", [SPACED, b"", b"[]\n", LINE[:11], LINE.replace(b"rk3", b"r\\u006b3")])
def test_lines_of_others(line):
    """A line that mlv did not write so, or not wholly, is left to the parser."""
    assert wire.run_and_seq(line) is None
    assert wire.run_seq_time(line) is None


@pytest.mark.parametrize("line", [LINE, SPACED])
def test_types(line):
    """A line is never passed over for its spaces."""
    assert wire.type_filter(("event", "metrics"))(line)
    assert not wire.type_filter(("event", "message"))(line)
    assert wire.quoted("metrics") in line
    assert wire.looks_whole(line)
    assert not wire.looks_whole(line[:-2])


def test_values_in_another_form():
    """A line tells where values have to be restored."""
    reference = dumps(Reference({TAG: "file", "path": "a"}))

    assert not wire.may_need_restoring(LINE)
    assert wire.may_need_restoring(b'{"data":{"a":null},"nonfinite":{"/a":"nan"}}')
    assert wire.may_need_restoring(reference)
    assert wire.TO_FILE in reference
