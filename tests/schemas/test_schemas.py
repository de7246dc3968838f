"""The schemas describe what is written: real experiments fit them, broken lines do not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from experiment.items import WHOLE, imported
from values_page import NAMES, possible_rows

import mlv
from mlv import events
from mlv.audit.redact import redact
from mlv.audit.verify import verify
from mlv.events import Dropped, Heartbeat, Record, System
from mlv.media.kinds import KINDS, TYPES
from mlv.transport.journal import Journal

jsonschema = pytest.importorskip("jsonschema")

FOLDER = Path(__file__).parents[2] / "schemas"
EVENT, META = (json.loads((FOLDER / f"{name}.schema.json").read_text()) for name in ("event", "meta"))
DESCRIBED = {branch["if"]["properties"]["type"]["const"] for branch in EVENT["allOf"]}
"""Types whose data the schema describes."""

FAILING = """
    import datetime, multiprocessing, os, warnings
    import mlv

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
        log.describe("loss", unit="nat", format=".4f", mode="min", description="Cross-entropy.", x="epoch", summary="min")
        exp.summarize({"runtime_s": 3.5, "nan": float("nan"), "best": {"model": "a~/b", "found": True}, "bad": [1]})
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
        exp.add_params({"added": 2, "device": print}, lenient=True)
        exp.add_tags("late")
        exp.add_note("A later note.")
        exp.remove_tags("late")
        exp.archive()
        portfolio = exp.checkpoints(every=2, top=1, metric="loss", mode="min")
        for step, loss in enumerate([0.5, float("nan"), 0.25]):
            portfolio.save(lambda path: open(path, "w").close(), step=step, metrics={"loss": loss})
        exp.checkpoints(latest=0, folder="kept nowhere").save(lambda path: None)
        exp.pause()
        exp.resume()
        with exp.paused("waiting for data"):
            pass
        process = multiprocessing.get_context("fork").Process(target=child, args=(log,))
        process.start()
        process.join()
        with open("checkpoint.bin", "wb") as file:
            file.write(b"weights")
        with exp.file("tables/model.bin", "wb", step=3) as file:
            file.write(b"weights")
        with exp.filepath("folder") as path:
            path.mkdir()
            (path / "part").write_text("one")
        attached = exp.attach("checkpoint.bin")
        exp.save_extra("best", {"acc": 0.9, "at": (1, 2)})
        log("began from", {"file": mlv.FileRef("checkpoint.bin"), "own": [mlv.FileRef(attached), exp.best], "exp": exp})
        with open("short-lived", "w") as file:
            reference = mlv.FileRef("short-lived")
        os.remove("short-lived")
        log("gone", reference)
        exp.add_params({"data": mlv.FileRef("checkpoint.bin"), "self": mlv.ExpRef(exp)})
        mlv.init_sub_exp(exp.best, "squeeze", params={"rate": 0.5}).close()
        mlv.init_sub_exp("checkpoint.bin", "elsewhere", "without_parent").close("preempted")
        mlv.Exp("runs", "quiet", capture=()).close()
        mlv.Exp.open("runs/quiet").move("runs/renamed")
        mlv.Exp.open("runs/everything", rewind_to=2)
        raise RuntimeError("the end of the run")

    main()
"""
PICTURES = """
    import base64, io, os, sys, warnings, wave
    from contextlib import suppress

    PNG = base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )
    GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
    warnings.simplefilter("ignore")
"""
MEDIA = (
    PICTURES
    + """
    import mlv

    class Figure:
        def savefig(self, file, format):
            file.write(b"drawn as " + format.encode())

    def wav():
        file = io.BytesIO()
        with wave.open(file, "wb") as sound:
            sound.setparams((1, 2, 8000, 0, "NONE", None))
            sound.writeframes(bytes(800))
        return file.getvalue()

    exp = mlv.Exp("runs", "media", capture=())
    log = exp.log
    box = {"box": (0, 0, 1, 1), "label": "seven", "score": 0.9, "by": "hand"}
    log.image("digit", PNG, step=1, caption="a seven", boxes=[box])
    log.images("a/b", [PNG, PNG], captions=["one", "two"], step=0.5)
    log.figure("curve", Figure())
    log.figure("curves", [Figure(), Figure()], format="pdf")
    log.audio("tone", wav(), caption="a tone")
    log.video("clip", GIF, caption="a clip")
    log.value("words", "some \\ud800 text")
    log.text("long", "word " * 20_000, markdown=True)
    log.table("few", [{"a": 1, "b": float("nan")}, {"a": b"x"}])
    log.table("many", {"number": range(20_000), "word": ["x"] * 20_000})
    log.histogram("values", [1, 2, 2, float("inf"), -float("inf"), float("nan")], bins=2)
    log.histogram("outside", [0, 1, 2, 3], bins=[1, 2])
    log.histogram("none", [float("nan")])
    log.histogram("ready", counts=[1, 0.5], edges=[0, 1, 2])
    log.array("list", [[1, 2], [3, 4]])
    log.array("item", 3.5)
    log.pr_curve("curve", [0, 1, 1], [0.2, 0.9, 0.4], thresholds=3)
    log.pr_curve("no positive", [0], [0.5])
    log.image("refused here", b"no image")
    log.pr_curve("refused by the worker", [2], [0.5])
    with suppress(ImportError):
        import numpy as np

        masks = {"parts": {"mask": np.zeros((4, 8), int), "classes": {0: "none"}}, "wide": np.full((4, 8), 300)}
        log.image("array", np.zeros((4, 8)), masks=masks)
        log.audio("loud", np.full((80, 2), 2.0), 8000)
        log.video("gif", np.zeros((3, 4, 8), "u1"), format="gif", fps=0.5)
        log.video("mp4", np.zeros((3, 4, 8), "u1"))
    with suppress(ImportError):
        import torch

        log.array("narrow", torch.zeros(2, dtype=torch.bfloat16))
        log.graph("net", torch.nn.Linear(2, 1), torch.zeros(1, 2))
    exp.close()
"""
)
WITHOUT_EXTRAS = (
    PICTURES
    + """
    os.environ["MLV_INLINE"] = "1"
    sys.modules.update(PIL=None, imageio_ffmpeg=None, pyarrow=None)
    import mlv

    with mlv.Exp("runs", "without_extras", capture=()) as exp:
        exp.log.image("digit", PNG)
        exp.log.images("digits", [PNG, PNG])
        exp.log.table("many", {"number": range(20_000), "word": ["x"] * 20_000})
        with suppress(ImportError):
            import numpy as np

            exp.log.image("array", np.zeros((4, 8)), masks={"parts": np.zeros((4, 8), int)})
            exp.log.images("arrays", np.zeros((2, 4, 8)))
            exp.log.video("frames", np.zeros((3, 4, 8), "u1"))
"""
)
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
    deadline = time.monotonic() + 50
    while exp.status == "running" or [run.status for run in exp.runs] != ["failed", "killed"]:
        assert time.monotonic() < deadline, exp.runs
        time.sleep(0.05)
"""
SCRIPTS = (
    ("failing", FAILING, 1, "RuntimeError: the end of the run"),
    ("killed", KILLED, -9, ""),
    ("recovering", RECOVERING, 0, ""),
    ("media", MEDIA, 0, ""),
    ("without_extras", WITHOUT_EXTRAS, 0, ""),
)


@pytest.fixture(scope="module")
def experiments(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Folders of real experiments, in which everything happened that a script and its death can bring about."""
    folder = tmp_path_factory.mktemp("experiments")
    make_repository(folder)
    environment = {**os.environ, "MLV_SPOOL": str(tmp_path_factory.mktemp("spool"))}
    for name, source, status, said in SCRIPTS:
        (folder / f"{name}.py").write_text(textwrap.dedent(source))
        settings: dict[str, Any] = {"cwd": folder, "env": environment, "timeout": 60, "capture_output": True, "text": True}
        process = subprocess.run([sys.executable, f"{name}.py"], **settings)
        assert process.returncode == status, process.stderr
        assert said in process.stderr
    # What a writer says of a run that hung, or that nobody could write for.
    journal = Journal(folder / "runs" / "everything")
    journal.say(Heartbeat(of="rsomebody"))
    journal.say(System("rsomebody", {"cpu_percent": 12.5}), "system")
    journal.say(Dropped(5, 9, 5, "no room", of="rsomebody"))
    journal.close()
    list(redact(folder / "runs" / "everything", ["A later note", "disk at"]))
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), values_exp(patch, folder) as exp:
        for [call], *_ in possible_rows("Media"):
            eval(call, {**NAMES, "log": exp.log})
    return [path.parent for path in sorted(folder.rglob("meta.json"))]


def values_exp(patch: pytest.MonkeyPatch, folder: Path) -> mlv.Exp:
    """An experiment for what the page of values shows, with a spool of its own."""
    warnings.simplefilter("ignore")  # of packages that are missing
    patch.setenv("MLV_INLINE", "1")
    patch.setenv("MLV_SPOOL", str(folder))
    return mlv.Exp(folder / "runs", "values", capture=())


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
    possible = DESCRIBED if find_spec("torch") else DESCRIBED - {"graph"}

    assert [(line, found) for line in lines if (found := errors(EVENT, line))] == []
    assert {line["type"] for line in lines} >= possible


def test_every_meta_fits(experiments):
    """So is every meta.json: of an experiment, a sub-experiment, one without a parent, and one that captures nothing."""
    metas = [json.loads((folder / "meta.json").read_text()) for folder in experiments]

    assert [found for meta in metas if (found := errors(META, meta))] == []
    assert {meta["name"]: meta["parent"] and sorted(meta["parent"]) for meta in metas} == {
        "without_parent": ["checkpoint"],
        "everything": None,
        "subexp_1": ["_mlv", "checkpoint", "id", "path"],
        "media": None,
        "quiet": None,
        "without_extras": None,
        "values": None,
    }


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_imported_experiments_fit(tmp_path):
    """An experiment of another tool is written in the same form: every line, and its meta.json."""
    folder = imported(tmp_path, WHOLE, kind="train", tags=["old"], captured={"git": {"commit": "0" * 40}}).path

    assert [problem for line in lines_of([folder]) for problem in errors(EVENT, line)] == []
    assert errors(META, json.loads((folder / "meta.json").read_text())) == []


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

    assert EVENT["properties"]["type"]["examples"] == sorted(TYPES)
    assert {record.TYPE: set(record.FIELDS) for record in records if record is not Record} == {
        record.TYPE: set(EVENT["$defs"][record.TYPE]["properties"]) | ({"values"} if record is events.System else set())
        for record in records
        if record is not Record
    }


FILE_TYPES = ("file", *KINDS)


def test_media_fields_are_those_of_the_code(experiments):
    """Every field of a file's or medium's data is described, and every field that is described is written by somebody."""
    lines = [line for line in lines_of(experiments) if line["type"] in FILE_TYPES]
    written = {(line["type"], key) for line in lines for key in line["data"]}
    described = {(kind, key) for kind in FILE_TYPES for key in fields_of(EVENT["$defs"][f"{kind}_event"])}
    of_others = {("file", key) for key in ("host", "modified", "problem", "within")}  # of files that lie elsewhere
    of_torch = {("array", "dtype_logged"), *(field for field in described if field[0] == "graph")}

    assert written <= described
    if find_spec("numpy") and find_spec("PIL"):
        assert written | of_torch | of_others == described


def fields_of(schema: dict[str, Any]) -> set[str]:
    """The fields of an object, those of the definition that it refers to included."""
    referred = EVENT["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else {}
    return {*schema.get("properties", {}), *(fields_of(referred) if referred else ())}


def test_attachments_are_there(experiments):
    """What the lines refer to lies in the experiment, with the size and SHA-256 that they say."""
    verdicts = {
        folder.name: verify(folder).verdict for folder in experiments if folder.name in ("media", "values", "without_extras")
    }

    assert verdicts == {"media": "intact", "values": "intact", "without_extras": "intact"}


LINE = {"run": "rk3v9x2m", "seq": 17, "time": "2026-11-21T03:03:00.123456Z", "type": "event", "name": "x", "data": {}}
DIGEST = "0" * 64


FILE = {"_mlv": "file", "path": "files/x.png", "sha256": DIGEST, "size": 3, "media_type": "image/png"}
BINS = {"counts": [1], "edges": [0, 1], "count": 1}
CURVE = {"thresholds": [0.5], "precision": [1], "recall": [None], "tp": [0], "fp": [0], "tn": [1], "fn": [0], "positives": 0,
         "negatives": 1, "average_precision": None}  # fmt: skip


def line(type: str, data: Any, **fields: Any) -> dict[str, Any]:
    return {**LINE, "type": type, "data": data, **fields}


def without(fields: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name != key}


@pytest.mark.parametrize(
    "good",
    [
        line("event", {"of": 3, "duration_s": "as the user likes"}),
        line("teleported", {"from": [1, None]}, flavour="strange"),
        line("event", {"_mlv": "something new", "value": 3}),
        line("seal", {"of": "ra", "stream": "val@rb", "lines": 1, "sha256": DIGEST, "previous": DIGEST, "signed": True}),
        line("file", {"_mlv": "file", "path": "files/model.npz", "sha256": DIGEST, "size": 3}),
        line("image", {"file": FILE, "depth": 16}),
        line("figure", {"files": [FILE | {"path": "files/.hidden/..x"}], "encoding": "brotli"}),
        line("histogram", BINS | {"median": 0.5}),
        line("pr_curve", CURVE, nonfinite={"/recall/0": "nan", "/average_precision": "nan"}),
        line("checkpoint", {"action": "renamed", "folder": "models"}),
        line("metrics", {"loss": None}, nonfinite={"/loss": "nan"}, step=[0, 1], at={"epoch": 1}),
        without(LINE, "data") | {"type": "redacted", "redacted": {"sha256": DIGEST, "type": "message"}},
        line("system", {"of": "ra", "tape_percent": 3.5}),
    ],
)
def test_what_is_unknown_is_allowed(good):
    """Fields, types and tags that nobody knows yet are no errors."""
    assert errors(EVENT, good) == []


@pytest.mark.parametrize(
    "broken",
    [
        [],
        *(without(LINE, key) for key in ("run", "seq", "time", "type", "name", "data")),
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
        *(line("file", without(FILE, key)) for key in ("_mlv", "path", "sha256", "size")),
        *(line("file", FILE | {"path": path}) for path in ("", "/x", "../x", "files/../../x", "files/..", "./x")),
        without(line("file", FILE), "name"),
        line("file", FILE | {"sha256": None}),
        line("file", FILE | {"media_type": None}),
        line("event", {"_mlv": "int", "value": 3}),
        line("event", {"_mlv": "bytes", "base64": "?"}),
        line("event", {"_mlv": "text", "text": "x"}),
        line("event", {"_mlv": "exp", "path": ".."}),
        line("event", {"_mlv": 3}),
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
        without(line("image", {"file": FILE}), "name"),
        line("image", {}),
        line("image", {"file": FILE, "files": [FILE]}),
        line("image", {"file": "files/x.png"}),
        line("image", {"file": FILE | {"path": "/tmp/x.png"}}),
        line("image", {"file": FILE, "width": 0.5}),
        line("image", {"file": FILE, "boxes": [{"label": "seven"}]}),
        line("image", {"file": FILE, "boxes": [{"box": [0, 0, 1]}]}),
        line("image", {"file": FILE, "masks": {"parts": {"classes": {}}}}),
        line("image", {"files": [FILE], "captions": "one"}),
        line("image", {"files": [FILE], "sizes": [[64]]}),
        line("image", {"file": FILE, "encoding": None}),
        line("figure", {"files": []}),
        line("figure", {"files": FILE}),
        line("audio", {"rate": 8000}),
        line("audio", {"file": FILE, "rate": 0}),
        line("audio", {"file": FILE, "duration_s": -1}),
        line("video", {"files": [FILE]}),
        line("video", {"file": FILE, "fps": 0}),
        line("text", {"text": 3}),
        line("text", {"file": FILE}),
        line("text", {"text": "x", "file": FILE, "characters": 1, "beginning": "x"}),
        line("table", {"rows": []}),
        line("table", {"columns": ["a"], "rows": [1]}),
        line("table", {"columns": ["a", "a"], "rows": []}),
        line("table", {"columns": ["a"], "file": FILE}),
        line("histogram", BINS | {"counts": [-1]}),
        line("histogram", BINS | {"edges": [0, None]}),
        line("histogram", BINS | {"std": -1}),
        *(line("histogram", without(BINS, key)) for key in BINS),
        line("array", {"file": FILE, "shape": [2]}),
        line("array", {"file": FILE, "shape": 2, "dtype": "float32"}),
        line("array", {"file": FILE, "shape": [-1], "dtype": "float32"}),
        line("pr_curve", CURVE | {"tp": [0.5]}),
        *(line("pr_curve", without(CURVE, key)) for key in CURVE),
        line("graph", {"file": FILE, "nodes": [], "parameters": 3, "inputs": []}),
        line("graph", {"nodes": 1, "parameters": 3, "inputs": [[1]]}),
        line("checkpoint", {"folder": "models"}),
        line("checkpoint", {"action": "saved", "folder": "models"}),
        line("checkpoint", {"action": "saved", "folder": "models", "save": 1, "file": {"size": 3}}),
        line("checkpoint", {"action": "saved", "folder": "models", "save": 1, "file": FILE}),
        line("checkpoint", {"action": "saved", "folder": "models", "save": 0}),
        line("checkpoint", {"action": "removed", "folder": "models", "save": 1}),
        line("checkpoint", {"action": "removed", "folder": "models", "save": 1, "places": []}),
        line("checkpoint", {"action": "removed", "folder": "models", "save": 1, "places": ["models/x.npz"]}),
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

    assert errors(META, {**whole, key: value})
    assert errors(META, without(whole, key)) or key == "nonfinite"
