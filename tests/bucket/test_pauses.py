"""Streams that nobody waits for are shipped seldom beside a run, and whole at its end."""

import signal
import subprocess
import sys

import pytest
from bucket.contents import shipped
from bucket.memory import MemoryStore
from conftest import wait_until
from signalling import send

import mlv
from mlv.bucket.names import segment_of
from mlv.bucket.pauses import StreamPauses
from mlv.bucket.push import Push
from mlv.store import claims, layout
from mlv.store.claims import Claim
from mlv.store.owners import Owner

pytestmark = pytest.mark.usefixtures("inline")

MINE = Claim(Owner.current(), "r")
GONE = Claim(Owner.current().replace(start="0"), "r")
SELDOM = ("system", "console")


def write(folder, claim=MINE):
    """Write a line of each stream, whose writer holds it by a claim, or none."""
    for stream in ("val", *SELDOM):
        if claim is not None:
            layout.claim_path(folder, stream).parent.mkdir(parents=True, exist_ok=True)
            layout.claim_path(folder, stream).write_bytes(claim.to_bytes())
        with open(folder / layout.stream_file(stream), "ab") as file:
            file.write(b'{"run":"r","seq":1,"time":"2026-01-01T00:00:00.000000Z","type":"message","data":{}}\n')


def give_back(folder):
    for stream in ("val", *SELDOM):
        claims.release(folder, stream, MINE)


@pytest.fixture
def exp(tmp_path):
    """An experiment whose streams a writer holds."""
    with mlv.Exp(tmp_path / "runs", "digits", capture=(), system=False) as exp:
        exp.log({"loss": 0.5}, step=0)
    write(exp.path)
    return exp


def shipped_streams(pushing, store, **options):
    """Push once; return the streams of the segments that were made, sorted."""
    store.requests.clear()
    assert all(outcome.is_well for outcome in pushing.run(pushing.experiments(), **options))
    keys = [key.partition("/")[2] for call, key in store.requests if call == "create"]
    return sorted(segment.stream for key in keys if (segment := segment_of(key)) is not None)


def test_the_pauses(exp):
    """Samples of the machine go every five minutes, the console every minute, and a whole shipment begins them anew."""
    pauses = StreamPauses()

    def pausing(now, is_whole=False):
        pauses.begin(now, is_whole=is_whole)
        return pauses.pausing(exp.path)

    assert [pausing(now) for now in (1000, 1059, 1060, 1070, 1120, 1299)] == [
        [], ["console", "system"], ["system"], ["console", "system"], ["system"], ["system"],
    ]  # fmt: skip
    assert pausing(1300) == ["console"]
    assert pausing(1310, is_whole=True) == []
    assert pausing(1369) == ["console", "system"]


def test_each_look_ships_the_streams_that_are_waited_for(exp, tmp_path):
    """Beside a run a look costs a PUT for these alone, after the first; one that is whole ships all."""
    store = MemoryStore()
    pushing = Push(tmp_path / "runs", store)

    first = shipped_streams(pushing, store, is_whole=False)
    looks = []
    for _ in range(3):
        write(exp.path)
        looks.append(shipped_streams(pushing, store, is_whole=False))
    last = shipped_streams(pushing, store)

    assert first == ["console", "log", "system", "val"]
    assert looks == [["val"]] * 3
    assert last == ["console", "system"]


@pytest.mark.parametrize("end", [give_back, lambda folder: write(folder, GONE)])
def test_the_end_of_a_run(exp, tmp_path, end):
    """All of it goes with the next look once its writer has left, or died."""
    store = MemoryStore()
    pushing = Push(tmp_path / "runs", store)
    shipped_streams(pushing, store, is_whole=False)
    write(exp.path)
    assert shipped_streams(pushing, store, is_whole=False) == ["val"]
    end(exp.path)

    assert {*shipped_streams(pushing, store, is_whole=False)} >= {*SELDOM}


@pytest.mark.skipif(sys.platform != "linux", reason="signals a process")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_of_following(exp, tmp_path, number):
    """SIGTERM and Ctrl-C ship all that there is, whatever pauses."""
    pytest.importorskip("obstore", reason="needs the extra 'bucket'")
    bucket = tmp_path / "bucket/digits"
    arguments = [sys.executable, "-m", "mlv", "push", "runs", f"file://{tmp_path}/bucket", "--follow", "--every", "0.1"]

    def lines(stream):
        return shipped(bucket, exp.path, stream).count(b"\n")

    daemon = subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: (exp.path / ".mlv/copy").exists() and lines("val") == lines("system") == 1)
        write(exp.path)
        wait_until(lambda: lines("val") == 2)
        seldom = [lines(stream) for stream in SELDOM]
        send(daemon.pid, number)
        assert daemon.wait(30) == 0
    finally:
        daemon.kill()
        daemon.wait()

    assert seldom == [1, 1]
    assert [lines(stream) for stream in SELDOM] == [2, 2]


def test_a_run_that_goes_on(tmp_path, ring):
    """Its samples wait, and go with all else when it has ended: the next look makes the copy whole."""
    store = MemoryStore()
    pushing = Push(tmp_path / "runs", store)
    exp = mlv.Exp(tmp_path / "runs", "digits", capture=(), system=0.5)
    samples = exp.path / "system.log.jsonl"
    wait_until(lambda: samples.exists() and samples.read_bytes().endswith(b"\n"))
    first = shipped_streams(pushing, store, is_whole=False)
    size = samples.stat().st_size
    wait_until(lambda: samples.stat().st_size > size)
    exp.log({"loss": 0.5}, step=0)
    exp.flush()

    assert "system" in first
    assert shipped_streams(pushing, store, is_whole=False) == ["log"]
    exp.close()
    wait_until(lambda: not claims.claimed(exp.path))
    assert "system" in shipped_streams(pushing, store, is_whole=False)
    assert any("/whole/" in key for key in store.content)
