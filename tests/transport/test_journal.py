"""A journal whose disk refuses at some step: done again, each step leaves what it would have left at once."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from store.faults import Faulty, error

import mlv
from mlv.audit.verify import verify
from mlv.encoding import TAIL, Composer, dumps, head
from mlv.events import Heartbeat, Record, RunEnded, RunStarted, System
from mlv.store.layout import SYSTEM_STREAM
from mlv.store.owners import Owner
from mlv.store.streams import SystemFiles
from mlv.transport.journal import Journal

RUN = "rother1234"


@pytest.fixture
def exp(tmp_path):
    """A finished experiment, that another writer comes to."""
    with mlv.Exp(tmp_path, "exp", capture=(), system=False) as made:
        made.log({"loss": 1})
    return made


def written(exp: mlv.Exp, files: SystemFiles) -> int:
    """What a writer does for a run, from its first line to its leaving, each step until it succeeds; how many failed.

    After each failure the writer goes on with what it has to say itself.
    """
    journal, failures = Journal(exp.path, files), 0

    def until_done(step: Callable[[], object]) -> None:
        nonlocal failures
        for _ in range(50):
            try:
                step()
                return
            except OSError:
                failures += 1
                with suppress(OSError):
                    journal.say(Heartbeat(of=RUN))
                with suppress(OSError):
                    journal.say(System(RUN, {"cpu": 0.5}), SYSTEM_STREAM)
        raise AssertionError(f"{step} never succeeded")

    started = RunStarted(exp.id, None, Owner.current().to_data(), None, None)
    until_done(lambda: journal.append(RUN, "log", [line(1, started)]))
    until_done(lambda: journal.append(RUN, "val", [line(2, Heartbeat(of=RUN))]))
    until_done(lambda: journal.say(System(RUN, {"cpu": 0.5}), SYSTEM_STREAM))
    until_done(lambda: journal.append(RUN, "log", [line(3, RunEnded("ok"))]))
    until_done(lambda: journal.seal(RUN))
    until_done(journal.close)
    return failures


def line(seq: int, record: Record) -> bytes:
    tail = b'"data":' + dumps(record.to_data()) + b"}"
    return Composer(RUN).line(seq, time.time_ns(), head(record.TYPE, ""), TAIL, 0, tail)


@pytest.mark.parametrize("times", [1, 5])
@pytest.mark.parametrize("kind", ["fsync", "write", "open", "truncate", "size"])
def test_refused_at_any_step(exp, kind, times):
    """B15: calls that fail, whichever, and then work again, never make an honest run look edited."""
    first = Faulty(lambda call, name: None)
    written(exp, first)
    for at in range(first.calls.count(kind) + 1):
        count = iter(range(10**6))

        def fault(call: int, name: str, at: int = at, count: object = count) -> None:
            if name == kind and at <= next(count) < at + times:  # type: ignore[call-overload]
                raise error(errno.EIO)

        folder = exp.path.with_name(f"{kind}-{at}")
        with mlv.Exp(exp.path.parent, folder.name, capture=(), system=False) as made:
            made.log({"loss": 1})
        written(made, Faulty(fault))

        found = verify(folder)
        assert found.verdict == "intact", (at, found)
        assert not list((folder / ".mlv" / "claims").glob("*.json"))


def test_descriptor_whose_closing_fails(exp, monkeypatch):
    """B15, of its kind: an error of `close`, after all is synced, leaves no stream that can never be written again."""

    class Closing(SystemFiles):
        def close(self, fd):
            super_close(fd)
            raise error(errno.EIO)

    super_close = SystemFiles.close
    written(exp, Closing())

    assert verify(exp.path).verdict == "intact"
    assert not list((exp.path / ".mlv" / "claims").glob("*.json"))
