"""Experiments from the command line of a script."""

from __future__ import annotations

from argparse import ArgumentParser

import pytest

from mlv import Exp, InvalidArgument, add_arguments_to, exp_from_args


def parsed(*arguments: str) -> object:
    parser = ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--verbose", action="store_true")
    add_arguments_to(parser)
    return parser.parse_args(arguments)


def test_defaults(tmp_path, monkeypatch):
    """Without options the experiment goes to `runs`, under the local time; the arguments are its params."""
    monkeypatch.chdir(tmp_path)
    with exp_from_args(parsed()) as exp:
        assert exp.path.parent == tmp_path / "runs"
        assert exp.params == {"lr": 0.1, "verbose": False}
        assert (exp.tags, exp.notes, exp.kind) == ((), (), None)


def test_options(tmp_path):
    """Every option says where the experiment goes, and none of them is a param."""
    options = ["--savedir", str(tmp_path), "--exp-name", "digits", "--exp-tag", "a", "--exp-tag", "b", "--exp-notes", "Why."]
    with exp_from_args(parsed(*options, "--lr", "0.5"), "train", ["verbose"], {"seed": 3, "lr": 0.7}) as exp:
        assert exp.path == tmp_path / "digits"
        assert exp.params == {"lr": 0.7, "seed": 3}
        assert (exp.tags, exp.notes, exp.kind) == (("a", "b"), ("Why.",), "train")


def test_on_exists(tmp_path):
    """A script may be started again with `--on-exists open`."""
    options = ["--savedir", str(tmp_path), "--exp-name", "digits"]
    with exp_from_args(parsed(*options)) as first:
        pass
    with exp_from_args(parsed(*options, "--on-exists", "open")) as second:
        assert second == first

    assert len(Exp.open(first.path).runs) == 2


def test_twice(tmp_path):
    """A parsed namespace can be used again: nothing of it is changed."""
    args = parsed("--savedir", str(tmp_path), "--exp-name", "x")
    before = dict(vars(args))
    names = [exp_from_args(args).name for _ in range(2)]

    assert names == ["x", "x_1"]
    assert vars(args) == before


def test_help(capsys):
    """The options explain themselves."""
    with pytest.raises(SystemExit):
        parsed("--help")

    shown = capsys.readouterr().out
    assert "(default: runs)" in shown
    assert all(option in shown for option in ("--savedir", "--exp-name", "--exp-tag", "--exp-notes", "--on-exists"))


def test_ignoring_one_text(tmp_path):
    """`args_to_ignore="lr"` does not mean l and r."""
    with pytest.raises(InvalidArgument, match=r"args_to_ignore='lr' is one text: give a list, \['lr'\]"):
        exp_from_args(parsed("--savedir", str(tmp_path)), args_to_ignore="lr")
