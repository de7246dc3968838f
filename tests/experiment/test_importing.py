"""Imported experiments follow from their source, to the byte: importing again, or after a kill, adds what is missing."""

from __future__ import annotations

import json
import math
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import run_command
from dying import is_done
from logs import of_type, read

import mlv
from experiment.items import PNG, WHOLE, at, imported, source, steps
from mlv.audit.merge import Tree
from mlv.audit.verify import verify
from mlv.errors import ExperimentBusy, InvalidArgument
from mlv.experiment.importing.lines import ImportedLines
from mlv.experiment.importing.source import RunBegins, RunEnds, SourceEvent, SourceFile, SourcePoints, SourceRows
from mlv.experiment.importing.writing import import_experiment

SECRET = "ghp_" + "a1B2" * 9


def content(root: Path) -> dict[str, bytes]:
    """All files of a tree, apart from what writers keep for themselves."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and ".mlv" not in path.parts)
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def verified(path: Path) -> str:
    done = run_command("verify", path)
    return str(done.stdout) + str(done.stderr)


def test_as_if_it_had_been_there(tmp_path):
    """An imported experiment reads as one that logged with the times of its source; it is sealed and intact."""
    result = imported(tmp_path, WHOLE, tags=["old"], notes="From elsewhere.", kind="train")

    exp = mlv.Exp.open(result.path)
    assert (result.is_new, result.path, exp.id) == (True, tmp_path / "exp", result.id)
    assert (exp.params, exp.tags, exp.notes, exp.kind) == ({"lr": 0.1}, ("old",), ("From elsewhere.",), "train")
    assert exp.meta["source"] == {"format": "test", "id": "x1"}
    assert exp.meta["created"] == "2024-02-29T12:00:00.000000Z"
    first, last = exp.runs
    assert (exp.status, first.status, first.started, first.ended) == ("ok", "failed", at(0), at(15))
    assert ([child.status for child in first.children], last.params) == (["ok"], {"lr": 0.2})
    loss = exp.summary()["loss"]
    assert (loss.count, loss.last, loss.best) == (14, 1 / 24, 1 / 24)
    assert exp.summary()["time_s"].value == math.inf
    assert [event.stream for event in exp.events("summary")] == ["summary"]
    assert [event.time for event in exp.events("metrics")][:3] == [at(1), at(2), at(3)]
    assert [event.seq for event in exp.events() if event.run == last.id] == [1, 2, 3, 4, 5, 6]
    [image] = exp.events("image")
    assert (exp.path / image.data["file"]["path"]).read_bytes() == PNG
    assert "intact" in verified(exp.path)
    assert json.loads(run_command("ls", "--json", tmp_path).stdout)["status"] == "ok"


def test_the_same_input_gives_the_same_bytes(tmp_path):
    """Imported twice, or into another tree, an experiment is the same; the second import adds nothing."""
    first = imported(tmp_path / "one", WHOLE)
    before = content(tmp_path / "one")

    again, other = imported(tmp_path / "one", WHOLE), imported(tmp_path / "two", iter(WHOLE))

    assert (again.is_new, again.lines, again.differences, again.id) == (False, {}, [], first.id)
    assert content(tmp_path / "one") == before == content(tmp_path / "two")
    assert sum(other.lines.values()) == sum(text.count(b"\n") for name, text in before.items() if name.endswith(".jsonl"))


@pytest.mark.parametrize("cut", range(len(WHOLE) + 1))
def test_a_source_that_grew(tmp_path, cut):
    """Importing the beginning of a source, and later all of it, gives the bytes of importing all at once."""
    first = imported(tmp_path / "one", WHOLE[:cut])
    assert "intact" in (told := verified(first.path)) or "unproven" in told
    second = imported(tmp_path / "one", WHOLE)
    imported(tmp_path / "two", WHOLE)

    assert (second.is_new, second.differences) == (False, [])
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert "intact" in verified(second.path)


_OTHER_TYPES = ("message", "image", "table", "tags", "note", "file", "metadata", "params", "checkpoint")


def test_any_source_that_grew(tmp_path_factory):
    """So it is with any runs, values, names, streams and clocks, and any number of imports."""
    pytest.importorskip("hypothesis")
    from hypothesis import given, settings
    from hypothesis import strategies as st

    values = st.floats(width=16) | st.integers(-9, 9) | st.sampled_from([None, "x", [1], object(), 2**70, True, {"b": 1}])
    logged = st.builds(
        SourceEvent,
        run=st.sampled_from("abc"),
        time=st.integers(-5, 5).map(at),
        type=st.sampled_from(["metrics", "metrics", "event", "summary", *_OTHER_TYPES]),
        data=st.dictionaries(st.sampled_from(["a", "b/c", ""]), values, max_size=3)
        | st.just({"file": SourceFile(PNG, ".png")}),
        name=st.sampled_from(["", "t", "x/y"]),
        step=st.none() | st.integers(0, 3) | st.just("odd"),
        at=st.sampled_from([{}, {}, {"epoch": 1}]),
        stream=st.sampled_from(["log", "log", "val"]),
    )
    begins = st.builds(RunBegins, run=st.sampled_from("abc"), time=st.integers(-5, 5).map(at), rank=st.integers(0, 1))
    ends = st.builds(RunEnds, run=st.sampled_from("abc"), time=st.integers(-5, 5).map(at))

    @settings(max_examples=30, deadline=None)
    @given(st.lists(begins | logged | logged | logged | ends, max_size=25), st.lists(st.integers(0, 25), max_size=3))
    def check(drawn, cuts):
        began, over, items = set(), set(), []
        for item in drawn:
            if (item.run in began) == isinstance(item, RunBegins) or item.run in over:
                continue
            began.add(item.run)
            over |= {item.run} if isinstance(item, RunEnds) else set()
            items.append(item)
        root = tmp_path_factory.mktemp("trees")

        for cut in [*sorted(cuts), len(items)]:
            result = imported(root / "one", items[:cut])
        imported(root / "two", items)

        assert result.differences == []
        assert content(root / "one") == content(root / "two")
        assert verify(result.path).verdict == ("intact" if items and began == over else "unproven")

    check()


def test_a_run_without_an_end(tmp_path, monkeypatch):
    """A run that the source has not ended is open, also while others log beside it, and is gone on with."""
    monkeypatch.setenv("MLV_INLINE", "1")
    result = imported(tmp_path, WHOLE[:8])
    assert mlv.Exp.open(result.path).status == "lost"
    with mlv.Exp.open(result.path, capture=(), system=False) as exp:
        exp.log({"loss": 7.0}, step=99)
    assert set(verified(exp.path).split("\n", 1)[0].split()[:1]) == {"unproven"}

    again = imported(tmp_path, WHOLE)

    assert again.differences == []
    assert exp.summary()["loss"].count == 15
    assert "intact" in verified(exp.path)
    with mlv.Exp.open(result.path, capture=(), system=False) as exp:
        exp.log({"loss": 8.0}, step=100)
    assert [line["step"] for line in read(exp.path) if line.get("data") == {"loss": 8.0}] == [100]


KILLED = """
    import sys
    sys.path.insert(0, sys.argv[2])
    from experiment.items import WHOLE, imported

    imported(Path(sys.argv[3]), WHOLE[:8])
    imported(Path(sys.argv[3]), WHOLE)
"""


def test_after_a_kill(tmp_path):
    """Killed at any call that changes the disk, in the first import or in one of the grown source, the next completes it."""
    imported(tmp_path / "at once", WHOLE)
    expected = content(tmp_path / "at once")
    names = ("write", "fsync", "link", "rename", "replace", "mkdir", "unlink", "open", "chmod", "truncate")
    for number in range(1, 1000, 11):
        root = tmp_path / str(number)
        done = is_done(KILLED, [Path(__file__).parents[1], root], number, names)

        result = imported(root, WHOLE)

        assert content(root) == expected, number
        assert (result.differences, [path.name for path in root.iterdir() if not path.name.startswith(".mlv")]) == ([], ["exp"])
        if done:
            break
    assert done


ORDINARY = [
    {"loss": 0.5, "acc": 1},
    {"loss": 0.25, "grad/norm": 1e300, "n": 2**64 - 1},
    {"loss": math.nan, "acc": -math.inf},
    {"Val Loss": 0.1, "schön": -0.0},
    {"_mlv": 1, "_mlv_x": 2.0},
    {SECRET: 3, "loss": 1},
    {"password": 3, "loss": 1},
    {"": 3, "loss": 1},
    {"a" * 100: 1, 3: 4},
    {"\ud800": 1},
    {"null": 1, "loss": True},
    {"n": 2**64, "loss": 1},
    {f"m{n}": n for n in range(60)},
    {},
]


@pytest.mark.parametrize("name", ["", "train", SECRET, "\ud800"])
def test_numbers_at_once(tmp_path, monkeypatch, name):
    """Events of plain numbers take a short way; their lines are those of the long one."""
    steps = [None, 3, -1, 2**63 - 1, 2**63, 0.5]
    items = [
        RunBegins("a", at(0)),
        *(
            SourceEvent("a", at(number), "metrics", data, name, step)
            for number in range(2)
            for data in ORDINARY
            for step in steps
        ),
        RunEnds("a", at(2)),
    ]
    quick = imported(tmp_path / "quick", items)
    with monkeypatch.context() as patch:
        patch.setattr(ImportedLines, "_quick_line", lambda *_: None)
        imported(tmp_path / "slow", items)

    assert content(tmp_path / "quick") == content(tmp_path / "slow")
    assert "intact" in verified(quick.path)


def test_points_at_once(tmp_path):
    """Points that are handed over together give the lines of their events, also where a run ended among them."""
    values = [0.5, 1e300, -0.0, math.nan, 2.0, 0.1, 3.0, math.inf, 5.0, 6.0]
    names = ["loss", "acc", SECRET, "loss", "", "Val Loss", "x/y", "acc", "loss", "loss"]
    times = [at(number).timestamp() for number in range(10)]
    points = SourcePoints("a", [int(time * 1e6) + 1 for time in times], names, range(10), values)
    steady = SourcePoints("a", [10**15] * 5, ["loss"] * 5, range(5), [0.25] * 5)
    begin, end = RunBegins("a", at(0)), RunEnds("a", at(11), "ended")
    at_once = [begin, points, steady, steady, end]
    one_by_one = [begin, *points.events(), *steady.events(), *steady.events(), end]
    imported(tmp_path / "one", at_once)
    imported(tmp_path / "two", one_by_one)
    imported(tmp_path / "three", [begin, *points.events(), *list(steady.events())[:3], end])
    imported(tmp_path / "four", [begin, *points.events(), *list(steady.events())[:3], end])
    grown = imported(tmp_path / "three", at_once)
    imported(tmp_path / "four", one_by_one)

    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert content(tmp_path / "three") == content(tmp_path / "four")
    assert (grown.differences, "intact" in verified(grown.path)) == ([], True)


@pytest.mark.parametrize(
    "odd", [*ORDINARY, {"a": "text"}, {"a": [1]}, {"a:null": 1}, {"a": {"b": 1}}, {"a": object()}, {'q"': 1}]
)
def test_rows_at_once(tmp_path, odd):
    """Rows that are handed over together give the lines of their events, whatever one of them holds."""
    rows = [{"loss": 0.5, "acc": 1}, odd, {"acc": 2}, {"loss": 2**70}]
    for name, chosen in (("all", rows), ("good", rows[:1] * 3)):
        batch = SourceRows("a", [10**15, 10**15 + 61_000_000, 5, 6][: len(chosen)], [0, -1, 2**62, 3][: len(chosen)], chosen)
        ends = [RunEnds("a", at(11))]
        imported(tmp_path / name / "one", [RunBegins("a", at(0)), batch, batch, *ends])
        imported(tmp_path / name / "two", [RunBegins("a", at(0)), *batch.events(), *batch.events(), *ends])

        assert content(tmp_path / name / "one") == content(tmp_path / name / "two")


def test_other_facts_about_the_same_source(tmp_path):
    """An experiment is known by its source: what else that tells otherwise now, or hides now, makes no second one."""
    first = imported(tmp_path, WHOLE[:5], params={"lr": 0.1, "user": "carol"}, tags=["a"])
    before = content(tmp_path)

    again = imported(tmp_path, WHOLE[:5], params={"lr": 0.2, "user": "carol"}, tags=["a"], redact=["carol"])

    assert (again.path, again.is_new, again.id, again.lines) == (first.path, False, first.id, {})
    assert [text.split(" of ")[0] for text in again.differences] == ["params, redact"]
    assert content(tmp_path) == before
    assert imported(tmp_path, WHOLE, redact=["carol"]).differences != []
    assert "intact" in verified(first.path)
    other = imported(tmp_path, WHOLE, identity={"format": "test", "id": "x2"})
    assert (other.is_new, other.path.name) == (True, "exp_1")


def test_after_a_redaction_of_its_meta(tmp_path):
    """It is known too where its meta.json was redacted, and where rules changed after that."""
    first = imported(tmp_path, WHOLE[:5], params={"user": "carol"})
    assert run_command("redact", first.path, "-p", "carol").returncode == 0

    for options in ({}, {"redact": ["carol"]}):
        again = imported(tmp_path, WHOLE[: 7 + len(options)], params={"user": "carol"}, **options)

        assert (again.path, again.is_new, sum(again.lines.values())) == (first.path, False, 2 if not options else 1)
    assert len([path for path in tmp_path.iterdir() if not path.name.startswith(".mlv")]) == 1


def test_only_looked_at(tmp_path):
    """A dry run tells the lines that an import would add, and writes nothing."""
    for number, items in enumerate([WHOLE[:9], WHOLE, WHOLE]):
        before = content(tmp_path)
        planned = imported(tmp_path / "tree", items, dry_run=True)
        assert content(tmp_path) == before
        done = imported(tmp_path / "tree", items)

        assert (planned.path, planned.is_new, planned.lines) == (done.path, done.is_new, done.lines)
        assert (done.is_new, bool(done.lines)) == (number == 0, number < 2)


def test_behind_an_end(tmp_path):
    """Where a source grew behind an end that was recorded, that end stays, and another run goes on: no event is lost."""
    odd = SourceEvent("a", at(4), "event", {"type": "run_ended", "run": {"type": "run_ended"}}, name="no end")
    begin, rest = [RunBegins("a", at(0)), *steps("a", 1, 4)], [odd, *steps("a", 4, 7)]
    imported(tmp_path, [*begin, RunEnds("a", at(3), "ended")])
    before = content(tmp_path)
    imported(tmp_path, [*begin, *rest, RunEnds("a", at(6), "ended")])
    third = imported(tmp_path, [*begin, *rest, *steps("a", 7, 9), RunEnds("a", at(8), "ok")])
    again = imported(tmp_path, [*begin, *rest, *steps("a", 7, 9), RunEnds("a", at(8), "ok")])

    exp = mlv.Exp.open(third.path)
    assert [run.status for run in exp.runs] == ["ended", "ended", "ok"]
    assert exp.history(wide=False)["step"].tolist() == list(range(1, 9)) if _has_pandas() else True
    assert sorted(event.step for event in exp.events("metrics")) == list(range(1, 9))
    assert all(content(tmp_path)[name].startswith(text) for name, text in before.items())
    assert (third.differences, again.lines) == ([], {})
    assert "intact" in verified(exp.path)


def _has_pandas() -> bool:
    from importlib.util import find_spec

    return find_spec("pandas") is not None and find_spec("pyarrow") is not None


def test_another_end(tmp_path):
    """An end that the source tells otherwise now stays as it was recorded, and is reported."""
    items = [RunBegins("a", at(0)), *steps("a", 1, 3)]
    imported(tmp_path, [*items, RunEnds("a", at(3), "ended")])
    before = content(tmp_path)

    again = imported(tmp_path, [*items, RunEnds("a", at(4), "ok")])

    assert content(tmp_path) == before
    assert ("ended otherwise" in again.differences[0], again.lines) == (True, {})


def test_beside_what_others_do(tmp_path, monkeypatch):
    """Tags, other runs and a new folder of an imported experiment stay; the growth of its source is brought in there."""
    monkeypatch.setenv("MLV_INLINE", "1")
    result = imported(tmp_path, WHOLE[:-3])
    exp = mlv.Exp.open(result.path, capture=(), system=False)
    exp.log({"loss": 7.0}, step=99)
    exp.close()
    exp = mlv.Exp.open(result.path)
    exp.add_tags("mine")
    exp = exp.move(tmp_path / "elsewhere" / "renamed")

    def items():
        yield from WHOLE
        with mlv.Exp.open(exp.path, capture=(), system=False) as beside:  # it logs while the items are read
            beside.log({"loss": 8.0}, step=100)

    again = imported(tmp_path, items())

    assert (again.path, again.is_new, again.differences) == (exp.path, False, [])
    assert (len(exp.runs), exp.tags, exp.summary()["loss"].count) == (4, ("mine",), 16)
    assert "intact" in verified(exp.path)


@pytest.mark.parametrize("before", [0, 5], ids=["new", "there"])
def test_imported_by_two_at_once(tmp_path, before):
    """An experiment that another process imports meanwhile is left to it; the next import adds the rest."""
    first = [RunBegins("a", at(0)), *steps("a", 1, 5)]
    grown = [*first, *steps("a", 5, 9), RunEnds("a", at(9))]
    if before:
        imported(tmp_path, first[:before])

    def items():
        imported(tmp_path, [*first, RunEnds("a", at(5))])
        yield from grown

    with pytest.raises(ExperimentBusy, match="import it again"):
        imported(tmp_path, items())

    result = imported(tmp_path, grown)
    assert ([path.name for path in tmp_path.iterdir()], result.differences) == (["exp"], [])
    assert mlv.Exp.open(result.path).summary()["loss"].count == 8
    assert "intact" in verified(result.path)


def test_another_event(tmp_path):
    """An event that the source tells otherwise now stays as it was recorded; the difference names no folder that is gone."""
    begin = [RunBegins("a", at(0)), *steps("a", 1, 3)]
    imported(tmp_path, [*begin, *steps("a", 3, 4)])

    again = imported(tmp_path, [*begin, *steps("a", 5, 6)])

    assert again.differences[0].startswith("the source's log.jsonl, bytes ")
    assert [event.step for event in mlv.Exp.open(again.path).events("metrics")] == [1, 2, 3]


def test_files(tmp_path):
    """Files are copied, or linked, and known by their hashes; one that is gone costs itself only."""
    one, big = tmp_path / "model.pt", tmp_path / "big.bin"
    one.write_bytes(b"weights")
    big.write_bytes(b"B" * 5000)
    gone, twice = SourceFile(tmp_path / "gone.png", ".png"), SourceFile(PNG, ".png", "x")
    items = [
        RunBegins("a", at(0)),
        SourceEvent("a", at(1), "file", SourceFile(one, ".pt"), name="models/model.pt"),
        SourceEvent("a", at(2), "file", SourceFile(big, ".bin", is_linked=True), name="big.bin"),
        SourceEvent("a", at(3), "image", {"files": [twice, twice]}, name="i", step=3),
        SourceEvent("a", at(4), "image", {"file": gone}, name="i", step=4),
        SourceEvent("a", at(5), "file", SourceFile(b"two", ".pt"), name="models/model.pt"),
        RunEnds("a", at(6)),
    ]

    result = imported(tmp_path / "runs", items)

    files = result.path / "files"
    assert ((files / "models/model.pt").read_bytes(), (files / "big.bin").read_bytes()) == (b"two", big.read_bytes())
    assert os.stat(files / "big.bin").st_mode == os.stat(big).st_mode or os.stat(files / "big.bin").st_nlink == 1
    assert len(list((files / "media/i").iterdir())) == 2
    [rejected] = of_type(read(result.path), "rejected")
    assert (rejected["step"], rejected["data"]["type"], len(result.rejected)) == (4, "image", 1)
    assert "gone.png" in rejected["data"]["reason"]
    assert "intact" in verified(result.path)
    assert imported(tmp_path / "runs", items).lines == {}


def test_a_disk_that_is_full(tmp_path, monkeypatch):
    """Where the tree cannot be written, nothing is imported: no file counts as gone for it."""
    from mlv.store import copying

    (tmp_path / "a.png").write_bytes(PNG)
    items = [
        RunBegins("a", at(0)),
        SourceEvent("a", at(1), "image", {"file": SourceFile(tmp_path / "a.png", ".png")}, name="i"),
    ]

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(copying, "copy_hashed", full)
        with pytest.raises(OSError, match="No space left"):
            imported(tmp_path / "runs", items)

    assert list((tmp_path / "runs").iterdir()) == []
    assert imported(tmp_path / "runs", items).rejected == []


FULL = """
    import errno, os, resource, signal, sys
    from pathlib import Path

    sys.path.insert(0, sys.argv[1])
    from experiment.items import at, imported, steps
    from mlv.experiment.importing.source import RunBegins

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
    try:
        imported(Path(sys.argv[2]), [RunBegins("a", at(0)), *steps("a", 1, 2000)])
    except OSError as error:
        print(error.errno == errno.EFBIG, sorted(os.listdir(sys.argv[2])))
"""


def test_a_log_that_finds_no_room(python, tmp_path):
    """Where lines find no room, the reason is told, nothing is left, and every file is closed."""
    pytest.importorskip("resource", reason="a limit on the size of files stands for a full disk")
    done = python(FULL, Path(__file__).parents[1], tmp_path / "runs")

    assert (done.stdout, done.stderr) == ("True []\n", "")


def test_bad_values_and_credentials(tmp_path):
    """What cannot be stored is `rejected` beside the rest, and credentials are taken out, as in a live run."""
    items = [
        RunBegins("a", at(0), {"token": SECRET}),
        SourceEvent("a", at(1), "metrics", {"ok": 1, "bad": object(), "nan": math.nan}, step=1),
        SourceEvent("a", at(2), "metrics", {"ok": 2}, step="two"),
        SourceEvent("a", at(3), "message", {"level": "info", "message": f"login with {SECRET}"}),
        SourceEvent("a", at(4), "event", {"odd": "\ud800"}, name="a", at={"epoch": 3}),
        SourceEvent("a", at(4), "metrics", [3]),
        SourceEvent("a", at(4), "summary", None),
        SourceEvent("a", at(4), "message", {"text": "no level"}),
        RunEnds("a", at(5), "failed", {"type": "E", "message": SECRET, "traceback": ""}),
    ]

    result = imported(
        tmp_path, items, params={"api_key": SECRET, "lr": math.inf}, tags=[SECRET], captured={"env": {"X": SECRET}}
    )

    exp = mlv.Exp.open(result.path)
    assert SECRET.encode() not in b"".join(content(tmp_path).values())
    assert (exp.params["lr"], len(result.rejected)) == (math.inf, 5)
    assert {name: each.count for name, each in exp.summary().items()} == {"ok": 1, "nan": 1}
    assert [event.data.get("rest") for event in exp.events("rejected")][1:3] == [{"ok": 2}, [3]]
    assert "intact" in verified(exp.path)


def test_captured_credentials(tmp_path):
    """Arguments, variables and addresses of remotes are redacted by their names, too, as those of a live run."""
    captured = {
        "script": {"argv": ["train.py", "--api-key", "hunter2", "--lr=1"]},
        "git": {"commit": None, "remotes": {"origin": "https://me:hunter2@example.org/r.git"}},
        "env": {"variables": {"MY_TOKEN": "hunter2", "HOME": "/home/me"}, "packages": {}},
    }

    meta = (imported(tmp_path, WHOLE, captured=captured).path / "meta.json").read_text()

    assert ("hunter2" in meta, meta.count("<redacted>"), "/home/me" in meta, "--lr=1" in meta) == (False, 3, True, True)


def test_sub_experiments(tmp_path):
    """A sub-experiment goes below its parent, and names it; experiments of one name are told apart by their identity."""
    tree = Tree(tmp_path)
    sweep = import_experiment(source(name="sweep", kind="sweep"), [], tree)

    def trials() -> list[Any]:
        sources = [source(name="trial/1", kind="trial", identity={"id": number}) for number in range(2)]
        return [import_experiment(one, WHOLE, tree, below=sweep.path) for one in sources]

    first, again = trials(), trials()

    assert [trial.path.name for trial in first] == ["trial_1", "trial_1_1"]
    assert [sub.path for sub in mlv.Exp.open(sweep.path).sub_exps] == [trial.path for trial in first]
    assert [(trial.path, trial.lines) for trial in again] == [(trial.path, {}) for trial in first]


@pytest.mark.parametrize(
    "items",
    [steps("a", 0, 1), [RunBegins("a", at(0)), RunBegins("a", at(1))], [RunBegins("a", datetime(2024, 1, 1))],
     [RunBegins("a", at(0)), RunEnds("a", at(1)), *steps("a", 2, 3)], [RunBegins("a", at(0), parent="b")]],
    ids=["not begun", "begun twice", "no zone", "over", "no parent"],
)  # fmt: skip
def test_bad_items(tmp_path, items):
    """A mistake of an importer is refused, and leaves nothing."""
    with pytest.raises(InvalidArgument):
        imported(tmp_path / "runs", items)

    assert list((tmp_path / "runs").iterdir()) == []


def test_a_creation_without_a_zone(tmp_path):
    """A time of creation that is another moment on another machine is refused: the ID follows from it."""
    with pytest.raises(InvalidArgument, match="has no zone"):
        imported(tmp_path / "runs", [], created=datetime(2024, 1, 1))


def test_runs_beside_each_other_that_grew(tmp_path):
    """Runs that ended side by side may go on in any order later: what was sealed stays, and every line comes over."""
    begin = [RunBegins(name, at(0)) for name in "abc"]

    def items(*ends: int) -> list[Any]:
        logged = [item for name, end in zip("abc", ends, strict=True) for item in steps(name, 1, end)]
        return [*begin, *logged, *(RunEnds(name, at(end), "ended") for name, end in zip("abc", ends, strict=True))]

    imported(tmp_path, items(3, 3, 3))
    before = content(tmp_path)

    grown = [imported(tmp_path, items(*ends)) for ends in [(5, 3, 4), (5, 6, 4), (8, 9, 7), (8, 9, 7)]]

    assert [result.differences for result in grown] == [[]] * 4
    assert all(content(tmp_path)[name].startswith(text) for name, text in before.items())
    exp = mlv.Exp.open(grown[-1].path)
    assert sorted(event.step for event in exp.events("metrics")) == sorted([*range(1, 8), *range(1, 9), *range(1, 7)])
    assert (grown[-1].lines, "intact" in verified(exp.path)) == ({}, True)


def test_a_rewind(tmp_path):
    """A rewind supersedes what the runs that it names have logged so far, and nothing of others."""
    items = [
        *(RunBegins(name, at(0)) for name in "ab"),
        *(event._replace(data={name: 1}) for name in "ab" for event in steps(name, 1, 5)),
        SourceEvent("a", at(6), "rewound", {"step": 2, "last": ["a", "none"]}),
        *steps("a", 3, 4),
        *(RunEnds(name, at(9)) for name in "ab"),
    ]

    exp = mlv.Exp.open(imported(tmp_path, items).path)

    assert {name: each.count for name, each in exp.summary().items()} == {"a": 2, "b": 4, "loss": 1}
    assert "intact" in verified(exp.path)
