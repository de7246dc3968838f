"""`schemas/values.md` says what the code does: every row of its tables is logged, looked up on the disk, and read back."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from values_page import NAMES, PAGE, rows

import mlv

FILE = re.compile(r'\{"_mlv":"file","path":"files/media/x/[^"]*?(\.\w+)",[^}]*\}')


@pytest.fixture(autouse=True)
def one_hour_ahead_of_utc(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The page's rows hold there."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Etc/GMT-1")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Any], object]], tuple[str, mlv.Event]]:
    """The line that a call of the logger leaves, and the event that is read back."""
    monkeypatch.setenv("MLV_INLINE", "1")

    def logged(call: Callable[[Any], object]) -> tuple[str, mlv.Event]:
        with mlv.Exp(tmp_path, "exp", capture=()) as exp:
            call(exp.log)
            *_, event = exp.events()  # what is rejected of metrics follows those that are not
            return (exp.path / "log.jsonl").read_text().splitlines()[-1], event

    return logged


def beside_data(spans: list[str]) -> str:
    """What follows the data on the line: the second code span of a cell, if there is one."""
    return f',"nonfinite":{spans[1]}}}' if len(spans) == 2 else "}"


@pytest.mark.parametrize("row", rows("Values"))
def test_values(row, stored):
    """A value stands on the disk, and comes back, as the page says."""
    [expression], on_disk, [read_back] = row

    line, event = stored(lambda log: log("x", {"v": eval(expression, NAMES)}))

    assert line.endswith(f'"data":{{"v":{on_disk[0]}}}' + beside_data(on_disk))
    assert repr(event.data["v"]) == read_back


@pytest.mark.parametrize("row", rows("Keys"))
def test_keys(row, stored):
    """A key becomes the text that the page says, and comes back as text."""
    [expression], [on_disk], [read_back] = row

    line, event = stored(lambda log: log("x", {eval(expression, NAMES): 0}))

    assert line.endswith(f'"data":{{{on_disk}:0}}}}')
    assert repr(next(iter(event.data))) == read_back


@pytest.mark.parametrize("row", rows("Metrics"))
def test_metrics(row, stored):
    """Metrics are flat on the disk."""
    [expression], on_disk, [read_back] = row

    line, event = stored(lambda log: log(eval(expression, NAMES)))

    assert event.type == "metrics"
    assert line.endswith(f'"data":{on_disk[0]}' + beside_data(on_disk))
    assert repr(event.data) == read_back


@pytest.mark.parametrize("row", rows("Steps"))
def test_steps(row, stored):
    """A step is a number on the disk."""
    [expression], [on_disk], [read_back] = row

    line, event = stored(lambda log: log({"loss": 0.5}, step=eval(expression, NAMES)))

    assert f'"step":{on_disk},"data"' in line
    assert repr(event.step) == read_back


@pytest.mark.parametrize("row", rows("Media"))
def test_media(row, stored):
    """A call of a logger leaves an event of the type and with the data that the page says."""
    [call], [type_], [on_disk] = row
    if ".png" in on_disk or ".gif" in on_disk:
        pytest.importorskip("PIL")

    line, event = stored(lambda log: eval(call, {**NAMES, "log": log}))

    assert event.type == type_
    assert FILE.sub(r"FILE\1", line).endswith(f'"data":{on_disk}}}')


@pytest.mark.filterwarnings("ignore::mlv.errors.RejectedWarning")
@pytest.mark.parametrize("row", rows("What cannot be stored"))
def test_rejected(row, stored):
    """What cannot be stored leaves a reason and the rest."""
    [call], [reason], rest = row

    line, event = stored(lambda log: eval(call, {**NAMES, "log": log}))

    assert event.type == "rejected"
    assert event.data["reason"] == reason
    assert line.endswith(f'"rest":{rest[0]}}}}}' if rest else f'"reason":{json.dumps(reason)}}}}}')


@pytest.mark.parametrize("digits", [4000, 5000])
def test_long_integers(digits, stored):
    """Integers keep all their digits; where Python would refuse to print them they are written in hexadecimal."""
    number = -(10**digits)

    line, event = stored(lambda log: log("x", {"v": number}))

    assert json.loads(line)["data"]["v"]["value"] == (str(number) if digits < 4200 else hex(number))
    assert event.data["v"] == number


def test_every_row_is_read():
    """No table is passed over because its form has changed."""
    headings = ("Values", "Keys", "Metrics", "Steps", "Media", "What cannot be stored")
    assert sum(len(rows(heading)) for heading in headings) == len(re.findall(r"^\| `", PAGE, re.MULTILINE))
