"""Shipping one experiment: the bucket holds whole lines of the log, whatever fails and whoever is killed."""

import errno
import gzip
import json
import os
import shutil
from contextlib import suppress
from datetime import datetime, timezone

import pytest
from bucket.memory import MemoryStore

import mlv
from mlv.audit.redact import redact
from mlv.bucket import names, positions, segments
from mlv.bucket.listing import listed
from mlv.bucket.shipper import Shipper
from mlv.errors import BucketDenied, BucketError, BucketUnreachable, MlvWarning, ObjectDiffers
from mlv.store import layout
from mlv.store.files import replace_file

pytest.importorskip("hypothesis")
from hypothesis import given, settings
from hypothesis import strategies as st

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("log"), st.sampled_from(["log", "log", "val"]), st.integers(1, 30), st.integers(1, 6)),
        st.tuples(st.just("log"), st.just("log"), st.just(400), st.just(1)),
        st.tuples(st.just("half"), st.integers(1, 30)),
        st.tuples(st.just("file"), st.sampled_from("ab"), st.integers(0, 3)),
        st.tuples(st.just("fail"), st.sampled_from(["before", "after"]), st.integers(0, 12)),
        st.tuples(st.just("kill"), st.sampled_from(["before", "after"]), st.integers(0, 12)),
        st.just(("forget",)),
        st.just(("ship",)),
        st.just(("replace",)),
        st.just(("regrow",)),
        st.just(("clone",)),
        st.just(("other",)),
    ),
    min_size=1,
    max_size=14,
)
"""What happens to an experiment between two calls that ship it."""


class Killed(BaseException):
    """The process is gone."""


class Experiment:
    """A folder that grows line by line, and the shippers of the two processes that ship it by turns."""

    def __init__(self, folder, store):
        self.folder, self.store, self.count = folder, store, 0
        folder.mkdir()
        (folder / layout.META).write_text('{"format":1,"params":{}}')
        self.begin()
        self.other = self.shipper
        self.begin()

    def begin(self):
        self.shipper = Shipper(self.folder, "a/b", self.store, segment_bytes=300, merged_at_once=4)

    def ship(self):
        self.shipper.ship_lines()
        self.shipper.ship_files()
        self.shipper.settle_former()
        self.shipper.merge()

    def log(self, stream, size):
        self.count += 1
        with open(self.folder / layout.stream_file(stream), "ab") as file:
            file.write(b'{"run":"r","seq":%d,"data":"%s"}\n' % (self.count, b"x" * size))

    def lines(self, stream):
        path = self.folder / layout.stream_file(stream)
        content = path.read_bytes() if path.exists() else b""
        return content[: content.rfind(b"\n") + 1]


def shipped(store, path="a/b"):
    """The bytes of each stream in each copy, up to the first hole."""
    by_file = {}
    for key in store.content:
        segment = names.segment_of(key.removeprefix(f"{path}/"))
        if segment is not None and key.startswith(f"{path}/"):
            by_file.setdefault((segment.copy, segment.stream), []).append(segment)
    return {
        file: b"".join(
            piece.of(gzip.decompress(store.content[names.join(path, piece.segment.key)])) for piece in segments.chain(held)
        )
        for file, held in by_file.items()
    }


def copy_of(folder):
    return positions.loads((folder / ".mlv/copy").read_bytes())["copy"]


@settings(max_examples=150, deadline=None)
@given(ACTIONS)
def test_nothing_is_lost_doubled_or_changed(tmp_path_factory, actions):
    """Whatever call fails, before or after it took effect, each copy is a beginning of a log, and in the end all of it."""
    base, plan, history = tmp_path_factory.mktemp("ship"), {}, {}

    def strike(moment):
        def at(call, key):
            if plan.get("moment") == moment:
                plan["left"] -= 1
                if plan["left"] < 0:
                    error = plan["error"]
                    plan.clear()
                    raise error

        return at

    def look(call, key):
        if call in ("create", "delete"):
            for file, content in shipped(store).items():
                assert content.endswith(b"\n") or not content
                assert content.startswith(history.get(file, b""))
                history[file] = content
        strike("after")(call, key)

    store = MemoryStore(strike("before"), look)
    experiment = Experiment(base / "exp", store)
    for number, (action, *arguments) in enumerate(actions):
        if action == "log":
            stream, size, count = arguments
            for _ in range(count):
                experiment.log(stream, size)
                _ship(experiment)
        elif action == "half":
            with open(experiment.folder / "log.jsonl", "ab") as file:
                file.write(b'{"run":"r' + b"y" * arguments[0])
            _ship(experiment)
            os.truncate(experiment.folder / "log.jsonl", len(experiment.lines("log")))
        elif action == "file":
            (experiment.folder / "files").mkdir(exist_ok=True)
            (experiment.folder / "files/new").write_bytes(bytes([arguments[1]]) * 50)
            os.replace(experiment.folder / "files/new", experiment.folder / "files" / arguments[0])
        elif action in ("fail", "kill"):
            error = BucketUnreachable("away") if action == "fail" else Killed()
            plan.update(moment=arguments[0], left=arguments[1], error=error)
            _ship(experiment)
            if action == "kill":
                experiment.begin()
        elif action == "forget":
            shutil.rmtree(experiment.folder / ".mlv/shipped", ignore_errors=True)
            experiment.begin()
        elif action == "ship":
            _ship(experiment)
        elif action == "replace" and (log := experiment.folder / "log.jsonl").exists():
            log.write_bytes(b"") if number % 2 else _rewrite(log)
        elif action == "regrow" and (log := experiment.folder / "log.jsonl").exists():
            size = log.stat().st_size
            os.truncate(log, size // 2)
            os.truncate(log, len(experiment.lines("log")))
            while log.stat().st_size <= size:
                experiment.log("log", 20)
        elif action == "clone":
            shutil.copytree(experiment.folder, base / f"clone{number}")
            experiment.folder = base / f"clone{number}"
            experiment.begin()
        elif action == "other":
            experiment.shipper, experiment.other = experiment.other, experiment.shipper
            if experiment.shipper.folder != experiment.folder:
                experiment.begin()
    plan.clear()
    experiment.ship()

    copy = copy_of(experiment.folder)
    for stream in layout.streams_in(experiment.folder):
        assert shipped(store).get((copy, stream), b"") == experiment.lines(stream)
    for path in (experiment.folder / "files").glob("*"):
        held = [content for key, content in store.content.items() if key.partition(".v/")[0] == f"a/b/files/{path.name}"]
        assert path.read_bytes() in held
    before = len(store.requests)
    experiment.ship()
    assert len(store.requests) == before


def _ship(experiment):
    try:
        experiment.ship()
    except (BucketUnreachable, Killed):
        pass


def _rewrite(path):
    new = path.with_name("new")
    new.write_bytes(path.read_bytes()[::-1].replace(b"\n", b"") + b"\n")
    os.replace(new, path)


@pytest.fixture
def store():
    return MemoryStore()


def segments_made(store):
    """Which segments were made, by their first and last byte, in order."""
    made = (names.segment_of(key.removeprefix("a/b/")) for call, key in store.requests if call == "create")
    return [(segment.start, segment.end) for segment in made if segment is not None]


def position_end(folder, store):
    return positions.read(folder, store.url).streams["log"].end


def test_two_processes_by_turns(tmp_path, store):
    """Each goes on from where the other one came, and ships nothing again."""
    experiment = Experiment(tmp_path / "exp", store)
    for size in (10, 20, 30, 40):
        experiment.log("log", size)
        experiment.shipper.ship_lines()
        experiment.shipper, experiment.other = experiment.other, experiment.shipper

    starts, ends = zip(*segments_made(store), strict=True)
    assert starts == (0, *ends[:-1])
    assert position_end(experiment.folder, store) == ends[-1]


def test_two_processes_at_once(tmp_path):
    """A position that is further is not taken back by the process that was slower."""

    def push_meanwhile(call, key):
        if call == "create" and key.endswith(".gz") and not experiment.is_pushed:
            experiment.is_pushed = True
            for size in (10, 20, 30):
                experiment.log("log", size)
                experiment.other.ship_lines()

    store = MemoryStore(push_meanwhile)
    experiment = Experiment(tmp_path / "exp", store)
    experiment.is_pushed = False
    experiment.log("log", 10)

    experiment.shipper.ship_lines()

    assert position_end(experiment.folder, store) == len(experiment.lines("log"))
    count = len(segments_made(store))
    experiment.shipper.ship_lines()
    assert len(segments_made(store)) == count


def test_the_files_of_two_processes(tmp_path):
    """One that is shipped while another process keeps its position is remembered, not read back, and the copy is whole."""

    def push_meanwhile(call, key):
        if call == "create" and key.endswith("notes.txt"):
            other = Shipper(folder, "a/b", store)
            other.ship_lines()
            other.ship_files(lambda: True)  # killed before the first of them
            other.save()

    store = MemoryStore(after=push_meanwhile)
    folder = finished(tmp_path)
    shipper = Shipper(folder, "a/b", store)
    shipper.ship_lines()

    assert shipper.ship_files()
    assert "files/notes.txt" in positions.read(folder, store.url).files
    assert ("get", "a/b/files/notes.txt") not in store.requests
    assert shipper.mark_whole()


def ship(folder, store, path="a/b", **options):
    shipper = Shipper(folder, path, store, **options)
    shipper.ship_lines()
    shipper.ship_files()
    shipper.settle_former()
    shipper.mark_whole()
    return shipper.shipped


def finished(tmp_path, secret="", steps=20):
    exp = mlv.Exp(tmp_path / "runs", "digits", {"lr": 0.1}, capture=())
    for step in range(steps):
        exp.log({"loss": 1 / (step + 1)}, step=step)
    if secret:
        exp.log("note", {"text": secret})
    with exp.file("notes.txt", "w") as file:
        file.write(f"notes {secret}")
    exp.close()
    return exp.path


def test_a_finished_experiment_is_whole(tmp_path, store):
    """The seal and all files are up: the mark says how many bytes the copy has."""
    folder = finished(tmp_path)

    ship(folder, store)

    size = (folder / "log.jsonl").stat().st_size
    assert f"a/b/{names.Whole(copy_of(folder), size).key}" in store.content
    assert store.content["a/b/meta.json"] == (folder / "meta.json").read_bytes()
    assert store.content["a/b/files/notes.txt"] == b"notes "


def test_an_experiment_that_grew_is_whole_again(tmp_path, store):
    """Another run ships its lines behind those of the first, and marks the copy anew."""
    folder = finished(tmp_path)
    ship(folder, store)
    with mlv.Exp.open(folder, capture=()) as exp:
        exp.log({"loss": 0.0}, step=99)

    ship(folder, store)

    sizes = {whole.size for key in store.content if (whole := names.whole_of(key.removeprefix("a/b/")))}
    assert len(sizes) == 2
    assert shipped(store)[copy_of(folder), "log"] == (folder / "log.jsonl").read_bytes()


def test_pushing_again_makes_no_request(tmp_path, store):
    """With nothing new, the folder alone tells so."""
    folder = finished(tmp_path)
    ship(folder, store)
    store.requests.clear()

    ship(folder, store)

    assert store.requests == []


def test_without_its_position_a_listing_tells(tmp_path, store):
    """Nothing is made again where the position is lost."""
    folder = finished(tmp_path)
    ship(folder, store)
    shutil.rmtree(folder / ".mlv/shipped")
    store.requests.clear()
    content = dict(store.content)

    ship(folder, store)

    assert [call for call, key in store.requests if call == "objects"] == ["objects"]
    assert store.content == content


def test_a_clone_is_another_copy(tmp_path, store):
    """Both folders go on under the same path, and neither overwrites a segment of the other."""
    folder = finished(tmp_path)
    ship(folder, store)
    clone = shutil.copytree(folder, tmp_path / "elsewhere" / "digits")
    with mlv.Exp.open(clone, capture=()) as exp:
        exp.log({"loss": 7.0}, step=100)

    ship(clone, store)
    ship(folder, store)

    assert copy_of(clone) != copy_of(folder)
    assert shipped(store)[copy_of(clone), "log"] == (clone / "log.jsonl").read_bytes()
    assert shipped(store)[copy_of(folder), "log"] == (folder / "log.jsonl").read_bytes()


def test_a_folder_that_several_containers_see(tmp_path, store):
    """It is one copy, whichever of them ships it: else each of two would ship all of it again at each turn."""
    folder = finished(tmp_path)
    ship(folder, store)
    record = positions.loads((folder / ".mlv/copy").read_bytes())
    (folder / ".mlv/copy").write_text(json.dumps({**record, "machine": "another"}))
    store.requests.clear()

    ship(folder, store)

    assert copy_of(folder) == record["copy"]
    assert store.requests == []


@pytest.mark.parametrize("age_s", [0, 3600])
def test_a_folder_that_was_restored_from_a_backup(tmp_path, store, age_s):
    """Other lines than those that were shipped since are another copy, also where all files are the same ones."""
    folder = finished(tmp_path)
    ship(folder, store)
    position = positions.position_path(folder, store.url)
    os.link(position, tmp_path / "kept")  # else a file system may give its inode to the one that is overwritten
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    log(folder, 30)
    ship(folder, store)
    for path, content in before.items():
        path.write_bytes(content)
    fields = positions.loads(before[position])
    if age_s:  # the backup is older than this test, and an earlier version wrote it
        fields["written_ns"] -= age_s * 10**9
        del fields["inode"]
    position.write_text(json.dumps(fields))
    log(folder, 7)

    ship(folder, store)

    assert shipped(store)[copy_of(folder), "log"] == (folder / "log.jsonl").read_bytes()


def test_a_folder_that_was_restored_while_the_store_was_away(tmp_path):
    """The reason that is noted meanwhile does not make the position one that can be trusted."""
    store, is_away = MemoryStore(lambda call, key: away() if is_away else None), []
    folder = finished(tmp_path)
    ship(folder, store)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    log(folder, 30)
    ship(folder, store)
    for path, content in before.items():
        path.write_bytes(content)
    position = positions.position_path(folder, store.url)
    position.write_text(json.dumps({**positions.loads(before[position]), "written_ns": 0}))
    log(folder, 7)
    is_away.append(True)
    shipper = Shipper(folder, "a/b", store)
    with pytest.raises(BucketUnreachable) as raised:
        shipper.ship_lines()
    shipper.save(str(raised.value))
    is_away.clear()

    assert positions.read(folder, store.url).problem == "away"
    shipper.ship_lines()

    assert shipped(store)[copy_of(folder), "log"] == (folder / "log.jsonl").read_bytes()


def away():
    raise BucketUnreachable("away")


def log(folder, count):
    with mlv.Exp.open(folder, capture=()) as exp:
        for step in range(count):
            exp.log({"loss": count}, step=100 + step)


def test_a_moved_folder_stays_the_same_copy(tmp_path, store):
    """A folder that is renamed keeps its name in the bucket, and ships nothing again under the same path."""
    folder = finished(tmp_path)
    ship(folder, store)
    copy, content = copy_of(folder), dict(store.content)

    moved = folder.rename(folder.with_name("renamed"))
    ship(moved, store)

    assert copy_of(moved) == copy
    assert store.content == content


def test_small_segments_are_merged_and_deleted(tmp_path, store):
    """At the seal one segment covers all lines, and the small ones are gone."""
    exp = mlv.Exp(tmp_path, "digits", capture=())
    shipper = Shipper(exp.path, "a/b", store, merged_at_once=8)
    for step in range(30):
        exp.log({"loss": step}, step=step)
        exp.flush()
        shipper.ship_lines()
        shipper.merge()
    assert len([key for key in store.content if key.endswith(".gz")]) < 16
    exp.close()

    ship(exp.path, store)

    assert [key for key in store.content if key.endswith(".gz")] == [
        f"a/b/{names.Segment('log', copy_of(exp.path), 0, (exp.path / 'log.jsonl').stat().st_size).key}"
    ]


def test_a_store_that_refuses_to_delete(tmp_path):
    """Merged segments stand beside the small ones; it is told once, and nothing ends."""

    def refuse(call, key):
        if call == "delete":
            raise BucketDenied("no right to delete")

    store = MemoryStore(refuse)

    shipper = ship_line_by_line(tmp_path, store)

    assert shipper.mark_whole()
    assert len(shipper.shipped.notes) == 1
    assert shipped(store)[copy_of(shipper.folder), "log"] == (shipper.folder / "log.jsonl").read_bytes()


def ship_line_by_line(tmp_path, store):
    """Ship an experiment while it goes on, and merge two segments at a time."""
    exp = mlv.Exp(tmp_path, "digits", capture=())
    shipper = Shipper(exp.path, "a/b", store, merged_at_once=2)
    for step in range(6):
        exp.log({"loss": step}, step=step)
        exp.flush()
        shipper.ship_lines()
        shipper.merge()
    exp.close()
    shipper.ship_lines()
    shipper.ship_files()
    return shipper


def test_a_store_that_takes_no_larger_segments(tmp_path):
    """The small ones stay, as behind a proxy that limits requests; it is told once, and the copy is whole."""

    def refuse(call, key):
        made = segments_made(store)
        if call == "create" and key.endswith(".gz") and len(made) > 1 and made[-1][0] == 0:
            raise BucketError("too large")

    store = MemoryStore(refuse)

    shipper = ship_line_by_line(tmp_path, store)

    assert shipper.mark_whole()
    assert shipper.shipped.notes == ["memory://bucket: small segments stay. too large"]
    assert shipped(store)[copy_of(shipper.folder), "log"] == (shipper.folder / "log.jsonl").read_bytes()


@pytest.mark.parametrize("is_refused", [False, True])
def test_a_redaction_reaches_the_bucket(tmp_path, is_refused):
    """The secret is in no object any more; where the store refuses to delete, the keys that hold it are named."""
    secret = "hunter2-hunter2"

    def refuse(call, key):
        if is_refused and call == "delete":
            raise BucketDenied("no right to delete")

    store = MemoryStore(refuse)
    folder = finished(tmp_path, secret)
    ship(folder, store)
    before = copy_of(folder)
    assert any(secret.encode() in _plain(key, content) for key, content in store.content.items())
    list(redact(folder, [secret]))

    if is_refused:
        with pytest.warns(MlvWarning, match="hold what was redacted: a/b/"):
            ship(folder, store)
        assert shipped(store)[copy_of(folder), "log"] == (folder / "log.jsonl").read_bytes()
    else:
        ship(folder, store)
        assert not any(secret.encode() in _plain(key, content) for key, content in store.content.items())
        assert not any(before in key for key in store.content if not key.startswith(".mlv/news"))
        assert shipped(store)[copy_of(folder), "log"] == (folder / "log.jsonl").read_bytes()


@pytest.mark.parametrize("count", range(4))
def test_a_redaction_whose_settling_ends_early(tmp_path, count):
    """Whichever segment is the last one that is deleted before the store goes away, the next push deletes the others."""
    secret, deleted = "hunter2-hunter2", []

    def go_away(call, key):
        if call == "delete":
            deleted.append(key)
            if len(deleted) == count + 1:
                away()

    store = MemoryStore(go_away)
    exp = mlv.Exp(tmp_path, "digits", capture=())
    shipper = Shipper(exp.path, "a/b", store)
    for number in range(3):
        exp.log("note", {"text": f"{secret} {number}"})
        exp.flush()
        shipper.ship_lines()
    exp.close()
    shipper.ship_lines()
    list(redact(exp.path, [secret]))
    with suppress(BucketUnreachable):
        ship(exp.path, store)

    ship(exp.path, store)

    assert _holds(store, secret) == []
    assert len(deleted) > count


def test_a_redaction_during_which_the_machine_is_started_anew(tmp_path):
    """The objects of files are removed although the process that shipped the line that tells of it is gone."""
    secret, striking = "hunter2-hunter2", []

    def strike(call, key):
        if striking and call == "create":
            raise Killed

    store = MemoryStore(after=strike)
    with mlv.Exp(tmp_path, "digits", capture=()) as exp, exp.file("notes.txt", "w") as file:
        file.write(f"notes {secret}")
    ship(exp.path, store)
    list(redact(exp.path, [secret]))
    striking.append(True)
    with pytest.raises(Killed):
        ship(exp.path, store)
    striking.clear()
    position = positions.position_path(exp.path, store.url)
    position.write_text(json.dumps({**positions.loads(position.read_bytes()), "boot": "an earlier one"}))

    ship(exp.path, store)

    assert _holds(store, secret) == []
    assert any(key.startswith("a/b/files/notes.txt") for key in store.content)


def test_a_redacted_meta_json_that_may_not_be_deleted(tmp_path):
    """The key that holds the secret is named, and readers get the younger version, with the lines that tell of it."""
    secret = "hunter2-hunter2"

    def refuse(call, key):
        if call == "delete":
            raise BucketDenied("no right to delete")

    store = MemoryStore(refuse)
    with mlv.Exp(tmp_path, "digits", {"word": secret}, capture=()) as exp:
        exp.log({"loss": 0.5}, step=0)
    ship(exp.path, store)
    list(redact(exp.path, [secret]))

    with pytest.warns(MlvWarning, match=r"hold what was redacted: a/b/meta\.json"):
        ship(exp.path, store)
    log(exp.path, 3)
    ship(exp.path, store)

    there = listed(store.objects()).experiments["a/b"]
    assert len(there.metas) == 2
    assert store.content[f"a/b/{there.metas[-1].key}"] == (exp.path / "meta.json").read_bytes()
    del store.content["a/b/meta.json"]  # by somebody who may
    assert listed(store.objects()).experiments["a/b"].metas == there.metas[-1:]
    assert shipped(store)[copy_of(exp.path), "log"] == (exp.path / "log.jsonl").read_bytes()


def _holds(store, secret):
    return [key for key, content in store.content.items() if secret.encode() in _plain(key, content)]


@pytest.mark.parametrize("suffix", [".gz", "notes.txt"])
def test_a_redaction_during_a_request(tmp_path, suffix):
    """An object whose upload ends after another process has settled the redaction holds the secret no longer than that."""
    secret, redacted = "hunter2-hunter2", []

    def meanwhile(call, key):
        if call == "create" and key.endswith(suffix) and not redacted:
            redacted.append(key)
            list(redact(folder, [secret]))
            ship(folder, store)

    store = MemoryStore(meanwhile)
    folder = finished(tmp_path, secret)

    ship(folder, store)

    assert redacted
    assert _holds(store, secret) == []
    assert shipped(store)[copy_of(folder), "log"] == (folder / "log.jsonl").read_bytes()
    assert any(key.startswith("a/b/files/notes.txt") for key in store.content)


def test_a_redaction_while_files_are_shipped(tmp_path):
    """It is settled by the next push, and not taken for settled by this one."""
    secret = "hunter2-hunter2"

    def meanwhile(call, key):
        if key.endswith("notes.txt"):
            list(redact(folder, [secret]))

    store = MemoryStore(meanwhile)
    with mlv.Exp(tmp_path, "digits", capture=()) as exp:
        exp.log("note", {"text": secret})
        with exp.file("notes.txt", "w") as file:
            file.write("notes")
    folder = exp.path
    ship(folder, store)
    assert _holds(store, secret)

    ship(folder, store)

    assert _holds(store, secret) == []


def test_a_redaction_of_which_a_clone_knows_nothing(tmp_path, store):
    """Its copy is that of another folder, which has to be redacted as well: the report says so."""
    folder = finished(tmp_path, "hunter2-hunter2")
    clone = shutil.copytree(folder, tmp_path / "elsewhere" / "digits")
    ship(clone, store)
    assert ship(folder, store).notes == []
    list(redact(folder, ["hunter2-hunter2"]))

    (note,) = ship(folder, store).notes

    assert note.startswith(f"{copy_of(clone)} in memory://bucket, copies of other folders, may hold what was redacted")
    assert ship(folder, store).notes == []


def test_shipping_in_the_middle_of_a_redaction(tmp_path, store, monkeypatch):
    """The log tells of it before the files are changed: their objects are removed once they are."""
    secret = "hunter2-hunter2"
    with mlv.Exp(tmp_path, "digits", capture=()) as exp, exp.file("notes.txt", "w") as file:
        file.write(f"notes {secret}")
    ship(exp.path, store)

    def replace(path, content):
        ship(exp.path, store)
        replace_file(path, content)

    monkeypatch.setattr("mlv.audit.redact.replace_file", replace)
    list(redact(exp.path, [secret]))

    ship(exp.path, store)

    assert _holds(store, secret) == []
    assert positions.read(exp.path, store.url).redacted == []


def test_a_secret_in_the_name_of_a_file(tmp_path, store):
    """Neither the log nor the bucket has it any more; files beside it stay."""
    secret = "hunter2-hunter2"
    with mlv.Exp(tmp_path, "digits", capture=()) as exp:
        for name in (f"of-{secret}.txt", f"folder-{secret}/a.txt", "of-mine.txt"):
            with exp.file(name, "w") as file:
                file.write("notes")
    ship(exp.path, store)
    list(redact(exp.path, [secret]))

    ship(exp.path, store)

    assert _holds(store, secret) + [key for key in store.content if secret in key] == []
    assert secret not in (exp.path / "log.jsonl").read_text()
    assert positions.position_path(exp.path, store.url).read_bytes().find(secret.encode()) < 0
    assert [key for key in store.content if "/files/" in key] == ["a/b/files/of-mine.txt"]


def test_a_redaction_of_many_files(tmp_path, store):
    """The event that names them is longer than the log is read at once."""
    secret, long = "hunter2-hunter2", "/".join("d" * 200 for _ in range(15))
    with mlv.Exp(tmp_path, "digits", capture=()) as exp:
        for number in range(400):
            with exp.file(f"{long}/{number}.txt", "w") as file:
                file.write(secret)
    ship(exp.path, store)
    list(redact(exp.path, [secret]))
    assert max(map(len, (exp.path / "log.jsonl").read_bytes().splitlines())) > 1 << 20

    ship(exp.path, store)

    assert _holds(store, secret) == []


def test_a_redacted_log_is_behind(tmp_path, store):
    """Until it is shipped anew, `mlv ls` and `doctor` do not say that the bucket has all lines."""
    folder = finished(tmp_path, "hunter2-hunter2")
    ship(folder, store)
    assert positions.behind_s(folder, datetime.now(timezone.utc)) == 0
    list(redact(folder, ["hunter2-hunter2"]))
    assert positions.behind_s(folder, datetime.now(timezone.utc)) > 0

    ship(folder, store)

    assert positions.behind_s(folder, datetime.now(timezone.utc)) == 0


def test_a_redacted_meta_is_replaced(tmp_path, store):
    """The identity that a redaction gave the experiment is the one in the bucket."""
    exp = mlv.Exp(tmp_path, "digits", {"note": "hunter2-hunter2"}, capture=())
    exp.close()
    ship(exp.path, store)
    list(redact(exp.path, ["hunter2-hunter2"]))

    ship(exp.path, store)

    assert store.content["a/b/meta.json"] == (exp.path / "meta.json").read_bytes()
    assert b"hunter2" not in store.content["a/b/meta.json"]


def _plain(key, content):
    return gzip.decompress(content) if key.endswith(".gz") else content


def test_another_experiment_at_the_path(tmp_path, store):
    """It is left as it is, and the error names the key."""
    store.content["a/b/meta.json"] = b'{"format":1,"params":{"other":true}}'
    folder = finished(tmp_path)

    with pytest.raises(ObjectDiffers, match=r"another experiment at a/b/meta\.json"):
        ship(folder, store)

    assert list(store.content) == ["a/b/meta.json"]


def test_a_segment_that_somebody_overwrote(tmp_path, store):
    """It is named, and all lines are up again under another copy."""
    exp = mlv.Exp(tmp_path, "digits", capture=())
    exp.flush()
    Shipper(exp.path, "a/b", store).ship_lines()
    shutil.rmtree(exp.path / ".mlv/shipped")
    key = next(key for key in store.content if key.endswith(".gz"))
    store.content[key] = gzip.compress(b"something else\n")
    exp.close()

    ship(exp.path, store)

    assert copy_of(exp.path) not in key
    assert shipped(store)[copy_of(exp.path), "log"] == (exp.path / "log.jsonl").read_bytes()


def test_a_merged_segment_that_is_there_with_other_bytes(tmp_path, store):
    """It is named, and all lines are up again under another copy, which is whole."""
    exp = mlv.Exp(tmp_path, "digits", capture=())
    exp.flush()
    Shipper(exp.path, "a/b", store).ship_lines()
    copy = copy_of(exp.path)
    exp.close()
    size = (exp.path / "log.jsonl").stat().st_size
    key = f"a/b/{names.Segment('log', copy, 0, size).key}"
    store.content[key] = gzip.compress(b"something else\n")

    outcome = ship(exp.path, store)

    assert outcome.different == [key]
    assert copy_of(exp.path) != copy
    assert shipped(store)[copy_of(exp.path), "log"] == (exp.path / "log.jsonl").read_bytes()
    assert f"a/b/{names.Whole(copy_of(exp.path), size).key}" in store.content


def test_equal_lines_packed_by_another_zlib(tmp_path, store):
    """The bytes of an object may differ where its lines do not."""
    exp = mlv.Exp(tmp_path, "digits", capture=())
    exp.flush()
    Shipper(exp.path, "a/b", store).ship_lines()
    copy = copy_of(exp.path)
    shutil.rmtree(exp.path / ".mlv/shipped")
    key = next(key for key in store.content if key.endswith(".gz"))
    store.content[key] = gzip.compress(gzip.decompress(store.content[key]), 1)
    exp.close()

    assert ship(exp.path, store).different == []
    assert copy_of(exp.path) == copy


def test_a_file_published_again(tmp_path, store):
    """Each content has a key of its own; the first one keeps the name."""
    exp = mlv.Exp(tmp_path, "digits", capture=())
    for text in ("one", "two", "one"):
        with exp.file("a.txt", "w") as file:
            file.write(text)
        ship(exp.path, store)
    exp.close()

    held = [content for key, content in store.content.items() if key.startswith("a/b/files/a.txt")]
    assert sorted(held) == [b"one", b"two"]


def test_a_version_that_goes_while_it_is_compared(tmp_path):
    """Its file is not taken for one that was let go here: it is shipped the next time."""
    removed = []

    def remove(call, key):
        if call == "get" and key == "a/b/files/notes.txt" and not removed:
            removed.append(store.content.pop(key))

    store = MemoryStore(remove)
    folder = finished(tmp_path)
    store.content["a/b/files/notes.txt"] = b"notes "
    assert list(ship(folder, store).unshipped) == ["files/notes.txt"]

    ship(folder, store)

    assert store.content["a/b/files/notes.txt"] == b"notes "


def test_unfinished_files_are_left(tmp_path, store):
    """What a writer has not published yet is no file of the experiment."""
    folder = finished(tmp_path)
    (folder / "models" / "latest").mkdir(parents=True)
    (folder / "models/latest/.tmp-x.pt").write_bytes(b"half")
    (folder / "files/.a.txt.0123456789ab.tmp").write_bytes(b"half")
    (folder / "models/latest/step_1.pt").write_bytes(b"whole")
    os.symlink("/etc/hostname", folder / "files/link")

    ship(folder, store)

    assert sorted(key for key in store.content if "/files/" in key or "/models/" in key) == [
        "a/b/files/notes.txt",
        "a/b/models/latest/step_1.pt",
    ]


def test_news_once_a_day(tmp_path, store):
    """Each day on which a copy ships anything has one object that says so."""
    exp = mlv.Exp(tmp_path, "digits", capture=())
    days = [datetime(2026, 11, day, tzinfo=timezone.utc) for day in (29, 29, 30)]
    shipper = Shipper(exp.path, "a/b", store, now=lambda: days[0])
    while days:
        exp.log({"loss": 1})
        exp.flush()
        shipper.ship_lines()
        days.pop(0)
        days or exp.close()

    news = [names.news_of(key) for key in store.content if key.startswith(names.NEWS)]
    assert [(item.day, item.exp, item.copy) for item in news] == [
        (day, exp.id, copy_of(exp.path)) for day in ("2026-11-29", "2026-11-30")
    ]


def test_lines_that_come_during_a_request(tmp_path):
    """They wait for the next call: a run that logs faster than a request takes would have a segment for each request."""
    store = MemoryStore(lambda call, key: call != "create" or experiment.log("log", 10))
    experiment = Experiment(tmp_path / "exp", store)
    experiment.log("log", 10)

    experiment.shipper.ship_lines()

    assert sum(key.endswith(".gz") for key in store.content) == 1


def test_a_stream_that_is_replaced_while_another_one_is_shipped(tmp_path):
    """Its lines go up as they are now, also where the files are looked at in between by the other thread."""

    def replace(call, key):
        if call == "create" and "/log.d/" in key and not looks:
            (experiment.folder / "val.log.jsonl").unlink()
            looks.append(experiment.shipper.ship_files())
            experiment.log("val", 30)

    looks = []
    store = MemoryStore(replace)
    experiment = Experiment(tmp_path / "exp", store)
    for stream in ("log", "val"):
        experiment.log(stream, 10)

    experiment.shipper.ship_lines()

    copy = copy_of(experiment.folder)
    assert {stream: shipped(store)[copy, stream] for stream in ("log", "val")} == {
        stream: experiment.lines(stream) for stream in ("log", "val")
    }


def test_a_log_that_is_replaced_before_former_copies_are_settled(tmp_path, store):
    """It is another copy from then on, whose lines the next call ships."""
    experiment = Experiment(tmp_path / "exp", store)
    experiment.log("log", 10)
    experiment.shipper.ship_lines()
    shutil.rmtree(experiment.folder / ".mlv/shipped")
    (experiment.folder / "log.jsonl").write_bytes(b"{}\n" * 30)

    experiment.shipper.settle_former()
    experiment.shipper.ship_lines()

    assert shipped(store)[copy_of(experiment.folder), "log"] == b"{}\n" * 30


def test_a_line_longer_than_a_segment(tmp_path, store):
    """It is one segment of its own."""
    experiment = Experiment(tmp_path / "exp", store)
    for size in (10, 2000, 10):
        experiment.log("log", size)

    experiment.ship()

    assert shipped(store)[copy_of(experiment.folder), "log"] == experiment.lines("log")


def test_a_folder_that_cannot_be_written(tmp_path, store):
    """A read-only tree, or one on a full disk, is the same copy each time: its lines are not shipped again."""
    folder = finished(tmp_path)
    shutil.rmtree(folder / ".mlv", ignore_errors=True)
    (folder / ".mlv").write_text("no folder")
    ship(folder, store)
    content = dict(store.content)
    store.requests.clear()

    ship(folder, store)

    assert store.content == content
    assert not [key for call, key in store.requests if call == "create" and key.endswith(".gz")]


def test_a_disk_that_is_full(tmp_path, store, monkeypatch):
    """A log that was replaced is another copy, and the same one each time, though its name cannot be kept."""

    def refuse(path, content):
        raise OSError(errno.ENOSPC, "no space left on device")

    folder = finished(tmp_path)
    ship(folder, store)
    _rewrite(folder / "log.jsonl")
    monkeypatch.setattr("mlv.bucket.copies.replace_whole", refuse)
    monkeypatch.setattr("mlv.bucket.positions.replace_whole", refuse)

    for _ in range(3):
        Shipper(folder, "a/b", store).ship_lines()

    assert len(shipped(store)) == 2
    assert (folder / "log.jsonl").read_bytes() in shipped(store).values()
