"""The reader printed in `schemas/format.md` gives what mlv's own reader gives."""

from __future__ import annotations

import re
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import mlv
from mlv.audit.merge import merge
from mlv.audit.redact import redact
from mlv.store import claims
from mlv.store.owners import Owner

PAGE = (Path(__file__).parents[2] / "schemas" / "format.md").read_text()
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def reader() -> Any:
    """The functions of the page."""
    found: dict[str, Any] = {}
    for code in CODE:
        exec(code, found)
    return SimpleNamespace(**found)


@pytest.fixture
def exp(tmp_path: Path) -> mlv.Exp:
    """An experiment of two runs, in two streams, with every number that JSON lacks."""
    with mlv.Exp(tmp_path, "exp", {"lr": 0.1}, capture=()) as exp:
        exp.log({"loss": 0.5, "a~1/b": -INF}, step=1)
        exp.log.sub("train").at(epoch=1)({"loss": NAN, "acc": 1}, step=2)
        exp.log("found", {"best": [1, {"x/y": INF}, [NAN]], "none": None})
        exp.log("alone", NAN)
        exp.logger("val")({"loss": 0.25})
    with mlv.Exp.open(exp.path) as again:
        again.logger("val")({"loss": 0.125})
    return exp


def test_reader_is_short():
    """A whole reader is a matter of some thirty lines, and needs nothing but JSON and SHA-256."""
    reader, of_checkpoints = CODE

    assert len([line for line in reader.splitlines() if line.strip()]) < 40
    assert re.findall(r"^(?:import|from) .*", reader, re.MULTILINE) == ["import hashlib", "import json"]
    assert re.findall(r"^(?:import|from) .*", of_checkpoints, re.MULTILINE) == ["from heapq import merge"]


def test_identity(exp, reader):
    """It computes the experiment's ID."""
    assert reader.experiment_id(exp.path) == exp.id


def test_events(exp, reader):
    """It finds every stream, and every event in it, with the numbers that JSON lacks."""
    found = [event for path in reader.streams(exp.path) for _, event in reader.events(path)]

    def key(event: Any) -> Any:
        return event[0], event[1]

    read = [(event["run"], event["seq"], event["type"], event.get("name", ""), repr(reader.data_of(event))) for event in found]
    own = [(event.run, event.seq, event.type, event.name, repr(event.data)) for event in exp.events()]
    assert sorted(read, key=key) == sorted(own, key=key)


def test_metrics(exp, reader):
    """It gives metrics their full names."""
    found = [
        reader.metrics(event)
        for path in reader.streams(exp.path)
        for _, event in reader.events(path)
        if event["type"] == "metrics"
    ]

    assert repr(found) == repr(
        [{"loss": 0.5, "a~1/b": -INF}, {"train/loss": NAN, "train/acc": 1}, {"alone": NAN}, {"loss": 0.25}, {"loss": 0.125}]
    )


def test_seals_hold(exp, reader):
    """It finds every run sealed in every stream that it wrote."""
    seals = [(seal, holds) for path in reader.streams(exp.path) for seal, holds in reader.seals(path)]

    assert all(holds for _, holds in seals)
    assert {(run.id, stream) for run in exp.runs for stream in ("log", "val")} == {
        (seal["of"], seal["stream"]) for seal, _ in seals if seal["of"] in {run.id for run in exp.runs}
    }


def test_seals_hold_when_redacted(exp, reader):
    """Lines that were replaced by their hash are proven as before; of those that were forgotten nothing is."""
    [_] = redact(exp.path, ["a~1/b"])
    seals = [(seal, holds) for path in reader.streams(exp.path) for seal, holds in reader.seals(path)]
    assert all(holds for _, holds in seals)

    [_] = redact(exp.path, ["found"], forget=True)

    wrong = [seal["of"] for path in reader.streams(exp.path) for seal, holds in reader.seals(path) if not holds]
    assert wrong == [exp.runs[0].id]


def test_seals_hold_beside(exp, reader, tmp_path):
    """Lines that a merge put beside a stream go on with the chains in it."""
    copy = tmp_path / "copy"
    shutil.copytree(exp.path, copy)
    shutil.rmtree(copy / ".mlv")
    claims.claim(copy, "log", claims.Claim(Owner("elsewhere", "b", "p", 1, "1"), "relse"))
    with mlv.Exp.open(exp.path) as again:
        again.log({"loss": 1})
    list(merge(exp.path, copy))

    seals = list(reader.seals(copy / "log.jsonl", copy / "log@merged.log.jsonl"))

    assert all(holds for _, holds in seals)
    assert {run.id for run in again.runs} <= {seal["of"] for seal, _ in seals}


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: [lines[0], lines[1].replace(b"0.5", b"0.4"), *lines[2:]],
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
        lambda lines: [*lines[:2], lines[1], *lines[2:]],
    ],
    ids=["edited", "removed", "moved", "doubled"],
)
def test_seals_break(exp, reader, damage):
    """It sees that a line was edited, removed, moved or doubled; the seal of the run after stays whole."""
    path = exp.path / "log.jsonl"
    path.write_bytes(b"".join(damage(path.read_bytes().splitlines(keepends=True))))
    first, second = (run.id for run in exp.runs)

    seals = [(seal["of"], holds) for seal, holds in reader.seals(path)]

    assert (first, False) in seals
    assert (second, True) in seals


def test_half_lines(exp, reader):
    """It passes over the half line that a crash leaves."""
    path = exp.path / "log.jsonl"
    whole = list(reader.events(path))
    with path.open("ab") as file:
        file.write(b'{"run":"r')

    assert list(reader.events(path)) == whole


def test_merged_copies(exp, reader):
    """The runs of two copies may be interleaved in any way: seals hold as long as each run stays in order."""
    path = exp.path / "log.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    by_run: dict[str, list[bytes]] = {}
    for line, event in reader.events(path):
        by_run.setdefault(event["run"], []).append(line)
    sealing = [line for line in lines if b'"type":"seal"' in line]
    rest = [line for mine in reversed(by_run.values()) for line in mine if line not in sealing]
    path.write_bytes(b"".join(rest + sealing))

    assert all(holds for _, holds in reader.seals(path))


def test_kept_checkpoints(tmp_path, reader):
    """From the log alone it finds every checkpoint that is kept, at each of its places, over several runs."""
    with mlv.Exp(tmp_path, "exp", capture=()) as exp:
        portfolio = exp.checkpoints(every=3, top=2, metric="loss", mode="min", latest=2)
        for step, loss in enumerate([0.5, 0.25, NAN, 0.125, 0.75]):
            portfolio.save(write, step=step, metrics={"loss": loss})
    with mlv.Exp.open(exp.path) as again:
        portfolio = again.checkpoints()
        portfolio.save(write, step=5, metrics={"loss": 0.0})
        again.checkpoints(folder="others").save(write)

    found = reader.kept(exp.path)

    on_disk = {path.relative_to(exp.path).as_posix() for path in exp.path.glob("models/*/*")}
    of_mlv = {saved.save: saved for saved in portfolio.kept}
    assert set(found) == on_disk
    assert {event["data"]["save"]: event["data"]["file"]["sha256"] for event in found.values()} == {
        save: saved.sha256 for save, saved in of_mlv.items()
    }
    assert {event["data"]["save"] for place, event in found.items() if "/top_k/" in place} == {4, 6}


def write(path: Path) -> None:
    """A checkpoint of its own."""
    path.write_text(str(path))


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="sha256sum is not installed")
def test_manifest(tmp_path):
    """The SHA-256 of a folder is that of what `sha256sum` prints of its files, in order of path."""
    names = ["a/b", "a.txt", "with \\ and\nline"]
    for name in names:
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_text(name)
    with mlv.Exp(tmp_path, "exp", capture=()) as exp:
        exp.attach(tmp_path / "folder")

    [event] = exp.events("file")

    printed = subprocess.run(["sha256sum", *sorted(names)], cwd=tmp_path / "folder", capture_output=True, check=True).stdout
    assert event.data["sha256"] == sha256(printed).hexdigest()


def test_files_lie_where_the_page_says(tmp_path):
    """Each line refers to a file by a path below the folder of its kind."""
    with mlv.Exp(tmp_path, "exp", capture=()) as exp:
        with exp.file("a/model.bin", "wb") as file:
            file.write(b"weights")
        exp.save_extra("best", {"acc": 0.9})
        exp.log.sub("test").array("weights", [1, 2], step=3)
        exp.checkpoints().save(write, step=4, suffix=".bin")

    model, extra, array, policy, saved = exp.events(["file", "array", "checkpoint"])
    assert model.data["path"] == "files/a/model.bin"
    assert extra.data["path"] == "files/extra/best.json"
    assert array.data["file"]["path"] == f"files/media/test/weights/3-{array.run}-{array.seq}.npy"
    assert policy.data["action"] == "policy"
    assert saved.data["places"] == ["models/latest/000001-step4.bin"]
