"""The state of an experiment is a fold over its events, and over nothing else."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from mlv.events import Event
from mlv.state import LOST_AFTER, Run, State, fold, in_order

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def event(type: str, run: str = "ra", second: float = 0, seq: int = 1, name: str = "", **data: object) -> Event:
    return Event(run, seq, START + timedelta(seconds=second), type, name, data=data)


def run_after(*events: Event) -> Run:
    return fold(events).runs["ra"]


def always(process: object) -> bool:
    return True


STARTED = event("run_started", exp="id", process={"pid": 3}, params={"lr": 1})


class TestRuns:
    def test_started(self):
        """A run is known from its `run_started`."""
        run = run_after(STARTED)

        assert (run.id, run.started, run.exp, run.process, run.params) == ("ra", START, "id", {"pid": 3}, {"lr": 1})
        assert run.status(START) == "running"

    @pytest.mark.parametrize("status", ["ok", "failed", "interrupted", "preempted", "ended", "killed"])
    def test_ended(self, status):
        """A run is what its `run_ended` says."""
        run = run_after(STARTED, event("run_ended", second=5, status=status, exception={"type": "E"}))

        assert run.status(START + timedelta(days=9), always) == status
        assert (run.duration_s, run.exception) == (5, {"type": "E"})

    @pytest.mark.parametrize("own_first", [True, False])
    def test_its_own_word_counts(self, own_first):
        """What a run says of its end counts more than what a writer said who found it gone."""
        own, writers = event("run_ended", second=5, status="ok"), event("run_ended", "rw", 5, of="ra", status="killed")

        run = run_after(STARTED, *((own, writers) if own_first else (writers, own)))

        assert run.verdict == "ok"

    def test_killed(self):
        """A run without a word is killed once its process is provably gone, and running until then."""
        run = run_after(STARTED)

        assert run.status(START, always) == "killed"
        assert run.status(START + timedelta(seconds=1)) == "running"

    def test_lost_and_found(self):
        """A run that nobody heard of for five minutes is lost, until it speaks again."""
        late = LOST_AFTER.total_seconds() + 1

        assert run_after(STARTED).status(START + timedelta(seconds=late)) == "lost"
        assert run_after(STARTED, event("metrics", second=late)).status(START + timedelta(seconds=late)) == "running"
        assert run_after(STARTED, event("heartbeat", "rw", late, of="ra")).status(START + timedelta(seconds=late)) == "running"

    def test_a_clock_of_next_year(self):
        """A run whose clock is far ahead is not running until that time has come; minutes are forgiven."""
        run = run_after(STARTED, event("metrics", second=400 * 86400))

        assert run.status(START) == "lost"
        assert run_after(STARTED, event("metrics", second=600)).status(START) == "running"

    def test_deciding_runs(self):
        """Runs of main ranks decide, unless there are only others."""
        other = event("run_started", "rb", 1, rank=1)

        assert [run.id for run in fold([STARTED, other]).deciding_runs] == ["ra"]
        assert [run.id for run in fold([other]).deciding_runs] == ["rb"]

    def test_a_clock_that_jumps_back(self):
        """The time last heard does not go back."""
        assert run_after(STARTED, event("metrics", second=60), event("metrics", second=5)).last_heard == START + timedelta(
            seconds=60
        )

    def test_paused(self):
        """A run is paused between `run_paused` and `run_resumed`."""
        pause, resume = event("run_paused"), event("run_resumed")

        assert run_after(STARTED, pause).paused
        assert not run_after(STARTED, pause, resume).paused

    @pytest.mark.parametrize("before", [{}, {"after": {}}, {"after": {"log": "0" * 64}}], ids=["early", "no ends", "ends"])
    def test_only_annotated(self, before):
        """A later run that only annotated is none where versions wrote it that began one to annotate; a real one else."""
        added = [event("tags", "rb", 2, seq=2, tags=["a"]), event("run_ended", "rb", 3, seq=3, status="ok")]

        state = fold([STARTED, event("run_started", "rb", 1, **before), *added])

        assert [run.id for run in state.main_runs] == (["ra", "rb"] if "after" in before else ["ra"])

    def test_children(self):
        """A run that names its parent is none of the main ones."""
        state = fold([STARTED, event("run_started", "rb", 1, parent_run="ra"), event("run_started", "rc", 2)])

        assert [run.id for run in state.main_runs] == ["ra", "rc"]
        assert state.runs["rb"].parent_run == "ra"

    def test_writers_are_no_runs(self):
        """Who only says something about others is no run of the experiment."""
        assert fold([event("seal", "rw", of="ra"), event("heartbeat", "rw", of="rb")]).runs == {}


class TestAdditions:
    def test_params(self):
        """Params add up; the later of two values stands."""
        assert fold([event("params", a=1, b=1), event("params", b=2)]).params == {"a": 1, "b": 2}

    def test_tags(self):
        """Each tag counts once, in the order in which they came."""
        assert fold([event("tags", tags=["b", "a"]), event("tags", tags=["a", "c", "c"])]).tags == ("b", "a", "c")

    def test_notes(self):
        """Every note stays."""
        assert fold([event("note", text="one"), event("note", text="one")]).notes == ("one", "one")

    def test_descriptions(self):
        """What was said about a metric adds up."""
        state = fold([event("metadata", name="loss", unit="nat"), event("metadata", name="loss", mode="min")])

        assert state.descriptions == {"loss": {"unit": "nat", "mode": "min"}}

    @pytest.mark.parametrize("tags", [None, 3, "abc", {"a": 1}, [1, None, ["x"], "good"]])
    def test_strange_tags(self, tags):
        """Tags of another writer that are none are passed over."""
        assert set(fold([event("tags", tags=tags)]).tags) <= {"good"}


class TestRewinds:
    def test_what_is_superseded(self):
        """A rewind supersedes greater steps of the runs that it names, up to the number that it names."""
        [rewind] = fold([event("rewound", step=3, last={"ra": 7})]).rewinds

        assert rewind.supersedes("ra", 7, 4)
        assert rewind.supersedes("ra", 1, 3.5)
        assert not any(rewind.supersedes(*given) for given in (("ra", 8, 4), ("rb", 1, 4), ("ra", 7, 3), ("ra", 7, None)))
        assert not any(rewind.supersedes("ra", 1, step) for step in ("9", [9], True, float("nan")))

    @pytest.mark.parametrize("data", [{}, {"step": None}, {"step": True}, {"step": "3", "last": {"ra": 1}}])
    def test_strange_rewinds(self, data):
        """What names no step is no rewind."""
        assert fold([event("rewound", **data)]).rewinds == ()


class TestProperties:
    @pytest.fixture(autouse=True)
    def _hypothesis(self):
        pytest.importorskip("hypothesis")

    def test_a_fold_goes_on(self):
        """Folding the rest onto the state of the beginning is folding everything."""
        from hypothesis import given
        from hypothesis import strategies as st
        from strategies import histories

        @given(histories(), st.integers(0, 12))
        def check(history, cut):
            assert fold(history[cut:], fold(history[:cut])) == fold(history)

        check()

    def test_events_of_tomorrow_change_nothing_but_when_a_run_was_heard(self):
        """Types that this version does not know are passed over."""
        from hypothesis import given
        from strategies import histories

        def without_times(state: State) -> State:
            return state.replace(runs={name: run.replace(last_heard=None) for name, run in state.runs.items()})

        @given(histories())
        def check(history):
            known = [event for event in history if event.type != "of_tomorrow"]
            assert without_times(fold(history)) == without_times(fold(known))

        check()

    def test_any_data_has_a_state(self):
        """Whatever stands in the events, there is a state, and every run in it has a status and a duration."""
        from hypothesis import given
        from strategies import histories

        @given(histories())
        def check(history):
            for run in fold(history).runs.values():
                assert isinstance(run.status(START + timedelta(days=1)), str)
                assert run.duration_s is None or run.duration_s >= 0

        check()

    def test_runs_do_not_depend_on_each_other(self):
        """A run is the same whether the events of others stand between its own or not."""
        from hypothesis import given
        from strategies import histories

        @given(histories())
        def check(history):
            alone = [event for event in history if event.subject == "ra"]
            assert fold(history).runs.get("ra") == fold(alone).runs.get("ra")

        check()


class TestOrder:
    @pytest.mark.parametrize("said_by", ["ra", "ra00"])
    def test_a_clock_that_jumps_back(self, said_by):
        """The end of a run follows its start, whoever tells of it, although an earlier hour came after it."""
        ended = event("run_ended", said_by, -3600, 2, of="ra", status="killed")

        assert in_order([ended, STARTED]) == [STARTED, ended]

    def test_by_time(self):
        """Runs are interleaved by time, and each is in the order of its numbers."""
        one, three = event("note", "ra", 1, 1), event("note", "ra", 3, 3)
        two, late = event("note", "rb", 2, 1), event("note", "ra", 2.5, 2)

        assert in_order([three, two, late, one]) == [one, two, late, three]
