"""What `mlv verify` prints, and how it exits."""

from __future__ import annotations

import json

import mlv


def test_intact(command, runs):
    """An intact experiment is one line, and the status is 0."""
    shown = command("verify", "runs/digits")

    assert shown.returncode == 0
    assert shown.stdout.startswith(f"intact  runs/digits  {mlv.Exp.open(runs / 'digits').short_id}  ")
    assert shown.stdout.count("\n") == 1
    assert " lines of 1 run in 2 streams" in shown.stdout


def test_a_fault(command, runs):
    """Every finding is a line after its verdict, and the status is 1."""
    (runs / "digits" / "val.log.jsonl").unlink()

    shown = command("verify", "runs/digits")

    first, *others = shown.stdout.splitlines()
    assert shown.returncode == 1
    assert first.startswith("missing  runs/digits")
    assert others
    assert others[0].startswith("missing  no stream holds event")


def test_a_note_is_no_fault(command, runs):
    """A checkpoint that was deleted is noted, and the status is 0."""
    (runs / "digits" / "model.npz").unlink()

    shown = command("verify", "subexp_1", "--root", "runs")

    assert shown.returncode == 0
    assert shown.stdout.splitlines()[1].startswith("note  the checkpoint that it began from")


def test_json(command, runs):
    """The report as JSON has the same status."""
    path = runs / "digits" / "log.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"acc":0.1', b'"acc":0.9'))

    shown = command("verify", "--json", "runs/digits")
    report = json.loads(shown.stdout)

    assert (shown.returncode, report["verdict"], report["path"]) == (1, "edited", "runs/digits")
    assert report["findings"][0]["file"] == "log.jsonl"


def test_meta_that_is_lost(command, runs):
    """Without meta.json the log is judged all the same."""
    (runs / "digits" / "meta.json").unlink()

    assert command("verify", "runs/digits").stdout.startswith("missing  runs/digits  no ID")


def test_an_expected_digest(command, runs):
    """B17: what `close()` told is found again, and missed where the log was cut off since; what is no digest is an error."""
    digest = json.loads(command("verify", "runs/digits", "--json").stdout)["digest"]
    assert command("verify", "runs/digits", "--expect", digest).returncode == 0
    assert command("verify", "runs/digits", "--expect", "123").returncode == 2

    log = runs / "digits" / "log.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))
    done = command("verify", "runs/digits", "--expect", digest)

    assert done.returncode == 1
    assert digest in done.stdout
