"""The line that logged a point of a chart, over every axis that a chart may have."""

from __future__ import annotations

import json
import math

import pytest

import mlv

pytest.importorskip("pyarrow", reason="the page needs mlvlogger[ui]")


@pytest.fixture
def wavy(client, runs):
    """The ID of an experiment with a coordinate, another metric, NaN, and a metric without steps; values come back."""
    with mlv.Exp(runs, "wavy", capture=()) as exp:
        for step in range(40):
            loss = {7: math.nan, 9: math.inf}.get(step, float(step % 5))
            exp.log.at(epoch=step // 10)({"loss": loss, "seen": 100 * step}, step=step)
            exp.log({"bare": step / 2})
    client.get("api/index")
    return exp.id


@pytest.mark.parametrize(
    ("x", "begin", "end", "step"),
    [
        ("step", 12, 15, 13),
        ("at.epoch", 2, 2, 23),
        ("metrics.seen", 1200, 1500, 13),
        ("time", None, None, 3),
        ("elapsed", 0, 3600, 3),
    ],
)
def test_line_by_axis(client, wavy, x, begin, end, step):
    """Of the points between two positions, over whatever axis, the one whose value is nearest is the line."""
    ends = {name: end for name, end in (("from", begin), ("to", end)) if end is not None}

    answer = client.get(f"api/exp/{wavy}/line", params={"m": "loss", "x": x, "y": 2.9, **ends}).json()

    assert (answer["event"]["step"], json.loads(answer["line"])["data"]["loss"]) == (step, 3.0)


@pytest.mark.parametrize(("y", "step"), [("NaN", 7), ("Infinity", 9)])
def test_line_of_what_is_no_number(client, wavy, y, step):
    """A mark of NaN or of an infinity leads to its line, and to no other."""
    answer = client.get(f"api/exp/{wavy}/line", params={"m": "loss", "from": 5, "to": 30, "y": y}).json()
    none = client.get(f"api/exp/{wavy}/line", params={"m": "loss", "from": 20, "to": 30, "y": y})

    assert answer["event"]["step"] == step
    assert (none.status_code, none.json()["error"]) == (400, "no value of loss lies there")


def test_line_of_a_metric_without_steps(client, wavy):
    """Points that are numbered, since none of them has a step, have their line by that number."""
    answer = client.get(f"api/exp/{wavy}/line", params={"m": "bare", "from": 20, "to": 24, "y": 11}).json()

    assert answer["event"]["data"] == {"bare": 11.0}


def test_line_of_the_machine(client, runs, wavy):
    """A point of a metric of the machine has its line too, over the time only."""
    line = '{"run":"rw","seq":%d,"time":"2026-11-30T06:00:%02d.000000Z","type":"system","data":{"of":"r1","cpu_percent":%d}}\n'
    text = "".join(line % (number + 1, number, 10 * number) for number in range(4))
    (runs / "wavy" / "system.log.jsonl").write_text(text)
    query = {"m": "system:cpu_percent", "y": 21}

    answer = client.get(f"api/exp/{wavy}/line", params={**query, "x": "time"}).json()

    assert answer["event"]["data"]["cpu_percent"] == 20
    assert client.get(f"api/exp/{wavy}/line", params=query).status_code == 400


def test_wrong_value_is_said(client, wavy):
    """A value that is no number is answered with a sentence."""
    answer = client.get(f"api/exp/{wavy}/line", params={"m": "loss", "y": "high"})

    assert (answer.status_code, answer.json()["error"]) == (400, "y='high' is no number")
