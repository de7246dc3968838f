"""What a store promises is tried out, not believed."""

from __future__ import annotations

import time

import pytest
from bucket.memory import MemoryStore

from mlv.bucket import probe
from mlv.bucket.store import Creation, open_store
from mlv.errors import BucketDenied, BucketUnreachable


class Store(MemoryStore):
    """A store in memory whose clock is right."""

    def head(self, key):
        stored = super().head(key)
        return stored and stored._replace(modified=time.time())


class Careless(Store):
    """A store that replaces an object, whatever the condition."""

    def create(self, key, content):
        self.content.pop(key, None)
        return super().create(key, content)


def failed(outcome):
    return [trait.name for trait in outcome.traits if not trait.holds]


def uses(outcome):
    return [use.is_safe for use in outcome.uses]


def test_a_store_that_keeps_all():
    """Then every use is safe, and nothing is left."""
    store = Store()

    outcome = probe.probe(store)

    assert failed(outcome) == []
    assert uses(outcome) == [True, True, True]
    assert store.content == {}
    assert all(key.startswith(".mlv/doctor/") for _, key in store.requests)


def test_a_store_that_ignores_conditions():
    """Shipping is safe there, several builders of a lake are not."""
    store = Careless()

    outcome = probe.probe(store)

    assert failed(outcome) == [probe.ONCE, probe.RACE]
    assert uses(outcome) == [True, True, False]
    assert outcome.lake_of_several.missing == [probe.ONCE, probe.RACE]
    assert not probe.keeps_conditions(store)
    assert probe.keeps_conditions(Store())
    assert store.content == {}


@pytest.mark.parametrize(
    ("call", "missing", "safe"),
    [
        ("create", probe.CREATE, [False, False, False]),
        ("get", probe.READ, [False, False, False]),
        ("objects", probe.LIST, [False, False, False]),
        ("delete", probe.DELETE, [True, True, True]),
    ],
)
def test_a_right_that_is_missing(call, missing, safe):
    """It is named, with what the store said; without the right to delete all goes on."""

    def refuse(name, key):
        if name == call:
            raise BucketDenied(f"memory://bucket refuses access to {key!r}: AccessDenied")

    outcome = probe.probe(Store(before=refuse))

    assert missing in failed(outcome)
    assert uses(outcome) == safe
    [trait] = [trait for trait in outcome.traits if trait.name == missing]
    assert trait.text.startswith("refuses access to")


def test_a_store_that_lists_late():
    """An object that a listing leaves out is noticed."""

    class Late(Store):
        def objects(self, prefix="", after=""):
            return iter(list(super().objects(prefix, after))[:-1])

    outcome = probe.probe(Late())

    assert failed(outcome) == [probe.LIST, probe.OFFSET]
    assert not outcome.ship.is_safe


def test_a_store_that_changes_bytes():
    """An object that reads back otherwise is noticed."""

    class Lossy(Store):
        def get(self, key):
            return super().get(key).replace(b"o", b"0")

    assert probe.READ in failed(probe.probe(Lossy()))


@pytest.mark.parametrize(
    ("offset_s", "holds", "advice"), [(0, True, ""), (120, True, "NTP"), (1200, False, "NTP"), (-1200, False, "NTP")]
)
def test_clocks(offset_s, holds, advice):
    """A clock that is 20 minutes off is told: S3 refuses requests from 15 on."""

    class Fast(Store):
        def head(self, key):
            stored = super().head(key)
            return stored and stored._replace(modified=stored.modified + offset_s)

    [trait] = [trait for trait in probe.probe(Fast()).traits if trait.name == probe.CLOCK]

    assert trait.holds is holds
    assert advice in trait.advice


def test_a_store_that_fails_at_each_call_in_turn():
    """Whichever request fails, the probe ends with an outcome, and tells which trait it was."""
    whole = Store()
    probe.probe(whole)
    for number in range(len(whole.requests) - 1):  # the last one looks for leftovers once more
        calls = iter(range(10**6))

        def fail(name, key, number=number, calls=calls):
            if next(calls) == number:
                raise BucketUnreachable("memory://bucket does not answer")

        store = Store(before=fail)
        assert len(failed(probe.probe(store))) == 1, whole.requests[number]
        assert store.content == {}


@pytest.mark.parametrize("any_bucket", ["file", "moto", "azurite"], indirect=True)
def test_stores_that_keep_all(any_bucket):
    """A folder, S3 as moto has it, and Azure as Azurite has it keep all that is asked for."""
    store = open_store(any_bucket)
    assert probe.has_ranges(store)
    assert probe.keeps_conditions(store)

    outcome = probe.probe(store)

    assert failed(outcome) == []
    assert list(store.objects()) == []


@pytest.mark.parametrize("any_bucket", ["rclone"], indirect=True)
def test_rclone(any_bucket):
    """`rclone serve s3` ignores conditions, and the clients' requests for a range: it holds logs, and no lake."""
    store = open_store(any_bucket)

    outcome = probe.probe(store)

    assert failed(outcome) == [probe.RANGE, probe.ONCE, probe.RACE]
    assert uses(outcome) == [True, False, False]
    assert not probe.has_ranges(open_store(any_bucket))
    assert not probe.keeps_conditions(store)
    assert list(store.objects()) == []
    assert store.create("a", b"1") is store.create("a", b"2") is Creation.MADE


def test_a_bucket_with_versions(moto):
    """That deleted objects can be brought back is told."""
    boto3, obstore = pytest.importorskip("boto3"), pytest.importorskip("obstore")
    if tuple(map(int, obstore.__version__.split(".")[:2])) < (0, 11):
        pytest.skip("older versions of obstore do not tell those of objects")
    bucket = moto.bucket()
    name = bucket.url.partition("://")[2].partition("?")[0]
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{moto.port}")
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})

    [trait] = [trait for trait in probe.probe(open_store(bucket.url)).traits if trait.name == probe.VERSIONS]

    assert trait.text.startswith("kept")
