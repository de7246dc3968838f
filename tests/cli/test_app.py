"""What all commands share: help, version, errors, pipes, and how an experiment is named."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import mlv
from mlv.cli import choose
from mlv.errors import InvalidArgument, NotAnExperiment

COMMANDS = [
    "ls", "show", "summary", "tail", "compare", "plot", "sql", "export", "dump",
    "import", "verify", "recover", "whence", "merge", "redact", "lake", "doctor",
]  # fmt: skip


def test_help_names_every_command(command):
    """`mlv --help` says in a line what each command does, the most used first."""
    shown = command("--help")

    assert shown.returncode == 0
    names = [line.strip(" │|").partition(" ")[0] for line in shown.stdout.splitlines()]
    assert [name for name in names if name in COMMANDS] == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command(command, name):
    """Each command has its own help, without a type behind flags, and without braces around arguments."""
    text = command(name, "-h").stdout

    assert "Usage: mlv " + name in text
    assert "<bool>" not in text
    assert "{" not in text


def test_version(command):
    """`mlv --version` prints the version of the package."""
    assert command("--version").stdout == f"mlv {mlv.__version__}\n"


def test_help_is_light(tmp_path):
    """What only some commands need is not imported for the help."""
    source = (
        "import sys; sys.argv = ['mlv', '--help']\n"
        "import atexit; atexit.register(lambda: print(sorted({'git', 'psutil', 'filelock', 'numpy'} & sys.modules.keys())))\n"
        "from mlv.cli import main; main()"
    )
    shown = subprocess.run([sys.executable, "-c", source], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert shown.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ls", "nowhere"], "mlv: 'nowhere' does not exist: give a folder that holds experiments\n"),
        (["ls", "runs/digits/meta.json"], "mlv: 'runs/digits/meta.json' is a file: give a folder that holds experiments\n"),
        (
            ["show", "digit"],
            "mlv: there is no experiment 'digit' at or below '.', by path, ID or name: did you mean 'digits'?\n",
        ),
        (["tail", "runs/digits", "--name", "{"], "mlv: pattern '{' has a single brace: double it"),
        (["recover", "nowhere"], "mlv: 'nowhere' does not exist"),
    ],
)
def test_errors_are_one_line(command, runs, arguments, said):
    """What goes wrong is said in one line on stderr, without a traceback, and the status is 2."""
    failed = command(*arguments)

    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr.startswith(said)
    assert failed.stderr.count("\n") == 1


def test_a_reader_that_goes_away(runs, tmp_path):
    """Nothing is said when the other end of a pipe is closed, as by `head`."""
    shown = subprocess.run(
        f"{sys.executable} -m mlv tail --json -n 100 runs/digits | true",
        cwd=tmp_path, capture_output=True, text=True, timeout=60, shell=True,
    )  # fmt: skip

    assert shown.stderr == ""


@pytest.mark.parametrize(
    "line",
    [
        "merge runs s3://b/r", "merge gopher://b/r runs", "recover gopher://b/r", "redact gopher://b/r -p x",
        "whence s3://b/r", "dump runs --to jsonl --out s3://b/r", "export runs/digits --to csv --out s3://b/r",
        "plot runs/digits --metric loss --out s3://b/r.png",
    ],
)  # fmt: skip
def test_addresses(command, tmp_path, runs, line):
    """W15: an address is refused wherever a command takes a path, with what to do instead, and leaves nothing on the disk."""
    before = sorted(os.listdir(tmp_path))
    shown = command(*shlex.split(line))

    assert (shown.returncode, shown.stdout) == (2, "")
    assert "is an address, and mlv keeps experiments in folders: give a local or mounted folder" in shown.stderr
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    "line",
    [
        "ls hdfs://b/r", "ls gopher://b/r", "ls dbfs:/r", "show dbfs:/r", "tail abfs://b/r", "verify hf://b/r",
        "verify gopher://b/r runs", "sql gopher://b/r 'select 1'", "ui gopher://b/r", "ui gopher://b/r --export page",
        "show digits --root hdfs://b/r", "pull gopher://b/r copy", "summary http://user:secret@b/r", "ls http://user:secret@b/r",
        "compare gopher://b/r", "plot gopher://b/r --metric loss", "export gopher://b/r --to csv",
    ],
)  # fmt: skip
def test_schemes_that_are_not_read(command, tmp_path, runs, line):
    """Where a bucket may be read, an address of another kind is told the schemes that may; a password is not shown."""
    before = sorted(os.listdir(tmp_path))

    shown = command(*shlex.split(line))

    assert (shown.returncode, shown.stdout) == (2, "")
    assert "is an address, and its scheme is none of s3://, gs://, az://, file://" in shown.stderr
    assert "secret" not in shown.stderr
    assert len(shown.stderr.splitlines()) == 1
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    "line", ["recover s3://b/r", "merge s3://b/r runs", "redact gs://b/r -p x", "tag x s3://b/r", "rm --root s3://b/r digits"]
)
def test_buckets_are_read_alone(command, tmp_path, runs, line):
    """A command that changes experiments takes none in a bucket, and says how to have them in a folder."""
    shown = command(*shlex.split(line))

    assert (shown.returncode, shown.stdout) == (2, "")
    assert re.search(r"is in a bucket, whose experiments are only read: `mlv pull (s3|gs)://b/r DIR` brings", shown.stderr)


def test_interrupted(runs, tmp_path):
    """Ctrl-C ends a command without a word."""
    exp = mlv.Exp.open(runs / "digits")
    exp.log({"loss": 1})
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "mlv", "tail", "-f", "-n", "1", "runs/digits"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    exp.close()

    assert (process.returncode, errors) == (130, "")


class TestChoosing:
    @pytest.mark.parametrize("path", ["", "meta.json", "model.npz"])
    def test_by_path(self, runs, path):
        """A folder means the experiment that it is, and a file the one that it belongs to."""
        assert choose.experiment(str(runs / "digits" / path), Path()) == runs / "digits"

    @pytest.mark.parametrize(
        ("path", "said"),
        [
            ("digits/squeeze", r"is no experiment, but a folder in one: give .*digits', or one of those below, .*subexp_1"),
            ("digits/files", r"is no experiment, but a folder in one: give .*digits'$"),
            ("", "is no experiment, but holds some: `mlv ls"),
        ],
    )
    def test_folders_that_are_none(self, runs, path, said):
        """A folder in an experiment, or above some, is not taken for one of them in silence."""
        (runs / "digits" / "files").mkdir(exist_ok=True)

        with pytest.raises(NotAnExperiment, match=said):
            choose.experiment(str(runs / path), Path())

    def test_all_below_a_folder(self, runs):
        """Where several may be meant, a folder stands for the experiments below it: one of a kind for those of that kind."""
        inner = runs / "digits" / "squeeze" / "subexp_1"

        assert choose.experiments([str(runs / "digits" / "squeeze")], Path()) == [inner]
        assert choose.experiments([str(runs)], Path()) == [runs / "digits", inner]

    def test_the_innermost(self, runs):
        """A path within a sub-experiment means that one."""
        inner = runs / "digits" / "squeeze" / "subexp_1"

        assert choose.experiment(str(inner / "log.jsonl"), Path()) == inner

    def test_by_id(self, runs):
        """Four digits of an ID do, in any case."""
        exp = mlv.Exp.open(runs / "digits")

        assert choose.experiment(exp.id[:4].upper(), runs) == runs / "digits"
        assert choose.experiment(exp.id, runs) == runs / "digits"

    @pytest.mark.parametrize("name", ["subexp_1", "squeeze/subexp_1", "digits/squeeze/subexp_1"])
    def test_by_name(self, runs, name):
        """A name does if no other experiment has it; folders above make it plain."""
        assert choose.experiment(name, runs) == runs / "digits" / "squeeze" / "subexp_1"

    def test_several(self, runs, tmp_path):
        """A name of several experiments is refused, and all of them are listed."""
        shutil.copytree(runs / "digits", runs / "copies" / "digits")

        with pytest.raises(InvalidArgument, match="'digits' means 2 experiments") as caught:
            choose.experiment("digits", runs)

        assert str(runs / "digits") in str(caught.value)
        assert str(runs / "copies" / "digits") in str(caught.value)

    @pytest.mark.parametrize("word", ["dig", "DIGIT", "digti"])
    def test_close_names(self, runs, word):
        """Names that hold the word, or look like it, are told."""
        with pytest.raises(NotAnExperiment, match="did you mean 'digits'"):
            choose.experiment(word, runs)

    def test_none_at_all(self, tmp_path):
        """Where there are no experiments at all, it is said where they were looked for."""
        with pytest.raises(NotAnExperiment, match=f"at or below '{tmp_path}', nor any other"):
            choose.experiment("digits", tmp_path)

    def test_unreadable_ids_are_passed_over(self, runs):
        """An experiment whose meta.json cannot be read does not keep others from being found."""
        broken = runs / "broken"
        broken.mkdir()
        (broken / "meta.json").symlink_to("/proc/self/mem")

        assert choose.experiment(mlv.Exp.open(runs / "digits").id[:6], runs) == runs / "digits"
