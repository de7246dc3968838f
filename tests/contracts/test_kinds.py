"""What every kind of media promises, whoever adds one: the rows of `schemas/values.md` are the samples."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from logs import line
from values_page import NAMES, all_rows, possible_rows

import mlv
from mlv.audit.verify import verify
from mlv.experiment import null_sessions
from mlv.media.extras import missing_extra
from mlv.media.kinds import ENCODERS, KINDS, VALUE_KINDS, MediaCalls
from mlv.projections.display import lines_of

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas" / "event.schema.json").read_text())
LONGEST_SHOWN = 300

each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def calls_of(kind: Any) -> list[str]:
    """The rows of a kind that can be logged here, each as an expression."""
    calls = [call for [call], [name], _ in possible_rows("Media") if name == kind.name]
    return calls or pytest.skip("needs a library that is not installed")


def bad_calls_of(kind: Any) -> list[tuple[str, str]]:
    """The rows of what cannot be stored as a kind: the call, and the reason."""
    return [(call, reason) for [call], [reason], _ in all_rows("What cannot be stored") if call.startswith(f"log.{kind.name}(")]


@pytest.fixture
def logged(tmp_path: Path, inline: None, kind: Any) -> mlv.Exp:
    """An experiment that has ended, with an event for each row of a kind."""
    if missing := missing_extra(kind.name):
        pytest.skip(missing)
    with mlv.Exp(tmp_path, "exp", capture=()) as exp:
        for call in calls_of(kind):
            eval(call, {**NAMES, "log": exp.log})
    return exp


def files_of(exp: mlv.Exp) -> Iterator[Path]:
    return (path for path in (exp.path / "files").rglob("*") if path.is_file())


@each_kind
def test_schema(kind):
    """The schema names the type, and says what its data is, under a definition with a sentence of its own."""
    definition = f"{kind.name}_event"
    [branch] = [branch for branch in SCHEMA["allOf"] if branch["if"]["properties"]["type"] == {"const": kind.name}]

    assert kind.name in SCHEMA["properties"]["type"]["examples"]
    assert branch["then"] == {"required": ["name", "data"], "properties": {"data": {"$ref": f"#/$defs/{definition}"}}}
    assert SCHEMA["$defs"][definition]["description"].startswith(f"Data of {kind.name}: ")


@each_kind
def test_page_of_values(kind):
    """The page shows what a call of this kind leaves, and what it refuses."""
    shown = [call for [call], [name], _ in all_rows("Media") if name == kind.name and call.startswith(f"log.{name}(")]

    assert shown
    assert bad_calls_of(kind)


@each_kind
def test_calls_of_a_logger(kind):
    """A Logger has a call of the kind's name, with a step and a verbosity, whose docstring says which line it leaves."""
    for name in filter(None, (kind.name, kind.several)):
        call = getattr(mlv.Logger, name)
        needed = [key for key, given in inspect.signature(call).parameters.items() if given.default is given.empty]

        assert call is getattr(MediaCalls, name)
        assert inspect.signature(call).parameters.keys() >= {"name", "step", "verbosity"}
        assert f"line of type `{kind.name}`" in " ".join(inspect.getdoc(call).split())
        assert len(needed) <= 3 if name in VALUE_KINDS else len(needed) > 3  # `self`, `name` and the value


@each_kind
def test_disabled_logger(kind, tmp_path, monkeypatch):
    """A disabled logger takes the same calls, looks at no value, and leaves nothing."""
    monkeypatch.setenv("MLV_DISABLED", "1")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(null_sessions, "roots", {})
    exp = mlv.Exp(tmp_path / "runs", "exp")
    for name in filter(None, (kind.name, kind.several)):
        parameters = inspect.signature(getattr(exp.log, name)).parameters.values()
        values = [Untouchable() for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
        getattr(exp.log, name)("x", *values[1:], step=1)

    assert not (tmp_path / "runs").exists()


class Untouchable:
    """Raises at whatever is done to it."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(name)


@each_kind
def test_round_trip(kind, logged):
    """What is logged comes back as events of the type, fits the schema, and is proved."""
    jsonschema = pytest.importorskip("jsonschema")
    lines = [json.loads(text) for text in (logged.path / "log.jsonl").read_text().splitlines()]
    found = [record for record in lines if record["type"] == kind.name]

    assert len(found) == len(calls_of(kind)) == len(list(logged.events(kind.name)))
    assert [error.message for record in found for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(record)] == []
    assert verify(logged.path).verdict == "intact"


@each_kind
def test_line_for_people(kind, logged):
    """An event is one short line, which names it and its type."""
    for event in logged.events(kind.name):
        [segments] = lines_of(event)
        text = " ".join("".join(span for span, _ in segment) for segment in segments)

        assert text.startswith(f"x {kind.name} ")
        assert len(text) < LONGEST_SHOWN


@each_kind
def test_missing_file(kind, logged):
    """Verification names each file that is gone."""
    files = list(files_of(logged))
    if not files:
        pytest.skip("a line holds all that is logged")
    for path in files:
        path.unlink()

    report = verify(logged.path)

    assert report.verdict == "missing"
    assert {found.file for found in report.findings} == {path.relative_to(logged.path).as_posix() for path in files}


@pytest.mark.parametrize("type", [*KINDS, "of_tomorrow"])
def test_missing_file_of_another_version(tmp_path, type):
    """Whatever the type, also one that this version does not know: a file that an event refers to has to be there."""
    mlv.Exp(tmp_path, "exp", capture=()).close()
    folder = tmp_path / "exp"
    file = {"_mlv": "file", "path": "files/media/x/gone.bin", "size": 1, "sha256": "0" * 64}
    with open(folder / "log.jsonl", "ab") as log:
        log.write(line("rother0", 1, type, name="x", data={"deep": [{"file": file}]}))

    assert [found.file for found in verify(folder).findings if found.verdict == "missing"] == ["files/media/x/gone.bin"]


@each_kind
def test_bad_input(kind, tmp_path, inline):
    """What is no such value becomes one rejected event of the kind, with a reason that names what is wrong, and one warning."""
    with mlv.Exp(tmp_path, "exp", capture=()) as exp:
        for call, reason in bad_calls_of(kind):
            with pytest.warns(mlv.RejectedWarning) as shown:
                eval(call, {**NAMES, "log": exp.log})
            *_, event = exp.events("rejected")

            assert (event.name, event.data["type"], event.data["reason"]) == ("x", kind.name, reason)
            assert not reason.startswith(("cannot be read", "cannot be encoded"))  # nobody foresaw it
            assert len(shown) == 1


@each_kind
def test_packages_of_the_encoder(kind):
    """A kind with an extra says which of its packages an event needs; the others need none."""
    if kind.extra is None:
        assert missing_extra(kind.name) is None
    else:
        assert isinstance(__import__(ENCODERS[kind.name], fromlist=["needed_package"]).needed_package({}), str)


def test_nothing_is_loaded_before_it_is_used(python):
    """`import mlv` loads the registry, and no module of a kind."""
    done = python("""
        import sys, mlv
        from mlv.media.kinds import ENCODERS, KINDS
        print(sorted(sys.modules.keys() & {*ENCODERS.values(), *(f"mlv.media.{name}" for name in KINDS)}))
    """)

    assert (done.stdout, done.stderr) == ("[]\n", "")
