"""The client of object stores, on the store that is everywhere: a folder."""

import os

import pytest

from mlv.bucket.store import Creation, open_store
from mlv.bucket.urls import checked_url, is_url
from mlv.errors import BucketError, BucketUnreachable, InvalidArgument, NoSuchObject

obstore = pytest.importorskip("obstore")

KEYS = ["a b/c#d", "x%41y", "ü/é", "a=b/c@d", "q?x", "a*b", "c:d", ".mlv/news/x", "log.d/0/1.jsonl.gz"]


@pytest.fixture
def store(tmp_path):
    return open_store(f"file://{tmp_path}/bucket")


def test_a_large_file_is_made_of_parts_and_read_in_chunks(store, tmp_path):
    """A file larger than a part arrives whole, and is made once as well."""
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(1 << 20) * 20)

    assert store.create("files/large.bin", path) is Creation.MADE
    assert store.create("files/large.bin", path) is Creation.SAME
    assert b"".join(store.chunks("files/large.bin")) == path.read_bytes()
    assert store.get_range("files/large.bin", 5, 25) == path.read_bytes()[5:25]


def test_keys_are_what_they_are(store):
    """Whatever a name of an experiment may hold reads back, and a listing is in the order of the keys."""
    for key in KEYS:
        store.create(key, key.encode())

    assert [stored.key for stored in store.objects()] == sorted(KEYS, key=str.encode)
    assert [store.get(key) for key in KEYS] == [key.encode() for key in KEYS]
    assert [stored.key for stored in store.objects(after="c:d")] == sorted((k for k in KEYS if k > "c:d"), key=str.encode)
    assert store.folders() == sorted({key.partition("/")[0] for key in KEYS if "/" in key})


def test_listing_a_folder_leaves_out_its_neighbours(store):
    """`a` is a folder, not the beginning of a name."""
    for key in ("a/x", "ab/x", "a/b/y"):
        store.create(key, b"")

    assert [stored.key for stored in store.objects("a")] == ["a/b/y", "a/x"]
    assert store.folders("a") == ["a/b"]


def test_missing_objects(store):
    """Reading what is not there says so; looking for it, and deleting it, does not."""
    with pytest.raises(NoSuchObject, match="no object 'x'"):
        store.get("x")
    with pytest.raises(NoSuchObject):
        b"".join(store.chunks("x"))
    assert store.head("x") is None
    store.delete("x")
    assert list(store.objects()) == []


@pytest.mark.parametrize(
    "name", ["NoSuchBucket", "AccessDenied", "status code: 403", "kind: Timeout", "InvalidRange", "start: 5", "169.254.169.254"]
)
def test_a_key_that_reads_like_an_error(store, name):
    """Errors repeat the key, which tells nothing of what happened."""
    key = f"{name}/{name}.txt"
    store.create("taken", b"")

    assert store.head(key) is None
    for read in (store.get, lambda key: store.get_range(key, 0, 9), lambda key: list(store.chunks(key))):
        with pytest.raises(NoSuchObject):
            read(key)
    with pytest.raises(BucketUnreachable, match=r"does not answer as it should: [^n]"):
        store.create(f"taken/{key}", b"")


def test_a_key_that_leads_elsewhere_is_refused(store):
    """No key leaves the root."""
    with pytest.raises(BucketError, match="cannot hold"):
        store.create("../x", b"")


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("ftp://x/y", r"ftp://x/y.*none of s3://"),
        ("s3://", "names no bucket"),
        ("file://relative/x", "no absolute folder"),
        ("s3://b/x#y", "after '#'"),
        ("s3://b/x?profile=lab", "not profile"),
    ],
)
def test_urls_that_are_none(url, text):
    """The error names the URL and says what to write."""
    with pytest.raises(InvalidArgument, match=text):
        open_store(url)


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIAEXAMPLE:wJalrXUtnFEMI@b/x",
        "s3://AKIAEXAMPLE:K7/wJalrXUtnFEMI@b/x",
        "s3://AKIAEXAMPLE:K7#wJalrXUtnFEMI@b/x",
        "s3://AKIAEXAMPLE:wJalrXUtnFEMI/K7@b/x",
        "https://AKIAEXAMPLE:wJalrXUtnFEMI@host/b",
        "https://AKIAEXAMPLE:K7/wJalrXUtnFEMI@host/b",
        "https://host/b?key=wJalrXUtnFEMI",
        "s3://b/x?aws_secret_access_key=wJalrXUtnFEMI",
        "s3://b/x?endpoint=http://AKIAEXAMPLE:wJalrXUtnFEMI@host:9000",
        "s3://b/x?endpoint=http://AKIAEXAMPLE:K7/wJalrXUtnFEMI@host:9000",
    ],
)
def test_a_credential_in_a_url_is_refused_and_not_shown(url):
    """URLs are written into files: what is secret has no place in them, nor in the error."""
    with pytest.raises(InvalidArgument) as caught:
        open_store(url)

    assert "wJalrXUtnFEMI" not in str(caught.value) + repr(caught.value.fields)


def test_options_of_a_url():
    """An endpoint and a region may stand in the URL."""
    assert checked_url("file:////data//b/") == ("file:///data//b", {})
    assert checked_url("s3://b/?region=eu") == ("s3://b", {"region": "eu"})
    assert checked_url("s3://b/x/?endpoint=http://h:1&region=eu") == ("s3://b/x", {"endpoint": "http://h:1", "region": "eu"})


def test_paths_are_no_urls(tmp_path):
    """A path stays a path."""
    assert is_url("s3://b/x")
    assert not is_url("runs")
    assert not is_url(tmp_path)
