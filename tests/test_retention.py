"""What a portfolio keeps is decided by its policy, by the metrics and by the order of the saves, and by nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

import pytest

from mlv.encoding import Conversion, restored
from mlv.errors import InvalidArgument
from mlv.events import Event
from mlv.retention import EVERY, LATEST, SECTIONS, TOP, Policy, PortfolioState, Saved, checked_policy, choose, events_of, fold

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
NAN, INF = math.nan, math.inf
BY_LOSS = Policy(top=2, metric="loss", mode="min", latest=1)


class History:
    """Saves one after the other: decided, told in events, and taken from them."""

    def __init__(self, policy: Policy = Policy()) -> None:  # noqa: B008 - it is frozen
        self.kept = PortfolioState()
        self.events: list[Event] = []
        self.change(policy)

    def change(self, policy: Policy) -> None:
        self._say({"action": "policy", "folder": "models", **policy.to_data()})

    def save(self, **metrics: Any) -> None:
        number = self.kept.saves + 1
        new = Saved(number, 10 * number, metrics, f"{number:06d}.npz", {"path": f"models/x/{number:06d}.npz"})
        for data in events_of("models", new, choose(self.kept, new, self.kept.policy)):
            self._say(data, new.step if data["action"] == "saved" else None)

    def _say(self, data: dict[str, Any], step: Any = None) -> None:
        self.kept.take(data, step)
        conversion = Conversion()
        plain = json.loads(json.dumps(conversion.value(data)))
        as_read = restored(plain, conversion.nonfinite)
        self.events.append(Event("ra", len(self.events) + 1, NOW, "checkpoint", step=step, data=as_read))


def after(losses: Iterable[Any], policy: Policy = BY_LOSS) -> History:
    history = History(policy)
    for loss in losses:
        history.save(**({} if loss is None else {"loss": loss}))
    return history


def numbers(kept: PortfolioState, section: str) -> list[int]:
    return sorted(saved.save for saved in kept.sections[section].values())


class TestChoice:
    def test_latest(self):
        """The latest m stay."""
        assert numbers(after([None] * 5, Policy(latest=2)).kept, LATEST) == [4, 5]

    def test_every(self):
        """Saves k, 2k, 3k ... stay for ever."""
        kept = after([None] * 7, Policy(every=3, latest=0)).kept

        assert {section: numbers(kept, section) for section in SECTIONS} == {EVERY: [3, 6], TOP: [], LATEST: []}

    @pytest.mark.parametrize(("mode", "best"), [("min", [4, 2]), ("max", [3, 1])])
    def test_top(self, mode, best):
        """The best n stay, by the smallest or by the largest value."""
        kept = after([3, 2, 4, 1], Policy(top=2, metric="loss", mode=mode, latest=0)).kept

        assert [saved.save for saved in kept.policy.ranked(kept.sections[TOP].values())] == best
        assert kept.best.save == best[0]

    @pytest.mark.parametrize("mode", ["min", "max"])
    def test_ties(self, mode):
        """Of two that are equal the earlier one stays, and is the better one."""
        kept = after([1, 1, 1.0, True], Policy(top=2, metric="loss", mode=mode)).kept

        assert (numbers(kept, TOP), kept.best.save) == ([1, 2], 1)

    @pytest.mark.parametrize("mode", ["min", "max"])
    @pytest.mark.parametrize("loss", [NAN, None, "0.1", [0.1]])
    def test_no_number(self, mode, loss):
        """What has no number, or NaN, is never among the best, even if there is room; it is the latest as any other."""
        kept = after([loss, 5.0, loss], Policy(top=3, metric="loss", mode=mode)).kept

        assert (numbers(kept, TOP), numbers(kept, LATEST), kept.best.save) == ([2], [3], 2)

    @pytest.mark.parametrize(("mode", "best"), [("min", 1), ("max", 3)])
    def test_infinities(self, mode, best):
        """Infinities compare as numbers."""
        assert after([-INF, 0.0, INF], Policy(top=1, metric="loss", mode=mode)).kept.best.save == best

    def test_huge_integers(self):
        """Integers that no float holds are compared exactly."""
        assert after([2**2000 + 1, 2**2000, 2**2000 + 2]).kept.best.save == 2

    def test_nowhere(self):
        """What no part of the policy wants is kept nowhere; it counts as a save."""
        decision = choose(PortfolioState(), Saved(1), Policy(latest=0))

        assert decision.sections == ()
        assert after([None], Policy(latest=0)).kept.saves == 1

    def test_gone_from_its_last_place(self):
        """A checkpoint is gone when its last place is let go, not before."""
        history = after([1, 5, 6, 0.5, 0.4])
        removed = [event.data for event in history.events if event.data["action"] == "removed"]

        assert [(data["save"], data["places"], data.get("is_gone", False)) for data in removed] == [
            (1, ["models/latest/000001.npz"], False),
            (2, ["models/latest/000002.npz"], False),
            (2, ["models/top_k/000002.npz"], True),
            (3, ["models/latest/000003.npz"], True),
            (1, ["models/top_k/000001.npz"], True),
            (4, ["models/latest/000004.npz"], False),
        ]

    def test_the_latest_of_all(self):
        """Where none is kept as such, the latest is the latest of the others."""
        assert after([1, 2, 3, 4], Policy(every=3, top=1, metric="loss", mode="max", latest=0)).kept.latest.save == 4
        assert after([9, 2, 3, 4], Policy(every=3, top=1, metric="loss", mode="max", latest=0)).kept.latest.save == 3
        assert PortfolioState().latest is None


class TestChange:
    def test_from_the_next_save_on(self):
        """Another policy changes nothing until the next save; then all but what is kept for good is decided anew."""
        history = after([1, 2, 3, 4], Policy(every=2, top=2, metric="loss", mode="min", latest=2))
        history.change(Policy(top=1, metric="loss", mode="max"))
        assert (numbers(history.kept, TOP), numbers(history.kept, LATEST)) == ([1, 2], [3, 4])

        history.save(loss=0)

        assert {section: numbers(history.kept, section) for section in SECTIONS} == {EVERY: [2, 4], TOP: [2], LATEST: [5]}

    def test_another_metric(self):
        """What is kept as the best is ranked by the new metric; what has none of that name is let go."""
        history = after([1, 2])
        history.save(loss=1.5, acc=0.5)
        history.change(Policy(top=2, metric="acc", mode="max"))
        history.save(acc=0.4)

        assert numbers(history.kept, TOP) == [3, 4]


class TestPolicies:
    @pytest.mark.parametrize(
        ("given", "text"),
        [
            ({"every": 0}, "every=0: give a whole number from 1 on"),
            ({"every": 1.5}, "every=1.5: give a whole"),
            ({"every": True}, "every=True"),
            ({"latest": -1}, "latest=-1: give a whole number from 0 on"),
            ({"latest": "all"}, "latest='all'"),
            ({"top": 0, "metric": "a", "mode": "min"}, "top=0"),
            ({"top": 3}, "top=3 of what"),
            ({"metric": "a"}, "ranks nothing: say how many"),
            ({"top": 1, "metric": ""}, "metric='' is no name"),
            ({"top": 1, "metric": 3, "mode": "min"}, "metric=3 is no name"),
            ({"top": 1, "metric": "a"}, r"metric='a' has no mode: give mode='min' or mode='max', here or in log.describe\('a'"),
            ({"top": 1, "metric": "a", "mode": "best"}, "mode='best': give 'min' or 'max'"),
            ({"mode": "min"}, "mode='min': it belongs to a metric"),
        ],
        ids=str,
    )
    def test_refused(self, given, text):
        """A policy that cannot be meant is refused, with what to do."""
        with pytest.raises(InvalidArgument, match=text):
            checked_policy(**given)

    def test_default(self):
        """Where nothing is said, the latest is kept."""
        assert checked_policy() == Policy(latest=1)

    @pytest.mark.parametrize("policy", [Policy(), BY_LOSS, Policy(every=3, latest=0)])
    def test_round_trip(self, policy):
        """A policy comes back from its event."""
        assert Policy.from_data(json.loads(json.dumps(policy.to_data()))) == policy


class TestReading:
    @pytest.mark.parametrize(
        "data",
        [
            None,
            {},
            {"folder": 3, "action": "saved"},
            {"folder": "models"},
            {"folder": "models", "action": "teleported", "save": 9},
            {"folder": "models", "action": "saved", "save": "9"},
            {"folder": "models", "action": "removed", "save": 1, "places": "models/latest/000001.npz"},
            {"folder": "models", "action": "removed", "save": 1, "places": [3, "latest", "other/latest/000001.npz", "a/b/c/d"]},
            {"folder": "models", "action": "policy", "top": 3},
            {"folder": "models", "action": "policy", "latest": "all"},
        ],
    )
    def test_strange_events(self, data):
        """An event of another writer that cannot be read changes nothing."""
        events = [*after([1]).events, Event("rb", 1, NOW, "checkpoint", data=data)]

        kept = fold(events)["models"]

        assert (kept.saves, numbers(kept, LATEST), kept.policy) == (1, [1], BY_LOSS)

    def test_folders(self):
        """Each folder is a portfolio of its own."""
        other = {"action": "saved", "folder": "a", "save": 4, "places": ["a/latest/x"]}

        found = fold([*after([1]).events, Event("ra", 9, NOW, "checkpoint", data=other)])

        assert {name: kept.saves for name, kept in found.items()} == {"models": 1, "a": 4}


class TestProperties:
    @pytest.fixture(autouse=True)
    def _hypothesis(self):
        pytest.importorskip("hypothesis")

    def test_as_if_the_whole_history_were_looked_at(self):
        """Save by save, what is kept is what somebody would keep who looks at all saves each time."""
        from hypothesis import given

        @given(policies(), losses())
        def check(policy, found):
            history = History(policy)
            for count, loss in enumerate(found, 1):
                history.save(loss=loss)
                assert {name: numbers(history.kept, name) for name in SECTIONS} == naive(policy, found[:count])

        check()

    def test_reading_is_deciding(self):
        """The fold over the events gives what the run that saved knew, also where the policy changed on the way."""
        from hypothesis import given
        from hypothesis import strategies as st

        @given(st.lists(st.tuples(policies(), losses()), max_size=4))
        def check(stretches):
            history = History()
            for policy, found in stretches:
                history.change(policy)
                for loss in found:
                    history.save(loss=loss)
            folded = fold(history.events)["models"]

            assert (folded.saves, folded.policy) == (history.kept.saves, history.kept.policy)
            assert known(folded) == known(history.kept)

        check()


def naive(policy: Policy, found: list[float]) -> dict[str, list[int]]:
    """What is kept, by looking at the values of all saves."""
    saves = list(range(1, len(found) + 1))
    sign = 1 if policy.mode == "min" else -1
    ranked = sorted(
        (save for save in saves if not math.isnan(found[save - 1])), key=lambda save: (sign * found[save - 1], save)
    )
    return {
        EVERY: [save for save in saves if policy.every and save % policy.every == 0],
        TOP: sorted(ranked[: policy.top or 0]),
        LATEST: saves[len(saves) - min(policy.latest, len(saves)) :],
    }


def known(kept: PortfolioState) -> str:
    return repr([{name: list(section.values()) for name, section in kept.sections.items()}, list(kept)])


def policies() -> Any:
    """Any policies."""
    from hypothesis import strategies as st

    ranking = st.one_of(st.just({}), st.builds(lambda top, mode: {"top": top, "metric": "loss", "mode": mode}, few(1), modes()))
    return st.builds(
        lambda every, latest, rest: Policy(every=every, latest=latest, **rest), st.none() | few(1), few(0), ranking
    )


def few(least: int) -> Any:
    from hypothesis import strategies as st

    return st.integers(least, 4)


def modes() -> Any:
    from hypothesis import strategies as st

    return st.sampled_from(["min", "max"])


def losses() -> Any:
    """Values with many ties, NaN and infinities among them."""
    from hypothesis import strategies as st

    return st.lists(st.sampled_from([0.0, 1.0, 2.0, -1.5, NAN, INF, -INF]), max_size=15)
