"""What a mirror promises: the experiments of a bucket as ordinary ones, nothing that is not there, and few requests."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path
from threading import Barrier, Thread

import orjson
import pytest
from bucket.laid import COPY, OTHER, lay, lay_lines, lines_of
from bucket.memory import MemoryStore

import mlv
from mlv.audit.merge import merge
from mlv.audit.redact import redact
from mlv.audit.verify import verify
from mlv.bucket import names
from mlv.bucket.mirror import Mirror, mirror_of
from mlv.bucket.names import Segment
from mlv.bucket.store import StoredObject
from mlv.errors import BucketUnreachable, FileUnusable, InvalidArgument, NotAnExperiment
from mlv.store import layout
from mlv.store.mirrors import is_mirrored, mirrors_folder

pytestmark = pytest.mark.usefixtures("inline", "own_cache")

URL = "s3://lab/runs"


def made(root: Path, name: str = "long", steps: int = 20, *, closed: bool = True) -> mlv.Exp:
    """An experiment in two streams."""
    exp = mlv.Exp(root, name, {"lr": 0.1}, capture=())
    log_some(exp, range(steps))
    if closed:
        exp.close()
    return exp


def log_some(exp: mlv.Exp, steps: range) -> None:
    for step in steps:
        exp.log({"loss": 1 / (step + 1)}, step=step)
        if step % 5 == 0:
            exp.logger("val")({"acc": step / 10}, step=step)
    exp.flush()


def identities(folder: Path) -> list[tuple[str, int]]:
    """Every event, in the order of its file."""
    lines = [orjson.loads(line) for content in lines_of(folder).values() for line in content.splitlines()]
    return [(line["run"], line["seq"]) for line in lines]


def gets(store: MemoryStore) -> list[str]:
    """The keys that were read since the last time."""
    keys = [key for call, key in store.requests if call.startswith("get")]
    store.requests.clear()
    return keys


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def mirror(store: MemoryStore) -> Mirror:
    return Mirror(URL, store)


def test_a_mirror_is_an_ordinary_tree(tmp_path, store, mirror):
    """The experiments of a bucket have the bytes of those that were shipped, and verify as they do."""
    for name in ("one", "group/two"):
        lay(made(tmp_path / Path(name).parent, Path(name).name).path, store, name, parts=4)

    refreshed = mirror.refresh()

    assert refreshed.notices == refreshed.unshipped == []
    assert [folder.relative_to(mirror.folder).as_posix() for folder in refreshed.folders] == ["group/two", "one"]
    for name in ("one", "group/two"):
        assert lines_of(mirror.folder / name) == lines_of(tmp_path / name)
        assert verify(mirror.folder / name).verdict == "intact"
        assert is_mirrored(mirror.folder / name)


def test_only_new_segments_are_fetched(tmp_path, store, mirror):
    """A first look takes two requests for an experiment of one stream; a later one only those for what is new."""
    exp = mlv.Exp(tmp_path, "long", {}, capture=())
    exp.log({"loss": 1.0}, step=0)
    exp.flush()
    lay(exp.path, store, "long", whole=False)
    mirror.refresh()
    assert len(gets(store)) == 2

    mirror.refresh()
    assert gets(store) == []

    exp.log({"loss": 0.5}, step=1)
    exp.close()
    new = lay_lines(exp.path, store, "long")
    mirror.refresh()
    assert gets(store) == new
    assert lines_of(mirror.folder / "long") == lines_of(exp.path)


def test_the_requests_of_many_experiments(tmp_path, store, mirror):
    """Many experiments of one stream take two requests each and one listing; with nothing new, the listing alone."""
    exp = mlv.Exp(tmp_path, "long", {}, capture=())
    exp.log({"loss": 1.0}, step=0)
    exp.close()
    for number in range(200):
        lay(exp.path, store, f"sweep/{number}")
    store.requests.clear()

    assert len(mirror.refresh().folders) == 200
    assert len([call for call, _ in store.requests if call == "get"]) == 400
    assert {call for call, _ in store.requests} == {"get", "objects"}

    store.requests.clear()
    assert len(mirror.refresh().folders) == 200
    assert store.requests == [("objects", "")]


def test_merged_segments_are_not_read_again(tmp_path, store, mirror):
    """Where small segments became one, nothing is fetched, and a new mirror reads that one alone."""
    exp = made(tmp_path)
    lay(exp.path, store, "long", parts=6)
    mirror.refresh()
    small = [key for key in store.content if key.startswith("long/log.d/")]
    content = (exp.path / "log.jsonl").read_bytes()
    merged = f"long/{Segment('log', COPY, 0, len(content)).key}"
    store.create(merged, gzip.compress(content))
    for key in small:
        store.delete(key)
    gets(store)

    assert mirror.refresh().notices == []
    assert gets(store) == []
    shutil.rmtree(mirrors_folder())
    mirror.refresh()
    assert [key for key in gets(store) if "/log.d/" in key] == [merged]
    assert lines_of(mirror.folder / "long") == lines_of(exp.path)


def test_objects_that_vanish_between_listing_and_reading(tmp_path):
    """Segments that are merged at this moment cost another listing, and nothing else."""
    exp = made(tmp_path)
    content = (exp.path / "log.jsonl").read_bytes()

    def merge_first(call: str, key: str) -> None:
        if call == "get" and "/log.d/" in key and not is_merged:
            is_merged.append(key)
            store.create(f"long/{Segment('log', COPY, 0, len(content)).key}", gzip.compress(content))
            for small in [key for key in store.content if "/log.d/" in key and f"-{len(content):012d}" not in key]:
                store.content.pop(small)
            store.content.pop(key, None)

    is_merged: list[str] = []
    store = MemoryStore(before=merge_first)
    lay(exp.path, store, "long", parts=5)

    mirror = Mirror(URL, store)
    mirror.refresh()

    assert is_merged
    assert lines_of(mirror.folder / "long") == lines_of(exp.path)


def test_what_lies_behind_a_hole_has_not_arrived(tmp_path, store, mirror):
    """Lines behind a missing segment wait for it; the experiment is told as not whole."""
    exp = made(tmp_path)
    lay(exp.path, store, "long", parts=5, whole=False)
    hole = sorted(key for key in store.content if "/log.d/" in key)[2]
    content = store.content.pop(hole)

    refreshed = mirror.refresh()
    here = lines_of(mirror.folder / "long")["log"]
    assert refreshed.unshipped == [mirror.folder / "long"]
    assert lines_of(exp.path)["log"].startswith(here)
    assert here.endswith(b"\n")

    store.create(hole, content)
    lay(exp.path, store, "long")
    assert mirror.refresh().unshipped == []
    assert lines_of(mirror.folder / "long") == lines_of(exp.path)


def test_segments_that_were_removed(tmp_path, store, mirror):
    """What a copy lacks that was whole once is a loss, which is told with each look, and not on its way."""
    lay(made(tmp_path).path, store, "long", parts=4)
    store.delete(sorted(key for key in store.content if "/log.d/" in key)[1])
    for _ in range(2):
        refreshed = mirror.refresh()
        (notice,) = refreshed.notices
        assert f"s3://lab/runs/long: the copy {COPY} was shipped whole, and " in notice
        assert refreshed.unshipped == []


def test_two_copies_become_one_experiment(tmp_path, store, mirror):
    """Runs that went on in a clone of the folder, and in the folder itself, are both there, each line once."""
    exp = made(tmp_path, closed=False)
    clone = Path(shutil.copytree(exp.path, tmp_path / "clone"))
    shutil.rmtree(clone / ".mlv")
    lay(exp.path, store, "long", parts=3, whole=False)
    mirror.refresh()
    other = mlv.Exp.open(clone, capture=())
    log_some(other, range(20, 30))
    other.close()
    lay(clone, store, "long", copy=OTHER, whole=False)
    assert mirror.refresh().notices == []
    log_some(exp, range(30, 40))  # the zombie
    exp.close()
    for stream in ("log", "val"):
        lay_lines(exp.path, store, "long", stream)
    assert mirror.refresh().notices == []

    events = identities(mirror.folder / "long")
    assert len(events) == len(set(events))
    assert set(events) == {*identities(exp.path), *identities(clone)}
    assert mirror.refresh().notices == []
    shutil.rmtree(mirrors_folder())
    mirror.refresh()
    assert set(identities(mirror.folder / "long")) == set(events)
    assert {finding.verdict for finding in verify(mirror.folder / "long").findings} <= {"intact", "unproven"}


def test_a_redaction_is_followed(tmp_path, store, mirror):
    """A redacted copy takes the place of the one before, at once where both are there, and what leaked is gone."""
    exp = mlv.Exp(tmp_path, "long", {}, capture=())
    exp.log.info("the word is hunter2secret")
    log_some(exp, range(5))
    exp.close()
    lay(exp.path, store, "long", parts=2)
    old = [key for key in store.content if COPY in key]
    mirror.refresh()
    path = mirror.folder / "long" / "log.jsonl"
    assert b"hunter2secret" in path.read_bytes()

    list(redact(exp.path, ["hunter2secret"]))
    lay(exp.path, store, "long", copy=OTHER)
    mirror.refresh()
    assert b"hunter2secret" not in path.read_bytes()
    assert b'"redacted":{' in path.read_bytes()

    for key in old:
        store.delete(key)
    assert mirror.refresh().notices == []
    assert lines_of(mirror.folder / "long") == lines_of(exp.path)


def test_copies_with_different_redactions(tmp_path, store, mirror):
    """Two clones were redacted, each of something else, and a third was not: of neither secret anything is left."""
    exp = mlv.Exp(tmp_path, "long", {}, capture=())
    exp.log.info("the first word is hunter2secret")
    log_some(exp, range(5))
    exp.log.info("the second word is swordfish4u")
    exp.close()
    clones = [shutil.copytree(exp.path, tmp_path / f"clone{number}" / "long") for number in range(2)]
    list(redact(clones[0], ["hunter2secret"]))
    list(redact(clones[1], ["swordfish4u"]))
    for folder, copy in zip([exp.path, *clones], [COPY, OTHER, "00000000000000cc"], strict=True):
        lay(folder, store, "long", copy=copy)

    result = mirror.refresh()

    content = b"".join(lines_of(mirror.folder / "long").values())
    assert content.count(b'"redacted":{') == 2
    assert b"hunter2secret" not in content
    assert b"swordfish4u" not in content
    assert result.notices == []
    assert verify(mirror.folder / "long").verdict == "intact"


def test_a_redacted_file_that_a_killed_process_had_brought(tmp_path, store, mirror):
    """A redaction removes it as well, although no state tells of it."""
    exp = made(tmp_path, closed=False)
    with exp.file("conf.txt", "w") as file:
        file.write("hunter2secret")
    exp.close()
    lay(exp.path, store, "long")
    old = [key for key in store.content if COPY in key or key.endswith("conf.txt")]
    mirror.refresh()
    folder = mirror.folder / "long"
    (folder / "files").mkdir()
    (folder / "files" / "conf.txt").write_text("hunter2secret")  # brought, and the process died before it wrote the state

    list(redact(exp.path, ["hunter2secret"]))
    for key in old:
        store.delete(key)
    lay(exp.path, store, "long", copy=OTHER)
    mirror.refresh()

    assert not list((folder / "files").iterdir())


def test_a_damaged_segment_is_told_and_passed_over(tmp_path, store, mirror):
    """A segment that was cut off, or holds other bytes than its name says, is named by its key; the rest waits behind it."""
    lay(made(tmp_path).path, store, "long", parts=4)
    keys = sorted(key for key in store.content if "/log.d/" in key)
    content = gzip.decompress(store.content[keys[1]])
    for damaged in (
        store.content[keys[1]][:-9],
        gzip.compress(content[:-1]),
        gzip.compress(content + b"{}\n"),
        gzip.compress(content[:-1] + b" "),
        b"<html>",
        b"",
    ):
        store.content[keys[1]] = damaged
        notices = mirror.refresh().notices
        assert [notice.startswith(f"s3://lab/runs/{keys[1]} is passed over: it ") for notice in notices] == [True]
        assert lines_of(mirror.folder / "long")["log"] == gzip.decompress(store.content[keys[0]])
        assert mirror.refresh().notices == notices


def test_an_overwritten_meta_json(tmp_path, store, mirror):
    """It is named, and the one that is here stays until the object is restored; without any the experiment is broken."""
    exp = made(tmp_path)
    lay(exp.path, store, "long")
    mirror.refresh()
    content = store.content["long/meta.json"]
    store.content["long/meta.json"] = b"{}"

    for _ in range(2):  # the second time without reading it
        (notice,) = mirror.refresh().notices
        assert "long/meta.json is passed over: it was overwritten since it was read, and it is no JSON object" in notice
        assert (mirror.folder / "long" / "meta.json").read_bytes() == content
    with mlv.Exp.open(exp.path, capture=()) as more:
        log_some(more, range(20, 22))
    lay(exp.path, store, "long")
    assert len(mirror.refresh().notices) == 1
    assert lines_of(mirror.folder / "long") == lines_of(exp.path)

    shutil.rmtree(mirrors_folder())
    assert ["long/meta.json is passed over: it is no JSON object" in notice for notice in mirror.refresh().notices] == [True]
    store.content["long/meta.json"] = content
    assert mirror.refresh().notices == []
    assert layout.exp_id(mirror.folder / "long") == exp.id


def test_an_overwritten_object_is_told(tmp_path, store, mirror):
    """Where somebody wrote over a segment, the lines that were read before stay, and the key is named."""
    exp = made(tmp_path)
    lay(exp.path, store, "long", parts=4)
    mirror.refresh()
    key = sorted(key for key in store.content if "/log.d/" in key)[1]
    content = gzip.decompress(store.content[key])
    store.content[key] = gzip.compress(content.replace(b"loss", b"gain"), compresslevel=1)

    assert [f"{key} is passed over" in notice and "overwritten" in notice for notice in mirror.refresh().notices] == [True]
    assert lines_of(mirror.folder / "long") == lines_of(exp.path)

    store.content[key] = gzip.compress(content, compresslevel=0)  # packed again, by a copy to another bucket for instance
    assert mirror.refresh().notices == []


def test_segments_that_disagree(tmp_path, store, mirror):
    """A segment that holds other bytes than those before it, where both hold some, is not merged silently."""
    exp = made(tmp_path)
    content = (exp.path / "log.jsonl").read_bytes()
    lay(exp.path, store, "long", parts=4)
    keys = sorted(key for key in store.content if "/log.d/" in key)
    spans = [names.segment_of(key.removeprefix("long/")) for key in keys]
    for key in keys[2:]:
        store.delete(key)
    mirror.refresh()
    other = content[spans[1].start :].replace(b"loss", b"gain")
    foreign = Segment("log", COPY, spans[1].start, len(content))
    store.create(f"long/{foreign.key}", gzip.compress(other))

    notices = mirror.refresh().notices

    assert [f"{foreign.key} is passed over: its bytes" in notice for notice in notices] == [True]
    assert lines_of(mirror.folder / "long")["log"] == content[: spans[1].end]


@pytest.mark.parametrize(
    "key",
    [
        "long/files/../../../evil",
        "../evil",
        "long/files//evil",
        "long/files/a\\b",
        "long/files/" + "x" * 300,
        "long/files/a\nb",
        "/evil",
        "long/" + "y/" * 600 + "meta.json",
    ],
)
def test_keys_that_are_no_paths_are_told(tmp_path, store, mirror, key):
    """No key leads out of the mirror, or to a name that no file system takes."""
    lay(made(tmp_path).path, store, "long")
    store.content[key] = b"{}"

    notices = mirror.refresh().notices
    mirror.bring_files(mirror.folder / "long")

    assert [repr(key[:300]) in notice for notice in notices] == [True]
    assert not list(tmp_path.rglob("*evil*"))
    assert not list(mirrors_folder().rglob("*evil*"))


@pytest.mark.parametrize(
    "key", [".mlv/claims/log.json", ".mlv/news/2026-11-30/x.json", ".mlv/torn/x", ".tmp-x", "files/.tmp-x"]
)
def test_what_is_mlvs_own_is_not_taken_from_a_bucket(tmp_path, store, mirror, key):
    """Claims and temporary files in a bucket are nobody's here."""
    lay(made(tmp_path).path, store, "long")
    store.content[f"long/{key}"] = b"{}"

    mirror.refresh()
    mirror.bring_files(mirror.folder / "long")

    assert not (mirror.folder / "long" / key).exists()


def test_foreign_objects_are_passed_over(tmp_path, store, mirror):
    """What belongs to no experiment, such as a lake, is none of the mirror's."""
    lay(made(tmp_path).path, store, "group/long")
    for key in ("readme.txt", ".mlv/lake/metrics/_delta_log/0.json", ".mlv/plans/1.json", "group/notes/x.txt", "log.d/x"):
        store.content[key] = b"x"

    assert mirror.refresh().folders == [mirror.folder / "group" / "long"]
    assert mirror.refresh().notices == []


def test_an_experiment_where_another_has_a_file(tmp_path, store, mirror):
    """It is told, and the others are there."""
    exp = made(tmp_path)
    lay(exp.path, store, "long")
    lay(exp.path, store, "long/log.jsonl")

    notices = mirror.refresh().notices

    assert ["the experiment 'long/log.jsonl' is passed over" in notice for notice in notices] == [True]
    assert lines_of(mirror.folder / "long") == lines_of(exp.path)


def test_folders_that_a_browser_of_buckets_made(tmp_path, store, mirror):
    """The empty objects that mark folders are no files, in whose way the files in them would be."""
    exp = made(tmp_path)
    lay(exp.path, store, "long")
    lay(made(tmp_path, "inner").path, store, "long/inner")
    store.content["long/files/plots/deep/a.txt"] = b"a"
    for folder in ("long", "long/files", "long/files/plots", "long/files/plots/deep", "long/log.d", "long/inner"):
        store.content[folder] = b""

    assert mirror.refresh().notices == []
    assert mirror.bring_files(mirror.folder / "long") == []
    assert (mirror.folder / "long" / "files" / "plots" / "deep" / "a.txt").read_bytes() == b"a"
    assert lines_of(mirror.folder / "long") == lines_of(exp.path)


def test_nothing_there(store, mirror):
    """An empty root, and one with a table alone, hold no experiment."""
    with pytest.raises(NotAnExperiment, match="s3://lab/runs holds no experiment"):
        mirror.refresh()
    store.content["_delta_log/0.json"] = b"{}"
    with pytest.raises(NotAnExperiment, match="a Delta table"):
        mirror.refresh()


def test_a_removed_experiment_is_removed(tmp_path, store, mirror):
    """What is not in the bucket any more is not in the mirror either; what lies below it stays."""
    exp = made(tmp_path)
    lay(exp.path, store, "long")
    lay(exp.path, store, "long/sub")
    mirror.refresh()
    for key in [key for key in store.content if not key.startswith("long/sub/")]:
        store.delete(key)

    assert mirror.refresh().folders == [mirror.folder / "long" / "sub"]
    assert list(layout.walk(mirror.folder)) == [mirror.folder / "long" / "sub"]


def test_what_lies_behind_a_link_is_not_removed(tmp_path, store, mirror):
    """A link in the mirror leads to somebody's own experiments, of which the bucket knows nothing."""
    exp = made(tmp_path)
    lay(exp.path, store, "long")
    mirror.refresh()
    (mirror.folder / "mine").symlink_to(tmp_path)
    before = lines_of(exp.path)

    mirror.refresh()

    assert lines_of(exp.path) == before
    assert layout.is_experiment(exp.path)


def test_an_experiment_whose_meta_is_replaced_at_this_moment(tmp_path):
    """A redaction takes meta.json away and puts another one there: the experiment does not vanish in between."""

    def replace(call: str, key: str) -> None:
        if call == "objects" and taken:
            store.content["long/meta.json"] = taken.pop()

    taken: list[bytes] = []
    store = MemoryStore(after=replace)
    mirror = Mirror(URL, store)
    exp = made(tmp_path)
    lay(exp.path, store, "long")
    lay(exp.path, store, "other")
    mirror.refresh()
    taken.append(store.content.pop("long/meta.json"))

    assert mirror.refresh().folders == [mirror.folder / "other"]
    assert lines_of(mirror.folder / "long") == lines_of(exp.path)
    assert len(mirror.refresh().folders) == 2


@pytest.mark.parametrize("harm", ["truncate", "meta", "remove", "state", "all", "grow"])
def test_a_mirror_that_was_harmed_is_made_anew(tmp_path, store, mirror, harm):
    """A mirror that is not as it was left gives nothing wrong: it is fetched again."""
    exp = made(tmp_path)
    lay(exp.path, store, "long", parts=3)
    mirror.refresh()
    log = mirror.folder / "long" / "log.jsonl"
    if harm == "truncate":
        os.truncate(log, 40)
    elif harm == "grow":
        log.write_bytes(log.read_bytes() + b"{}")
    elif harm == "meta":
        (mirror.folder / "long" / "meta.json").write_bytes(b"{}")
    elif harm == "remove":
        shutil.rmtree(mirror.folder / "long")
    elif harm == "state":
        for path in mirrors_folder().rglob("*.json"):
            if path.parent.name == "state":
                path.write_bytes(b"{")
    else:
        shutil.rmtree(mirrors_folder())

    mirror.refresh()

    assert lines_of(mirror.folder / "long") == lines_of(exp.path)
    assert layout.exp_id(mirror.folder / "long") == exp.id


def test_a_mirror_that_cannot_be_written(tmp_path, store, monkeypatch):
    """The error names the mirror and the way out."""
    lay(made(tmp_path).path, store, "long")
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))

    with pytest.raises(FileUnusable, match="XDG_CACHE_HOME"):
        Mirror(URL, store).refresh()


def test_a_mirror_of_another_user(tmp_path, store, mirror, monkeypatch):
    """It is neither read nor written, whatever stands in it."""
    lay(made(tmp_path).path, store, "long")
    (home,) = {path.parent for path in mirror.refresh().folders[0].parents if path.name == "tree"}
    if os.geteuid() == 0:
        os.chown(home, 1234, 1234)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)

    with pytest.raises(FileUnusable, match="belongs to another user"):
        mirror.refresh()
    with pytest.raises(FileUnusable, match="belongs to another user"):
        mirror.bring_files(mirror.folder / "long")


def test_two_at_once(tmp_path, store, mirror):
    """Two readers that bring one mirror up to date at the same moment leave it as one does."""
    folders = [made(tmp_path, f"exp{number}").path for number in range(4)]
    for folder in folders:
        lay(folder, store, folder.name, parts=8)
    start = Barrier(2)

    def refresh() -> None:
        start.wait()
        results.append(Mirror(URL, store).refresh())

    results: list[object] = []
    threads = [Thread(target=refresh) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(results) == 2
    for folder in folders:
        assert lines_of(mirror.folder / folder.name) == lines_of(folder)


def test_a_root_within_another(tmp_path, store, mirror):
    """The mirror of one experiment, and that of the root around it, are one: nothing is fetched twice."""
    exp = made(tmp_path)
    lay(exp.path, store, "long", parts=3)
    mirror.refresh()
    inner = MemoryStore()
    inner.content = {key.removeprefix("long/"): content for key, content in store.content.items()}

    refreshed = Mirror(f"{URL}/long", inner).refresh()

    assert gets(inner) == []
    assert refreshed.folders == [mirror.folder / "long"]
    pytest.importorskip("obstore")
    same = mirror_of(mirror.folder / "long")
    assert same is not None
    assert same.url == f"{URL}/long"


def test_another_account_has_a_mirror_of_its_own(tmp_path, store, mirror, monkeypatch):
    """Buckets of one name behind two endpoints are two, and the mirror of one never gets what is in the other."""
    lay(made(tmp_path).path, store, "long")
    mirror.refresh()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://elsewhere:9000")

    other = Mirror(URL, MemoryStore())

    assert other.folder != mirror.folder
    pytest.importorskip("obstore")
    assert mirror_of(mirror.folder / "long") is None


def test_a_bucket_that_is_an_experiment(tmp_path, store):
    """It has the name of the bucket."""
    pytest.importorskip("obstore")
    exp = made(tmp_path)
    lay(exp.path, store)
    mirror = Mirror("s3://lab", store)
    mirror.refresh()
    assert mirror.folder.name == "lab"
    assert mirror_of(mirror.folder).url == "s3://lab/"
    with pytest.raises(InvalidArgument, match="cannot be mirrored"):
        Mirror("s3://..", store)


def test_a_url_that_leads_out_of_the_mirror():
    """`..` in a URL is refused."""
    with pytest.raises(InvalidArgument, match="cannot be mirrored"):
        Mirror("s3://lab/runs/../../x", MemoryStore())


def test_a_plain_log_is_a_copy(tmp_path, store, mirror):
    """A tree that `aws s3 sync` laid there is read as well, while it grows, and beside segments of another copy."""
    exp = made(tmp_path, closed=False)
    for stream, content in lines_of(exp.path).items():
        store.content[f"long/{layout.stream_file(stream)}"] = content[:-7]  # in the middle of a line
    store.content["long/meta.json"] = (exp.path / "meta.json").read_bytes()
    mirror.refresh()
    here = lines_of(mirror.folder / "long")["log"]
    assert lines_of(exp.path)["log"].startswith(here)
    assert here.endswith(b"\n")

    exp.close()
    for stream, content in lines_of(exp.path).items():
        store.content[f"long/{layout.stream_file(stream)}"] = content
    assert mirror.refresh().notices == []
    assert lines_of(mirror.folder / "long") == lines_of(exp.path)

    clone = Path(shutil.copytree(exp.path, tmp_path / "clone"))
    other = mlv.Exp.open(clone, capture=())
    log_some(other, range(20, 25))
    other.close()
    lay(clone, store, "long", copy=OTHER)
    assert mirror.refresh().notices == []
    assert set(identities(mirror.folder / "long")) == set(identities(clone))


def test_files_come_when_they_are_asked_for(tmp_path, store, mirror):
    """A mirror has meta and lines at once, and each file in the version that was published last."""
    exp = made(tmp_path, closed=False)
    for text in ("first", "second"):
        with exp.file("conf.txt", "w") as file:
            file.write(text)
        exp.flush()
        lay(exp.path, store, "long", whole=False)
    (exp.path / "files" / "own.txt").write_bytes(b"own")
    exp.close()
    lay(exp.path, store, "long")
    mirror.refresh()
    folder = mirror.folder / "long"
    assert not (folder / "files").exists()

    gets(store)
    assert mirror.bring_files(folder, ["files/conf.txt"]) == []
    assert (folder / "files" / "conf.txt").read_text() == "second"
    assert len(gets(store)) == 1
    assert mirror.bring_files(folder) == []
    assert (folder / "files" / "own.txt").read_bytes() == b"own"
    assert len(gets(store)) == 1
    assert verify(folder).verdict == "intact"


def test_a_file_that_has_not_arrived_is_not_shipped_yet(tmp_path, store, mirror):
    """It is missing only where everything has been shipped."""
    exp = made(tmp_path, closed=False)
    with exp.file("conf.txt", "w") as file:
        file.write("text")
    exp.close()
    lay(exp.path, store, "long", files=False, whole=False)
    mirror.refresh()
    assert mirror.bring_files(mirror.folder / "long") == ["s3://lab/runs/long: files/conf.txt is not shipped yet"]

    lay(exp.path, store, "long", files=False)
    mirror.refresh()
    assert mirror.bring_files(mirror.folder / "long") == ["s3://lab/runs/long: files/conf.txt is not in the bucket"]

    store.content["long/files/conf.txt"] = b"other"
    mirror.refresh()
    notices = mirror.bring_files(mirror.folder / "long")
    assert notices == ["s3://lab/runs/long: files/conf.txt is passed over: it holds other bytes than were published"]
    assert not (mirror.folder / "long" / "files" / "conf.txt").exists()


def test_a_mirror_merges_into_a_tree(tmp_path, store, mirror):
    """The tree of a mirror is one that `mlv merge` brings elsewhere."""
    exp = made(tmp_path / "a")
    lay(exp.path, store, "long", parts=3)
    mirror.refresh()
    mirror.bring_files(mirror.folder / "long")

    done = list(merge(mirror.folder, tmp_path / "b"))

    assert [one.differences for one in done] == [[]]
    assert lines_of(tmp_path / "b" / "long") == lines_of(exp.path)
    assert verify(tmp_path / "b" / "long").verdict == "intact"


def test_an_unreachable_store_ends_the_refresh(tmp_path):
    """The error comes through, and the next refresh completes what there is."""
    is_away = True

    def fail(call: str, key: str) -> None:
        if is_away and call == "get":
            raise BucketUnreachable("away")

    store = MemoryStore(before=fail)
    exp = made(tmp_path)
    lay(exp.path, store, "long")
    with pytest.raises(BucketUnreachable):
        Mirror(URL, store).refresh()
    is_away = False
    mirror = Mirror(URL, store)
    mirror.refresh()
    assert lines_of(mirror.folder / "long") == lines_of(exp.path)


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("copies", [1, 2])
def test_what_came_before_an_error_is_kept(tmp_path, is_first, copies):
    """Where the store goes away in the middle, the next refresh fetches the rest alone."""

    def fail(call: str, key: str) -> None:
        if call == "get" and left and "/log.d/" in key:
            left[0] -= 1
            if left[0] < 0:
                raise BucketUnreachable("away")

    left: list[int] = []
    store = MemoryStore(before=fail)
    mirror = Mirror(URL, store)
    exp = made(tmp_path, steps=30)
    if not is_first:
        lay(exp.path, store, "long", whole=False, until=2000)
        mirror.refresh()
    lay(exp.path, store, "long", parts=12)
    if copies == 2:
        lay(exp.path, store, "long", copy=OTHER)
    segments = [key for key in store.content if "/log.d/" in key]
    left.append(4)
    gets(store)
    with pytest.raises(BucketUnreachable):
        mirror.refresh()
    left.clear()
    first = {key for key in gets(store) if "/log.d/" in key}
    assert lines_of(exp.path)["log"].startswith(lines_of(mirror.folder / "long").get("log", b""))

    assert mirror.refresh().notices == []
    again = {key for key in gets(store) if "/log.d/" in key}
    assert lines_of(mirror.folder / "long") == lines_of(exp.path)
    if copies == 1:
        assert len(first & again) < 12  # fetched in advance, behind the one that failed
        assert again < set(segments)


def test_a_running_copy_beside_a_whole_one(tmp_path, store, mirror):
    """More is on its way from a copy that is longer than those that are whole, and not from one that a node left behind."""
    exp = made(tmp_path, closed=False)
    lay(exp.path, store, "long", whole=False)
    clone = Path(shutil.copytree(exp.path, tmp_path / "clone"))
    shutil.rmtree(clone / ".mlv")
    other = mlv.Exp.open(clone, capture=())
    log_some(other, range(20, 30))
    lay(clone, store, "long", copy=OTHER, whole=False)
    assert mirror.refresh().unshipped
    other.close()
    lay(clone, store, "long", copy=OTHER)
    assert mirror.refresh().unshipped == []
    log_some(exp, range(20, 60))  # it lives on
    lay(exp.path, store, "long", whole=False)
    assert mirror.refresh().unshipped
    exp.close()


def test_a_damaged_merged_segment_takes_nothing(tmp_path, store, mirror):
    """Lines that were read stay where the object that holds them now is damaged."""
    exp = made(tmp_path)
    lay(exp.path, store, "long", parts=4)
    mirror.refresh()
    content = (exp.path / "log.jsonl").read_bytes()
    for key in [key for key in store.content if "/log.d/" in key]:
        store.delete(key)
    store.create(f"long/{Segment('log', COPY, 0, len(content)).key}", gzip.compress(content)[:-20])

    assert mirror.refresh().notices == []
    assert lines_of(mirror.folder / "long") == lines_of(exp.path)


def test_times_alone_do_not_matter(tmp_path, store, mirror):
    """A listing whose objects have other times, as after a copy to another bucket, is compared, and gives no notice."""
    exp = made(tmp_path)
    lay(exp.path, store, "long", parts=3)
    mirror.refresh()

    class Moved(MemoryStore):
        def objects(self, prefix: str = "", after: str = ""):
            return (StoredObject(stored.key, stored.size, 5.0) for stored in super().objects(prefix, after))

    moved = Moved()
    moved.content = store.content
    assert Mirror(URL, moved).refresh().notices == []
    gets(moved)
    assert Mirror(URL, moved).refresh().notices == []
    assert gets(moved) == []
