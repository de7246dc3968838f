"""`mlv lake`: what it prints, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("deltalake")
pytest.importorskip("obstore")
pytest.importorskip("pyarrow")

import mlv


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Two experiments, in `runs` below the current folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        with mlv.Exp("runs", name, {"lr": 0.1}, capture=()) as exp:
            for step in range(5):
                exp.log({"loss": 1 / (step + 1)}, step=step)
    return tmp_path / "runs"


def test_build_and_look(command, tree):
    """A build says what it took, a second one that nothing is new, and `info` what there is."""
    first = command("lake", "build", "runs", "lake").stdout
    second = command("lake", "build", "runs", "lake").stdout
    shown = command("lake", "info", "lake").stdout

    assert first.startswith("2 experiments: 10 metrics, ")
    assert first.endswith(" (plan 1)\n")
    assert second == "nothing new (plan 1)\n"
    assert [line.split()[:3] for line in shown.splitlines() if line.startswith("metrics")] == [["metrics", "10", "1"]]
    assert json.loads(command("lake", "info", "lake", "--json").stdout)["tables"]["summaries"]["rows"] == 2
    assert "where not exists" in command("lake", "info", "lake", "--sql").stdout
    assert json.loads(command("lake", "rebuild", "runs", "lake", "--json").stdout)["rows"]["metrics"] == 10


def test_a_source_without_experiments(command, tree):
    """A build says so: the path may be a wrong one, or the first experiment be still to come."""
    (tree.parent / "typo").mkdir()

    done = command("lake", "build", "typo", "lake")

    assert (done.returncode, done.stdout) == (0, "there is no experiment at or below typo yet\n")


def test_check_tells_differences(command, tree):
    """A check ends with 0 where the lake is what the logs said when it was built, and with 1 where it is not."""
    command("lake", "build", "runs", "lake")
    with mlv.Exp.open("runs/a") as exp:
        exp.log({"loss": 0.0}, step=9)

    well = command("lake", "check", "lake")
    path = Path("runs/b/log.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"loss":0.5', b'"loss":0.7'))
    ill = command("lake", "check", "lake", "runs", "--all")

    assert (well.returncode, well.stdout.splitlines()[-1].split(":")[0]) == (0, "as the logs say")
    assert (ill.returncode, ill.stdout.splitlines()[-1].split(":")[0]) == (1, "1 difference")
    assert "its 5 rows in metrics are not what the logs say" in ill.stdout
    assert command("lake", "build", "runs", "lake", "--all").stdout.count("1 were replaced") == 1
    assert command("lake", "check", "lake", "--json").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "nothing"], "there is no lake at nothing"),
        (["build", "nowhere", "lake"], "src 'nowhere' is no folder"),
        (["build", "runs", "ftp://x"], "the scheme of"),
        (["build", "runs", "lake", "--on", "cluster"], "on='cluster' names no executor"),
        (["check", "runs"], "there is no lake at"),
    ],
)
def test_errors_say_what_to_do(command, tree, arguments, message):
    """What cannot be done is told in one line, with status 2."""
    failed = command("lake", *arguments)

    assert failed.returncode == 2
    assert failed.stderr.startswith(f"mlv: {message}")
    assert failed.stderr.count("\n") == 1


def test_ls_from_a_lake(command, tree):
    """`mlv ls` prints the same table and the same JSON from a lake, says how old that is, and reads the logs when asked to."""
    with mlv.Exp.open("runs/b") as exp:
        exp.log.describe("loss", format=".1%")
        exp.add_tags("paper")
    command("lake", "build", "runs", "lake")
    options = [
        ["--json"],
        [],
        ["--where", "params.lr < 1 and 'paper' in tags"],
        ["--columns", "name,metrics.*", "--sort", "-name"],
    ]
    of_logs = [command("ls", "runs", *words) for words in options]
    of_lake = [command("ls", "runs", "--lake", "lake", *words) for words in options]

    assert [done.stdout for done in of_lake] == [done.stdout for done in of_logs]
    assert [done.returncode for done in of_lake] == [0, 0, 0, 0]
    assert all("from the lake file://" in done.stderr and "--fresh reads the logs" in done.stderr for done in of_lake)
    mlv.Exp("runs", "c", capture=()).close()
    query = ["sql", "runs", "select exp_name, max(value) as top from metrics group by all order by all", "--csv"]
    assert command(*query, "--lake", "lake").stdout == command(*query).stdout == "exp_name,top\na,1.0\nb,1.0\n"
    assert "c " not in command("ls", "runs", "--lake", "lake").stdout
    assert "c " in command("ls", "runs", "--fresh", env={"MLV_LAKE": "lake"}).stdout


def test_changes_are_made_by_what_the_logs_say(command, tree):
    """A predicate that chooses what is removed, tagged or pulled holds of the logs, however old the lake of the settings is."""
    command("lake", "build", "runs", "lake")
    mlv.Exp.open("runs/a").add_tags("keep")
    old = {"MLV_LAKE": "lake"}
    push = command("push", "runs", f"file://{tree.parent}/bucket")
    assert push.returncode == 0

    removed = command("rm", "--where", "not list_contains(tags, 'keep')", "--root", "runs", env=old)
    pulled = command("pull", f"file://{tree.parent}/bucket", "back", "--where", "list_contains(tags, 'keep')", env=old)

    assert [each.name for each in mlv.find("runs")] == ["a"]
    assert ([each.name for each in mlv.find("back")], "lake" in removed.stderr + pulled.stderr) == (["a"], False)


def test_a_run_that_went_on(command, tree):
    """The duration of a run that went on when the lake was built does not grow: nobody knows whether it still goes on."""
    with mlv.Exp("runs", "c", {"lr": 0.1}, capture=()) as exp:
        exp.log({"loss": 1.0})
        exp.flush()
        command("lake", "build", "runs", "lake")
    options = ["ls", "runs", "--lake", "lake", "--json"]
    first, again = ([json.loads(line) for line in command(*options).stdout.splitlines()] for _ in range(2))

    assert [(row["name"], row["status"]) for row in first] == [("a", "ok"), ("b", "ok"), ("c", "running")]
    assert first == again


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lake", "nothing"], "there is no lake at nothing"),
        (["--lake", "nothing", "--fresh"], "lake= and fresh=True together"),
        (["--lake", "nothing", "--watch", "1"], "--watch is about logs"),
    ],
)
def test_a_list_that_no_lake_gives(command, tree, arguments, message):
    """A lake that cannot be read is an error in one line."""
    failed = command("ls", "runs", *arguments)

    assert (failed.returncode, failed.stderr.count("\n")) == (2, 1)
    assert failed.stderr.startswith(f"mlv: {message}")
