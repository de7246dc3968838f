"""Lakes in buckets, and of buckets."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from threading import Barrier

import pytest

pytest.importorskip("deltalake")
pytest.importorskip("pyarrow")
pytest.importorskip("obstore")


from bucket.laid import COPY, OTHER, lay, lay_lines
from lakes import SEED, Growing, append, build_and_kill, check_growing, make, metrics, rows, values

import mlv
from mlv import lake
from mlv.bucket import names
from mlv.bucket.store import open_store
from mlv.errors import BucketDenied, BucketMissing, LakeBusy, LakeError, MlvWarning
from mlv.lake import upkeep
from mlv.lake.lease import FOLDER, alone
from mlv.lake.tables import LakeTables
from mlv.store import layout
from mlv.store.owners import Owner

pytest_plugins = ["bucket.stores"]

KILLS = 50 if os.environ.get("MLV_SOAK") else 4


@pytest.fixture
def tree(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def bucket(tmp_path):
    """A bucket that is a folder."""
    return f"file://{tmp_path}/bucket"


def below(url):
    """The URL of a folder in a bucket."""
    base, mark, options = url.partition("?")
    return f"{base}/lake{mark}{options}"


def tell(store, folder, path, copy=COPY):
    """Lay the mark that an experiment shipped something today."""
    day = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    store.create(names.News(day, layout.exp_id(folder), copy).key, json.dumps({"path": path}).encode())


def test_a_bucket_gives_the_rows_of_its_tree(tree, bucket, tmp_path):
    """Segments become the rows that the lines of the tree become; later ones come by the marks of news alone."""
    store = open_store(bucket)
    for name in ("a", "b", "a/sub"):
        append(make(tree / name), *(metrics("r" + name[-1], seq, seq, x=float(seq)) for seq in range(1, 30)))
        lay(tree / name, store, name, parts=3)
    lake.build(tree, tmp_path / "of_tree")
    lake.build(bucket, tmp_path / "of_bucket")
    tables = ("metrics", "summaries", "events")
    assert [rows(lake.open(tmp_path / "of_tree"), table) for table in tables] == [
        rows(lake.open(tmp_path / "of_bucket"), table) for table in tables
    ]
    for name in ("a", "b"):
        append(tree / name, *(metrics("r" + name[-1], seq, seq, x=float(seq)) for seq in range(30, 40)))
        lay_lines(tree / name, store, name)
    tell(store, tree / "a", "a")

    built = lake.build(bucket, tmp_path / "of_bucket")
    everything = lake.build(bucket, tmp_path / "of_bucket", everything=True)

    assert (built.rows["metrics"], everything.rows["metrics"]) == (20, 0)
    assert lake.check(tmp_path / "of_bucket").differences == []
    assert lake.open(tmp_path / "of_bucket").arrow("experiments", ["name", "path"]).num_rows == 3


def test_what_is_settled_is_not_listed(tree, bucket, tmp_path, monkeypatch):
    """An increment asks for the marks of news, and for what is active: not for what is there."""
    store = open_store(bucket)
    for number in range(6):
        with mlv.Exp(tree, f"e{number}", capture=()) as exp:
            exp.log({"x": 1.0})
        lay(tree / f"e{number}", store, f"e{number}")
    lake.build(bucket, tmp_path / "lake")
    listed = []
    monkeypatch.setattr("mlv.lake.buckets.open_store", lambda url: Noting(open_store(url), listed))
    with mlv.Exp.open(tree / "e3") as exp:
        exp.log({"x": 2.0})
    lay_lines(tree / "e3", store, "e3")
    tell(store, tree / "e3", "e3")

    assert lake.build(bucket, tmp_path / "lake").rows["metrics"] == 1

    assert set(listed) == {names.NEWS, "e3"}


def test_experiments_with_news_are_listed_together(tree, bucket, tmp_path, monkeypatch):
    """Who looks for news does not wait for one listing after the other."""
    store, meeting = open_store(bucket), Barrier(4)
    for number in range(4):
        append(make(tree / f"e{number}"), metrics(f"r{number}", 1, 1, x=1.0))
        lay(tree / f"e{number}", store, f"e{number}")
    lake.build(bucket, tmp_path / "lake")
    for number in range(4):
        append(tree / f"e{number}", metrics(f"r{number}", 2, 2, x=2.0))
        lay_lines(tree / f"e{number}", store, f"e{number}")
        tell(store, tree / f"e{number}", f"e{number}")
    monkeypatch.setattr("mlv.lake.buckets.open_store", lambda url: Meeting(open_store(url), meeting))

    assert lake.build(bucket, tmp_path / "lake").rows["metrics"] == 4


class Meeting:
    """A store that answers the first listing of an experiment when all others were asked for."""

    def __init__(self, store, meeting):
        self._store, self._meeting, self._met = store, meeting, set()

    def objects(self, prefix="", after=""):
        if prefix != names.NEWS and prefix not in self._met:
            self._met.add(prefix)
            self._meeting.wait(60)
        return self._store.objects(prefix, after)

    def __getattr__(self, name):
        return getattr(self._store, name)


class Noting:
    """A store that notes which folders are listed."""

    def __init__(self, store, listed):
        self._store, self._listed = store, listed

    def objects(self, prefix="", after=""):
        self._listed.append(prefix)
        return self._store.objects(prefix, after)

    def __getattr__(self, name):
        return getattr(self._store, name)


def test_copies_in_a_bucket_count_once(tree, bucket, tmp_path):
    """A run that went on elsewhere, and a zombie of it, are two copies: each line counts once."""
    store = open_store(bucket)
    folder = make(tree / "a")
    append(folder, *(metrics("r1", seq, seq, x=float(seq)) for seq in range(1, 11)))
    lay(folder, store, "a")
    lake.build(bucket, tmp_path / "lake")
    append(folder, metrics("r2", 1, 11, x=11.0))
    lay_lines(folder, store, "a", copy=OTHER)

    lake.build(bucket, tmp_path / "lake", everything=True)

    assert sorted(value for *_, value in values(lake.open(tmp_path / "lake"))) == [float(seq) for seq in range(1, 12)]
    assert lake.open(tmp_path / "lake").arrow("summaries", ["count"])["count"].to_pylist() == [11]
    assert lake.check(tmp_path / "lake").differences == []


def test_a_redaction_in_a_bucket(tree, bucket, tmp_path):
    """Where a copy was redacted, its lines replace those of a copy that could not be removed."""
    from mlv.audit.redact import redact

    store = open_store(bucket)
    with mlv.Exp(tree, "a", capture=()) as exp:
        exp.log({"x": 1.0, "word": "password123"}, step=1)
    lay(tree / "a", store, "a", whole=False)
    lake.build(bucket, tmp_path / "lake")
    list(redact(tree / "a", ["password123"]))
    lay_lines(tree / "a", store, "a", copy=OTHER)

    built = lake.build(bucket, tmp_path / "lake", everything=True)

    assert built.replaced == 1
    opened = lake.open(tmp_path / "lake")
    assert not any("password123" in str(rows(opened, table)) for table in ("metrics", "events", "summaries"))


def test_one_lake_has_one_source(tree, tmp_path):
    """A second root is refused, unless it is said to be the first one, moved: names in both would be mixed up."""
    append(make(tree / "a"), metrics("r1", 1, 0, x=1.0))
    lake.build(tree, tmp_path / "lake")
    moved = tree.rename(tmp_path / "elsewhere")
    append(moved / "a", metrics("r1", 2, 0, x=2.0))

    with pytest.raises(LakeError, match="a lake of its own"):
        lake.build(moved, tmp_path / "lake")
    assert lake.build(moved, tmp_path / "lake", moved=True).rows["metrics"] == 1


def test_a_lease_keeps_others_out(bucket):
    """While one builder is at work the next is refused; one that was killed on this machine is passed over."""
    store = open_store(bucket)
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    record = {**Owner.current().to_data(), "pid": gone.pid, "start": "0"}
    gone.wait()
    store.create(f"{FOLDER}/{'0' * 16}.json", json.dumps(record).encode())

    with alone(store), pytest.raises(LakeBusy, match="ignores conditions"), alone(store):
        pass
    with alone(store):
        pass

    assert list(store.objects(FOLDER)) == []


def test_a_lake_in_a_bucket(tree, moto):
    """A lake is built, built on, checked and read on S3."""
    url = below(moto.bucket().url)
    check_growing(tree, url)

    with lake.open(url).duckdb() as connection:
        assert connection.execute("select sum(value) from metrics").fetchall() == [(21.0,)]


@pytest.mark.parametrize("is_read", [True, False])
def test_the_log_of_a_table_is_kept(tree, moto, tmp_path, monkeypatch, is_read):
    """Of the log of a table new entries alone are fetched, also behind a checkpoint, and the same files are listed."""
    import deltalake
    import pyarrow

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    url = moto.bucket().url
    append(make(tree / "a"), metrics("r1", 1, 1, x=1.0))
    lake.build(tree, url)
    row = lake.open(url).arrow("experiments")
    for commits in (0, 2, 9, 12, 1):
        for _ in range(commits):
            deltalake.write_deltalake(lake.open(url).delta("experiments"), row, mode="append")
        if is_read or commits == 1:
            names = {Path(path).name for path in lake.open(url).files("experiments")}
            actions = lake.open(url).delta("experiments").get_add_actions()
            assert names == {Path(path).name for path in pyarrow.table(actions)["path"].to_pylist()}
    kept = list((tmp_path / "cache").rglob("experiments/_delta_log/*"))
    assert any(path.name.endswith(".checkpoint.parquet") for path in kept)
    assert max(path.name for path in kept if path.suffix == ".json") == f"{25:020}.json"


def test_files_are_kept_while_they_may_be_read(tree, moto, tmp_path, monkeypatch):
    """Files of a table are read to the end by whoever listed them, whatever was built and fetched meanwhile; then removed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    url = below(moto.bucket().url)
    append(make(tree / "a"), metrics("r1", 1, 1, x=1.0))
    lake.build(tree, url)
    with lake.open(url).connected("summaries") as connection:
        [old] = lake.open(url).files("summaries")
        append(tree / "a", metrics("r1", 2, 2, x=2.0))
        lake.build(tree, url)
        [new] = lake.open(url).files("summaries")
        assert connection.execute("select last from tables.summaries").fetchall() == [(1.0,)]

    os.utime(old, (0, 0))
    os.utime(new, (0, 0))
    assert lake.open(url).files("summaries") == [new]
    assert [os.path.exists(path) for path in (old, new)] == [False, True]


def test_a_source_that_is_not_there(bucket, tmp_path):
    """The URL of a folder that is not there is an error, and makes neither the folder nor a lake."""
    for build in (lake.build, lake.rebuild):
        with pytest.raises(BucketMissing, match="no such folder; correct the URL"):
            build(f"{bucket}/typo", tmp_path / "lake")
    assert list(tmp_path.iterdir()) == []


def damaged(bucket, key):
    """Overwrite an object of a folder by what is no segment; return its content."""
    path = Path(bucket.removeprefix("file://"), key)
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(b"mine")
    return content


def test_an_object_that_somebody_overwrote(tree, bucket, tmp_path):
    """Its lines, and those behind it, are left out with its name; all others are taken, and these once it is restored."""
    store, url = open_store(bucket), tmp_path / "lake"
    for name in ("a", "b"):
        append(make(tree / name), *(metrics("r" + name, seq, seq, x=float(seq)) for seq in range(1, 31)))
    keys = lay_lines(tree / "a", store, "a", parts=3)
    lay(tree / "a", store, "a")
    lay(tree / "b", store, "b")
    content = damaged(bucket, keys[1])

    for _ in range(2):  # told by each build
        with pytest.warns(MlvWarning, match=re.escape(keys[1])):
            lake.build(bucket, url, everything=True)

    taken = values(lake.open(url))
    assert sum(run == "rb" for run, *_ in taken) == 30
    count = sum(run == "ra" for run, *_ in taken)
    assert 0 < count < 20
    Path(bucket.removeprefix("file://"), keys[1]).write_bytes(content)
    assert lake.build(bucket, url, everything=True).rows["metrics"] == 30 - count
    assert lake.check(url).differences == []


def test_an_object_that_is_overwritten_after_its_lines_were_taken(tree, bucket, tmp_path):
    """The rows of its lines stay, and the build and the check name it."""
    store, url = open_store(bucket), tmp_path / "lake"
    append(make(tree / "a"), *(metrics("r1", seq, seq, x=float(seq)) for seq in range(1, 31)))
    keys = lay_lines(tree / "a", store, "a", parts=3)
    lay(tree / "a", store, "a")
    lake.build(bucket, url)
    damaged(bucket, keys[0])

    with pytest.warns(MlvWarning, match=re.escape(keys[0])):
        lake.build(bucket, url, everything=True)
    with pytest.warns(MlvWarning, match=re.escape(keys[0])):
        assert len(lake.check(url).differences) == 1

    assert len(values(lake.open(url))) == 30


def test_a_damaged_copy_beside_a_whole_one(tree, bucket, tmp_path):
    """Of an experiment all lines are taken that one of its copies has."""
    store, url = open_store(bucket), tmp_path / "lake"
    append(make(tree / "a"), *(metrics("r1", seq, seq, x=float(seq)) for seq in range(1, 31)))
    lay(tree / "a", store, "a")
    store.create(f"a/log.d/{OTHER}/000000000000-000000000005.jsonl.gz", b"mine")

    with pytest.warns(MlvWarning, match=OTHER):
        lake.build(bucket, url)

    assert len(values(lake.open(url))) == 30
    assert lake.open(url).arrow("experiments", ["status"]).num_rows == 1


def test_a_bucket_without_the_right_to_delete(tree, far, monkeypatch):
    """A lake is built, built on, tidied up and read; one that cannot be removed is not left half removed."""
    monkeypatch.setattr(upkeep, "ENDED_FILES", 1)
    monkeypatch.setattr(upkeep, "MOST_FILES", 1)
    url = below(far.bucket().url)
    folder = make(tree / "a")
    far.set(fault="denied", kinds=["DELETE"])
    for seq in (1, 2):
        append(folder, metrics("r1", seq, seq, x=float(seq)))
        lake.build(tree, url)
    tables = LakeTables(url, lake.open(url).info()["id"])

    with pytest.warns(MlvWarning, match="refuses to delete"):
        upkeep.maintain(tables, datetime.now(timezone.utc), 0)
    with pytest.raises(BucketDenied, match=r"trial\.json"):
        lake.rebuild(tree, url)

    lake.build(tree, url)
    assert len(values(lake.open(url))) == 2


def test_a_bucket_that_may_not_be_listed(tree, far):
    """A build is refused with what to do, and changes nothing."""
    url = below(far.bucket().url)
    append(make(tree / "a"), metrics("r1", 1, 1, x=1.0))
    lake.build(tree, url)
    far.set(fault="denied", kinds=["LIST"])

    with pytest.raises(LakeError, match=r"refuses access \(AccessDenied\)\. Look at the credentials"):
        lake.build(tree, url)

    far.set()
    lake.build(tree, url)
    assert len(values(lake.open(url))) == 1


def test_where_files_are_kept(tree, moto, tmp_path, monkeypatch):
    """The files of a lake in a bucket are the user's own, are fetched anew where one was cut off, and need room.

    Those of another user, who could have written anything there, are not read.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    url = below(moto.bucket().url)
    append(make(tree / "a"), metrics("r1", 1, 1, x=1.0))
    lake.build(tree, url)
    found = mlv.find(tree, lake=url)
    [path] = lake.open(url).files("metrics")
    os.truncate(path, 50)

    assert found.sql("select value from metrics").fetchall() == [(1.0,)]
    [folder] = (tmp_path / "cache" / "mlv" / "lakes").iterdir()
    assert folder.stat().st_mode & 0o077 == 0
    if os.geteuid() == 0:
        os.chown(folder, 1234, 1234)
        with pytest.raises(LakeError, match="belongs to another user"):
            mlv.find(tree, lake=url)
    (tmp_path / "full").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "full"))
    with pytest.raises(LakeError, match=r"cannot be kept in .* set XDG_CACHE_HOME"):
        mlv.find(tree, lake=url)


def test_a_store_without_ranges(tree, rclone):
    """A lake on `rclone serve s3` is refused before anything is made: no table could be read."""
    url = below(rclone.bucket().url)
    append(make(tree / "a"), metrics("r1", 1, 0, x=1.0))

    with pytest.raises(LakeError, match="keep the lake elsewhere"):
        lake.build(tree, url)
    assert list(open_store(url).objects()) == []


@pytest.mark.timeout(900)
def test_two_builders_and_kills_on_s3(tree, moto):
    """Two builders at once on S3, killed at any time, neither lose nor double a row."""
    growing, url = Growing(tree), below(moto.bucket().url)
    build_and_kill(growing, url, KILLS, within_s=1)

    lake.build(tree, url)

    assert values(lake.open(url)) == growing.values(), SEED
