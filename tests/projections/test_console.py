"""The console: a line per event, in the caller's thread."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import textwrap

import pytest
from conftest import everything_from

import mlv
from mlv.projections import Console
from projections.places import SETTINGS


def shown(capsys) -> list[str]:
    """What was printed, without times."""
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("mlv:")]
    return [re.sub(r"^\d\d:\d\d:\d\d  ", "", line) for line in lines]


def test_metrics_in_a_line(tmp_path, capsys):
    """Step, coordinates, full names and values, formatted as `describe` says, before or after the fact."""
    with mlv.Exp(tmp_path, "exp", **SETTINGS, outputs=["console"]) as exp:
        exp.log.describe("train/loss", unit="nat", format=".4f")
        exp.log.sub("train").at(epoch=2)({"loss": 0.25, "acc": 0.987654}, step=3)
        exp.log.describe("acc", unit="%")
        exp.log({"acc": 98})
        lines = shown(capsys)

    assert lines == ["step=3  epoch=2  train/loss=0.2500 nat  train/acc=0.9877", "acc=98 %"]


def test_format_that_does_not_fit(tmp_path, capsys):
    """A format that a value cannot take shows the value plainly."""
    with mlv.Exp(tmp_path, "exp", **SETTINGS, outputs=["console"]) as exp:
        exp.log.describe("x", format=".3f")
        exp.log({"x": "text"})
        exp.log({"x": None})
        assert shown(capsys) == ["x=text", "x=null"]


@pytest.mark.parametrize(
    ("verbosity", "expected"), [(0, ["a=1"]), (1, ["a=1", "b=2"]), (-1, []), (None, ["a=1", "b=2", "c=3"])]
)
def test_verbosity_is_a_threshold(tmp_path, capsys, verbosity, expected):
    """Events above the output's verbosity are not shown, and are in the log all the same."""
    with mlv.Exp(tmp_path, "exp", **SETTINGS, outputs=[Console(verbosity=verbosity, types=["metrics"])]) as exp:
        exp.log({"a": 1})
        exp.log({"b": 2}, verbosity=1)
        exp.log({"c": 3}, verbosity=2)
        assert shown(capsys) == expected

    assert [event.verbosity for event in exp.events("metrics")] == [0, 1, 2]


def test_filter_and_level(tmp_path, capsys):
    """Metrics are chosen one by one; messages below the level are not shown."""
    with mlv.Exp(tmp_path, "exp", **SETTINGS, outputs=[Console(filter="loss", level="warning")]) as exp:
        exp.log({"loss": 1, "acc": 2})
        exp.log.sub("loss").info("quiet")
        exp.log.sub("loss").warning("loud")
        assert shown(capsys) == ["loss=1", "WARNING  loss  loud"]


def test_media_and_the_end(tmp_path, capsys):
    """What goes to files is named, and the run's end says how it went."""
    with mlv.Exp(tmp_path, "exp", **SETTINGS, outputs=["console"]) as exp:
        exp.log.text("note", "hello")
        exp.log.array("weights", bytearray(b"1234"))
        shown(capsys)
    [line] = shown(capsys)

    assert re.fullmatch(r"run r\w+ ended  ok", line)


def test_description_of_an_earlier_run(tmp_path, capsys):
    """A run that opens the experiment again shows metrics as was said before."""
    with mlv.Exp(tmp_path, "exp", **SETTINGS) as exp:
        exp.log.describe("loss", unit="nat")
    with mlv.Exp.open(exp.path, outputs=["console"]) as exp:
        exp.log({"loss": 1})
        assert shown(capsys) == ["loss=1 nat"]


def test_terminal_that_fails_ends_nothing(tmp_path, monkeypatch):
    """A stderr that raises is warned about once; the log is complete."""

    class Broken(io.StringIO):
        def write(self, text):
            raise OSError("gone")

    with mlv.Exp(tmp_path, "exp", **SETTINGS, outputs=[Console(stream="stdout")]) as exp:
        monkeypatch.setattr(sys, "stdout", Broken())
        with pytest.warns(mlv.OutputFailed, match="cannot be shown") as warned:
            log_three(exp)
        monkeypatch.undo()

    assert len(warned) == 1
    assert len(list(exp.events("metrics"))) == 3


def log_three(exp):
    for i in range(3):
        exp.log({"a": i})


def test_progress_bar_of_tqdm_stays_whole(tmp_path, capsys):
    """Lines go above a bar that tqdm draws."""
    tqdm = pytest.importorskip("tqdm")
    with mlv.Exp(tmp_path, "exp", **SETTINGS, outputs=["console"]) as exp:
        with tqdm.tqdm(total=3, file=sys.stderr, mininterval=0) as bar:
            exp.log({"a": 1})
            bar.update()
        err = capsys.readouterr().err

    assert re.search(r"\r +\r?\d\d:\d\d:\d\d  a=1\n", err) or "\n" in err.split("a=1")[1]
    assert err.count("a=1") == 1


def test_colours_on_a_terminal_only(tmp_path):
    """A terminal gets colours, and the line of a bar is erased first; a file gets plain text."""
    script = textwrap.dedent("""
        import mlv
        with mlv.Exp("runs", "exp", capture=(), outputs=["console"]) as exp:
            exp.log({"a": 1})
    """)
    leader, follower = pty.openpty()
    environ = {**os.environ, "TERM": "xterm-256color"}
    environ.pop("NO_COLOR", None)
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, stderr=follower, timeout=60, check=True, env=environ)
    os.close(follower)
    seen = everything_from(leader)

    assert b"\r\x1b[K\x1b[" in seen
    assert b"a=" in seen


@pytest.mark.parametrize("options", [{"level": "loud"}, {"stream": "log"}, {"path": "x"}, {"verbosity": 1.5}], ids=str)
def test_unusable_options(options):
    """An option that cannot be used is refused."""
    with pytest.raises(mlv.InvalidArgument):
        Console(**options)
