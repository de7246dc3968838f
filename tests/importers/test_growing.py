"""Sources that are cut anywhere, and grow afterwards, come over with their final values: none half, stale or twice."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import mlv
from importers.trees import content, import_one, is_intact, points

STEPS = range(3)
LOSSES = [12.5, 100.25, 0.0625]
META = "run_id: abc\nrun_name: first\nstatus: 1\nstart_time: 1700000000000\nlifecycle_stage: active\nartifact_uri: ''\n"
OPEN_LINE = "last lines that have no end, and may be cut: they come over when they have one, or with --whole as they stand"


class Growing(NamedTuple):
    """A source with a file that grows."""

    folder: Path
    """The source, of which the file is one, or the only one."""
    file: Path
    text: str
    """Of the file when it is whole."""
    expected: list[tuple[Any, str, Any]]
    """Step, name and value of what the source holds then."""

    def cut(self, size: int) -> None:
        self.file.write_bytes(self.text[:size].encode())


def series(name: str, values: list[Any]) -> list[tuple[Any, str, Any]]:
    return [(step, name, value) for step, value in zip(STEPS, values, strict=True)]


def table(path: Path, separator: str) -> Growing:
    lines = [["step", "loss", "acc"], *([str(n), str(LOSSES[n]), str(n + 10)] for n in STEPS)]
    text = "".join(f"{separator.join(line)}\n" for line in lines)
    return Growing(path, path, text, series("loss", LOSSES) + series("acc", [10, 11, 12]))


def csv(folder: Path) -> Growing:
    return table(folder / "t.csv", ",")


def tsv(folder: Path) -> Growing:
    return table(folder / "t.tsv", "\t")


def jsonl(folder: Path) -> Growing:
    text = "".join(json.dumps({"step": n, "loss": LOSSES[n]}) + "\n" for n in STEPS)
    return Growing(folder / "t.jsonl", folder / "t.jsonl", text, series("loss", LOSSES))


def keras(folder: Path) -> Growing:
    text = "epoch,accuracy,loss\r\n" + "".join(f"{n},{n + 0.25},{LOSSES[n]}\r\n" for n in STEPS)
    path = folder / "training.log.csv"
    return Growing(path, path, text, series("accuracy", [0.25, 1.25, 2.25]) + series("loss", LOSSES))


def lightning(folder: Path) -> Growing:
    (folder / "version_0").mkdir()
    (folder / "version_0" / "hparams.yaml").write_text("lr: 0.1\n")
    text = "epoch,step,train_loss,val_loss\n" + "".join(f"0,{n},{LOSSES[n]},\n" for n in STEPS) + "0,2,,0.75\n"
    path = folder / "version_0" / "metrics.csv"
    return Growing(path.parent, path, text, [*series("train_loss", LOSSES), (2, "val_loss", 0.75)])


def mlflow(folder: Path) -> Growing:
    run = folder / "mlruns" / "1" / "abc"
    for name in ("metrics", "params", "tags"):
        (run / name).mkdir(parents=True)
    (run / "meta.yaml").write_text(META)
    (run / "metrics" / "acc").write_text("".join(f"{1700000000000 + n} {n + 10}.0 {n}\n" for n in STEPS))
    text = "".join(f"{1700000000000 + n} {LOSSES[n]} {n}\n" for n in STEPS)
    return Growing(folder / "mlruns", run / "metrics" / "loss", text, series("acc", [10, 11, 12]) + series("loss", LOSSES))


def dvclive(folder: Path) -> Growing:
    metrics = folder / "dvclive" / "plots" / "metrics"
    metrics.mkdir(parents=True)
    (folder / "dvclive" / "metrics.json").write_text("{}")
    (metrics / "acc.tsv").write_text("step\tacc\n" + "".join(f"{n}\t{n + 10}\n" for n in STEPS))
    text = "step\tloss\n" + "".join(f"{n}\t{LOSSES[n]}\n" for n in STEPS)
    return Growing(folder / "dvclive", metrics / "loss.tsv", text, series("acc", [10, 11, 12]) + series("loss", LOSSES))


TABLES = [csv, tsv, keras, lightning, mlflow, dvclive]


def made(make: Any, folder: Path) -> Growing:
    if make in (lightning, mlflow):
        pytest.importorskip("yaml")
    folder.mkdir()
    return make(folder)


def values(exp: mlv.Exp) -> Iterator[tuple[Any, str, Any]]:
    return ((step, name, value) for step, data in points(exp) for name, value in data.items())


@pytest.mark.parametrize("make", [*TABLES, jsonl], ids=lambda make: make.__name__)
def test_cut_anywhere(tmp_path, make):
    """Whatever the first import saw of a line, the next one, of the whole source, leaves each value once, and no loss."""
    source = made(make, tmp_path / "source")
    for size in range(source.text.index("\n") + 1, len(source.text)):
        source.cut(size)
        root = tmp_path / "runs" / str(size)
        _, first = import_one(source.folder, root)
        assert (first.imported.differences, set(first.left) <= {OPEN_LINE}) == ([], True)
        assert first.left or first.notes or source.text[size - 1] in "\n}"

        source.cut(len(source.text))
        exp, whole = import_one(source.folder, root)

        assert (whole.left, whole.imported.differences) == ({}, []), size
        assert Counter(values(exp)) == Counter(source.expected), size


@pytest.mark.parametrize("make", [*TABLES, jsonl], ids=lambda make: make.__name__)
def test_line_by_line(tmp_path, make):
    """After each line an import brings what is new; all together are intact, and once more changes nothing."""
    source = made(make, tmp_path / "source")
    for size in (index + 1 for index, letter in enumerate(source.text) if letter == "\n"):
        source.cut(size)
        exp, outcome = import_one(source.folder, tmp_path / "runs")
        assert (outcome.left, outcome.imported.differences) == ({}, [])

    before = content(tmp_path / "runs")
    import_one(source.folder, tmp_path / "runs")

    assert Counter(values(exp)) == Counter(source.expected)
    assert content(tmp_path / "runs") == before
    assert is_intact(exp)


@pytest.mark.parametrize("make", TABLES, ids=lambda make: make.__name__)
def test_sources_that_are_whole(tmp_path, make):
    """A last line without an end is left behind and counted; where the sources are complete, it comes over as it stands."""
    source = made(make, tmp_path / "source")
    source.file.write_text(source.text.rstrip())

    cut, outcome = import_one(source.folder, tmp_path / "cut")
    exp, whole = import_one(source.folder, tmp_path / "whole", is_whole=True)

    assert (outcome.left, len(list(values(cut))) < len(source.expected)) == ({OPEN_LINE: 1}, True)
    assert (whole.left, "the last line has no end: it is taken as it stands" in whole.notes) == ({}, True)
    assert Counter(values(exp)) == Counter(source.expected)


def test_a_value_that_changed(tmp_path):
    """A value that the source has otherwise than an earlier import took it is reported; both are in the log."""
    source = made(dvclive, tmp_path / "source")
    source.cut(len(source.text))
    import_one(source.folder, tmp_path / "runs")
    source.file.write_text(source.text.replace("100.25", "99"))

    exp, outcome = import_one(source.folder, tmp_path / "runs")

    assert dict(outcome.left) == {"values of an earlier import that the source has otherwise by now": 1}
    assert sorted(value for step, name, value in values(exp) if (step, name) == (1, "loss")) == [99, 100.25]
