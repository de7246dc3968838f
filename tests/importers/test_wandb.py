"""Offline runs of W&B come over whole, from files that W&B wrote, and from damaged ones as much as there is."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
import textwrap
from base64 import b64encode
from hashlib import md5
from pathlib import Path

import pytest
from conftest import run_command

import mlv
from importers import wandb_files as w
from importers.protobuf_bytes import field
from importers.trees import content, import_all, import_one, points
from mlv.errors import InvalidArgument
from mlv.importers.wandb import records as r


@pytest.fixture
def offline(tmp_path):
    return w.write(tmp_path / "wandb" / "offline-run-20231114_221320-abc", w.framed(w.WHOLE))


def verdict(path: Path) -> str:
    return str(run_command("verify", path).stdout).split()[0]


def test_a_run(tmp_path, offline):
    """Every record becomes the event that mlv would have written at its time."""
    exp, outcome = import_one(offline.parent, tmp_path / "runs")

    assert outcome.is_whole
    assert exp.path == tmp_path / "runs" / "proj" / "first"
    assert (exp.params, exp.tags, exp.notes) == ({"lr": 0.1, "extra": "x"}, ("a", "imported", "wandb"), ("A note.",))
    assert (exp.status, exp.runs[0].started.timestamp(), exp.runs[0].ended.timestamp()) == ("ok", w.START, w.START + 7)
    assert exp.meta["source"] == {"format": "wandb", "project": "proj", "id": "abc"}
    assert (exp.meta["script"]["path"], exp.meta["script"]["argv"]) == ("/train.py", ["/train.py", "--lr"])
    assert points(exp)[:2] == [(0, {"acc": 0, "loss": 1.0}), (1, {"acc": 1, "loss": 0.5})]
    assert points(exp)[6] == (6, {"epoch": 1, "val/loss": 0.5})
    step, last = points(exp)[7]
    assert (step, math.isnan(last["loss"]), last["acc"], last["text"]) == (7, True, math.inf, "odd")
    summary = exp.summary()
    assert (summary["loss"].count, summary["loss"].value, summary["best"].value) == (7, 1 / 6, 7)
    assert {event.name: dict(event.data) for event in exp.events("metadata")} == {
        "loss": {"summary": "min", "mode": "min"},
        "val/loss": {"x": "epoch", "summary": "max"},
    }
    [system] = exp.events("system")
    assert (system.data["gpu0_percent"], system.data["process_memory_bytes"]) == (50.0, 2 << 20)
    printed, alarm = sorted(exp.events("message"), key=lambda event: event.stream)
    assert (printed.stream, printed.name, printed.data["message"]) == ("console", "stdout", "epoch 2")
    assert (alarm.data["level"], alarm.data["message"]) == ("warning", "Alarm: hot")
    [changed] = exp.events("params_changed")
    assert changed.data == {"lr": 0.2}
    assert (exp.path / "files/settings.yaml").read_text() == "a: 1\n"
    assert verdict(exp.path) == "intact"


def test_the_same_again(tmp_path, offline):
    """A second import adds nothing, and one into another tree gives the same bytes."""
    import_one(offline, tmp_path / "one")
    before = content(tmp_path / "one")

    _, again = import_one(offline / "run-abc.wandb", tmp_path / "one")
    import_one(offline.parent, tmp_path / "two")

    assert (again.imported.is_new, again.imported.lines) == (False, {})
    assert content(tmp_path / "one") == before == content(tmp_path / "two")


@pytest.mark.parametrize("follows", [True, False])
def test_while_it_is_written(tmp_path, follows):
    """Imported at any length of its file, also followed, a run comes over whole in the end, and no line is lost."""
    whole = w.framed(w.WHOLE)
    folder = w.write(tmp_path / "offline-run-1-abc", whole)
    import_one(folder, tmp_path / "at once")
    expected = content(tmp_path / "at once")
    cuts = random.Random(1).sample(range(len(whole)), 12)
    for number, cut in enumerate(cuts):
        root = tmp_path / str(number)
        w.write(folder, whole[:cut])
        [part] = import_all(folder, root, follows=follows)
        assert part.error == "" or "the beginning of a run" in part.error
        w.write(folder, whole)

        exp, outcome = import_one(folder, root, follows=follows)

        assert (outcome.left, outcome.imported.differences) == ({}, []), cut
        assert exp.summary()["loss"].count == 7
        assert verdict(exp.path) == "intact"
        if follows:
            assert content(root) == expected


@pytest.mark.parametrize("seed", range(15))
def test_a_flipped_bit(tmp_path, seed):
    """A flipped bit costs the record that it is in, or the rest of its block, and is reported; nothing wrong is imported."""
    whole = bytearray(w.framed([*w.WHOLE[:-1], *(w.row(step, step, loss=step) for step in range(8, 2000)), w.exited()]))
    position = random.Random(seed).randrange(len(whole))
    whole[position] ^= 1 << seed % 8
    folder = w.write(tmp_path / "offline-run-1-abc", bytes(whole))

    exp, outcome = import_one(folder, tmp_path / "runs")

    assert outcome.left or outcome.notes
    told = {step: data["loss"] for step, data in points(exp) if "loss" in data and step > 7}
    assert all(step == loss for step, loss in told.items())
    assert len(told) > 1000


def test_two_runs_in_one_folder(tmp_path):
    """Two files in a folder are two experiments; two folders of one ID are two runs of one, which was resumed."""
    folder = w.write(tmp_path / "wandb" / "run-1-abc", w.framed([w.run("abc", project="p"), w.row(0, 0, a=1), w.exited(1)]))
    w.write(folder, w.framed([w.run("other", project="p"), w.row(0, 0, a=2), w.exited()]), "run-other.wandb")
    resumed = [w.run("abc", 100, project="p", config={"lr": 3}), w.row(1, 101, a=3), w.exited()]
    w.write(tmp_path / "wandb" / "run-2-abc", w.framed(resumed))

    first, second = sorted(import_all(tmp_path / "wandb", tmp_path / "runs"), key=lambda outcome: outcome.imported.path.name)

    exp = mlv.Exp.open(first.imported.path)
    assert ([run.status for run in exp.runs], points(exp)) == (["failed", "ok"], [(0, {"a": 1}), (1, {"a": 3})])
    assert exp.runs[1].params == {"lr": 3}
    assert points(mlv.Exp.open(second.imported.path)) == [(0, {"a": 2})]


def test_names_that_clash(tmp_path):
    """Runs of one name, or of names that no folder can have, lie beside each other."""
    for identity in ("a", "b", "c"):
        file = w.framed([w.run(identity, name="../x:y" if identity == "c" else "same"), w.exited()])
        w.write(tmp_path / "wandb" / f"run-1-{identity}", file, f"run-{identity}.wandb")

    import_all(tmp_path / "wandb", tmp_path / "runs")

    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["_._x_y", "same", "same_1"]


def test_of_a_later_version(tmp_path):
    """Records of types that are not known are counted, and the others come over."""
    future = field(77, field(1, "new")) + field(200, field(1, "x"))
    folder = w.write(tmp_path / "run-1-abc", w.framed([*w.WHOLE[:-1], future, future, w.exited()], version=1))

    exp, outcome = import_one(folder, tmp_path / "runs")

    assert dict(outcome.left) == {"records of a type that mlv does not know (field 77)": 2}
    assert "version 1" in outcome.notes[0]
    assert exp.summary()["loss"].count == 7


def test_media_that_are_gone(tmp_path):
    """A medium whose file is missing, or would lie elsewhere, is reported, and the metrics of its row come over."""
    image = {"_type": "image-file", "path": "media/images/gone.png", "width": 1, "height": 1}
    outside = {"_type": "image-file", "path": "../../secret.png"}
    (tmp_path / "secret.png").write_bytes(b"no")
    rows = [w.row(0, 0, loss=1, image=image), w.row(1, 1, loss=2, image=outside)]
    folder = w.write(tmp_path / "a" / "run-1-abc", w.framed([w.run(), *rows, w.exited()]))

    exp, outcome = import_one(folder, tmp_path / "runs")

    assert sum(outcome.left.values()) == 2
    assert ([data for _, data in points(exp)], list(exp.events("image"))) == ([{"loss": 1}, {"loss": 2}], [])


@pytest.mark.parametrize(
    "value",
    [
        {"_type": "images/separated", "count": 10**15, "_name": "x"},
        {"_type": "histogram", "values": [1], "packedBins": {"min": 0, "size": 1, "count": 10**15}},
    ],
)
def test_media_that_name_a_size(tmp_path, value):
    """A medium that names more than there can be comes over as it stands, and takes neither time nor memory."""
    records = [w.run(), w.row(0, 0, loss=1, medium=value), w.exited()]

    exp, _ = import_one(w.write(tmp_path / "run-1-abc", w.framed(records)), tmp_path / "runs")

    [event] = exp.events("event")
    assert (event.name, event.data, points(exp)) == ("medium", value, [(0, {"loss": 1})])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_pipes(tmp_path, offline):
    """A pipe in a source, of which nothing may ever come, is no file of it."""
    os.mkfifo(offline / "run-pipe.wandb")
    os.mkfifo(offline.parent / "events.out.tfevents.1.pipe")

    _, outcome = import_one(offline.parent, tmp_path / "runs")

    assert outcome.is_whole
    with pytest.raises(InvalidArgument, match="neither a file nor a folder"):
        import_all(offline / "run-pipe.wandb", tmp_path / "runs")


def test_credentials(tmp_path):
    """Credentials in config, names and printed lines are kept out, as in a live run."""
    secret = "ghp_" + "a1B2" * 9
    records = [w.run(config={"api_key": secret}), w.printed(1, f"{secret}\n"), w.row(0, 0, **{secret: 1}), w.exited()]
    import_one(w.write(tmp_path / "run-1-abc", w.framed(records)), tmp_path / "runs")

    assert secret.encode() not in b"".join(content(tmp_path / "runs").values())


@pytest.mark.parametrize(
    "record",
    [
        field(13, field(1, 1) + field(3, 5)),
        field(7, field(2, 4)),
        field(10, field(1, 3)),
        field(17, field(1, "abc") + field(4, 5)),
    ],
    ids=["printed", "time", "alert", "config"],
)
def test_a_record_of_other_types(tmp_path, record):
    """A whole record whose fields are none of W&B's costs itself, and is counted."""
    records = [w.run(), w.row(0, 0, loss=1), record, w.row(1, 1, loss=2), w.exited()]

    exp, outcome = import_one(w.write(tmp_path / "run-1-abc", w.framed(records)), tmp_path / "runs")

    assert points(exp) == [(0, {"loss": 1}), (1, {"loss": 2})]
    assert outcome.left == {"records that cannot be decoded": 1}


def test_values_deeper_than_the_log(tmp_path):
    """A value that is nested deeper than the log holds is rejected, with its reason, and the others come over."""
    records = [w.run(), w.row(0, 0, deep="[" * 900 + "]" * 900), w.row(1, 1, loss=2), w.exited()]

    exp, outcome = import_one(w.write(tmp_path / "run-1-abc", w.framed(records)), tmp_path / "runs")

    assert (points(exp), list(outcome.left.values())) == ([(1, {"loss": 2})], [1])
    assert "nested deeper than 100 levels" in next(iter(outcome.left))


def test_empty_tags(tmp_path):
    """Empty tags, of which mlv has none, do not keep a run from coming over."""
    folder = w.write(tmp_path / "run-1-abc", w.framed([w.run(tags=["", "a", " "]), w.row(0, 0, loss=1), w.exited()]))

    assert import_one(folder, tmp_path / "runs")[0].tags == ("a", "imported", "wandb")


def test_names_that_join_to_one(tmp_path):
    """A row with two values whose names are the same once they are joined is reported."""
    both = items([(["a/b"], "1"), (["a", "b"], "2"), (["_step"], "0"), (["_timestamp"], f"{w.START}.5")])
    records = [w.run(), w.row(0, 0, **{"a/b": 1}), field(2, both), w.exited()]

    _, outcome = import_one(w.write(tmp_path / "run-1-abc", w.framed(records)), tmp_path / "runs")

    assert outcome.left == {"values of a row whose joined name another one has": 1}


def items(pairs: list[tuple[list[str], str]]) -> bytes:
    return b"".join(
        field(1, b"".join(field(1 if len(path) == 1 else 2, name) for name in path) + field(16, text)) for path, text in pairs
    )


def artifact(path: Path, digest: str) -> bytes:
    entry = field(1, path.name) + field(2, digest) + field(4, path.stat().st_size) + field(6, str(path))
    return field(8, field(4, "model") + field(5, "net") + field(12, field(4, entry)))


def test_artifacts_that_are_other_files_now(tmp_path):
    """A file comes over as that of an artifact only where it has the digest that W&B recorded: a record names any path."""
    good, bad = tmp_path / "model.bin", tmp_path / "id_rsa"
    good.write_bytes(b"weights")
    bad.write_bytes(b"private")
    digest = b64encode(md5(b"weights", usedforsecurity=False).digest()).decode()
    records = [w.run(), w.row(0, 0, loss=1), artifact(good, digest), artifact(bad, digest), artifact(bad, ""), w.exited()]

    exp, outcome = import_one(w.write(tmp_path / "run-1-abc", w.framed(records)), tmp_path / "runs")

    assert [path.name for path in (exp.path / "files/artifacts").rglob("*") if path.is_file()] == ["model.bin"]
    assert outcome.left == {"files of artifacts that are others now than those that were logged": 2}


def test_files_of_wandb_with_credentials(tmp_path):
    """Settings and arguments are in the records: W&B's own files, which have them as they were, stay behind."""
    secret = "ghp_" + "a1B2" * 9
    folder = w.write(tmp_path / "run-1-abc", w.framed(w.WHOLE))
    for name in ("config.yaml", "wandb-metadata.json", "wandb-summary.json"):
        (folder / "files" / name).write_text(f'{{"api_key": "{secret}"}}')
    (folder / "files/mine.txt").write_text("mine")
    silent = w.write(tmp_path / "run-2-b", w.framed([w.run("b"), w.row(0, 0, loss=1), w.exited()]), "run-b.wandb")
    (silent / "files/output.log").write_text(f"login with {secret}\nhello\n")

    exp, _ = import_one(folder, tmp_path / "runs")

    assert {path.name for path in (exp.path / "files").iterdir()} == {"mine.txt", "settings.yaml"}
    other, _ = import_one(silent, tmp_path / "runs")
    assert [event.data["message"] for event in other.events("message")] == ["login with <redacted>", "hello"]
    assert secret.encode() not in b"".join(content(tmp_path / "runs").values())


def test_a_console_without_records_that_grows(tmp_path):
    """What was printed into a file alone comes over once, while its run goes on."""
    folder = tmp_path / "run-2-b"
    for count in (1, 3):
        w.write(folder, w.framed([w.run("b"), *(w.row(step, step, loss=1) for step in range(count))]), "run-b.wandb")
        (folder / "files/output.log").write_text("".join(f"line {number}\n" for number in range(count)))
        exp, outcome = import_one(folder, tmp_path / "runs")
        assert (outcome.left, outcome.imported.differences) == ({}, [])

    assert [event.data["message"] for event in exp.events("message")] == ["line 0", "line 1", "line 2"]
    assert verdict(exp.path) == "intact"


def test_items_at_once():
    """Items are cut where their values begin; whatever the keys hold, the quick way gives what the plain one gives."""
    hypothesis = pytest.importorskip("hypothesis")
    from hypothesis import strategies as st

    keys = st.lists(st.text(max_size=4) | st.sampled_from(["\x82\x01", "k" * 130, "k" * 257, "a"]), min_size=1, max_size=3)
    value = st.sampled_from(["1", "2.5", "NaN", '"x"', "[" + "1," * 200 + "1]", "\x01", ""])

    @hypothesis.given(st.lists(st.tuples(keys, value), max_size=5), st.integers(0, 3))
    def check(pairs, repeats):
        row = b"".join(field(1, b"".join(field(2, key) for key in path) + field(16, text)) for path, text in pairs)
        items = r.Items()
        expected = [(tuple(path), text.encode()) for path, text in pairs]
        named = [("/".join(path), text) for path, text in expected]
        for _ in range(repeats + 1):
            assert list(zip(*items.row(row + field(2, field(1, 5))), strict=True)) == named
        assert list(r.Items().of(row)) == expected

    check()


SCRIPT = """
    import math, sys
    import numpy as np, wandb

    run = wandb.init(project="proj", name="real", group="g", job_type="train", tags=["a", "b"], notes="A note.",
                     config={"lr": 0.1, "nested": {"a": [1, 2]}}, mode="offline", dir=sys.argv[1])
    run.define_metric("epoch")
    run.define_metric("val/*", step_metric="epoch", summary="max")
    for i in range(5):
        run.log({"loss": 1 / (i + 1), "nan": math.nan if i == 2 else math.inf, "a": {"b": i, "c": {"d": 2.5}}, "t": "text"})
    run.log({"val/loss": 3.0, "epoch": 1})
    pixels = np.zeros((4, 5, 3), "uint8")
    box = {"position": {"minX": 0, "maxX": 2, "minY": 1, "maxY": 3}, "class_id": 1, "domain": "pixel", "scores": {"p": 0.5}}
    boxes = {"boxes": {"box_data": [box], "class_labels": {1: "cat"}}}
    run.log({
        "img": wandb.Image(pixels, caption="cap", boxes=boxes, masks={"m": {"mask_data": np.zeros((4, 5), "uint8")}}),
        "imgs": [wandb.Image(pixels, caption="0"), wandb.Image(pixels + 1, caption="1")],
        "hist": wandb.Histogram([1, 2, 2, 3], num_bins=4),
        "tab": wandb.Table(columns=["a", "b"], data=[[1, "x"], [2, "y"]]),
        "page": wandb.Html("<b>x</b>"),
        "cloud": wandb.Object3D(np.zeros((3, 3))),
    })
    run.config.update({"late": 3})
    run.summary["best"] = 7
    print("hello console")
    with open(sys.argv[1] + "/m.txt", "w") as file:
        file.write("weights")
    for _ in range(2):
        artifact = wandb.Artifact("model", "model", metadata={"k": 1})
        artifact.add_file(sys.argv[1] + "/m.txt")
        run.log_artifact(artifact, aliases=["best"])
    run.alert("title", "text")
    run.log({"x": 1.5}, step=20)
    run.log({"y": 2.5}, step=20, commit=True)
    run.finish(exit_code=3)
"""


def test_a_run_of_wandb_itself(tmp_path, python):
    """A run that W&B wrote comes over with its metrics, media, console, artifacts, settings and status."""
    pytest.importorskip("wandb", reason="wandb writes the run")
    pytest.importorskip("numpy")
    home = tmp_path / "home"
    env = {**os.environ, "HOME": str(home), "WANDB_SILENT": "true", "WANDB_DATA_DIR": str(home), "WANDB_CACHE_DIR": str(home)}
    home.mkdir()
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    done = subprocess.run(
        [sys.executable, script, tmp_path], env=env, capture_output=True, text=True, timeout=100, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr

    exp, outcome = import_one(tmp_path / "wandb", tmp_path / "runs")

    assert (dict(outcome.left), outcome.notes) == ({}, [])
    assert (exp.name, exp.status, exp.notes) == ("real", "failed", ("A note.",))
    assert exp.params == {"lr": 0.1, "nested": {"a": [1, 2]}, "late": 3}
    assert exp.meta["source"].keys() == {"format", "project", "id", "group", "job_type"}
    summary = exp.summary()
    assert (summary["loss"].count, summary["a/c/d"].last, summary["best"].value, summary["val/loss"].value) == (5, 2.5, 7, 3)
    assert points(exp)[-1] == (20, {"x": 1.5, "y": 2.5})
    images = {event.name: event.data for event in exp.events("image")}
    assert images["img"]["boxes"] == [{"box": [0, 1, 2, 3], "label": "cat", "score": 0.5}]
    assert (images["img"]["caption"], list(images["img"]["masks"]), images["imgs"]["captions"]) == ("cap", ["m"], ["0", "1"])
    assert (exp.path / images["img"]["file"]["path"]).read_bytes()[:4] == b"\x89PNG"
    [histogram] = exp.events("histogram")
    assert (histogram.data["counts"], histogram.data["count"], len(histogram.data["edges"])) == ([1, 0, 2, 1], 4, 5)
    [table] = exp.events("table")
    assert table.data == {"columns": ["a", "b"], "rows": [[1, "x"], [2, "y"]]}
    [page] = exp.events("figure")
    assert b"<b>x</b>" in (exp.path / page.data["file"]["path"]).read_bytes()
    assert "hello console" in [event.data["message"] for event in exp.events("message", stream="console")]
    assert (exp.path / "files/artifacts/model/v1/m.txt").read_text() == "weights"
    artifacts = [event.data for event in exp.events("event", name="artifact") if event.data["type"] == "model"]
    first = artifacts[0]
    assert (len(artifacts), first["version"], first["metadata"], first["aliases"]) == (2, "v0", {"k": 1}, ["best", "latest"])
    assert json.loads(json.dumps(exp.meta["machine"]["cores"]))
    assert verdict(exp.path) == "intact"
    assert import_one(tmp_path / "wandb", tmp_path / "runs")[1].imported.lines == {}
