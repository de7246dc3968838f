"""What `mlv merge` promises: two copies of a tree become one, at any moment, and nothing in them is ever overwritten."""

from __future__ import annotations

import json
import os
import shutil
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest
from contracts import evidence
from dying import is_done
from logs import line

import mlv
from mlv.audit.merge import Merged, merge
from mlv.audit.verify import verify
from mlv.errors import ExperimentBusy, InvalidArgument, NotAnExperiment
from mlv.store import claims, layout
from mlv.store.claims import FOR_MERGES, Claim
from mlv.store.contents import content_of
from mlv.store.owners import Owner

pytestmark = pytest.mark.usefixtures("inline")


def made(root: Path, name: str = "exp", steps: int = 3, **options: Any) -> mlv.Exp:
    """An experiment that was closed, in two streams, with a file."""
    exp = mlv.Exp(root, name, {"lr": 0.1}, capture=(), **options)
    log_some(exp, steps)
    with exp.file("conf.txt", "w") as file:
        file.write("some text")
    exp.close()
    return exp


def log_some(exp: mlv.Exp, steps: int = 3) -> None:
    """Log into both streams, and see that it is in the files."""
    val = exp.logger("val")
    for step in range(steps):
        exp.log({"loss": 1 / (step + 1)}, step=step)
        val({"acc": step / 10}, step=step)
    exp.flush()


def merged(src: Path, dst: Path, **options: Any) -> list[Merged]:
    """Merge, where nothing may differ."""
    done = list(merge(src, dst, **options))
    assert [one.differences for one in done if one.differences] == []
    return done


def identities(folder: Path) -> set[tuple[str, int]]:
    """Every event of an experiment."""
    return {(event["run"], event["seq"]) for event in evidence.events(folder)}


def content(root: Path) -> dict[str, bytes]:
    """Every file below a folder, by path."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def finished(root: Path) -> dict[str, bytes]:
    """The same without housekeeping, in which a killed process leaves what it began."""
    return {path: found for path, found in content(root).items() if ".mlv/" not in path}


class TestACopy:
    def test_a_new_one(self, tmp_path):
        """What the target lacks is copied: the same bytes, but for who writes there, and as provable."""
        exp = made(tmp_path / "a")

        [done] = merged(tmp_path / "a", tmp_path / "b")

        assert (done.is_new, done.target) == (True, tmp_path / "b" / "exp")
        assert content(tmp_path / "b" / "exp") == content(exp.path)
        assert verify(tmp_path / "b" / "exp").findings == ()

    def test_again(self, tmp_path):
        """Merging again changes nothing."""
        made(tmp_path / "a")
        merged(tmp_path / "a", tmp_path / "b")
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "b").rglob("*") if path.is_file()}

        again = merged(tmp_path / "a", tmp_path / "b")

        assert [one.is_changed for one in again] == [False]
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "b").rglob("*") if path.is_file()} == before

    def test_only_looked(self, tmp_path):
        """A dry run says what would be done, and writes nothing."""
        made(tmp_path / "a")

        [planned] = merged(tmp_path / "a", tmp_path / "b", dry_run=True)

        assert not (tmp_path / "b").exists()
        [done] = merged(tmp_path / "a", tmp_path / "b")
        assert (planned.lines, planned.files) == (done.lines, done.files)

    def test_the_source_is_left_alone(self, tmp_path):
        """Nothing is written to the source."""
        made(tmp_path / "a")
        before = content(tmp_path / "a")

        merged(tmp_path / "a", tmp_path / "b")

        assert content(tmp_path / "a") == before

    def test_sub_experiments(self, tmp_path):
        """They lie below the copy of their parent, and find it there."""
        exp = made(tmp_path / "a")
        (exp.path / "model.bin").write_bytes(b"weights")
        mlv.init_sub_exp(exp.path / "model.bin", "squeeze").close()

        merged(tmp_path / "a", tmp_path / "b")

        sub = mlv.Exp.open(tmp_path / "b" / "exp" / "squeeze" / "subexp_1")
        assert sub.parent is not None
        assert sub.parent.path == tmp_path / "b" / "exp"

    def test_one_experiment(self, tmp_path):
        """An experiment can be given itself: it goes into a folder that is there, or becomes the one that is not."""
        exp = made(tmp_path / "a")
        (tmp_path / "there").mkdir()

        merged(exp.path, tmp_path / "there")
        merged(exp.path, tmp_path / "new")

        assert verify(tmp_path / "there" / "exp").verdict == verify(tmp_path / "new").verdict == "intact"

    def test_files_of_several_names(self, tmp_path):
        """Checkpoints that are links to one file are so in the copy."""
        exp = mlv.Exp(tmp_path / "a", "exp", capture=())
        portfolio = exp.checkpoints(top=1, metric="loss", mode="min")
        portfolio.save(lambda path: path.write_bytes(b"weights"), step=1, metrics={"loss": 1.0})
        exp.close()

        merged(tmp_path / "a", tmp_path / "b")

        found = [path for path in (tmp_path / "b" / "exp" / "models").rglob("*") if path.is_file()]
        assert len(found) == 2
        assert len({path.stat().st_ino for path in found}) == 1


@pytest.mark.usefixtures("ring")
class TestBothWentOn:
    def test_both_ways(self, tmp_path):
        """Runs that were made in either copy are in both afterwards, and every seal still holds."""
        a, b = tmp_path / "a", tmp_path / "b"
        made(a)
        merged(a, b)
        for root in (a, b):
            with mlv.Exp.open(root / "exp") as again:
                log_some(again)

        merged(a, b)
        merged(b, a)

        assert identities(a / "exp") == identities(b / "exp")
        assert [verify(root / "exp").findings for root in (a, b)] == [(), ()]
        assert len(mlv.Exp.open(a / "exp").runs) == len(mlv.Exp.open(b / "exp").runs) == 3

    def test_while_a_run_goes_on(self, tmp_path):
        """A run is brought as far as it is, and goes on with the next merge; until then it is unproven, nothing worse."""
        a, b = tmp_path / "a", tmp_path / "b"
        exp = mlv.Exp(a, "exp", capture=())
        for _ in range(3):
            log_some(exp)
            merged(a, b)
            assert verify(b / "exp").verdict == "unproven"
        exp.close()
        merged(a, b)

        assert content(b / "exp") == content(exp.path)
        assert verify(b / "exp").findings == ()

    def test_while_runs_go_on_in_both(self, tmp_path):
        """No file gets two writers: who writes into the copy meanwhile has streams of its own."""
        a, b = tmp_path / "a", tmp_path / "b"
        exp = mlv.Exp(a, "exp", capture=())
        log_some(exp)
        merged(a, b)
        other = mlv.Exp.open(b / "exp")
        for _ in range(3):
            log_some(exp)
            log_some(other)
            merged(a, b)
            merged(b, a)
        exp.close()
        other.close()
        merged(a, b)
        merged(b, a)

        assert identities(a / "exp") == identities(b / "exp")
        assert len({event["run"] for event in evidence.lines(b / "exp")}) == 4
        assert [verify(root / "exp").findings for root in (a, b)] == [(), ()]
        for root in (a, b):
            for path in evidence.files(root / "exp"):
                evidence.assert_in_order(path)

    def test_where_the_stream_belongs_to_somebody(self, tmp_path):
        """Lines go beside a stream that has a writer; the runs in it stay in order, and their seals hold."""
        a, b = tmp_path / "a", tmp_path / "b"
        exp = mlv.Exp(a, "exp", capture=())
        log_some(exp)
        shutil.copytree(a, b)
        shutil.rmtree(b / "exp" / ".mlv")
        claims.claim(b / "exp", "log", Claim(Owner("elsewhere", "b", "p", 1, "1"), "relse"))
        log_some(exp)
        merged(a, b)
        log_some(exp)
        exp.close()
        [done] = merged(a, b)

        assert "log@merged.log.jsonl" in done.lines
        assert identities(b / "exp") == identities(a / "exp")
        claims.release(b / "exp", "log", Claim(Owner("elsewhere", "b", "p", 1, "1"), "relse"))
        assert verify(b / "exp").findings == ()
        merged(a, b)
        [back] = merged(b, a)
        assert not back.is_changed

    def test_what_a_merge_put_beside_is_merged_on(self, tmp_path):
        """A third copy gets the lines of both files in order."""
        a, b, c = tmp_path / "a", tmp_path / "b", tmp_path / "c"
        self.test_where_the_stream_belongs_to_somebody(tmp_path)

        merged(b, c)

        assert identities(c / "exp") == identities(a / "exp")
        assert verify(c / "exp").findings == ()

    def test_history(self, tmp_path):
        """Readers see one stream, whatever files it is in."""
        pytest.importorskip("pandas")
        pytest.importorskip("pyarrow")
        self.test_where_the_stream_belongs_to_somebody(tmp_path)

        a, b = (mlv.Exp.open(tmp_path / root / "exp").history() for root in ("a", "b"))

        assert a.to_csv() == b.to_csv()

    def test_claims_stay_at_home(self, tmp_path):
        """Who writes into the source is no affair of the copy."""
        exp = mlv.Exp(tmp_path / "a", "exp", capture=())
        log_some(exp)

        merged(tmp_path / "a", tmp_path / "b")

        assert {claims.read(tmp_path / "b" / "exp", stream) for stream in ("log", "val")} == {FOR_MERGES}
        exp.close()
        merged(tmp_path / "a", tmp_path / "b")
        assert {claims.read(tmp_path / "b" / "exp", stream) for stream in ("log", "val")} == {None}

    def test_checkpoints_that_rotated(self, tmp_path):
        """What was published later takes the place of what was earlier; what was removed meanwhile is not brought."""
        a, b = tmp_path / "a", tmp_path / "b"
        exp = mlv.Exp(a, "exp", capture=())
        with exp.file("table.txt", "w") as file:
            file.write("first")
        exp.flush()
        merged(a, b)
        with exp.file("table.txt", "w") as file:
            file.write("second")
        exp.close()

        merged(a, b)

        assert (b / "exp" / "files" / "table.txt").read_text() == "second"
        assert verify(b / "exp").verdict == "intact"
        assert not merged(b, a)[0].is_changed


def _file_event(path: str, *contents: bytes, run: str = "rattacker0") -> bytes:
    """Lines of a run that say what a path held, one content after the other."""
    said = [{"_mlv": "file", "path": path, "size": len(content), "sha256": sha256(content).hexdigest()} for content in contents]
    return b"".join(line(run, seq, "file", second=seq, data=data) for seq, data in enumerate(said, 1))


class TestAHostileCopy:
    """What somebody else made of a copy brings nothing into ours but its lines and the files that it published."""

    @pytest.fixture
    def copies(self, tmp_path: Path) -> tuple[Path, Path]:
        """Theirs, which somebody may have changed, and ours."""
        made(tmp_path / "ours")
        shutil.copytree(tmp_path / "ours", tmp_path / "theirs")
        return tmp_path / "theirs" / "exp", tmp_path / "ours" / "exp"

    @pytest.mark.parametrize(
        "path", ["log.jsonl", "meta.json", ".mlv/cache/log.arrow", "files/../log.jsonl", "csv/.mlv-csv.json", "notes.txt"]
    )
    def test_paths_of_the_store(self, copies, path):
        """B2: a `file` event that names what is not an attachment replaces nothing of ours."""
        theirs, ours = copies
        mine = ours / path
        mine.parent.mkdir(parents=True, exist_ok=True)
        if not mine.exists():
            mine.write_bytes(b"mine")
        kept = mine.read_bytes()
        forged = kept.replace(b'"loss":0.5', b'"loss":0.1') if kept != b"mine" else b"theirs"
        if path.startswith(("log", "files")):
            theirs.joinpath("log.jsonl").write_bytes(forged)
        elif path != "meta.json":
            (theirs / path).parent.mkdir(parents=True, exist_ok=True)
            (theirs / path).write_bytes(forged)
        (theirs / "hostile.log.jsonl").write_bytes(_file_event(path, kept, forged))

        list(merge(theirs.parent, ours.parent))

        assert mine.read_bytes().startswith(kept)

    def test_a_folder_of_the_store(self, copies):
        """B2: an event that names `files` as a whole does not take away what was never published in it."""
        theirs, ours = copies
        (ours / "files" / "unpublished.txt").write_text("mine")
        before, after = content_of(ours / "files").sha256, content_of(theirs / "files").sha256
        said = [{"_mlv": "file", "path": "files", "sha256": one, "media_type": "inode/directory"} for one in (before, after)]
        (theirs / "hostile.log.jsonl").write_bytes(
            b"".join(line("rattacker0", seq, "file", second=seq, data=data) for seq, data in enumerate(said, 1))
        )

        list(merge(theirs.parent, ours.parent))

        assert (ours / "files" / "unpublished.txt").read_text() == "mine"

    def test_what_is_superseded_is_kept(self, copies):
        """B2: whatever takes the place of a file of ours, its bytes stay, aside, and the merge says where."""
        theirs, ours = copies
        (theirs / "files" / "conf.txt").chmod(0o644)
        (theirs / "files" / "conf.txt").write_bytes(b"another one")
        later = _file_event("files/conf.txt", b"some text", b"another one").replace(b'"time":"20', b'"time":"99')
        (theirs / "hostile.log.jsonl").write_bytes(later)

        [done] = merge(theirs.parent, ours.parent)

        aside = [path for path in (ours / ".mlv" / "superseded").rglob("*") if path.is_file()]
        assert [path.read_bytes() for path in aside] == [b"some text"]
        assert [f"kept as {aside[0].relative_to(ours)}" in note for note in done.notes] == [True]
        assert (ours / "files" / "conf.txt").read_bytes() == b"another one"

    @pytest.mark.parametrize("name", ["files/link.txt", "files/folder/link.txt", "csv/link.txt"])
    def test_links_of_theirs(self, copies, tmp_path, name):
        """B2: a symbolic link in their copy brings no file from elsewhere into ours, whether an event names it or not."""
        theirs, ours = copies
        (tmp_path / "secret").write_bytes(b"a secret")
        (theirs / name).parent.mkdir(exist_ok=True)
        (theirs / name).symlink_to(tmp_path / "secret")
        (theirs / "hostile.log.jsonl").write_bytes(_file_event(name, b"a secret"))

        [done] = merge(theirs.parent, ours.parent)

        assert not os.path.lexists(ours / name)
        assert "symbolic link" in " ".join([*done.notes, *done.differences])

    def test_a_link_of_ours(self, copies, tmp_path):
        """B2: where ours has a link on the way, nothing is written to where it leads."""
        theirs, ours = copies
        (tmp_path / "elsewhere").mkdir()
        (ours / "files" / "media").symlink_to(tmp_path / "elsewhere")
        (theirs / "files" / "media").mkdir()
        (theirs / "files" / "media" / "a.txt").write_bytes(b"a")

        [done] = merge(theirs.parent, ours.parent)

        assert list((tmp_path / "elsewhere").iterdir()) == []
        assert "symbolic link" in " ".join(done.notes)


@pytest.mark.parametrize("seed", range(8))
def test_any_order(tmp_path, seed):
    """However runs and merges follow each other in three copies, in the end all hold everything, and every seal holds."""
    random = Random(seed)
    copies = [tmp_path / name for name in ("a", "b", "c")]
    made(copies[0])
    for root in copies[1:]:
        merged(copies[0], root)
    running: dict[Path, mlv.Exp] = {}
    for _ in range(30):
        root, other = random.sample(copies, 2)
        action = random.choice(["run", "log", "log", "merge", "merge"])
        if action == "merge":
            merged(root, other)
        elif action == "log" and root in running:
            log_some(running[root], 2)
        elif root in running:
            running.pop(root).close()
        else:
            running[root] = mlv.Exp.open(root / "exp")
    for exp in running.values():
        exp.close()
    for root, other in [(a, b) for _ in range(2) for a in copies for b in copies if a != b]:
        merged(root, other)

    assert len({frozenset(identities(root / "exp")) for root in copies}) == 1
    assert [verify(root / "exp").findings for root in copies] == [(), (), ()]
    assert [merged(a, b)[0].is_changed for a in copies for b in copies if a != b] == [False] * 6


class TestWhichIsWhich:
    def test_renamed(self, tmp_path):
        """An experiment is the same under another name, wherever it was moved."""
        a, b = tmp_path / "a", tmp_path / "b"
        exp = made(a)
        merged(a, b)
        (b / "papers").mkdir()
        (b / "exp").rename(b / "papers" / "best")
        with mlv.Exp.open(exp.path) as again:
            log_some(again)

        [done] = merged(a, b)

        assert (done.target, done.is_new) == (b / "papers" / "best", False)
        assert identities(b / "papers" / "best") == identities(exp.path)
        assert not (b / "exp").exists()

    def test_two_of_one_name(self, tmp_path):
        """Two experiments of one name are two: the one that comes gets a suffix, once."""
        a, b = tmp_path / "a", tmp_path / "b"
        exp, other = made(a), made(b)

        merged(a, b)
        [again] = merged(a, b)

        assert mlv.Exp.open(b / "exp").id == other.id
        assert mlv.Exp.open(b / "exp_1").id == exp.id
        assert not again.is_changed

    def test_a_copy_within_the_target(self, tmp_path):
        """Of two copies in the target, that of the same path is completed."""
        a, b = tmp_path / "a", tmp_path / "b"
        made(a)
        merged(a, b)
        shutil.copytree(b / "exp", b / "a_copy")

        assert merged(a, b)[0].target == b / "exp"

    @pytest.mark.parametrize("order", [("a", "a"), ("a", "a/exp"), ("a/exp", "a")])
    def test_one_within_the_other(self, tmp_path, order):
        """A folder is not merged into itself."""
        made(tmp_path / "a")

        with pytest.raises(InvalidArgument, match="two copies"):
            list(merge(*(tmp_path / name for name in order)))

    def test_two_different_ones(self, tmp_path):
        """Two different experiments are not mixed."""
        a, b = made(tmp_path / "a"), made(tmp_path / "b")

        with pytest.raises(InvalidArgument, match="two different experiments"):
            list(merge(a.path, b.path))

    def test_none(self, tmp_path):
        """A source without an experiment is a mistake."""
        with pytest.raises(NotAnExperiment, match="holds no experiment"):
            list(merge(tmp_path / "none", tmp_path / "b"))


class TestWhatDiffers:
    """What should be equal and is not is told, and stays as it is."""

    @pytest.fixture
    def copies(self, tmp_path: Path) -> tuple[Path, Path]:
        """Two copies of an experiment."""
        exp = made(tmp_path / "a")
        merged(tmp_path / "a", tmp_path / "b")
        return exp.path, tmp_path / "b" / "exp"

    def differences(self, theirs: Path, ours: Path) -> str:
        before = content(ours)
        [done] = merge(theirs.parent, ours.parent)
        assert content(ours) == before
        return "\n".join(done.differences)

    def test_a_line(self, copies):
        """A line of one run and number with two contents."""
        log = copies[0] / "log.jsonl"
        log.write_bytes(log.read_bytes().replace(b'"loss":0.5', b'"loss":0.4'))

        assert "is another one than ours, which stays" in self.differences(*copies)

    def test_a_file(self, copies):
        """A file that the log names, with bytes that nobody published, in either copy."""
        for theirs, ours in (copies, copies[::-1]):
            path = copies[0] / "files" / "conf.txt"
            path.chmod(0o644)
            path.write_text("something else")
            assert "files/conf.txt has" in self.differences(theirs, ours)

    def test_a_file_without_a_line(self, copies):
        """A file among the attachments that no line names."""
        for number, folder in enumerate(copies):
            (folder / "files" / "left.txt").write_text(str(number))

        assert "files/left.txt has other bytes" in self.differences(*copies)

    def test_a_damaged_line(self, copies):
        """A line that is no event is not carried over."""
        with open(copies[0] / "log.jsonl", "ab") as file:
            file.write(b"damaged\n")

        assert "the line is no event, so it is not carried over" in self.differences(*copies)

    @pytest.mark.parametrize("field", ["run", "seq", "time", "type", "data"])
    @pytest.mark.parametrize("value", [5, "5", None, [], {}], ids=repr)
    def test_a_line_with_a_file_that_is_damaged(self, copies, field, value):
        """A line whose fields are not of their types records no file, and stops no merge."""
        log = copies[0] / "log.jsonl"
        line = next(line for line in log.read_bytes().splitlines() if b"conf.txt" in line)
        with log.open("ab") as file:
            file.write(json.dumps({**json.loads(line), field: value}).encode() + b"\n")

        [done] = merge(copies[0].parent, copies[1].parent)

        assert done.files == []

    def test_a_hole(self, copies):
        """Lines that are lacking in the middle cannot be put back in order: it says where they are."""
        log = copies[1] / "log.jsonl"
        lines = log.read_bytes().splitlines(keepends=True)
        log.write_bytes(b"".join(lines[:2] + lines[3:]))

        assert "cannot be put back in order" in self.differences(*copies)

    def test_half_a_line(self, copies):
        """Half a line that is just being written is brought when it is whole; one that a crash left here is set aside."""
        theirs, ours = copies
        with mlv.Exp.open(theirs) as again:
            log_some(again)
        whole = (theirs / "log.jsonl").read_bytes()
        (theirs / "log.jsonl").write_bytes(whole[:-20])
        with open(ours / "log.jsonl", "ab") as file:
            file.write(b'{"run":"rtorn')

        merged(theirs.parent, ours.parent)
        (theirs / "log.jsonl").write_bytes(whole)
        merged(theirs.parent, ours.parent)

        assert (ours / "log.jsonl").read_bytes() == whole
        assert [path.read_bytes() for path in (ours / ".mlv" / "torn").iterdir()] == [b'{"run":"rtorn']


CODE = """
    from mlv.audit.merge import merge
    from mlv.store import streams

    list(merge(Path(sys.argv[2]), Path(sys.argv[3])))
"""
CALLS = ("link", "rename", "replace", "fsync", "unlink", "mkdir")


class TestKilled:
    @pytest.mark.parametrize("is_known", [False, True], ids=["new", "known"])
    def test_it_goes_on(self, tmp_path, is_known):
        """Killed at any moment and done again, it ends as if it had never been killed, and nothing is left over."""
        a, attached = tmp_path / "a", tmp_path / "data.txt"
        attached.write_text("some data")
        exp = made(a)
        if is_known:
            merged(a, tmp_path / "known")
            with mlv.Exp.open(exp.path) as again:
                log_some(again)
                again.attach(attached)
        for moment in range(1, 60, 3):
            b = tmp_path / f"b{moment}"
            if is_known:
                shutil.copytree(tmp_path / "known", b)
            is_over = is_done(CODE, [a, b], moment, CALLS)
            merged(a, b)

            assert verify(b / "exp").findings == ()
            assert finished(b) == finished(a)
            if is_over:
                return
        raise AssertionError("it never came to its end")

    def test_two_at_once(self, tmp_path):
        """Two merges into one experiment do not happen at once."""
        made(tmp_path / "a")
        merged(tmp_path / "a", tmp_path / "b")

        with claims.changing(tmp_path / "b" / "exp"), pytest.raises(ExperimentBusy, match="at this moment"):
            merged(tmp_path / "a", tmp_path / "b")

    def test_one_that_died_elsewhere(self, tmp_path):
        """Who merged on another machine is waited for, and the text says what to do if it died."""
        made(tmp_path / "a")
        merged(tmp_path / "a", tmp_path / "b")
        path = layout.claim_path(tmp_path / "b" / "exp", ".changing")
        path.write_bytes(Claim(Owner("elsewhere", "b", "p", 7, "1"), "changing").to_bytes())

        with pytest.raises(ExperimentBusy, match=r"process 7 on elsewhere .* if it died, remove"):
            merged(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("name", ["meta.json", "val.log.jsonl"])
def test_a_log_or_meta_that_is_a_link(tmp_path, name):
    """B2: what a link of theirs leads to becomes no meta.json and no line of ours."""
    made(tmp_path / "theirs")
    secret = tmp_path / "secret"
    shutil.move(tmp_path / "theirs" / "exp" / name, secret)
    (tmp_path / "theirs" / "exp" / name).symlink_to(secret)

    [done] = merge(tmp_path / "theirs", tmp_path / "ours")

    assert "is a symbolic link" in " ".join(done.differences)
    assert not (tmp_path / "ours" / "exp" / name).exists()
