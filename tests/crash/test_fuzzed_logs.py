"""Logs with bytes flipped, cut and spliced: no reader crashes, and each reports what it passed over."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import mlv
from crash.damage import damaged
from crash.victims import SEED, scaled
from mlv.audit.verify import verify
from mlv.errors import CheckpointMissing
from mlv.query.events import Events
from mlv.store.streams import read_lines

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")

from typer.testing import CliRunner

from mlv.cli.app import app

TRIALS = scaled(12, soak=500)
"""For each reader."""


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an experiment that has lines of many types in two streams, and one below it."""
    root = tmp_path_factory.mktemp("pristine") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLV_INLINE", "1")
        exp = mlv.Exp(root, "a", {"lr": 0.1}, capture=(), tags=["paper"], notes="first")
        exp.log.describe("train/loss", unit="nat", mode="min")
        kept = exp.checkpoints(top=1, metric="loss", mode="min")
        for step in range(12):
            exp.log.sub("train").at(epoch=step // 4)({"loss": 1 / (step + 1), "acc": step / 10, "bad": float("nan")}, step=step)
            exp.logger("val")({"q": step}, step=step)
            if step % 4 == 0:
                kept.save({"weights": [step]}, step=step, metrics={"loss": 1 / (step + 1)})
        with exp.paused("lunch"):
            exp.log.warning("odd %s", "thing", size=2**80)
        exp.log.text("notes", "a text", step=3)
        exp.log.table("results", [{"a": 1, "b": "x"}, {"a": 2, "b": None}])
        exp.log.histogram("weights", [1.0, 2.0, 2.0, 3.0])
        exp.add_params({"late": 1})
        exp.add_tags("more")
        with exp.log.span("validation") as span:
            span.add(acc=0.9)
        with exp.file("model.bin", "wb") as file:
            file.write(b"weights")
        sub = mlv.init_sub_exp(exp.latest, "squeeze")
        sub.log({"acc": 0.8}, step=1)
        sub.close()
        exp.close()
        with mlv.Exp.open(exp.path) as again:
            again.log({"train/loss": 0.01}, step=12)
    return root


def whole(exp: mlv.Exp) -> tuple[Any, ...]:
    """Everything of an experiment that needs no log of its own to be chosen from."""
    return exp.status, exp.runs, exp.tags, exp.notes, exp.params, [sub.status for sub in exp.sub_exps], repr(exp)


def portfolio(exp: mlv.Exp) -> None:
    """The checkpoints, as far as the log tells of any."""
    for read in (lambda: exp.best, lambda: exp.latest, lambda: exp.as_of(step=6).best):
        try:
            read()
        except CheckpointMissing:
            pass


def events(exp: mlv.Exp) -> None:
    """Every line is an event, or its place is told."""
    found = exp.events()
    count = sum(1 for _ in found)
    lines = sum(1 for path in exp.path.glob("*log.jsonl") for _ in read_lines(path))
    assert count + len(found.skipped) == lines


def earlier(exp: mlv.Exp) -> tuple[Any, ...]:
    """What was known at a step, and at a time."""
    then = exp.as_of(step=6)
    return then.history(), then.summary(), then.status, then.params, list(exp.as_of(time="2030-01-01T00:00:00Z").events())


def many(exp: mlv.Exp) -> tuple[Any, ...]:
    """What is read from experiments together."""
    found = mlv.find(exp.path.parent)
    counts = found.sql("select type, count(*) from events, runs where events.run = runs.run group by all").rows()
    return found.frame(stats=["last", "max"]), found.history(), found.aggregate(), counts


def command(*words: object) -> Callable[[mlv.Exp], None]:
    """Run a command of `mlv`, which ends as commands do; capitals stand for paths."""

    def run(exp: mlv.Exp) -> None:
        root, model = exp.path.parent, exp.path / "files" / "model.bin"
        places = {
            "EXP": exp.path,
            "ROOT": root,
            "OUT": root.parent / "out",
            "MODEL": model,
            "PICTURE": root.parent / "out.html",
        }
        result = CliRunner().invoke(app, [str(places.get(word, word)) for word in words], catch_exceptions=False)
        # Damage can take all the lines of a metric that a command names, and make a step greater than what can be drawn.
        is_explained = "nobody logged" in result.output or "the most that can be drawn" in result.output
        assert result.exit_code in (0, 1) or is_explained, result.output

    return run


def merged(exp: mlv.Exp) -> None:
    """Unite a copy with another that lacks the end."""
    other = exp.path.parent.parent / "other"
    shutil.copytree(exp.path.parent, other)
    log = other / "a" / "log.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:5]))
    command("merge", exp.path.parent, other)(exp)
    shutil.rmtree(other)


READERS: dict[str, Callable[[mlv.Exp], object]] = {
    "state": whole,
    "portfolio": portfolio,
    "events": events,
    "history": lambda exp: exp.history(),
    "history, long": lambda exp: exp.history(wide=False),
    "history of a pattern": lambda exp: exp.history("**/{name:str}"),
    "frame": lambda exp: [exp.frame(kind) for kind in ("metrics", "message", "checkpoint", "run_started", "seal")],
    "summary": lambda exp: exp.summary(),
    "as of": earlier,
    "sql": lambda exp: [exp.sql(f"select * from {v}").rows() for v in ("experiments", "runs", "events", "metrics", "files")],
    "find": many,
    "verify": lambda exp: verify(exp.path),
    "whence": lambda exp: mlv.whence(exp.path / "files" / "model.bin", exp.path.parent),
    "tail": command("tail", "-n", "1000", "EXP"),
    "tail --json": command("tail", "-n", "1000", "--json", "EXP"),
    "following": lambda exp: list(Events(exp.path).follow(lambda: True)),
    "ls": command("ls", "ROOT"),
    "ls --json": command("ls", "--json", "ROOT"),
    "show": command("show", "EXP"),
    "show --json": command("show", "--json", "EXP"),
    "mlv summary": command("summary", "EXP"),
    "mlv verify": command("verify", "EXP"),
    "mlv whence": command("whence", "MODEL", "ROOT"),
    "export": command("dump", "ROOT", "--to", "csv", "--out", "OUT"),
    "replay": command("export", "EXP", "--to", "csv"),
    "aggregate": lambda exp: mlv.find(exp.path.parent).aggregate(over=["lr"]),
    "plot": command("plot", "ROOT", "-m", "train/loss", "--out", "PICTURE"),
    "compare": command("compare", "EXP", "EXP"),
    "mlv sql": command("sql", "ROOT", "select * from events"),
    "merge": lambda exp: merged(exp),
}  # fmt: skip


@pytest.mark.timeout(scaled(120, soak=1800))
@pytest.mark.parametrize("reader", READERS)
def test_no_reader_crashes(pristine, tmp_path, reader):
    """Whatever a log has become, it is read as far as it can be."""
    for trial in range(TRIALS):
        chance = random.Random(f"{SEED} {trial}")
        root = tmp_path / str(trial)
        shutil.copytree(pristine, root / "runs")
        for path in (root / "runs" / "a").glob("*log.jsonl"):
            path.write_bytes(damaged(path.read_bytes(), chance))
        try:
            READERS[reader](mlv.Exp.open(root / "runs" / "a"))
        except BaseException as error:
            raise AssertionError(f"trial {trial} of seed {SEED}") from error
        shutil.rmtree(root)


def nested(levels: int, inner: str = "1") -> str:
    """A list in a list in a list."""
    return "[" * levels + inner + "]" * levels


EVENT = '{"run":"rhostile12","seq":%d,"time":"2026-11-21T03:03:00.123456Z","type":%s}'
METRICS = '"metrics","step":3,"data":{"train/loss":@}'
HUGE = '{"_mlv":"int","value":"0x1' + "0" * 5000 + '"}'
SEAL = '"seal","data":{"of":"rhostile12","stream":"log","lines":1,@}'
FORMATS = ("2000000000f", ".2000000000f", "0>99999999", "{}", "s", "c", "\\u001b[31m", "99.99f", "%", "n" * 999)
HOSTILE = (
    '"event","data":' + nested(105),
    '"event","data":' + nested(900),
    METRICS.replace("@", nested(900)),
    METRICS.replace("@", nested(100_000)),
    '"params","data":' + '{"a":' * 600 + "1" + "}" * 600,
    '"event","data":' + "[" * 50_000,
    '"metrics","at":{"epoch":' + nested(900) + '},"data":{"x":1}',
    METRICS.replace("@", HUGE),
    METRICS.replace("@", HUGE.replace("0x", "-0x")),
    '"event","name":"c","step":3,"at":{"epoch":@},"data":{"v":[@],"size":@}'.replace("@", HUGE),
    '"params","data":{"lr":@}'.replace("@", HUGE),
    '"file","data":{"file":{"_mlv":"file","path":"files/model.bin","sha256":"0","size":@}}'.replace("@", HUGE),
    '"checkpoint","data":{"action":"saved","folder":"models","save":1,"step":@,"metrics":{"loss":@}}'.replace("@", HUGE),
    METRICS.replace("@", "9" * 5000),
    METRICS.replace("@", '{"_mlv":"int","value":"' + "9" * 5000 + '"}'),
    *('"metadata","name":"train/loss","data":{"format":"@","unit":"@"}'.replace("@", text) for text in FORMATS),
    '"metadata","name":"train/loss","data":{"format":5,"unit":[],"mode":{},"description":7}',
    '"metrics","data":null,"nonfinite":{"":"nan"}',
    '"metrics","data":{"x":1},"nonfinite":{"/x":"nan","/y":"inf","/x/0":"nan","":"inf","x":"nan"}',
    '"metrics","data":{"x":null},"nonfinite":{"/x":["nan"]}',
    '"metrics","data":{"x":null},"nonfinite":["/x"]',
    '"redacted","data":{"lines":[{"run":"r","seq":"x"}]}',
    '"redacted","data":{"lines":[{"run":[],"seq":null,"sha256":{}}],"files":{"a":1},"meta":{"old":[],"new":{}}}',
    '"redacted","data":{"lines":"abc","files":"abc","meta":"abc"}',
    '"redacted","data":{"lines":7,"files":7,"meta":7}',
    '"redacted","data":{"files":[{"path":"files/model.bin","now":[]}]}',
    '"redacted","data":{"lines":[{"seq":@}]}'.replace("@", HUGE),
    '"redacted","data":[]',
    '"redacted","data":null',
    SEAL.replace("@", '"sha256":"zz"'),
    SEAL.replace("@", '"sha256":"é"'),
    SEAL.replace("@", '"sha256":"abc"'),
    SEAL.replace("@", '"sha256":7'),
    SEAL.replace("1,@", '"x","sha256":""'),
    SEAL.replace("@", '"previous":"zz","sha256":"' + "0" * 64 + '"'),
    '"seal","data":{"of":[],"sha256":{}}',
    '"seal","data":7',
    '"seal","data":null',
    '"run_started","data":{"exp":[],"process":{"pid":"x"},"parent_run":7,"rank":"y","params":[]}',
    '"run_started","data":{"exp":{},"process":5,"script":7,"argv":{},"env":[]}',
    '"run_ended","data":{"of":[],"status":{},"exit_code":"x"}',
    '"params","data":[1,2]',
    '"tags","data":{"tags":{"a":[]},"add":7}',
    '"note","data":{"text":[1]}',
    '"checkpoint","data":{"action":[],"folder":{},"save":[],"places":[[],{}],"metrics":[],"step":{},"file":7}',
    '"rewound","data":{"step":[],"run":{},"last":{"a":"x"},"seq":"q"}',
    '"dropped","data":{"first":"x","last":[],"count":{},"of":7}',
    '"rejected","data":{"type":[],"reason":{}}',
    '"message","data":{"level":[],"message":{},"exception":{"traceback":7}}',
    '"span","data":{"duration_s":"x"}',
    '"histogram","data":{"edges":[[]],"counts":"x","count":[]}',
    '"table","data":{"columns":7,"rows":[[]],"file":[]}',
    '"metrics","data":{' + ",".join(f'"k{number}":{number}' for number in range(300)) + "}",
    '"metrics","name":"' + "a/" * 5000 + '","data":{"x":1}',
    '"event","name":"a\\u0000b","data":{"\\u0000":"\\u001b]0;x\\u0007"}',
)
"""What follows the time of a line that somebody else wrote."""


def with_lines(pristine: Path, root: Path, lines: Sequence[str]) -> mlv.Exp:
    """A copy of the experiments, with hostile lines at the end of a log; twice, as lines that are alike are read together."""
    shutil.copytree(pristine, root)
    log = root / "a" / "log.jsonl"
    texts = (EVENT % (seq, line) for seq, line in enumerate((*lines, *lines), 1))
    log.write_bytes(log.read_bytes() + "".join(f"{text}\n" for text in texts).encode())
    return mlv.Exp.open(log.parent)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("reader", READERS)
def test_hostile_lines(pristine, tmp_path, reader):
    """B7, B8, H15 to H21: whatever a line holds costs itself, and no reader; all of them at once."""
    READERS[reader](with_lines(pristine, tmp_path / "runs", HOSTILE))


@pytest.mark.timeout(scaled(120, soak=3600))
@pytest.mark.parametrize("trial", range(scaled(3, soak=len(HOSTILE))))
def test_hostile_lines_alone(pristine, tmp_path, trial):
    """B7, B8: the same, where it is the only one of its kind."""
    line = random.Random(SEED).sample(HOSTILE, len(HOSTILE))[trial]
    for number, (name, reader) in enumerate(READERS.items()):
        try:
            reader(with_lines(pristine, tmp_path / str(number) / "runs", [line]))
        except BaseException as error:
            raise AssertionError(f"{name}: {line[:300]}") from error


REPORTS: dict[str, Callable[[mlv.Exp], object]] = {
    "events": lambda exp: [*map(str, _read(exp.events()).skipped)],
    "history": lambda exp: exp.history().attrs["skipped"],
    "history, long": lambda exp: exp.history(wide=False).attrs["skipped"],
    "frame": lambda exp: exp.frame("message").attrs["skipped"],
    "summary": lambda exp: [*map(str, exp.summary().skipped)],
    "as of": lambda exp: exp.as_of(step=6).history().attrs["skipped"],
    "sql": lambda exp: exp.sql("select count(*) from events").skipped,
    "find": lambda exp: mlv.find(exp.path.parent).history().attrs["skipped"],
    "sql of many": lambda exp: mlv.find(exp.path.parent).sql("select count(*) from metrics").skipped,
    "verify": lambda exp: [finding.text for finding in verify(exp.path).findings],
    **{
        name: lambda exp, name=name: _said(name, exp)
        for name in ("tail EXP", "tail --json EXP", "ls ROOT", "ls --json ROOT", "show EXP", "show --json EXP")
    },
}


@pytest.mark.parametrize(
    "damage", [b"\0" * 100, b'{"run":"ra","seq":3,"time":"2026-01-01T00:00:00Z","type":"metrics","da', b"x"]
)
@pytest.mark.parametrize("reader", REPORTS)
def test_damage_is_reported(pristine, tmp_path, reader, damage):
    """Whatever is passed over is told with its place."""
    shutil.copytree(pristine, tmp_path / "runs")
    log = tmp_path / "runs" / "a" / "log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*lines[:-3], damage + b"\n", *lines[-3:]]))
    start = sum(map(len, lines[:-3]))

    said = str(REPORTS[reader](mlv.Exp.open(log.parent)))

    assert f"log.jsonl, bytes {start} to {start + len(damage) + 1}" in said


def _read(events: Any) -> Any:
    list(events)
    return events


def _said(words: str, exp: mlv.Exp) -> str:
    places = {"EXP": exp.path, "ROOT": exp.path.parent}
    result = CliRunner().invoke(app, [str(places.get(word, word)) for word in words.split()], catch_exceptions=False)
    return result.output.replace("\n           ", " ")
