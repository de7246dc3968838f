"""The page of a folder on another machine, over an `ssh` that runs its command here."""

from __future__ import annotations

import os
import signal
import sys

import psutil
import pytest

from mlv.web.remote import parsed
from tests.conftest import wait_until
from tests.web.test_ui_command import address_of, asked, started

SSH = """#!{python}
import socket, subprocess, sys, threading
words = sys.argv[1:]
port, path = words[words.index("-L") + 1].split(":", 2)[1:]
assert words[-2] == "lab"
def pump(source, target):
    while data := source.recv(65536):
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)
def forward():
    listener = socket.create_server(("127.0.0.1", int(port)))
    while True:
        here, _ = listener.accept()
        there = socket.socket(socket.AF_UNIX)
        there.connect(path)
        for pair in ((here, there), (there, here)):
            threading.Thread(target=pump, args=pair, daemon=True).start()
threading.Thread(target=forward, daemon=True).start()
sys.exit(subprocess.run(["sh", "-c", words[-1]]).returncode)
"""


@pytest.fixture
def lab(tmp_path) -> dict[str, str]:
    """Variables under which `ssh lab` runs its command on this machine, with an `mlv` on its PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ssh").write_text(SSH.format(python=sys.executable))
    (folder / "mlv").write_text(f'#!/bin/sh\nexec {sys.executable} -m mlv "$@"\n')
    for name in ("ssh", "mlv"):
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path), "BROWSER": "true %s"}


def below(process) -> list[psutil.Process]:
    """Return the processes that a command has started."""
    return psutil.Process(process.pid).children(recursive=True)


def test_folder_of_another_machine_is_shown(runs, lab):
    """The address printed here leads to the page there; the secret is in no list of processes, and Ctrl-C ends both sides."""
    (runs.parent / "my runs").symlink_to(runs)
    with started("lab:~/my runs", "--no-open", "--fresh", **lab) as process:
        url = address_of(process)
        answer = asked(f"{url}api/index")
        others = below(process)
        words = " ".join(word for other in others for word in other.cmdline())
        process.send_signal(signal.SIGINT)
        code = process.wait(60)
        wait_until(lambda: not any(other.is_running() and other.status() != "zombie" for other in others))

    assert b'"columns"' in answer
    assert "--while-stdin --fresh" in words
    assert url.rstrip("/").rpartition("/")[2] not in words
    assert code == 130
    assert not os.path.exists(words.partition("--socket ")[2].split()[0])


def test_lost_connection_is_said(runs, lab):
    """When ssh ends, the command ends as well, and says so."""
    with started(f"lab:{runs}", "--no-open", **lab) as process:
        address_of(process)
        [ssh] = psutil.Process(process.pid).children()
        server = below(process)[-1]
        ssh.kill()
        output = process.stdout.read()
        code = process.wait(60)
        server.kill()

    assert code != 0
    assert "the connection to lab is lost" in output


def test_failed_start_is_said(runs, lab):
    """Where there is no such folder, the message from there is printed, with what to look at."""
    with started("lab:none", "--no-open", **lab) as process:
        output, _ = process.communicate(timeout=60)

    assert process.returncode == 2
    assert "does not exist" in output
    assert "lab gave no page" in output


def test_options_of_this_machine_are_refused(lab):
    """Options that speak of a server here make no sense for one elsewhere."""
    with started("lab:runs", "--socket", "x", **lab) as process:
        output, _ = process.communicate(timeout=60)

    assert process.returncode == 2
    assert "is on another machine" in output


def test_paths_and_addresses_are_told_apart(tmp_path, monkeypatch):
    """A folder here that has a colon in its name is one; so is one behind a slash, and a URL is none."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:b").mkdir()

    assert parsed("a:b") is None
    assert parsed("./c:d") is None
    assert parsed("-oProxyCommand=x:y") is None
    assert parsed("s3://bucket/runs") is None
    assert parsed("ada@lab.example:runs/new") == ("ada@lab.example", "runs/new")
    assert parsed("lab:") == ("lab", ".")
