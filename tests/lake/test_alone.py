"""On a store that replaces objects without a word, one builder at a time builds a lake."""

from __future__ import annotations

import pytest

pytest.importorskip("deltalake")
pytest.importorskip("pyarrow")

from bucket.memory import MemoryStore
from lakes import append, make, metrics

from mlv import lake
from mlv.bucket.store import open_store
from mlv.errors import LakeBusy, LakeError
from mlv.lake.alone import FOLDER, Alone


class Careless(MemoryStore):
    """A store that replaces objects, and whose clock stands at `now`."""

    now = 1000.0

    def __init__(self):
        super().__init__()
        self.times = {}

    def create(self, key, content):
        self.content.pop(key, None)
        self.times[key] = self.now
        return super().create(key, content)

    def head(self, key):
        stored = super().head(key)
        return stored and stored._replace(modified=self.times[key])

    def objects(self, prefix="", after=""):
        return (stored._replace(modified=self.times[stored.key]) for stored in super().objects(prefix, after))


def test_a_second_builder_is_refused():
    """It is told who is at work, and leaves nothing; afterwards it may build."""
    store = Careless()
    with Alone(store):
        marks = [key for key in store.content if key.startswith(FOLDER)]
        with pytest.raises(LakeBusy, match=r"process \d+ of .* without a word"), Alone(store):
            pass
        assert [key for key in store.content if key.startswith(FOLDER)] == marks

    assert store.content == {}
    with Alone(store):
        pass


def test_the_mark_of_a_builder_that_was_killed():
    """It counts for a while, and is removed then."""
    store = Careless()
    Alone(store).__enter__()
    with pytest.raises(LakeBusy, match="counts for"), Alone(store):
        pass

    store.now += 601
    with Alone(store):
        assert len(store.content) == 1
    assert store.content == {}


def test_a_long_build_renews_its_mark():
    """So that it counts as long as the build goes on."""
    store = Careless()
    with Alone(store, lasting_s=0.0) as alone:
        [mark] = store.content
        alone.renew()
        assert len(store.content) == 1
        assert mark not in store.content
    assert store.content == {}


def test_a_store_that_keeps_conditions():
    """Several build there at once; that is tried for the first one alone."""
    store = MemoryStore()
    with Alone(store), Alone(store):
        pass
    count = len(store.requests)
    with Alone(store):
        assert len(store.requests) == count + 1


def test_a_store_without_ranges(tmp_path, rclone):
    """A lake on `rclone serve s3` is refused before anything is made: no table could be read."""
    root, url = tmp_path / "runs", rclone.bucket().url
    append(make(root / "a"), metrics("ra", 1, 1, x=1.0))

    with pytest.raises(LakeError, match="keep the lake elsewhere"):
        lake.build(root, url)
    assert list(open_store(url).objects()) == []


def test_s3(tmp_path, moto):
    """A lake on a store that keeps conditions is built by several, one after another or at once."""
    root, url = tmp_path / "runs", moto.bucket().url
    append(make(root / "a"), metrics("ra", 1, 1, x=1.0))
    assert lake.build(root, url).rows["metrics"] == 1
    append(root / "a", metrics("ra", 2, 2, x=2.0))
    with Alone(open_store(url)):
        assert lake.build(root, url).rows["metrics"] == 1
    assert sorted(lake.open(url).arrow("metrics")["value"].to_pylist()) == [1.0, 2.0]
