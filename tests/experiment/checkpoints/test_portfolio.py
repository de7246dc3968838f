"""The checkpoint portfolio: what is saved is there whole, what the policy lets go is gone, and the log knows of both."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
import threading
from dataclasses import FrozenInstanceError
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from logs import line

import mlv
from mlv.audit.verify import verify
from mlv.experiment.checkpoints import savers
from mlv.experiment.checkpoints.portfolio import Portfolio
from mlv.store.files import move_new

pytestmark = pytest.mark.usefixtures("inline")


def content(text: str) -> Any:
    """A function that writes a text to the path that it is given."""
    return lambda path: Path(path).write_text(text)


def files(exp: mlv.Exp, folder: str = "models") -> list[str]:
    """Everything below the folder of a portfolio."""
    top = exp.path / folder
    return sorted(path.relative_to(top).as_posix() for path in top.rglob("*") if not path.is_dir())


def lines(exp: mlv.Exp) -> list[dict[str, Any]]:
    """The checkpoint events, as they stand on the disk."""
    exp.flush()
    found = map(json.loads, (exp.path / "log.jsonl").read_text().splitlines())
    return [line for line in found if line["type"] == "checkpoint"]


def numbers(portfolio: Portfolio) -> list[int]:
    return [checkpoint.save for checkpoint in portfolio.kept]


def reopened(exp: mlv.Exp) -> mlv.Exp:
    """The experiment, closed and opened again for another run."""
    exp.close()
    return mlv.Exp.open(exp.path)


class TestSaving:
    def test_what_is_on_the_disk(self, exp):
        """Every folder has the files that the policy keeps there, once each: the names are links."""
        portfolio = exp.checkpoints(every=2, top=1, metric="loss", mode="min")
        for step, loss in enumerate([0.5, 0.1]):
            portfolio.save(content("weights"), step=step, metrics={"loss": loss}, suffix=".bin")

        assert files(exp) == ["every_k/000002-step1.bin", "latest/000002-step1.bin", "top_k/000002-step1.bin"]
        assert len({path.stat().st_ino for path in (exp.path / "models").rglob("*.bin")}) == 1
        assert [entry.name for entry in (exp.path / "models").iterdir() if entry.name.startswith(".")] == []

    def test_what_is_in_the_log(self, exp):
        """The policy, each save and each removal is an event, so that the log knows what was let go."""
        portfolio = exp.checkpoints(top=1, metric="loss", mode="min")
        portfolio.save(content("first"), step=3, metrics={"loss": 0.5})
        portfolio.save(content("second"), metrics={"loss": 0.1, "acc": 0.9})

        digests = [sha256(word).hexdigest() for word in (b"first", b"second")]
        policy, first, second, removed = lines(exp)
        assert policy["data"] == {
            "action": "policy", "folder": "models", "top": 1, "metric": "loss", "mode": "min", "latest": 1,
        }  # fmt: skip
        assert (first["step"], first["data"]) == (3, {
            "action": "saved", "folder": "models", "save": 1, "metrics": {"loss": 0.5},
            "file": {
                "_mlv": "file", "path": "models/top_k/000001-step3", "size": 5, "sha256": digests[0],
                "media_type": "application/octet-stream",
            },
            "places": ["models/top_k/000001-step3", "models/latest/000001-step3"],
        })  # fmt: skip
        assert second["data"]["file"]["sha256"] == digests[1]
        assert removed["data"] == {
            "action": "removed", "folder": "models", "save": 1, "is_gone": True,
            "places": ["models/top_k/000001-step3", "models/latest/000001-step3"],
        }  # fmt: skip

    def test_what_comes_back(self, exp):
        """A save gives the checkpoint: where it is, when, what was measured, and what is in it."""
        found = exp.checkpoints().save(content("weights"), step=0.5, metrics={"loss": float("nan")}, suffix=".bin")

        assert found.path == exp.path / "models/latest/000001-step0.5.bin"
        assert (found.step, found.size, found.save) == (0.5, 7, 1)
        assert found.metrics["loss"] != found.metrics["loss"]
        assert found.sha256 == sha256(found.path.read_bytes()).hexdigest()
        assert dict(found.reference)["path"] == "models/latest/000001-step0.5.bin"

    def test_a_checkpoint_does_not_change(self, exp):
        """A checkpoint is a record: it cannot be changed, is equal to itself read again, and travels."""
        found = exp.checkpoints().save(content("weights"), metrics={"a": 1})

        with pytest.raises(FrozenInstanceError):
            found.step = 3
        with pytest.raises(TypeError, match="read-only"):
            found.metrics["a"] = 2
        assert exp.latest == found == pickle.loads(pickle.dumps(found))
        assert len({found, exp.latest}) == 1
        assert not os.access(found.path, os.W_OK) or os.geteuid() == 0

    def test_kept_nowhere(self, exp):
        """What the policy keeps nowhere is not written; the log knows that it was asked for, and it counts."""
        portfolio = exp.checkpoints(every=2, latest=0)

        found = [portfolio.save(content("x"), step=step) for step in range(4)]

        assert [checkpoint and checkpoint.save for checkpoint in found] == [None, 2, None, 4]
        assert files(exp) == ["every_k/000002-step1", "every_k/000004-step3"]
        assert lines(exp)[1]["data"] == {"action": "saved", "folder": "models", "save": 1}

    def test_kept(self, exp):
        """All that is kept stands in the order of the saves, each once, at the place where it stays longest."""
        portfolio = exp.checkpoints(every=3, top=1, metric="loss", mode="min", latest=2)
        for loss in (5, 1, 4, 3, 2):
            portfolio.save(content(str(loss)), metrics={"loss": loss})

        places = [checkpoint.path.parent.name for checkpoint in portfolio.kept]
        assert list(zip(numbers(portfolio), places, strict=True)) == [
            (2, "top_k"), (3, "every_k"), (4, "latest"), (5, "latest"),
        ]  # fmt: skip
        assert [checkpoint.path.read_text() for checkpoint in portfolio.kept] == ["1", "4", "3", "2"]
        assert portfolio.best.save == exp.best.save == 2
        assert portfolio.latest.save == exp.latest.save == 5

    @pytest.mark.parametrize("value", [3, 0.5, True])
    def test_metrics_of_numpy(self, exp, value):
        """Metrics may be whatever log() takes as a number, nested mappings too."""
        np = pytest.importorskip("numpy")
        portfolio = exp.checkpoints(top=1, metric="test/loss", mode="min")

        found = portfolio.save(content("x"), metrics={"test": {"loss": np.asarray(value)}})

        assert found.metrics == {"test/loss": value}
        assert portfolio.best.save == 1

    def test_a_metric_that_is_missing(self, exp):
        """A save without the metric is kept as the latest, never as the best, and one warning names the metric."""
        portfolio = exp.checkpoints(top=1, metric="loss", mode="min")

        def save_twice() -> None:
            for _ in range(2):
                portfolio.save(content("x"), metrics={"acc": 1.0})

        with pytest.warns(mlv.MlvWarning, match=r"without a number as 'loss'.*Its metrics: acc=") as warned:
            save_twice()

        assert len(warned) == 1
        assert portfolio.latest.save == 2
        with pytest.raises(mlv.CheckpointMissing, match="none that is kept as such has a number as 'loss'"):
            exp.best  # noqa: B018

    def test_nan(self, exp):
        """NaN is never the best, and no reason to warn."""
        portfolio = exp.checkpoints(top=2, metric="loss", mode="max")
        for loss in (float("nan"), 1.0, float("inf"), float("nan")):
            portfolio.save(content("x"), metrics={"loss": loss})

        assert portfolio.best.save == 3
        assert numbers(portfolio) == [2, 3, 4]

    def test_names_that_are_taken(self, exp):
        """A file that a user put there is never replaced nor removed: the save takes the next number."""
        portfolio = exp.checkpoints(every=1)
        mine = exp.path / "models/latest/000001-step7.bin"
        mine.parent.mkdir(parents=True)
        mine.write_text("mine")

        found = portfolio.save(content("x"), step=7, suffix=".bin")
        portfolio.save(content("y"), step=8, suffix=".bin")

        assert (found.save, found.path.name) == (2, "000002-step7.bin")
        assert mine.read_text() == "mine"
        assert files(exp) == [
            "every_k/000002-step7.bin", "every_k/000003-step8.bin", "latest/000001-step7.bin", "latest/000003-step8.bin",
        ]  # fmt: skip

    @pytest.mark.usefixtures("ring")
    def test_threads(self, exp):
        """Threads save at the same time: each save has a number of its own, and nothing is lost."""
        portfolio = exp.checkpoints(every=1, latest=3)

        def train(name: int) -> None:
            for step in range(10):
                portfolio.save(content(f"{name} {step}"), step=step)

        threads = [threading.Thread(target=train, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert numbers(portfolio) == list(range(1, 41))
        assert {checkpoint.path.read_text() for checkpoint in portfolio.kept} == {
            f"{n} {s}" for n in range(4) for s in range(10)
        }
        assert len(files(exp)) == 43

    def test_a_save_within_a_save(self, exp):
        """A save that interrupts another one, as in a signal handler, comes first; both are kept."""
        portfolio = exp.checkpoints(latest=5)

        def interrupted(path: str) -> None:
            portfolio.save(content("inner"), step=1)
            Path(path).write_text("outer")

        portfolio.save(interrupted, step=1)

        assert [checkpoint.path.read_text() for checkpoint in portfolio.kept] == ["inner", "outer"]
        assert numbers(portfolio) == [1, 2]

    @pytest.mark.parametrize("what", ["file", "folder"])
    def test_without_links(self, exp, monkeypatch, what):
        """Where the file system has no links, the places have copies."""

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
        found = exp.checkpoints(every=1).save(content("x") if what == "file" else folder_of(a="x"))

        inner = [] if what == "file" else ["a"]
        assert files(exp) == ["/".join([section, "000001", *inner]) for section in ("every_k", "latest")]
        assert [path.name for path in (exp.path / "models").iterdir() if path.name.startswith(".")] == []
        assert found.path.exists()

    def test_read_only_folders(self, exp):
        """A folder that its maker left read-only is moved, and removed when the policy lets it go."""
        portfolio = exp.checkpoints()

        def save(path: str) -> None:
            folder_of(a="x")(path)
            os.chmod(path, 0o555)

        for _ in range(2):
            assert portfolio.save(save).path.stat().st_mode & 0o700 == 0o700
        assert files(exp) == ["latest/000002/a"]

    def test_with_a_writer(self, ring, tmp_path):
        """With a writer process it is all the same."""
        with mlv.Exp(tmp_path, "ring", capture=()) as exp:
            exp.checkpoints().save(content("x"))

        assert mlv.Exp.open(exp.path).latest.save == 1
        assert verify(exp.path).verdict == "intact"


def folder_of(**texts: str) -> Any:
    """A function that makes a folder with these files."""

    def make(path: str) -> None:
        for name, text in texts.items():
            place = Path(path, *name.split("__"))
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)

    return make


class TestPolicy:
    def test_said_once(self, exp):
        """The policy is an event where it differs from the one before, and only there."""
        for _ in range(2):
            exp.checkpoints(latest=2)
            exp.checkpoints()
        exp.checkpoints(latest=3)
        reopened(exp).checkpoints(latest=3)

        assert [line["data"]["latest"] for line in lines(exp)] == [2, 3]

    def test_default(self, exp):
        """Where nothing was ever said, the latest is kept."""
        portfolio = exp.checkpoints()

        assert portfolio.policy.to_data() == {"latest": 1}
        assert repr(portfolio) == "<Portfolio exp/models: latest=1>"

    @pytest.mark.parametrize("mode", ["min", "max"])
    def test_mode_from_the_description(self, exp, mode):
        """What log.describe said about the metric decides what the best is."""
        exp.log.describe("loss", mode=mode)
        portfolio = exp.checkpoints(top=1, metric="loss")
        for loss in (2, 1, 3):
            portfolio.save(content("x"), metrics={"loss": loss})

        assert portfolio.best.metrics["loss"] == {"min": 1, "max": 3}[mode]

    def test_no_mode(self, exp):
        """Otherwise a metric without a mode is refused, and nothing is written."""
        exp.log.describe("loss", unit="nat")
        with pytest.raises(mlv.InvalidArgument, match="has no mode"):
            exp.checkpoints(top=1, metric="loss")

        assert lines(exp) == []

    @pytest.mark.parametrize(
        "name", ["../x", "/x", "", ".", "a/b", ".hidden", "files", "a@b", "x.log.jsonl", "meta.json", 3, "out"]
    )
    def test_folders_that_are_none(self, exp, tmp_path, name):
        """A folder whose name is reserved, or leads out of the experiment, is refused."""
        (tmp_path / "elsewhere").mkdir()
        (exp.path / "out").symlink_to(tmp_path / "elsewhere")

        with pytest.raises(mlv.InvalidName):
            exp.checkpoints(folder=name)

        assert list((tmp_path / "elsewhere").iterdir()) == []

    @pytest.mark.parametrize(
        "place", ["models/top_k/..", "models/top_k/.", "models/top_k/", "models/top_k/../latest", "models/latest/../../files"]
    )
    def test_places_that_are_none(self, exp, place):
        """B6: an event that names no file of a portfolio lets go nothing, whoever wrote it."""
        portfolio = exp.checkpoints(latest=2)
        portfolio.save(content("x"), step=1)
        exp.close()
        with open(exp.path / "log.jsonl", "ab") as log:
            data = {"action": "removed", "folder": "models", "save": 9, "places": [place]}
            log.write(line("rattacker0", 1, "checkpoint", data=data))

        with mlv.Exp.open(exp.path) as again:
            kept = again.checkpoints().kept

        assert [(one.path.name, one.path.read_text()) for one in kept] == [("000001-step1", "x")]

    def test_a_section_that_is_a_link(self, exp, tmp_path):
        """B6: what is let go behind a symbolic link stays: it may be anybody's."""
        exp.checkpoints(latest=2).save(content("x"), step=1)
        exp.close()
        (exp.path / "files").mkdir(exist_ok=True)
        (exp.path / "files" / "mine.txt").write_text("mine")
        (exp.path / "models" / "top_k").symlink_to(exp.path / "files")
        with open(exp.path / "log.jsonl", "ab") as log:
            data = {"action": "removed", "folder": "models", "save": 9, "places": ["models/top_k/mine.txt"]}
            log.write(line("rattacker0", 1, "checkpoint", data=data))

        with mlv.Exp.open(exp.path) as again:
            again.checkpoints()

        assert (exp.path / "files" / "mine.txt").read_text() == "mine"

    def test_several_folders(self, exp):
        """Each folder is a portfolio of its own; without `models`, the only one is meant, or none."""
        exp.checkpoints(folder="a").save(content("x"))
        assert exp.latest.path.parts[-3:] == ("a", "latest", "000001")
        exp.checkpoints(folder="b", latest=2).save(content("y"))

        for found in (exp, reopened(exp)):
            with pytest.raises(mlv.CheckpointMissing, match=r"has portfolios in 'a', 'b': say which, as in exp\.checkpoints"):
                found.latest  # noqa: B018
            assert found.checkpoints(folder="b").latest.path.read_text() == "y"
        found.checkpoints().save(content("z"))
        assert found.latest.path.read_text() == "z"


class TestLaterRuns:
    def test_continues(self, exp):
        """A later run goes on with the policy, the numbers, and what is kept."""
        portfolio = exp.checkpoints(every=3, top=1, metric="loss", mode="min", latest=2)
        for loss in (2, 1):
            portfolio.save(content("x"), metrics={"loss": loss})
        with reopened(exp) as again:
            portfolio = again.checkpoints()
            for loss in (3, 4):
                portfolio.save(content("x"), metrics={"loss": loss})

            assert (numbers(portfolio), portfolio.best.save, portfolio.latest.save) == ([2, 3, 4], 2, 4)
        assert len(files(exp)) == 4
        assert len({line["run"] for line in lines(again)}) == 2

    def test_another_policy(self, exp):
        """Another policy holds from the next save on; what stands in every_k stays for ever."""
        portfolio = exp.checkpoints(every=1, latest=2)
        for _ in range(3):
            portfolio.save(content("x"))
        with reopened(exp) as again:
            portfolio = again.checkpoints(latest=1)
            assert len(files(exp)) == 5
            portfolio.save(content("x"))

        assert files(exp) == ["every_k/000001", "every_k/000002", "every_k/000003", "latest/000004"]

    def test_only_reading(self, exp):
        """The best and the latest of a finished experiment are read from its log, also where it was moved."""
        portfolio = exp.checkpoints(top=1, metric="loss", mode="min")
        for loss in (1, 2):
            portfolio.save(content(str(loss)), metrics={"loss": loss}, step=loss)
        kept = portfolio.kept
        exp.close()
        moved = exp.path.rename(exp.path.with_name("moved"))
        before = (moved / "log.jsonl").read_bytes()

        found = mlv.Exp.open(moved)

        assert [checkpoint.path.read_text() for checkpoint in (found.best, found.latest)] == ["1", "2"]
        assert [(c.step, c.metrics, c.sha256, c.size, c.save, c.reference) for c in (found.best, found.latest)] == [
            (c.step, c.metrics, c.sha256, c.size, c.save, c.reference) for c in kept
        ]
        assert found.checkpoints().kept == [found.best, found.latest]
        assert (moved / "log.jsonl").read_bytes() == before

    @pytest.mark.usefixtures("ring")
    def test_from_memory(self, exp):
        """The run that saves need not read the log for it."""
        exp.checkpoints().save(content("x"))
        exp.flush()
        (exp.path / "log.jsonl").write_bytes(b"")

        assert exp.latest.save == 1

    def test_nothing_yet(self, exp):
        """Where there is no checkpoint, the error says why."""
        with pytest.raises(mlv.CheckpointMissing, match=r"has no checkpoints: exp\.checkpoints\(\.\.\.\)\.save"):
            exp.latest  # noqa: B018
        portfolio = exp.checkpoints()
        with pytest.raises(mlv.CheckpointMissing, match=r"there are no checkpoints in 'models' of .* yet"):
            exp.best  # noqa: B018
        portfolio.save(content("x"))
        with pytest.raises(
            mlv.CheckpointMissing, match=r"ranks by no metric.*checkpoints\(top=1, metric='test_loss', mode='min'\)"
        ):
            exp.best  # noqa: B018
        exp.checkpoints(latest=0).save(content("y"))
        with pytest.raises(
            mlv.CheckpointMissing, match=r"none of the 2 checkpoints in 'models'.* is kept: its policy is latest=0$"
        ):
            portfolio.latest  # noqa: B018

    def test_after_close(self, exp):
        """A run that has ended saves nothing, and says so."""
        portfolio = exp.checkpoints()
        kept = portfolio.save(content("x"))
        exp.close()

        with pytest.raises(mlv.CheckpointNotSaved, match="the run has ended"):
            portfolio.save(content("y"))

        assert exp.latest == kept
        assert files(exp) == ["latest/000001"]

    def test_removed_by_hand(self, exp):
        """A checkpoint whose file somebody removed is missing when it is loaded; saving goes on."""
        portfolio = exp.checkpoints()
        portfolio.save(content("x"), suffix=".npz").path.unlink()

        with pytest.raises(mlv.CheckpointMissing, match=r"save 1 is not at .*000001\.npz any more"):
            exp.latest.load()
        assert portfolio.save(content("y")).save == 2

    def test_sub_experiments(self, exp):
        """A sub-experiment starts from a checkpoint, and its meta.json names the file that it was."""
        exp.checkpoints(top=1, metric="loss", mode="min").save(content("x"), metrics={"loss": 1})

        with mlv.init_sub_exp(exp.best, "squeeze") as sub:
            assert sub.parent == exp
            assert sub.meta["parent"]["checkpoint"]["sha256"] == exp.best.sha256
            assert (sub.path / sub.meta["parent"]["checkpoint"]["path"]).resolve() == exp.best.path.resolve()

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    @pytest.mark.usefixtures("ring")
    def test_a_forked_child(self, tmp_path, python):
        """A forked child goes on from what was kept at the fork, in a run of its own; neither lets go what the other saved."""
        script = """
            import os, sys, mlv
            from pathlib import Path
            exp = mlv.Exp(sys.argv[1], "exp", capture=())
            portfolio = exp.checkpoints(every=2)
            portfolio.save(lambda path: Path(path).write_text("before"), step=1)
            if os.fork() == 0:
                portfolio.save(lambda path: Path(path).write_text("child"), step=2)
                assert exp.latest.path.read_text() == "child"
                exp.close()
                os._exit(0)
            assert os.wait()[1] == 0
            portfolio.save(lambda path: Path(path).write_text("parent"), step=2)
            assert exp.latest.path.read_text() == "parent"
            """
        done = python(script, tmp_path / "runs")
        assert done.returncode == 0, done.stderr

        with mlv.Exp.open(tmp_path / "runs" / "exp") as exp:
            portfolio = exp.checkpoints()
            assert sorted(path.read_text() for path in (exp.path / "models/latest").iterdir()) == ["child", "parent"]
            portfolio.save(content("after"), step=3)
            assert [c.path.read_text() for c in portfolio.kept] == ["child", "after"]
        assert files(exp) == ["every_k/000002-step2", "every_k/000004-step3", "latest/000004-step3"]


class TestFailures:
    def test_a_function_that_raises(self, exp):
        """A save that fails raises, with the reason; the checkpoint before stays, and nothing is left behind."""
        portfolio = exp.checkpoints()
        kept = portfolio.save(content("x"))

        def failing(path: str) -> None:
            Path(path).write_text("half")
            raise RuntimeError("out of luck")

        with pytest.raises(mlv.CheckpointNotSaved, match=r"out of luck.*Those before are as they were") as caught:
            portfolio.save(failing)

        assert isinstance(caught.value.__cause__, RuntimeError)
        assert (files(exp), exp.latest) == (["latest/000001"], kept)
        assert os.listdir(exp.path / "models") == ["latest"]
        assert portfolio.save(content("y")).save == 2

    def test_interrupted(self, exp):
        """Ctrl-C in the middle of a save is no failure of the save: it goes on as it is, and leaves nothing behind."""
        portfolio = exp.checkpoints()

        def interrupted(path: str) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            portfolio.save(interrupted)

        assert os.listdir(exp.path / "models") == []

    @pytest.mark.parametrize("call", range(1, 4))
    def test_links_that_fail(self, exp, monkeypatch, call):
        """A place that cannot be made leaves no others behind."""
        portfolio = exp.checkpoints(every=1, top=1, metric="loss", mode="min")
        moved = []

        def move(file: Path, path: Path) -> None:
            moved.append(path)
            if len(moved) == call:
                raise OSError(28, "No space left on device")
            move_new(file, path)

        monkeypatch.setattr("mlv.experiment.checkpoints.shelf.move_new", move)
        with pytest.raises(mlv.CheckpointNotSaved, match="No space left") as caught:
            portfolio.save(content("x"), metrics={"loss": 1})

        assert caught.value.errno == 28
        assert files(exp) == []

    @pytest.mark.parametrize("name", ["latest", "every_k"])
    def test_a_file_where_a_folder_should_be(self, exp, name):
        """A file in the way of a folder of the portfolio is left alone, and named."""
        portfolio = exp.checkpoints(every=1)
        (exp.path / "models").mkdir()
        (exp.path / "models" / name).write_text("mine")

        with pytest.raises(mlv.CheckpointNotSaved, match=f"File exists.*models/{name}"):
            portfolio.save(content("x"))

        assert files(exp) == [name]

    @pytest.mark.parametrize(
        ("make", "text"),
        [
            (lambda path: None, "made nothing: write one file, or make a folder, at the path"),
            (lambda path: [Path(f"{path}{end}").write_text("") for end in (".a", ".b")], r"made checkpoint\.a, checkpoint\.b"),
            (lambda path: Path(path).symlink_to("/etc/hostname"), r"made checkpoint \(a symbolic link\): write one file"),
        ],
    )
    def test_not_one_file(self, exp, make, text):
        """A function that makes no file, or several, is told so."""
        with pytest.raises(mlv.InvalidArgument, match=text):
            exp.checkpoints().save(make)

        assert os.listdir(exp.path / "models") == []

    @pytest.mark.parametrize("what", [None, 3, "model.pt", object(), dict], ids=["None", "3", "text", "object", "class"])
    def test_nobody_knows(self, exp, what):
        """What nobody knows how to save is refused, and the form that always works is suggested."""
        with pytest.raises(mlv.InvalidArgument, match=r"nobody knows how to save .*give a function.*save\(lambda path"):
            exp.checkpoints().save(what)

        assert not (exp.path / "models").exists()

    @pytest.mark.parametrize("suffix", ["pt", "./x", ".a/b", ".", 3, "." + "x" * 30, ".\n"])
    def test_suffixes(self, exp, suffix):
        """A suffix that is none is refused."""
        with pytest.raises(mlv.InvalidArgument, match="suffix="):
            exp.checkpoints().save(content("x"), suffix=suffix)

    @pytest.mark.parametrize(("given", "error"), [({"step": "x"}, mlv.InvalidStep), ({"metrics": [1]}, mlv.InvalidArgument),
                                                  ({"metrics": {"f": print}}, mlv.InvalidArgument)])  # fmt: skip
    def test_bad_arguments(self, exp, given, error):
        """A step or metrics that cannot be stored are refused before anything is written."""
        with pytest.raises(error):
            exp.checkpoints().save(content("x"), **given)

        assert not (exp.path / "models").exists()

    def test_a_deleted_experiment(self, exp):
        """An experiment that was deleted is not made again by a save."""
        portfolio = exp.checkpoints()
        exp.close()
        again = mlv.Exp.open(exp.path)
        portfolio = again.checkpoints(latest=2)
        shutil.rmtree(exp.path)

        with pytest.raises(mlv.CheckpointNotSaved, match="removed or replaced"):
            portfolio.save(content("x"))

        assert not exp.path.exists()


class TestKinds:
    def test_trees_of_arrays(self, exp):
        """A tree of arrays becomes an .npz without pickles, and comes back with its structure."""
        np = pytest.importorskip("numpy")
        tree = {"layers": [{"w": np.eye(2), "b": np.float32(1)}, (np.arange(3), 0.5, None)], "step": 3}

        found = exp.checkpoints().save(tree, step=1)

        assert found.path.name == "000001-step1.npz"
        loaded = found.load()
        assert (loaded["step"], loaded["layers"][1][1:], loaded["layers"][0]["b"]) == (3, (0.5, None), 1)
        assert (loaded["layers"][0]["w"] == np.eye(2)).all()

    def test_an_array(self, exp):
        """So does a single array."""
        np = pytest.importorskip("numpy")

        assert exp.checkpoints().save(np.arange(3)).load().tolist() == [0, 1, 2]

    def test_a_tree_with_something_else(self, exp):
        """A tree with something that is no array is refused, and the place named."""
        pytest.importorskip("numpy")
        with pytest.raises(mlv.InvalidArgument, match=r"layers/0.*Or give a function that takes a path"):
            exp.checkpoints().save({"layers": [object()]})

        assert files(exp) == []

    def test_jax(self, exp):
        """Arrays of JAX come back as numpy's."""
        jnp = pytest.importorskip("jax.numpy")

        assert exp.checkpoints().save({"w": jnp.arange(3)}).load()["w"].tolist() == [0, 1, 2]

    def test_a_suffix_that_the_library_adds(self, exp):
        """A function may call a library that adds a suffix to the path."""
        np = pytest.importorskip("numpy")

        found = exp.checkpoints().save(lambda path: np.savez(path, w=np.ones(2)), step=12)

        assert found.path.name == "000001-step12.npz"
        assert found.load()["w"].tolist() == [1, 1]

    def test_a_folder(self, exp):
        """A function may make a folder: it is one checkpoint, hashed as one."""
        portfolio = exp.checkpoints(every=1)
        found = portfolio.save(folder_of(a="1", b__c="2"), step=1)
        portfolio.save(folder_of(a="1", b__c="3"), step=2)

        manifest = "".join(f"{sha256(text).hexdigest()}  {name}\n" for name, text in (("a", b"1"), ("b/c", b"2")))
        assert (found.sha256, found.size) == (sha256(manifest.encode()).hexdigest(), 2)
        assert files(exp) == [
            f"{place}/{name}" for place in ("every_k/000001-step1", "every_k/000002-step2", "latest/000002-step2")
            for name in ("a", "b/c")
        ]  # fmt: skip
        with pytest.raises(mlv.CheckpointNotLoaded, match=r"is a folder: read it yourself, from \.path"):
            found.load()

    @pytest.mark.parametrize("with_joblib", [True, False])
    def test_estimators(self, exp, monkeypatch, with_joblib):
        """An estimator of scikit-learn becomes a .joblib, or a .pkl; it is loaded where it is trusted, and only there."""
        linear_model = pytest.importorskip("sklearn.linear_model")
        model = linear_model.LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0])
        if not with_joblib:
            monkeypatch.setitem(sys.modules, "joblib", None)

        found = exp.checkpoints().save(model)

        assert found.path.suffix == (".joblib" if with_joblib else ".pkl")
        with pytest.raises(mlv.CheckpointNotLoaded, match=r"can run any code when it is loaded: load\(trust=True\)"):
            found.load()
        assert found.load(trust=True).predict([[2.0]]).round(6).tolist() == [5]

    def test_keras(self, exp, monkeypatch):
        """A model of Keras, though it can be called, is saved by its own method, and loaded in its safe mode."""
        library, modes = ModuleType("keras"), []

        class Model:
            __module__ = "keras.src.models.model"

            def __call__(self, x: Any) -> Any:
                raise AssertionError("a model is not called to save it")

            def save(self, path: str) -> None:
                Path(path).write_text("config")

        def load_model(path: str, safe_mode: bool) -> str:
            modes.append(safe_mode)
            return Path(path).read_text()

        library.saving = ModuleType("keras.saving")  # type: ignore[attr-defined]
        library.saving.load_model = load_model
        monkeypatch.setitem(sys.modules, "keras", library)

        found = exp.checkpoints().save(type("Mine", (Model,), {})())

        assert found.path.suffix == ".keras"
        assert [found.load(), found.load(trust=True), modes] == ["config", "config", [True, False]]

    def test_another_suffix(self, exp):
        """An object that is recognised has its own suffix."""
        with pytest.raises(mlv.InvalidArgument, match=r"suffix='\.npy': a value of type list is saved as '\.npz'"):
            exp.checkpoints().save([1, 2], suffix=".npy")

    def test_nothing_is_imported_to_recognise(self, tmp_path, python):
        """No library is imported to find out what a value is."""
        script = """
            import sys, mlv
            exp = mlv.Exp(sys.argv[1], "exp", capture=())
            exp.checkpoints().save(lambda path: open(path, "w").close())
            print([name for name in ("numpy", "torch", "jax", "sklearn", "joblib", "keras") if name in sys.modules])
            """
        assert python(script, tmp_path / "runs").stdout.strip() == "[]"


class TestTorch:
    @pytest.fixture(autouse=True)
    def _torch(self):
        self.torch = pytest.importorskip("torch")

    def test_modules(self, exp):
        """A module, though it can be called, becomes a .pt of its state dict, and loads without pickles."""
        module = self.torch.nn.Linear(2, 1)

        found = exp.checkpoints().save(module, step=1)

        assert found.path.name == "000001-step1.pt"
        other = self.torch.nn.Linear(2, 1)
        other.load_state_dict(found.load())
        assert self.torch.equal(other.weight, module.weight)

    def test_mappings_of_tensors(self, exp):
        """So does whatever holds tensors somewhere."""
        module = self.torch.nn.Linear(2, 1)
        optimizer = self.torch.optim.Adam(module.parameters())
        module(self.torch.ones(1, 2)).sum().backward()
        optimizer.step()

        loaded = exp.checkpoints().save({"model": module.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}).load()

        assert loaded["epoch"] == 3
        optimizer.load_state_dict(loaded["optimizer"])

    def test_what_needs_trust(self, exp):
        """A .pt that holds more than tensors is loaded where it is trusted, and only there."""
        found = exp.checkpoints().save(lambda path: self.torch.save(Path("x"), path), suffix=".pt")

        said = r"holds more than tensors and plain values, pathlib\.\w+: load\(trust=True\) unpickles it if you trust it"
        with pytest.raises(mlv.CheckpointNotLoaded, match=said):
            found.load()
        assert found.load(trust=True) == Path("x")


class TestLoading:
    def test_a_changed_file(self, exp):
        """A file that was changed since it was saved is not loaded."""
        found = exp.checkpoints().save(content("x"), suffix=".pkl")
        found.path.chmod(0o644)
        found.path.write_bytes(pickle.dumps("evil"))

        with pytest.raises(
            mlv.CheckpointNotLoaded, match=rf"was changed since it was saved: its SHA-256 is \w+, not {found.sha256}"
        ):
            found.load(trust=True)

    def test_let_go(self, exp):
        """A checkpoint that was let go says so."""
        portfolio = exp.checkpoints()
        old = portfolio.save(content("x"))
        portfolio.save(content("y"))

        with pytest.raises(mlv.CheckpointMissing, match=r"save 1 is not at .* any more: it was let go") as caught:
            old.load()
        assert caught.value.path == str(old.path)

    @pytest.mark.parametrize(
        ("suffix", "text"), [(".bin", r"is a '\.bin': read it yourself"), ("", "is a file without a suffix")]
    )
    def test_unknown_suffixes(self, exp, suffix, text):
        """A file that nobody knows how to read is named."""
        with pytest.raises(mlv.CheckpointNotLoaded, match=text):
            exp.checkpoints().save(content("x"), suffix=suffix).load()

    def test_pickles_in_arrays(self, exp):
        """An array of Python objects would have to be unpickled: it is not loaded."""
        np = pytest.importorskip("numpy")

        for save in (lambda path: np.savez(path, a=np.array([{}])), lambda path: np.save(path, np.array([{}]))):
            with pytest.raises(mlv.CheckpointNotLoaded, match=r"cannot be loaded: .*pickle"):
                exp.checkpoints().save(save).load()

    def test_arrays(self, exp):
        """A .npy is read as an array."""
        np = pytest.importorskip("numpy")

        assert exp.checkpoints().save(lambda path: np.save(path, np.arange(2))).load().tolist() == [0, 1]

    def test_a_pickle_of_ones_own(self, exp):
        """A pickle is loaded where it is trusted."""
        found = exp.checkpoints().save(lambda path: Path(path).write_bytes(pickle.dumps({"a": 1})), suffix=".pickle")

        assert found.load(trust=True) == {"a": 1}

    def test_a_damaged_file(self, exp):
        """A file that its library cannot read is named, with what the library said."""
        pytest.importorskip("numpy")
        with pytest.raises(mlv.CheckpointNotLoaded, match=r"000001\.npz cannot be loaded: "):
            exp.checkpoints().save(content("no archive"), suffix=".npz").load()

    def test_a_library_that_is_missing(self, exp, monkeypatch):
        """A library that is not installed is named."""
        monkeypatch.setitem(sys.modules, "torch", None)

        with pytest.raises(mlv.MissingExtra, match="pip install torch"):
            exp.checkpoints().save(content("x"), suffix=".pt").load()

    def test_every_loader_says_whether_it_needs_trust(self):
        """Whatever unpickles needs trust."""
        assert {suffix for suffix, loader in savers.LOADERS.items() if loader.needs_trust} == {".joblib", ".pkl", ".pickle"}
