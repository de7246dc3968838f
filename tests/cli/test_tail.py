"""What `mlv tail` prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest
from conftest import wait_until

import mlv
from mlv.cli.tail import lines_of


def without_time(text: str) -> list[str]:
    """The lines without the moments that they begin with."""
    return [line.split("  ", 1)[1] if line[:2] == "20" else line for line in text.splitlines()]


def test_the_last_events(command, runs):
    """The last events are lines for people; what the writer adds for itself is left out."""
    run = mlv.Exp.open(runs / "digits").runs[0].id

    shown = command("tail", "-n", "4", "runs/digits")

    assert (shown.returncode, shown.stderr) == (0, "")
    assert without_time(shown.stdout) == [
        "checkpointed  mb=3",
        "epoch=1  INFO  saved model.npz  size=3",
        "[val]  step=7  q=1",
        f"run {run} ended  ok",
    ]


def test_metrics(command, runs):
    """Metrics stand under their full names."""
    assert "step=2  train/loss=0.2  train/acc=0.2" in without_time(command("tail", "--type", "metrics", "digits").stdout)


def test_an_exception(command, runs):
    """The end of a failed run is told with its exception and the traceback."""
    lines = without_time(command("tail", "subexp_1").stdout)

    ended = next(number for number, line in enumerate(lines) if "ended" in line)
    assert lines[ended].endswith("ended  failed  ValueError: no layer named [red]fc9[/red]")
    assert lines[ended + 1] == "  Traceback (most recent call last):"


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--stream", "val"], 1),
        (["--type", "metrics"], 4),
        (["--type", "message", "--type", "event"], 2),
        (["--name", "train"], 3),
        (["--name", "**/loss"], 4),
        (["--name", "q"], 1),
        (["--type", "seal", "-n", "1"], 1),
        (["-n", "0"], 0),
    ],
)
def test_choosing(command, runs, options, count):
    """Events are chosen by stream, type and name."""
    assert len(command("tail", *options, "runs/digits").stdout.splitlines()) == count


def test_json(command, runs):
    """With --json the lines are those of the log, byte by byte."""
    shown = command("tail", "--json", "-n", "100", "runs/digits", text=False).stdout

    lines = [
        line for path in (runs / "digits").glob("*.jsonl") for line in path.read_bytes().splitlines() if b'"seal"' not in line
    ]
    assert sorted(shown.splitlines()) == sorted(lines)


def test_control_characters(command, tmp_path):
    """Text in a log cannot command the terminal."""
    exp = mlv.Exp(tmp_path, "exp", capture=())
    exp.log.info("a\x1b[2Jb")
    exp.close()

    assert "a\\x1b[2Jb" in command("tail", "exp").stdout


def test_a_rejected_event(command, tmp_path, recwarn):
    """An event that could not be stored tells the reason."""
    exp = mlv.Exp(tmp_path, "exp", capture=())
    exp.log("bad", {"f": len})
    exp.close()

    assert "rejected event bad: f is of type builtin_function_or_method" in command("tail", "exp").stdout


def test_follow(runs, tmp_path):
    """With -f what comes is printed as it comes, until the run is over."""
    exp = mlv.Exp.open(runs / "digits")
    exp.log({"first": 1})
    exp.flush()
    with subprocess.Popen(
        [sys.executable, "-m", "mlv", "tail", "-f", "-n", "1", "--json", "runs/digits"],
        cwd=tmp_path, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["data"] == {"first": 1}
        exp.log({"second": 2})
        assert json.loads(process.stdout.readline())["data"] == {"second": 2}
        exp.logger("new")({"third": 3})
        assert json.loads(process.stdout.readline())["data"] == {"third": 3}
        exp.close()
        rest, _ = process.communicate(timeout=60)

    assert process.returncode == 0
    assert [json.loads(line)["type"] for line in rest.splitlines()] == ["run_ended"]


def test_follow_what_is_over(command, runs):
    """Following a run that is over prints its last events, and ends."""
    assert len(command("tail", "-f", "-n", "2", "runs/digits").stdout.splitlines()) == 2


def test_follow_what_is_killed(tmp_path):
    """Following ends when the process is killed; the verdict that its writer gives is the last that is printed."""
    script = "import mlv, time; exp = mlv.Exp('.', 'exp', capture=()); exp.log({'a': 1}); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, stderr=subprocess.DEVNULL) as training:
        wait_until(lambda: (tmp_path / "exp" / "log.jsonl").exists())
        with subprocess.Popen(
            [sys.executable, "-m", "mlv", "tail", "-f", "exp"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            training.kill()
            rest, _ = process.communicate(timeout=60)

    assert rest.splitlines()[-1].endswith("ended  killed")


def test_a_log_that_is_large(tmp_path, command):
    """The end of a log of many lines is found without reading all of it."""
    exp = tmp_path / "exp"
    exp.mkdir()
    (exp / "meta.json").write_text('{"format": 1, "params": {}}')
    with open(exp / "log.jsonl", "wb") as file:
        try:
            file.truncate(1 << 40)  # a terabyte that takes no room, and that nobody reads in a minute
        except OSError:
            pytest.skip("the file system has no room for a hole of a terabyte")
        file.seek(0, os.SEEK_END)
        file.write(b'\n{"run":"r1","seq":1,"time":"2026-01-01T00:00:00Z","type":"metrics","data":{"a":1}}\n')

    assert without_time(command("tail", "-n", "1", "exp").stdout) == ["a=1"]


@pytest.mark.parametrize(
    ("type", "data", "text"),
    [
        ("event", [1, 2], "name  [1, 2]"),
        ("event", None, "name  "),
        ("text", {"text": "hello"}, "name  text  text=hello"),
        (
            "image",
            {"file": {"_mlv": "file", "path": "files/a.png", "size": 3}, "width": 2},
            "name  image  files/a.png  width=2",
        ),
        ("image", {"files": [{"_mlv": "file", "path": n} for n in "ab"]}, "name  image  a  and 1 more"),
        ("histogram", {"counts": [1, 2], "edges": [0, 1, 2], "count": 3}, "name  histogram  count=3"),
        ("checkpoint", {"action": "policy", "folder": "models", "top": 1}, "checkpoint  policy of models  top=1"),
        (
            "checkpoint",
            {"action": "saved", "places": ["models/latest/1.npz"], "metrics": {"loss": 0.5}},
            "checkpoint  saved: models/latest/1.npz  loss=0.5",
        ),
        ("checkpoint", {"action": "removed", "places": ["a", "b"], "is_gone": True}, "checkpoint  removed for good: a, b"),
        ("checkpoint", {"of": "the future"}, "name  checkpoint  of=the future"),
        ("of the future", {"a": {"b": 1}}, 'name  of the future  a={"b": 1}'),
        ("metrics", "no mapping", "name  metrics  no mapping"),
        ("run_ended", {}, "run r1 ended  None"),
        ("dropped", {"first": 3, "last": 9, "reason": "no room"}, "dropped events 3 to 9 of run r1: no room"),
        ("seal", {"of": "r2", "lines": "many"}, "name  seal  of=r2  lines=many"),
    ],
)
def test_any_event_has_a_line(type, data, text):
    """Whatever the data of an event, there is a line for it."""
    event = mlv.Event("r1", 1, datetime(2026, 1, 1, tzinfo=timezone.utc), type, "name", data=data)

    assert [line.plain for line in lines_of(event)] == [text]


def test_long_data_are_cut(tmp_path):
    """A table in an event does not flood the terminal: --json gives all of it."""
    event = mlv.Event("r1", 1, datetime(2026, 1, 1, tzinfo=timezone.utc), "event", data={"table": list(range(10_000))})

    [line] = lines_of(event)
    assert len(line.plain) < 500


def test_no_experiment(command, tmp_path):
    """A folder without meta.json is refused."""
    Path(tmp_path / "log.jsonl").write_bytes(b"")

    assert command("tail", ".").returncode == 2
