"""A mirror under faults: whatever fails, and whenever, it holds a beginning of the log, and in the end all of it."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import pytest
from bucket.laid import COPY
from bucket.memory import MemoryStore
from logs import line

from mlv.bucket.mirror import Mirror
from mlv.bucket.names import Segment
from mlv.errors import BucketUnreachable, NoSuchObject, NotAnExperiment

pytest.importorskip("hypothesis")
from hypothesis import given, settings
from hypothesis import strategies as st

LOG = [line("r", number, second=number, data={"x": "y" * (number % 7)}) for number in range(1, 40)]
ENDS = [sum(map(len, LOG[:count])) for count in range(len(LOG) + 1)]
CONTENT = b"".join(LOG)


class Killed(BaseException):
    """The end of a process, as far as one process can play it."""


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("ship"), st.integers(1, 8)),
        st.tuples(st.just("overlap"), st.integers(1, 8)),
        st.tuples(st.just("merge"), st.booleans()),
        st.tuples(st.just("read"), st.integers(0, 8)),
    ),
    max_size=14,
)


@settings(max_examples=60)
@given(ACTIONS, st.sampled_from([BucketUnreachable, NoSuchObject, Killed]), st.booleans())
def test_any_request_may_fail(actions, error, is_after):
    """Each refresh that fails leaves a beginning of the log or nothing, and one that succeeds all that arrived."""
    left = [0]

    def fail(call: str, key: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise error("at this call")

    store = MemoryStore(**({"after": fail} if is_after else {"before": fail}))
    store.content["exp/meta.json"] = b'{"format":1,"params":{}}'
    with tempfile.TemporaryDirectory() as cache, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", cache)
        shipped = 0
        for action, number in [*actions, ("read", 0)]:
            if action == "ship":
                shipped = _lay(store, shipped, min(len(LOG), shipped + number))
            elif action == "overlap":
                shipped = _lay(store, max(0, shipped - number), min(len(LOG), shipped + 1))
            elif action == "merge":
                small = [key for key in store.content if ".gz" in key]
                _lay(store, 0, shipped)
                for key in small if number else small[::2]:
                    if not key.endswith(f"{0:012d}-{ENDS[shipped]:012d}.jsonl.gz"):
                        store.content.pop(key)
            else:
                left[0] = number
                _read(store, CONTENT[: ENDS[shipped]], may_fail=number > 0)


def _lay(store: MemoryStore, first: int, last: int) -> int:
    if first < last:
        start, end = ENDS[first], ENDS[last]
        store.content.setdefault(f"exp/{Segment('log', COPY, start, end).key}", gzip.compress(CONTENT[start:end]))
    return last


def _read(store: MemoryStore, expected: bytes, *, may_fail: bool) -> None:
    mirror = Mirror("s3://lab/runs", store)
    path = Path(mirror.folder / "exp" / "log.jsonl")
    try:
        mirror.refresh()
    except (BucketUnreachable, NoSuchObject, NotAnExperiment, Killed):
        assert may_fail
        here = path.read_bytes() if path.exists() else b""
        assert expected.startswith(here)
    else:
        assert (path.read_bytes() if path.exists() else b"") == expected
