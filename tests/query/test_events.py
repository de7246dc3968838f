"""Reading the events of an experiment: in order, whatever state its log is in."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from conftest import wait_until
from logs import line, write

from mlv import Exp, InvalidPattern, find
from mlv.cli.overview import look_at
from mlv.errors import InvalidArgument
from mlv.query.events import Events
from mlv.query.name_patterns import name_matcher
from mlv.query.runs import latest_status, status_of, total_s, views
from mlv.state import State
from mlv.store.reading import watched_state
from mlv.store.streams import Skipped

START = line("ra", 1, "run_started", data={"exp": "x"})


def seqs(folder: Path, **choice: object) -> list[tuple[str, int]]:
    return [(event.run, event.seq) for event in Events(folder, **choice)]  # type: ignore[arg-type]


class TestOrder:
    def test_by_time(self, tmp_path):
        """Runs are interleaved by time, over all streams."""
        write(tmp_path, line("ra", 1, second=1), line("ra", 3, second=4), line("rb", 1, second=3))
        write(tmp_path, line("ra", 2, second=2), line("rb", 2, second=5), stream="val")

        assert seqs(tmp_path) == [("ra", 1), ("ra", 2), ("rb", 1), ("ra", 3), ("rb", 2)]

    def test_within_a_run_by_number(self, tmp_path):
        """A large event whose line came late stands at its place."""
        write(tmp_path, line("ra", 1, second=1), line("ra", 3, second=3), line("ra", 2, second=2))

        assert seqs(tmp_path) == [("ra", 1), ("ra", 2), ("ra", 3)]

    @pytest.mark.parametrize("streams", [1, 2])
    def test_a_clock_that_jumps(self, tmp_path, streams):
        """A clock that is set back does not put later events before earlier ones, and other runs keep their place."""
        jumping = [line("ra", 1, second=10), line("ra", 2, second=20), line("ra", 3, second=5), line("ra", 4, second=21)]
        steady = [line("rb", 1, second=15), line("rb", 2, second=20.5)]
        write(tmp_path, *jumping, *(steady if streams == 1 else []))
        if streams == 2:
            write(tmp_path, *steady, stream="val")

        assert seqs(tmp_path) == [("ra", 1), ("rb", 1), ("ra", 2), ("ra", 3), ("rb", 2), ("ra", 4)]

    def test_one_stream_reads_like_several(self, tmp_path):
        """The order of events does not depend on how they lie in files."""
        pytest.importorskip("hypothesis")
        from hypothesis import given
        from hypothesis import strategies as st

        one, several = tmp_path / "one", tmp_path / "several"
        one.mkdir()
        several.mkdir()
        rows = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.booleans()), max_size=8)

        @given(rows, st.randoms())
        def check(rows, random):
            numbers = {"a": 0, "b": 0}
            lines = []
            for run, second, is_val in rows:
                numbers[run] += 1
                lines.append((line("r" + run, numbers[run], second=second), is_val))
            random.shuffle(lines)
            write(one, *(text for text, _ in lines))
            write(several, *(text for text, is_val in lines if not is_val))
            write(several, *(text for text, is_val in lines if is_val), stream="val")

            assert seqs(one) == seqs(several)
            for run in "ab":
                assert [seq for who, seq in seqs(one) if who == "r" + run] == list(range(1, numbers[run] + 1))

        check()

    def test_files_of_second_writers(self, tmp_path):
        """Lines that a second writer wrote beside a stream belong to that stream."""
        write(tmp_path, line("ra", 1, second=1))
        write(tmp_path, line("rb", 1, second=2), stream="val@rw")

        assert [event.stream for event in Events(tmp_path)] == ["log", "val"]
        assert seqs(tmp_path, stream="val") == [("rb", 1)]

    def test_again(self, tmp_path):
        """Iterating again reads again."""
        write(tmp_path, line("ra", 1))
        events = Events(tmp_path)
        before = len(list(events))
        write(tmp_path, line("ra", 1), line("ra", 2))

        assert (before, len(list(events))) == (1, 2)


class TestChoice:
    @pytest.fixture
    def folder(self, tmp_path):
        write(
            tmp_path,
            line("ra", 1, "run_started"),
            line("ra", 2, "metrics", name="train", data={"loss": 1, "acc/top1": 2}),
            line("ra", 3, "metrics", data={"train/loss": 1}),
            line("ra", 4, "event", name="train/saved", data={"type": "metrics"}),
            line("ra", 5, "of_tomorrow", name="x"),
        )
        write(tmp_path, line("ra", 6, "metrics", data={"val": 1}), stream="val")
        return tmp_path

    @pytest.mark.parametrize(
        ("choice", "found"),
        [
            ({}, [1, 2, 3, 4, 5, 6]),
            ({"type": "metrics"}, [2, 3, 6]),
            ({"type": ["event", "of_tomorrow"]}, [4, 5]),
            ({"type": []}, []),
            ({"type": "image"}, []),
            ({"stream": "val"}, [6]),
            ({"stream": "log"}, [1, 2, 3, 4, 5]),
            ({"name": "train"}, [2]),
            ({"name": "train/*"}, [2, 3, 4]),
            ({"name": "train/loss"}, [2, 3]),
            ({"name": "**/top1"}, [2]),
            ({"name": "train/saved"}, [4]),
            ({"name": "train/*", "type": "event"}, [4]),
            ({"name": "**"}, [1, 2, 3, 4, 5, 6]),
            ({"name": "*"}, [2, 5, 6]),
        ],
    )
    def test_by_type_name_and_stream(self, folder, choice, found):
        """Events are chosen by type or types, by stream, and by a pattern over names, full names of metrics included."""
        assert [seq for _, seq in seqs(folder, **choice)] == found

    @pytest.mark.parametrize(
        ("choice", "said"),
        [
            ({"type": "nope"}, "type='nope' is no type of event: did you mean 'note'"),
            ({"type": ["metrics", "imag"]}, "type='imag' is no type of event: did you mean 'image'"),
            ({"stream": "vla"}, "nobody logged into such a stream; did you mean 'val'"),
            ({"stream": 3}, "stream=3 is no text"),
        ],
    )
    def test_what_can_never_be_found(self, folder, choice, said):
        """A type that the format lacks and no event has, and a stream that is not there, are told with those that are close."""
        with pytest.raises(InvalidArgument, match=said):
            list(Events(folder, **choice))

    @pytest.mark.parametrize(
        ("pattern", "matches", "others"),
        [
            ("a", ["a"], ["", "b", "a/b", "aa"]),
            ("*", ["a", "a b", "ünï"], ["", "a/b"]),
            ("a/*", ["a/b"], ["a", "a/", "a/b/c"]),
            ("*/loss", ["a/loss"], ["loss", "a/b/loss"]),
            ("**", ["", "a", "a/b/c"], []),
            ("a/**", ["a", "a/b", "a/b/c"], ["", "ab", "b/a"]),
            ("**/loss", ["loss", "a/loss", "a/b/loss"], ["loss/a", "floss"]),
            ("a/**/z", ["a/z", "a/b/z", "a/b/c/z"], ["a", "z", "az"]),
            ("layer*", ["layer", "layer12"], ["layer/1", "xlayer"]),
            ("l*r/x", ["lr/x", "layer/x"], ["l/r/x"]),
            ("a.b[1]+(c)?^$|", ["a.b[1]+(c)?^$|"], ["axb1"]),
            ("{{x}}", ["{x}"], ["x", "{{x}}"]),
            ("a\nb", ["a\nb"], ["a"]),
            ("", [""], ["a"]),
            ("\0a\1", ["\0a\1"], ["{a}"]),
            ("{{}}{{{{/*", ["{}{{/x"], ["{}/x"]),
        ],
    )
    def test_patterns(self, pattern, matches, others):
        """`*` is one segment or a part of one, `**` any number of segments; nothing else is special."""
        match = name_matcher(pattern)

        assert [name for name in matches if not match(name)] == []
        assert [name for name in others if match(name)] == []

    @pytest.mark.parametrize("pattern", ["{x", "a{", "}", "{{x}", "{x:bool}", 3, b"x", ["a"]])
    def test_what_is_no_pattern(self, tmp_path, pattern):
        """A pattern that cannot be read is refused at once, with what to do."""
        with pytest.raises(InvalidPattern, match=r"pattern .*: (double it|give a text|{x:bool} has the type)"):
            Events(tmp_path, name=pattern)

    def test_braces(self, tmp_path):
        """`events` and `frame` take `{epoch:int}` as `history` does: `frame` makes a column of it, of full names too."""
        pytest.importorskip("pandas")
        with Exp(tmp_path, "e", capture=()) as exp:
            for epoch in (2, 10):
                exp.log.sub(f"epoch_{epoch}")("saved", {"mb": epoch})
                exp.log.sub("val")({f"acc_{epoch}": epoch / 10}, step=epoch)
            exp.log.sub("epoch_x")("saved", {"mb": 0})

        pattern = "epoch_{epoch:int}/saved"
        assert [event.data["mb"] for event in exp.events("event", pattern)] == [2, 10]
        assert exp.frame("event", pattern)[["name", "epoch", "mb"]].to_numpy().tolist() == [
            ["epoch_2/saved", 2, 2], ["epoch_10/saved", 10, 10],
        ]  # fmt: skip
        assert exp.frame("metrics", "val/acc_{epoch:int}")["epoch"].tolist() == [2, 10]
        assert exp.as_of(step=2).frame("metrics", "val/acc_{epoch:int}")["epoch"].tolist() == [2]
        with pytest.raises(InvalidPattern, match="twice"):
            exp.frame("event", "{a}/{a}")

    def test_any_name_matches_itself(self):
        """A name with its braces doubled, and without stars, is a pattern for itself alone."""
        pytest.importorskip("hypothesis")
        from hypothesis import given
        from strategies import clean_texts

        @given(clean_texts, clean_texts)
        def check(name, other):
            if "*" in name:
                return
            match = name_matcher(name.replace("{", "{{").replace("}", "}}"))
            assert match(name)
            assert match(other) == (name == other)

        check()


@pytest.mark.parametrize("type", [3, ["metrics", 3]])
def test_a_type_that_is_no_text(tmp_path, type):
    """It is refused when it is given."""
    with pytest.raises(InvalidArgument, match="type=3 is no text"):
        Events(tmp_path, type)


class TestDamage:
    WHOLE = (START, line("ra", 2, second=1, data={"a": 1}), line("ra", 3, second=2, data={"b": [1, 2]}))

    @pytest.mark.parametrize(
        "bad", [b"garbage\n", b"\n", b"\x00\x00\x00\n", b"[]\n", b'{"run":"ra"}\n', b"\xff\xfe\n", START[:30] + b"\n"]
    )
    @pytest.mark.parametrize("place", [0, 1, 2, 3])
    @pytest.mark.parametrize("streams", [1, 2])
    def test_a_bad_line(self, tmp_path, bad, place, streams):
        """A bad line anywhere is passed over, and its exact byte range is reported."""
        write(tmp_path, *self.WHOLE[:place], bad, *self.WHOLE[place:])
        if streams == 2:
            write(tmp_path, line("rb", 1), stream="val")
        events = Events(tmp_path, stream=None if streams == 2 else "log")

        assert [event.seq for event in events if event.run == "ra"] == [1, 2, 3]
        [skipped] = events.skipped
        start = sum(map(len, self.WHOLE[:place]))
        assert (skipped.stream, skipped.start, skipped.end) == ("log", start, start + len(bad))
        assert str(skipped).startswith(f"log.jsonl, bytes {start} to {start + len(bad)}: ")

    def test_cut_anywhere(self, tmp_path):
        """A log that is cut at any byte gives every event that is whole."""
        content = b"".join(self.WHOLE)
        path = write(tmp_path, content)
        ends = [sum(map(len, self.WHOLE[: count + 1])) for count in range(3)]
        for size in range(len(content) + 1):
            path.write_bytes(content[:size])
            events = Events(tmp_path)

            whole = [number + 1 for number, end in enumerate(ends) if end - 1 <= size]  # a line may lack its newline
            assert [event.seq for event in events] == whole
            rest = [Skipped("log", skipped.start, skipped.end, "") for skipped in events.skipped]
            boundary = max((end for end in ends if end - 1 <= size), default=0)
            assert rest == ([Skipped("log", boundary, size, "")] if size > boundary else [])

    @pytest.mark.parametrize("choice", [{"type": "event"}, {"name": "x"}])
    def test_chosen_ones(self, tmp_path, choice):
        """What is damaged is reported whatever was chosen: it might have been one of those."""
        write(tmp_path, START, b"garbage\n", line("ra", 2, name="x"), b'{"torn":')
        events = Events(tmp_path, **choice)

        assert [event.seq for event in events] == [2]
        assert [(skipped.start, skipped.end) for skipped in events.skipped] == [
            (len(START), len(START) + 8),
            (len(START) + 8 + len(line("ra", 2, name="x")), len(START) + 8 + len(line("ra", 2, name="x")) + 8),
        ]

    def test_lines_of_others(self, tmp_path):
        """White space and another order of fields, as another tool may write them, are no damage."""
        write(tmp_path, b'{ "seq": 1, "type" : "event", "time": "2026-01-01T00:00:00Z", "run": "ra" }\n', line("ra", 2))
        events = Events(tmp_path, "event")

        assert [event.seq for event in events] == [1, 2]
        assert events.skipped == []

    def test_no_log_yet(self, tmp_path):
        """Where there is no log there are no events."""
        assert list(Events(tmp_path)) == []
        assert status_of(tmp_path, "2026-01-01T00:00:00.000000Z") == "lost"

    def test_other_files(self, tmp_path):
        """Files that are no logs are left alone."""
        (tmp_path / "notes.jsonl").write_text("mine")
        (tmp_path / ".hidden.log.jsonl").write_text("mine")
        write(tmp_path, START)

        assert seqs(tmp_path) == [("ra", 1)]


class TestFollow:
    def test_until_the_run_is_over(self, tmp_path):
        """Following gives what is there, then what comes, and ends with the run."""
        exp = Exp(tmp_path, "exp", capture=())
        exp.log({"n": 0})
        found: list[object] = []

        def follow() -> None:
            found.extend(event.data["n"] for event in Exp.open(exp.path).events("metrics", follow=True))
            found.append("end")

        thread = threading.Thread(target=follow)
        thread.start()
        for number in range(1, 4):
            exp.log({"n": number})
            exp.flush()
            time.sleep(0.05)
        exp.logger("val")({"n": 4})
        exp.close()
        thread.join(60)

        assert found == [0, 1, 2, 3, 4, "end"]

    def test_each_arrives(self, tmp_path):
        """An event that is logged is seen within moments."""
        with Exp(tmp_path, "exp", capture=()) as exp:
            events = iter(exp.events("metrics", follow=True))
            for number in range(5):
                exp.log({"n": number})
                assert next(events).data == {"n": number}

    def test_a_run_that_is_over(self, tmp_path):
        """Following what is over gives all of it, and ends at once."""
        with Exp(tmp_path, "exp", capture=()) as exp:
            exp.log({"n": 1})

        assert [event.data for event in exp.events("metrics", follow=True)] == [{"n": 1}]

    def test_a_line_that_is_being_written(self, tmp_path):
        """Half a line is waited for."""
        whole = line("ra", 2)
        path = write(tmp_path, START, whole[:20])
        over = threading.Event()
        found = Events(tmp_path).follow(over.is_set)

        assert next(found).seq == 1
        with path.open("ab") as file:
            file.write(whole[20:])
        assert next(found).seq == 2
        over.set()
        assert list(found) == []

    def test_bad_lines(self, tmp_path):
        """A bad line does not stop following, and is reported."""
        write(tmp_path, START, b"garbage\n", line("ra", 2))
        events = Events(tmp_path)

        assert [event.seq for event in events.follow(lambda: True)] == [1, 2]
        assert [(skipped.start, skipped.end) for skipped in events.skipped] == [(len(START), len(START) + 8)]

    def test_a_killed_run(self, python, tmp_path):
        """Following ends when the run is killed."""
        python(
            """
            import mlv, os
            exp = mlv.Exp("runs", "exp", capture=())
            exp.log({"n": 1})
            os.kill(os.getpid(), 9)
            """
        )
        exp = Exp.open(tmp_path / "runs" / "exp")

        assert [event.data for event in exp.events("metrics", follow=True)] == [{"n": 1}]


class TestRuns:
    def test_running(self, tmp_path):
        """A running experiment can be read from outside while it is written."""
        with Exp(tmp_path, "exp", capture=()) as exp:
            for number in range(1000):
                exp.log({"n": number})
            exp.flush()
            here = status_of(exp.path, exp.meta["created"])
            found = [event.data["n"] for event in Events(exp.path, "metrics")]

        assert (here, found) == ("running", list(range(1000)))

    def test_status_without_a_run(self):
        """An experiment that was made just now is about to run; one made long ago never did."""
        now = datetime.now(timezone.utc)

        assert latest_status(State(), now.isoformat(), now) == "running"
        assert latest_status(State(), (now - timedelta(hours=1)).isoformat(), now) == "lost"
        assert latest_status(State(), "nonsense", now) == "lost"

    def test_watching(self, tmp_path):
        """A watched state follows the log, and is read once while the log stays as it is."""
        write(tmp_path, START)
        state = watched_state(tmp_path)
        assert state() is state()
        assert state().runs["ra"].verdict is None
        write(tmp_path, START, line("ra", 2, "run_ended", data={"status": "failed"}))

        assert state().runs["ra"].verdict == "failed"

    def test_the_latest_counts(self, tmp_path):
        """The status of an experiment is that of the run that began last; children do not count."""
        write(
            tmp_path,
            START,
            line("rb", 1, "run_started", second=1),
            line("rc", 1, "run_started", second=2, data={"parent_run": "rb"}),
            line("rb", 2, "run_ended", second=3, data={"status": "interrupted"}),
        )

        assert status_of(tmp_path, "") == "interrupted"

    def test_views(self, tmp_path):
        """Runs come in the order of their start, each with its children."""
        from mlv.state import fold

        write(
            tmp_path,
            line("rb", 1, "run_started", second=2),
            line("rc", 1, "run_started", second=3, data={"parent_run": "ra"}),
            line("ra", 1, "run_started", second=1),
            line("rd", 1, "run_started", second=4, data={"parent_run": "rc"}),
            line("rb", 2, "run_ended", second=9, data={"status": "ok"}),
        )
        found = views(fold(Events(tmp_path)), datetime.now(timezone.utc))

        assert [(run.id, [child.id for child in run.children]) for run in found] == [("ra", ["rc"]), ("rb", [])]
        assert [child.id for child in found[0].children[0].children] == ["rd"]
        assert found[1].duration_s == 7

    def test_runs_of_an_experiment(self, tmp_path):
        """`exp.runs` has everything about a run: ID, times, status, process."""
        with Exp(tmp_path, "exp", capture=()) as exp:
            exp.log({"a": 1})
            [run] = exp.runs
            assert (run.status, run.ended, run.exception) == ("running", None, None)
        [run] = exp.runs

        assert run.id.startswith("r")
        assert (run.status, run.parent_run, run.children, run.params, run.paused) == ("ok", None, (), {}, False)
        assert run.started <= run.ended <= datetime.now(timezone.utc)
        assert run.duration_s == (run.ended - run.started).total_seconds()
        assert run.process["pid"] > 0


def test_recovery_by_opening(python, tmp_path):
    """Opening an experiment whose process and writer were killed finishes what they left."""
    python(
        """
        import mlv, os, signal, psutil, time
        exp = mlv.Exp("runs", "exp", capture=())
        exp.log({"n": 0})
        exp.flush()
        for process in psutil.process_iter(["cmdline"]):
            if str(exp.path) in (process.info["cmdline"] or []):
                process.send_signal(signal.SIGSTOP)
                writer = process
        for n in range(1, 100):
            exp.log({"n": n})
        writer.kill()
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    exp = Exp.open(tmp_path / "runs" / "exp")

    assert [event.data["n"] for event in exp.events("metrics")] == list(range(100))
    wait_until(lambda: exp.status == "killed")


def test_total_time(tmp_path):
    """`total_s` is the time of all runs of main ranks together, without children, in every view."""
    pytest.importorskip("duckdb")
    pytest.importorskip("pandas")
    folder = tmp_path / "e"
    folder.mkdir()
    (folder / "meta.json").write_text('{"format": 1, "params": {}, "created": "2026-01-01T00:00:00.000000Z"}')
    runs = [("ra", {}, 0, 10), ("rb", {}, 20, 25), ("rc", {"rank": 1}, 20, 59), ("rd", {"parent_run": "rb"}, 21, 24)]
    lines = [
        line(run, seq, kind, second=second, data=data)
        for run, about, start, end in runs
        for seq, kind, second, data in ((1, "run_started", start, about), (2, "run_ended", end, {"status": "ok"}))
    ]
    write(folder, *lines)

    found = find(tmp_path)

    assert total_s(State(), datetime.now(timezone.utc)) is None
    assert found.frame()["total_s"].tolist() == [15.0]
    assert found.sql("select total_s from experiments").rows() == [(15.0,)]
    assert len(find(tmp_path, where="total_s > 14 and duration_s < 14 or duration_s = 39")) == 1
    now = datetime.now(timezone.utc)
    assert look_at(folder, now).view.total_s(now) == 15
