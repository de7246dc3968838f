"""Reading from stores that are real processes, far away, and out of order."""

from __future__ import annotations

import re
import shutil
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import mlv
from mlv.audit.merge import merge
from mlv.bucket.mirror import Mirror
from mlv.bucket.push import Push
from mlv.bucket.store import open_store
from mlv.bucket.verifying import verify_url
from mlv.errors import BucketDenied, BucketError, BucketMissing, BucketUnreachable
from mlv.store import layout
from mlv.store.mirrors import mirrors_folder

pytest.importorskip("obstore")
pytestmark = pytest.mark.usefixtures("inline", "own_cache")


def pushed(root: Path, url: str, count: int = 2) -> list[Path]:
    """Experiments that were made and pushed."""
    for number in range(count):
        with mlv.Exp(root, f"a b={number}", {"number": number}, capture=()) as exp:
            for step in range(50):
                exp.log({"loss": step / 7}, step=step)
            with exp.file("conf.txt", "w") as file:
                file.write(str(number))
    folders = list(layout.walk(root))
    list(Push(root, open_store(url)).run(folders))
    return folders


def below(url: str, path: str) -> str:
    """The URL of a path below a root, before its options."""
    parts = urlsplit(url)
    return parts._replace(path=f"{parts.path}/{path}").geturl()


@pytest.mark.parametrize("any_bucket", ["moto", "azurite", "rclone"], indirect=True)
def test_pushed_and_read(any_bucket, tmp_path):
    """Each store gives back what was pushed, with files; an experiment verifies where it lies."""
    root = below(any_bucket, "x y".replace(" ", "%20"))
    folders = pushed(tmp_path / "runs", root)

    mirror = Mirror(root)
    assert mirror.refresh().notices == []
    assert mirror.refresh().unshipped == []
    for folder in folders:
        copy = mirror.folder / folder.name
        assert mirror.bring_files(copy) == []
        assert (copy / "log.jsonl").read_bytes() == (folder / "log.jsonl").read_bytes()
        url = below(root, folder.name.replace(" ", "%20"))
        assert verify_url(url, with_files=True).verdict == "intact"
        assert mlv.Exp.open(url).params["number"] == int(folder.name[-1])
    assert [done.differences for done in merge(mirror.folder, tmp_path / "here")] == [[], []]
    assert [exp.name for exp in mlv.find(root)] == [folder.name for folder in folders]


def test_requests_of_a_reader(far, cloud_variables, tmp_path):
    """Two GETs for each experiment the first time, and one LIST afterwards."""
    url = cloud_variables(far.bucket())
    pushed(tmp_path / "runs", url, 5)
    far.requests(reset=True)
    Mirror(url).refresh()
    counts = far.requests(reset=True)
    assert (counts["GET"], counts["LIST"]) == (10, 1)

    Mirror(url).refresh()
    counts = far.requests()
    assert (counts.get("GET", 0), counts["LIST"]) == (0, 1)


@pytest.mark.parametrize(
    ("fault", "error"),
    [("denied", BucketDenied), ("expired", BucketDenied), ("skewed", BucketDenied), ("503", BucketUnreachable)],
)
@pytest.mark.parametrize("kind", ["LIST", "GET"])
def test_a_store_that_refuses(far, cloud_variables, tmp_path, fault, error, kind):
    """Wrong or expired credentials, no right to list or to read, and a busy store are told; nothing wrong is read."""
    url = cloud_variables(far.bucket())
    (folder,) = pushed(tmp_path / "runs", url, 1)
    far.set(fault=fault, kinds=[kind])
    mirror = Mirror(url)
    with pytest.raises(error):
        mirror.refresh()
    assert list(layout.walk(mirror.folder)) == []

    far.set()
    mirror.refresh()
    assert (mirror.folder / folder.name / "log.jsonl").read_bytes() == (folder / "log.jsonl").read_bytes()


def test_connections_that_break(far, cloud_variables, tmp_path):
    """An answer that is cut off costs another try; what is in the mirror is right at any time."""
    url = cloud_variables(far.bucket())
    (folder,) = pushed(tmp_path / "runs", url, 1)
    mirror = Mirror(url)
    for fault in ("cut", "reset", "lost"):
        far.set(fault=fault, kinds=["GET"], times=1)
        try:
            mirror.refresh()
        except BucketError:
            mirror.refresh()
        assert (mirror.folder / folder.name / "log.jsonl").read_bytes() == (folder / "log.jsonl").read_bytes()
        shutil.rmtree(mirrors_folder())


def test_a_bucket_that_is_not_there(moto, cloud_variables):
    """The error says so."""
    url = cloud_variables(moto.reach("lab-nowhere"))
    with pytest.raises(BucketMissing, match="no such bucket"):
        mlv.find(url)


@pytest.mark.parametrize("key", ["long//x", "long/../x"])
def test_a_key_that_the_client_cannot_name(moto, cloud_variables, key):
    """A bucket that holds one cannot be listed: the error names it, and says what to do."""
    bucket = moto.bucket()
    url = cloud_variables(bucket)
    with closing(HTTPConnection("127.0.0.1", moto.port, timeout=30)) as connection:
        connection.request("PUT", f"/{urlsplit(url).netloc}/{key}", b"x")
        assert connection.getresponse().status == 200
    with pytest.raises(BucketError, match=rf"cannot be listed.*{re.escape(key)}.*remove that object"):
        mlv.find(url)
