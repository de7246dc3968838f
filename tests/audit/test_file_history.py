"""What a log says about files: a fold that does not depend on the order in which lines are read."""

from __future__ import annotations

import random
from typing import Any

import pytest

from mlv.audit.file_history import FileVersion, histories, outside, versions_of

pytest.importorskip("hypothesis")
from hypothesis import given
from hypothesis import strategies as st

PATHS = st.sampled_from(["a", "b"])
CONTENTS = st.one_of(st.none(), st.sampled_from("123"))


def reference(sha256: str | None, path: str = "a") -> dict[str, Any]:
    return {"_mlv": "file", "path": path, "sha256": sha256, "size": 3}


@st.composite
def logs(draw: st.DrawFn) -> list[FileVersion]:
    """Claims of some runs, each with a clock of its own that may jump back."""
    claims = []
    for run in draw(st.lists(st.sampled_from(["ra", "rb", "rc"]), unique=True)):
        for seq in range(1, draw(st.integers(1, 6))):
            content, path = draw(CONTENTS), draw(PATHS)
            time = f"2026-01-01T00:00:0{draw(st.integers(0, 9))}Z"
            claims.append(FileVersion(path, reference(content) if content else None, time, run, seq))
    return claims


@given(logs(), st.randoms(use_true_random=False))
def test_order_of_reading(claims, shuffling: random.Random):
    """Lines of one run may stand in several streams: the histories are the same, in whatever order they are read."""
    shuffled = list(claims)
    shuffling.shuffle(shuffled)

    assert histories(shuffled) == histories(claims)


@given(st.lists(CONTENTS, min_size=1))
def test_one_run(contents):
    """Within a run the last claim holds, whatever the clock did; the same content twice in a row counts once."""
    claims = [FileVersion("a", reference(sha256) if sha256 else None, f"{-n}", "ra", n) for n, sha256 in enumerate(contents, 1)]
    published = [sha256 for sha256 in contents if sha256]

    found = histories(claims)

    if not published:
        assert found == {}
        return
    distinct = [one for n, one in enumerate(published) if n == 0 or published[n - 1] != one]
    assert [claim.sha256 for claim in found["a"].published] == distinct
    assert found["a"].is_let_go == (contents[-1] is None)
    assert found["a"].latest.sha256 == published[-1]


def test_superseded():
    """The earlier publication of a content is found, the latest of them, but not the one that holds."""
    claims = [FileVersion("a", reference(sha256), str(seq), "ra", seq) for seq, sha256 in enumerate("12123", 1)]
    history = histories(claims)["a"]

    assert [history.superseded(sha256) and history.superseded(sha256).seq for sha256 in "1239"] == [3, 4, None, None]


class TestCheckpoints:
    def claims(self, *events: dict[str, Any]) -> dict[str, list[str | None]]:
        """Paths, and the contents that they had, after some events."""
        saved: dict[Any, Any] = {}
        claims = [
            claim for seq, data in enumerate(events, 1) for claim in versions_of("checkpoint", data, "", "ra", seq, saved)
        ]
        return {path: [None] if history.is_let_go else [history.latest.sha256] for path, history in histories(claims).items()}

    def test_saved_and_removed(self):
        """Every place of a checkpoint has to be there, until it is let go."""
        places = ["m/latest/1", "m/top/1"]
        saved = {"action": "saved", "save": 1, "folder": "models", "file": reference("1", places[0]), "places": places}
        removed = {"action": "removed", "save": 1, "folder": "models", "places": ["m/latest/1"]}

        assert self.claims(saved) == {"m/latest/1": ["1"], "m/top/1": ["1"]}
        assert self.claims(saved, removed) == {"m/latest/1": [None], "m/top/1": ["1"]}

    def test_placed(self):
        """A place that comes later has the content of the save that it names."""
        saved = {"action": "saved", "save": 1, "folder": "models", "file": reference("1", "m/1"), "places": ["m/1"]}
        placed = {"action": "placed", "save": 1, "folder": "models", "places": ["m/top/1"]}

        assert self.claims(saved, placed) == {"m/1": ["1"], "m/top/1": ["1"]}

    def test_kept_nowhere(self):
        """A checkpoint that the policy keeps nowhere need not be there; one whose places nobody lists is where its file is."""
        saved = {"action": "saved", "save": 1, "folder": "models", "file": reference("1", "m/1")}

        assert self.claims({**saved, "places": []}) == {}
        assert self.claims(saved) == {"m/1": ["1"]}

    @pytest.mark.parametrize("data", [None, [], {"action": "policy", "every": 3}, {"action": "saved", "places": [3]}])
    def test_others(self, data):
        """Events without a file say nothing about files."""
        assert self.claims(data) == {}


@pytest.mark.parametrize(
    ("found", "is_outside"),
    [
        ({"path": "files/x"}, False),
        ({"path": "files/../x"}, False),
        ({"path": "../x"}, True),
        ({"path": "files/../../x"}, True),
        ({"path": "/x"}, True),
        ({"path": "/x", "host": "h", "within": {"_mlv": "exp", "id": "me"}}, False),
        ({"path": "/x", "host": "h", "within": {"_mlv": "exp", "id": "other"}}, True),
        ({"path": "C:/x", "host": "h"}, True),
    ],
)
def test_outside(found, is_outside):
    """What lies below the experiment's folder, or is said to be a file of it, is a part of it."""
    assert outside(found, "me") is is_outside
