"""What `verify` says about runs that are gone as a whole, logs that end earlier, and lines that are only called redacted."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import mlv
from mlv.audit.merge import merge
from mlv.audit.redact import redact
from mlv.audit.verify import verify
from mlv.encoding import Reference
from mlv.errors import InvalidArgument
from mlv.store import ends
from mlv.store.seals import Chain, run_and_seq, sealed_by


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """An experiment of three runs in two streams, written inline, and the digest that each of them told."""
    root = tmp_path_factory.mktemp("original")
    told = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLV_INLINE", "1")
        exp = mlv.Exp(root, "exp", {"lr": 0.1}, capture=())
        for number in range(3):
            exp = mlv.Exp.open(root / "exp") if number else exp
            exp.log({"loss": 0.5}, step=number)
            exp.logger("val")({"acc": 0.5}, step=number)
            exp.add_note("a note")
            exp.close()
            told.append(exp.digest or "")
    return root / "exp", told


@pytest.fixture
def exp(original: tuple[Path, list[str]], tmp_path: Path) -> Path:
    """A copy, to be tampered with."""
    return Path(shutil.copytree(original[0], tmp_path / "copy" / "exp"))


@pytest.fixture
def told(original: tuple[Path, list[str]]) -> list[str]:
    return original[1]


def sessions(path: Path) -> list[list[bytes]]:
    """The lines of a stream, a list for each writer: a final seal is the last of each."""
    found: list[list[bytes]] = [[]]
    for line in path.read_bytes().splitlines(keepends=True):
        found[-1].append(line)
        if ends.digest_if_final(line):
            found.append([])
    assert found.pop() == []
    return found


def keep(folder: Path, numbers: list[int], streams: tuple[str, ...] = ("log", "val.log")) -> None:
    """Leave of some streams the lines of some writers only."""
    for stream in streams:
        path = folder / f"{stream}.jsonl"
        path.write_bytes(b"".join(line for number in numbers for line in sessions(path)[number]))


def resealed(path: Path) -> None:
    """Compute every seal of a file anew, as whoever can write it can."""
    chains: dict[str, Chain] = {}
    lines = []
    for line in path.read_bytes().splitlines(keepends=True):
        if (sealed := sealed_by(line)) is not None:
            fields = json.loads(line)
            chain = chains.get(sealed[0], Chain())
            fields["data"] |= {"sha256": chain.hexdigest(), "lines": chain.lines}
            fields["data"].pop("after", None)
            line = json.dumps(fields, separators=(",", ":")).encode() + b"\n"
        run, _ = run_and_seq(line) or ("", 0)
        chains.setdefault(run, Chain()).add([line])
        lines.append(line)
    path.write_bytes(b"".join(lines))


def test_all_of_it(exp, told):
    """What was written in three runs is intact, and holds what each of them told."""
    assert verify(exp).findings == ()
    assert verify(exp).digest == told[-1]
    assert [verify(exp, digest).verdict for digest in told] == ["intact"] * 3
    assert len({*told}) == 3


@pytest.mark.parametrize(
    "kept", [[1, 2], [0, 2], [0, 1], [0], [2]], ids=["first", "middle", "last", "later ones", "earlier ones"]
)
def test_a_whole_run_is_gone(exp, kept):
    """V1: the first, the middle or the last run, gone with its writer's lines from every stream, is missed."""
    keep(exp, kept)

    report = verify(exp)

    assert report.verdict in ("missing", "truncated")
    assert "not there" in report.findings[0].text


@pytest.mark.parametrize("kept", [[1, 2], [0, 2], [2]], ids=["first", "middle", "earlier ones"])
def test_without_housekeeping(exp, kept):
    """V1: a copy without `.mlv` shows it as well, as long as a later run is there."""
    shutil.rmtree(exp / ".mlv")
    keep(exp, kept)

    assert verify(exp).verdict == "missing"


@pytest.mark.parametrize("stream", ["log", "val.log"])
def test_one_stream_ends_earlier(exp, told, stream):
    """V1: one file that was cut off at an earlier final seal is told, also by what was told."""
    keep(exp, [0], (stream,))

    assert verify(exp).verdict == "truncated"
    assert verify(exp, told[-1]).verdict in ("truncated", "missing")


def test_expected_ends(exp, told):
    """B17: a log cut off at an earlier end, with all that remembers it, is told by the digest that was kept elsewhere."""
    shutil.rmtree(exp / ".mlv")
    keep(exp, [0, 1])

    assert verify(exp).verdict == "intact"  # nothing in the folder knows better
    assert verify(exp, told[1]).verdict == "intact"
    report = verify(exp, told[2])
    assert report.verdict == "missing"
    assert told[2] in report.findings[0].text


def test_sealed_anew(exp, told):
    """V3: other values, with every seal computed anew, are told by the digest."""
    shutil.rmtree(exp / ".mlv")
    for name in ("log.jsonl", "val.log.jsonl"):
        path = exp / name
        lines = [line.replace(b'"loss":0.5', b'"loss":0.1') for line in path.read_bytes().splitlines(keepends=True)]
        started = [json.loads(line) for line in lines]
        for fields in started:
            if fields["type"] == "run_started":
                fields["data"].pop("after", None)
        path.write_bytes(b"".join(json.dumps(fields, separators=(",", ":")).encode() + b"\n" for fields in started))
        resealed(path)

    assert verify(exp).verdict == "intact"
    assert [verify(exp, digest).verdict for digest in told] == ["missing"] * 3


@pytest.mark.parametrize("given", ["", "abc", "g" * 64])
def test_no_digest(exp, given):
    """What is no digest is said."""
    with pytest.raises(InvalidArgument, match="is no digest"):
        verify(exp, given)


def test_a_digest_outlasts_what_comes_later(exp, told, tmp_path, monkeypatch):
    """Another run, a redaction, and merging with another copy leave what was told provable."""
    monkeypatch.setenv("MLV_INLINE", "1")
    shutil.copytree(exp, tmp_path / "other" / "exp")
    with mlv.Exp.open(tmp_path / "other" / "exp") as again:
        again.log({"loss": 0.1}, step=9)
    with mlv.Exp.open(exp) as again:
        again.log.info("a secret")
    list(redact(exp, ["secret"]))
    list(merge(tmp_path / "other", exp.parent))

    assert [verify(exp, digest).verdict for digest in told] == ["intact"] * 3
    assert verify(exp).verdict == "intact"


def test_logs_from_before(exp):
    """A log whose lines name no ends is judged as before."""
    shutil.rmtree(exp / ".mlv")
    for name in ("log.jsonl", "val.log.jsonl"):
        rows = [json.loads(line) for line in (exp / name).read_bytes().splitlines()]
        for fields in rows:
            fields.get("data", {}).pop("after", None)
        (exp / name).write_bytes(b"".join(json.dumps(fields, separators=(",", ":")).encode() + b"\n" for fields in rows))
        resealed(exp / name)

    assert verify(exp).verdict == "intact"
    keep(exp, [0, 2])
    assert verify(exp).verdict == "intact"


def test_close_tells_it(tmp_path, capsys):
    """B17: closing says on stderr what `mlv verify --expect` takes; standard output is the script's own."""
    exp = mlv.Exp(tmp_path, "exp", capture=())
    exp.log({"loss": 1})
    assert exp.digest is None
    exp.close()
    out, err = capsys.readouterr()

    assert out == ""
    assert exp.digest is not None
    assert err.splitlines()[-1] == f"mlv: exp is complete, digest {exp.digest}"
    exp.close()
    assert capsys.readouterr().err == ""


def _redacted(log: Path, **data: Any) -> None:
    """Replace the line with a loss by one that is called redacted and has data, and tell of it as `mlv redact` does."""
    lines = log.read_bytes().splitlines(keepends=True)
    number = next(number for number, line in enumerate(lines) if b'"loss"' in line)
    fields = json.loads(lines[number])
    digest = hashlib.sha256(lines[number]).hexdigest()
    begin = {name: fields[name] for name in ("run", "seq", "time")}
    new = json.dumps({**begin, "redacted": {"sha256": digest}, **data}, separators=(",", ":")).encode() + b"\n"
    lines[number] = new
    row = {"run": fields["run"], "seq": fields["seq"], "sha256": hashlib.sha256(new).hexdigest()}
    said = {"run": "rforger000", "seq": 1, "time": fields["time"], "type": "redacted"}
    event = json.dumps({**said, "data": {"who": "me", "reason": "", "lines": [row]}}, separators=(",", ":")).encode() + b"\n"
    chain = Chain()
    chain.add([event])
    seal = {"of": "rforger000", "stream": "log", "lines": 1, "sha256": chain.hexdigest()}
    sealed = json.dumps({**said, "seq": 2, "type": "seal", "data": seal}, separators=(",", ":")).encode() + b"\n"
    log.write_bytes(b"".join([*lines, event, sealed]))


FORGED = {"_mlv": "file", "path": "files/x", "sha256": "0" * 64}


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        ({"type": "metrics", "data": {"loss": 0.0001}}, "edited"),
        ({"type": "event", "name": "result", "data": {"loss": 0.0001}}, "edited"),
        ({"type": "redacted", "data": {"loss": 0.0001}}, "edited"),
        ({"type": "metrics", "data": {"loss": 0.0001, "x": FORGED}}, "unproven"),
        ({"type": "params", "data": {"lr": 0.5}}, "unproven"),
        ({"type": "note", "data": {"text": "it was the best"}}, "unproven"),
    ],
)
def test_data_of_a_line_that_is_called_redacted(exp, data, verdict):
    """V2: numbers in a line that is called redacted are not proven by the hash that stands beside them."""
    _redacted(exp / "log.jsonl", **data)

    report = verify(exp)

    assert report.verdict == verdict
    assert any("redacted" in finding.text for finding in report.findings if finding.verdict == verdict)


@pytest.mark.parametrize("change", ["gone", "edited", "a link", "outside", "the store's own"])
def test_files_of_types_to_come(tmp_path, monkeypatch, change):
    """V1, A2: a file that an event of a type to come refers to is judged as any other; what is not looked at is not proven."""
    monkeypatch.setenv("MLV_INLINE", "1")
    content = b"<html></html>"
    path = {"outside": "../page.html", "the store's own": "log.jsonl"}.get(change, "files/page.html")
    exp = mlv.Exp(tmp_path / "runs", "exp", capture=())
    (exp.path / "files").mkdir()
    place = exp.path / "files" / "page.html"
    place.write_bytes(content)
    reference = Reference({"_mlv": "file", "path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()})
    exp._session.emit("html", {"file": reference}, name="page")
    exp.close()
    assert change in ("outside", "the store's own") or verify(exp.path).verdict == "intact"
    if change == "gone":
        place.unlink()
    elif change == "edited":
        place.write_bytes(content[::-1])
    elif change == "a link":
        place.rename(tmp_path / "page.html")
        place.symlink_to(tmp_path / "page.html")

    expected = {"gone": "missing", "edited": "edited", "outside": "intact"}.get(change, "unproven")
    assert verify(exp.path).verdict == expected
