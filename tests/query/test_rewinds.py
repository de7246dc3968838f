"""What survives rewinds is what a plain loop over the events keeps."""

from __future__ import annotations

from typing import Any

import pytest
from logs import line, write

from mlv.query.digest import read_digest
from mlv.query.metrics import data_frames, long_table
from mlv.query.rewinds import rewinds_of
from mlv.query.tail import latest_metrics

pytest.importorskip("hypothesis")
pytest.importorskip("pandas")
from hypothesis import given, settings
from hypothesis import strategies as st

STEPS = st.one_of(st.none(), st.integers(-2, 6), st.sampled_from([0.5, 2.5, 2**60, 2**60 + 1, "3"]))
REWINDS = st.one_of(st.integers(-3, 7), st.sampled_from([0.5, 2**60]))
ACTS = st.lists(st.one_of(st.tuples(st.just("log"), STEPS), st.tuples(st.just("rewind"), REWINDS)), max_size=25)


def told(acts: list[tuple[str, Any]]) -> tuple[list[bytes], list[bytes], list[int]]:
    """Lines of both streams, and the numbers that survive: each rewind begins a run, and drops what it supersedes."""
    log, rewound, kept = [], [], list[tuple[int, Any]]()
    run, seq, last = 1, 0, dict[str, int]()
    for number, (act, step) in enumerate(acts):
        seq += 1
        if act == "rewind":
            rewound.append(line(f"r{run + 1}", 1, "rewound", number, data={"step": step, "last": dict(last)}))
            kept = [(at, one) for at, one in kept if type(one) not in (int, float) or one <= step]
            run, seq = run + 1, 1
        else:
            fields = {} if step is None else {"step": step}
            log.append(line(f"r{run}", seq, "metrics", number, data={"a": number}, **fields))
            kept.append((number, step))
            last[f"r{run}"] = seq
    return log, rewound, [number for number, _ in kept]


@settings(max_examples=60, deadline=None)
@given(acts=ACTS)
def test_what_survives(tmp_path_factory, acts):
    """Frames, columns, digests and the latest values all keep what a plain loop keeps."""
    folder = tmp_path_factory.mktemp("exp")
    log, rewound, kept = told(acts)
    write(folder, *log)
    if rewound:
        write(folder, *rewound, stream="rewound")

    long = data_frames.history(folder, wide=False)
    latest_by_step = data_frames.history(folder, wide=False, branches="all")
    assert sorted(long_table.metrics(folder)["value"].to_pylist()) == kept
    assert set(long["value"] if len(long) else []) <= set(kept)
    assert len(latest_by_step) >= len(long)
    digest = read_digest(folder, "id", {"params": {}})
    assert (digest.metrics["a"].count if kept else 0) == len(kept)
    assert (digest.metrics["a"].last if kept else None) == (kept[-1] if kept else None)
    assert [found.value for found in latest_metrics(folder).values()] == kept[-1:]


@settings(max_examples=60, deadline=None)
@given(acts=ACTS, cut=st.integers(0, 25))
def test_as_of(tmp_path_factory, acts, cut):
    """A rewind behind the cut has superseded nothing yet."""
    folder = tmp_path_factory.mktemp("exp")
    log, rewound, _ = told(acts)
    write(folder, *log)
    if rewound:
        write(folder, *rewound, stream="rewound")
    _, until, kept = told(acts[:cut])
    runs = 1 + sum(act == "rewind" for act, _ in acts[:cut])
    last = {f"r{run}": 0 for run in range(1, runs + 1)}
    run = 1
    for act, _ in acts[:cut]:
        run += act == "rewind"
        last[f"r{run}"] += 1

    assert len(rewinds_of(folder, cut=last)) == len(until)
    assert set(data_frames.history(folder, wide=False, cut=last)["value"]) <= set(kept)


def test_what_cannot_be_read(tmp_path):
    """Rewinds of somebody else's that name no step, no runs or no numbers supersede nothing."""
    write(tmp_path, line("r1", 1, "metrics", step=1, data={"a": 1}))
    strange = [{}, {"step": "x", "last": {"r1": 1}}, {"step": 0}, {"step": 0, "last": [1]}, {"step": 0, "last": {"r1": "x"}}, 3]
    write(tmp_path, *(line("r2", seq, "rewound", data=data) for seq, data in enumerate(strange, 1)), stream="rewound")

    assert long_table.metrics(tmp_path).num_rows == 1


def test_a_second_writer(tmp_path):
    """The stream that a second writer made counts as well."""
    write(tmp_path, line("r1", 1, "metrics", step=1, data={"a": 1}))
    write(tmp_path, line("r2", 1, "rewound", data={"step": 0, "last": {"r1": 1}}), stream="rewound@rw")

    assert long_table.metrics(tmp_path).num_rows == 0
