"""Logs that are parsed together give what each gives alone."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logs import TIME, line, write

from mlv.errors import MlvError
from mlv.query.digest import Digest
from mlv.query.many import values as values_
from mlv.query.metrics import parse_many_logs
from mlv.query.metrics.parse_json import NotPlain
from mlv.query.metrics.parse_template import numbers_of
from mlv.state import State

pytest.importorskip("pyarrow")

PLAIN = {"loss": 0.25, "acc": 1}
values = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**70), 2**70),
    st.booleans(),
    st.text(max_size=3),
    st.none(),
)
kinds = st.sampled_from(["plain"] * 8 + ["odd", "nan", "note", "params", "nested", "damaged", "spaced"])
rows = st.lists(
    st.tuples(
        kinds, st.sampled_from(["loss", "acc", "ä/b", "_mlv_x"]), values, st.sampled_from([None, 0, 1, 2, 2.5, "a"]),
        st.sampled_from(["r1"] * 9 + ["r2"]), st.sampled_from(["", "train"]),
        st.sampled_from([{}, {"epoch": 1}, {"epoch": "x"}]),
    ),
    max_size=12,
)  # fmt: skip


def text_of(row, seq: int) -> bytes:
    """A line, as its kind says."""
    kind, key, value, step, run, name, at = row
    fields = {"name": name} if name else {}
    fields |= {} if step is None else {"step": step}
    fields |= {"at": at} if at else {}
    made = line(run, seq, "metrics", seq / 10, **fields, data=PLAIN)
    if kind == "odd":
        return line(run, seq, "metrics", seq / 10, **fields, data={**PLAIN, key: value})
    if kind == "nan":
        return line(run, seq, "metrics", seq / 10, **fields, data={"loss": None}, nonfinite={"/loss": "nan"})
    if kind == "nested":
        return line(run, seq, "event", seq / 10, data={"a": "b", "type": "metrics"})
    if kind == "damaged":
        return made[: len(made) // 2] + b"\n"
    if kind == "spaced":
        return (
            json.dumps({"run": run, "seq": seq, "time": TIME.format(seq / 10), "type": "metrics", "data": PLAIN}).encode()
            + b"\n"
        )
    return made if kind == "plain" else line(run, seq, kind, seq / 10, data={"text": "x"})


def not_plain(*_: object, **__: object) -> None:
    raise NotPlain  # so each log is read alone


def read(folders, x):
    """Each series of each experiment, or what is wrong."""
    digests = [Digest(folder, "0" * 64, {"params": {}}, State(), {}) for folder in folders]
    try:
        found = values_.read(digests, None, x)
    except MlvError as error:
        return type(error).__name__
    result: dict[tuple[int, str], list[tuple[float, str]]] = {}
    for member, metric, place, value in zip(found.member, found.metric, found.x, found.value, strict=True):
        result.setdefault((int(member), found.metrics[metric]), []).append((float(place), repr(float(value))))
    return result


@settings(deadline=None, max_examples=150)
@given(logs=st.lists(rows, min_size=1, max_size=4), x=st.sampled_from(["step", "epoch", None]), cut=st.integers(0, 40))
def test_together_as_alone(tmp_path_factory, logs, x, cut):
    """Whatever some logs hold: together they give the values, in the order, that each gives alone."""
    root = tmp_path_factory.mktemp("runs")
    folders = []
    for number, found in enumerate(logs):
        folder = root / str(number)
        folder.mkdir()
        content = line("r1", 1, "run_started", data={}) + b"".join(text_of(row, seq) for seq, row in enumerate(found, 2))
        write(folder, content[: len(content) - cut * (cut > 20)])
        folders.append(folder)

    together = read(folders, x)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parse_many_logs, "block_of", not_plain)
        alone = read(folders, x)

    assert together == alone


def test_plain_logs_are_parsed_together(tmp_path, monkeypatch):
    """Of logs that mlv wrote none is read alone, whatever stands around and among the metrics."""
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
        lines = [line("r1", seq, "metrics", data={"loss": seq / 8, "val": 1.5}, step=seq) for seq in (2, 3, 5)]
        note = line("r1", 4, "note", data={"text": "x"}) if folder.name == "b" else b""
        write(folder, line("r1", 1, "run_started", data={}), *lines[:2], note, lines[2], line("r1", 6, "run_ended", data={}))
    monkeypatch.setattr(values_.long_table, "metrics", None)

    found = read(folders, "step")

    assert found[1, "loss"] == [(2.0, "0.25"), (3.0, "0.375"), (5.0, "0.625")]
    assert len(found) == 6


def test_order_of_a_run_is_that_of_its_numbers(tmp_path):
    """A line that came later than its number is read in its place."""
    write(tmp_path, *(line("r1", seq, "metrics", data={"loss": seq}, step=1) for seq in (1, 3, 2)))

    assert read([tmp_path], "step") == {(0, "loss"): [(1.0, "1.0"), (1.0, "2.0"), (1.0, "3.0")]}


def test_a_value_without_a_step(tmp_path):
    """A value that has no place is passed over; where none has one, the values of a metric are numbered."""
    write(tmp_path, line("r1", 1, "metrics", data={"loss": 1.0}), line("r1", 2, "metrics", data={"loss": 2.0}, step=3))
    assert read([tmp_path], "step") == {(0, "loss"): [(3.0, "2.0")]}
    write(tmp_path, *(line("r1", seq, "metrics", data={"loss": seq}) for seq in (1, 2)))

    assert read([tmp_path], "step") == {(0, "loss"): [(0.0, "1.0"), (1.0, "2.0")]}
    assert read([tmp_path], "epoch") == "InvalidArgument"
    assert math.isclose(2.0, float(read([tmp_path], None)[0, "loss"][-1][1]))


@pytest.mark.parametrize("runs", [1, 2])
def test_what_a_rewind_superseded(tmp_path, runs):
    """It is not there, also where the same run goes on."""
    lines = [line("r1", seq, "metrics", data={"loss": seq}, step=seq) for seq in (1, 2, 3)]
    write(tmp_path, *lines, line(f"r{runs}", 9, "metrics", 9, data={"loss": 9}, step=2))
    write(tmp_path, line(f"r{runs}", 8, "rewound", data={"step": 1, "last": {"r1": 3}}), stream="rewound")

    assert read([tmp_path], "step") == {(0, "loss"): [(1.0, "1.0"), (2.0, "9.0")]}


def test_one_name_written_in_two_ways(tmp_path):
    """A metric has its values in their order, wherever its name is parted."""
    lines = [line("r1", 1, "metrics", data={"a/b": 1}), line("r1", 3, "metrics", data={"a/b": 3})]
    write(tmp_path, lines[0], line("r1", 2, "metrics", name="a", data={"b": 2}), lines[1])

    assert read([tmp_path], "step") == {(0, "a/b"): [(0.0, "1.0"), (1.0, "2.0"), (2.0, "3.0")]}


numbers = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**54), 2**54))


@settings(deadline=None)
@given(
    logs=st.lists(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=4), min_size=1, max_size=4),
    steps=st.booleans(), x=st.sampled_from(["step", None]), late=st.booleans(), prefix=st.sampled_from(["", "train"]),
)  # fmt: skip
def test_lines_that_differ_in_runs_and_numbers_only(logs, steps, x, late, prefix):
    """They are read as one, and give what the lines give when they are parsed each for itself."""
    blocks = []
    for number, pairs in enumerate(logs):
        seqs = range(len(pairs), 0, -1) if late else range(1, len(pairs) + 1)
        fields = {"name": prefix} if prefix else {}
        made = [
            line(
                f"r{number}", seq, "metrics", seq / 10, **fields, **({"step": seq} if steps else {}), data={"loss": a, "acc": b}
            )
            for seq, (a, b) in zip(seqs, pairs, strict=True)
        ]
        blocks.append((3 * number, b"".join(made)))

    def told() -> object:
        try:
            part, several = parse_many_logs.parsed(blocks, x, lambda name: name != "train/acc")
        except NotPlain:
            return None
        series = zip(part.metric.tolist(), part.member.tolist(), part.x.tolist(), part.value.tolist(), strict=True)
        return part.names, sorted(series, key=lambda one: one[:2]), part.has_numbers, several

    found = told()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parse_many_logs, "numbers_of", lambda blocks: None)
        assert found == told() or told() is None


def test_runs_of_other_forms_are_not_taken_for_alike():
    """Where more than the run differs before the first number, the lines are not read as one."""
    a = line("r1", 1, "metrics", 0.0, data={"loss": 0.5})

    assert numbers_of([a, a.replace(b'"r1"', b'"r2"')]) is not None
    assert numbers_of([a, a.replace(b'"r1"', b'"r22"')]) is None
    assert numbers_of([a, a.replace(b'"r1"', b'"r\\u0031"')]) is None
    assert numbers_of([a, a.replace(b'"type":"metrics"', b'"type":"METRICS"')]) is None
