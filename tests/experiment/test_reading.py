"""An experiment read through `Exp`: frames, summaries, and as of a moment."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta

import pytest

import mlv
from mlv.events import metrics_of
from mlv.retention import fold as fold_portfolios
from mlv.state import fold

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def filled(exp, log):
    """An experiment with metrics, other events, params, a description and checkpoints."""
    log.describe("loss", mode="min")
    portfolio = exp.checkpoints(latest=1, top=1, metric="loss")
    for step, loss in enumerate([3.0, 1.0, float("nan"), 2.0]):
        log({"loss": loss}, step=step)
        portfolio.save(lambda path: path.write_text("weights"), step=step, metrics={"loss": loss}, suffix=".txt")
        log("saved", {"mb": step}, step=step)
        if step == 1:
            exp.add_params({"late": True})
    return exp


class TestExp:
    def test_history(self, filled):
        """What was logged here is waited for, and read."""
        pytest.importorskip("pandas")
        pytest.importorskip("pyarrow")

        table = filled.history("loss")

        assert table["step"].tolist() == [0, 1, 2, 3]
        assert table["loss"].tolist()[:2] == [3.0, 1.0]

    def test_frame(self, filled):
        """Events of a type, their data as columns."""
        pytest.importorskip("pandas")

        assert filled.frame("event", "saved")["mb"].tolist() == [0, 1, 2, 3]

    def test_what_was_never_logged(self, filled):
        """A metric, type or stream that is named and not there is told; a type of which there is no event is empty."""
        pytest.importorskip("pandas")
        pytest.importorskip("pyarrow")

        for exp in (filled, filled.as_of(step=9)):
            with pytest.raises(mlv.UnknownMetric, match="'los': there is 'loss'"):
                exp.history("los")
            with pytest.raises(mlv.InvalidArgument, match=r"stream='lgo'.* did you mean 'log'"):
                exp.history(stream="lgo")
            with pytest.raises(mlv.InvalidArgument, match="type='evnt' is no type of event: did you mean 'event'"):
                exp.frame("evnt")
            assert list(exp.frame("image").columns) == ["step", "time", "name"]
            assert list(exp.history("los*", wide=False).columns) == ["name", "step", "time", "value"]

    def test_damage_is_named(self, filled):
        """A frame of events says which bytes were passed over."""
        pytest.importorskip("pandas")
        filled.close()
        with open(filled.path / "val.log.jsonl", "wb") as file:
            file.write(b'{"type":"event"\n')

        assert filled.frame("event").attrs["skipped"][0].startswith("val.log.jsonl, bytes 0 to 16")

    def test_summary(self, filled):
        """The best is what `describe` says, without any extra."""
        found = filled.summary()["loss"]

        assert (found.best, found.best_step, found.last, found.count, found.nans) == (1.0, 1, 2.0, 4, 1)

    @pytest.mark.parametrize(("missing", "call"), [("pandas", "history"), ("pyarrow", "history"), ("pandas", "frame")])
    def test_without_the_extra(self, filled, monkeypatch, missing, call):
        """Without its packages a call says what to install."""
        pytest.importorskip("pandas")
        monkeypatch.setitem(sys.modules, missing, None)

        with pytest.raises(mlv.MissingExtra, match=r"pip install 'mlvlogger\[frame\]'"):
            filled.history() if call == "history" else filled.frame("event")

    def test_a_summary_needs_no_extra(self, filled, monkeypatch):
        """With pyarrow and without, a summary says the same."""
        with_columns = filled.summary()
        monkeypatch.setitem(sys.modules, "pyarrow", None)

        assert repr(filled.summary()) == repr(with_columns)


class TestAsOf:
    def test_step(self, filled):
        """Before the first event with a greater step."""
        then = filled.as_of(step=1)

        assert [event.step for event in then.events("metrics")] == [0, 1]
        assert then.params == {"lr": 0.1, "late": True}
        assert then.best.step == 1
        assert then.latest.step == 1
        assert then.summary()["loss"].best == 1.0
        assert "late" not in filled.as_of(step=0).params

    def test_time(self, filled):
        """Before the first event that is later, in any form of a time."""
        middle = [event.time for event in filled.events("metrics")][2]

        for time in (middle, middle.astimezone(), middle.isoformat(), middle.isoformat().replace("+00:00", "Z")):
            assert len(list(filled.as_of(time=time).events("metrics"))) == 3
        assert list(filled.as_of(time=middle - timedelta(days=1)).events()) == []

    def test_seq(self, filled):
        """Up to and including one event, of the latest run or of a named one."""
        event = list(filled.events("metrics"))[1]

        assert list(filled.as_of(seq=event.seq).events())[-1] == event
        assert list(filled.as_of(seq=(event.run, event.seq)).events())[-1] == event

    def test_history(self, filled):
        """Frames know nothing of what came later."""
        pytest.importorskip("pandas")
        pytest.importorskip("pyarrow")

        assert filled.as_of(step=1).history()["loss"].tolist() == [3.0, 1.0]
        assert filled.as_of(step=0).frame("event")["mb"].tolist() == [0]

    def test_portfolio(self, filled):
        """What was kept then, though it was let go since."""
        assert [kept.step for kept in filled.as_of(step=2).portfolio()] == [1, 2]
        assert [kept.step for kept in filled.as_of(step=0).portfolio()] == [0]

    def test_before_there_was_anything(self, filled):
        """Before the first checkpoint there is none."""
        then = filled.as_of(seq=1)

        assert then.status == "running"
        with pytest.raises(mlv.CheckpointMissing):
            _ = then.best

    def test_status(self, filled):
        """Running until the run has ended."""
        before = filled.as_of(step=2)
        filled.close("failed")

        assert before.status == "running"
        assert filled.as_of(step=99).status == "failed"

    def test_equals_the_fold_of_the_prefix(self, filled):
        """At every event: what `as_of` says is what the events up to it say."""
        events = list(filled.events())
        for number, event in enumerate(events, 1):
            then, prefix = filled.as_of(seq=(event.run, event.seq)), events[:number]
            state = fold(prefix)

            assert [(found.run, found.seq) for found in then.events()] == [(found.run, found.seq) for found in prefix]
            assert then.params == {"lr": 0.1, **state.params}
            kept = fold_portfolios(prefix).get("models", ())
            assert [saved.step for saved in then.portfolio()] == [saved.step for saved in kept]
            numbers = [value for metric in prefix for _, value in metrics_of(metric)]
            assert (then.summary()["loss"].count if numbers else 0) == len(numbers)

    @pytest.mark.parametrize(
        "given",
        [{}, {"step": 1, "seq": 2}, {"step": "x"}, {"step": True}, {"time": "soon"}, {"time": 3}, {"seq": 10**6}, {"seq": "x"}],
    )
    def test_what_is_no_moment(self, filled, given):
        """A moment that cannot be found is refused, with what is there."""
        with pytest.raises(mlv.InvalidArgument, match=r"as_of|step=|time=|seq="):
            filled.as_of(**given)

    def test_naive_times_are_local(self, filled):
        """As everywhere in Python."""
        assert len(list(filled.as_of(time=datetime.now() + timedelta(seconds=5)).events("metrics"))) == 4
