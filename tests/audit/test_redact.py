"""What `mlv redact` promises: what leaked is gone from the disk, the rest can still be proven, and the log says who did it."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from contracts import evidence
from dying import is_done

import mlv
from mlv.audit.merge import merge
from mlv.audit.redact import Redaction, redact
from mlv.audit.verify import verify
from mlv.cli.index import Index, IndexLimits
from mlv.cli.row import Row
from mlv.errors import ExperimentBusy, InvalidArgument, InvalidPattern, NotAnExperiment
from mlv.optional import is_installed
from mlv.store import layout
from mlv.store.claims import Claim
from mlv.store.owners import Owner, process_start
from mlv.transport.journal import Journal
from mlv.web import index, saved

pytestmark = pytest.mark.usefixtures("inline")

SECRET = "hunter2xyz"


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep caches of the test to itself."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))


@pytest.fixture
def exp(tmp_path: Path) -> Path:
    """An experiment that is full of a secret, and was closed."""
    return made(tmp_path / "runs")


def made(root: Path, **params: Any) -> Path:
    exp = mlv.Exp(root, "exp", {"lr": 0.1, **params}, capture=())
    exp.log({"loss": 0.5}, step=1)
    exp.log.info("connecting with %s", SECRET)
    exp.log("config", {"deep": [{"text": f'"{SECRET}"\n'}], SECRET: 1, "raw": SECRET.encode()})
    exp.logger("val")({"acc": 0.5, f"of {SECRET}": 1})
    exp.add_note(f"it is {SECRET}")
    with exp.file("conf.txt", "w") as file:
        file.write(f"user=me\npassword={SECRET}\n")
    with exp.file("blob.bin", "wb") as file:
        file.write(b"\0\1" + SECRET.encode())
    with exp.filepath("folder") as path:
        path.mkdir()
        (path / "a.txt").write_text(SECRET)
        (path / "b.txt").write_text("clean")
    exp.close()
    return exp.path


def redacted(folder: Path, *patterns: str, **options: Any) -> Redaction:
    """Redact an experiment that has none below it."""
    [done] = redact(folder, patterns or [SECRET], **options)
    return done


def is_sound(folder: Path) -> bool:
    """Whether nothing is wrong, and nothing unproven but what lines kept out of which something was taken."""
    return all(
        finding.verdict == "intact" or (finding.verdict == "unproven" and "only who redacted them vouches" in finding.text)
        for finding in verify(folder).findings
    )


def holders(root: Path, text: str = SECRET) -> list[str]:
    """The files below a folder that hold a text."""
    return [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def notices(folder: Path) -> list[dict[str, Any]]:
    """The events that say what was redacted."""
    return [event["data"] for event in evidence.events(folder) if event["type"] == "redacted" and "data" in event]


class TestGone:
    def test_from_everything(self, exp, tmp_path):
        """No file of the experiment holds it, what is left of log and files is as it was, and all of it is proven."""
        redacted(exp, reason="leaked")

        assert holders(tmp_path) == []
        assert is_sound(exp)
        assert (exp / "files" / "conf.txt").read_text() == "user=me\npassword=<redacted>\n"
        assert (exp / "files" / "folder" / "a.txt").read_text() == "<redacted>"
        assert not (exp / "files" / "blob.bin").exists()

    def test_from_outputs(self, tmp_path):
        """Outputs that lie in the experiment go whole, as what they hold may be packed; the next run builds them again."""
        outputs = ["csv", *(["parquet"] if is_installed("pyarrow") and is_installed("pandas") else [])]
        with mlv.Exp(tmp_path / "runs", "kept", outputs=outputs, capture=()) as kept:
            kept.log({"word": SECRET, "loss": 0.5}, step=1)
            kept.attach(Path(__file__), "files.txt")
        redacted(kept.path)

        assert not any((kept.path / output).exists() for output in outputs)
        assert is_sound(kept.path)
        with mlv.Exp.open(kept.path, outputs=outputs) as again:
            again.log({"loss": 0.25}, step=2)
        assert holders(tmp_path / "runs") == []
        assert (kept.path / "csv" / "log.csv").read_text().count("loss") == 1

    def test_from_what_outputs_said(self, exp, tmp_path):
        """What the process of an output left on stderr is searched as well."""
        said = exp / ".mlv" / "outputs" / "mine.err"
        said.parent.mkdir(parents=True)
        said.write_text(f"ValueError: {SECRET}")
        redacted(exp)

        assert holders(tmp_path) == []

    def test_who_and_why(self, exp):
        """An event says who did it, why, and what: lines, files."""
        redacted(exp, reason="leaked")

        [notice] = notices(exp)
        assert notice["reason"] == "leaked"
        assert "@" in notice["who"]
        assert len(notice["lines"]) == 4
        assert {file["path"]: "now" in file for file in notice["files"]} == {
            "files/conf.txt": True, "files/blob.bin": False, "files/folder": True
        }  # fmt: skip

    def test_lines_keep_their_names(self, exp):
        """Run, number and time of every event stay; nothing is missing, and readers pass over what was redacted."""
        before = [(event["run"], event["seq"], event["time"]) for event in evidence.events(exp)]

        redacted(exp)

        after = [(event["run"], event["seq"], event["time"]) for event in evidence.events(exp)]
        assert set(before) < set(after)
        again = mlv.Exp.open(exp)
        assert [event.data for event in again.events("metrics")] == [{"loss": 0.5}]
        assert [run.status for run in again.runs] == ["ok"]
        assert next(iter(again.events("note"))).data == {"text": "it is <redacted>"}

    def test_the_name_of_a_file(self, tmp_path):
        """The file is removed, and the event that tells so masks its name, too."""
        with mlv.Exp(tmp_path, "exp", capture=()) as exp, exp.file(f"of-{SECRET}.txt", "w") as file:
            file.write("clean")

        redacted(exp.path)

        assert SECRET not in (exp.path / "log.jsonl").read_text()
        assert list((exp.path / "files").glob("*")) == []

    def test_what_others_rest_on(self, tmp_path):
        """A run keeps its start and its end, though its exception told the secret."""
        with pytest.raises(ValueError, match=SECRET), mlv.Exp(tmp_path / "runs", "exp", capture=()) as exp:
            raise ValueError(SECRET)

        redacted(exp.path)

        [run] = mlv.Exp.open(exp.path).runs
        assert run.status == "failed"
        assert run.exception["message"] == "<redacted>"
        assert is_sound(exp.path)
        assert verify(exp.path).verdict == "unproven"  # whether it failed at all: nothing proves the rest of that line

    def test_numbers(self, tmp_path):
        """A number becomes null where its line has to stay, so that what counts on numbers goes on."""
        exp = mlv.Exp(tmp_path, "exp", {"pin": 41127}, capture=())
        portfolio = exp.checkpoints(top=2, metric="loss", mode="min")
        for step, loss in enumerate([0.41127, 2.5]):
            portfolio.save(lambda path: path.write_text("w"), step=step, metrics={"loss": loss})
        exp.close()

        redacted(exp.path, "41127")

        again = mlv.Exp.open(exp.path)
        assert again.params["pin"] is None
        assert again.latest.step == 1
        assert again.best.step == 1
        assert is_sound(exp.path)

    def test_history_and_caches(self, exp, tmp_path):
        """What readers kept of the log is gone, and made anew without it."""
        pytest.importorskip("pandas")
        pytest.importorskip("pyarrow")
        for place in (exp / ".mlv" / "cache", tmp_path / "caches" / "mlv" / layout.exp_id(exp)):
            place.mkdir(parents=True)
            (place / "log.arrow").write_bytes(SECRET.encode())
        (exp / ".mlv" / "torn").mkdir()
        (exp / ".mlv" / "torn" / "log.jsonl.7").write_text(f'{{"half": "{SECRET}')

        redacted(exp)

        assert holders(tmp_path) == []
        assert mlv.Exp.open(exp).history()["loss"].dropna().tolist() == [0.5]

    def test_lists_of_experiments(self, tmp_path, monkeypatch):
        """What `mlv ls` and a page have saved of a whole folder is gone, also where meta.json alone holds the secret."""
        monkeypatch.setattr(saved, "WORTH", 1)
        monkeypatch.setattr(index, "SETTLED_NS", -10_000_000_000)
        with mlv.Exp(tmp_path / "runs", "exp", {"door": SECRET}, capture=()) as exp:
            exp.log({"loss": 0.5}, step=1)
        index.PageIndex(tmp_path / "runs").refresh()
        row = Row(*[None] * len(Row._fields))._replace(status="ok")
        listed = Index(tmp_path / "runs", lambda *_: row, IndexLimits(1, -(10**12)))
        assert list(listed.rows())
        listed.save("table", f"exp  ok  {SECRET}=1")
        assert len([path for path in holders(tmp_path) if path.startswith("caches")]) == 2

        redacted(exp.path)

        assert holders(tmp_path) == []

    def test_what_a_killed_process_left(self, exp, tmp_path):
        """Files that were never finished are looked at as well."""
        (exp / "files" / ".tmp-a-b-c-1-2-ff.txt").write_text(SECRET)

        redacted(exp)

        assert holders(tmp_path) == []

    @pytest.mark.parametrize("end", ["within the line", "within its text", "before its newline"])
    def test_a_log_that_was_cut_off(self, exp, tmp_path, end):
        """B14: half a line at the end is set aside before anything is looked at, so that it is looked at as well."""
        log = exp / "log.jsonl"
        content = log.read_bytes()
        start = content.index(b"connecting with")
        stop = {"within the line": start + 40, "within its text": start + 22, "before its newline": content.index(b"\n", start)}
        log.write_bytes(content[: stop[end]])
        shutil.rmtree(exp / ".mlv")

        redacted(exp, r"hunter2\w*")

        assert holders(tmp_path, "hunter2") == []
        assert "looks redacted" not in " ".join(finding.text for finding in verify(exp).findings)
        assert any("who" in event.get("data", {}) for event in evidence.events(exp) if event["type"] == "redacted")

    def test_a_file_that_changes_meanwhile(self, exp, monkeypatch):
        """B14: a file that is another one than was looked at is left as it is, and redacting again finishes."""
        sync = Journal.sync

        def sync_and_change(journal: Journal) -> None:  # the last call before the first file is replaced
            sync(journal)
            (exp / "files" / "conf.txt").chmod(0o644)
            (exp / "files" / "conf.txt").write_text(f"newer, with {SECRET}")

        monkeypatch.setattr(Journal, "sync", sync_and_change)
        with pytest.raises(ExperimentBusy, match="was changed while"):
            redacted(exp)
        assert (exp / "files" / "conf.txt").read_text() == f"newer, with {SECRET}"

        monkeypatch.undo()
        redacted(exp)
        assert (exp / "files" / "conf.txt").read_text() == "newer, with <redacted>"

    def test_links(self, exp, tmp_path):
        """A symbolic link is not followed: nothing of what it leads to comes into the experiment, or is changed."""
        (tmp_path / "mine.txt").write_text(f"{SECRET} and more")
        (exp / "files" / "link.txt").symlink_to(tmp_path / "mine.txt")

        found = redacted(exp)

        assert (tmp_path / "mine.txt").read_text() == f"{SECRET} and more"
        assert os.readlink(exp / "files" / "link.txt") == str(tmp_path / "mine.txt")
        assert found.unread == {"files/link.txt": "a symbolic link"}

    def test_superseded_files(self, exp, tmp_path):
        """What a merge kept aside is looked at."""
        (exp / ".mlv" / "superseded" / "files").mkdir(parents=True)
        (exp / ".mlv" / "superseded" / "files" / "a.txt").write_text(SECRET)

        redacted(exp)

        assert holders(tmp_path) == []

    def test_names_that_stay(self, tmp_path):
        """S10: names of streams and kinds that hold it are told, masked."""
        exp = mlv.Exp(tmp_path / "runs", "exp", capture=())
        exp.logger(f"val-{SECRET}")({"acc": 1})
        (exp.path / "model.bin").write_bytes(b"weights")
        mlv.init_sub_exp(exp.path / "model.bin", f"kind-{SECRET}").close()
        exp.close()

        found = next(redact(exp.path, [SECRET]))

        assert found.names == ["val-<redacted>.log.jsonl", "kind-<redacted>"]
        assert SECRET not in json.dumps(found.to_data())

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (gzip.compress(b"text", mtime=0), "gzip"), ("text of some words".encode("utf-16"), "UTF-16"),
            ("text of some words".encode("utf-16-le"), "UTF-16"), (b"PK\3\4rest", "zip"),
        ],
    )  # fmt: skip
    def test_what_is_not_looked_into(self, exp, content, why):
        """S10: files in which bytes do not stand as they were written are told."""
        (exp / "files" / "packed.bin").write_bytes(content)

        assert redacted(exp).unread == {"files/packed.bin": why}

    @pytest.mark.usefixtures("ring")
    def test_what_waits_in_a_spool(self, tmp_path, python, spool):
        """Events that a killed writer left come into the log first, and are redacted with the rest."""
        python(
            f"""
            import os, signal, mlv
            from mlv.store.owners import Owner
            from mlv.transport import frames, spool
            exp = mlv.Exp("runs", "exp", capture=())
            exp.log("first", 1)
            exp.flush()
            [ring] = [ring for place in spool.find(exp.path, Owner.current()) for ring in spool.rings_in(place)]
            writer = int.from_bytes(ring.read_bytes()[frames.W_WRITER_PID * 8 :][:8], "little")
            assert writer  # 0, where it is not there yet, would stop pytest as well
            os.kill(writer, signal.SIGSTOP)
            exp.log("token", "{SECRET}")
            os.kill(writer, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
            """
        )
        assert holders(spool) != []

        redacted(tmp_path / "runs" / "exp")

        assert holders(tmp_path / "runs") == holders(spool) == []
        assert is_sound(tmp_path / "runs" / "exp")

    def test_experiments_below(self, exp, tmp_path):
        """Sub-experiments are redacted with their parent."""
        (exp / "model.bin").write_bytes(b"w")
        with mlv.init_sub_exp(exp / "model.bin", "squeeze", params={"token_of": SECRET}) as sub:
            sub.log("secret", SECRET)

        assert [done.folder for done in redact(exp, [SECRET])] == [exp, sub.path]

        assert holders(tmp_path) == []
        assert is_sound(sub.path)

    def test_other_files(self, exp):
        """A script's own files lose it as well, without becoming attachments."""
        (exp / "own.txt").write_text(SECRET)

        redacted(exp)
        (exp / "own.txt").write_text("other")

        assert is_sound(exp)


class TestMeta:
    def test_the_id_changes(self, tmp_path):
        """The record holds the old ID and the new one; everything that names the old one is still right."""
        exp = made(tmp_path / "runs", dsn=SECRET)
        (exp / "model.bin").write_bytes(b"w")
        mlv.init_sub_exp(exp / "model.bin", "squeeze").close()
        old = layout.exp_id(exp)

        list(redact(exp, [SECRET]))

        new = layout.exp_id(exp)
        assert notices(exp)[-1]["meta"] == {"old": old, "new": new}
        assert is_sound(exp)
        again = mlv.Exp.open(exp)
        assert again.params["dsn"] == "<redacted>"
        [sub] = again.sub_exps
        assert sub.parent.id == new

    def test_going_on(self, tmp_path):
        """It can be written into, and redacted again; later runs repeat the new ID."""
        exp = made(tmp_path / "runs", dsn=SECRET, user="somebody")
        redacted(exp)
        with mlv.Exp.open(exp) as again:
            again.log({"loss": 1})
        redacted(exp, "somebody")

        with mlv.Exp.open(exp) as again:
            again.log({"loss": 1})

        assert is_sound(exp)

    def test_an_edit_is_an_edit(self, tmp_path):
        """A meta.json that was edited after it was redacted is found out."""
        exp = made(tmp_path / "runs", dsn=SECRET)
        redacted(exp)
        (exp / "meta.json").chmod(0o644)
        (exp / "meta.json").write_bytes((exp / "meta.json").read_bytes() + b"\n")

        assert verify(exp).verdict == "edited"

    def test_merging_finds_it(self, tmp_path):
        """A copy from before is still the same experiment; what was redacted does not come back."""
        exp = made(tmp_path / "runs", dsn=SECRET)
        shutil.copytree(tmp_path / "runs", tmp_path / "copy")
        redacted(exp)

        [done] = merge(tmp_path / "copy", tmp_path / "runs")

        assert (done.is_changed, done.differences) == (False, [])
        assert any("redact it too" in note for note in done.notes)
        assert holders(tmp_path / "runs") == []

    def test_merging_tells_of_it(self, tmp_path):
        """A copy that gets the record, and still holds what leaked, is told so, and can be redacted in its turn."""
        exp = made(tmp_path / "runs", dsn=SECRET)
        shutil.copytree(tmp_path / "runs", tmp_path / "copy")
        redacted(exp)

        [done] = merge(tmp_path / "runs", tmp_path / "copy")

        assert any("was redacted there, and ours was not" in text for text in done.differences)
        assert verify(tmp_path / "copy" / "exp").verdict == "unproven"
        redacted(tmp_path / "copy" / "exp")
        assert holders(tmp_path / "copy") == []
        assert is_sound(tmp_path / "copy" / "exp")


class TestProof:
    def test_what_is_left_is_proven(self, exp):
        """Another line that is changed afterwards is found out as before."""
        redacted(exp)
        log = exp / "log.jsonl"
        log.write_bytes(log.read_bytes().replace(b'"loss":0.5', b'"loss":0.4'))

        assert verify(exp).verdict == "edited"

    @pytest.mark.parametrize(
        ("old", "new"),
        [(b"it is <redacted>", b"it is nothing "), (b'"type":"message"}', b'"type":"metrics"}')],
        ids=["kept", "hash"],
    )
    def test_what_stands_there_instead(self, exp, old, new):
        """A line that stands for one that was redacted cannot be changed either."""
        redacted(exp)
        log = exp / "log.jsonl"
        assert old in log.read_bytes()
        log.write_bytes(log.read_bytes().replace(old, new))

        assert verify(exp).verdict == "edited"

    def test_a_forged_one(self, exp):
        """A line replaced by its hash without an event that tells of it is tampering."""
        log = exp / "log.jsonl"
        lines = log.read_bytes().splitlines(keepends=True)
        number = next(number for number, line in enumerate(lines) if b'"metrics"' in line)
        fields = json.loads(lines[number])
        import hashlib

        proof = {"sha256": hashlib.sha256(lines[number]).hexdigest(), "type": "metrics"}
        content = {name: fields[name] for name in ("run", "seq", "time")} | {"redacted": proof, "type": "redacted"}
        lines[number] = json.dumps(content, separators=(",", ":")).encode() + b"\n"
        log.write_bytes(b"".join(lines))

        report = verify(exp)

        assert report.verdict == "edited"
        assert "no `redacted` event tells of it" in report.findings[0].text

    def test_forgotten(self, exp):
        """With `forget` no hash of the lines is left, and they are unproven, not broken."""
        redacted(exp, forget=True)

        assert verify(exp).verdict == "unproven"
        assert all("sha256" not in event["redacted"] for event in evidence.events(exp) if "redacted" in event)

    def test_seals_go_on(self, exp):
        """What is logged after a redaction is proven, with or without hashes."""
        redacted(exp, forget=True)
        before = len([finding for finding in verify(exp).findings if finding.verdict == "unproven"])
        with mlv.Exp.open(exp) as again:
            again.log({"loss": 1})

        assert len([finding for finding in verify(exp).findings if finding.verdict == "unproven"]) == before

    def test_many_lines(self, tmp_path):
        """Thousands of lines are told of in events of bounded size."""
        with mlv.Exp(tmp_path, "exp", capture=()) as exp:
            for number in range(2500):
                exp.log("secret", SECRET, step=number)

        redacted(exp.path)

        assert [len(notice["lines"]) for notice in notices(exp.path)] == [1000, 1000, 500]
        assert is_sound(exp.path)


class TestRefused:
    @pytest.mark.usefixtures("ring")
    def test_a_run_goes_on(self, tmp_path):
        """While a run goes on nothing is done, and the text says who writes."""
        exp = mlv.Exp(tmp_path, "exp", capture=())
        exp.log("secret", SECRET)
        exp.flush()
        before = (exp.path / "log.jsonl").read_bytes()

        with pytest.raises(ExperimentBusy, match=r"process \d+ on .* writes into .*log.jsonl: redact"):
            redacted(exp.path)

        assert (exp.path / "log.jsonl").read_bytes() == before
        exp.close()
        redacted(exp.path)
        assert is_sound(exp.path)

    @pytest.mark.parametrize("pattern", ["", "x*", "(", "(?a)\\"])
    def test_patterns(self, exp, pattern):
        """A pattern that is none, or matches where nothing is, is refused, and not repeated."""
        with pytest.raises(InvalidPattern) as caught:
            redacted(exp, "secret", pattern)
        assert "secret" not in str(caught.value)

    def test_a_reason_that_tells(self, exp):
        """A reason must not hold the secret, and the error does not repeat it."""
        with pytest.raises(InvalidArgument, match="word it otherwise") as caught:
            redacted(exp, reason=f"it was {SECRET}")
        assert SECRET not in str(caught.value)

    def test_no_experiment(self, tmp_path):
        """A folder without an experiment is a mistake."""
        with pytest.raises(NotAnExperiment):
            redacted(tmp_path)

    def test_only_looked(self, exp, tmp_path):
        """A dry run changes nothing, and says what would go."""
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

        planned = redacted(exp, dry_run=True)

        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
        assert planned.to_data() == redacted(exp).to_data()

    def test_nothing_to_do(self, exp):
        """Where nothing matches nothing is written."""
        redacted(exp)
        before = {path: path.read_bytes() for path in exp.rglob("*") if path.is_file()}

        assert redacted(exp).is_empty
        assert {path: path.read_bytes() for path in exp.rglob("*") if path.is_file()} == before


CODE = f"""
    from mlv.audit.redact import redact

    list(redact(Path(sys.argv[2]), [{SECRET!r}]))
"""
CALLS = ("link", "replace", "fsync", "unlink", "chmod", "mkdir")


def test_killed(tmp_path):
    """Killed at any moment it leaves nothing that looks like tampering; done again it ends as if it had not been killed."""
    original = made(tmp_path / "original", dsn=SECRET)
    for moment in range(1, 100, 3):
        exp = Path(shutil.copytree(original, tmp_path / f"copy{moment}" / "exp"))
        is_over = is_done(CODE, [exp], moment, CALLS)
        found = verify(exp)
        assert found.verdict in ("intact", "unproven"), found.findings

        redacted(exp)

        assert holders(exp) == []
        assert is_sound(exp)
        if is_over:
            return
    raise AssertionError("it never came to its end")


def test_forged_claim(tmp_path):
    """U8: where a claim names a process that lives for ever, and writes nothing, both commands name the file that has to go."""
    with mlv.Exp(tmp_path, "exp", capture=()) as exp:
        exp.log.info(SECRET)
    claim = exp.path / ".mlv" / "claims" / "log.json"
    claim.write_bytes(Claim(Owner.current().replace(pid=1, start=process_start(1) or ""), "rforged000").to_bytes())
    with pytest.raises(mlv.ExperimentBusy, match="where no such process does, remove ") as caught:
        redacted(exp.path)
    report = verify(exp.path)
    assert report.verdict == "unproven"
    assert any(f"remove {claim}" in finding.text for finding in report.findings)
    assert str(caught.value).endswith(str(claim))

    claim.unlink()
    redacted(exp.path)
    assert verify(exp.path).verdict == "intact"


def test_credentials_in_the_reason(tmp_path):
    """S10: the reason is written as any other text: without what looks like a credential, or what the experiment looks for."""
    with mlv.Exp(tmp_path, "exp", redact=[r"corp-\w+"], capture=()) as exp:
        exp.log.info(SECRET)
    token = "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8"
    redacted(exp.path, reason=f"{token} of corp-EEE leaked beside it")

    [said] = [event for event in mlv.Exp.open(exp.path).events("redacted") if event.data]
    assert said.data["reason"] == "<redacted> of <redacted> leaked beside it"
    assert not holders(exp.path, token)
