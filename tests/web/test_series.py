"""Series of metrics on disk: what is drawn from them is what the log says."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from logs import line

import mlv
from mlv.audit.redact import redact
from mlv.events import metrics_of
from mlv.query.events import Events
from mlv.query.rewinds import rewinds_of
from mlv.web import curves, rows, series
from mlv.web.limits import LIMITS

np = pytest.importorskip("numpy", reason="curves need numpy")
pytest.importorskip("pyarrow", reason="series need pyarrow")


@pytest.fixture(autouse=True)
def for_any_log(monkeypatch):
    """Keep the series of logs of any length, and take them as changed long ago."""
    monkeypatch.setenv("MLV_INLINE", "1")
    monkeypatch.setattr(LIMITS, "columns_bytes", 0)
    monkeypatch.setattr(series, "SETTLED_NS", -10_000_000_000)


@pytest.fixture
def folder(tmp_path) -> Path:
    """An experiment that logs with a gap, with NaN, a metric of its own now and then, and one without steps."""
    with mlv.Exp(tmp_path / "runs", "long", {"lr": 0.1}, capture=()) as exp:
        log_steps(exp, 0, 200)
        exp.log.at(of="hidden")({"even/step": 1.25}, step=500)
    return Path(exp.path)


def log_steps(exp: mlv.Exp, first: int, last: int) -> None:
    for number in range(first, last):
        step = number if number < 100 else 2 * number
        exp.log({"loss": math.nan if number == 7 else math.sin(number), "even/step": number / 2}, step=step)
        if number % 50 == 1:
            exp.log({"bare": float(number)})


def drawn(folder: Path, metric: str = "loss", x: str = "step") -> list[tuple[float, float]]:
    """The points of a metric, by a server that has just been started."""
    row = rows.read(folder)
    assert row is not None
    [(position, value)] = curves.Curves().points([row], metric, x)
    return list(zip(position.tolist(), value.tolist(), strict=True))


def logged(folder: Path, metric: str = "loss") -> list[tuple[float, float]]:
    """The same points, by the log."""
    events = [event for event in Events(folder, "metrics", rewinds=rewinds_of(folder)) if metric in dict(metrics_of(event))]
    steps = [number if event.step is None else event.step for number, event in enumerate(events)]
    return [(float(step), dict(metrics_of(event))[metric]) for step, event in zip(steps, events, strict=True)]


@pytest.fixture
def only_saved(monkeypatch) -> Callable[[], None]:
    """A function that forbids to read whole logs from now on."""
    return lambda: monkeypatch.setattr(series, "read_points", lambda *_: pytest.fail("the log was read"))


def same(first: list[tuple[float, float]], second: list[tuple[float, float]]) -> bool:
    return repr(first) == repr(second)  # NaN is not equal to itself


@pytest.mark.parametrize("is_short", [True, False])
@pytest.mark.parametrize("metric", ["loss", "even/step", "bare"])
def test_saved_series_are_those_of_the_log(folder, only_saved, monkeypatch, metric, is_short):
    """A server that is started again draws the same points without reading the log, on every axis."""
    monkeypatch.setattr(LIMITS, "whole_bytes", 1 << 30 if is_short else 0)
    before = {x: drawn(folder, metric, x) for x in ("step", "time", "elapsed", "active")}
    only_saved()
    after = {x: drawn(folder, metric, x) for x in before}

    assert same(before["step"], logged(folder, metric))
    assert all(same(before[x], after[x]) for x in before)


def test_elapsed_counts_from_the_first_line_of_any_metric(tmp_path, only_saved):
    """Where no run says when it began, the axes of all metrics begin together, also those from the disk."""
    (tmp_path / "meta.json").write_text('{"format":1,"name":"n","created":"2026-01-01T00:00:00.000000Z","params":{}}')
    line = '{"run":"r1","seq":%d,"time":"2026-01-01T00:00:%02d.000000Z","type":"metrics","data":{"%s":1.0}}\n'
    (tmp_path / "log.jsonl").write_text(line % (1, 1, "early") + line % (2, 5, "late"))
    before = drawn(tmp_path, "late", "elapsed")
    only_saved()

    assert before == drawn(tmp_path, "late", "elapsed") == [(4.0, 1.0)]


def test_new_lines_alone_are_parsed(folder, only_saved, monkeypatch):
    """What was appended since is parsed alone, and the file grows; metrics that are new are there."""
    drawn(folder)
    [path] = (folder / ".mlv" / "cache").glob("*.series")
    size = path.stat().st_size
    lines = (folder / "log.jsonl").read_text().splitlines()
    last = max(number for number, text in enumerate(lines) if '"type":"metrics"' in text)
    run = lines[last].split('"')[3]
    more = [
        line(run, 10_000 + number, "metrics", 50 + number / 10, step=1000 + number, data={"loss": number + 0.5, "new": 1.5})
        for number in range(60)
    ]
    with open(folder / "log.jsonl", "ab") as log:
        log.writelines(more)
    only_saved()
    grown = drawn(folder)

    assert same(grown, logged(folder))
    assert same(drawn(folder, "new"), logged(folder, "new"))
    assert len(grown) == 260
    assert path.stat().st_size > size
    monkeypatch.setattr(series, "parse", lambda *_: pytest.fail("parsed again"))
    assert same(drawn(folder), grown)


def rewritten(folder: Path) -> None:
    """Replace a value by one of the same length, with the same times."""
    log = folder / "log.jsonl"
    status, content = log.stat(), log.read_bytes()
    log.write_bytes(content.replace(b'"even/step":20.0', b'"even/step":99.0'))
    os.utime(log, ns=(status.st_atime_ns, status.st_mtime_ns))


def gone_on(folder: Path) -> None:
    with mlv.Exp.open(folder) as exp:
        log_steps(exp, 200, 230)


def gone_back(folder: Path) -> None:
    with mlv.Exp.open(folder, rewind_to=60) as exp:
        exp.log({"even/step": -1.0}, step=61)


def redacted(folder: Path) -> None:
    assert list(redact(folder, ["hidden"]))


def of_another_time(folder: Path) -> None:
    """Let a line come before others by its number, as that of a second stream does."""
    lines = (folder / "log.jsonl").read_text().splitlines(keepends=True)
    run = next(text for text in lines if '"type":"metrics"' in text).split('"')[3]
    text = '{"run":"%s","seq":2,"time":"2026-01-01T00:00:00.000000Z","type":"metrics","step":-5,"data":{"even/step":7.5}}\n'
    (folder / "other.log.jsonl").write_text(text % run)


def cut(folder: Path) -> None:
    log = folder / "log.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:100]))


@pytest.mark.parametrize("change", [rewritten, gone_on, gone_back, redacted, of_another_time, cut])
def test_stale_series_are_not_believed(folder, change):
    """After the log was edited, resumed, rewound, redacted, joined by a stream or cut, the points are those of the log."""
    before = drawn(folder, "even/step")
    change(folder)
    after = drawn(folder, "even/step")

    assert not same(before, after)
    assert sorted(after) == sorted(logged(folder, "even/step"))
    assert same(after, drawn(folder, "even/step"))


def damaged(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)


def forged(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"writer":["', b'"writer":["x'))


def foreign(path: Path) -> None:
    """Take the key away with which it was signed."""
    shutil.rmtree(Path(os.environ["XDG_CACHE_HOME"]) / "mlv")


def linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


@pytest.mark.parametrize(
    "change", [damaged, forged, foreign, linked, lambda path: path.write_bytes(path.read_bytes()[:-100]),
               lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"\xff" * 5000)]
)  # fmt: skip
def test_damaged_and_foreign_files_are_not_believed(folder, monkeypatch, change):
    """A file that is damaged, cut, linked, or signed by somebody else is passed over, and replaced."""
    before = drawn(folder)
    [path] = (folder / ".mlv" / "cache").glob("*.series")
    change(path)
    read: list[object] = []
    real = series.read_points
    monkeypatch.setattr(series, "read_points", lambda *arguments: read.append(1) or real(*arguments))

    assert same(drawn(folder), before)
    assert len(read) == 1
    assert same(drawn(folder), before)
    assert len(read) == 1


def test_renamed_folder_keeps_its_series(folder, only_saved):
    """A folder that was renamed is drawn without its log, and so is a copy, whose bytes are compared."""
    before = drawn(folder)
    only_saved()
    renamed = folder.rename(folder.with_name("renamed"))

    assert same(drawn(renamed), before)
    assert same(drawn(shutil.copytree(renamed, folder)), before)


def test_experiment_that_cannot_be_written(folder, only_saved):
    """Where nothing can be written into the experiment, the series are kept in the user's folder for caches."""
    (folder / ".mlv" / "cache").write_text("no folder")
    before = drawn(folder)
    only_saved()

    assert same(drawn(folder), before)
    assert list((Path(os.environ["XDG_CACHE_HOME"]) / "mlv").glob("*/*.series"))


def test_line_that_is_being_written(folder):
    """While the last line lacks its end nothing is saved, and the line is there as soon as it can be read."""
    with open(folder / "log.jsonl", "ab") as log:
        log.write(b'{"run":"r2","seq":1,"time":"2030-01-01T00:00:00.000000Z","type":"metrics","step":900,"data":{"loss":4.5}}')

    assert drawn(folder)[-1] == (900, 4.5)
    assert not list((folder / ".mlv").glob("cache/*.series"))


def test_line_without_its_end_behind_those_that_are_saved(folder):
    """A last line that a killed process left without its end is drawn beside the saved ones, and again the next time."""
    drawn(folder)
    with open(folder / "log.jsonl", "ab") as log:
        log.write(line("r2", 1, "metrics", 50, step=900, data={"loss": 4.5}).rstrip(b"\n"))

    assert [drawn(folder)[-1], drawn(folder)[-1]] == [(900, 4.5)] * 2


@pytest.mark.parametrize("steps", [[1e308, -1e308, 1e308], [0.0, 1e308, 1.5e308], [-1e308, 0.0, 1e308]])
def test_steps_wider_apart_than_floats(tmp_path, steps):
    """Steps whose distances no float holds are drawn, smoothed as well, without a warning in the server's terminal."""
    (tmp_path / "meta.json").write_text('{"format":1,"name":"n","created":"2026-01-01T00:00:00.000000Z","params":{}}')
    lines = [line("r1", number, "metrics", step=step, data={"loss": 1.0}) for number, step in enumerate(steps, 1)]
    (tmp_path / "log.jsonl").write_bytes(b"".join(lines))
    before = drawn(tmp_path)
    row = rows.read(tmp_path)
    assert row is not None
    answer = curves.Curves().answer([row], curves.question({"m": "loss", "smooth": "0.5", "px": "20"}))

    assert before == drawn(tmp_path) == [(step, 1.0) for step in sorted(steps)]
    floats = np.frombuffer(answer, "<f8", offset=4 + int.from_bytes(answer[:4], "little")).reshape(-1, 20)
    assert (np.isnan(floats[-1]) == np.isnan(floats[0])).all()


def test_values_that_are_no_numbers(folder):
    """A log with values that floats do not hold is drawn line by line, and nothing is saved of it."""
    with mlv.Exp.open(folder) as exp:
        exp.log({"loss": "much"}, step=999)

    assert same(drawn(folder), logged(folder)[:-1])
    assert not list((folder / ".mlv").glob("cache/*.series"))
