"""What `verify` says about experiments that were written, are being written, and were tampered with."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import fork, wait_until

import mlv
from mlv.audit.findings import VERDICTS, Finding, Report
from mlv.audit.verify import verify
from mlv.encoding import DATA, Composer, Reference, dumps, head
from mlv.errors import NotAnExperiment
from mlv.events import Dropped, RunEnded, RunStarted
from mlv.store import blobs, contents
from mlv.store.owners import Owner
from mlv.transport import recovery
from mlv.transport.journal import Journal


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment with two streams and an attachment, closed."""
    folder = tmp_path_factory.mktemp("original")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLV_SPOOL", str(folder))
        exp = mlv.Exp(folder / "runs", "exp", {"lr": 0.1}, capture=())
        val = exp.logger("val")
        for step in range(6):
            exp.log({"loss": 1 / (step + 1)}, step=step)
            val({"acc": step / 10}, step=step)
        exp.log.info("done")
        exp.close()
    return exp.path


@pytest.fixture
def exp(original: Path, tmp_path: Path) -> Path:
    """A copy of the experiment, to be tampered with."""
    return Path(shutil.copytree(original, tmp_path / "exp"))


@pytest.fixture
def log(exp: Path) -> Path:
    return exp / "log.jsonl"


def faults(report: Report) -> list[Finding]:
    """The findings that are no notes."""
    return [finding for finding in report.findings if finding.verdict != "intact"]


def said(report: Report, verdict: str) -> str:
    """All that was said with a verdict."""
    return "\n".join(finding.text for finding in report.findings if finding.verdict == verdict)


def change(path: Path, edit: Callable[[list[bytes]], None]) -> list[bytes]:
    """Edit the lines of a file; gives those that were there."""
    before = path.read_bytes().splitlines(keepends=True)
    lines = list(before)
    edit(lines)
    path.write_bytes(b"".join(lines))
    return before


def number_of(lines: list[bytes], text: bytes) -> int:
    """Which line holds a text."""
    return next(number for number, line in enumerate(lines) if text in line)


class TestIntact:
    def test_an_experiment_that_was_closed(self, exp):
        """What was closed and left alone is intact, and the report says how much that is."""
        report = verify(exp)

        assert (report.verdict, report.findings) == ("intact", ())
        assert report.id == hashlib.sha256((exp / "meta.json").read_bytes()).hexdigest()
        assert (report.runs, report.streams) == (1, 2)
        assert report.lines == sum(len(path.read_bytes().splitlines()) for path in exp.glob("*.jsonl"))
        assert report.size_bytes == sum(path.stat().st_size for path in exp.glob("*.jsonl"))

    def test_nothing_is_changed(self, exp):
        """Verifying writes nothing."""
        before = {path: path.stat().st_mtime_ns for path in exp.rglob("*")}

        verify(exp)

        assert {path: path.stat().st_mtime_ns for path in exp.rglob("*")} == before

    def test_opened_again(self, tmp_path):
        """A second run, with seals of its own, leaves an experiment intact."""
        mlv.Exp(tmp_path, "exp", capture=()).close()
        again = mlv.Exp.open(tmp_path / "exp")
        again.log({"loss": 1})
        again.close()

        assert faults(verify(tmp_path / "exp")) == []
        assert verify(tmp_path / "exp").runs == 2

    def test_written_inline(self, tmp_path, monkeypatch):
        """What the inline twin wrote is as provable as what a writer wrote."""
        monkeypatch.setenv("MLV_INLINE", "1")
        exp = mlv.Exp(tmp_path, "exp", capture=())
        exp.log({"loss": 1})
        exp.close()

        assert verify(exp.path).findings == ()

    def test_moved_or_copied(self, exp, tmp_path):
        """A copy is intact, also without the folder for housekeeping."""
        moved = Path(shutil.copytree(exp, tmp_path / "elsewhere"))
        shutil.rmtree(moved / ".mlv")

        assert verify(moved).findings == ()

    def test_forked_children(self, tmp_path):
        """The runs of children are sealed as well."""
        exp = mlv.Exp(tmp_path, "exp", capture=())
        pid = fork(lambda: (exp.log({"child": 1}), exp.close()))
        os.waitpid(pid, 0)
        exp.close()

        wait_until(lambda: verify(exp.path).verdict == "intact")
        assert verify(exp.path).runs == 2

    def test_a_gap_that_is_explained(self, tmp_path):
        """Events that could not be accepted are told, and are no fault."""
        journal, line = by_hand(tmp_path)
        journal.append("r1", "log", [line(1, RunStarted(meta_of(tmp_path))), line(2, None), line(5, None)])
        journal.say(Dropped(3, 4, 2, "no room", of="r1"))
        journal.append("r1", "log", [line(6, RunEnded("ok"))])
        journal.seal("r1")
        journal.close()

        report = verify(tmp_path)

        assert (report.verdict, faults(report)) == ("intact", [])
        assert said(report, "intact") == "events 3 to 4 of run r1 could not be accepted when logged: no room"


def by_hand(folder: Path) -> tuple[Journal, Callable[..., bytes]]:
    """An experiment without a run, its journal, and what makes the lines of a run `r1`."""
    (folder / "meta.json").write_text('{"format": 1, "name": "exp", "params": {}}')
    compose = Composer("r1").line

    def line(seq: int, record: RunStarted | RunEnded | None) -> bytes:
        data = record.to_data() if record is not None else {"n": seq}
        return compose(seq, 10**18 + seq, head(record.TYPE if record else "metrics", ""), DATA, 0, dumps(data))

    return Journal(folder), line


def meta_of(folder: Path) -> str:
    return hashlib.sha256((folder / "meta.json").read_bytes()).hexdigest()


class TestEdited:
    def test_a_byte_in_a_metric(self, exp, log):
        """A digit that was changed is found, and the lines among which it is."""
        before = change(log, lambda lines: lines.__setitem__(2, lines[2].replace(b'"loss":0.5', b'"loss":0.4')))

        report = verify(exp)

        assert report.verdict == "edited"
        [finding] = faults(report)
        assert "A line was changed, or lines changed places" in finding.text
        assert finding.file == "log.jsonl"
        assert finding.start <= sum(map(len, before[:2])) < sum(map(len, before[:3])) <= finding.end

    def test_a_line_that_is_no_event_any_more(self, exp, log):
        """A line that cannot be read is found at its exact bytes."""
        before = change(log, lambda lines: lines.__setitem__(3, lines[3].replace(b'"loss"', b'"loss')))

        found = next(finding for finding in verify(exp).findings if "no event of format 1" in finding.text)

        assert (found.verdict, found.file) == ("edited", "log.jsonl")
        assert found.start == sum(map(len, before[:3]))
        assert found.end == found.start + len(before[3]) - 1

    @pytest.mark.parametrize("stream", ["log.jsonl", "val.log.jsonl"])
    def test_no_byte_can_be_changed_unnoticed(self, exp, stream):
        """Any byte but those of the very last line, which nothing can cover, is proven."""
        path = exp / stream
        text = path.read_bytes()
        covered = text.rindex(b"\n", 0, -1)
        for position in range(0, covered, 7):
            path.write_bytes(text[:position] + bytes([text[position] ^ 1]) + text[position + 1 :])

            assert verify(exp).verdict in ("edited", "missing"), (position, text[position - 20 : position + 20])

    def test_a_line_that_names_another_run(self, exp, log):
        """A line whose run was changed is found as such, not as one that is missing and one that is new."""
        run = json.loads(log.read_bytes().splitlines()[0])["run"]
        change(log, lambda lines: lines.__setitem__(3, lines[3].replace(run.encode(), b"rzzzzzzzzz")))

        report = verify(exp)

        assert report.verdict == "edited"
        assert f"of run rzzzzzzzzz, which nothing vouches for and run {run} lacks" in said(report, "edited")

    def test_lines_that_changed_places(self, exp, log):
        """The order of lines is proven too."""
        change(log, lambda lines: lines.__setitem__(slice(2, 4), lines[3:1:-1]))

        report = verify(exp)

        assert report.verdict == "edited"
        assert "lines changed places" in said(report, "edited")

    def test_a_line_that_is_there_twice(self, exp, log):
        """A line that was doubled is named."""
        before = change(log, lambda lines: lines.insert(3, lines[3]))

        report = verify(exp)

        assert report.verdict == "edited"
        assert f"event {json.loads(before[3])['seq']} of run" in said(report, "edited")
        assert "more than once" in said(report, "edited")

    def test_a_line_that_was_added(self, exp, log):
        """A line that somebody wrote into the log is not covered by the seal."""
        change(log, lambda lines: lines.insert(4, lines[4].replace(b'"seq":', b'"seq":9')))

        assert verify(exp).verdict == "edited"

    def test_meta(self, exp):
        """An edit of meta.json shows: both IDs are told."""
        recorded = verify(exp).id
        edit_meta(exp, lambda text: text.replace("0.1", "0.2"))

        report = verify(exp)

        assert report.verdict == "edited"
        assert report.id is not None
        assert report.id in said(report, "edited")
        assert recorded in said(report, "edited")

    def test_meta_that_is_not_json(self, exp):
        """A meta.json that cannot be read is told with the reason."""
        edit_meta(exp, lambda text: text[:-5])

        assert "meta.json is not JSON" in said(verify(exp), "edited")

    def test_a_seal_in_another_stream(self, exp, log):
        """A seal that stands in another file than its own proves nothing there."""
        change(log, lambda lines: lines.__setitem__(-2, lines[-2].replace(b'"stream":"log"', b'"stream":"val"')))

        assert "is one of the stream 'val'" in said(verify(exp), "edited")


def edit_meta(exp: Path, edit: Callable[[str], str]) -> None:
    path = exp / "meta.json"
    path.chmod(0o644)
    path.write_text(edit(path.read_text()))


class TestMissing:
    def test_a_line_in_the_middle(self, exp, log):
        """A line that was removed is named by its run and number."""
        before = change(log, lambda lines: lines.pop(3))
        lost = json.loads(before[3])

        report = verify(exp)

        assert report.verdict == "missing"
        assert f"no stream holds event {lost['seq']} of run {lost['run']}:" in said(report, "missing")

    def test_a_whole_stream(self, exp):
        """A stream whose file was removed is missed, though nothing else names it."""
        (exp / "val.log.jsonl").unlink()

        assert verify(exp).verdict == "missing"

    def test_a_seal(self, exp, log):
        """A seal that was removed is missed: the writer numbers what it says, too."""
        before = change(log, lambda lines: lines.pop(number_of(lines, b'"type":"seal"')))
        seal = json.loads(before[number_of(before, b'"type":"seal"')])

        report = verify(exp)

        assert report.verdict == "missing"
        assert f"event {seal['seq']} of run {seal['run']}" in said(report, "missing")
        assert "no seal covers the lines" in said(report, "unproven")

    def test_an_earlier_seal(self, tmp_path):
        """A later seal of the same run names the one before it."""
        journal, line = by_hand(tmp_path)
        journal.append("r1", "log", [line(1, RunStarted(meta_of(tmp_path))), line(2, None)])
        journal.seal("r1")
        journal.close()
        later = Journal(tmp_path)
        later.append("r1", "log", [])
        later.close()
        path = tmp_path / "log.jsonl"
        sealed = json.loads(path.read_bytes().splitlines()[2])
        sealed["seq"], sealed["data"]["previous"] = 3, "ab" * 32
        path.write_bytes(path.read_bytes() + json.dumps(sealed).encode() + b"\n")

        assert "a seal was changed" in said(verify(tmp_path), "edited")

    def test_meta(self, exp):
        """A meta.json that is gone is missing; the log can be judged all the same."""
        (exp / "meta.json").unlink()

        report = verify(exp)

        assert (report.verdict, report.id) == ("missing", None)
        assert [finding.file for finding in faults(report)] == ["meta.json"]


class TestTruncated:
    def test_the_last_line(self, exp, log):
        """A last line that was removed is missed, for a writer leaves a seal as its last line."""
        change(log, lambda lines: lines.pop())

        report = verify(exp)

        assert report.verdict == "truncated"
        assert f"log.jsonl ends at byte {log.stat().st_size} without the seal" in said(report, "truncated")

    @pytest.mark.parametrize("stream", ["log.jsonl", "val.log.jsonl"])
    def test_every_byte_of_the_last_two_lines(self, exp, stream):
        """Wherever within its last two lines a file is cut, it is told to be cut."""
        path = exp / stream
        text = path.read_bytes()
        begin = text.rindex(b"\n", 0, text.rindex(b"\n", 0, -1)) + 1
        for size in range(len(text) - 1, begin - 1, -1):
            os.truncate(path, size)

            assert verify(exp).verdict == "truncated", size

    def test_half_a_line(self, exp, log):
        """Half a line at the end is told with the byte at which it begins."""
        text = log.read_bytes()
        log.write_bytes(text[:-10])
        begin = text.rindex(b"\n", 0, -1) + 1

        [finding] = [finding for finding in verify(exp).findings if finding.file == "log.jsonl"]

        assert (finding.verdict, finding.start, finding.end) == ("truncated", begin, len(text) - 10)
        assert f"begins at byte {begin}" in finding.text

    def test_cut_in_the_middle(self, exp, log):
        """A file of which half is gone is cut off, and the events that may have stood there are named."""
        log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:4]))

        report = verify(exp)

        assert report.verdict == "truncated"
        assert "what was cut off may have held them" in said(report, "truncated")


class TestUnproven:
    def test_a_run_that_goes_on(self, tmp_path):
        """While an experiment is written nothing can be said against it, and not all is proven."""
        exp = mlv.Exp(tmp_path, "exp", capture=())
        exp.log({"loss": 1})
        exp.flush()

        report = verify(exp.path)

        assert report.verdict == "unproven"
        assert "it is still going on" in said(report, "unproven")
        exp.close()
        assert verify(exp.path).verdict == "intact"

    def test_never_wrong_about_a_run_that_goes_on(self, tmp_path):
        """However often and whenever one looks while events flow into two streams, nothing seems to be lost."""
        script = """
            import sys, time, mlv
            exp = mlv.Exp(sys.argv[1], "exp", capture=())
            val = exp.logger("val")
            print("ready", flush=True)
            end = time.monotonic() + 1
            step = 0
            while time.monotonic() < end:
                step += 1
                exp.log({"loss": 1}, step=step)
                val({"acc": 1}, step=step)
                if step % 500 == 0:
                    time.sleep(0.01)
            exp.close()
        """
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        process.stdout.readline()
        verdicts = set()
        while process.poll() is None:
            report = verify(tmp_path / "exp")
            verdicts.add(report.verdict)
            assert report.verdict in ("unproven", "intact"), report.findings
        process.stdout.close()

        assert "unproven" in verdicts
        assert verify(tmp_path / "exp").findings == ()

    def test_killed_and_recovered(self, tmp_path, python):
        """What killed processes left is unproven, with the command that finishes it; then it is intact."""
        killed = python(
            """
            import os, signal, sys, mlv
            from mlv.transport.spool import find, rings_in
            from mlv.store.owners import Owner
            exp = mlv.Exp(sys.argv[1], "exp", capture=())
            exp.log({"loss": 1})
            exp.flush()
            [ring] = [ring for place in find(exp.path, Owner.current()) for ring in rings_in(place)]
            header = ring.read_bytes()[:4096]
            from mlv.transport import frames
            pid = int.from_bytes(header[frames.W_WRITER_PID * 8:][:8], "little")
            os.kill(pid, signal.SIGKILL)
            exp.log({"loss": 2})
            os.kill(os.getpid(), signal.SIGKILL)
            """,
            tmp_path,
        )
        assert killed.returncode == -signal.SIGKILL

        report = verify(tmp_path / "exp")
        assert report.verdict == "unproven"
        assert f"`mlv recover {tmp_path / 'exp'}` finishes it" in said(report, "unproven")

        assert recovery.recover(tmp_path / "exp")
        assert verify(tmp_path / "exp").findings == ()

    def test_half_a_copy_of_a_running_log(self, tmp_path):
        """A log that was copied while it was written is not called cut off: nothing says that it was longer."""
        exp = mlv.Exp(tmp_path, "exp", capture=())
        exp.log({"loss": 1})
        exp.flush()
        copy = Path(shutil.copytree(exp.path, tmp_path / "copy", ignore=shutil.ignore_patterns(".mlv")))
        exp.close()

        assert verify(copy).verdict == "unproven"

    def test_a_writer_at_work(self, exp):
        """A claim of a living process says that lines may still come."""
        claims = exp / ".mlv" / "claims"
        (claims / "log.json").write_text(json.dumps({"run": "rother", **Owner.current().to_data()}))

        report = verify(exp)

        assert report.verdict == "unproven"
        assert f"process {os.getpid()} on" in said(report, "unproven")
        assert "may still write into log.jsonl" in said(report, "unproven")

    def test_no_run_at_all(self, tmp_path):
        """Without a run nothing vouches for meta.json."""
        by_hand(tmp_path)

        report = verify(tmp_path)

        assert report.verdict == "unproven"
        assert "no run recorded the ID" in said(report, "unproven")

    def test_a_later_format(self, exp):
        """A format that this version does not know is not judged."""
        edit_meta(exp, lambda text: text.replace('"format": 1', '"format": 2'))

        assert "this version judges format 1" in said(verify(exp), "unproven")


class TestAttachments:
    def test_all_there(self, attached):
        """Files that are as they were recorded are counted."""
        report = verify(attached)

        assert (report.verdict, report.attachments) == ("intact", 2)

    @pytest.mark.parametrize("name", ["files/git.diff", "files/a.bin"])
    @pytest.mark.parametrize(
        ("tamper", "verdict"),
        [
            (lambda path: path.write_bytes(b"another text, longer"), "edited"),
            (lambda path: path.write_bytes(path.read_bytes().upper()), "edited"),
            (lambda path: os.truncate(path, 3), "truncated"),
            (lambda path: path.unlink(), "missing"),
        ],
        ids=["longer", "changed", "shorter", "removed"],
    )
    def test_tampered_with(self, attached, name, tamper, verdict):
        """A file that the experiment refers to is proven by its SHA-256."""
        tamper(attached / name)

        report = verify(attached)

        assert report.verdict == verdict
        assert [finding.file for finding in faults(report)] == [name]

    def test_superseded(self, logged):
        """A file that was published again is compared with what was published last; that it was is a note."""
        logged("file", "files/a.bin", b"again")

        report = verify(logged.folder)

        assert (report.verdict, report.attachments) == ("intact", 2)
        assert said(report, "intact") == "files/a.bin was published 2 times; the latest is there"

    def test_an_earlier_content(self, logged):
        """A file that holds what was superseded was put back: the report says when each was published."""
        logged("file", "files/a.bin", b"again")
        (logged.folder / "files" / "a.bin").write_bytes(b"content")

        report = verify(logged.folder)

        assert report.verdict == "edited"
        [text] = [finding.text for finding in faults(report)]
        assert text.startswith(
            "files/a.bin holds the content published at 2001-09-09T01:46:40.000000Z (event 2 of run r1), which"
        )
        assert "(event 2 of run r2) superseded" in text

    @pytest.mark.parametrize("type", ["image", "figure", "table", "array", "video"])
    @pytest.mark.parametrize("place", [lambda r: {"file": r}, lambda r: {"files": [r]}, lambda r: {"masks": {"cat": r}}])
    def test_media(self, logged, type, place):
        """Files of media events have to be there, wherever in the data they stand."""
        logged(type, "files/m.bin", b"media", place)
        assert faults(verify(logged.folder)) == []

        (logged.folder / "files" / "m.bin").unlink()

        assert said(verify(logged.folder), "missing").startswith("files/m.bin cannot be read: No such file")

    def test_what_a_user_refers_to(self, logged):
        """What events of the user's own refer to is no part of the experiment; outside, it is noted where media refer to it."""
        outside = logged.folder.parent / "outside.bin"
        outside.write_bytes(b"x")
        ref = mlv.FileRef(outside)
        logged("event", "files/e.bin", b"event")
        logged(
            "image", "files/m.bin", b"media", lambda found: {"file": found, "source": dict(ref.__mlv_reference__())}, run="r3"
        )
        outside.unlink()
        (logged.folder / "files" / "e.bin").unlink()

        report = verify(logged.folder)

        assert (report.verdict, report.attachments) == ("intact", 4)
        assert said(report, "intact") == f"{outside}, outside the experiment, is not there any more"

    @pytest.mark.parametrize("change", ["added", "removed", "edited"])
    def test_a_folder(self, logged, change):
        """A folder is proven by its manifest; the report names the folder."""
        folder = logged.folder / "files" / "table"
        (folder / "inner").mkdir(parents=True)
        (folder / "inner" / "a.csv").write_bytes(b"1,2")
        logged("file", "files/table")
        assert faults(verify(logged.folder)) == []

        if change == "added":
            (folder / "b.csv").write_bytes(b"")
        elif change == "removed":
            (folder / "inner" / "a.csv").unlink()
        else:
            (folder / "inner" / "a.csv").write_bytes(b"2,1")

        [finding] = faults(verify(logged.folder))
        assert (finding.verdict, finding.file) == ("edited", "files/table")
        assert finding.text.startswith("the folder files/table was edited: the SHA-256 of the list of its files is ")

    @pytest.mark.parametrize(("now", "before"), [("file", "folder"), ("folder", "file")])
    def test_another_kind(self, logged, now, before):
        """A file in the place of a folder is no part of it that is left, and a folder is no file that was edited."""
        place = logged.folder / "files" / "model"
        make = {"file": lambda: place.write_bytes(b""), "folder": lambda: (place.mkdir(), (place / "w").write_bytes(b"w"))}
        media_type = "inode/directory" if before == "folder" else "application/octet-stream"
        make[before]()
        logged("file", "files/model", None, lambda found: {**found, "media_type": media_type})
        blobs.remove(place)
        make[now]()

        [finding] = faults(verify(logged.folder))

        assert (finding.verdict, finding.text) == (
            "edited", f"files/model is a {now}, and a {before} was recorded. Restore it from a copy",
        )  # fmt: skip

    def test_a_pending_hash(self, logged):
        """A file whose hash nobody recorded is not proven."""
        logged("file", "files/m.bin", b"media", lambda found: {**found, "sha256": None})

        assert said(verify(logged.folder), "unproven").startswith("no SHA-256 of files/m.bin was recorded")

    @pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(b"newer")], ids=["removed", "newer"])
    def test_while_lines_may_come(self, exp, change):
        """A file that was published or removed just now is no fault: the line that says so may be on its way."""
        with mlv.Exp.open(exp) as again:
            (exp / "a.bin").write_bytes(b"content")
            again.log._emit("file", "a.bin", Reference(reference(exp, "a.bin")), None)
            again.flush()
            change(exp / "a.bin")

            assert "verify again later" in said(verify(exp), "unproven")
            assert verify(exp).verdict == "unproven"

        assert verify(exp).verdict in ("missing", "truncated")

    @pytest.mark.parametrize("change", ["removed", "changed"])
    def test_the_checkpoint_it_began_from(self, tmp_path, change):
        """The checkpoint of another experiment is noted, and no fault."""
        (tmp_path / "model.npz").write_bytes(b"weights")
        sub = mlv.init_sub_exp(tmp_path / "model.npz", "squeeze")
        sub.close()
        assert verify(sub.path).findings == ()

        if change == "removed":
            (tmp_path / "model.npz").unlink()
        else:
            (tmp_path / "model.npz").write_bytes(b"others")

        report = verify(sub.path)
        assert (report.verdict, len(report.findings)) == ("intact", 1)
        assert str(tmp_path / "model.npz") in report.findings[0].text


class TestCheckpoints:
    PLACES = ("models/latest/1.npz", "models/top_k/1.npz")

    @pytest.fixture
    def saved(self, logged: Any) -> Any:
        """A checkpoint that was saved in two places, as links to one file."""
        first, second = (logged.folder / place for place in self.PLACES)
        first.parent.mkdir(parents=True)
        second.parent.mkdir(parents=True)
        first.write_bytes(b"weights")
        os.link(first, second)
        data = {"action": "saved", "save": 1, "folder": "models", "places": list(self.PLACES)}
        logged("checkpoint", self.PLACES[0], None, lambda file: {**data, "file": file})
        return logged

    def let_go(self, saved: Any, *places: str) -> None:
        data = {"action": "removed", "save": 1, "folder": "models", "places": list(places)}
        saved("checkpoint", self.PLACES[0], None, lambda _: data, run="r3")

    def test_every_place_is_there(self, saved):
        """What is kept has to be there, in every place."""
        assert (verify(saved.folder).findings, verify(saved.folder).attachments) == ((), 4)

        (saved.folder / self.PLACES[1]).unlink()

        assert said(verify(saved.folder), "missing").startswith("models/top_k/1.npz cannot be read")

    def test_one_that_was_let_go(self, saved):
        """What was removed by the policy is no damage."""
        self.let_go(saved, *self.PLACES)
        for place in self.PLACES:
            (saved.folder / place).unlink()

        assert (verify(saved.folder).findings, verify(saved.folder).attachments) == ((), 2)

    def test_one_place_that_was_let_go(self, saved):
        """The other places still have to be there."""
        self.let_go(saved, self.PLACES[0])
        for place in self.PLACES:
            (saved.folder / place).unlink()

        [finding] = faults(verify(saved.folder))
        assert (finding.verdict, finding.file) == ("missing", self.PLACES[1])

    def test_one_that_is_still_there(self, saved):
        """A file that outlived the event of its removal, as after a crash, is a note."""
        self.let_go(saved, *self.PLACES)
        (saved.folder / self.PLACES[1]).unlink()

        report = verify(saved.folder)

        assert report.verdict == "intact"
        assert said(report, "intact") == "models/latest/1.npz is still there, although the log says that it was removed"

    def test_an_edited_one(self, saved):
        """Links to one file are edited together."""
        (saved.folder / self.PLACES[0]).write_bytes(b"WEIGHTS")

        assert [finding.file for finding in faults(verify(saved.folder))] == list(self.PLACES)


class Logged:
    """Adds runs to the attached experiment, each with one event about a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self,
        type: str,
        path: str,
        content: bytes | None = None,
        data: Callable[[Any], Any] = lambda found: found,
        run: str = "r2",
    ) -> None:
        if content is not None:
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_bytes(content)
        place = self.folder / path
        found = dict(contents.reference(self.folder, place, contents.content_of(place)))
        started, ended = RunStarted(meta_of(self.folder)), RunEnded("ok")
        said = [(started.TYPE, started.to_data()), (type, data(found)), (ended.TYPE, ended.to_data())]
        journal, line, second = Journal(self.folder), Composer(run).line, int(run[1:])
        lines = [line(n, second * 10**18, head(type_, ""), DATA, 0, dumps(data_)) for n, (type_, data_) in enumerate(said, 1)]
        journal.append(run, "log", lines)
        journal.seal(run)
        journal.close()


@pytest.fixture
def attached(tmp_path: Path) -> Path:
    """An experiment whose meta.json and log refer to files of it, as captures and attachments do."""
    folder = tmp_path / "attached"
    folder.mkdir()
    journal, line = by_hand(folder)
    (folder / "files").mkdir()
    (folder / "files" / "git.diff").write_bytes(b"the diff")
    (folder / "files" / "a.bin").write_bytes(b"content")
    meta = {"format": 1, "name": "exp", "params": {}, "git": {"diff": {"file": reference(folder, "files/git.diff")}}}
    (folder / "meta.json").write_text(json.dumps(meta))
    compose = Composer("r1").line
    said = [head("file", "a"), DATA, 0, dumps(reference(folder, "files/a.bin"))]
    journal.append("r1", "log", [line(1, RunStarted(meta_of(folder))), compose(2, 10**18, *said), line(3, RunEnded("ok"))])
    journal.seal("r1")
    journal.close()
    return folder


@pytest.fixture
def logged(attached: Path) -> Logged:
    """What adds another run, with an event about a file, to the attached experiment."""
    return Logged(attached)


def reference(folder: Path, path: str) -> dict[str, object]:
    content = (folder / path).read_bytes()
    return {"_mlv": "file", "path": path, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}


def test_a_folder_that_is_no_experiment(tmp_path):
    """A folder with neither meta.json nor a log is refused."""
    with pytest.raises(NotAnExperiment, match="holds no experiment"):
        verify(tmp_path)


def test_the_worst_comes_first(exp, log):
    """Findings come in the order of their verdicts, and the worst is the verdict of all."""
    change(log, lambda lines: lines.__setitem__(2, lines[2].replace(b"0.5", b"0.4")))
    (exp / "val.log.jsonl").unlink()

    report = verify(exp)

    ranks = [VERDICTS.index(finding.verdict) for finding in report.findings]
    assert ranks == sorted(ranks, reverse=True)
    assert report.verdict == report.findings[0].verdict == "edited"
    assert {"edited", "missing"} <= {finding.verdict for finding in report.findings}


def test_many_bad_lines_are_counted(tmp_path):
    """A file full of rubbish gives a report that can be read."""
    by_hand(tmp_path)
    (tmp_path / "log.jsonl").write_bytes(b"rubbish\n" * 1000)

    report = verify(tmp_path)

    assert report.verdict == "edited"
    assert len(report.findings) < 30
    assert "980 more lines are no events of format 1" in said(report, "edited")


def test_report_as_json(exp, log):
    """A report is plain data, too."""
    change(log, lambda lines: lines.pop(3))

    data = json.loads(json.dumps(verify(exp).to_data()))

    assert data["verdict"] == "missing"
    assert {"verdict", "text", "file", "start", "end"} == set().union(*(finding for finding in data["findings"]))
