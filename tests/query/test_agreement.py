"""All readers agree with one naive fold, over any tree: any names, steps, values and clocks, runs, copies, links and damage."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

import naive
import pytest
from conftest import run_command
from logs import line, write
from naive import Experiment, Value

import mlv
from mlv.encoding import Conversion
from mlv.query.unique_names import distinct, joined, spelled
from mlv.words import number, printable

pytest.importorskip("hypothesis")
pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
from hypothesis import given, settings
from hypothesis import strategies as st

NAMES = [
    "loss", "Loss", "LOSS", "acc", "a/b", "b", "a", "a.b", "loss.min", "metrics.loss", "step", "time", "exp", "exp_name",
    "name", "value", "at.epoch", "epoch", "metric.step", "last", "é", "É", "e\u0301", 'q"t', "x y", "a,b", "=1+1", "#", "%",
    ".", "..", "a//b", "loss/text_summary", "\u2028", "\U0001f600", "{x}", "id", "run", "null", "top1/acc", "Top1/acc",
    "\t", "a\nb",
]  # fmt: skip
names = st.sampled_from(NAMES) | st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0\r"), min_size=1, max_size=3
)
folder_names = st.sampled_from(["a", "b", "A", "a.b", "é", "x y", "files", "models", "=x", "#", "a'b", "[b]", "loss", "%41"])
numbers = st.sampled_from([0, 1, -1, 0.5, -0.0, 1e-9, 0.1, 1e20, 2**53, 2**53 + 1, -(2**53) - 1, 2**63, 2**64, 10**400])
numbers |= st.integers(-5, 5) | st.floats(width=32, allow_nan=False, allow_infinity=False)
odd = st.sampled_from(
    [math.nan, math.inf, -math.inf, True, False, None, "", "nan", "1", "warm", "true", [], [1, math.nan], [[0.5]]]
)
values = numbers | numbers | numbers | odd
steps = st.none() | st.integers(-2, 6) | st.sampled_from([0.5, 2.0, 2.5, -1.5, 2**53, 2**53 + 1, 10**15, "x", [0, 3]])
coordinates = st.dictionaries(
    st.sampled_from(["epoch", "step", "k.l", "loss"]), st.sampled_from([0, 1, 1.0, 0.5, "a"]), max_size=2
)
params = st.dictionaries(
    st.sampled_from(["lr", "LR", "a.b", "x y", "name"]),
    st.sampled_from([0.1, 1, 1.0, "1", True, None, [1, 2], {"b": 1, "c": "d"}, 2**53 + 1]), max_size=2,
)  # fmt: skip

texts = st.sampled_from(["", "a", "nan"])
given_values = numbers | st.sampled_from([math.nan, math.inf, True, False]) | texts
statistics = st.sampled_from(["last", "min", "max", "mean", "best", "none", "unknown"])
stated_names = st.integers(0, 9) | st.integers(0, 9) | names
"""Numbers stand for metrics that are logged."""
descriptions = st.fixed_dictionaries(
    {"summary": statistics, "x": st.sampled_from(["epoch", "epoch", "step"]) | stated_names},
    optional={"mode": st.sampled_from(["min", "max"])},
)
# A description or a summary: its run, stream, second, name, and data.
statements = st.tuples(
    st.sampled_from(["r1", "r2", "r3"]), st.sampled_from(["log", "log", "val", "summary"]), st.integers(0, 40),
    st.tuples(st.just("metadata"), stated_names, descriptions)
    | st.tuples(st.just("metadata"), stated_names, descriptions)
    | st.tuples(st.just("summary"), st.sampled_from(["", "", "a"]), st.dictionaries(stated_names, given_values, max_size=3)),
)  # fmt: skip

# A few lines of one shape: their run, stream, first second and its change, name, keys, coordinates, steps, and all values.
segments = st.tuples(
    st.sampled_from(["r1", "r2", "r3"]), st.sampled_from(["log", "log", "val"]), st.integers(0, 40), st.integers(-3, 3),
    st.sampled_from(["", "", "a", "t/x"]), st.lists(names, min_size=1, max_size=3, unique=True), st.just({}) | coordinates,
    st.tuples(steps, st.integers(-1, 3)), st.lists(values, min_size=1, max_size=8),
)  # fmt: skip
logs = st.fixed_dictionaries(
    {"segments": st.lists(segments, max_size=5), "statements": st.lists(statements, max_size=3)},
    optional={
        "rewind": st.tuples(st.integers(-1, 4), st.dictionaries(st.sampled_from(["r1", "r2"]), st.integers(1, 6), max_size=2)),
        "ends": st.dictionaries(st.sampled_from(["r1", "r2", "r3"]), st.sampled_from(["ok", "failed", "killed"]), max_size=3),
        "swapped": st.integers(0, 9),
        "damage": st.sampled_from([b"{\n", b"\xff\xfe\n", b"[]\n", b'{"run":"r1","seq":3}\n', b'{"run":"r1","se']),
    },
)
experiments = st.fixed_dictionaries(
    {
        "name": folder_names,
        "parent": st.none() | st.integers(0, 3),
        "kind": st.none() | st.sampled_from(["train", "squeeze"]),
        "created": st.integers(0, 2),
        "params": params,
        "seed": st.none() | st.integers(0, 2),
        "log": logs,
    }
)
changes = st.tuples(
    st.sampled_from(["copy", "older copy", "rename", "link in", "link out", "loop", "dead link", "no log", "empty folder"]),
    st.integers(0, 3),
)
# The same with few names, of which most are described.
few = st.lists(st.sampled_from(["loss", "a", "b"]), min_size=1, max_size=2, unique=True)
plain_segments = st.tuples(
    st.sampled_from(["r1", "r2"]), st.sampled_from(["log", "log", "val"]), st.integers(0, 40), st.integers(-1, 3), st.just(""),
    few, st.fixed_dictionaries({"epoch": st.integers(0, 5)}) | st.just({}), st.tuples(st.integers(0, 9), st.just(1)),
    st.lists(numbers | values, min_size=2, max_size=6),
)  # fmt: skip
plain_logs = st.fixed_dictionaries(
    {"segments": st.lists(plain_segments, min_size=1, max_size=4), "statements": st.lists(statements, min_size=2, max_size=5)}
)
described = st.fixed_dictionaries(
    {
        "name": st.just("exp"),
        "parent": st.none(),
        "kind": st.none(),
        "created": st.just(0),
        "params": st.just({}),
        "seed": st.none() | st.integers(0, 1),
        "log": plain_logs,
    }
)
trees = st.tuples(st.lists(experiments, min_size=1, max_size=4), st.lists(changes, max_size=3))
trees |= st.tuples(st.lists(described, min_size=1, max_size=3), st.just([]))


def log_line(run: str, seq: int, second: int, name: str, data: dict[str, Any], step: Any, at: dict[str, Any]) -> bytes:
    """A line of metrics."""
    conversion = Conversion()
    fields = {"name": name, "step": step, "at": at, "data": conversion.metrics(data), "nonfinite": conversion.nonfinite}
    kept = {key: value for key, value in fields.items() if value not in (None, "", {}) or key == "data" or value == 0 != ""}
    return line(run, seq, "metrics", second, **kept)


def stated(statement: Any, segments: list[Any]) -> Any:
    """A statement with names for numbers."""
    logged = [f"{name}/{key}" if name else key for _, _, _, _, name, keys, *_ in segments for key in keys] or ["loss"]

    def name_of(value: Any) -> Any:
        return logged[value % len(logged)] if type(value) is int else value

    run, stream, second, (kind, name, data) = statement
    if kind == "summary":
        return run, stream, second, (kind, name, {name_of(key): value for key, value in data.items()})
    return run, stream, second, (kind, name_of(name), {key: name_of(value) for key, value in data.items()})


def stated_line(run: str, seq: int, type: str, second: int, name: str, data: dict[str, Any]) -> bytes:
    """A line of a description or of a summary."""
    conversion = Conversion()
    fields = {"name": name, "data": conversion.metrics(data), "nonfinite": conversion.nonfinite}
    return line(run, seq, type, second, **{key: value for key, value in fields.items() if value or key == "data"})


def write_log(folder: Path, log: dict[str, Any]) -> None:
    """The streams of an experiment."""
    seqs = {"r1": 1, "r2": 1, "r3": 1}
    statements = [stated(statement, log["segments"]) for statement in log["statements"]]
    used = sorted({segment[0] for segment in (*log["segments"], *statements)} | set(log.get("ends", ())))
    starts = [line(run, 1, "run_started", 5 * number, data={}) for number, run in enumerate(used)]
    lines: dict[str, list[bytes]] = {"log": starts, "val": [], "summary": []}
    for run, stream, second, (kind, name, data) in statements[:3]:
        seqs[run] += 1
        lines[stream].append(stated_line(run, seqs[run], kind, second, name, data))
    for run, stream, second, pace, name, keys, at, (step, stride), all_values in log["segments"]:
        for begin in range(0, len(all_values), len(keys)):
            seqs[run] += 1
            data = dict(zip(keys, all_values[begin:], strict=False))
            lines[stream].append(log_line(run, seqs[run], second % 60, name, data, step, at))
            second, step = max(0, second + pace), step + stride if type(step) in (int, float) else step
    for run, stream, second, (kind, name, data) in statements[3:]:
        seqs[run] += 1
        lines[stream].append(stated_line(run, seqs[run], kind, second, name, data))
    for run, status in log.get("ends", {}).items():
        lines["log"].append(line(run, seqs[run] + 1, "run_ended", 50, data={"status": status}))
    if (swapped := log.get("swapped", 0)) < len(lines["log"]) - 1:
        lines["log"][swapped : swapped + 2] = reversed(lines["log"][swapped : swapped + 2])
    if "damage" in log:
        lines["log"].insert(1 if log["damage"].endswith(b"\n") else len(lines["log"]), log["damage"])
    for stream, content in lines.items():
        if content:
            write(folder, *content, stream=stream)
    if "rewind" in log:
        step, last = log["rewind"]
        write(folder, line("r9", 1, "rewound", 59, data={"step": step, "last": last}), stream="rewound")


def make(base: Path, tree: Any) -> Path:
    """Make a tree, and what lies outside and is linked to from it."""
    root = base / "runs"
    root.mkdir()
    made: list[Path] = []
    for one in tree[0]:
        parent = made[one["parent"]] if one["parent"] is not None and one["parent"] < len(made) else None
        folder = root / one["name"] if parent is None else parent / (one["kind"] or "sub") / one["name"]
        while folder.exists():
            folder = folder.with_name(f"{folder.name}_")
        folder.mkdir(parents=True)
        seed = {} if one["seed"] is None else {"seed": one["seed"]}
        created = f"2026-01-01T00:00:0{one['created']}.000000Z"
        meta = {"format": 1, "name": folder.name, "kind": one["kind"], "created": created, "params": {**one["params"], **seed}}
        if parent is not None:
            meta["parent"] = {"_mlv": "exp", "id": Experiment(parent).id, "path": "../.."}
        (folder / "meta.json").write_text(json.dumps(meta))
        write_log(folder, one["log"])
        made.append(folder)
    for number_, (change, of) in enumerate(tree[1]):
        folder, new = made[of % len(made)], root / f"new{number_}"
        if folder.exists():
            change_tree(change, folder, new, base / f"elsewhere{number_}")
    return root


def change_tree(change: str, folder: Path, new: Path, elsewhere: Path) -> None:
    """Copy, link, rename or spoil an experiment."""
    if change in ("copy", "older copy"):
        shutil.copytree(folder, new, symlinks=True)
        if change == "older copy" and (new / "log.jsonl").exists():
            (new / "log.jsonl").write_bytes((new / "log.jsonl").read_bytes()[:-30])
    elif change == "rename":
        folder.rename(new)
    elif change in ("link in", "dead link"):
        new.symlink_to(folder if change == "link in" else folder / "nothing")
    elif change == "link out":
        folder.rename(elsewhere)
        folder.symlink_to(elsewhere)
    elif change == "loop":
        (folder / new.name).symlink_to(folder.parent)
    elif change == "no log":
        (folder / "log.jsonl").unlink(missing_ok=True)
    else:
        new.mkdir()


def alike(one: Any, other: Any) -> bool:
    """Equality in which NaN equals NaN and 1 equals 1.0, and True no number."""
    if isinstance(one, (list, tuple)):
        return isinstance(other, (list, tuple)) and len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, bool) or isinstance(other, bool):
        return type(one) is type(other) and one == other
    return bool(one == other) or (one != one and other != other)


def close(one: float | None, other: float | None) -> bool:
    """Equality but for the last digits."""
    return one is other or (None not in (one, other) and one == pytest.approx(other, rel=1e-9, nan_ok=True))


@contextmanager
def warned() -> Iterator[list[str]]:
    """Collect warnings instead of raising them."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield texts
    texts += [str(warning.message) for warning in caught]


def told(*arguments: Any) -> str:
    """What a command prints."""
    done = run_command(*arguments)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def as_json(value: Any) -> Any:
    """A value as `--json` prints it: without NaN and infinities."""
    if isinstance(value, list):
        return [as_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@settings(max_examples=30, deadline=None)
@given(tree=trees)
def test_lists_and_pages(tmp_path_factory, tree):
    """`ls`, `ls --json`, `show`, `summary` and `Exp` say of each experiment what the fold says."""
    root = make(tmp_path_factory.mktemp("tree"), tree)
    expected = [Experiment(folder) for folder in naive.folders(root)]

    listed = [json.loads(row) for row in told("ls", root, "--json").split("\n") if row]
    assert [row["path"] for row in listed] == [str(exp.path) for exp in expected]
    text = told("ls", root)
    for exp, row in zip(expected, listed, strict=True):
        summaries = exp.summaries
        standing = {name: as_json(value) for name, value in exp.standing.items()}
        assert (row["id"], row["name"], row["status"]) == (exp.id, exp.name, exp.status)
        assert row["damaged"] or not exp.damaged  # half a line at the end is no damage, and may be told
        assert alike(row["metrics"], standing)
        page = json.loads(told("show", exp.path, "--json"))
        assert (page["id"], page["name"], page["status"]) == (exp.id, exp.name, exp.status)
        assert page["damaged"] or not exp.damaged
        assert alike({name: metric["value"] for name, metric in page["metrics"].items()}, standing)
        steps = {name: summaries[name]["value_step"] for name in standing}
        assert alike({name: metric["step"] for name, metric in page["metrics"].items()}, steps)
        in_row = [f"{printable(name)}={number(value, None)}" for name, value in exp.standing.items()]
        rows = [row for row in text.split("\n") if row.endswith(exp.id[:8])]
        assert any(sum(metric in row for metric in in_row) >= min(4, len(in_row)) for row in rows)
        check_summaries(json.loads(told("summary", exp.path, "--json")), summaries, as_json)
        with warned():
            opened = mlv.Exp.open(exp.path)
            check_summaries({name: vars_of(found) for name, found in opened.summary().items()}, summaries)
            assert (opened.id, opened.name, opened.status) == (exp.id, exp.name, exp.status)


def vars_of(summary: Any) -> dict[str, Any]:
    return {field: getattr(summary, field) for field in summary.__dataclass_fields__}


def check_summaries(found: dict[str, Any], expected: dict[str, Any], form: Any = lambda value: value) -> None:
    """The few numbers of each metric are those of the fold."""
    assert found.keys() == expected.keys()
    for name, summary in expected.items():
        own = found[name]
        for stat in ("last", "last_step", "min", "max", "best", "best_step", "count", "nans", "value_step", "statistic"):
            assert alike(own[stat], form(summary[stat])), (name, stat)
        assert close(own["mean"], form(summary["mean"])), name
        same = close if summary["statistic"] == "mean" else alike
        assert same(own["value"], form(summary["value"])), name


@settings(max_examples=30, deadline=None)
@given(tree=trees)
def test_tables(tmp_path_factory, tree):
    """`history`, `sql`, `frame`, `where`, `aggregate` and `plot` give what the fold gives; copies and reruns count once."""
    pytest.importorskip("duckdb")
    root = make(tmp_path_factory.mktemp("tree"), tree)
    every = [Experiment(folder) for folder in naive.folders(root)]
    expected = naive.counted(every)
    with warned() as texts:
        found = mlv.find(root)
        assert found.paths == [exp.path for exp in every]
        for exp in expected:
            check_history(mlv.Exp.open(exp.path), exp)
        check_frame(found, expected)
        check_views(found, expected)
        check_pools(found, expected)
    assert len(expected) == len(every) or any("is a copy of" in text for text in texts)


def check_history(opened: mlv.Exp, exp: Experiment) -> None:
    """Rows of a long and of a wide table."""
    long, history = opened.history(wide=False), naive.history(exp.values)
    assert long["name"].tolist() == [value.name for value, _ in history]
    assert alike(long["value"].tolist(), [value.value for value, _ in history]), (long["value"].tolist(), history)
    assert alike([absent(step) for step in long["step"].tolist()], [step for _, step in history])
    rows, wide = naive.rows(exp.values), opened.history()
    at = dict.fromkeys(key for value in exp.values for key in json.loads(value.at))
    metrics = dict.fromkeys(value.name for value in exp.values)
    columns = spelled([("", "step"), ("", "time"), *(("at", key) for key in at), *(("metric", name) for name in metrics)])
    assert set(wide.columns) == set(columns.values())
    assert len(wide) == len(rows)
    for place, row in enumerate(rows):
        cells = {value.name: value.value for value in row}
        for name in metrics:
            assert alike(wide[columns["metric", name]].iloc[place], cells.get(name, math.nan)), (name, place)
        for key, value in json.loads(row[0].at).items():
            assert alike(wide[columns["at", key]].iloc[place], value)


def absent(step: Any) -> Any:
    return None if step != step else step


def check_frame(found: Any, expected: list[Experiment]) -> None:
    """One row per experiment, and its few numbers."""
    stats = ("last", "min", "max", "mean", "best", "count", "nans")
    frame = found.frame(stats=["min", "max", "count", "nans"])
    assert frame["id"].tolist() == [exp.id for exp in expected]
    assert frame["name"].tolist() == [exp.name for exp in expected]
    assert frame["status"].tolist() == [exp.status for exp in expected]
    every = dict.fromkeys(name for exp in expected for name in exp.summaries)
    paths = [("metrics", name, *stat) for name in every for stat in ((), *((stat,) for stat in stats))]
    columns = joined([*(("params", *keys) for exp in expected for keys, _ in exp.params), *paths])
    for place, exp in enumerate(expected):
        for keys, value in exp.params:
            assert alike(plain(frame[columns[("params", *keys)]].iloc[place]), missing(value)), keys
        for name, summary in exp.summaries.items():
            for stat in ("min", "max", "count", "nans"):
                assert alike(plain(frame[columns["metrics", name, stat]].iloc[place]), missing(summary[stat])), (name, stat)
        for name, value in exp.standing.items():
            same = close if exp.summaries[name]["statistic"] == "mean" else alike
            assert same(plain(frame[columns["metrics", name]].iloc[place]), missing(value)), name
        hidden = [columns["metrics", name] for name in exp.summaries if name not in exp.standing]
        assert all(
            missing(plain(frame[column].iloc[place])) != missing(plain(frame[column].iloc[place]))
            for column in hidden
            if column in frame
        )


def plain(value: Any) -> Any:
    """A cell of pandas as a value of Python, with NaN for what is missing."""
    return missing(value.item() if hasattr(value, "item") else value)


def missing(value: Any) -> Any:
    return math.nan if value is None else value


def check_views(found: Any, expected: list[Experiment]) -> None:
    """The views of SQL, and predicates."""
    every = list(dict.fromkeys(name for exp in expected for name in exp.summaries))
    columns = dict(zip(every, distinct(every), strict=True))
    summaries = [exp.summaries for exp in expected]
    rows = found.sql("select id, name, status, metrics from experiments").rows()
    assert [row[:3] for row in rows] == [(exp.id, exp.name, exp.status) for exp in expected]
    for (*_, metrics), own in zip(rows, summaries, strict=True):
        for name, column in columns.items():
            cell = (metrics or {}).get(column)
            assert (cell is None) == (name not in own)
            if cell is not None:
                check_cell(cell, own[name], [other[name] for other in summaries if name in other])
    for name, column in columns.items():
        stat = "last" if all(own[name]["statistic"] == "last" for own in summaries if name in own) else "value"
        cells = [own[name][stat] if name in own else None for own in summaries]
        if any(map(is_number, cells)):
            quoted = column.replace('"', '""')
            chosen = mlv.find(found._root, where=f'metrics."{quoted}".{stat} > 0.25').digests()
            assert [one.id for one in chosen] == [
                exp.id for exp, cell in zip(expected, cells, strict=True) if is_number(cell) and naive.nearest(cell) > 0.25
            ]
    query = "select exp, exp_name, stream, run, seq, name, value, text, step from metrics"
    long = [row_of(exp, value) for exp in expected for value in exp.values]
    same_rows(found.sql(query).rows(), long)


def same_rows(found: Any, expected: list[list[Any]]) -> None:
    """Rows are the same; where they are not, the first that differ are shown."""
    for one, other in zip_longest(map(list, found), expected):
        assert alike(one, other), (one, other)


def row_of(exp: Experiment, value: Value) -> list[Any]:
    """A row of the view `metrics`."""
    number, text = cells_of(value.value)
    number, text = (None, "nan") if number != number else (number, text)
    text = value.value if isinstance(value.value, str) else text
    step = None if value.position is None else float(value.position)
    return [exp.id, exp.name, stream_of(exp, value), value.run, value.seq, value.name, number, text, step]


def stream_of(exp: Experiment, value: Value) -> str:
    return next(
        name for name, events in exp.streams.items() if any((e["run"], e["seq"]) == (value.run, value.seq) for e in events)
    )


def cells_of(value: Any) -> tuple[float | None, str | None]:
    """A value in a column of numbers, and in one of JSON for what is none, or longer."""
    if not is_number(value) or value != value:
        return (value, None) if is_number(value) else (None, json_of(value))
    return naive.nearest(value), str(value) if isinstance(value, int) and abs(value) > naive.EXACT else None


def json_of(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(json_of(item) for item in value)}]"
    return f'"{value}"' if isinstance(value, float) and value - value != 0 else json.dumps(value, ensure_ascii=False)


def is_number(value: Any) -> bool:
    return type(value) in (int, float)


def check_cell(cell: dict[str, Any], summary: dict[str, Any], every: list[dict[str, Any]]) -> None:
    """A metric in the view `experiments`."""
    for stat in ("min", "max", "count", "nans"):
        assert alike(cell[stat], None if summary[stat] is None else naive.nearest(summary[stat])), stat
    for stat in ("last", "value"):
        if any(is_number(other[stat]) for other in every):
            value = summary[stat]
            assert close(cell[stat], naive.nearest(value) if is_number(value) and value == value else None)
    others = [summary[stat] for stat in ("last", "value") if summary[stat] is not None and not is_number(summary[stat])]
    if others:
        assert cell["text"] == (others[0] if isinstance(others[0], str) else json_of(others[0]))


def check_pools(found: Any, expected: list[Experiment]) -> None:
    """Statistics over families, and what is drawn of them."""
    from matplotlib.figure import Figure

    families = naive.families(expected)
    for x in ("step", None):
        pools = [naive.pooled(family, x) for family in families]
        if not any(pools):
            continue
        table = found.aggregate(x=x, stats=["mean", "min", "max", "p50"], ci=None)
        rows = {(family, metric, at): own for family, pool in enumerate(pools) for (metric, at), own in pool.items()}
        keys = zip(table["family"], table["metric"], table["step"] if x else [0] * len(table), strict=True)
        found_rows = {
            (family, metric, float(at)): row for (family, metric, at), row in zip(keys, table.to_dict("records"), strict=True)
        }
        assert found_rows.keys() == rows.keys()
        for key, own in rows.items():
            row, finite = found_rows[key], sorted(value for value in own if math.isfinite(value))
            size = len(families[key[0]])
            assert (row["count"], row["diverged"], row["missing"]) == (len(finite), len(own) - len(finite), size - len(own))
            if finite:
                assert (row["min"], row["max"]) == (finite[0], finite[-1])
                scale = 1e-9 * max(map(abs, finite))
                assert row["mean"] == pytest.approx(sum(finite) / len(finite), rel=1e-9, abs=scale)
                assert row["p50"] == pytest.approx(median(finite), rel=1e-9, abs=scale)
    pools = [naive.pooled(family, "step") for family in families]
    for name in [name for name in dict.fromkeys(metric for pool in pools for metric, _ in pool) if "*" not in name][:2]:
        axes = found.plot(name, "step", grid="exact", band="none", ax=Figure().add_subplot())
        drawn = sorted(points_of(zip(one.get_xdata(), one.get_ydata(), strict=True)) for one in axes.lines)
        lines = [{at: own for (metric, at), own in pool.items() if metric == name} for pool in pools]
        finite = [{at: [value for value in own if math.isfinite(value)] for at, own in line.items()} for line in lines]
        assert drawn == sorted(points_of((at, median(own)) for at, own in sorted(line.items())) for line in finite if line)


def points_of(points: Any) -> list[tuple[float, float, float]]:
    """Points that sort and compare, those without a value too."""
    return [(float(x), y == y, float(f"{y:.9g}") if y == y else 0.0) for x, y in points]


def median(numbers: list[float]) -> float:
    ordered, middle = sorted(numbers), (len(numbers) - 1) / 2
    if not ordered:
        return math.nan
    low, high = ordered[math.floor(middle)], ordered[math.ceil(middle)]
    return low + (high - low) / 2


@settings(max_examples=20, deadline=None)
@given(tree=trees)
def test_outputs(tmp_path_factory, tree):
    """`export` to TensorBoard, HDF5, CSV and Parquet writes every value at its place, copies too."""
    base = tmp_path_factory.mktemp("tree")
    root = make(base, tree)
    expected = [Experiment(folder) for folder in naive.folders(root)]
    for to, check in OUTPUTS.items():
        done = run_command("export", root, "--to", to, "--out", base / to)
        assert done.returncode == 0, done.stderr
        for exp in expected:
            folder = base / to / ("" if len(expected) == 1 else os.path.relpath(exp.path, root))
            for stream in exp.streams:
                check(folder, stream, exp.scalars(stream) if to == "tensorboard" else exp.points(stream))


def check_csv(folder: Path, stream: str, points: list[Value]) -> None:
    """The long file."""
    rows = []
    if (folder / f"{stream}.csv").exists():
        with open(folder / f"{stream}.csv", encoding="utf-8", newline="") as file:
            rows = [(row["name"], row["step"], row["value"], row["run"], row["seq"]) for row in csv.DictReader(file)]
    places = in_outputs(points, lambda value: True)
    same_rows(rows, [[value.name, csv_of(step), csv_of(value.value), value.run, str(value.seq)] for value, step in places])


def csv_of(value: Any) -> str:
    if value is None or isinstance(value, (str, bool)):
        return "" if value is None else value if isinstance(value, str) else "true" if value else "false"
    return str(value) if is_number(value) else json.dumps(as_json(value), separators=(",", ":"))


def check_parquet(folder: Path, stream: str, points: list[Value]) -> None:
    """The long rows."""
    import pyarrow.parquet as pq

    rows = []
    for path in sorted((folder / stream).glob("*.parquet")):
        table = pq.read_table(path, columns=["name", "step", "value", "text", "run", "seq"])
        rows += [list(row.values()) for row in table.to_pylist()]
    places = in_outputs(points, lambda value: True)
    same_rows(rows, [[value.name, float(step), *parquet_of(value.value), value.run, value.seq] for value, step in places])


def parquet_of(value: Any) -> tuple[float | None, str | None]:
    if isinstance(value, bool):
        return float(value), None
    if is_number(value):
        number = naive.nearest(value)
        return number, str(value) if number != value == value else None
    return None, None if value is None else json.dumps(as_json(value), separators=(",", ":"), ensure_ascii=False)


def in_outputs(points: list[Value], is_point: Any) -> list[tuple[Value, float]]:
    """Points with their places in their series."""
    chosen = [value for value in points if is_point(value.value)]
    places = {}
    for own in naive.by_name(chosen).values():
        for value, step in zip(own, naive.numbered_in_outputs(own), strict=True):
            places[value.line, value.name] = step
    return [(value, places[value.line, value.name]) for value in chosen]


def check_hdf5(folder: Path, stream: str, points: list[Value]) -> None:
    """A dataset for each metric."""
    expected = by_metric(points)
    found = {}
    if (folder / "metrics.h5").exists():
        for name in mlv.hdf.list_keys(folder, stream):
            rows = mlv.hdf.read_from_key(folder, name, stream)
            found[name] = [[int(row["step"]), float(row["value"])] for row in rows]
    assert alike(found, expected)


def by_metric(points: list[Value]) -> dict[str, list[list[Any]]]:
    """Whole steps and nearest floats of the numbers of each metric."""
    numbers = [value for value in points if isinstance(value.value, (int, float))]
    result: dict[str, list[list[Any]]] = {}
    for name, own in naive.by_name(numbers).items():
        steps = (whole_step(value, place) for place, value in enumerate(own))
        result[name] = [[step, naive.nearest(value.value)] for step, value in zip(steps, own, strict=True)]
    return result


def whole_step(value: Value, place: int) -> int:
    if value.moved is not None:
        return value.moved
    if isinstance(value.step, list) and len(value.step) == 1:
        return math.floor(value.step[0])
    return place if value.position is None else math.floor(value.position)


def check_tensorboard(folder: Path, stream: str, points: list[Value]) -> None:
    """A scalar for each metric."""
    from tensorboard.backend.event_processing import event_accumulator

    folder = folder if stream == "log" else folder / stream
    found = {}
    if list(folder.glob("*tfevents*")):
        guidance = event_accumulator.STORE_EVERYTHING_SIZE_GUIDANCE
        events = event_accumulator.EventAccumulator(str(folder), guidance, purge_orphaned_data=False).Reload()
        for tag in events.Tags()["scalars"]:
            found[tag] = [[point.step, point.value] for point in events.Scalars(tag)]
    import numpy as np

    with np.errstate(over="ignore"):
        expected = {name: [[step, float(np.float32(value))] for step, value in own] for name, own in by_metric(points).items()}
    assert alike(found, expected)


OUTPUTS = {"csv": check_csv, "parquet": check_parquet, "hdf5": check_hdf5, "tensorboard": check_tensorboard}
