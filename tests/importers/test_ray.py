"""Trials of Ray come over below their sweep, those that go on, failed, or are damaged included."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mlv
from importers.trees import content, import_all, is_intact, points
from mlv.importers.importing import look_for
from mlv.importers.reading import Options


def trial(sweep: Path, name: str, rows: int, *, is_done: bool = True) -> Path:
    folder = sweep / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.json").write_text(json.dumps({"lr": 0.1, "name": name}))
    of_ray = {"hostname": "vm", "config": {"lr": 0.1}, "pid": 1}
    results = [
        {
            "loss": 1 / (1 + number),
            "nested": {"acc": number},
            "time_total_s": number + 1.0,
            "training_iteration": number + 1,
            "timestamp": 1700000000 + number,
            "done": is_done and number == rows - 1,
            **of_ray,
        }
        for number in range(rows)
    ]
    (folder / "result.json").write_text("".join(json.dumps(row) + "\n" for row in results))
    (folder / "progress.csv").write_text("loss\n1\n")
    (folder / "events.out.tfevents.1.vm").write_bytes(b"")
    return folder


def test_trials(tmp_path):
    """A trial is an experiment below its sweep, with its params, its results by iteration, its checkpoints and its end."""
    sweep = tmp_path / "ray_results" / "train_2024"
    trial(sweep, "trial_a", 3)
    failed = trial(sweep, "trial_b", 2, is_done=False)
    (failed / "error.txt").write_text("Traceback\n  ...\nValueError: no\n")
    checkpoint = sweep / "trial_a" / "checkpoint_000001" / "model.pt"
    checkpoint.parent.mkdir()
    checkpoint.write_text("weights")
    (sweep / "tuner.pkl").write_bytes(b"")

    outcomes = import_all(tmp_path / "ray_results", tmp_path / "runs")

    assert all(each.is_whole for each in outcomes)
    sweep_exp, a, b = (mlv.Exp.open(each.imported.path) for each in outcomes)
    assert (sweep_exp.kind, sweep_exp.path) == ("sweep", tmp_path / "runs/train_2024")
    assert [sub.id for sub in sweep_exp.sub_exps] == [a.id, b.id]
    assert (a.params, a.status, points(a)[1]) == (
        {"lr": 0.1, "name": "trial_a"}, "ok", (2, {"loss": 0.5, "nested/acc": 1, "time_total_s": 2.0}),
    )  # fmt: skip
    assert (a.runs[0].started.timestamp(), a.runs[0].ended.timestamp()) == (1699999999, 1700000002)
    assert (a.path / "files/checkpoints/checkpoint_000001/model.pt").read_text() == "weights"
    assert (b.status, b.runs[0].exception["message"]) == ("failed", "no")
    assert all(is_intact(exp) for exp in (a, b))
    before = content(tmp_path / "runs")
    import_all(tmp_path / "ray_results", tmp_path / "runs")
    assert content(tmp_path / "runs") == before


def test_files_that_are_not_ray_s(tmp_path):
    """What a trial wrote into its folder, and Ray did not, is named as passed over, or is another format's."""
    folder = trial(tmp_path / "train_2024", "trial_a", 2)
    (folder / "plots").mkdir()
    (folder / "plots/loss.png").write_bytes(b"png")
    (folder / "checkpoint_000000").mkdir()
    (folder / "checkpoint_000000/model.pt").write_text("weights")
    for name in ("params.pkl", "error.pkl"):
        (folder / name).write_bytes(b"")

    found = look_for([tmp_path], None, Options())

    assert ([unit.format for unit in found.units], found.unknown) == (["ray", "ray"], [folder / "plots/loss.png"])


@pytest.mark.parametrize("cut", [0, 5, 30])
def test_a_trial_that_goes_on(tmp_path, cut):
    """A trial that goes on comes over in parts, a line that is half written with the next."""
    sweep = tmp_path / "train_2024"
    folder = trial(sweep, "a", 3, is_done=False)
    (folder / "result.json").write_bytes(
        (folder / "result.json").read_bytes() + b'{"loss": 0.25, "training_iteration": 4,'[:cut]
    )
    first = import_all(sweep, tmp_path / "runs")
    trial(sweep, "a", 6)

    outcomes = import_all(sweep, tmp_path / "runs")

    assert [each.left for each in first] == [{}, {}]
    assert [each.imported.differences for each in outcomes] == [[], []]
    exp = mlv.Exp.open(outcomes[1].imported.path)
    assert sorted(step for step, _ in points(exp)) == [1, 2, 3, 4, 5, 6]
    assert is_intact(exp)


def test_damage(tmp_path):
    """Lines that are no JSON, and params that are none, are reported, and the others come over."""
    folder = trial(tmp_path / "train", "a", 3)
    (folder / "result.json").write_text((folder / "result.json").read_text().replace('{"loss": 0.5', '{"lo'))
    (folder / "params.json").write_text("{")

    _, outcome = import_all(tmp_path / "train", tmp_path / "runs")

    assert dict(outcome.left) == {"lines that are no object of JSON": 1, "params.json that is no JSON": 1}
    assert [step for step, _ in points(mlv.Exp.open(outcome.imported.path))] == [1, 3]
