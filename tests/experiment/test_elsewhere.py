"""Systems that lack what rings and writers need: the inline twin serves."""

from __future__ import annotations


def test_without_posix(python, tmp_path):
    """Where there is no fork, no user ID and no file locks, as on Windows, everything is written by the process itself."""
    result = python(
        """
        import asyncio, multiprocessing, os, subprocess, sys, tempfile
        sys.modules["fcntl"] = None
        for name in "fork getuid posix_fallocate mkfifo O_CLOEXEC O_NONBLOCK register_at_fork uname".split():
            delattr(os, name)
        import mlv
        with mlv.Exp("runs", "elsewhere", {"lr": 0.1}, capture=()) as exp:
            exp.log({"loss": 0.5}, step=1)
            exp.logger("val")("done", {"large": "x" * 100_000})
            assert exp.flush()
        again = mlv.Exp.open(exp.path)
        print(again.status, [event.type for event in again.events(stream="log")])
        """
    )

    assert result.stdout == "ok ['run_started', 'metrics', 'run_ended', 'seal', 'seal']\n", result.stderr


def test_module_names_taken(python, tmp_path):
    """A `selectors.py` beside the script keeps no experiment from starting: the process writes by itself, and says why."""
    (tmp_path / "selectors.py").write_text("")

    result = python(
        """
        import mlv
        with mlv.Exp("runs", "taken", capture=()) as exp:
            exp.log({"loss": 0.5}, step=1)
        print(exp.status, [event.data for event in exp.events("metrics")])
        """
    )

    assert result.stdout == "ok [{'loss': 0.5}]\n", result.stderr
    assert "subprocess cannot be imported" in result.stderr
