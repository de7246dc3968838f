"""What `mlv import` says, and with which status it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import wait_until
from importers import wandb_files as w
from importers.trees import content

import mlv
from mlv.cli import importing
from mlv.importers.importing import bring
from mlv.importers.reading import Options
from mlv.importers.registry import FORMATS


@pytest.fixture
def source(tmp_path):
    return w.write(tmp_path / "wandb" / "run-1-abc", w.framed(w.WHOLE)).parent


def test_a_report(command, source):
    """It says what was brought from where, and ends with 0 where all came over; a second import brings nothing."""
    done = command("import", "wandb", "--into", "runs")

    first, second, last = done.stdout.splitlines()
    assert first.startswith("runs/proj/first (new): brought 16 lines into log.jsonl, ")
    assert second.startswith("  from wandb/run-1-abc/run-abc.wandb (wandb): 1 file, ")
    assert ", 8 metrics, " in second
    assert (last, done.stderr, done.returncode) == ("1 experiment: 1 new", "", 0)
    again = command("import", "wandb", "--into", "runs")
    assert again.stdout.splitlines()[::2] == ["runs/proj/first: brought nothing new", "1 experiment: 1 unchanged"]


def test_only_looked_at(command, source, tmp_path):
    """With --dry-run it says the same, and writes nothing."""
    planned = command("import", "--dry-run", "wandb", "--into", "runs")

    assert not (tmp_path / "runs").exists()
    done = command("import", "wandb", "--into", "runs")
    assert planned.stdout == done.stdout.replace("brought", "would bring").replace(
        "1 new", "1 new (dry run: nothing was written)"
    )


def test_losses(command, tmp_path, source):
    """What did not come over is counted by reason, and the status is 1; files of no format are named."""
    gone = {"_type": "image-file", "path": "media/gone.png"}
    w.write(source / "run-2-b", w.framed([w.run("b"), w.row(0, 0, image=gone), w.exited()]), "run-b.wandb")
    (source / "notes.txt").write_text("mine")

    done = command("import", "wandb", "--into", "runs")

    assert "  did not come over: 1 x files of media that are gone, or lie elsewhere\n" in done.stdout
    assert done.stdout.endswith("2 experiments: 2 new; 1 things did not come over\n")
    assert done.stderr == "mlv: 1 file of no format that mlv knows were passed over: notes.txt\n"
    assert done.returncode == 1


def test_json(command, source):
    """--json gives a line for each experiment."""
    [line] = command("import", "wandb", "--into", "runs", "--json").stdout.splitlines()

    told = json.loads(line)
    assert (told["format"], told["new"], told["lines"]["log.jsonl"], told["events"]["metrics"]) == ("wandb", True, 16, 8)
    assert (told["left"], told["error"]) == ({}, None)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["wandb", "--into", "runs", "--from", "aim"], "--from aim is no format that mlv imports"),
        (["empty", "--into", "runs"], "empty holds nothing that mlv knows"),
        (["empty", "--into", "runs", "--from", "wandb"], "empty holds nothing of format wandb: run-ID.wandb"),
        (["gone", "--into", "runs"], "gone: No such file or directory"),
        (["wandb", "--into", "wandb/runs"], "--into wandb/runs lies in wandb"),
        (["wandb", "--into", "file"], "--into file is no folder for experiments"),
        (["s3://b/r", "--into", "runs"], "SOURCE 's3:/b/r' "),
    ],
)
def test_bad_input(command, tmp_path, source, arguments, text):
    """What cannot be imported is said, with the formats that could be; the status is 2, and nothing is written."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")

    done = command("import", *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr
    if "that mlv" in text:
        assert all(f"\n  {name}: {known.recognised}" in done.stderr for name, known in FORMATS.items())
    assert not (tmp_path / "runs").exists()


def test_the_source_stays(command, source):
    """The source is read, and nothing else: it may lie on a mount that takes no changes."""
    before = content(source), {path: path.stat().st_mtime_ns for path in [source, *source.rglob("*")]}

    command("import", "wandb", "--into", "runs")

    assert before == (content(source), {path: path.stat().st_mtime_ns for path in [source, *source.rglob("*")]})


NO_ROOM = """
    import resource, signal, sys

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
    sys.argv = ["mlv", "import", sys.argv[1], "--into", sys.argv[2]]
    from mlv.cli import main

    main()
"""


def test_no_room(python, source, tmp_path):
    """Where the disk is full, that is said, what came over before stays, and the next import goes on."""
    pytest.importorskip("resource", reason="a limit on the size of files stands for a full disk")
    rows = [w.row(step, 1000 + step, loss=step) for step in range(3000)]
    w.write(source / "run-2-big", w.framed([w.run("big", 1000, project="proj"), *rows, w.exited()]), "run-big.wandb")

    done = python(NO_ROOM, source, tmp_path / "runs")

    assert (done.returncode, done.stdout.splitlines()[0].split(":")[0]) == (2, f"{tmp_path / 'runs/proj/first'} (new)")
    assert "File too large" in done.stderr
    names = [path.name for path in (tmp_path / "runs/proj").iterdir() if not path.name.startswith(".mlv")]
    assert names == ["first"]


def test_followed(tmp_path, source):
    """With --follow what comes is brought, too, until Ctrl-C; then the status is that of all that was read."""
    whole = (source / "run-1-abc/run-abc.wandb").read_bytes()
    (source / "run-1-abc/run-abc.wandb").write_bytes(whole[:900])
    log = tmp_path / "runs/proj/first/log.jsonl"
    words = [sys.executable, "-m", "mlv", "import", "wandb", "--into", "runs", "--follow"]
    told = tmp_path / "told"
    with told.open("wb") as out:
        follower = subprocess.Popen(words, cwd=tmp_path, stdout=out, stderr=out, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        wait_until(lambda: "1 experiment: 1 new" in told.read_text())
        assert b"run_ended" not in log.read_bytes()
        (source / "run-1-abc/run-abc.wandb").write_bytes(whole)
        wait_until(lambda: "1 experiment: 1 grown" in told.read_text() and b"run_ended" in log.read_bytes())
        follower.send_signal(signal.SIGINT)
        status = follower.wait(60)
    finally:
        follower.kill()
        follower.wait()

    assert (status, "Traceback" in told.read_text()) == (0, False)
    assert mlv.Exp.open(log.parent).summary()["loss"].count == 7
    assert not [path for path in Path(log.parents[1]).iterdir() if path.name.startswith(".mlv-")] or os.name != "posix"


@pytest.mark.parametrize("dry_run", [False, True])
def test_grown_while_it_is_imported(tmp_path, monkeypatch, source, dry_run):
    """With --follow, what a source gets while it is being imported comes over too, though nothing follows; not in a dry run."""
    path = source / "run-1-abc/run-abc.wandb"
    whole = path.read_bytes()
    path.write_bytes(whole[:900])
    calls = []

    def grown(*arguments, **options):
        yield from bring(*arguments, **options)
        calls.append(path.write_bytes(whole))
        if len(calls) > 1:
            raise KeyboardInterrupt

    looks = iter(range(20))
    monkeypatch.setattr(importing, "bring", grown)
    monkeypatch.setattr(importing, "sleep", lambda _: next(looks))
    options = Options(follows=True)

    importing.run([source], tmp_path / "runs", format=None, options=options, dry_run=dry_run, as_json=True)

    assert (tmp_path / "runs").exists() != dry_run
    assert dry_run or mlv.Exp.open(tmp_path / "runs/proj/first").summary()["loss"].count == 7
