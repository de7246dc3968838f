"""`mlv export --to csv` without `--out`: the outputs that `Exp(outputs=...)` keeps, built from the log."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import mlv
from mlv import projections


def export(folder, *arguments):
    command = [sys.executable, "-m", "mlv", "export", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


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
    trainer.communicate(timeout=20)

    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "exp" / "csv" / "log.csv").read_text().splitlines()) == 3


def test_unknown_form(tmp_path):
    """A form that there is not is refused, with those that there are."""
    made(tmp_path)
    done = export(tmp_path, "exp", "--to", "tensorbord")

    assert done.returncode == 2
    assert "they" not in done.stdout
    assert "'tensorbord': there is no such form; give csv, hdf5, parquet, tensorboard, or jsonl" in done.stderr


def test_foreign_folder(tmp_path):
    """A folder with the output of another experiment is refused."""
    projections.replay(made(tmp_path, "a"), projections.CSV(path=tmp_path / "out"))
    made(tmp_path, "b")
    done = export(tmp_path, "b", "--to", "csv", "--out", "out", "--follow")

    assert done.returncode == 2
    assert "another experiment" in done.stderr
