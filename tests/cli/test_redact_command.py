"""What `mlv redact` says, and what it never says."""

from __future__ import annotations

import json

import mlv


def test_what_it_did(command, runs):
    """It tells what went; the second time nothing matches."""
    done = command("redact", "runs/digits", "--pattern", "first try|checkpointed", "--reason", "said too much")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "runs/digits: redacted 1 line of log.jsonl, values in meta.json, so its ID changes\n"
    assert command("redact", "runs/digits", "-p", "first try").stdout == "nothing at or below runs/digits matches\n"
    verified = command("verify", "runs/digits")
    assert verified.returncode == 0
    assert "redacted 1 events, meta.json at" in verified.stdout
    assert "said too much" in verified.stdout


def test_only_looked(command, runs):
    """With --dry-run nothing changes, and what leaked is not printed."""
    before = {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()}

    done = command("redact", "--dry-run", "runs/digits", "-p", r"named .red.fc9")

    assert done.stdout == "runs/digits/squeeze/subexp_1: would redact 1 line of log.jsonl\n"
    assert {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()} == before


def test_json(command, runs):
    """Each experiment is a JSON object on a line."""
    said = command("redact", "--json", "runs/digits", "-p", r"named .red.fc9").stdout
    done = [json.loads(line) for line in said.splitlines()]

    assert [(one["path"], one["lines"], one["meta"]) for one in done] == [
        ("runs/digits", {}, False), ("runs/digits/squeeze/subexp_1", {"log.jsonl": 1}, False)
    ]  # fmt: skip


def test_forgotten(command, runs):
    """With --forget the verdict is unproven."""
    command("redact", "runs/digits", "-p", "checkpointed", "--forget")

    verified = command("verify", "runs/digits")
    assert verified.returncode == 1
    assert verified.stdout.startswith("unproven")


def test_a_run_that_goes_on(command, tmp_path):
    """While a run goes on it is refused in one line, with status 2."""
    with mlv.Exp(tmp_path / "runs", "exp", capture=()) as exp:
        exp.log({"loss": 1})
        exp.flush()

        done = command("redact", "runs/exp", "-p", "loss")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("mlv: process ")
    assert "redact the experiment when its run has ended" in done.stderr
    assert done.stderr.count("\n") == 1
