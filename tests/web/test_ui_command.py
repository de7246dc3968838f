"""The process of `mlv ui`: its address, its secret, and its end."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.conftest import wait_until

pytest.importorskip("uvicorn", reason="the page needs mlvlogger[ui]")
pytest.importorskip("starlette", reason="the page needs mlvlogger[ui]")


@contextmanager
def started(*arguments: object, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command until the block ends."""
    words = [sys.executable, "-m", "mlv", "ui", *map(str, arguments)]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **environ}
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def address_of(process: subprocess.Popen[str]) -> str:
    """Return the address that is printed."""
    for line in process.stdout:
        if "http://" in line:
            return line[line.index("http://") :].strip()
    raise AssertionError("no address was printed")


def asked(url: str) -> bytes:
    """Return the answer to a question."""
    with urllib.request.urlopen(url) as answer:
        return answer.read()


def test_page_is_served_until_ctrl_c(runs):
    """The printed address answers, its secret is in no list of processes, and Ctrl-C ends the server while a page is open."""
    with started(runs, "--no-open", "--port", 0) as process:
        url = address_of(process)
        answer = asked(f"{url}api/index")
        words = " ".join(psutil.Process(process.pid).cmdline())
        with socket.create_connection(("127.0.0.1", int(url.split(":")[2].split("/")[0]))):
            process.send_signal(signal.SIGINT)
            code = process.wait(30)
        printed = process.stdout.read()

    assert b'"columns"' in answer
    assert url.rstrip("/").rpartition("/")[2] not in words
    assert code == 130
    assert url.rstrip("/").rpartition("/")[2] not in printed


def test_browser_is_opened_by_a_file(runs, tmp_path):
    """The browser gets the path of a file that only this user reads, never the address, and the file goes with the server."""
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {tmp_path}/opened.tmp && mv {tmp_path}/opened.tmp {tmp_path}/opened\n')
    browser.chmod(0o755)
    with started(runs, "--port", 0, BROWSER=f"{browser} %s") as process:
        url = address_of(process)
        wait_until((tmp_path / "opened").exists)
        opened = (tmp_path / "opened").read_text().removeprefix("file://")
        mode, text = stat.S_IMODE(os.stat(opened).st_mode), Path(opened).read_text()
        process.send_signal(signal.SIGINT)
        process.wait(30)

    assert mode == 0o600
    assert url in text
    assert not os.path.exists(opened)


def test_taken_port_is_said(runs):
    """A port that is taken ends the command with what to do."""
    with socket.create_server(("127.0.0.1", 0)) as other, started(runs, "--port", other.getsockname()[1]) as process:
        output, _ = process.communicate(timeout=60)

    assert process.returncode == 2
    assert "is taken: give another, or --port 0" in output


@pytest.mark.parametrize("arguments", [("--host", "0.0.0.0"), ()])
def test_wrong_start_is_refused(tmp_path, arguments):
    """A folder that is none, and an address for other machines without a name for it, are refused in one line."""
    root = tmp_path if arguments else tmp_path / "none"
    with started(root, *arguments, "--no-open") as process:
        output, _ = process.communicate(timeout=60)

    assert process.returncode == 2
    assert ("--allow-host" if arguments else "does not exist") in output
    assert len(output.splitlines()) <= 2


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_socket_is_for_its_owner_alone(runs, tmp_path, ending):
    """A socket in the file system answers, nobody else can reach it, and it goes with the server, however that is ended."""
    path = tmp_path / "ui.sock"
    with started(runs, "--socket", path) as process:
        url = address_of(process)
        mode = stat.S_IMODE(path.stat().st_mode)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            secret = url.rstrip("/").rpartition("/")[2]
            connection.sendall(f"GET /{secret}/api/index HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            begin = connection.recv(15)
        process.send_signal(ending)
        process.wait(30)

    assert mode == 0o600
    assert begin == b"HTTP/1.1 200 OK"
    assert not path.exists()
