"""`schemas/marks.schema.json` describes each mark in a housekeeping folder: real ones fit, with all of their fields."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from bucket.memory import MemoryStore

import mlv
from mlv.bucket import positions
from mlv.bucket.push import Push
from mlv.errors import BucketUnreachable

jsonschema = pytest.importorskip("jsonschema")
referencing = pytest.importorskip("referencing")

FOLDER = Path(__file__).parents[2] / "schemas"
MARKS, PLAN = (json.loads((FOLDER / f"{name}.schema.json").read_text()) for name in ("marks", "plan"))
TITLED = {name: definition for name, definition in MARKS["$defs"].items() if "title" in definition}
REGISTRY = referencing.Registry().with_resources(
    (f"{name}.schema.json", referencing.Resource.from_contents(schema)) for name, schema in (("marks", MARKS), ("plan", PLAN))
)


def path_pattern(title: str) -> str:
    """The pattern of the paths that a title stands for; the first placeholder is a folder."""
    folder, _, behind = title.partition("/")
    assert re.fullmatch("<[a-z]+>", folder)
    return "(.+/)?" + re.sub("<[^>]+>", "[^/]+", behind.replace(".", r"\."))


def definitions(marks: Iterable[tuple[str, bytes]]) -> set[str]:
    """Check marks by their paths; return the names of the definitions that they fit."""
    names = set()
    for path, content in marks:
        (name,) = [name for name, each in TITLED.items() if re.fullmatch(path_pattern(each["title"]), path)]
        data: dict[str, Any] = json.loads(content)
        jsonschema.Draft202012Validator({"$ref": f"marks.schema.json#/$defs/{name}"}, registry=REGISTRY).validate(data)
        assert data.keys() <= TITLED[name].get("properties", {}).keys(), name
        names.add(name)
    return names


def of_folder(folder: Path) -> list[tuple[str, bytes]]:
    """The marks of an experiment's folder that are about its copies in buckets."""
    paths = [*(folder / ".mlv").glob("copy"), *(folder / ".mlv" / positions.FOLDER).glob("*.json")]
    return [(path.relative_to(folder.parent).as_posix(), path.read_bytes()) for path in paths]


def of_store(store: MemoryStore) -> list[tuple[str, bytes]]:
    return [(key, content) for key, content in store.content.items() if ".mlv" in key.split("/")]


def shipped(root: Path, store: MemoryStore) -> None:
    for outcome in Push(root, store).run([root / "digits"]):
        assert outcome.is_well


def test_the_schema_is_one():
    """It is a JSON Schema, and says of each field what it is, or refers to a definition that does."""
    jsonschema.Draft202012Validator.check_schema(MARKS)
    for name, definition in TITLED.items():
        fields = definition.get("properties", {})
        undescribed = {field for field, each in fields.items() if not {"description", "const"} & each.keys()}
        assert undescribed <= {"streams", "host", "machine", "boot"}, name


@pytest.mark.usefixtures("inline")
def test_marks_of_what_was_shipped(tmp_path):
    """Those in the folder and those in the bucket fit, from the first refusal to a log that was replaced."""
    exp = mlv.Exp(tmp_path, "digits", {"lr": 0.1}, capture=())
    exp.logger("val")({"loss": 0.5}, step=0)
    with exp.file("conf.txt", "w") as file:
        file.write("x")
    exp.flush()
    store = MemoryStore()
    positions.note(exp.path, store.url, "digits", str(BucketUnreachable("no answer", url=store.url)))
    assert definitions(of_folder(exp.path)) == {"position"}
    shipped(tmp_path, store)
    exp.close()
    shipped(tmp_path, store)
    assert definitions(of_folder(exp.path)) == {"copy", "position"}
    assert definitions(of_store(store)) == {"news", "whole"}

    log = exp.path / "log.jsonl"
    content = log.read_bytes()
    log.rename(exp.path.parent / "before")
    log.write_bytes(content)
    shipped(tmp_path, store)
    assert definitions(of_folder(exp.path)) == {"copy", "position"}
    assert json.loads((exp.path / ".mlv" / "copy").read_bytes()).keys() == TITLED["copy"]["properties"].keys()
    assert json.loads(positions.position_path(exp.path, store.url).read_bytes()).keys() == (
        TITLED["position"]["properties"].keys()
    )


@pytest.mark.usefixtures("inline")
def test_marks_of_a_lake(tmp_path, monkeypatch):
    """Those that a builder leaves, and those that it takes away again, fit."""
    pytest.importorskip("deltalake")
    pytest.importorskip("obstore")
    from mlv import lake
    from mlv.bucket.store import open_store
    from mlv.lake import builder
    from mlv.lake.lease import alone

    with mlv.Exp(tmp_path / "runs", "digits", {"lr": 0.1}, capture=()) as exp:
        exp.log({"loss": 0.5}, step=0)
    monkeypatch.setattr(builder, "CHECKPOINT_PLANS", 1)
    lake.build(tmp_path / "runs", tmp_path / "lake")
    store = open_store(f"file://{tmp_path}/lake")

    def kept() -> list[tuple[str, bytes]]:
        keys = [stored.key for stored in store.objects(".mlv") if not stored.key.startswith(".mlv/plans/")]
        return [(key, store.get(key)) for key in keys]

    assert definitions(kept()) == {"lake", "look", "done", "positions"}
    with alone(store):
        assert "builder" in definitions(kept())
    assert {*definitions(kept()), "builder", "removal", "copy", "position", "news", "whole"} == TITLED.keys()
