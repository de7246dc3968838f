"""Shipping to real stores, near and far, well and ill: what goes up is the log, whatever happens on the way."""

import gzip
import sys
import time

import pytest
from bucket.contents import copy_of
from conftest import wait_until

import mlv
from mlv.bucket import names, segments
from mlv.bucket.push import Push
from mlv.bucket.shipper import Shipper
from mlv.bucket.store import open_store
from mlv.errors import NoSuchObject

pytest.importorskip("obstore", reason="needs the extra 'bucket'")

FAULTS = [
    {"fault": "503"},
    {"fault": "denied"},
    {"fault": "expired", "times": 5},
    {"fault": "cut"},
    {"fault": "lost", "kinds": ["PUT"]},
    {"fault": "reset"},
    {"fault": "full", "kinds": ["PUT"]},
    {"delay_s": 0.4},
    {"bytes_per_s": 20000},
]


def log_in(store, folder, path):
    """The bytes of the log that the copy in a folder has in a bucket, up to the first hole; None while segments are merged."""
    below = (stored.key[len(path) + 1 :] for stored in store.objects(path))
    held = [segment for key in below if (segment := names.segment_of(key)) is not None and segment.copy == copy_of(folder)]
    own = [segment for segment in held if segment.stream == "log"]
    slices = segments.chain(own)
    try:
        return b"".join(piece.of(gzip.decompress(store.get(names.join(path, piece.segment.key)))) for piece in slices)
    except NoSuchObject:
        return None


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc")
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.get("fault", next(iter(fault))))
def test_a_run_outlasts_an_ill_store(tmp_path, monkeypatch, far, fault):
    """Training goes on, and everything arrives when the store is well again."""
    monkeypatch.setenv("MLV_SHIP_EVERY", "0.2")
    url = far.bucket().url
    exp = mlv.Exp(tmp_path, "digits", ship=url, capture=(), system=False)
    exp.log({"loss": 1.0}, step=0)
    assert exp.flush(60, shipped=True)
    far.set(**fault)
    for step in range(1, 40):
        exp.log({"loss": 1 / step}, step=step)
        time.sleep(0.02)
    exp._session.close("ok", timeout_s=0)
    far.set()

    store = open_store(url)
    wait_until(lambda: any(names.whole_of(stored.key.removeprefix("digits/")) for stored in store.objects("digits/.mlv")))
    wait_until(lambda: log_in(store, exp.path, "digits") == (exp.path / "log.jsonl").read_bytes())


def test_every_store(tmp_path, any_bucket, inline):
    """Each takes what is shipped, whether it minds conditions or not; pushing again uploads nothing."""
    store = open_store(any_bucket)
    with mlv.Exp(tmp_path / "runs", "digits", capture=(), system=False) as exp:
        shipper = Shipper(exp.path, "digits", store, merged_at_once=4)
        for step in range(9):
            exp.log({"loss": step}, step=step)
            exp.flush()
            shipper.ship_lines()
            shipper.merge()
        with exp.file("ünïcode name #1.txt", "w") as file:
            file.write("well")

    for _ in range(2):
        pushing = Push(tmp_path / "runs", store)
        assert all(shipped.is_well for shipped in pushing.run(pushing.experiments()))
        before = sorted((stored.key, stored.size) for stored in store.objects())

    assert log_in(store, exp.path, "digits") == (exp.path / "log.jsonl").read_bytes()
    assert [key for key, _ in before if key.endswith(".gz")] == [
        f"digits/{names.Segment('log', copy_of(exp.path), 0, (exp.path / 'log.jsonl').stat().st_size).key}"
    ]
    assert store.get("digits/files/ünïcode name #1.txt") == b"well"
