"""What commands print on narrow terminals: numbers and IDs in one piece."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

import mlv

pty = pytest.importorskip("pty", reason="this system has no terminals of its own")


def on_a_terminal(arguments: list[object], **variables: str) -> str:
    """What a command prints on a terminal, without colours."""
    above, below = pty.openpty()
    try:
        env = {**os.environ, **variables}
        process = subprocess.Popen([sys.executable, "-m", "mlv", *map(str, arguments)], stdout=below, env=env)
        os.close(below)
        read = []
        try:
            while chunk := os.read(above, 1 << 16):
                read.append(chunk)
        except OSError:  # how a terminal ends
            pass
        assert process.wait(timeout=60) == 0
    finally:
        os.close(above)
    return re.sub(r"\x1b\[[0-9;]*m", "", b"".join(read).decode()).replace("\r", "")


@pytest.fixture
def exp(tmp_path, monkeypatch):
    """An experiment with a long name, and metrics with long numbers."""
    monkeypatch.setenv("MLV_INLINE", "1")
    with mlv.Exp(tmp_path / "runs", "a_rather_long_name", {"lr": 0.123456}, capture=()) as exp:
        exp.log({"a/metric/of/a/long/name": 0.6887, "tokens": 123456789.0}, step=1234567)
    return exp


@pytest.mark.parametrize(
    "variables",
    [{"COLUMNS": "40"}, {"COLUMNS": "60", "NO_COLOR": "1"}, {"TERM": "dumb"}, {"COLUMNS": "40", "FORCE_COLOR": "1"}],
    ids=["40", "60", "dumb", "colour"],
)  # fmt: skip
def test_nothing_is_broken(exp, variables):
    """R16: `ls`, `summary` and tables print each number and ID in one piece, whatever the terminal is."""
    root = exp.path.parent

    assert exp.short_id in on_a_terminal(["ls", root], **variables)
    shown = on_a_terminal(["ls", root, "--columns", "id,name,metrics.tokens.last,created"], **variables)
    assert exp.id in shown
    assert "123456789" in shown
    shown = on_a_terminal(["summary", exp.path], **variables)
    assert "0.6887" in shown
    assert "123456789" in shown
