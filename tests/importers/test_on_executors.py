"""Sources that are imported on executors: the same tree and the same report, to the byte."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import Elsewhere

from importers import wandb_files as w
from importers.trees import content
from mlv.errors import TaskNotDone
from mlv.executors import executor_of
from mlv.importers.importing import bring, look_for
from mlv.importers.reading import Options


@pytest.fixture
def source(tmp_path):
    """Sources for several tasks: equal names, a source twice, trials below a sweep, and damage."""
    source = tmp_path / "source"
    for number in range(20):
        records = [w.run(f"id{number}", second=number, project="proj", name=f"name{number % 4}")]
        records += [w.row(step, number + step, loss=step / (number + 1)) for step in range(5 + number)]
        w.write(source / f"run-{number:02}", w.framed([*records, w.exited()]), f"run-id{number}.wandb")
    shutil.copytree(source / "run-03", source / "run-copied")
    w.write(source / "run-torn", w.framed([w.run("torn"), w.row(0, 0, loss=1), w.exited()])[:-9], "run-torn.wandb")
    (source / "run-empty").mkdir()
    (source / "run-empty" / "run-empty.wandb").write_bytes(b"no file of W&B")
    for number in range(3):
        (source / f"table{number}.csv").write_text("step,loss\n" + "".join(f"{step},{step / 7}\n" for step in range(9)))
        os.utime(source / f"table{number}.csv", (10**9, 10**9))
    sweep = source / "tuned"
    for number in range(3):
        trial = sweep / f"train_{number:05}_lr={number}"
        trial.mkdir(parents=True)
        rows = [{"trial_id": f"{number:05}", "training_iteration": n, "timestamp": 10**9 + n, "loss": n} for n in range(3)]
        (trial / "result.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (trial / "params.json").write_text(json.dumps({"lr": number}))
    return source


def imported(source, root, on, dry_run=False):
    """The report of an import."""
    units = look_for([source, source / "run-01", *source.glob("*.csv")], None, Options()).units
    outcomes = bring(units, root, Options(), dry_run=dry_run, on=on)
    return [json.dumps(outcome.to_data()).replace(str(root), "ROOT") for outcome in outcomes]


@pytest.mark.parametrize("on", ["number", "threads", "dask"], indirect=True)
def test_same(source, tmp_path, on):
    """Trees and reports are equal: of a preview, of the first import, of one of more, and of one of nothing new."""
    here, there = tmp_path / "here", tmp_path / "there"
    with executor_of(on) as executor:
        assert imported(source, there, executor, True) == imported(source, here, None, True)
        assert not there.exists()
        for grown in (None, source / "table1.csv", None):
            if grown is not None:
                with open(grown, "a") as file:
                    file.write("9,0.5\n10,0.25\n")
                w.write(source / "run-later", w.framed([w.run("later", name="name1"), w.exited()]), "run-later.wandb")
            assert imported(source, there, executor) == imported(source, here, None)
            assert content(there) == content(here)

    assert len(list(here.rglob("meta.json"))) > 20
    assert [path.name for path in there.iterdir() if path.name.startswith(".")] == []


def test_command(command, source):
    """--on prints what is printed without it."""
    here = command("import", "source", "--into", "here")
    there = command("import", "source", "--into", "there", "--on", "processes:2")

    assert there.stdout.replace("there/", "here/") == here.stdout
    assert (there.stderr, there.returncode) == (here.stderr, here.returncode)


def test_refused(command, source, tmp_path):
    """What names no executor is refused before anything is written."""
    shown = command("import", "source", "--into", "runs", "--on", "slurm://head")

    assert shown.returncode == 2
    assert "on='slurm://head' has the unknown scheme 'slurm'" in shown.stderr
    assert not (tmp_path / "runs").exists()


def test_sources_can_be_sent(source):
    """The readers of these formats go to other processes."""
    assert {unit.format for unit in look_for([source], None, Options()).units} == {"wandb", "ray"}
    for unit in [*look_for([source], None, Options()).units, *look_for([source / "table1.csv"], None, Options()).units]:
        assert pickle.loads(pickle.dumps(unit)).path == unit.path


def test_worker_without_the_source(source, tmp_path):
    """A worker that does not see the sources, or the tree, is an error; nothing is left of what was begun."""
    with pytest.raises(TaskNotDone, match=r"does not see .*/source/.*: workers need the sources at the same absolute paths"):
        imported(source, tmp_path / "runs", Elsewhere(source))
    (tmp_path / "tree").mkdir()
    with pytest.raises(TaskNotDone, match=r"does not see .*/tree: workers need it at the same absolute path"):
        imported(source, tmp_path / "tree", Elsewhere(tmp_path / "tree"))

    assert not (tmp_path / "runs").exists()
    assert list((tmp_path / "tree").iterdir()) == []


def test_early_end(source, tmp_path):
    """What was made and not taken is removed when the import ends early; the next one completes it."""
    units = look_for([source], None, Options()).units
    with ThreadPoolExecutor(2) as threads:
        outcomes = bring(units, tmp_path / "runs", Options(), on=threads)
        next(outcomes)
        outcomes.close()

        assert [path.name for path in (tmp_path / "runs").iterdir() if path.name.startswith(".")] == []
        imported(source, tmp_path / "runs", threads)
    imported(source, tmp_path / "here", None)
    assert content(tmp_path / "runs") == content(tmp_path / "here")
