"""Spans time a stretch of work, and leave one line at its end."""

from __future__ import annotations

import pytest

from mlv.experiment.span import Span

# What a writer process adds is tested elsewhere.
pytestmark = pytest.mark.usefixtures("inline")


def spans(exp):
    return list(exp.events("event"))


def test_a_span(exp, log):
    """A span is one event, written at its end, with its duration in seconds and what was added."""
    with log.sub("train").span("validation", step=3, split="val") as span:
        assert spans(exp) == []
        span.add(acc=0.9)
        span.add(acc=0.95, n=2)

    [event] = spans(exp)
    duration = event.data.pop("duration_s")
    assert (event.name, event.step, event.data) == ("train/validation", 3, {"split": "val", "acc": 0.95, "n": 2})
    assert 0 <= duration < 10


def test_ended_by_hand(exp, log):
    """`end()` ends it, once."""
    span = log.span("x")
    span.end()
    span.end()
    with span:
        pass

    assert len(spans(exp)) == 1


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_exception_goes_on(exp, log, kind):
    """An exception within a span is stored with its traceback, and goes on."""
    with pytest.raises(kind), log.span("x", done=3):
        raise kind("no")

    [event] = spans(exp)
    assert (event.data["done"], event.data["exception"]["type"], event.data["exception"]["message"]) == (3, kind.__name__, "no")
    assert "test_an_exception_goes_on" in event.data["exception"]["traceback"]


def test_coordinates(exp, log):
    """A span stands where its logger stands."""
    with log.at(epoch=3).span("x"):
        pass

    assert spans(exp)[0].at == {"epoch": 3}


def test_monotonic(monkeypatch):
    """A clock that is set back meanwhile does not make a duration negative."""
    found = []
    span = Span(found.append, {})
    monkeypatch.setattr("time.time", lambda: 0.0)
    monkeypatch.setattr("time.time_ns", lambda: 0)

    span.end()

    assert found[0]["duration_s"] >= 0


def test_nested(exp, log):
    """Inner spans end first; each has its own line."""
    with log.span("outer"), log.span("inner"):
        pass

    assert [event.name for event in spans(exp)] == ["inner", "outer"]


def test_any_words(exp, log):
    """Every word may be the name of a value, also those that spans use themselves."""
    log.span("x", name=1, self=2, data=3).end()
    span = log.span("y")
    span.add(self=1, data=2)
    span.end()

    assert [set(event.data) - {"duration_s"} for event in spans(exp)] == [{"name", "self", "data"}, {"self", "data"}]


def test_what_cannot_be_stored(exp, log):
    """A span whose data cannot be stored does not hide the exception within it."""
    with pytest.raises(ZeroDivisionError), log.span("x", fn=len):
        1 / 0  # noqa: B018

    assert [event.data["type"] for event in exp.events("rejected")] == ["event"]
