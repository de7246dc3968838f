"""What `mlv show` prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mlv


def sections(text: str) -> dict[str, str]:
    """The page by its headings; lines below a heading belong to it."""
    found: dict[str, str] = {}
    heading = ""
    for line in text.splitlines()[1:]:
        heading = line.split()[0] if not line.startswith(" ") else heading
        found[heading] = found.get(heading, "") + line.removeprefix(heading).strip() + "\n"
    return found


def test_page(command, runs):
    """The page tells what an experiment is, how it went, and what is below it."""
    exp = mlv.Exp.open(runs / "digits")

    shown = command("show", "runs/digits")

    assert shown.returncode == 0
    assert shown.stdout.splitlines()[0] == "digits  ok"
    page = sections(shown.stdout)
    assert page["path"] == "runs/digits\n"
    assert page["id"] == exp.id + "\n"
    assert page["params_id"] == exp.params_id + "\n"
    assert (page["tags"], page["notes"]) == ("paper\n", "first try\n")
    assert page["params"].split() == ["lr", "0.1", "model.layers", "[64,", "10]"]
    assert page["runs"].split()[:2] == [exp.runs[-1].id, "ok"]
    assert page["streams"].split()[0] == "log.jsonl"
    assert page["metrics"].splitlines()[0].split() == ["train/loss", "0.2000", "nat", "step", "2"]
    assert "squeeze/subexp_1" in page["below"]


def test_checkpoints_and_files(command, tmp_path):
    """The page tells which checkpoints are kept, which of them is the best, and which files there are."""
    with mlv.Exp(tmp_path / "runs", "kept", capture=()) as exp:
        exp.log.describe("loss", format=".2f")
        portfolio = exp.checkpoints(top=1, metric="loss", mode="min")
        for step, loss in enumerate([0.5, 0.25, 0.75]):
            portfolio.save(lambda path: path.write_text(path.name), step=step, metrics={"loss": loss}, suffix=".txt")
        with exp.file("notes.txt", "w") as file:
            file.write("fine")

    page = sections(command("show", "runs/kept").stdout)
    told = json.loads(command("show", "--json", "runs/kept").stdout)

    assert [line.split() for line in page["checkpoints"].splitlines()] == [
        ["models/top_k/000002-step1.txt", "best", "step", "1", "loss=0.25"],
        ["models/latest/000003-step2.txt", "step", "2", "loss=0.75"],
    ]
    assert page["files"] == "files/notes.txt  4 B\n"
    assert [(kept["step"], kept["is_best"], kept["is_latest"]) for kept in told["checkpoints"]["models"]] == [
        (1, True, False), (2, False, True),
    ]  # fmt: skip
    assert told["files"] == {"notes.txt": {"path": "files/notes.txt", "size": 4}}


def test_a_failed_run(command, runs):
    """A run that failed shows its exception with the traceback; text of the user is no markup."""
    shown = command("show", "subexp_1", "--root", "runs").stdout

    assert shown.startswith("subexp_1  failed\n")
    assert "ValueError: no layer named [red]fc9[/red]" in shown
    assert "Traceback (most recent call last):" in shown


def test_a_sub_experiment(command, runs):
    """A sub-experiment names its parent and the checkpoint."""
    parent = sections(command("show", "runs/digits/squeeze/subexp_1").stdout)["parent"]

    assert parent == f"../..  {mlv.Exp.open(runs / 'digits').short_id}\ncheckpoint ../../model.npz  7 B\n"


def test_captures(command, tmp_path, python):
    """Script, machine and git of the creating process are told in a few words."""
    assert python("import mlv; mlv.Exp('runs', 'exp').close()").returncode == 0

    page = sections(command("show", "runs/exp").stdout)

    assert "script_" in page["script"]
    assert "Python 3." in page["script"]
    assert "core" in page["machine"]
    assert page["git"]


@pytest.mark.parametrize(
    "captures",
    [
        {"git": 3, "machine": [], "script": "x"},
        {"machine": {"error": "no /proc", "cores": 4}, "git": {"commit": 7}},
        {"parent": {}, "notes": ["a", "b"]},
        {"parent": 3, "tags": 3, "created": 3},
    ],
)
def test_unexpected_captures(command, tmp_path, captures):
    """What another version recorded in another form does not keep the page from being shown."""
    (tmp_path / "meta.json").write_text(json.dumps({"format": 1, "name": "exp", "params": {}, **captures}))

    shown = command("show", ".")

    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith(f"{tmp_path.name}  lost\n")


def test_json(command, runs):
    """All of it is one JSON object."""
    exp = mlv.Exp.open(runs / "digits")

    shown = json.loads(command("show", "runs/digits", "--json").stdout)

    assert (shown["id"], shown["params_id"], shown["status"]) == (exp.id, exp.params_id, "ok")
    assert shown["params"] == {"lr": 0.1, "model": {"layers": [64, 10]}}
    assert [run["id"] for run in shown["runs"]] == [exp.runs[0].id]
    log = runs / "digits" / "log.jsonl"
    assert shown["streams"]["log"] == {
        "file": "log.jsonl", "lines": len(log.read_bytes().splitlines()), "bytes": log.stat().st_size
    }  # fmt: skip
    assert shown["metrics"]["train/loss"]["value"] == 0.2
    assert [sub["path"] for sub in shown["sub_exps"]] == ["runs/digits/squeeze/subexp_1"]


def test_params_that_json_does_not_know(command, tmp_path):
    """Large integers, bytes and NaN among params are printed, and do not break the JSON."""
    mlv.Exp(tmp_path, "exp", {"big": 2**100, "raw": b"\x00\x01", "nan": float("nan")}, capture=()).close()

    assert str(2**100) in command("show", "exp").stdout
    assert json.loads(command("show", "exp", "--json").stdout)["params"] == {"big": 2**100, "raw": "AAE=", "nan": None}


def test_params_that_refer_to_a_file(command, tmp_path):
    """A reference among the params is shown by its path, as in events."""
    data = tmp_path / "data.csv"
    data.write_text("1,2")
    mlv.Exp(tmp_path, "exp", {"data": mlv.FileRef(data), "deep": {"data": mlv.FileRef(data)}}, capture=()).close()

    page = sections(command("show", "exp").stdout)

    assert page["params"].split() == ["data", str(data), "deep.data", str(data)]


def test_what_was_added(command, runs):
    """Tags, notes and params that were added later belong to the page."""
    exp = mlv.Exp.open(runs / "digits")
    exp.add_tags("later")
    exp.add_note("a second note")
    exp.add_params({"seed": 7})
    exp.close()

    page = sections(command("show", "runs/digits").stdout)

    assert page["tags"] == "paper, later\n"
    assert page["notes"] == "first try\na second note\n"
    assert "seed" in page["params"]
    assert len(page["runs"].splitlines()) == 2


def test_without_meta(command, tmp_path):
    """A folder without meta.json is refused with a reason."""
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "log.jsonl").write_bytes(b"")

    failed = command("show", "exp")

    assert failed.returncode == 2
    assert "exp holds no experiment: meta.json cannot be read" in failed.stderr


def test_showing_changes_nothing(command, runs):
    """Showing only reads."""
    before = {path: path.stat().st_mtime_ns for path in Path(runs).rglob("*")}

    command("show", "runs/digits")

    assert {path: path.stat().st_mtime_ns for path in Path(runs).rglob("*")} == before
