"""Values of experiments in CSV and JSON lines: each is what it was, whatever others are."""

from __future__ import annotations

import csv
import json
import math

import pytest

import mlv
from mlv.query.digest import Depth
from mlv.query.sql.export import export


@pytest.fixture
def digests(tmp_path, monkeypatch):
    """Experiments of which one is odd."""
    pytest.importorskip("pyarrow")
    monkeypatch.setenv("MLV_INLINE", "1")
    for name, clip, acc in (("a", math.inf, 0.4), ("b", "off", "n/a"), ("c", math.nan, math.nan)):
        with mlv.Exp(tmp_path / "runs", name, {"clip": clip, "list": [clip]}, capture=()) as exp:
            exp.log({"acc": acc}, step=0)
    return mlv.find(tmp_path / "runs").digests(Depth.METRICS)


def test_json_lines(digests, tmp_path):
    """R15: a text of one experiment leaves the numbers of others numbers; what JSON lacks is named beside it."""
    export(digests, "jsonl", tmp_path / "out")

    rows = [json.loads(line) for line in (tmp_path / "out" / "experiments.jsonl").read_text().splitlines()]

    assert [row["metrics.acc"] for row in rows] == [0.4, "n/a", None]
    assert [row["params.clip"] for row in rows] == [None, "off", None]
    assert rows[0]["nonfinite"] == {"/params.clip": "inf", "/params.list/0": "inf"}
    assert rows[2]["nonfinite"] == {"/params.clip": "nan", "/params.list/0": "nan", "/metrics.acc": "nan"}


def test_csv(digests, tmp_path):
    """R15: infinities and NaN beside texts are words."""
    export(digests, "csv", tmp_path / "out")

    with open(tmp_path / "out" / "experiments.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    assert [row["params.clip"] for row in rows] == ["inf", "off", "nan"]
    assert [row["metrics.acc"] for row in rows] == ["0.4", "n/a", "nan"]
    assert rows[0]["params.list"] == '["inf"]'


def test_notes(tmp_path, monkeypatch):
    """R20: notes stand in frames and exports, as in SQL."""
    pytest.importorskip("pyarrow")
    pytest.importorskip("pandas")
    monkeypatch.setenv("MLV_INLINE", "1")
    mlv.Exp(tmp_path / "runs", "a", capture=(), notes="first try").close()
    found = mlv.find(tmp_path / "runs")

    export(found.digests(Depth.METRICS), "csv", tmp_path / "out")

    assert found.frame()["notes"].tolist() == [["first try"]]
    with open(tmp_path / "out" / "experiments.csv", encoding="utf-8", newline="") as file:
        assert next(csv.DictReader(file))["notes"] == '["first try"]'


@pytest.mark.parametrize("is_safe", [False, True])
def test_thousands_of_metrics(tmp_path, monkeypatch, is_safe):
    """H18: each of the 3,000 keys of a line has its columns in CSV, under its own name."""
    pytest.importorskip("pyarrow")
    monkeypatch.setenv("MLV_INLINE", "1")
    with mlv.Exp(tmp_path / "runs", "wide", capture=()) as exp:
        exp.log({f"key{number}": float(number) for number in range(3000)})

    export(mlv.find(tmp_path / "runs").digests(Depth.METRICS), "csv", tmp_path / "out", safe=is_safe)

    with open(tmp_path / "out" / "experiments.csv", encoding="utf-8", newline="") as file:
        [row] = csv.DictReader(file)
    assert [float(row[f"metrics.key{number}"]) for number in range(3000)] == list(range(3000))
