"""What was pushed is read: the shipper writes into a bucket, and mirrors follow it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from bucket.laid import lines_of
from bucket.memory import MemoryStore
from logs import line

import mlv
from mlv.audit.redact import redact
from mlv.audit.verify import verify
from mlv.bucket.mirror import Mirror
from mlv.bucket.push import Push
from mlv.bucket.shipper import Shipper
from mlv.bucket.verifying import verify_url
from mlv.store import layout
from mlv.store.mirrors import mirrors_folder

pytestmark = pytest.mark.usefixtures("inline", "own_cache")
URL = "s3://lab/runs"


def push(root: Path, store: MemoryStore) -> None:
    for shipped in Push(root, store).run(list(layout.walk(root))):
        assert not shipped.different


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def mirror(store: MemoryStore) -> Mirror:
    return Mirror(URL, store)


def trained(root: Path, name: str = "long") -> mlv.Exp:
    exp = mlv.Exp(root, name, {"lr": 0.1}, capture=())
    models = exp.checkpoints(every=2, latest=1)
    for step in range(6):
        exp.log({"loss": 1 / (step + 1)}, step=step)
        exp.logger("val")({"acc": step / 10}, step=step)
        models.save(lambda path, step=step: path.write_bytes(b"weights %d" % step), step=step)
    exp.flush()
    return exp


def test_a_tree_comes_back(tmp_path, store, mirror):
    """Experiments, those below them, their files and checkpoints come back as they were, while they grow and at the end."""
    exp = trained(tmp_path / "runs")
    push(tmp_path / "runs", store)
    refreshed = mirror.refresh()
    assert refreshed.unshipped == [mirror.folder / "long"]
    assert lines_of(mirror.folder / "long") == lines_of(exp.path)

    with mlv.init_sub_exp(exp.latest, "squeeze") as sub:
        sub.log({"acc": 0.5}, step=0)
    with exp.filepath("tables") as path:
        path.mkdir()
        (path / "a.txt").write_text("a")
    exp.close()
    push(tmp_path / "runs", store)
    refreshed = mirror.refresh()
    assert (refreshed.notices, refreshed.unshipped) == ([], [])
    for folder in layout.walk(tmp_path / "runs"):
        copy = mirror.folder / folder.relative_to(tmp_path / "runs")
        assert mirror.bring_files(copy) == []
        assert lines_of(copy) == lines_of(folder)
        assert verify(copy).verdict == "intact"


def test_a_file_that_is_published_again(tmp_path, store, mirror):
    """The version that was published last is the one that comes."""
    exp = mlv.Exp(tmp_path / "runs", "long", {}, capture=())
    for text in ("first", "second", "first", "third"):
        with exp.file("conf.txt", "w") as file:
            file.write(text)
        exp.flush()
        push(tmp_path / "runs", store)
        mirror.refresh()
        assert mirror.bring_files(mirror.folder / "long") == []
        assert (mirror.folder / "long/files/conf.txt").read_text() == text
    exp.close()


def test_a_redaction_comes_through(tmp_path, store, mirror):
    """What was redacted and pushed again is in no file of the mirror, and the rest verifies; params and files as well."""
    exp = mlv.Exp(tmp_path / "runs", "long", {"word": "hunter2secret"}, capture=())
    exp.log.info("it is hunter2secret")
    with exp.file("note.txt", "w") as file:
        file.write("hunter2secret")
    exp.close()
    push(tmp_path / "runs", store)
    mirror.refresh()
    mirror.bring_files(mirror.folder / "long")
    secrets = [path for path in mirror.folder.rglob("*") if path.is_file() and b"hunter2secret" in path.read_bytes()]
    assert {path.name for path in secrets} == {"meta.json", "log.jsonl", "note.txt"}

    list(redact(exp.path, ["hunter2secret"]))
    push(tmp_path / "runs", store)
    mirror.refresh()
    mirror.bring_files(mirror.folder / "long")

    assert not [path for path in mirrors_folder().rglob("*") if path.is_file() and b"hunter2secret" in path.read_bytes()]
    assert lines_of(mirror.folder / "long") == lines_of(exp.path)
    assert verify(mirror.folder / "long").verdict == verify(exp.path).verdict


def test_a_clone_and_a_zombie(tmp_path, store, mirror):
    """Two folders that came of one ship side by side, and a reader has the events of both."""
    exp = trained(tmp_path / "a")
    push(tmp_path / "a", store)
    shutil.copytree(exp.path, tmp_path / "b" / "long")
    other = mlv.Exp.open(tmp_path / "b" / "long", capture=())
    other.log({"loss": 0.0}, step=9)
    other.close()
    push(tmp_path / "b", store)
    assert mirror.refresh().notices == []
    exp.log({"loss": 7.0}, step=6)
    exp.close()
    push(tmp_path / "a", store)
    assert mirror.refresh().notices == []

    def identities(*folders: Path) -> set[tuple[str, int]]:
        return {(event.run, event.seq) for folder in folders for event in mlv.Exp.open(folder).events()}

    assert identities(mirror.folder / "long") == identities(exp.path, other.path)
    report = verify_url(f"{URL}/long", store=_below(store, "long"))
    assert report.runs == 2


def test_merging_beside_a_reader(tmp_path):
    """A reader that refreshes between any two requests of a shipper that merges has a beginning of the log each time."""
    folder = tmp_path / "runs" / "exp"
    folder.mkdir(parents=True)
    (folder / "meta.json").write_bytes(b'{"format":1,"params":{}}')
    lines = [line("r", number, data={"x": number}) for number in range(1, 60)]
    heights = [0]

    def read(call: str, key: str) -> None:
        if call in ("create", "delete"):
            reader = MemoryStore()
            reader.content = store.content
            mirror = Mirror(URL, reader)
            if any(key.endswith("meta.json") for key in store.content):
                mirror.refresh()
                path = mirror.folder / "exp" / "log.jsonl"
                here = path.read_bytes() if path.exists() else b""
                assert b"".join(lines).startswith(here)
                assert len(here) >= heights[-1]
                heights.append(len(here))

    store = MemoryStore(after=read)
    shipper = Shipper(folder, "exp", store, segment_bytes=400, merged_at_once=4)
    for number in range(0, len(lines), 6):
        with open(folder / "log.jsonl", "ab") as file:
            file.writelines(lines[number : number + 6])
        shipper.ship_lines()
        shipper.merge()

    assert heights[-1] == sum(map(len, lines))


def _below(store: MemoryStore, path: str) -> MemoryStore:
    """The objects below a path, as a store of their own."""
    inner = MemoryStore()
    inner.content = {key.removeprefix(f"{path}/"): value for key, value in store.content.items() if key.startswith(f"{path}/")}
    return inner
