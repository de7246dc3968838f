"""The sidecar of a stream: it saves time, and nothing else ever depends on it."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import struct
import threading
from pathlib import Path

import pytest
from logs import line

pytest.importorskip("pyarrow")

from mlv.query.metrics import cache
from mlv.query.metrics import parse as parse_
from mlv.query.metrics.long_table import metrics


def metric_lines(first: int, last: int, loss: float = 0.5) -> bytes:
    return b"".join(line("ra", seq, "metrics", seq % 50, step=seq, data={"loss": loss}) for seq in range(first, last + 1))


EAGER = cache.CacheLimits(worth_bytes=100)
"""Even a short log is worth a sidecar."""


def values(folder: Path, limits: cache.CacheLimits = EAGER) -> list[tuple[int, float]]:
    table = metrics(folder, limits=limits)
    return sorted(zip(table["seq"].to_pylist(), table["value"].to_pylist(), strict=True))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An experiment with a short log."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    made = tmp_path / "exp"
    made.mkdir()
    (made / "meta.json").write_text("{}")
    (made / "log.jsonl").write_bytes(metric_lines(1, 200))
    return made


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The offsets from which a log is parsed."""
    offsets: list[int] = []
    real = parse_.parse

    def parse(folder, stream, offset, *options):
        offsets.append(offset)
        return real(folder, stream, offset, *options)

    monkeypatch.setattr(cache, "parse", parse)
    return offsets


def wait_for_tick(path: Path) -> None:
    """Return when the clock of the file system has gone on since a file was changed."""
    probe = path.with_name("probe")
    while True:
        probe.write_bytes(b"")
        if probe.stat().st_ctime_ns > path.stat().st_ctime_ns:
            return probe.unlink()


def edit(log: Path, where: int = 0) -> None:
    """Change one digit in place, and set the time of the file back; nobody can set its time of change."""
    status = log.stat()
    with open(log, "r+b") as file:
        content = file.read()
        place = content.index(b'"loss":0.', where) + 9
        file.seek(place)
        file.write(b"%d" % ((content[place] - ord("0") + 2) % 10))
    os.utime(log, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace(path: Path, content: bytes) -> None:
    """Put a file of this content into the place of another, with the other's times."""
    status = path.stat()
    beside = path.with_name("beside")
    beside.write_bytes(content)
    os.utime(beside, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(beside, path)


@pytest.fixture
def one_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system whose clock is so coarse that all happens within one tick, as several changes do within 2 s on FAT."""
    stamp, tick = cache.stamp_of, cache.tick_of
    hour_ns = 3600 * 10**9

    def coarse_stamp(folder, stream):
        status = stamp(folder, stream)
        return status and (*status[:2], *(time // hour_ns for time in status[2:4]), status[4])

    def coarse_tick(place, status):
        time = tick(place, status)
        return time and time // hour_ns

    monkeypatch.setattr(cache, "stamp_of", coarse_stamp)
    monkeypatch.setattr(cache, "tick_of", coarse_tick)


class TestIsUsed:
    def test_only_the_rest_is_parsed(self, folder, parsed):
        """What was parsed once is not parsed again."""
        log = folder / "log.jsonl"
        values(folder)
        size = log.stat().st_size
        with open(log, "ab") as file:
            file.write(metric_lines(201, 202))

        assert [seq for seq, _ in values(folder)] == list(range(1, 203))
        assert parsed == [0, size]

    def test_grows_with_the_log(self, folder, parsed):
        """When much was appended, the sidecar is written anew, and holds it."""
        values(folder)
        with open(folder / "log.jsonl", "ab") as file:
            file.write(metric_lines(201, 300))
        values(folder)
        values(folder)

        assert parsed[-1] == (folder / "log.jsonl").stat().st_size
        assert len(values(folder)) == 300

    def test_unchanged_files_are_not_hashed_again(self, folder, monkeypatch):
        """A log is believed to be the same by its times as soon as its next change is sure to show."""
        wait_for_tick(folder / "log.jsonl")
        values(folder)
        monkeypatch.setattr(cache, "is_unchanged", lambda *_: pytest.fail("hashed"))

        assert len(values(folder)) == 200

    def test_files_that_grew_are_hashed_once(self, folder, monkeypatch):
        """A log that was appended to is believed as well, after it was hashed one time."""
        values(folder)
        with open(folder / "log.jsonl", "ab") as file:
            file.write(metric_lines(201, 202))
        wait_for_tick(folder / "log.jsonl")
        values(folder)
        monkeypatch.setattr(cache, "is_unchanged", lambda *_: pytest.fail("hashed"))

        assert len(values(folder)) == 202

    def test_on_another_file_system(self, folder, monkeypatch):
        """Where the sidecar lies elsewhere, only what was quiet for as long as the coarsest clock ticks is believed."""
        place = folder / "elsewhere"
        place.mkdir()
        wait_for_tick(folder / "log.jsonl")
        stamp = cache.stamp_of(folder, "log") or ()
        foreign = (*stamp[:4], stamp[4] + 1)

        assert cache.tick_of(place, stamp) > stamp[3]
        assert cache.tick_of(place, foreign) < stamp[3]

    def test_damage_is_reported_again(self, folder):
        """Byte ranges that were passed over are named by every read."""
        whole = (folder / "log.jsonl").read_bytes()
        (folder / "log.jsonl").write_bytes(b"damage\n" + whole + b'{"half')
        first, second = [], []
        metrics(folder, skipped=first, limits=EAGER)
        metrics(folder, skipped=second, limits=EAGER)

        assert [(hole.start, hole.end) for hole in second] == [(0, 7), (len(whole) + 7, len(whole) + 13)]
        assert first == second

    def test_a_line_without_its_newline(self, folder):
        """It counts, and is not there twice when the newline has come."""
        with open(folder / "log.jsonl", "ab") as file:
            file.write(metric_lines(201, 201)[:-1])
        before = values(folder)
        with open(folder / "log.jsonl", "ab") as file:
            file.write(b"\n")

        assert [seq for seq, _ in before] == list(range(1, 202))
        assert values(folder) == before

    def test_a_short_log_has_none(self, folder):
        """A log that is parsed in no time leaves nothing beside it."""
        values(folder, cache.LIMITS)

        assert not (folder / ".mlv").exists()


class TestIsNeverTrustedOverTheLog:
    def test_a_sidecar_that_the_disk_changed(self, folder):
        """A value that went wrong in the sidecar is not believed, whatever its metadata says of the log."""
        expected = values(folder)
        sidecar = folder / ".mlv" / "cache" / "log.arrow"
        content = sidecar.read_bytes()
        kept = struct.pack("<d", 0.5)
        sidecar.write_bytes(content.replace(kept, struct.pack("<d", 0.7)))

        assert kept in content
        assert values(folder) == expected

    @pytest.mark.parametrize("is_settled", [True, False])
    @pytest.mark.parametrize("where", [0, 5000])
    def test_edited(self, folder, where, is_settled):
        """A digit changed in place, the file's times set back to what they were: the log counts."""
        log = folder / "log.jsonl"
        if is_settled:
            wait_for_tick(log)
        before = values(folder)
        edit(log, where)

        assert values(folder) != before
        assert values(folder) == values_without_sidecar(folder)

    def test_edited_within_a_tick(self, folder, one_tick):
        """A digit changed while the clock of the file system stands still, so that the file's times are the same."""
        before = values(folder)
        edit(folder / "log.jsonl")

        assert values(folder) != before
        assert values(folder) == values_without_sidecar(folder)

    def test_edited_while_it_grows(self, folder):
        """A digit changed in the middle before more is appended: old lines are not believed for being old."""
        log = folder / "log.jsonl"
        wait_for_tick(log)
        values(folder)
        edit(log, 5000)
        with open(log, "ab") as file:
            file.write(metric_lines(201, 202))

        assert values(folder) == values_without_sidecar(folder)
        assert values(folder) == values_without_sidecar(folder)

    @pytest.mark.parametrize("seed", range(6))
    def test_whatever_happens_to_it(self, folder, seed):
        """Appends, edits, cuts, replacements and times that are set back, in any order, with and without a pause."""
        log, chance, last = folder / "log.jsonl", random.Random(seed), 200
        for _ in range(10):
            content = log.read_bytes()
            change = chance.choice(["append", "edit", "cut", "replace", "old", "nothing"])
            if change == "append":
                count = chance.choice([1, 30, 200])
                with open(log, "ab") as file:
                    file.write(metric_lines(last + 1, last + count))
                last += count
            elif change == "edit" and len(content) > 1000:
                edit(log, chance.randrange(len(content) - 200))
            elif change == "cut":
                os.truncate(log, chance.randrange(len(content) + 1))
            elif change == "replace":
                replace(log, content.replace(b'"loss":0.5', b'"loss":0.6', chance.randrange(3)))
            elif change == "old":
                os.utime(log, (1, 1))
            if chance.random() < 0.5:
                wait_for_tick(log)

            assert values(folder) == values_without_sidecar(folder), change

    @pytest.mark.parametrize("content", [metric_lines(1, 150), metric_lines(1, 400, 0.25), b""])
    def test_replaced(self, folder, content):
        """A log cut short, rewritten or emptied."""
        values(folder)
        (folder / "log.jsonl").write_bytes(content)

        assert values(folder) == values_without_sidecar(folder)

    def test_removed_log(self, folder):
        """No log, no rows."""
        values(folder)
        (folder / "log.jsonl").unlink()

        assert values(folder) == []

    @pytest.mark.parametrize("kept_bytes", [0, 4, 1000])
    def test_damaged_sidecar(self, folder, kept_bytes):
        """A sidecar that is cut off is no sidecar."""
        values(folder)
        [sidecar] = (folder / ".mlv" / "cache").glob("*.arrow")
        sidecar.write_bytes(sidecar.read_bytes()[:kept_bytes])

        assert len(values(folder)) == 200

    @pytest.mark.parametrize("end", [b"", b"{}", b'{"content":{},"signature":""}', b"[" * 300, b"null"])
    @pytest.mark.parametrize("length", [0, 2, 29, 2**33, 2**64 - 1])
    def test_hostile_end(self, folder, parsed, end, length):
        """Whatever stands at the end of a sidecar that somebody else made, however long it says that it is, none is read."""
        path = folder / ".mlv" / "cache" / "log.arrow"
        path.parent.mkdir(parents=True)
        with open(path, "wb") as file:
            file.truncate(2**34)  # without taking room
            file.seek(0, os.SEEK_END)
            file.write(end + length.to_bytes(8, "little"))

        assert len(values(folder)) == 200
        assert parsed == [0]

    def test_foreign_sidecar(self, folder):
        """The sidecar of another log is not taken for that of this one."""
        values(folder)
        (folder / "log.jsonl").rename(folder / "val.log.jsonl")
        (folder / "log.jsonl").write_bytes(metric_lines(1, 200, 0.25))

        assert values(folder) == values_without_sidecar(folder)

    def test_deleted(self, folder):
        """Without the folder it is made again."""
        values(folder)
        shutil.rmtree(folder / ".mlv")

        assert len(values(folder)) == 200


def values_without_sidecar(folder: Path) -> list[tuple[int, float]]:
    content = {path.name: path.read_bytes() for path in folder.glob("*.jsonl")}
    apart = folder.parent / "apart"
    shutil.rmtree(apart, ignore_errors=True)
    apart.mkdir()
    for name, text in content.items():
        (apart / name).write_bytes(text)
    return values(apart)


class TestPlaces:
    def test_read_only_media(self, folder, parsed, monkeypatch):
        """Where nothing can be made in the experiment, the sidecar lies in the user's cache folder."""
        (folder / ".mlv").write_text("no folder can be made here")

        values(folder)
        values(folder)

        assert len(list((folder.parent / "home" / "mlv").glob("*/log.arrow"))) == 1
        assert parsed[1] > 0

    def test_nowhere(self, folder, monkeypatch):
        """Where nothing can be written at all, reading works, and warns of nothing."""
        (folder / ".mlv").write_text("")
        (folder.parent / "home").write_text("")

        assert len(values(folder)) == 200

    def test_nothing_unfinished_is_left(self, folder):
        """Only what was published lies there."""
        values(folder)

        assert [path.name for path in (folder / ".mlv" / "cache").iterdir() if path.suffix != ".seen"] == ["log.arrow"]


def test_readers_at_once(folder):
    """Several readers build the sidecar at the same time, while the log grows, and each reads what is there."""
    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(len(values(folder)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    with open(folder / "log.jsonl", "ab") as file:
        file.write(metric_lines(201, 300))
    for thread in threads:
        thread.join()

    assert len(results) == 4
    assert all(200 <= count <= 300 for count in results)
    assert len(values(folder)) == 300


class TestParts:
    def grow(self, folder: Path, first: int, last: int) -> None:
        with open(folder / "log.jsonl", "ab") as file:
            file.write(metric_lines(first, last))
        assert values(folder) == values_without_sidecar(folder)

    def names(self, folder: Path) -> list[str]:
        return sorted(path.name for path in (folder / ".mlv" / "cache").iterdir() if path.suffix != ".seen")

    def test_what_was_appended_has_its_own(self, folder, parsed):
        """A short rest is not paid for with a sidecar written anew."""
        values(folder)
        before = (folder / ".mlv" / "cache" / "log.arrow").stat()
        self.grow(folder, 201, 220)
        after = (folder / ".mlv" / "cache" / "log.arrow").stat()
        values(folder)

        assert self.names(folder) == ["log.arrow", "log.arrow.1"]
        assert before.st_ino == after.st_ino
        assert parsed[-1] == (folder / "log.jsonl").stat().st_size

    def test_are_few(self, folder):
        """Parts that are hardly longer than what was appended are written as one with it."""
        for last in range(200, 1000, 20):
            self.grow(folder, last + 1, last + 20)

        assert len(self.names(folder)) < 6

    @pytest.mark.parametrize("name", ["log.arrow", "log.arrow.1"])
    @pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_bytes(b"PAR1")])
    def test_one_that_is_gone(self, folder, name, harm):
        """Any part may be deleted or damaged at any time."""
        values(folder)
        self.grow(folder, 201, 220)
        harm(folder / ".mlv" / "cache" / name)

        assert values(folder) == values_without_sidecar(folder)
        assert values(folder) == values_without_sidecar(folder)

    def test_one_whose_numbers_the_disk_changed(self, folder):
        """What is read until the damage shows is not read twice, and the part is written anew."""
        limits = EAGER._replace(group_rows=50, block_bytes=5000)
        values(folder, limits)
        path = folder / ".mlv" / "cache" / "log.arrow"
        content = path.read_bytes()
        place = content.rindex(struct.pack("<d", 0.5))
        path.write_bytes(content[:place] + struct.pack("<d", 0.7) + content[place + 8 :])

        assert values(folder, limits) == values_without_sidecar(folder)
        assert values(folder, limits) == values_without_sidecar(folder)

    def test_of_a_log_that_was_another(self, folder):
        """A second part is not believed beside a first one that was written anew."""
        values(folder)
        self.grow(folder, 201, 220)
        second = (folder / ".mlv" / "cache" / "log.arrow.1").read_bytes()
        (folder / "log.jsonl").write_bytes(metric_lines(1, 220, 0.25))
        values(folder)
        (folder / ".mlv" / "cache" / "log.arrow.1").write_bytes(second)

        assert values(folder) == values_without_sidecar(folder)


class TestWhoseItIs:
    """B4: a sidecar is believed only where the user who reads it has written it."""

    @staticmethod
    def poison(path: Path) -> None:
        """Change every value and keep all else, as anybody can who can write the folder."""
        content = path.read_bytes()
        length = int.from_bytes(content[-8:], "little")
        said = json.loads(content[-8 - length : -8])
        kept, groups = struct.pack("<d", 0.5), b""
        assert kept in content
        for group in said["content"]["groups"]:
            offset, size, _, _ = group
            groups += content[offset : offset + size].replace(kept, struct.pack("<d", 0.001))
            group[2] = hashlib.sha256(groups[offset:]).hexdigest()
        end = json.dumps(said).encode()
        path.write_bytes(groups + end + len(end).to_bytes(8, "little"))

    def test_other_rows(self, folder, parsed):
        """B4: rows that somebody changed, with the true hashes of the log beside them, are not believed."""
        before = values(folder)
        self.poison(folder / ".mlv" / "cache" / "log.arrow")

        assert values(folder) == before
        assert parsed[1:] == [0]

    @pytest.mark.parametrize("whose", ["another key", "no key", "a key that others can read", "a key that is a link"])
    def test_of_another_user(self, folder, tmp_path, monkeypatch, parsed, whose):
        """B4: what was signed with another key is not believed, nor is a key that another may have made or read."""
        before = values(folder)
        key = tmp_path / "home" / "mlv" / "key"
        assert key.stat().st_mode & 0o777 == 0o600
        if whose == "another key":
            monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
        elif whose == "no key":
            key.unlink()
            key.mkdir()
        elif whose == "a key that others can read":
            key.chmod(0o644)
        else:
            key.rename(tmp_path / "key")
            key.symlink_to(tmp_path / "key")

        assert values(folder) == before
        assert parsed[1:] == [0]

    def test_a_forged_note_that_the_log_is_unchanged(self, folder):
        """B4: that a log was hashed as it is now is believed only of this user."""
        wait_for_tick(folder / "log.jsonl")
        values(folder)
        (folder / "log.jsonl").write_bytes(metric_lines(1, 200, 0.25))
        stamp = cache.stamp_of(folder, "log")
        seen = folder / ".mlv" / "cache" / "log.seen"
        forged = json.loads(seen.read_bytes())
        forged["seen"]["log"] = list(stamp or ())
        seen.write_text(json.dumps(forged))

        assert {value for _, value in values(folder)} == {0.25}

    def test_without_a_home(self, folder, tmp_path, parsed):
        """B4: where no key can be kept, all is read from the log, and nothing is left that nobody would believe."""
        (tmp_path / "home").write_text("")

        assert len(values(folder)) == len(values(folder)) == 200
        assert parsed == [0, 0]
        assert not list(folder.rglob("*.arrow"))

    def test_a_folder_that_is_a_link(self, folder, tmp_path):
        """B4: a sidecar is not written where a link of somebody else leads."""
        (tmp_path / "elsewhere").mkdir()
        (folder / ".mlv").mkdir()
        (folder / ".mlv" / "cache").symlink_to(tmp_path / "elsewhere")

        assert len(values(folder)) == 200
        assert list((tmp_path / "elsewhere").iterdir()) == []
