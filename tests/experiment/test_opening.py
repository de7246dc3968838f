"""Opening an experiment again: to read it, or to go on with it as another run."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from logs import of_type, read

import mlv
from mlv import Exp, InvalidArgument, MetaEdited, MlvWarning, NotAnExperiment

pytestmark = pytest.mark.usefixtures("inline")


def finished(tmp_path: Path, name: str = "exp", **options: object) -> Path:
    """An experiment whose run is over."""
    with Exp(tmp_path / "runs", name, {"lr": 0.1}, capture=(), **options) as exp:
        exp.log({"loss": 1})
    return exp.path


def edit(folder: Path, **changes: object) -> None:
    path = folder / "meta.json"
    content = {**json.loads(path.read_bytes()), **changes}
    path.chmod(0o644)
    path.write_text(json.dumps(content))


class TestOpen:
    def test_the_same(self, tmp_path):
        """An experiment that is opened is the one that was made."""
        folder = finished(tmp_path, kind="train", tags=["a"], notes="Why.")
        exp = Exp.open(folder)

        assert (exp.path, exp.name, exp.kind, exp.tags, exp.notes) == (folder, "exp", "train", ("a",), ("Why.",))
        assert exp.params == {"lr": 0.1}
        assert [event.data for event in exp.events("metrics")] == [{"loss": 1}]
        assert exp.status == "ok"

    @pytest.mark.parametrize("kind", [str, Path, os.fsencode], ids=["str", "Path", "bytes"])
    def test_paths(self, tmp_path, kind):
        """A path of any kind will do."""
        folder = finished(tmp_path)

        assert Exp.open(kind(str(folder))).path == folder

    def test_reading_leaves_no_trace(self, tmp_path):
        """Reading changes no byte of an experiment."""
        folder = finished(tmp_path)
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        exp = Exp.open(folder)

        assert (len(exp.runs), exp.status, len(list(exp.events())), exp.tags) == (1, "ok", 5, ())
        exp.close()
        del exp
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before

    def test_logging_is_another_run(self, tmp_path):
        """The first event begins another run of the same experiment, numbered from 1."""
        exp = Exp.open(finished(tmp_path))
        exp.log({"loss": 2})

        assert [run.status for run in exp.runs] == ["ok", "running"]
        first, second = exp.events("metrics")
        assert (first.seq, second.seq) == (2, 2)
        assert first.run != second.run
        assert exp.status == "running"
        exp.close("preempted")
        assert exp.status == "preempted"

    def test_a_later_run_captures(self, tmp_path):
        """What a later run is made of stands in its own `run_started`."""
        exp = Exp.open(finished(tmp_path))
        exp.log({"loss": 2})
        exp.close()

        first, second = of_type(read(exp.path), "run_started")
        assert "script" not in first["data"]
        assert {"script", "git", "env", "machine"} <= set(second["data"])

    def test_options_of_the_run(self, python, tmp_path):
        """What a later run captures, samples and prints is chosen when the experiment is opened."""
        folder = finished(tmp_path)
        python(
            f"""
            import mlv
            reader = mlv.Exp.open({str(folder)!r})
            with mlv.Exp.open({str(folder)!r}, capture=["script"], system=False, console=True) as exp:
                print("printed")
            """
        )

        exp = Exp.open(folder)
        _, second = [event for event in of_type(read(folder), "run_started") if "parent_run" not in event["data"]]
        assert {"script", "git", "env", "machine"} & second["data"].keys() == {"script"}
        assert [event.data["message"] for event in exp.events("message", stream="console", name="stdout")] == ["printed"]
        assert not (folder / "system.log.jsonl").exists()

    @pytest.mark.parametrize("option", [{"capture": ["colour"]}, {"system": "often"}])
    def test_bad_options(self, tmp_path, option):
        """An option with a value that it cannot have is refused."""
        with pytest.raises(InvalidArgument):
            Exp.open(finished(tmp_path), **option)

    @pytest.mark.usefixtures("ring")
    def test_twice_in_one_process(self, tmp_path):
        """Opening what this process is writing gives the same run."""
        with Exp(tmp_path, "exp", capture=()) as exp:
            again = Exp.open(exp.path)
            exp.log({"a": 1})
            again.log({"a": 2})

            assert [event.seq for event in again.events("metrics")] == [2, 3]
            assert len(exp.runs) == 1

    def test_by_its_name(self, tmp_path):
        """`on_exists="open"` opens exactly that experiment for another run, or makes it."""
        paths = []
        for _ in range(2):
            with Exp(tmp_path, "exp", {"lr": 0.1}, on_exists="open", capture=()) as exp:
                exp.log({"a": 1})
                paths.append(exp.path)

        assert paths == [tmp_path / "exp"] * 2
        assert [run.status for run in exp.runs] == ["ok", "ok"]

    def test_not_yet_whole(self, tmp_path):
        """`on_exists="open"` waits for the meta.json of an experiment that is just being made."""
        import threading

        with Exp(tmp_path, "made", capture=()) as other:
            (tmp_path / "exp").mkdir()
            timer = threading.Timer(0.2, lambda: os.link(other.path / "meta.json", tmp_path / "exp" / "meta.json"))
            timer.start()
            with Exp(tmp_path, "exp", on_exists="open", capture=()) as exp:
                assert exp.id == other.id
            timer.join()

    @pytest.mark.usefixtures("ring")
    def test_while_another_process_writes(self, tmp_path):
        """Two processes may write into one experiment at once: each has its run, and nothing is lost or mixed."""
        script = (
            "import mlv, sys\n"
            "exp = mlv.Exp('runs', 'exp', on_exists='open', capture=())\n"
            "for i in range(500): exp.log({'i': i})\n"
            "print('half', flush=True)\n"
            "sys.stdin.readline()\n"
            "for i in range(500, 1000): exp.log({'i': i})\n"
        )
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        other = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, text=True, **pipes)
        assert other.stdout is not None
        assert other.stdout.readline() == "half\n"
        with Exp.open(tmp_path / "runs" / "exp") as exp:
            assert exp.status == "running"
            for number in range(500):
                exp.log({"j": number})
            other.communicate("go on\n", timeout=60)
            assert [run.status for run in exp.runs] == ["ok", "running"]

        first, second = exp.runs
        found = {run.id: [event for event in exp.events("metrics") if event.run == run.id] for run in (first, second)}
        assert [event.data["i"] for event in found[first.id]] == list(range(1000))
        assert [event.data["j"] for event in found[second.id]] == list(range(500))
        assert exp.status == "ok"


class TestNotAnExperiment:
    @pytest.mark.parametrize("what", ["missing", "empty", "file"])
    def test_no_meta(self, tmp_path, what):
        """A folder without meta.json is no experiment."""
        path = tmp_path / "exp"
        {"missing": lambda: None, "empty": path.mkdir, "file": lambda: path.write_text("")}[what]()

        with pytest.raises(NotAnExperiment, match=r"meta\.json cannot be read .*Give the folder that Exp printed") as caught:
            Exp.open(path)

        assert isinstance(caught.value, FileNotFoundError)
        assert caught.value.path == str(path)

    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b"{",
            b"[]",
            b"{}",
            b'{"format":1}',
            b'{"format":1,"params":3}',
            b'{"format":2,"params":{}}',
            b"\xff",
            b"[" * 5000,
        ],
        ids=lambda text: repr(text[:10]),
    )
    def test_strange_meta(self, tmp_path, text):
        """What is no meta.json that this version reads is refused with the reason."""
        (tmp_path / "meta.json").write_bytes(text)

        with pytest.raises(NotAnExperiment, match=r"is not a meta\.json: .*Restore it from a copy"):
            Exp.open(tmp_path)

    def test_half_meta(self, tmp_path):
        """So is one that was cut off at any place."""
        folder = finished(tmp_path)
        text = (folder / "meta.json").read_bytes()
        (folder / "meta.json").chmod(0o644)
        for size in range(0, len(text) - 2, 7):
            (folder / "meta.json").write_bytes(text[:size])
            with pytest.raises(NotAnExperiment):
                Exp.open(folder)

    @pytest.mark.parametrize("path", [None, 3, {"a": 1}, "a\0b"])
    def test_no_path(self, path):
        """What is no path is refused with its value."""
        with pytest.raises(InvalidArgument, match="path="):
            Exp.open(path)

    def test_a_folder_that_is_no_experiment(self, tmp_path):
        """`on_exists="open"` does not make an experiment of a folder of another kind."""
        (tmp_path / "exp").mkdir()
        (tmp_path / "exp" / "mine.txt").write_text("mine")
        # It waits for the meta.json of somebody who might be making it: a file in its place ends that at once.
        (tmp_path / "file").write_text("")

        with pytest.raises(NotAnExperiment):
            Exp(tmp_path, "file", on_exists="open", capture=())
        assert os.listdir(tmp_path / "exp") == ["mine.txt"]


class TestEdited:
    def test_reading_warns(self, tmp_path):
        """A meta.json that was edited shows, with both IDs, and everything can be read."""
        folder = finished(tmp_path)
        before = Exp.open(folder).id
        edit(folder, notes="another story")

        with pytest.warns(MlvWarning, match=before) as caught:
            exp = Exp.open(folder)

        assert exp.id in str(caught[0].message)
        assert exp.id != before
        assert [event.data for event in exp.events("metrics")] == [{"loss": 1}]
        assert (exp.status, exp.params) == ("ok", {"lr": 0.1})

    def test_writing_refuses(self, tmp_path):
        """Nothing more is written into it."""
        folder = finished(tmp_path)
        edit(folder, params={"lr": 7})
        size = (folder / "log.jsonl").stat().st_size
        with pytest.warns(MlvWarning):
            exp = Exp.open(folder)

        for write in (
            lambda: exp.log({"a": 1}),
            lambda: exp.logger("val"),
            lambda: exp.add_params({"a": 1}),
            lambda: exp.add_tags("a"),
            lambda: exp.add_note("a"),
            exp.pause,
            exp.resume,
            lambda: Exp(folder.parent, "exp", on_exists="open", capture=()),
        ):
            with pytest.raises(MetaEdited, match=r"was edited: its ID is .*, its runs recorded .*\. Restore the file"):
                write()
        exp.close()
        assert (folder / "log.jsonl").stat().st_size == size

    def test_a_byte_is_enough(self, tmp_path):
        """White space is enough: the ID is that of the bytes."""
        folder = finished(tmp_path)
        (folder / "meta.json").chmod(0o644)
        with (folder / "meta.json").open("ab") as file:
            file.write(b" ")

        with pytest.warns(MlvWarning, match="was edited"):
            Exp.open(folder)

    def test_travelling(self, tmp_path):
        """An Exp that was pickled before the edit does not write after it."""
        exp = Exp.open(finished(tmp_path))
        pickled = pickle.dumps(exp)
        del exp
        edit(tmp_path / "runs" / "exp", notes="x")

        with pytest.warns(MlvWarning, match="was edited"):
            travelled = pickle.loads(pickled)
        with pytest.raises(MetaEdited):
            travelled.log({"a": 1})

    def test_restored(self, tmp_path):
        """With the old bytes back, everything is as before."""
        folder = finished(tmp_path)
        before = (folder / "meta.json").read_bytes()
        edit(folder, notes="x")
        (folder / "meta.json").write_bytes(before)

        with Exp.open(folder) as exp:
            exp.log({"a": 1})
        assert len(exp.runs) == 2


class TestMoved:
    def test_a_moved_experiment(self, tmp_path):
        """An experiment can be moved and copied; it is the same one, takes new runs, and goes by the name of its folder."""
        folder = finished(tmp_path)
        moved, copied = tmp_path / "elsewhere" / "other name", tmp_path / "copy"
        shutil.copytree(folder, copied)
        moved.parent.mkdir()
        folder.rename(moved)

        for place in (moved, copied):
            with Exp.open(place) as exp:
                exp.log({"loss": 2})
            assert (exp.name, exp.meta["name"]) == (place.name, "exp")
            assert [event.data["loss"] for event in exp.events("metrics")] == [1, 2]

    def test_through_a_link(self, tmp_path):
        """A link to an experiment is that experiment."""
        folder = finished(tmp_path)
        (tmp_path / "link").symlink_to(folder)
        with Exp.open(tmp_path / "link") as exp:
            exp.log({"loss": 2})

        assert len(list(Exp.open(folder).events("metrics"))) == 2

    def test_a_moved_log_goes_on(self, tmp_path):
        """An experiment may be opened, moved by somebody, and read at its new place."""
        folder = finished(tmp_path)
        folder.rename(tmp_path / "moved")

        with pytest.raises(NotAnExperiment):
            Exp.open(folder)
        assert Exp.open(tmp_path / "moved").status == "ok"


class TestAdditions:
    def test_tags_and_notes(self, exp):
        """Tags and notes can be added; those of the beginning come first."""
        exp.add_tags("paper", "best")
        exp.add_tags("paper")
        exp.add_note("It works.")

        assert (exp.tags, exp.notes) == (("paper", "best"), ("It works.",))
        assert [(event.type, event.data) for event in exp.events(["tags", "note"])] == [
            ("tags", {"tags": ["paper", "best"]}),
            ("tags", {"tags": ["paper"]}),
            ("note", {"text": "It works."}),
        ]

    @pytest.mark.parametrize("tags", [(3,), ("",), (["a"],), (None,)])
    def test_bad_tags(self, exp, tags):
        """A tag is a text."""
        with pytest.raises(InvalidArgument, match="tag"):
            exp.add_tags(*tags)

        assert exp.tags == ()

    def test_pause(self, exp):
        """A pause has a reason and a length."""
        exp.pause("maintenance")
        assert exp.runs[-1].paused
        exp.resume()
        assert not exp.runs[-1].paused

        assert [(event.type, event.data) for event in exp.events(["run_paused", "run_resumed"])] == [
            ("run_paused", {"reason": "maintenance"}),
            ("run_resumed", {}),
        ]

    def test_paused(self, exp):
        """`with exp.paused(...)` resumes at the end of the block, also after an exception."""
        with pytest.raises(ValueError, match="no"), exp.paused("lunch"):
            raise ValueError("no")

        [paused] = exp.events("run_paused")
        assert paused.data == {"reason": "lunch"}
        [resumed] = exp.events("run_resumed")
        assert 0 <= resumed.data["paused_s"] < 10

    @pytest.mark.usefixtures("ring")
    def test_flush(self, exp, log):
        """`flush` returns when everything stands in the file."""
        log({"a": 1})

        assert exp.flush() is True
        assert of_type(read(exp.path), "metrics")[-1]["data"] == {"a": 1}

    @pytest.mark.parametrize("status", ["ok", "failed", "interrupted", "preempted", "ended", "killed"])
    def test_close(self, exp, status):
        """A run ends as one says."""
        exp.close(status)
        exp.close("ok")

        assert exp.status == exp.runs[-1].status == status
        assert of_type(read(exp.path), "seal")

    @pytest.mark.parametrize("status", ["running", "lost", "done", "", None, 3])
    def test_close_with_no_status(self, exp, status):
        """A run does not end with a status that is none."""
        with pytest.raises(InvalidArgument, match="give one of ok, failed"):
            exp.close(status)

        assert exp.status == "running"


class TestClosed:
    def test_logging_afterwards(self, exp, log, recwarn):
        """Logging after `close()` stores nothing, warns once for each line of code, and raises nothing."""
        exp.close()
        for _ in range(3):
            log({"a": 1})
        log.info("x")
        exp.add_note("x")

        assert [warning.category for warning in recwarn] == [MlvWarning] * 3
        assert "after close(): the event is not stored" in str(recwarn[0].message)
        assert {warning.filename for warning in recwarn} == {__file__}
        assert read(exp.path)[-1]["type"] == "seal"
        assert list(exp.events("metrics")) == []

    def test_warnings_as_errors(self, exp, log, capsys):
        """Also where warnings are errors."""
        exp.close()
        log({"a": 1})

        assert "after close()" in capsys.readouterr().err

    def test_moving_afterwards(self, exp, log):
        """Loggers can still be made; they write nothing either."""
        exp.close()
        with pytest.warns(MlvWarning):
            exp.logger("val").sub("a").at(b=1)({"c": 1})

        assert not (exp.path / "val.log.jsonl").exists()

    def test_reading_afterwards(self, exp, log):
        """A closed experiment can be read."""
        log({"a": 1})
        exp.close()

        assert (exp.status, exp["lr"], [event.data for event in exp.events("metrics")]) == ("ok", 0.1, [{"a": 1}])

    def test_opening_afterwards(self, exp):
        """It can be opened again, as another run."""
        exp.close()
        with Exp.open(exp.path) as again:
            again.log({"a": 1})

        assert len(exp.runs) == 2

    @pytest.mark.usefixtures("ring")
    def test_flush_afterwards(self, exp):
        """There is nothing left to wait for."""
        exp.close()

        assert exp.flush(timeout=0) is True


@pytest.mark.usefixtures("ring")
def test_context_manager(tmp_path):
    """`with mlv.Exp(...)` ends the run: ok, failed or interrupted."""
    for error, status in [
        (None, "ok"),
        (ValueError("no"), "failed"),
        (KeyboardInterrupt(), "interrupted"),
        (SystemExit(0), "ok"),
    ]:
        try:
            with mlv.Exp(tmp_path, "exp", capture=()) as exp:
                if error is not None:
                    raise error
        except BaseException as caught:
            assert caught is error  # noqa: PT017 - it went on

        assert exp.status == status
        [ended] = exp.events("run_ended")
        if status == "failed":
            assert ended.data["exception"]["message"] == "no"
            assert "ValueError: no" in ended.data["exception"]["traceback"]
            assert exp.runs[-1].exception == ended.data["exception"]
