"""The row of an experiment is the same, however much of the log was read."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest
from logs import line, write

import mlv
from mlv.cli.ends import TAIL_BYTES, row_from_ends
from mlv.cli.overview import look_at, read_row

pytest.importorskip("hypothesis")
from hypothesis import given, settings
from hypothesis import strategies as st

NOW = datetime(2026, 11, 21, tzinfo=timezone.utc)
META = {"format": 1, "name": "exp", "kind": None, "created": "2026-01-01T00:00:00Z", "params": {"lr": 0.1}}


class Log:
    """Lines as a writer appends them: it seals each run that it serves, and at its end its own lines."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self._seqs: dict[str, int] = {}
        self._second = 0.0

    def add(self, run: str, type: str, data: object, **fields: object) -> None:
        self._second += 0.01
        self._seqs[run] = self._seqs.get(run, 0) + 1
        self.lines.append(line(run, self._seqs[run], type, self._second, **fields, data=data))

    def end(self, run: str, status: str, by: str) -> None:
        self.add(by, "run_ended", {"status": status, **({"of": run} if by != run else {})})
        self.seal(run, "rw")

    def seal(self, run: str, by: str) -> None:
        self.add(by, "seal", {"of": run, "stream": "log", "lines": self._seqs.get(run, 0), "sha256": "0" * 64})


def row_of_all(folder, within_bytes=TAIL_BYTES):
    """The row as all of the log tells it; the ends do not tell of damage."""
    return look_at(folder, NOW, within_bytes=within_bytes).row(is_whole=False)._replace(damaged=None)


def experiment(folder, lines: bytes) -> None:
    (folder / "meta.json").write_text(json.dumps(META))
    write(folder, lines)


events = st.lists(
    st.sampled_from([
        ("r1", "metrics", {"loss": 0.5, "acc": 1}), ("r1", "metrics", {"val/loss": 3.0}), ("r1", "note", {"text": "x"}),
        ("r1", "metadata", {"format": ".1f"}), ("r1", "tags", {"tags": ["a"]}), ("rw", "heartbeat", {"of": "r1"}),
        ("r2", "run_started", {"exp": None}), ("r2", "metrics", {"loss": 7.0}), ("r2", "run_ended", {"status": "failed"}),
        ("r3", "run_started", {"parent_run": "r1"}), ("r1", "run_paused", {}), ("r1", "event", {"type": "metrics", "of": "r9"}),
    ]),
    max_size=30,
)  # fmt: skip


@settings(deadline=None)
@given(events=events, status=st.sampled_from(["ok", "failed"]), by=st.sampled_from(["r1", "rw"]), cut=st.integers(0, 250))
@pytest.mark.parametrize(("head", "tail"), [(300, 700), (2048, 4096)])
def test_the_ends_tell_what_all_of_it_tells(tmp_path_factory, head, tail, events, status, by, cut):
    """Whatever a log holds, and wherever it was cut: a row that was told from its ends is right."""
    folder = tmp_path_factory.mktemp("exp")
    log = Log()
    log.add("r1", "run_started", {})
    for run, kind, data in events:
        log.add(run, kind, data, **({"name": "loss"} if kind == "metadata" else {}))
        if kind == "run_ended":
            log.seal(run, "rw")
    for run in {run for run, _, _ in events} - {"r1", "rw"}:  # a writer leaves when all runs are over
        log.end(run, "killed", "rw")
    log.end("r1", status, by)
    log.seal("rw", "rw")
    lines = b"".join(log.lines)
    experiment(folder, lines[: len(lines) - cut * (cut > 100)])

    found = row_from_ends(folder, head_bytes=head, tail_bytes=tail)

    if found is not None:
        is_described = any(kind == "metadata" for _, kind, _ in events)
        expected = row_of_all(folder, tail)
        assert found._replace(metric_texts=[]) == expected._replace(metric_texts=[])
        assert is_described or found.metric_texts == expected.metric_texts


def test_a_long_log_of_one_run_is_told_from_its_ends(tmp_path):
    """Nothing but the beginning and the end of a finished log is read."""
    log = Log()
    log.add("r1", "run_started", {})
    for _ in range(500):
        log.add("r1", "metrics", {"loss": float("1e-3")})
    log.end("r1", "ok", "r1")
    log.seal("rw", "rw")
    experiment(tmp_path, b"".join(log.lines))
    expected = row_of_all(tmp_path)
    content = bytearray((tmp_path / "log.jsonl").read_bytes())
    content[5000:20000] = b"?" * 15000
    (tmp_path / "log.jsonl").write_bytes(content)

    assert row_from_ends(tmp_path) == expected


def test_another_run_in_the_middle_is_seen(tmp_path):
    """A run that began later and ended sooner is the latest, though nothing at the ends names it."""
    log = Log()
    log.add("r1", "run_started", {})
    for number in range(300):
        log.add("r1", "metrics", {"loss": 1.0})
        if number == 150:
            log.add("r2", "run_started", {})
            log.end("r2", "failed", "r2")
    log.end("r1", "ok", "r1")
    log.seal("rw", "rw")
    experiment(tmp_path, b"".join(log.lines))

    assert row_from_ends(tmp_path) is None
    assert read_row(tmp_path, None, NOW).status == "failed"


@pytest.mark.parametrize("status", ["ok", "failed"])
def test_what_mlv_writes(tmp_path, status):
    """A log that mlv wrote is told from its ends, once its run is over."""
    exp = mlv.Exp(tmp_path, "digits", {"lr": 0.1}, capture=(), kind="train")
    exp.log.describe("loss", format=".2f")
    for step in range(200):
        exp.log({"acc": 0.5, "loss": 1 / (step + 1)}, step=step)
    exp.flush()
    before = row_from_ends(exp.path)
    exp.close(status=status)

    found = row_from_ends(exp.path)

    assert before is None
    assert found == row_of_all(exp.path)
    assert (found.status, found.kind, found.metric_texts) == (status, "train", [["loss", "0.01"], ["acc", "0.5"]])


def test_what_ended_with_nan(tmp_path):
    """The latest value of a metric that diverged is told as such."""
    with mlv.Exp(tmp_path, "exp", capture=()) as exp:
        exp.log({"loss": float("nan")})

    assert row_from_ends(exp.path).metric_texts == [["loss", "nan"]]


def test_metrics_before_what_ends_a_log(tmp_path):
    """A finished run whose log ends with other things than metrics shows its metrics all the same."""
    with mlv.Exp(tmp_path, "exp", capture=()) as exp:
        exp.log({"loss": 0.5}, step=1)
        for number in range(200):
            exp.log("saved", {"number": number})

    assert read_row(exp.path, None, datetime.now(timezone.utc)).metric_texts == [["loss", "0.5"]]


def test_metrics_at_the_beginning_of_a_long_log(tmp_path):
    """Metrics that another run logged near the beginning are seen, though those of the first run are passed over there."""
    log = Log()
    log.add("r1", "run_started", {})
    log.add("r1", "event", {"type": "metrics"}, name="saved")
    log.add("r10", "metrics", {"loss": 2.0})
    for _ in range(300):
        log.add("r1", "metrics", {"loss": 1.0})
    log.end("r1", "ok", "r1")
    log.seal("rw", "rw")
    experiment(tmp_path, b"".join(log.lines))

    assert row_from_ends(tmp_path) is None
