"""What `mlv sql` and `mlv ls --where --sort --columns` print."""

from __future__ import annotations

import json
import os
import shutil
from importlib.util import find_spec

import pytest

import mlv
from mlv.cli.chosen import in_order

needs_sql = pytest.mark.skipif(not all(map(find_spec, ("duckdb", "pyarrow"))), reason="needs the extra sql")


@pytest.fixture
def several(tmp_path, monkeypatch):
    """Experiments `a`, `b` and `c` with falling rates and rising accuracy; `c` diverged."""
    monkeypatch.setenv("MLV_INLINE", "1")
    for name, lr, acc in (("a", 0.3, 0.5), ("b", 0.2, 0.7), ("c", 0.1, float("nan"))):
        with mlv.Exp(tmp_path / "runs", name, {"lr": lr}, capture=()) as exp:
            exp.log({"acc": acc}, step=1)
    return tmp_path / "runs"


@needs_sql
def test_a_table(command, several):
    """A query's answer is a table."""
    shown = command("sql", "runs", "select name, params.lr, metrics.acc.max from experiments order by name")

    assert (shown.returncode, shown.stderr) == (0, "")
    assert [line.split() for line in shown.stdout.splitlines()] == [
        ["name", "lr", "max"], ["a", "0.3", "0.5"], ["b", "0.2", "0.7"], ["c", "0.1"],
    ]  # fmt: skip


@needs_sql
def test_json_and_csv(command, several):
    """An answer is also JSON, an object per row, or CSV."""
    query = "select name, created, params from experiments where name = 'a'"

    row = json.loads(command("sql", "runs", query, "--json").stdout)
    assert (row["name"], row["params"]) == ("a", {"lr": 0.3})
    assert row["created"].endswith("Z")
    assert command("sql", "runs", "select name, params.lr from experiments where name < 'c'", "--csv").stdout == (
        "name,lr\na,0.3\nb,0.2\n"
    )


@needs_sql
def test_a_plan(command, several):
    """What `explain` draws is printed as it is drawn."""
    shown = command("sql", "runs", "explain select name from experiments")

    assert (shown.returncode, shown.stderr) == (0, "")
    assert len(shown.stdout.splitlines()) > 3
    assert "\\n" not in shown.stdout


@needs_sql
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sql", "runs", "select nam from experiments"], "did you mean"),
        (["sql", "runs", "selec"], "syntax error"),
        (["sql", "runs", "select 1", "--json", "--csv"], "--json and --csv together"),
        (["sql", "nowhere", "select 1"], "'nowhere' does not exist"),
        (["sql", ".tmp-empty", "select * from experiments"], "no experiments at or below"),
        (["ls", "runs", "--where", "params.l < 1"], "did you mean params.lr?"),
        (["ls", "runs", "--sort", "params.l"], "no experiment has a column 'params.l': did you mean params.lr"),
        (["ls", "runs", "--columns", "name,acc"], "no experiment has a column 'acc': did you mean metrics.acc"),
    ],
)
def test_errors(command, several, arguments, said):
    """What cannot be answered is said in one line, and the status is 2."""
    (several.parent / ".tmp-empty").mkdir()

    failed = command(*arguments)

    assert (failed.returncode, failed.stdout) == (2, "")
    assert said in failed.stderr
    assert failed.stderr.count("\n") == 1


@needs_sql
def test_where(command, several):
    """A predicate chooses what is listed; where it holds of none, that is said."""
    assert [line.split()[0] for line in command("ls", "runs", "--where", "metrics.acc.max > 0.4").stdout.splitlines()] == [
        "name", "a", "b",
    ]  # fmt: skip
    none = command("ls", "runs", "--where", "params.lr > 9")
    assert (none.returncode, none.stdout) == (0, "")
    assert "params.lr > 9" in none.stderr


@pytest.mark.parametrize(
    ("sort", "order"),
    [("params.lr", "cba"), ("-params.lr", "abc"), ("metrics.acc.max", "abc"), ("-metrics.acc.max", "bac"), ("-name", "cba")],
)
def test_sorting(command, several, sort, order):
    """Rows are sorted by any column, either way; what has no value comes last."""
    shown = command("ls", "runs", "--sort", sort, "--json")

    assert "".join(json.loads(line)["name"] for line in shown.stdout.splitlines()) == order


def test_texts_among_numbers():
    """R14, R15: numbers come before texts and NaN last, whichever way rows are sorted."""
    rows = [{"acc": value} for value in (0.5, "n/a", float("nan"), None, 0.7)]

    assert [str(row["acc"]) for row in in_order(rows, "-acc")] == ["0.7", "0.5", "n/a", "nan", "None"]
    assert [str(row["acc"]) for row in in_order(rows, "acc")] == ["0.5", "0.7", "n/a", "nan", "None"]


def test_columns(command, several):
    """Columns are those that were asked for."""
    shown = command("ls", "runs", "--columns", "name, params.lr,metrics.acc.max", "--sort=-params.lr")

    assert [line.split() for line in shown.stdout.splitlines()] == [
        ["name", "params.lr", "metrics.acc.max"], ["a", "0.3", "0.5"], ["b", "0.2", "0.7"], ["c", "0.1"],
    ]  # fmt: skip
    assert json.loads(command("ls", "runs", "--columns", "params.lr", "--json").stdout.splitlines()[0]) == {"params.lr": 0.3}


@needs_sql
@pytest.mark.parametrize("query", ["select * from '{}'", "select * from read_text('{}')", "from '{}'"])
def test_files_are_not_even_looked_for(command, several, tmp_path, query):
    """H23: an answer does not tell whether a file is there."""
    (tmp_path / "there.csv").write_text("a,b\n1,2\n")
    there, gone = (command("sql", "runs", query.format(tmp_path / name)) for name in ("there.csv", "gone.csv"))

    assert there.returncode == gone.returncode == 2
    assert there.stderr.replace("there.csv", "gone.csv") == gone.stderr


@needs_sql
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "JST-9", "IST-5:30", "UTC"])
def test_one_time_zone(python, several, zone):
    """R8: what is shown is what SQL compares and writes, in the viewer's zone, which is named; exports are in UTC."""
    script = """
        import sys
        from mlv.cli.app import app
        for words in eval(sys.argv[1]):
            app(words, standalone_mode=False)
    """

    def printed(*commands):
        # Not in this process: DuckDB asks for the zone once. What stands below the heading of each command has one line.
        lines = python(script, list(commands), env={**os.environ, "TZ": zone}).stdout.splitlines()
        assert len(lines) == 2 * len(commands)
        return lines[1::2]

    a = "from experiments where name = 'a'"
    shown, formatted, selected, exported = printed(
        ["ls", "runs", "--columns", "name,created", "--where", "name = 'a'"],
        ["sql", "runs", f"select strftime(created, '%Y-%m-%d %H:%M:%S') as t {a}"],
        ["sql", "runs", f"select created {a}"],
        ["sql", "runs", f"select created {a}", "--csv"],
    )
    day, clock, named = shown.split()[1:]

    assert named == zone.partition("-")[0].replace("Asia/Tokyo", "JST")
    assert formatted == f"{day} {clock}"
    assert selected == f"{day} {clock} {named}"
    assert printed(["ls", "runs", "--where", f"name = 'a' and created::date = '{day}' and created >= '{day} {clock}'"])
    assert exported.endswith("+00:00")
    assert exported.replace(" ", "T").replace("+00:00", "Z") == json.loads((several / "a" / "meta.json").read_text())["created"]


@needs_sql
def test_whole_numbers_are_whole(command, tmp_path, monkeypatch):
    """R7: steps and counts are printed with all their digits."""
    monkeypatch.setenv("MLV_INLINE", "1")
    with mlv.Exp(tmp_path / "runs", "a", capture=()) as exp:
        for step in (1234567, 1234568, 9999999):
            exp.log({"tokens": 123456789 + step}, step=step)

    shown = command("sql", "runs", "select step, value from metrics order by 1").stdout.splitlines()[1:]
    last = command("sql", "runs", "select metrics.tokens.last from experiments").stdout.splitlines()[1:]

    assert [line.split() for line in shown] == [
        ["1234567", "124691356"], ["1234568", "124691357"], ["9999999", "133456788"],
    ]  # fmt: skip
    assert last == ["133456788"]


@needs_sql
def test_warnings_of_commands(command, several):
    """A warning is a line of the command, not of its code."""
    shutil.copytree(several / "a", several / "copy")

    shown = command("ls", "runs", "--columns", "name")

    assert shown.stderr.startswith("mlv: ")
    assert ".py" not in shown.stderr
    assert "Warning" not in shown.stderr
