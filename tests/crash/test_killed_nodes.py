"""A node that dies at any moment leaves a beginning of its log in the bucket, and whoever pushes its folder completes it.

`MLV_SOAK=1` kills thirty nodes and takes the store away for a minute; else a few seconds must do.
"""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("obstore")

from bucket.nodes import Node, metrics, shipped

from crash.victims import IS_SOAK
from mlv.bucket.store import open_store

pytestmark = pytest.mark.crash

KILLS = 30 if IS_SOAK else 4
AWAY_S = 60 if IS_SOAK else 4
DELAY_S = 0.08


@pytest.fixture
def far_url(far):
    """A root in a bucket that is 80 ms away."""
    url = far.bucket().url
    far.set(delay_s=DELAY_S)
    return url.replace("?", "/node?")


@pytest.mark.timeout(900)
def test_nodes_are_killed(far, far_url, process):
    """The bucket holds whole lines from the first one on; a push of the folder brings all others, and doubles none."""
    numbers = random.Random()
    moments = [numbers.uniform(2, 9) for _ in range(KILLS)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: kill_and_push(far_url, process, number, moments[number]), range(KILLS)))


def kill_and_push(far_url, process, number, moment_s):
    url = far_url.replace("/node?", f"/node-{number}?")
    store = open_store(url)
    with Node(url, every_s=1) as node:
        time.sleep(moment_s)
        node.kill()
        before, log = shipped(store, "run"), node.path / "log.jsonl"
        assert log.read_bytes().startswith(before)
        assert before.endswith(b"\n") or not before

        pushed = process("push", node.path.parent, url)

        assert pushed.returncode == 0, pushed.stdout + pushed.stderr
        content = log.read_bytes()
        assert shipped(store, "run") == content[: content.rindex(b"\n") + 1]


@pytest.mark.timeout(600)
def test_the_store_is_away(far, far_url):
    """Connections end, requests are refused, and nothing is answered; then all arrives, once."""
    with Node(far_url, every_s=1, rate=500, length_s=AWAY_S + 6) as node:
        node.shipper()
        time.sleep(2)
        for fault in ("reset", "503", "expired", "full"):
            far.set(fault=fault, delay_s=DELAY_S)
            time.sleep(AWAY_S / 4)
        far.set(delay_s=DELAY_S)
        count = int(node.answer().split()[0])
        node.answer("closed")
        node.trainer.wait()
        deadline = time.monotonic() + 120
        while node.processes() and time.monotonic() < deadline:
            time.sleep(0.1)

        content = shipped(open_store(far_url), "run")

        assert [row["number"] for row in metrics(content)] == list(range(count))
        assert content == (node.path / "log.jsonl").read_bytes()
