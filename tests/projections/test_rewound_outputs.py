"""Outputs show what survives rewinds: the same whether the rewind was there from the beginning, or came in the middle."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from logs import line, write

from mlv import Exp, hdf
from mlv.projections import CSV, HDF5, Output, Parquet, TensorBoard, replay
from mlv.projections.replaying import Replay
from mlv.store import layout
from projections.lines import followed
from projections.places import Lines

pytest.importorskip("hypothesis")
from hypothesis import given, settings
from hypothesis import strategies as st

NEEDS = {CSV: (), Parquet: ("pyarrow", "pandas"), HDF5: ("h5py",), TensorBoard: ("tensorboardX", "tensorboard")}
Point = tuple[float, float]


@pytest.fixture(scope="module", params=NEEDS, ids=lambda kind: kind.__name__)
def kind(request):
    for module in NEEDS[request.param]:
        pytest.importorskip(module)
    return request.param


@pytest.fixture
def exp(tmp_path):
    """An experiment whose log is written by hand."""
    exp = Exp(tmp_path, "exp", capture=())
    exp.close()
    return exp


def shown(kind: type[Output], place: Path, name: str, stream: str = "log") -> list[Point]:
    """Steps and values of a metric."""
    if kind is CSV:
        with open(place / f"{stream}.csv", newline="") as file:
            return [(float(row["step"]), float(row["value"])) for row in csv.DictReader(file) if row["name"] == name]
    if kind is Parquet:
        import pandas

        rows = pandas.read_parquet(place / stream)
        return [(row.step, row.value) for row in rows[rows["name"] == name].itertuples()]
    if kind is HDF5:
        path = place / "metrics.h5"
        return [(row[0], row[2]) for row in hdf.read_from_key(path, name, stream).tolist()]
    return [(point.step, point.value) for point in viewer(place, stream).Reload().Scalars(name)]


def viewer(place: Path, stream: str = "log") -> Any:
    """TensorBoard's own reader."""
    from tensorboard.backend.event_processing.event_accumulator import STORE_EVERYTHING_SIZE_GUIDANCE, EventAccumulator

    return EventAccumulator(str(place / ("" if stream == "log" else stream)), STORE_EVERYTHING_SIZE_GUIDANCE)


def metric(run: str, seq: int, step: float | None, **data: float) -> bytes:
    return line(run, seq, "metrics", seq % 60, data=data, **({} if step is None else {"step": step}))


def rewound(run: str, step: float, last: dict[str, int], seq: int = 1) -> bytes:
    return line(run, seq, "rewound", 10, data={"step": step, "last": last})


def add(folder: Path, *lines: bytes, stream: str = "log") -> None:
    with open(folder / layout.stream_file(stream), "ab") as file:
        file.writelines(lines)


FIRST = [metric("r1", step + 1, step, x=step) for step in range(6)]
SECOND = [metric("r2", step, step, x=-step) for step in (3, 4)]
SURVIVING = [(0, 0), (1, 1), (2, 2), (3, -3), (4, -4)]


def test_a_rewind_that_was_there(exp, kind):
    """What it superseded is left out."""
    write(exp.path, *FIRST, *SECOND)
    write(exp.path, rewound("r2", 2, {"r1": 6}), stream="rewound")

    assert shown(kind, replay(exp, kind()), "x") == SURVIVING


@pytest.mark.parametrize("is_before", [True, False], ids=["rewound first", "rewound last"])
def test_a_rewind_that_comes(exp, kind, is_before):
    """A rewind takes back what an output showed already, whichever of the files the output sees growing first."""
    write(exp.path, *FIRST)
    work = Replay(exp.path, kind())
    assert work.begin()
    work.catch_up()
    work.commit()

    for act in (True, False):
        if act == is_before:
            write(exp.path, rewound("r2", 2, {"r1": 6}), stream="rewound")
        else:
            add(exp.path, *SECOND)
        while work.catch_up():
            work.commit()
    work.close()

    assert shown(kind, exp.path / kind().name, "x") == SURVIVING


def test_every_stream(exp, kind):
    """What is superseded is so in each stream, also in what a second writer added."""
    for stream in ("log", "val", "val@rb"):
        write(exp.path, *FIRST, *SECOND, stream=stream)
    write(exp.path, rewound("r2", 2, {"r1": 6}), stream="rewound@rb")

    place = replay(exp, kind())

    assert shown(kind, place, "x") == SURVIVING
    is_one = kind in (HDF5, TensorBoard)  # their readers take the files of a stream together
    assert Counter(shown(kind, place, "x", "val")) == Counter(SURVIVING * (2 if is_one else 1))


def test_what_is_not_covered_stays(exp, kind):
    """Runs that are not named, numbers beyond, values without a step and what is not behind the step, in any order."""
    early = [metric("r0", 1, 9, other=1), metric("r1", 1, None, free=0), metric("r1", 2, None, free=1)]
    mixed = [metric("r1", 3, 2.5, x=2.5), metric("r1", 4, 2.75, x=2.75)]
    mixed += [metric("r1", 6, 9, late=1), metric("r1", 5, 9, x=9)]
    write(exp.path, *early, *mixed, metric("r1", 7, None, free=2))
    write(exp.path, rewound("r2", 2.5, {"r1": 5}), stream="rewound")

    place = replay(exp, kind())

    whole = kind in (HDF5, TensorBoard)
    assert shown(kind, place, "x") == [(2 if whole else 2.5, 2.5)]
    assert shown(kind, place, "free") == [(0, 0), (1, 1), (2, 2)]
    assert (shown(kind, place, "other"), shown(kind, place, "late")) == ([(9, 1)], [(9, 1)])


def test_superseded_values_are_not_counted(exp, kind):
    """Positions in a series are those among the values that survive."""
    write(exp.path, metric("r1", 1, 0, a=0), metric("r1", 2, 5, a=1), metric("r2", 1, None, a=2))
    write(exp.path, rewound("r2", 3, {"r1": 2}), stream="rewound")

    assert shown(kind, replay(exp, kind()), "a") == [(0, 0), (1, 2)]


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("log"), st.one_of(st.none(), st.integers(-2, 6))),
        st.tuples(st.just("rewind"), st.integers(-3, 5)),
        st.tuples(st.sampled_from(["look", "commit", "kill"]), st.none()),
    ),
    max_size=20,
)


@settings(max_examples=25, deadline=None)
@given(acts=ACTS)
def test_live_is_replay(tmp_path_factory, kind, acts):
    """With rewinds, looks, commits and kills in any order, an output has what a plain loop keeps, and one made afterwards."""
    root = tmp_path_factory.mktemp("runs")
    Exp(root, "exp", capture=()).close()
    folder, live = root / "exp", kind(path=root / "live")
    work = Replay(folder, live)
    assert work.begin()
    kept: list[tuple[int | None, int]] = []
    run, seq, last = 1, 0, dict[str, int]()
    for number, (act, step) in enumerate(acts):
        if act == "log":
            seq += 1
            add(folder, metric(f"q{run}", seq, step, a=number))
            kept.append((step, number))
            last[f"q{run}"] = seq
        elif act == "rewind":
            run, seq = run + 1, 1
            add(folder, rewound(f"q{run}", step, dict(last)), stream="rewound")
            kept = [(at, value) for at, value in kept if at is None or at <= step]
        elif act == "kill":
            work.close()
            work = Replay(folder, kind(path=root / "live"))
            assert work.begin()
        else:
            work.catch_up()
            if act == "commit":
                work.commit()
    while work.catch_up():
        pass
    work.commit()
    work.close()

    after = replay(folder, kind(path=root / "after"))

    if kept:
        expected = [(at if at is not None else place, value) for place, (at, value) in enumerate(kept)]
        assert shown(kind, root / "live", "a") == shown(kind, after, "a") == expected
    if kind is not HDF5:
        assert files(root / "live") == files(after)


def files(place: Path) -> dict[str, bytes]:
    """What lies there, but for notes, what was set aside, and what TensorBoard has left of files behind which others came."""
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and ".before-" not in str(path) and path not in _left(place)
    }


def _left(place: Path) -> list[Path]:
    """Event files with their first record only."""
    return [path for path in place.glob("*tfevents*.mlv*") if path.stat().st_size == _first_bytes(path)]


def _first_bytes(path: Path) -> int:
    return int.from_bytes(path.read_bytes()[:8], "little") + 16  # its length, and two checksums


def test_a_tensorboard_that_is_open(exp):
    """One that has read the superseded branch shows, once it reads on, what survives."""
    pytest.importorskip("tensorboardX")
    pytest.importorskip("tensorboard")
    write(exp.path, *FIRST)
    look = viewer(replay(exp, "tensorboard")).Reload()
    assert len(look.Scalars("x")) == 6

    for number, (step, expected) in enumerate([(2, [0, 1, 2]), (1, [0, 1])], 2):
        add(exp.path, rewound(f"r{number}", step, {"r1": 6}), stream="rewound")
        replay(exp, "tensorboard")

        assert [point.value for point in look.Reload().Scalars("x")] == expected


def test_real_runs(tmp_path, kind):
    """Outputs that runs keep follow a rewind; another process has them."""
    name = kind().name
    with Exp(tmp_path, "exp", outputs=[name], capture=()) as exp:
        for step in range(10):
            exp.log({"x": step}, step=step)
            exp.logger("val")({"y": step}, step=step)
    with Exp.open(tmp_path / "exp", rewind_to=6, outputs=[name]) as exp:
        exp.log({"x": -7}, step=7)

    place = followed(exp, name)

    assert shown(kind, place, "x") == [*((step, step) for step in range(7)), (7, -7)]
    assert shown(kind, place, "y", "val") == [(step, step) for step in range(7)]


def test_a_projection_of_ones_own(exp):
    """It is opened again, without what it committed, and gets what survives."""
    write(exp.path, *FIRST)
    replay(exp, Lines())
    add(exp.path, rewound("r2", 2, {"r1": 6}), stream="rewound")

    place = replay(exp, Lines())

    text = (place / "lines.txt").read_text()
    assert text.count(" metrics ") == 3
    assert text.count(" rewound ") == 1
