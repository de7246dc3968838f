"""`mlv export --to csv` without `--out`: the outputs that `Exp(outputs=...)` keeps, built from the log."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from conftest import run_command

import mlv
from mlv import projections
from mlv.projections.registry import FORMS


def export(folder, *arguments):
    return run_command("export", *arguments, cwd=folder)


def made(folder, name="exp"):
    with mlv.Exp(folder, name, capture=()) as exp:
        for i in range(20):
            exp.log({"loss": i}, step=i)
    return exp


def test_output_in_the_experiment(tmp_path):
    """The output goes to the folder of its name in the experiment, and its path is said."""
    exp = made(tmp_path)
    done = export(tmp_path, "exp", "--to", "csv")

    assert (done.returncode, done.stderr) == (0, f"mlv: {exp.path / 'csv'}\n")
    assert len((exp.path / "csv" / "log.csv").read_text().splitlines()) == 21


def test_several_experiments(tmp_path):
    """Each experiment gets its own."""
    experiments = [made(tmp_path, name) for name in "ab"]
    assert export(tmp_path, ".", "--to", "csv").returncode == 0
    assert all((exp.path / "csv" / "log.csv").exists() for exp in experiments)


def test_follow_until_the_end(tmp_path):
    """`--follow` goes on until no run goes on."""
    script = textwrap.dedent("""
        import sys, time, mlv
        with mlv.Exp(".", "exp", capture=()) as exp:
            exp.log({"loss": 0}, step=0)
            exp.flush()
            print(flush=True)
            time.sleep(1)
            exp.log({"loss": 1}, step=1)
    """)
    trainer = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    trainer.stdout.readline()
    done = export(tmp_path, "exp", "--to", "csv", "--follow")
    trainer.communicate(timeout=60)

    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "exp" / "csv" / "log.csv").read_text().splitlines()) == 3


def test_unknown_form(tmp_path):
    """A form that there is not is refused, with those that there are."""
    made(tmp_path)
    done = export(tmp_path, "exp", "--to", "tensorbord")

    assert done.returncode == 2
    assert "they" not in done.stdout
    assert f"'tensorbord': there is no such output; give {', '.join(FORMS)}" in done.stderr


def test_foreign_folder(tmp_path):
    """A folder with the output of another experiment is refused."""
    projections.replay(made(tmp_path, "a"), projections.CSV(path=tmp_path / "out"))
    made(tmp_path, "b")
    done = export(tmp_path, "b", "--to", "csv", "--out", "out", "--follow")

    assert done.returncode == 2
    assert "another experiment" in done.stderr


def files_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")


def test_out_holds_everything(tmp_path):
    """R1: whatever way leads to the experiments, their outputs lie below --out, by their paths in the folder that is named."""
    pytest.importorskip("h5py")
    for name in ("cnn/a", "cnn/b", "mlp/a"):
        made((tmp_path / "runs" / name).parent, (tmp_path / name).name)
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "runs")
    before = files_below(tmp_path / "runs")
    names = ["cnn/a/log.csv", "cnn/b/log.csv", "mlp/a/log.csv"]
    ways = ["../runs", "../work/../runs", tmp_path / "runs", "../link", "../link/../runs"]

    for number, way in enumerate(ways):
        (tmp_path / "out").mkdir(exist_ok=True)
        done = export(work, way, "--to", "hdf5", "--out", f"../out/{number}")
        assert (done.returncode, done.stderr.count("mlv: ")) == (0, 3), done.stderr
        assert files_below(tmp_path / "out" / str(number)) == [name.replace("log.csv", "metrics.h5") for name in names]

    assert files_below(tmp_path / "runs") == before


def test_out_tells_experiments_apart(tmp_path):
    """Experiments of equal names in two folders that are named go to two folders; one that is named twice goes to one."""
    pytest.importorskip("h5py")
    for folder in ("x", "y"):
        made(tmp_path / folder, "a")

    assert export(tmp_path, "x", "y", "x/a", "--to", "hdf5", "--out", "out").returncode == 0

    assert files_below(tmp_path / "out") == ["x/a/metrics.h5", "y/a/metrics.h5"]


def test_out_is_no_experiment(tmp_path):
    """R1: outputs are not written into experiments, by whatever path one is meant."""
    pytest.importorskip("h5py")
    for name in "ab":
        made(tmp_path / "runs", name)
    before = files_below(tmp_path / "runs")
    (tmp_path / "link").symlink_to(tmp_path / "runs" / "a")

    for words, out in ((["runs"], "runs"), (["runs"], "runs/a"), (["runs/a"], "runs/b/deep"), (["runs/a"], "link")):
        done = export(tmp_path, *words, "--to", "hdf5", "--out", out)
        assert done.returncode == 2, done.stderr
        assert "lies in the experiment" in done.stderr

    assert files_below(tmp_path / "runs") == before


def test_a_line_that_runs_back(command, tmp_path):
    """R17: where steps are repeated without `rewind_to` the export says that the line runs back, also when gone on."""
    pytest.importorskip("tensorboardX")
    said = []
    for options in ({}, {}, {"rewind_to": 5}):
        with mlv.Exp(tmp_path, "e", capture=()) if not said else mlv.Exp.open(tmp_path / "e", capture=(), **options) as exp:
            for step in range(6 if said else 0, 10):
                exp.log({"loss": 0.5, "acc": 1, "nostep": 1}, step=step)
        said.append(command("export", "e", "--to", "tensorboard").stderr)

    assert ["go back" in text for text in said] == [False, True, False]
    assert "steps of 'loss' and 2 more go back, as does TensorBoard's line" in said[1]
