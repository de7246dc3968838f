"""What was logged without a step is numbered by its position in its series, as a plain loop numbers it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from logs import line, write

pytest.importorskip("hypothesis")
pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
from hypothesis import given, settings
from hypothesis import strategies as st

import mlv
from mlv.query.digest import Digest
from mlv.query.many import values as values_
from mlv.query.metrics import parse_many_logs
from mlv.query.metrics.data_frames import history
from mlv.query.metrics.parse_json import NotPlain
from mlv.state import State

DATA = st.dictionaries(st.sampled_from(["a", "b", "x/c"]), st.integers(0, 9), min_size=1)
STEPS = st.one_of(st.none(), st.integers(-1, 4))
LOGGED = st.lists(st.tuples(st.sampled_from(["", "x"]), DATA, STEPS, st.booleans()), max_size=14)
REWIND = st.none() | st.tuples(st.integers(0, 14), st.integers(-1, 3))
Logged = list[tuple[str, dict[str, int], Any, bool]]


def told(folder: Any, logged: Logged, rewind: tuple[int, int] | None) -> list[tuple[dict[str, int], Any]]:
    """Full names with values, and the step, of the lines that survive; some begin another run."""
    run, seq, lines, kept = 1, 0, [], []
    at, back = rewind or (-1, 0)
    for number, (name, data, step, is_new_run) in enumerate(logged):
        run, seq = (run + 1, 1) if is_new_run else (run, seq + 1)
        fields = {} if step is None else {"step": step}
        lines.append(line(f"r{run}", seq, "metrics", number, name=name, data=data, **fields))
        if number >= at or step is None or step <= back:
            kept.append(({f"{name}/{key}" if name else key: value for key, value in data.items()}, step))
    write(folder, *lines)
    if rewind is not None:
        last = dict[str, int]()
        run, seq = 1, 0
        for *_, is_new_run in logged[:at]:
            run, seq = (run + 1, 1) if is_new_run else (run, seq + 1)
            last[f"r{run}"] = seq
        write(folder, line("r99", 1, "rewound", 59, data={"step": back, "last": last}), stream="rewound")
    return kept


def numbered(kept: list[tuple[dict[str, int], Any]]) -> tuple[dict[str, list[tuple[Any, int]]], list[Any]]:
    """For each metric the places of its values, None where they have none; and for each line the place that all agree on."""
    has_step = {name for data, step in kept if step is not None for name in data}
    points, rows = defaultdict(list), []
    for data, step in kept:
        places = {len(points[name]) if step is None and name not in has_step else step for name in data}
        rows.append(places.pop() if len(places) == 1 else None)
        for name, value in data.items():
            points[name].append((len(points[name]) if step is None and name not in has_step else step, value))
    return points, rows


def not_plain(*_: object, **__: object) -> None:
    raise NotPlain  # so each log is read alone


def read(folder: Any) -> dict[str, list[tuple[Any, int]]]:
    """The values that have a place."""
    values = values_.read([Digest(folder, "id", {"params": {}}, State(), {})], None, "step")
    found = defaultdict(list)
    for metric, x, value in zip(values.metric, values.x, values.value, strict=True):
        found[values.metrics[metric]].append((x, value))
    return found


@settings(max_examples=100, deadline=None)
@given(logged=LOGGED, rewind=REWIND)
def test_readers_number_as_a_plain_loop(tmp_path_factory, logged, rewind):
    """Series read together or alone, and frames long and wide, with runs and rewinds in between."""
    folder = tmp_path_factory.mktemp("exp")
    points, rows = numbered(told(folder, logged, rewind))
    with_place = {name: [one for one in found if one[0] is not None] for name, found in points.items()}

    if any(with_place.values()):
        together = read(folder)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(parse_many_logs, "block_of", not_plain)
            alone = read(folder)
        assert together == alone == {name: found for name, found in with_place.items() if found}
    long = history(folder, wide=False)
    for name, found in points.items():
        # Of equal steps the later one stays.
        last = [one for place, one in enumerate(found) if one[0] is None or one[0] not in [x for x, _ in found[place + 1 :]]]
        mine = long[long["name"] == name] if len(long) else long
        assert [None if step != step else step for step in mine["step"]] == [step for step, _ in last]
        assert list(mine["value"]) == [value for _, value in last]
    if all(step is None for _, _, step, _ in logged):
        assert [None if step != step else step for step in history(folder)["step"]] == rows


def test_experiments_whose_values_have_no_step(tmp_path):
    """They are pooled, paired and drawn over positions, from 0 over all runs."""
    for lr, seed in ((1, 0), (1, 1), (2, 0), (2, 1)):
        with mlv.Exp(tmp_path, f"exp-{lr}-{seed}", {"lr": lr, "seed": seed}, capture=()) as exp:
            exp.log({"loss": lr + seed})
        with mlv.Exp.open(exp.path) as exp:
            exp.log({"loss": 10 * lr + seed})
    found = mlv.find(tmp_path)

    pooled, paired = found.aggregate(x="step"), found.paired({"lr": 1}, {"lr": 2}, x="step")
    lines = found.lines("loss")

    assert pooled[["step", "count", "mean"]].values.tolist() == [[0, 2, 1.5], [1, 2, 10.5], [0, 2, 2.5], [1, 2, 20.5]]
    assert paired[["step", "count", "mean"]].values.tolist() == [[0, 2, 1], [1, 2, 10]]
    assert [(line.x.tolist(), line.middle.tolist()) for line in lines] == [([0, 1], [1.5, 10.5]), ([0, 1], [2.5, 20.5])]
