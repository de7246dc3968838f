"""What `mlv ls` prints."""

from __future__ import annotations

import json
import os
import re
from datetime import datetime, timezone
from pathlib import Path

import pytest
from rich.console import Console

import mlv
from mlv import words
from mlv.cli import ls
from mlv.cli.overview import look_at
from mlv.cli.row import Row, tree

NOW = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)


def rows(text: str) -> list[list[str]]:
    """The lines of a table, cut at the gaps between columns."""
    return [re.split(" {2,}", line.strip()) for line in text.splitlines()]


def test_table(command, runs):
    """A row tells name, kind, status, start, duration, metrics and ID; sub-experiments stand below their experiment."""
    shown = command("ls", "runs")

    assert shown.returncode == 0
    heading, first, second = rows(shown.stdout)
    assert heading == ["name", "kind", "status", f"started ({words.zone()})", "duration", "metrics", "id"]
    assert first[:2] == ["digits", "ok"]
    assert first[4:] == ["train/loss=0.2000", "train/acc=0.2", "q=1", mlv.Exp.open(runs / "digits").short_id]
    assert second[:3] == ["└─ subexp_1", "squeeze", "failed"]


def test_nothing_is_cut_where_there_is_no_terminal(command, tmp_path):
    """In a pipe names and metrics stand in full, on one line, without colours and without blanks at its end."""
    name = "a_name_that_is_rather_long" * 5
    exp = mlv.Exp(tmp_path / "runs", name, capture=())
    exp.log({f"a/metric/with/a/long/name/{letter}": 0.5 for letter in "abcd"})
    exp.close()

    lines = command("ls", "runs", env={**os.environ, "COLUMNS": "40"}).stdout.splitlines()

    assert len(lines) == 2
    assert lines[1].startswith(name)
    assert all(f"a/metric/with/a/long/name/{letter}=0.5" in lines[1] for letter in "abcd")
    assert "\x1b" not in lines[1]
    assert all(line == line.rstrip() for line in lines)


def test_json(command, runs):
    """Every experiment is one JSON object on a line of its own, NaN being null."""
    exp = mlv.Exp.open(runs / "digits")
    exp.log({"nan": float("nan")})
    exp.close()

    first, second = map(json.loads, command("ls", "runs", "--json").stdout.splitlines())

    assert first["name"] == "digits"
    assert (first["id"], first["status"], first["tags"], first["error"]) == (exp.id, "ok", ["paper"], None)
    assert first["metrics"] == {"nan": None, "train/loss": 0.2, "train/acc": 0.2, "q": 1}
    assert first["started"].endswith("Z")
    assert (second["kind"], second["parent"], second["path"]) == ("squeeze", exp.id, "runs/digits/squeeze/subexp_1")


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_chosen_list_has_the_same_rows(command, runs, monkeypatch, options):
    """A row is the same with `--where` as without: also what only the middle of a long log holds is in both or in neither."""
    pytest.importorskip("duckdb")
    monkeypatch.setenv("MLV_INLINE", "1")
    with mlv.Exp(runs, "long", capture=()) as exp:
        for step in range(200):
            exp.log({"loss": 0.25}, step=step)
            if step == 100:
                exp.add_tags("mid-run")
                exp.log.describe("loss", format=".1%")
    top = runs / "long"

    plain, chosen = command("ls", top, *options), command("ls", top, *options, "--where", "true")

    assert (plain.returncode, plain.stdout) == (0, chosen.stdout)
    assert ("mid-run" in plain.stdout) == bool(options)


def test_the_current_folder(command, runs):
    """Without a folder the current one is listed."""
    assert "runs/digits" in command("ls").stdout


def test_none(command, tmp_path):
    """Where there are no experiments it is an error, whatever is asked for."""
    for options in ([], ["--json"], ["--sort", "name"], ["--where", "true"]):
        shown = command("ls", *options)

        assert (shown.returncode, shown.stdout) == (2, "")
        assert shown.stderr.startswith("mlv: no experiments at or below ")
        assert shown.stderr.endswith(": give the folder that was the savedir\n")


def test_nowhere(command, tmp_path):
    """A root that is no folder is an error."""
    (tmp_path / "file").write_text("")

    assert "'missing' does not exist" in command("ls", "missing").stderr
    assert "'file' is a file" in command("ls", "file").stderr
    assert command("ls", "missing").returncode == 2


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 99, "params": {}}', "\udcff"])
def test_a_broken_one_among_others(command, runs, content):
    """An experiment that cannot be read is shown with its error, and hides no other one."""
    broken = runs / "broken"
    broken.mkdir()
    (broken / "meta.json").write_bytes(content.encode("utf-8", "surrogateescape"))

    shown = command("ls", "runs")

    assert shown.returncode == 0
    assert "digits" in shown.stdout
    assert [cells[1] for cells in rows(shown.stdout) if cells[0] == "broken"] == ["broken"]
    assert "\nbroken: " in shown.stdout


def test_an_edited_one(command, runs):
    """An experiment whose meta.json was edited is marked."""
    path = runs / "digits" / "meta.json"
    path.chmod(0o644)
    path.write_text(path.read_text().replace("0.1", "0.2"))

    assert "digits: meta.json was edited: its ID is" in command("ls", "runs").stdout


def test_a_redacted_one(command, tmp_path):
    """A meta.json that was redacted is not called edited, also where runs before and after recorded different IDs."""
    mlv.Exp(tmp_path, "leaky", {"note": "hunter2x"}, capture=()).close()
    redacted = command("redact", "leaky", "--pattern", r"hunter2\w+", "--reason", "leaked")
    mlv.Exp.open(tmp_path / "leaky", capture=()).close()

    shown = [command("ls", ".").stdout, command("show", "leaky").stdout]

    assert "its ID changes" in redacted.stdout
    assert [text for text in shown if "edited" in text] == []


def test_a_running_one(command, tmp_path):
    """An experiment that is being written is running, and its duration goes on."""
    exp = mlv.Exp(tmp_path, "exp", capture=())
    exp.flush()

    shown = json.loads(command("ls", "--json").stdout)
    exp.close()

    assert shown["status"] == "running"
    assert shown["duration_s"] > 0


def test_listing_changes_nothing(command, runs):
    """Listing only reads."""
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}

    command("ls", "runs")

    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before


def row(path: str, **fields: object) -> Row:
    usual = {"id": "0123456789abcdef", "status": "interrupted", "started": "2026-11-20T12:00:00Z", "metric_texts": []}
    described = {**dict.fromkeys(Row._fields), **usual, **fields}
    return Row(**{**described, "path": path, "name": Path(path).name})  # type: ignore[arg-type]


def printed(experiments: list[Row], width: int) -> list[str]:
    console = Console(width=width, highlight=False, color_system=None)
    with console.capture() as captured:
        console.print(ls.table(tree(experiments, "runs"), width))
    return captured.get().splitlines()


METRICS = [[name, "0.1235"] for name in ("train/loss", "train/accuracy", "val/loss", "val/accuracy")]


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_it_fits(width):
    """Whatever the width, no line is longer, and every ID can be read."""
    lines = printed([row("runs/a_rather_long_name_of_an_experiment", kind="squeeze", metric_texts=METRICS)], width)

    assert all(len(line) <= width for line in lines)
    assert lines[0].split()[0] == "name"
    assert lines[1].rstrip().endswith("01234567")
    assert "interrupted" in lines[1]


@pytest.mark.parametrize("width", [20, 30, 40, 50, 60, 70, 80])
def test_numbers_are_whole(width):
    """R16: however narrow a terminal is, each number and ID stands in one piece on one line."""
    numbers = {"a/metric/with/a/long/name": 0.123456, "n": 1234567.0, "val/n_correct": 46.0}
    metrics = [[name, words.number(value)] for name, value in numbers.items()]
    lines = printed([row("runs/a_rather_long_name", kind="squeeze", metric_texts=metrics)], width)

    for whole in ("0.1235", "1234567", "46", "01234567"):
        assert any(re.search(rf"(?<!\d){re.escape(whole)}(?!\d)", line) for line in lines)
    assert all(len(line) <= width for line in lines)


def test_a_tree_of_folders():
    """Experiments within others are drawn as a tree; the folder of the kind is left out, others are not."""
    paths = ["a", "a/squeeze/one", "a/squeeze/one/tune/deep", "a/other/two", "group/b"]
    experiments = [row(f"runs/{path}", kind=path.split("/")[-2] if "/" in path else None) for path in paths]
    experiments[3] = row("runs/a/other/two", kind="squeeze")

    drawn = [branch.guide + branch.label for branch in tree(experiments, "runs")]

    assert drawn == ["a", "├─ one", "│  └─ deep", "└─ other/two", "group/b"]


def test_a_tree_without_unicode():
    """Where the terminal knows no lines, the tree is drawn with letters."""
    experiments = [row("runs/a"), row("runs/a/k/b"), row("runs/a/k/c")]

    drawn = [branch.guide + branch.label for branch in tree(experiments, "runs", unicode=False)]

    assert drawn == ["a", "|- k/b", "`- k/c"]


def test_names_cannot_command_the_terminal():
    """Control characters in a name are shown, not obeyed, and brackets are no markup."""
    lines = printed([row("runs/[red]a\x1b[31m", kind="x\x07")], 120)

    assert "[red]a\\x1b[31m" in lines[1]
    assert "x\\x07" in lines[1]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""), (0.0042, "4 ms"), (3.21, "3.2 s"), (59.9, "59.9 s"), (63, "1 min 03 s"), (3599.9, "1 h 00 min"),
        (18420, "5 h 07 min"), (100 * 3600, "4 d 04 h"),
    ],
)  # fmt: skip
def test_durations(seconds, text):
    """A duration is told in units that suit it."""
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "format", "text"),
    [
        (0.123456, None, "0.1235"), (0.123456, ".2f", "0.12"), (0.5, ".1%", "50.0%"), (12345.678, None, "12345.7"),
        (7, None, "7"), (True, None, "true"), (None, None, "null"), (float("nan"), None, "nan"), (float("-inf"), None, "-inf"),
        (0.5, "no format", "0.5"), ("text", ".3f", "text"), (123456789, None, "123456789"), (3, ".2f", "3.00"),
    ],
)  # fmt: skip
def test_numbers(value, format, text):
    """A value is told by the format that describes it, else in a few digits."""
    assert words.number(value, format) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (123_456, "123 kB"), (25e9, "25.0 GB"), (3e13, "30000 GB")],
)
def test_sizes(count, text):
    """A size is told in units that suit it."""
    assert words.size(int(count)) == text


def test_moments():
    """A moment is told as briefly as it is plain."""
    assert words.moment(NOW, NOW).startswith("Nov 2")
    assert words.moment(NOW.replace(year=2024), NOW) == "2024-11-21"
    assert words.moment(None, NOW) == ""


def test_described_metrics_come_first(runs):
    """Where there is room for a few metrics, those that were described are shown first."""
    exp = mlv.Exp.open(runs / "digits")
    exp.log({"zzz": 1})
    exp.close()

    assert list(look_at(runs / "digits", NOW).first_metrics(2)) == ["train/loss", "zzz"]


@pytest.mark.parametrize("options", [(), ("--where", "params.lr > 0"), ("--sort", "name"), ("--json",), ("--columns", "name")])
def test_from_a_folder_below(command, runs, options):
    """R2: a root with `..` lists the same as the path without, whatever is asked."""
    (runs.parent / "elsewhere").mkdir()
    (runs.parent / "elsewhere" / "link").symlink_to(runs / "digits")
    plain = command("ls", runs, *options)

    for folder, root in ((runs / "digits", ".."), (runs, "digits/.."), (runs.parent, "elsewhere/link/..")):
        done = command("ls", root, *options, cwd=folder)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.replace(str(root), str(runs)) == plain.stdout


def test_up_from_an_experiment(command, runs):
    """R2: `..` of an experiment means the folder that holds it, not the experiment."""
    done = command("show", "..", cwd=runs / "digits")

    assert "'..' is no experiment, but holds some" in done.stderr


def test_patterns_of_columns(command, tmp_path, monkeypatch):
    """R20: columns may be named by a pattern, and `varying` stands for the params that differ."""
    monkeypatch.setenv("MLV_INLINE", "1")
    for name, lr in (("a", 0.1), ("b", 0.2)):
        mlv.Exp(tmp_path / "runs", name, {"lr": lr, "depth": 3}, capture=()).close()

    heads = {text: command("ls", "runs", "--columns", text).stdout.split("\n")[0].split() for text in
             ("name,params.*", "name,varying", "name,params.d*,name")}  # fmt: skip

    assert heads["name,params.*"] == ["name", "params.lr", "params.depth"]
    assert heads["name,varying"] == ["name", "params.lr"]
    assert heads["name,params.d*,name"] == ["name", "params.depth"]
    assert "no experiment has a column like 'x*'" in command("ls", "runs", "--columns", "x*").stderr


def test_newest(command, tmp_path, monkeypatch):
    """The newest are those whose latest run began last, the newest first."""
    monkeypatch.setenv("MLV_INLINE", "1")
    for name in "cab":
        with mlv.Exp(tmp_path / "runs", name, capture=()) as exp:
            exp.log({"loss": 1.0})

    lines = command("ls", "runs", "--newest", "2").stdout.splitlines()[1:]

    assert [line.split()[0] for line in lines] == ["b", "a"]


def test_watching(tmp_path, runs):
    """`--watch` lists again until Ctrl-C, which is no error."""
    import signal
    import subprocess
    import sys

    words = [sys.executable, "-m", "mlv", "ls", str(runs), "--watch", "0.5"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as watching:
        first = [watching.stdout.readline() for _ in range(3)]
        again = [watching.stdout.readline() for _ in range(3)]
        watching.send_signal(signal.SIGINT)
        _, errors = watching.communicate(timeout=60)

    assert first == again
    assert (watching.returncode, errors) == (0, "")


def test_what_would_be_empty(command, runs):
    """R20: where no param differs it is said, and no experiment at all is no number of the newest."""
    pytest.importorskip("duckdb")

    same = command("ls", "runs/digits/squeeze", "--columns", "varying")
    none = command("ls", "runs", "--newest", "0")

    assert (same.returncode, same.stdout.strip(), same.stderr) == (0, "", "mlv: no param differs among 1 experiment\n")
    assert none.returncode == 2
    assert "Traceback" not in none.stderr
