"""An experiment as of a moment is the experiment whose log ends there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from logs import line, write

pytest.importorskip("hypothesis")
pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
from hypothesis import given, settings
from hypothesis import strategies as st

from mlv.experiment.as_of import AsOf
from mlv.query.moments import moment

META = {"params": {"lr": 0.1, "size": 3}}
RUNS = ("ra", "rb")
numbers = st.floats() | st.integers(-5, 5)
steps = st.none() | st.integers(0, 6) | st.floats(0, 6)
happenings = st.one_of(
    st.tuples(st.just("metrics"), st.dictionaries(st.sampled_from(["a", "b/c"]), numbers, min_size=1), steps),
    st.tuples(st.just("params"), st.dictionaries(st.sampled_from(["lr", "k"]), st.integers()), steps),
    st.tuples(st.just("event"), st.fixed_dictionaries({"mb": st.integers(0, 9)}), steps),
    st.tuples(st.just("saved"), st.integers(0, 9), steps),
    st.tuples(st.just("run_ended"), st.fixed_dictionaries({"status": st.sampled_from(["ok", "failed"])}), st.none()),
)  # fmt: skip


def checkpoint(save: int, metric: int) -> dict[str, Any]:
    place = f"models/latest/{save}.txt"
    return {
        "action": "saved", "folder": "models", "save": save, "places": [place], "metrics": {"a": metric},
        "file": {"_mlv": "file", "path": place, "size": 1, "sha256": f"{save:064x}"},
    }  # fmt: skip


def lines_of(found: list[tuple[int, tuple[str, Any, Any]]]) -> list[tuple[bytes, str, int, Any]]:
    """Line, run, seq and step of each event, a second after the other."""
    lines, last = [], dict.fromkeys(RUNS, 1)
    for second, run in enumerate(RUNS):
        lines.append((line(run, 1, "run_started", second, data={"exp": "x"}), run, 1, None))
    for second, (number, (kind, data, step)) in enumerate(found, 2):
        run = RUNS[number]
        last[run] += 1
        kind, data = ("checkpoint", checkpoint(second, data)) if kind == "saved" else (kind, data)
        encoded, nonfinite = without_nonfinite(data)
        fields = {"data": encoded, "step": step, "nonfinite": nonfinite}
        fields = {name: value for name, value in fields.items() if name == "data" or value not in (None, {})}
        lines.append((line(run, last[run], kind, second, **fields), run, last[run], step))
    return lines


def without_nonfinite(data: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    odd = {key: value for key, value in data.items() if isinstance(value, float) and value - value != 0}
    names = {"/" + key.replace("/", "~1"): str(value) for key, value in odd.items()}
    return {key: None if key in odd else value for key, value in data.items()}, names


def answers(then: AsOf) -> str:
    """Whatever an experiment answers as of a moment."""
    told = (
        then.status, sorted(then.params.items()), then.time, then.summary(), list(then.events()),
        [(kept.step, kept.metrics, kept.path.name) for kept in then.portfolio()],
        then.frame("event").to_csv(), then.history().to_csv(), then.history(wide=False).to_csv(),
    )  # fmt: skip
    return repr(told)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 1), happenings), max_size=12), st.data())
def test_as_of_is_the_fold_of_the_prefix(tmp_path_factory, found, data):
    """At any event, and before the first greater step, all answers are those of a log that ends there."""
    folder: Path = tmp_path_factory.mktemp("exp")
    prefix = tmp_path_factory.mktemp("prefix")
    lines = lines_of(found)
    write(folder, *(text for text, *_ in lines))
    last = data.draw(st.integers(0, len(lines) - 1))
    step = data.draw(st.integers(0, 6))

    write(prefix, *(text for text, *_ in lines[: last + 1]))
    _, run, seq, _ = lines[last]
    at_event = AsOf(folder, META, moment(folder, seq=(run, seq)))
    assert answers(at_event) == answers(AsOf(prefix, META, moment(prefix, seq=(run, seq))))

    ahead = next((n for n, (*_, own) in enumerate(lines) if own is not None and own > step), len(lines))
    write(prefix, *(text for text, *_ in lines[:ahead]))
    _, run, seq, _ = lines[ahead - 1]
    assert answers(AsOf(folder, META, moment(folder, step=step))) == answers(AsOf(prefix, META, moment(prefix, seq=(run, seq))))
