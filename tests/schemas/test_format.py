"""The reader printed in `schemas/format.md` gives what mlv's own reader gives."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import mlv

PAGE = (Path(__file__).parents[2] / "schemas" / "format.md").read_text()
NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def reader() -> Any:
    """The functions of the page."""
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    found: dict[str, Any] = {}
    exec(code, found)
    return SimpleNamespace(**found)


@pytest.fixture
def exp(tmp_path: Path) -> mlv.Exp:
    """An experiment of two runs, in two streams, with every number that JSON lacks."""
    with mlv.Exp(tmp_path, "exp", {"lr": 0.1}, capture=()) as exp:
        exp.log({"loss": 0.5, "a~1/b": -INF}, step=1)
        exp.log.sub("train").at(epoch=1)({"loss": NAN, "acc": 1}, step=2)
        exp.log("found", {"best": [1, {"x/y": INF}, [NAN]], "none": None})
        exp.log("alone", NAN)
        exp.logger("val")({"loss": 0.25})
    with mlv.Exp.open(exp.path) as again:
        again.logger("val")({"loss": 0.125})
    return exp


def test_reader_is_short():
    """A whole reader is a matter of some thirty lines, and needs nothing but JSON and SHA-256."""
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

    assert len([line for line in code.splitlines() if line.strip()]) < 40
    assert re.findall(r"^(?:import|from) .*", code, re.MULTILINE) == ["import hashlib", "import json"]


def test_identity(exp, reader):
    """It computes the experiment's ID."""
    assert reader.experiment_id(exp.path) == exp.id


def test_events(exp, reader):
    """It finds every stream, and every event in it, with the numbers that JSON lacks."""
    found = [event for path in reader.streams(exp.path) for _, event in reader.events(path)]

    def key(event: Any) -> Any:
        return event[0], event[1]

    read = [(event["run"], event["seq"], event["type"], event.get("name", ""), repr(reader.data_of(event))) for event in found]
    own = [(event.run, event.seq, event.type, event.name, repr(event.data)) for event in exp.events()]
    assert sorted(read, key=key) == sorted(own, key=key)


def test_metrics(exp, reader):
    """It gives metrics their full names."""
    found = [
        reader.metrics(event)
        for path in reader.streams(exp.path)
        for _, event in reader.events(path)
        if event["type"] == "metrics"
    ]

    assert repr(found) == repr(
        [{"loss": 0.5, "a~1/b": -INF}, {"train/loss": NAN, "train/acc": 1}, {"loss": 0.25}, {"loss": 0.125}]
    )


def test_seals_hold(exp, reader):
    """It finds every run sealed in every stream that it wrote."""
    seals = [(seal, holds) for path in reader.streams(exp.path) for seal, holds in reader.seals(path)]

    assert all(holds for _, holds in seals)
    assert {(run.id, stream) for run in exp.runs for stream in ("log", "val")} == {
        (seal["of"], seal["stream"]) for seal, _ in seals if seal["of"] in {run.id for run in exp.runs}
    }


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: [lines[0], lines[1].replace(b"0.5", b"0.4"), *lines[2:]],
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
        lambda lines: [*lines[:2], lines[1], *lines[2:]],
    ],
    ids=["edited", "removed", "moved", "doubled"],
)
def test_seals_break(exp, reader, damage):
    """It sees that a line was edited, removed, moved or doubled; the seal of the run after stays whole."""
    path = exp.path / "log.jsonl"
    path.write_bytes(b"".join(damage(path.read_bytes().splitlines(keepends=True))))
    first, second = (run.id for run in exp.runs)

    seals = [(seal["of"], holds) for seal, holds in reader.seals(path)]

    assert (first, False) in seals
    assert (second, True) in seals


def test_half_lines(exp, reader):
    """It passes over the half line that a crash leaves."""
    path = exp.path / "log.jsonl"
    whole = list(reader.events(path))
    with path.open("ab") as file:
        file.write(b'{"run":"r')

    assert list(reader.events(path)) == whole


def test_merged_copies(exp, reader):
    """The runs of two copies may be interleaved in any way: seals hold as long as each run stays in order."""
    path = exp.path / "log.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    by_run: dict[str, list[bytes]] = {}
    for line, event in reader.events(path):
        by_run.setdefault(event["run"], []).append(line)
    sealing = [line for line in lines if b'"type":"seal"' in line]
    rest = [line for mine in reversed(by_run.values()) for line in mine if line not in sealing]
    path.write_bytes(b"".join(rest + sealing))

    assert all(holds for _, holds in reader.seals(path))
