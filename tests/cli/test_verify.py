"""What `mlv verify` prints, and how it exits."""

from __future__ import annotations

import json
import shutil

import pytest

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


class TestMany:
    """Several experiments, on executors too."""

    def test_a_folder_stands_for_all_below(self, command, runs):
        """Each experiment has its line and its findings, in the order of the paths; the last line counts them."""
        (runs / "digits" / "val.log.jsonl").unlink()

        shown = command("verify", "runs")

        lines = shown.stdout.splitlines()
        assert shown.returncode == 1
        assert [line.split("  ")[:2] for line in lines if "  runs/digits" in line] == [
            ["missing", "runs/digits"],
            ["intact", "runs/digits/squeeze/subexp_1"],
        ]
        assert lines[-1] == "2 experiments: 1 intact, 1 missing"

    def test_all_intact(self, command, runs):
        """The status is 0 if all are intact."""
        assert command("verify", "runs").returncode == 0
        assert command("verify", "runs/digits", "subexp_1", "--root", "runs").returncode == 0

    @pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
    @pytest.mark.parametrize("kind", ["processes", "dask"])
    def test_executors(self, command, runs, kind, as_json, request):
        """What is printed of damaged and intact experiments is the same on each executor."""
        on = "processes:2"
        if kind == "dask":
            on = request.getfixturevalue("cluster").scheduler_address.replace("tcp://", "dask://")
        for number in range(5):
            shutil.copytree(runs / "digits", runs / f"copy_{number}")
        with open(runs / "copy_1" / "log.jsonl", "ab") as file:
            file.write(b'{"torn')
        (runs / "copy_2" / "meta.json").write_bytes(b"{}")
        (runs / "copy_3" / "val.log.jsonl").unlink()
        options = ["--json"] if as_json else []

        here, there = (command("verify", "runs", *options, *more) for more in ([], ["--on", on]))

        assert (here.returncode, there.returncode) == (1, 1)
        assert there.stdout == here.stdout
        assert "runs/copy_1" in here.stdout

    def test_one(self, command, runs):
        """One experiment looks the same on an executor."""
        assert command("verify", "runs/digits", "--on", "processes:1").stdout == command("verify", "runs/digits").stdout

    def test_unreadable(self, command, runs):
        """A log that cannot be read costs its own experiment only."""
        (runs / "digits" / "val.log.jsonl").unlink()
        (runs / "digits" / "val.log.jsonl").symlink_to("val.log.jsonl")

        shown = command("verify", "runs")

        assert shown.returncode == 1
        assert "not read  runs/digits: " in shown.stdout
        assert "intact  runs/digits/squeeze/subexp_1" in shown.stdout

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            (["runs", "--on", "ray://head"], "on='ray://head' has the unknown scheme 'ray': give a number of processes"),
            (["runs", "--on", "4"], "on='4' is text; for processes it is 'processes:4'"),
            (["runs", "--expect", "0" * 64], "--expect is the digest of one experiment, and there are 2: name one"),
            (["empty"], "no experiments at or below 'empty': give the folder that was the savedir"),
        ],
        ids=["scheme", "text", "expect", "empty"],
    )
    def test_refused(self, command, runs, arguments, text):
        """What cannot be is refused before anything is read."""
        (runs.parent / "empty").mkdir()
        shown = command("verify", *arguments)

        assert shown.returncode == 2
        assert text in shown.stderr
        assert shown.stdout == ""
