"""Experiments in a bucket from Python: to read, with `find` and `Exp.open`, and to go on with on another machine."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from bucket.laid import lay

import mlv
from mlv.audit.verify import verify
from mlv.bucket import refresher
from mlv.bucket.mirror import Mirror
from mlv.bucket.push import Push
from mlv.bucket.store import open_store
from mlv.errors import (
    BucketMissing,
    CheckpointMissing,
    FileUnusable,
    InvalidArgument,
    MlvWarning,
    NotAnExperiment,
    OnlyRead,
    RanksNotMet,
    ReferenceBroken,
    SavedirUnusable,
)
from mlv.store import attached, layout
from mlv.store.mirrors import is_mirrored, mirrors_folder

pytest.importorskip("obstore")
pytestmark = pytest.mark.usefixtures("inline", "own_cache")


@pytest.fixture
def url(tmp_path: Path) -> str:
    (tmp_path / "bucket").mkdir()
    return f"file://{tmp_path}/bucket"


def trained(root: Path, steps: range, exp: mlv.Exp | None = None) -> mlv.Exp:
    """A run that saves checkpoints, and keeps every second one, and is not closed."""
    exp = exp or mlv.Exp(root, "long", {"lr": 0.1}, capture=())
    models = exp.checkpoints(every=2, latest=1)
    for step in steps:
        exp.log({"loss": 1 / (step + 1)}, step=step)
        models.save(_writing(step), step=step)
    exp.flush()
    return exp


def push(root: Path, url: str) -> None:
    """Ship a tree with the real shipper."""
    for shipped in Push(root, open_store(url)).run(list(layout.walk(root))):
        assert (shipped.different, shipped.notes) == ([], [])


def test_following_a_bucket(tmp_path, url, monkeypatch):
    """Events arrive as they are shipped, until the run is over, however long the experiment is open by then."""
    monkeypatch.setattr(refresher, "LOOK_EVERY_S", 0.05)
    exp = trained(tmp_path / "node", range(1))
    store = open_store(f"{url}/long")
    lay(exp.path, store, whole=False)
    same = mlv.Exp.open(f"{url}/long")
    exp.log({"loss": 0.5}, step=1)
    exp.flush()
    lay(exp.path, store, whole=False)

    steps = []
    for event in same.events("metrics", follow=True):
        steps.append(event.step)
        if event.step == 1:  # only now: what comes while it is followed
            exp.log({"loss": 0.25}, step=2)
            exp.close()
            lay(exp.path, store)

    assert steps == [0, 1, 2]


def test_following_a_bucket_that_is_away(tmp_path, url, monkeypatch):
    """It is told once, and waited for; after five minutes that is an error, and not the end of the run."""
    monkeypatch.setattr(refresher, "LOOK_EVERY_S", 0.0)
    exp = trained(tmp_path / "node", range(1))
    lay(exp.path, open_store(f"{url}/long"), whole=False)
    same = mlv.Exp.open(f"{url}/long")
    exp.close()
    (state,) = (mirrors_folder()).glob("*/state")
    state.rename(state.with_name("state.away"))
    state.write_text("in the way")
    clock = iter(range(10**6))
    monkeypatch.setattr(refresher, "monotonic", lambda: 10 * next(clock))

    with pytest.warns(MlvWarning, match="trying again") as told, pytest.raises(FileUnusable, match="cannot be written"):
        list(same.events(follow=True))
    assert len(told) == 1

    state.unlink()
    state.with_name("state.away").rename(state)
    lay(exp.path, open_store(f"{url}/long"))
    assert "run_ended" in [event.type for event in same.events(follow=True)]


def _writing(step: int) -> Any:
    return lambda path: path.write_bytes(b"weights %d" % step)


def test_reading(tmp_path, url):
    """`find` and `Exp.open` read a bucket as a folder, with files that come when they are opened."""
    exp = trained(tmp_path / "node", range(4))
    exp.save_extra("note", {"a": 1})
    exp.close()
    lay(exp.path, open_store(f"{url}/long"))

    same = mlv.Exp.open(f"{url}/long")
    assert (same.id, same.params["lr"], same.name) == (exp.id, 0.1, "long")
    assert same.summary()["loss"].last == exp.summary()["loss"].last
    assert not (same.path / "models").exists()
    assert same.latest.path.read_bytes() == b"weights 3"
    assert same.load_extra("note") == {"a": 1}
    assert is_mirrored(same.path)
    found = mlv.find(url)
    assert [one.id for one in found] == [exp.id]
    assert len(mlv.find(url, where={"lr": 0.2})) == 0


def test_a_checkpoint_comes_when_it_is_loaded(tmp_path, url):
    """`exp.latest.load()` fetches the one file."""
    numpy = pytest.importorskip("numpy")
    exp = mlv.Exp(tmp_path / "node", "long", {}, capture=())
    exp.checkpoints(latest=1).save({"w": numpy.arange(3)}, step=1)
    exp.close()
    lay(exp.path, open_store(f"{url}/long"))

    loaded = mlv.Exp.open(f"{url}/long").latest.load()

    assert loaded["w"].tolist() == [0, 1, 2]


def test_a_file_that_is_published_again(tmp_path, url):
    """A reference leads to the file as it was published last, whichever version the mirror had brought before."""
    exp = mlv.Exp(tmp_path / "node", "long", capture=())
    texts = ("first", "another one", "first")
    for text in texts:
        with exp.file("conf.txt", "w") as file:
            file.write(text)
        exp.flush()
        push(tmp_path / "node", url)

        same = mlv.Exp.open(f"{url}/long")
        *_, event = same.events("file")
        path = same.resolve(event.data)
        assert is_mirrored(path)
        assert path.read_text() == text
        assert attached.read(same.path, event.data) == text.encode()
    exp.close()


def test_a_reference_to_a_file_that_was_not_shipped(tmp_path, url):
    """It is said that the file is not shipped yet, and not that it is gone."""
    exp = mlv.Exp(tmp_path, "long", capture=())
    with exp.file("conf.txt", "w") as file:
        file.write("text")
    exp.close()
    lay(exp.path, open_store(f"{url}/long"), files=False, whole=False)
    same = mlv.Exp.open(f"{url}/long")

    with pytest.raises(ReferenceBroken, match="is not shipped yet"):
        same.resolve(next(iter(same.events("file"))).data)


def test_nothing_is_logged_into_a_bucket(tmp_path, url):
    """An experiment that was opened by its URL, or found in a bucket, is only read; so is its mirror, also in a child."""
    exp = trained(tmp_path / "node", range(2))
    exp.close()
    lay(exp.path, open_store(f"{url}/long"))
    before = exp.path.joinpath("log.jsonl").read_bytes()

    same = mlv.Exp.open(f"{url}/long")
    for one in (same, mlv.find(url)[0], mlv.Exp.open(same.path), pickle.loads(pickle.dumps(same))):
        with pytest.raises(OnlyRead, match="into=FOLDER"):
            one.log({"loss": 1.0})
        with pytest.raises(OnlyRead):
            one.add_tags("x")
        with pytest.raises(OnlyRead):
            one.checkpoints(latest=1)
        with pytest.raises(OnlyRead):
            one.remove()
    with pytest.raises(OnlyRead):
        mlv.Exp.open(f"{url}/long", rewind_to=0)
    assert same.path.joinpath("log.jsonl").read_bytes() == before


def test_going_on_elsewhere(tmp_path, url):
    """A run goes on from a checkpoint on another machine, while the zombie on the old one still ships: both runs are kept."""
    old = trained(tmp_path / "node1", range(5))
    push(tmp_path / "node1", url)

    new = mlv.Exp.open(f"{url}/long", into=tmp_path / "node2", rewind_to=3, capture=())
    assert new.path == tmp_path / "node2" / "long"
    assert new.id == old.id
    assert new.latest.step == 3
    assert new.latest.path.read_bytes() == b"weights 3"
    trained(tmp_path, range(4, 8), new)
    trained(tmp_path, range(5, 7), old)  # it does not know
    old.close()
    new.close()
    push(tmp_path / "node1", url)
    push(tmp_path / "node2", url)

    seen = mlv.Exp.open(f"{url}/long")
    events = [(event.run, event.seq) for event in seen.events()]
    assert len(events) == len(set(events))
    assert set(events) == {(event.run, event.seq) for exp in (old, new) for event in exp.events()}
    assert {run.id: run.status for run in seen.runs} == {old.runs[0].id: "ok", new.runs[-1].id: "ok"}
    steps = [event.step for event in seen.events("metrics") if event.run == new.runs[-1].id]
    assert steps == [4, 5, 6, 7]

    again = mlv.Exp.open(f"{url}/long", into=tmp_path / "node2")
    assert again.path == new.path
    assert {(event.run, event.seq) for event in again.events()} == set(events)
    of_lines = [finding for finding in verify(new.path).findings if not str(finding.file).startswith("models/")]
    assert {finding.verdict for finding in of_lines} <= {"intact", "unproven"}


def test_a_checkpoint_that_was_not_shipped(tmp_path, url):
    """Nothing is begun from a checkpoint that is not there: the error names it."""
    old = trained(tmp_path / "node1", range(4))
    lay(old.path, open_store(f"{url}/long"), files=False, whole=False)
    old.close()

    with pytest.raises(CheckpointMissing, match=r"models/.* is not shipped yet.*rewind_to"):
        mlv.Exp.open(f"{url}/long", into=tmp_path / "node2")
    assert not (tmp_path / "node2").exists()


def test_a_checkpoint_on_its_way(tmp_path, url):
    """One that has not arrived is told as such where it is asked for."""
    exp = trained(tmp_path / "node", range(2))
    exp.close()
    lay(exp.path, open_store(f"{url}/long"), files=False, whole=False)

    with pytest.raises(CheckpointMissing, match="is not shipped yet"):
        _ = mlv.Exp.open(f"{url}/long").latest


def test_a_checkpoint_that_is_here_already(tmp_path, url):
    """A job that is started again on its machine needs no checkpoint from the bucket that its folder has."""
    exp = trained(tmp_path / "node", range(3))
    exp.close()
    lay(exp.path, open_store(f"{url}/long"), files=False, whole=False)

    again = mlv.Exp.open(f"{url}/long", into=tmp_path / "node")

    assert again.path == exp.path
    assert again.latest.path.read_bytes() == b"weights 2"


def test_other_ranks_wait_for_the_main_one(tmp_path, url, monkeypatch):
    """A rank above 0 brings nothing: it takes what rank 0 has brought, and says so where that does not come."""
    exp = trained(tmp_path / "node", range(2))
    exp.close()
    lay(exp.path, open_store(f"{url}/long"))
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("MLV_RANKS_TIMEOUT_S", "0.2")
    with pytest.raises(RanksNotMet, match="main rank brought no experiment"):
        mlv.Exp.open(f"{url}/long", into=tmp_path / "here")
    monkeypatch.setenv("RANK", "0")
    assert mlv.Exp.open(f"{url}/long", into=tmp_path / "here").id == exp.id
    monkeypatch.setenv("RANK", "1")
    assert mlv.Exp.open(f"{url}/long", into=tmp_path / "here").path == tmp_path / "here" / "long"


def test_other_ranks_open_what_the_main_one_brought(tmp_path, url, monkeypatch):
    """Another experiment of that name keeps its folder, and a URL may hold escapes: all ranks open the same one."""
    exp = trained(tmp_path / "node", range(2))
    exp.close()
    lay(exp.path, open_store(f"{url}/my long"))
    mlv.Exp(tmp_path / "here", "my long", capture=()).close()
    brought = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("MLV_RANKS_TIMEOUT_S", "0.2")
        brought.append(mlv.Exp.open(f"{url}/my%20long", into=tmp_path / "here"))
    assert {one.id for one in brought} == {exp.id}
    assert {one.path for one in brought} == {tmp_path / "here" / "my long_1"}


def test_bad_input(tmp_path, url):
    """`into` is for URLs; a root is no experiment; what is not there is told."""
    exp = trained(tmp_path / "node", range(1))
    exp.close()
    with pytest.raises(InvalidArgument, match="no URL of one"):
        mlv.Exp.open(exp.path, into=tmp_path / "x")
    with pytest.raises(NotAnExperiment, match="holds no experiment"):
        mlv.find(url)
    lay(exp.path, open_store(f"{url}/group/long"))
    with pytest.raises(NotAnExperiment, match="but holds some"):
        mlv.Exp.open(url)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SavedirUnusable, match="File exists"):
        mlv.Exp.open(f"{url}/group/long", into=tmp_path / "file")
    with pytest.raises(BucketMissing):
        mlv.find(f"{url}/nowhere")
    with pytest.raises(InvalidArgument, match="is an address"):
        mlv.find("hdfs://x/y")
    assert Mirror(url).refresh().notices == []
