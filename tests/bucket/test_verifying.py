"""`mlv verify URL`: the verdict on an experiment in a bucket is the one on its folder, and nothing is written."""

from __future__ import annotations

import gzip
import os
import shutil
from itertools import count
from pathlib import Path

import pytest
from bucket.laid import COPY, OTHER, lay, lay_files
from bucket.memory import MemoryStore

import mlv
from mlv.audit.findings import Report
from mlv.audit.redact import redact
from mlv.audit.verify import verify
from mlv.bucket import names
from mlv.bucket.names import Segment
from mlv.bucket.verifying import verify_below, verify_url
from mlv.errors import BucketUnreachable, InvalidArgument, NotAnExperiment
from mlv.store.mirrors import mirrors_folder

pytestmark = pytest.mark.usefixtures("inline", "own_cache")
URL = "s3://lab/runs/long"


def made(root: Path, *, closed: bool = True) -> mlv.Exp:
    """An experiment in two streams, with a file that was published twice, and a folder."""
    exp = mlv.Exp(root, "long", {"lr": 0.1}, capture=())
    for step in range(10):
        exp.log({"loss": 1 / (step + 1)}, step=step)
        exp.logger("val")({"acc": step / 10}, step=step)
    with exp.filepath("tables") as path:
        path.mkdir()
        (path / "a.txt").write_text("a")
        (path / "b.txt").write_text("b")
    with exp.file("conf.txt", "w") as file:
        file.write("first")
    if closed:
        exp.close()
    else:
        exp.flush()
    return exp


def judged(store: MemoryStore, expect: str | None = None, *, with_files: bool = True) -> Report:
    before = sorted(mirrors_folder().parent.rglob("*"))
    report = verify_url(URL, expect, with_files=with_files, store=store)
    assert sorted(mirrors_folder().parent.rglob("*")) == before
    return report


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def test_intact(tmp_path, store):
    """A whole copy is intact, in as many lines and with the same digest as on the disk; files are hashed on request."""
    exp = made(tmp_path, closed=False)
    lay_files(exp.path, store)
    with exp.file("conf.txt", "w") as file:
        file.write("second")
    exp.close()
    lay(exp.path, store, parts=4)
    here = verify(exp.path)

    report = judged(store, here.digest)
    assert [finding.text for finding in report.findings if finding.verdict != "intact"] == []
    assert (report.verdict, report.lines, report.runs, report.id) == ("intact", here.lines, here.runs, here.id)
    assert (report.digest, report.size_bytes, report.attachments) == (here.digest, here.size_bytes, here.attachments)
    assert report.path == URL

    store.requests.clear()
    assert judged(store, with_files=False).verdict == "intact"
    assert not [key for call, key in store.requests if "files/" in key]
    with pytest.raises(InvalidArgument, match="is no digest"):
        judged(store, "x")
    assert judged(store, "0" * 64).verdict == "missing"


def test_what_has_not_arrived(tmp_path, store):
    """Lines and files that are on their way are unproven; once a copy is whole they are missing."""
    exp = made(tmp_path)
    lay(exp.path, store, files=False, whole=False)
    report = judged(store)
    assert report.verdict == "unproven"
    assert "files/conf.txt is not there: it is not shipped yet" in [finding.text for finding in report.findings]
    assert report.digest is None

    lay(exp.path, store, files=False)
    report = judged(store)
    assert report.verdict == "missing"
    assert "files/conf.txt is not there. Ship it again" in [finding.text for finding in report.findings]

    lay(exp.path, store)
    assert judged(store).verdict == "intact"


def test_a_hole(tmp_path, store):
    """A segment that has not arrived makes nothing missing."""
    lay(made(tmp_path).path, store, parts=5, whole=False)
    keys = sorted(key for key in store.content if key.startswith("log.d/"))
    store.delete(keys[2])

    assert judged(store).verdict == "unproven"


@pytest.mark.parametrize("lost", ["one", "last", "stream", "all"])
def test_segments_that_were_removed(tmp_path, store, lost):
    """A copy that was whole once has shipped all there is: whatever it lacks since is missing, until another copy holds it."""
    exp = made(tmp_path)
    lay(exp.path, store, parts=4)
    keys = sorted(key for key in store.content if ".d/" in key)
    streams = {"one": keys[1:2], "last": keys[-1:], "stream": [key for key in keys if key.startswith("val")], "all": keys}
    for key in streams[lost]:
        store.delete(key)

    report = judged(store)
    assert report.verdict == "missing"
    assert any("was shipped whole" in finding.text for finding in report.findings)
    assert not any("later" in finding.text for finding in report.findings)

    lay(exp.path, store, copy=OTHER, whole=False)
    report = judged(store)
    assert any("was shipped whole" in finding.text for finding in report.findings)
    lay(exp.path, store, copy=OTHER)
    assert judged(store).verdict == "intact"


@pytest.mark.parametrize("change", [(b"loss", b"gain"), (b'"seq":10,', b'"seq":11,'), (b"0.5", b"0.4")])
def test_an_overwritten_segment(tmp_path, store, change):
    """Lines that are not those that were sealed are found."""
    lay(made(tmp_path).path, store, parts=3)
    key = sorted(key for key in store.content if key.startswith("log.d/"))[0]
    content = gzip.decompress(store.content[key])
    assert change[0] in content
    store.content[key] = gzip.compress(content.replace(*change))

    assert judged(store).verdict == "edited"


def test_segments_that_are_merged_meanwhile(tmp_path):
    """Small segments that go away after they were listed are read in the larger one."""
    exp = made(tmp_path)

    def merge(call: str, key: str) -> None:
        if call.startswith("get") and ".d/" in key and not merged:
            merged.append(key)
            lay(exp.path, store, copy=OTHER)
            for each in [each for each in store.content if COPY in each]:
                store.delete(each)

    merged = ["not yet"]
    store = MemoryStore(merge)
    lay(exp.path, store, parts=5)
    merged.clear()

    assert judged(store).verdict == "intact"
    assert merged


def test_a_meta_json_that_goes_away_meanwhile(tmp_path):
    """It is looked for once more, as a redaction makes a new one."""

    def replace(call: str, key: str) -> None:
        if call == "get" and key == "meta.json" and "meta.json" in store.content and requests.count(key) == 0:
            requests.append(key)
            content.update({"meta.json": store.content.pop("meta.json")})
        elif call == "objects":
            store.content.update(content)

    requests: list[str] = []
    content: dict[str, bytes] = {}
    store = MemoryStore(replace)
    lay(made(tmp_path).path, store)

    assert judged(store).verdict == "intact"
    assert requests


def test_a_bucket_that_goes_away(tmp_path):
    """It is an error at each request, and never a verdict."""
    numbers, failing = [count()], [-1]

    def fail(call: str, key: str) -> None:
        if next(numbers[-1]) == failing[-1]:
            raise BucketUnreachable("no answer")

    store = MemoryStore(fail)
    lay(made(tmp_path).path, store, parts=2)
    numbers.append(count())
    assert judged(store).verdict == "intact"
    for number in range(next(numbers[-1])):
        numbers.append(count())
        failing.append(number)
        with pytest.raises(BucketUnreachable):
            judged(store)


def test_a_damaged_segment(tmp_path, store):
    """It is named by its key; one that covers the same bytes takes its place."""
    exp = made(tmp_path)
    lay(exp.path, store, parts=3)
    key = sorted(key for key in store.content if key.startswith("log.d/"))[1]
    whole = store.content[key]
    store.content[key] = whole[:-5]

    report = judged(store)
    assert report.verdict == "edited"
    assert [finding.text for finding in report.findings if key in finding.text] == [f"{key} is passed over: it is cut off"]


def test_a_large_segment(tmp_path, store, monkeypatch):
    """It is not held in memory, and judged as any other: damaged ones give nothing, overlapping ones their new bytes."""
    monkeypatch.setattr("mlv.bucket.bucket_subject.IN_MEMORY_BYTES", 10)
    exp = made(tmp_path)
    lay(exp.path, store, parts=3)
    keys = sorted(key for key in store.content if key.startswith("log.d/"))
    content = (exp.path / "log.jsonl").read_bytes()
    end = content.index(b"\n", names.segment_of(keys[1]).start) + 1
    store.delete(keys[0])
    store.content[Segment("log", COPY, 0, end).key] = gzip.compress(content[:end])
    assert judged(store).verdict == "intact"

    store.content[keys[2]] = store.content[keys[2]][:-5]
    assert f"{keys[2]} is passed over: it is cut off" in [finding.text for finding in judged(store).findings]


def test_a_segment_that_promises_too_much(tmp_path, store):
    """A small object of a name that promises a terabyte is not uncompressed."""
    exp = made(tmp_path)
    lay(exp.path, store, parts=2)
    end = (exp.path / "log.jsonl").stat().st_size
    key = Segment("log", COPY, end, end + (1 << 40)).key
    store.content[key] = gzip.compress(bytes(1 << 20))

    assert any(finding.text.startswith(f"{key} is passed over: its name promises") for finding in judged(store).findings)


def test_a_file_that_was_changed(tmp_path, store):
    """Other bytes than were published are found with the files, and not without."""
    lay(made(tmp_path).path, store)
    store.content["files/conf.txt"] = b"other"
    assert judged(store, with_files=False).verdict == "intact"
    report = judged(store)
    assert report.verdict == "edited"
    assert [finding.file for finding in report.findings if finding.verdict == "edited"] == ["files/conf.txt"]
    store.content["files/conf.txt"] = b"first"
    store.content["files/tables/b.txt"] = b"c"
    assert [finding.file for finding in judged(store).findings if finding.verdict == "edited"] == ["files/tables"]


def test_several_copies(tmp_path, store):
    """Runs of a clone, and of the folder itself, are proven together; lines that differ are told."""
    exp = made(tmp_path / "a", closed=False)
    clone = Path(shutil.copytree(exp.path, tmp_path / "clone"))
    shutil.rmtree(clone / ".mlv")
    other = mlv.Exp.open(clone, capture=())
    other.log({"loss": 0.0}, step=10)
    other.close()
    exp.close()
    lay(exp.path, store)
    lay(clone, store, copy=OTHER)

    report = judged(store)
    assert (report.verdict, report.runs) == ("intact", 2)

    key = next(key for key in store.content if f"log.d/{OTHER}" in key and key.startswith("log.d"))
    store.content[key] = gzip.compress(gzip.decompress(store.content[key]).replace(b"0.5", b"0.4"))
    report = judged(store)
    assert report.verdict == "edited"
    assert any(OTHER in finding.text for finding in report.findings)


@pytest.mark.parametrize(("former", "redacted"), [(COPY, OTHER), (OTHER, COPY)])
def test_a_redaction(tmp_path, store, former, redacted):
    """A redacted copy verifies as on the disk; where the former one is still there, that is said, whatever its name."""
    exp = mlv.Exp(tmp_path, "long", {}, capture=())
    exp.log.info("the word is hunter2secret")
    exp.close()
    lay(exp.path, store, copy=former)
    old = dict(store.content)
    list(redact(exp.path, ["hunter2secret"]))
    for key in old:
        store.delete(key)
    lay(exp.path, store, copy=redacted)
    assert judged(store).verdict == verify(exp.path).verdict == "intact"

    store.content.update(old)
    assert any("to be redacted are not" in finding.text for finding in judged(store).findings)


def test_a_plain_log(tmp_path, store):
    """A tree that `aws s3 sync` laid there is judged as well; half a line at its end is no damage."""
    exp = made(tmp_path)
    for path in exp.path.rglob("*"):
        if path.is_file() and ".mlv" not in path.parts:
            store.content[path.relative_to(exp.path).as_posix()] = path.read_bytes()
    assert judged(store).verdict == "intact"

    store.content["log.jsonl"] = store.content["log.jsonl"][:-9]
    assert judged(store).verdict in ("truncated", "missing")


def test_none_there(store):
    """A root, or nothing, is no experiment."""
    with pytest.raises(NotAnExperiment, match=r"is no experiment: give the URL"):
        judged(store)
    store.content["a/meta.json"] = b"{}"
    with pytest.raises(NotAnExperiment, match=r"mlv ls s3://lab/runs/long"):
        judged(store)


def test_the_command(command, tmp_path):
    """`mlv verify URL` prints the verdict, and leaves no mirror; its status is 0 where all is intact."""
    pytest.importorskip("obstore")
    from mlv.bucket.store import open_store

    exp = made(tmp_path / "node")
    (tmp_path / "bucket").mkdir()
    url = f"file://{tmp_path}/bucket"
    lay(exp.path, open_store(f"{url}/long"))

    done = command("verify", f"{url}/long", "--files")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"intact  {url}/long")
    assert not mirrors_folder().exists()

    os.remove(tmp_path / "bucket" / "long" / "files" / "conf.txt")
    done = command("verify", "long", "--root", url)
    assert done.returncode == 1
    assert "files/conf.txt is not there" in done.stdout


def test_a_root(tmp_path, store):
    """All experiments below a root are judged by one listing; one that cannot be read keeps back no other."""
    exp = made(tmp_path)
    for path in ("a", "group/b", "group/c"):
        lay(exp.path, store, path)
    broken = next(key for key in store.content if key.startswith("group/b/log.d"))
    get = store.get

    class Refusing(MemoryStore):
        content, listings = store.content, 0

        def get(self, key: str) -> bytes:
            if key == broken:
                raise BucketUnreachable("no answer", url=URL)
            return get(key)

        def objects(self, *limits):
            Refusing.listings += 1
            return store.objects(*limits)

    results = list(verify_below(URL, store=Refusing()))

    assert [each.path for each in results] == [f"{URL}/a", f"{URL}/group/b", f"{URL}/group/c"]
    assert [each.report and each.report.verdict for each in results] == ["intact", None, "intact"]
    assert results[1].error == "no answer"
    assert Refusing.listings == 1
    with pytest.raises(InvalidArgument, match="holds 3 experiments: name one"):
        list(verify_below(URL, "00" * 32, store=store))
    with pytest.raises(NotAnExperiment, match="holds no experiment"):
        list(verify_below(URL, store=MemoryStore()))


def test_the_command_with_a_root(command, tmp_path):
    """`mlv verify` of a root judges all below it, here or on workers, in order; the status is 1 where one is not well."""
    pytest.importorskip("obstore")
    from mlv.bucket.store import open_store

    exp = made(tmp_path / "node")
    (tmp_path / "bucket").mkdir()
    url = f"file://{tmp_path}/bucket"
    for name in ("a", "my group/b"):
        lay(exp.path, open_store(url), name)

    done = command("verify", url, "--files")
    assert (done.returncode, done.stderr) == (0, "")
    verdicts = [line.split()[:2] for line in done.stdout.splitlines() if url in line]
    assert verdicts == [["intact", f"{url}/a"], ["intact", f"{url}/my%20group/b"]]
    assert done.stdout.endswith("2 experiments: 2 intact\n")
    assert not mirrors_folder().exists()

    os.remove(tmp_path / "bucket" / "a" / "files" / "conf.txt")
    done = command("verify", url, "--files", "--on", "processes:2")
    assert done.returncode == 1
    assert "files/conf.txt is not there" in done.stdout
    assert done.stdout.endswith("2 experiments: 1 intact, 1 missing\n")

    done = command("verify", f"{url}/typo")
    assert (done.returncode, done.stderr) == (2, f"mlv: {url}/typo: there is no such folder; correct the URL\n")
    assert not (tmp_path / "bucket" / "typo").exists()


def test_several_at_once(command, tmp_path):
    """Of several words that name experiments in buckets each is judged by what lies there, files included."""
    pytest.importorskip("obstore")
    from mlv.bucket.store import open_store

    exp = made(tmp_path / "node")
    (tmp_path / "bucket").mkdir()
    url = f"file://{tmp_path}/bucket"
    for name in ("a", "b"):
        lay(exp.path, open_store(f"{url}/{name}"))

    done = command("verify", f"{url}/a", f"{url}/b", exp.path, "--files")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"intact  {url}/a" in done.stdout
    assert "3 experiments: 3 intact" in done.stdout

    (tmp_path / "bucket" / "b" / "files" / "conf.txt").write_text("other")
    done = command("verify", url, exp.path, "--files")
    assert done.returncode == 1
    assert "3 experiments: 2 intact, 1 edited" in done.stdout
