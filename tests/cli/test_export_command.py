"""What `mlv export`, `mlv summary` and `mlv plot` leave and print."""

from __future__ import annotations

import csv
import json
import math
import shutil
from datetime import datetime
from pathlib import Path

import pytest

import mlv
from mlv.projections.registry import FORMS

pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def several(tmp_path, monkeypatch) -> Path:
    """Two seeds, of which the second diverged."""
    monkeypatch.setenv("MLV_INLINE", "1")
    for seed, losses in enumerate(([1.0, 0.5], [2.0, math.nan])):
        with mlv.Exp(tmp_path / "runs", f"s{seed}", {"seed": seed, "model": {"size": 3}}, capture=()) as exp:
            exp.log.describe("loss", mode="min", format=".2f")
            for step, loss in enumerate(losses):
                exp.log.at(epoch=step)({"loss": loss}, step=step)
            exp.log("checkpointed", {"mb": 3})
            with exp.file("notes.txt", "w") as file:
                file.write("x")
    return tmp_path / "runs"


def test_parquet_of_a_tree(command, several, tmp_path):
    """A tree becomes tables, and its metrics a dataset partitioned by experiment."""
    done = command("dump", "runs", "--to", "parquet", "--out", "out")

    assert (done.returncode, done.stdout) == (0, "")
    ids = [mlv.Exp.open(several / f"s{seed}").id for seed in range(2)]
    metrics = pq.read_table(tmp_path / "out" / "metrics").to_pylist()
    assert sorted((row["exp"], row["step"], row["name"]) for row in metrics) == sorted(
        (one, step, "loss") for one in ids for step in (0.0, 1.0)
    )
    assert pq.read_table(tmp_path / "out" / "experiments.parquet").column("params").to_pylist() == [
        {"seed": 0, "model": {"size": 3}}, {"seed": 1, "model": {"size": 3}},
    ]  # fmt: skip
    assert "metrics" not in pq.read_table(tmp_path / "out" / "events.parquet").column("type").to_pylist()


def test_csv(command, several, tmp_path):
    """As CSV there is a file for each view."""
    assert command("dump", "runs", "--to", "csv", "--out", "out").returncode == 0

    with open(tmp_path / "out" / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["exp_name"], row["step"], row["value"], row["at"]) for row in rows] == [
        ("s0", "0", "1", '{"epoch":0}'), ("s0", "1", "0.5", '{"epoch":1}'),
        ("s1", "0", "2", '{"epoch":0}'), ("s1", "1", "nan", '{"epoch":1}'),
    ]  # fmt: skip
    with open(tmp_path / "out" / "experiments.csv", newline="") as file:
        experiments = list(csv.DictReader(file))
    assert [(row["params.model.size"], row["metrics.loss.min"]) for row in experiments] == [("3", "0.5"), ("3", "2")]
    created = mlv.Exp.open(several / "s0").meta["created"]
    assert datetime.fromisoformat(experiments[0]["created"].replace("Z", "+00:00")) == datetime.fromisoformat(
        created.replace("Z", "+00:00")
    )


def test_json_lines_of_one(command, several, tmp_path):
    """As JSON lines nested values stay what they are, and NaN is named beside its null."""
    assert command("dump", "runs/s1", "--to", "jsonl", "--out", "out").returncode == 0

    def rows(name: str) -> list[dict[str, object]]:
        return [json.loads(line) for line in (tmp_path / "out" / name).read_text().splitlines()]

    assert [(row["step"], row.get("value"), row.get("nonfinite"), row["at"]) for row in rows("metrics.jsonl")] == [
        (0, 2.0, None, {"epoch": 0}), (1, None, "nan", {"epoch": 1}),
    ]  # fmt: skip
    assert rows("experiments.jsonl")[0]["created"] == mlv.Exp.open(several / "s1").meta["created"]
    assert all(row["time"].endswith("Z") for row in rows("events.jsonl"))
    assert [row["data"] for row in rows("events.jsonl") if row["type"] == "event"] == [{"mb": 3}]
    assert [row["path"] for row in rows("files.jsonl")] == ["files/notes.txt"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dump", "runs", "--to", "xls", "--out", "out"], "--to 'xls': give csv, parquet or jsonl"),
        (
            ["export", "runs", "--to", "jsonl"],
            f"there is no such output; give {', '.join(FORMS)}; `mlv dump` writes tables as JSON lines",
        ),
        (["dump", "runs", "--to", "csv", "--out", "runs"], "is there already: give a folder that is new"),
        (["dump", "nothing", "--to", "csv", "--out", "out"], "there is no experiment 'nothing'"),
        (["plot", "runs", "--metric", "los"], "nobody logged a metric 'los'; did you mean 'loss'?"),
        (["plot", "runs", "--metric", "loss", "--x", "epochs"], "none of these metrics has such a coordinate"),
        (["plot", "runs", "--metric", "loss", "--by", "sead"], "by='sead': no experiment has such a param"),
        (["plot", "runs", "--metric", "loss", "--out", "x.gif"], "give a file that ends in .png"),
        (["plot", "empty", "--metric", "loss"], "no experiments at or below 'empty'"),
        (["summary", "nothing"], "there is no experiment 'nothing'"),
    ],
)
def test_errors(command, several, tmp_path, arguments, said):
    """What cannot be done is said in one line, the status is 2, and nothing is left."""
    (tmp_path / "empty").mkdir()

    failed = command(*arguments)

    assert (failed.returncode, failed.stdout) == (2, "")
    assert said in failed.stderr
    assert failed.stderr.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "empty"}


def test_summary(command, several):
    """Each metric is told in a few numbers, by its format."""
    shown = command("summary", "runs/s1")

    assert [line.split() for line in shown.stdout.splitlines()] == [
        ["metric", "last", "min", "max", "mean", "best", "count", "nans"],
        ["loss", "nan", "2.00", "2.00", "2.00", "2.00", "2", "1"],
    ]  # fmt: skip
    assert json.loads(command("summary", "runs/s1", "--json").stdout)["loss"]["min"] == 2.0


@pytest.mark.parametrize("broken", [b"{XXX", b'{"run":3'], ids=["not whole", "no JSON"])
def test_summary_of_a_damaged_log(command, several, tmp_path, broken):
    """A damaged line of metrics is passed over, and told with its byte range."""
    path = tmp_path / "runs" / "s1" / "log.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    number = next(number for number, line in enumerate(lines) if b'"metrics"' in line)
    lines[number] = broken + lines[number][len(broken) :]
    path.write_bytes(b"".join(lines))
    start = sum(map(len, lines[:number]))

    shown = command("summary", "runs/s1")

    assert shown.returncode == 0
    assert f"passed over runs/s1/log.jsonl, bytes {start} to {start + len(lines[number])}" in shown.stderr


@pytest.mark.parametrize(("name", "begin"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.html", b"<!doctype html>")])
def test_plot_into_a_file(command, several, tmp_path, name, begin):
    """A plot is drawn into the kind of file that its name tells."""
    pytest.importorskip("matplotlib")

    assert command("plot", "runs/s0", "s1", "--metric", "loss", "--out", name).returncode == 0
    assert (tmp_path / name).read_bytes().startswith(begin)


def test_lines_without_colours(command, several):
    """Where there are no colours, letters tell the lines, below the axes where they hide nothing."""
    pytest.importorskip("plotext")

    shown = command("plot", "runs", "--metric", "loss", "--by", "seed", "--over", "model").stdout

    assert shown.splitlines()[-2:] == ["a seed=0", "b seed=1 (1, 1 diverged)"]
    axes = shown.partition("┐")[2].partition("└")[0]
    assert {"a", "b"} <= set(axes)


def test_plot_in_the_terminal(command, several):
    """A plot in the terminal has a title, axes, and a legend that counts the seeds."""
    pytest.importorskip("plotext")

    shown = command("plot", "runs", "--metric", "loss")

    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.split()[0] == "loss"
    assert "(2, 1 diverged)" in shown.stdout
    assert shown.stdout.splitlines()[-2].split() == ["step"]
    assert all(len(line) <= 100 for line in shown.stdout.splitlines())


@pytest.mark.parametrize(
    "options",
    [["--grid", "5"], ["--grid", "interpolate", "--smooth", "0.5"], ["--log", "xy", "--xlim", "1:"], ["--x", "time"],
     ["--x", "elapsed", "--ylim", "0:1"], ["--center", "mean", "--band", "ci"], ["--reruns", "all"]],
)  # fmt: skip
@pytest.mark.parametrize("out", [[], ["--out", "x.svg"]])
def test_plot_options(command, several, options, out):
    """Whatever a plot is asked for is drawn, in the terminal as in a file."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("plotext")

    done = command("plot", "runs", "--metric", "*", *options, *out)

    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--grid", "five"], "grid='five': give 'exact', 'interpolate', or a number of bins"),
        (["--grid", "1000000000"], "grid=1000000000: give 'exact', 'interpolate', or a number of bins up to 100000"),
        (["--smooth", "1"], "smooth=1.0: give a number from 0 to below 1"),
        (["--log", "z"], "log='z': give 'x', 'y' or 'xy'"),
        (["--xlim", "3"], "--xlim '3': give two numbers"),
        (["--ylim", "a:b"], "--ylim 'a:b': give two numbers"),
        (["--band", "wide"], "band='wide': give one of p10-p90"),
        (["--reruns", "first"], "reruns='first': give one of latest, all, error"),
    ],
)
def test_plot_options_that_cannot_be(command, several, options, said):
    """An option that cannot be is refused, with what can be."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("plotext")

    done = command("plot", "runs", "--metric", "loss", *options)

    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


FORMULAS = ["=1+cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(1)", "\t=1", "\uff1d1+1"]


@pytest.fixture
def formulas(tmp_path, monkeypatch) -> Path:
    """An experiment whose names and texts a spreadsheet takes for formulas."""
    monkeypatch.setenv("MLV_INLINE", "1")
    with mlv.Exp(tmp_path / "runs", "f", {"text": FORMULAS[0], **{name.strip(): 1 for name in FORMULAS}}, capture=()) as exp:
        exp.log({**dict.fromkeys(FORMULAS, -0.5), "text": FORMULAS[2]}, step=-1)
        exp.log(FORMULAS[3], {"text": FORMULAS[0]})
    return tmp_path / "runs"


@pytest.mark.parametrize(
    "arguments",
    [
        ["dump", "runs", "--to", "csv", "--out", "out"], ["export", "runs", "--to", "csv"],
        ["sql", "runs", "select * from metrics", "--csv"],
        ["sql", "runs", 'select params, name as "=1" from experiments', "--csv"],
    ],
)  # fmt: skip
def test_formulas(command, formulas, tmp_path, arguments):
    """H26: with --safe no cell of CSV, headers included, begins as a formula does, and numbers are what they were."""
    done = command(*arguments, "--safe")
    tables = [done.stdout] if arguments[0] == "sql" else [path.read_text() for path in tmp_path.rglob("*.csv")]

    assert (done.returncode, bool(tables)) == (0, True)
    cells = [cell for table in tables for row in csv.reader(table.splitlines()) for cell in row]
    for cell in cells:
        assert cell[:1] not in {*"=+-@\t\uff1d"} or float(cell) < 0, cell
    assert "'=" in "".join(cells)


def test_formulas_as_they_are(command, formulas):
    """H26: without it texts are what they are; elsewhere than in CSV it is refused."""
    assert "-1+1" in command("sql", "runs", "select text from metrics where text is not null", "--csv").stdout
    assert command("dump", "runs", "--to", "parquet", "--out", "o", "--safe").returncode == 2
    assert command("export", "runs", "--to", "hdf5", "--safe").returncode == 2
    assert command("sql", "runs", "select 1", "--safe").returncode == 2


_CSV = [
    ["dump", "runs", "--to", "csv", "--out", "out"], ["export", "runs", "--to", "csv"],
    ["sql", "runs", "select * from runs", "--csv"],
]  # fmt: skip


@pytest.mark.parametrize("arguments", _CSV)
@pytest.mark.parametrize("safe", [[], ["--safe"]])
def test_csv_for_excel(command, formulas, tmp_path, arguments, safe):
    """R20: with --bom every CSV that a command writes begins with the mark of UTF-8, and says the same otherwise."""
    arguments = [*arguments, *safe]

    def tables() -> dict[str, bytes]:
        printed = command(*arguments, text=False).stdout
        return {"printed": printed} if printed else {str(path): path.read_bytes() for path in tmp_path.rglob("*.csv")}

    plain = tables()
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    arguments += ["--bom"]
    marked = tables()

    assert {name: b"\xef\xbb\xbf" + table for name, table in plain.items()} == marked != {}


def test_a_csv_in_another_form_is_built_again(command, formulas):
    """R20: a CSV output that was begun without the mark, or with formulas, is not gone on with as if it had none."""
    table = formulas / "f" / "csv" / "log.csv"
    seen = []
    for options in ([], ["--bom"], ["--bom", "--safe"], ["--safe"], []):
        assert command("export", "runs/f", "--to", "csv", *options).returncode == 0
        seen.append((table.read_bytes()[:5], "'=" in table.read_text()))

    assert seen == [
        (b"name,", False), (b"\xef\xbb\xbfna", False), (b'\xef\xbb\xbf"n', True), (b'"name', True), (b"name,", False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [["dump", "runs", "--to", "jsonl", "--out", "o"], ["export", "runs", "--to", "hdf5"], ["sql", "runs", "select 1"]],
)
def test_the_mark_is_for_csv(command, formulas, arguments):
    """R20: elsewhere than in CSV, --bom is refused in words."""
    done = command(*arguments, "--bom")

    assert (done.returncode, "--bom is about CSV in Excel" in done.stderr) == (2, True)


@pytest.mark.parametrize("out", ["x.png", "x.html"])
def test_names_that_look_like_mathematics(command, tmp_path, monkeypatch, out):
    """H25: dollar signs in names of metrics, coordinates, params and kinds are dollar signs in a plot."""
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("MLV_INLINE", "1")
    for number in range(2):
        with mlv.Exp(tmp_path / "runs", None, {r"$\frac{$": rf"$\frac{number}{{$"}, capture=(), kind="$^{$") as exp:
            exp.log.at(**{r"$\frac{$": 1})({r"$\frac{$": 1.0}, step=1)

    done = command("plot", "runs", "-m", r"$\frac{$", "--x", r"$\frac{$", "--out", out)

    assert (done.returncode, (tmp_path / out).stat().st_size > 1000) == (0, True)
