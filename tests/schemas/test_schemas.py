"""The schemas describe what is written: real experiments fit them, broken lines do not."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from mlv import events
from mlv.events import Dropped, Heartbeat, Record
from mlv.transport.journal import Journal

jsonschema = pytest.importorskip("jsonschema")

FOLDER = Path(__file__).parents[2] / "schemas"
EVENT, META = (json.loads((FOLDER / f"{name}.schema.json").read_text()) for name in ("event", "meta"))
DESCRIBED = {branch["if"]["properties"]["type"]["const"] for branch in EVENT["allOf"]}
"""Types whose data the schema describes."""

FAILING = """
    import datetime, multiprocessing, sys, warnings
    import mlv
    from mlv.store import blobs

    def child(log):
        log.sub("child")({"loss": 1})

    def main():
        warnings.simplefilter("ignore")
        params = {"lr": 0.1, "clip": float("inf"), "big": 2**80, "_mlv": b"x", "odd": "\\ud800", "none": {"at": [None]}}
        exp = mlv.Exp("runs", "everything", params, kind="test", tags=["a"], notes="A note.")
        log, val = exp.log, exp.logger("val")
        log({"loss": 0.5, "nan": float("nan"), "a~/b": float("-inf"), "n": None, "word": "x"}, step=1)
        log.sub("train").at(epoch=3, split="dev")({"loss": 0.1}, step=0.5)
        val({"loss": 0.2})
        log("named", {"when": datetime.datetime.now(), "raw": b"x", "huge": -2**70, "odd": "\\ud800", "_mlv_x": [float("nan")]})
        log("scalar", float("nan"))
        log.value("words", "some text")
        log.describe("loss", unit="nat", format=".4f", mode="min", description="Cross-entropy.")
        log.warning("disk at %d %%", 91, step=2, disk="/dev/sda1")
        try:
            with log.span("work", step=3) as span:
                span.add(items=2)
                raise ValueError("no \\udcff")
        except ValueError:
            log.exception("failed")
        log("bad", {"f": print, "rest": [1, float("nan")]})
        log({"loss": 1}, step="x")
        log("", {})
        log({"filtered": 1})
        exp.logger(filter="nothing")({"filtered": 1})
        exp.add_params({"added": 1})
        exp.add_tags("late")
        exp.add_note("A later note.")
        portfolio = exp.checkpoints(every=2, top=1, metric="loss", mode="min")
        for step, loss in enumerate([0.5, float("nan"), 0.25]):
            portfolio.save(lambda path: open(path, "w").close(), step=step, metrics={"loss": loss})
        exp.checkpoints(latest=0).save(lambda path: None)
        exp.pause()
        exp.resume()
        with exp.paused("waiting for data"):
            pass
        process = multiprocessing.get_context("fork").Process(target=child, args=(log,))
        process.start()
        process.join()
        with open("checkpoint.bin", "wb") as file:
            file.write(b"weights")
        (exp.path / "model.bin").write_bytes(b"weights")
        model = blobs.reference(exp.path, exp.path / "model.bin", blobs.content_of(exp.path / "model.bin"))
        exp.log._emit("file", "model.bin", model, None)
        log("began from", {"file": mlv.FileRef("checkpoint.bin"), "within": [mlv.FileRef(exp.path / "model.bin")], "exp": exp})
        exp.add_params({"data": mlv.FileRef("checkpoint.bin"), "self": mlv.ExpRef(exp)})
        mlv.init_sub_exp(exp.path / "model.bin", "squeeze", params={"rate": 0.5}).close()
        mlv.init_sub_exp("checkpoint.bin", "elsewhere", "without_parent").close("preempted")
        mlv.Exp("runs", "quiet", capture=()).close()
        raise RuntimeError("the end of the run")

    main()
"""
KILLED = """
    import os, signal
    import mlv

    exp = mlv.Exp("runs", "everything", {"lr": 0.2}, on_exists="open", may_change=["lr"])
    exp.log({"loss": 0.1})
    os.kill(os.getpid(), signal.SIGKILL)
"""
RECOVERING = """
    import sys, time
    import mlv

    exp = mlv.Exp.open("runs/everything")
    deadline = time.monotonic() + 20
    while exp.status == "running" or [run.status for run in exp.runs] != ["failed", "killed"]:
        assert time.monotonic() < deadline, exp.runs
        time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def experiments(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Folders of real experiments, in which everything happened that a script and its death can bring about."""
    folder = tmp_path_factory.mktemp("experiments")
    make_repository(folder)
    environment = {**os.environ, "MLV_SPOOL": str(tmp_path_factory.mktemp("spool"))}
    for name, source, status in (("failing", FAILING, 1), ("killed", KILLED, -9), ("recovering", RECOVERING, 0)):
        (folder / f"{name}.py").write_text(textwrap.dedent(source))
        settings: dict[str, Any] = {"cwd": folder, "env": environment, "timeout": 60, "capture_output": True, "text": True}
        process = subprocess.run([sys.executable, f"{name}.py"], **settings)
        assert process.returncode == status, process.stderr
    # What a writer says of a run that hung, or that nobody could write for.
    journal = Journal(folder / "runs" / "everything")
    journal.say(Heartbeat(of="rsomebody"))
    journal.say(Dropped(5, 9, 5, "no room", of="rsomebody"))
    journal.close()
    return [path.parent for path in sorted(folder.rglob("meta.json"))]


def make_repository(folder: Path) -> None:
    """Put the scripts into a repository with an uncommitted change, so that there is a diff to refer to."""
    if shutil.which("git"):
        (folder / "notes.txt").write_text("before\n")
        user = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        for words in (["init", "-q"], ["add", "notes.txt"], [*user, "commit", "-q", "-m", "Begin"]):
            subprocess.run(["git", *words], cwd=folder, check=True)
        (folder / "notes.txt").write_text("after\n")


def errors(schema: dict[str, Any], instance: Any) -> list[str]:
    found = jsonschema.Draft202012Validator(schema).iter_errors(instance)
    return [f"{error.json_path}: {error.message}" for error in found]


def lines_of(folders: list[Path]) -> Iterator[dict[str, Any]]:
    for folder in folders:
        for path in folder.glob("*.jsonl"):
            yield from map(json.loads, path.read_text().splitlines())


def test_every_line_fits(experiments):
    """Every line of real experiments is valid, and each type that the schema describes is among them."""
    lines = list(lines_of(experiments))

    assert [(line, found) for line in lines if (found := errors(EVENT, line))] == []
    assert {line["type"] for line in lines} >= DESCRIBED


def test_every_meta_fits(experiments):
    """So is every meta.json: of an experiment, a sub-experiment, one without a parent, and one that captures nothing."""
    metas = [json.loads((folder / "meta.json").read_text()) for folder in experiments]

    assert [found for meta in metas if (found := errors(META, meta))] == []
    assert [meta["name"] for meta in metas] == ["without_parent", "everything", "subexp_1", "quiet"]
    assert [meta["parent"] and sorted(meta["parent"]) for meta in metas] == [
        ["checkpoint"],
        None,
        ["_mlv", "checkpoint", "id", "path"],
        None,
    ]


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_diffs_are_references(experiments):
    """The diff of the creator and that of a later run are attachments, and referred to as the format says."""
    [folder] = [folder for folder in experiments if folder.name == "everything"]
    gits = [line["data"].get("git") for line in lines_of([folder]) if line["type"] == "run_started"]
    references = [git["diff"]["file"] for git in [json.loads((folder / "meta.json").read_text())["git"], *filter(None, gits)]]

    assert len(references) == 2
    for reference in references:
        diff = (folder / reference["path"]).read_bytes()
        assert reference["_mlv"] == "file"
        assert reference["sha256"] == sha256(diff).hexdigest()
        assert b"+after" in diff


@pytest.mark.parametrize("schema", [EVENT, META], ids=["event", "meta"])
def test_schemas_are_schemas(schema):
    """They are JSON Schema of draft 2020-12."""
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("schema", [EVENT, META], ids=["event", "meta"])
def test_every_field_is_described(schema):
    """Each field of each object has a sentence that ends with a full stop."""
    silent = [name for name, field in named_fields(schema) if not field.get("description", "").endswith(".")]

    assert silent == []


def named_fields(schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The fields that a schema describes, without those that it only asks about in an `if` or refines in a `then`."""
    if isinstance(schema, dict):
        for key, part in schema.items():
            if key in ("properties", "$defs"):
                yield from part.items()
            if key not in ("if", "then"):
                yield from named_fields(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from named_fields(part)


def test_the_two_agree():
    """What both describe they describe alike."""
    common = EVENT["$defs"].keys() & META["$defs"].keys()

    assert {name: EVENT["$defs"][name] for name in common} == {name: META["$defs"][name] for name in common}
    assert common >= {"value", "nonfinite", "file"}


def test_types_are_those_of_the_code():
    """The schema and `mlv.events` name the same types, and the same fields of each record."""
    records = [record for record in vars(events).values() if isinstance(record, type) and issubclass(record, Record)]

    assert EVENT["properties"]["type"]["examples"] == sorted(events.TYPES)
    assert {record.TYPE: {field.name for field in fields(record)} for record in records if record is not Record} == {
        record.TYPE: set(EVENT["$defs"][record.TYPE]["properties"]) for record in records if record is not Record
    }


LINE = {"run": "rk3v9x2m", "seq": 17, "time": "2026-11-21T03:03:00.123456Z", "type": "event", "name": "x", "data": {}}
DIGEST = "0" * 64


def line(type: str, data: Any, **fields: Any) -> dict[str, Any]:
    return {**LINE, "type": type, "data": data, **fields}


@pytest.mark.parametrize(
    "good",
    [
        line("event", {"of": 3, "duration_s": "as the user likes"}),
        line("teleported", {"from": [1, None]}, flavour="strange"),
        line("event", {"_mlv": "something new", "value": 3}),
        line("seal", {"of": "ra", "stream": "val@rb", "lines": 1, "sha256": DIGEST, "previous": DIGEST, "signed": True}),
        line("file", {"_mlv": "file", "path": "model.npz", "sha256": DIGEST, "size": 3}),
        line("metrics", {"loss": None}, nonfinite={"/loss": "nan"}, step=[0, 1], at={"epoch": 1}),
        {key: value for key, value in LINE.items() if key != "data"} | {"type": "system"},
    ],
)
def test_what_is_unknown_is_allowed(good):
    """Fields, types and tags that nobody knows yet are no errors."""
    assert errors(EVENT, good) == []


@pytest.mark.parametrize(
    "broken",
    [
        [],
        {key: value for key, value in LINE.items() if key != "run"},
        {key: value for key, value in LINE.items() if key != "seq"},
        {key: value for key, value in LINE.items() if key != "time"},
        {key: value for key, value in LINE.items() if key != "type"},
        {key: value for key, value in LINE.items() if key != "name"},
        {key: value for key, value in LINE.items() if key != "data"},
        LINE | {"run": 3},
        LINE | {"run": "3k"},
        LINE | {"seq": 0},
        LINE | {"seq": 1.5},
        LINE | {"time": "2026-11-21 03:03:00"},
        LINE | {"time": "2026-11-21T03:03:00.123456+01:00"},
        LINE | {"type": ""},
        LINE | {"name": None},
        LINE | {"step": None},
        LINE | {"step": True},
        LINE | {"at": [1]},
        LINE | {"nonfinite": {"loss": "nan"}},
        LINE | {"nonfinite": {"/a~2": "nan"}},
        LINE | {"nonfinite": {"/loss": "NaN"}},
        line("event", {"deep": [{"_mlv": "file", "sha256": DIGEST}]}),
        line("event", {"_mlv": "file", "path": "x", "sha256": "short"}),
        line("event", {"_mlv": "file", "path": "x", "size": -1}),
        line("event", {"_mlv": "file", "path": "x", "sha256": DIGEST, "within": {"_mlv": "exp", "path": ".."}}),
        line("event", {"_mlv": "file", "path": "x", "sha256": None, "problem": 3}),
        line("file", {"path": "x", "sha256": DIGEST, "size": 3}),
        line("file", {"_mlv": "file", "path": "x", "size": 3}),
        line("event", {"_mlv": "int", "value": 3}),
        line("event", {"_mlv": "bytes", "base64": "?"}),
        line("event", {"_mlv": "text", "text": "x"}),
        line("event", {"_mlv": "exp", "path": ".."}),
        line("event", {"_mlv": 3}),
        line("run_started", {}),
        line("run_started", {"exp": "abc"}),
        line("run_started", {"exp": DIGEST, "parent_run": 7}),
        line("run_started", {"exp": DIGEST, "process": {"pid": 3}}),
        line("run_ended", {}),
        line("run_ended", {"status": "running"}),
        line("run_ended", {"status": "failed", "exception": "ValueError"}),
        line("run_ended", {"status": "ok", "filtered": 0}),
        line("run_paused", {"reason": 3}),
        line("run_resumed", {"paused_s": -1}),
        line("heartbeat", {}),
        line("params", [1]),
        line("tags", {"tags": "paper"}),
        line("note", {"note": "x"}),
        line("metrics", [0.5]),
        line("metrics", {"": 0.5}),
        line("metadata", {"mode": "best"}),
        line("message", {"message": "no level"}),
        line("text", {"text": 3}),
        line("checkpoint", {"folder": "models"}),
        line("checkpoint", {"action": "saved", "folder": "models"}),
        line("checkpoint", {"action": "saved", "folder": "models", "save": 1, "file": {"size": 3}}),
        line("checkpoint", {"action": "removed", "folder": "models", "save": 1}),
        line("checkpoint", {"action": "policy", "folder": "models", "top": 0}),
        line("rejected", {"type": "event"}),
        line("dropped", {"first": 1, "last": 2}),
        line("seal", {"of": "ra", "stream": "log", "lines": 0, "sha256": DIGEST}),
        line("seal", {"of": "ra", "stream": "log", "lines": 1, "sha256": "abc"}),
    ],
    ids=json.dumps,
)
def test_broken_lines_are_refused(broken):
    """A line that is not as the format says is an error."""
    assert errors(EVENT, broken)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", 2),
        ("format", "1"),
        ("name", ""),
        ("kind", 3),
        ("created", "yesterday"),
        ("params", None),
        ("params", {"x": {"_mlv": "int"}}),
        ("parent", {}),
        ("parent", {"id": DIGEST, "checkpoint": {"_mlv": "file", "path": "x"}}),
        ("parent", {"_mlv": "exp", "id": DIGEST, "path": "..", "checkpoint": {"path": "x"}}),
        ("tags", "paper"),
        ("notes", ["x"]),
        ("script", "train.py"),
        ("git", {"diff": {"file": {"_mlv": "file"}}}),
        ("env", {"variables": {"SHLVL": 1}}),
        ("machine", {"memory_bytes": -1}),
        ("nonfinite", {"/params/x": "big"}),
    ],
)
def test_broken_metas_are_refused(experiments, key, value):
    """A meta.json that is not as the format says is an error."""
    whole = json.loads((experiments[-1] / "meta.json").read_text())
    without = copy.copy(whole)
    without.pop(key, None)

    assert errors(META, {**whole, key: value})
    assert errors(META, without) or key == "nonfinite"
