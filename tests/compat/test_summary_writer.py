"""`mlv.compat.tensorboard` and `mlv.compat.tensorboardX`: each call is an event, and the files read as the original's."""

from __future__ import annotations

import base64
import inspect
import json
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from struct import pack
from time import time
from typing import Any

import pytest
from conftest import wait_until
from logs import line, write

import mlv
from compat.board import read, runs, times
from mlv.compat.room import ROOM

np = pytest.importorskip("numpy")
pytest.importorskip("tensorboard")
pytest.importorskip("tensorboardX")
pytest.importorskip("PIL")
pytest.importorskip("matplotlib")

from compat import writer_calls  # noqa: E402 - it needs what is looked for above
from mlv.compat.tensorboard import install, uninstall  # noqa: E402
from mlv.compat.tensorboard.event_files import EventFiles  # noqa: E402
from mlv.projections.replaying import Replay  # noqa: E402

NEEDS_TORCH = pytest.mark.skipif(not find_spec("torch"), reason="torch is not installed")
MODULES = {"torch": ("torch.utils.tensorboard", "mlv.compat.tensorboard"), "X": ("tensorboardX", "mlv.compat.tensorboardX")}
CASES = {"torch": writer_calls.TORCH, "X": writer_calls.X}
VARIANTS = [pytest.param("torch", marks=NEEDS_TORCH), "X"]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*legacy.*", "ignore:.*oddly not associated.*")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inline: None) -> Path:
    """A folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def original(variant: str) -> Any:
    return import_module(MODULES[variant][0]).SummaryWriter


def ours(variant: str) -> Any:
    return import_module(MODULES[variant][1]).SummaryWriter


def files(folder: Path) -> list[str]:
    """What lies in a folder, but for experiments, and for the numbers in the names of event files."""
    paths = [path.relative_to(folder) for path in folder.rglob("*") if ROOM not in path.parts]
    return sorted("events" if path.name.startswith("events.out.tfevents.") else str(path) for path in paths)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """For each variant, the folder where the original had a log_dir for each call, and the drop-in one for all."""
    result: dict[str, Path] = {}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("MLV_INLINE", "1")
        patch.chdir(tmp_path_factory.mktemp("here"))
        for variant in MODULES:
            if variant == "torch" and not find_spec("torch"):
                continue
            result[variant] = tmp_path_factory.mktemp(variant)
            with ours(variant)(str(result[variant] / "ours")) as writer:
                for number, call in enumerate(CASES[variant].values()):
                    with original(variant)(str(result[variant] / str(number))) as other:
                        call(other)
                    call(writer)
    return result


def wait_for_the_next_second() -> None:
    """Let a file come behind those that are there, for whoever reads them by name: their names begin with the second."""
    began = int(time())
    wait_until(lambda: int(time()) > began)


def same(one: Any, other: Any) -> bool:
    """Whether values are equal; NaN is equal to itself here."""
    return bool(str(one) == str(other))


@pytest.mark.parametrize(
    ("variant", "name"),
    [
        pytest.param(variant, name, marks=NEEDS_TORCH if variant == "torch" else ())
        for variant, cases in CASES.items()
        for name in cases
    ],
)
def test_a_method_reads_as_the_original(written, variant, name):
    """What TensorBoard reads of each method is what the original wrote: values, steps, pictures to the byte, metadata."""
    theirs, mine = (read(written[variant] / where) for where in (str(list(CASES[variant]).index(name)), "ours"))

    assert theirs or name in ("add_embedding", "add_video")  # torch's needs an old moviepy
    assert [key for key in theirs if not same(theirs[key], mine.get(key))] == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_files_lie_where_the_original_puts_them(written, variant):
    """Outside of the hidden folder there are the files of the original, with the same content but for event files."""
    place, number = written[variant], list(CASES[variant]).index("add_embedding")

    assert files(place / "ours") == files(place / str(number))
    for name in files(place / "ours"):
        if name != "events" and (place / "ours" / name).is_file():
            assert (place / "ours" / name).read_bytes() == (place / str(number) / name).read_bytes()


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_call_is_an_event(written, variant):
    """Each method leaves an event of the kind that it means, under its tag."""
    [exp] = mlv.find(written[variant] / "ours")
    kinds = {(event.type, event.name) for event in exp.events()}
    kinds |= {("metrics", key) for event in exp.events("metrics") for key in event.data}

    expected = {
        ("metrics", "scalar/values"), ("histogram", "histogram"), ("histogram", "histogram_raw"), ("image", "image"),
        ("image", "images"), ("image", "figure"), ("text", "text"), ("pr_curve", "pr_curve"), ("array", "mesh/vertices"),
        ("array", "points/x"), ("file", "embeddings/00008/y/metadata.tsv"),
    }  # fmt: skip
    assert expected - kinds == set()
    assert not list(exp.events("rejected"))
    assert mlv.Exp.open(exp.path).summary()["scalar/values"].nans == 1


@pytest.mark.parametrize("variant", VARIANTS)
def test_signatures(variant):
    """Every public method of the original is there, with its arguments and their defaults."""
    differences = []
    for kind in ("SummaryWriter", "FileWriter"):
        theirs, mine = (getattr(import_module(module), kind) for module in MODULES[variant])
        for name, method in inspect.getmembers(theirs, callable):
            if not name.startswith("_") or name in ("__init__", "__enter__", "__exit__"):
                expected, actual = (
                    [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]
                    for function in (method, getattr(mine, name))
                )
                if expected != actual:
                    differences.append((kind, name, expected, actual))

    assert differences == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_add_scalars_leaves_no_runs(folder, variant):
    """Numbers that belong together are series of the run itself, under one tag, where the original makes a run of each."""
    for kind, where in ((original, "theirs"), (ours, "ours")):
        with kind(variant)(where) as writer:
            for step in range(3):
                writer.add_scalars("loss", {"train": step / 2, "val": np.float32(step)}, step)

    assert len(runs(folder / "theirs")) == 3
    assert runs(folder / "ours") == ["."]
    theirs = [read(folder / "theirs" / run)["scalars", "loss"] for run in runs(folder / "theirs") if run != "."]
    mine = read(folder / "ours")
    assert [mine["scalars", "loss/train"], mine["scalars", "loss/val"]] == theirs
    [exp] = mlv.find(folder)
    assert [event.data for event in exp.events("metrics")][1] == {"loss/train": 0.5, "loss/val": 1.0}


@pytest.mark.parametrize("variant", VARIANTS)
def test_add_hparams(folder, variant):
    """Hyperparameters belong to the run itself, whose params they are; what TensorBoard reads of them is the same."""
    hparams, metrics = {"lr": 0.1, "name": "x", "flag": True}, {"hparam/acc": 0.5, "loss": 2}
    for kind, where in ((original, "theirs"), (ours, "ours")):
        with kind(variant)(where) as writer:
            writer.add_scalar("loss", 3.0, 7)
            writer.add_hparams(hparams, metrics)

    [theirs] = [read(folder / "theirs" / run) for run in runs(folder / "theirs") if run != "."]
    mine = read(folder / "ours")
    assert runs(folder / "ours") == ["."]
    assert mine["scalars", "loss"] == [(7, 3.0), (7, 2.0)]
    assert [key for key in theirs if key != ("scalars", "loss") and theirs[key] != mine.get(key)] == []
    [exp] = mlv.find(folder)
    assert dict(exp.params) == hparams
    assert exp.summary()["loss"].value == 2


@pytest.mark.parametrize("variant", VARIANTS)
def test_several_hparams(folder, variant):
    """A name puts them into a run of that name; other hyperparameters than before into one with a number."""
    with ours(variant)("board") as writer:
        for lr in (0.1, 0.2, 0.1):
            writer.add_hparams({"lr": lr}, {"acc": lr}, global_step=4)
        writer.add_hparams({"lr": 0.3}, {"acc": 0.3}, **{"run_name" if variant == "torch" else "name": "mine"})

    assert runs(folder / "board") == [".", "hparams_2", "mine"]
    assert [read(folder / "board" / run)["scalars", "acc"][0][0] for run in (".", "hparams_2", "mine")] == [4, 4, 0]


@pytest.mark.parametrize("name", [".", "./", "x/", "./x", "x//", "x/y", "absolute", "absolute/x"])
def test_names_of_hparams(folder, name):
    """However a name leads to a folder, it is the one of the original's run, and what its files held stays."""
    own = name.replace("absolute", str(folder / "ours"))
    (folder / "link").symlink_to(folder)
    with ours("X")(folder / "link" / "ours") as writer:
        for step in range(3):
            writer.add_scalar("loss", 1.0, step)
        for run in ("x", own):
            writer.add_hparams({"lr": 0.1}, {"acc": 1.0}, name=run)
            writer.add_scalar("loss", 2.0, 3)

    run = os.path.relpath(own, folder / "ours") if os.path.isabs(own) else os.path.normpath(own)
    assert runs(folder / "ours") == sorted({".", "x", run})
    assert read(folder / "ours")["scalars", "loss"] == [(0, 1.0), (1, 1.0), (2, 1.0), (3, 2.0), (3, 2.0)]
    assert len(read(folder / "ours" / run)["scalars", "acc"]) == (2 if run == "x" else 1)


@pytest.mark.parametrize("name", ["x" * 300, "file", "file/x", "..", "/", "a\0b"])
def test_a_name_of_hparams_that_cannot_be(folder, name):
    """A name of which no folder can be made is left out with a warning, and the event file goes on."""
    with ours("X")("board") as writer:
        (folder / "board" / "file").touch()
        with pytest.warns(mlv.MlvWarning, match="add_hparams was left out"):
            writer.add_hparams({"lr": 0.1}, {"acc": 1.0}, name=name)
        writer.add_scalar("loss", 1.0, 1)

    assert read(folder / "board")["scalars", "loss"] == [(1, 1.0)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_credentials_in_hparams(folder, variant):
    """A credential among hyperparameters reaches no file: neither as text nor within the bytes of a summary."""
    secret, number = "sk-" + "a1B2" * 10, 8142765093
    domain = {"hparam_domain_discrete": {"api_key": [secret, "other"]}} if variant == "torch" else {}
    with pytest.warns(mlv.RedactedWarning), ours(variant)("board") as writer:
        writer.add_hparams({"api_key": secret, "password": number, "name": "x", secret: 1}, {"acc": 1.0}, **domain)

    [exp] = mlv.find(folder)
    contents = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    contents += [base64.b64decode(text) for event in exp.events("event", name="hparams") for text in event.data["summaries"]]
    credentials = (secret.encode(), str(number).encode(), pack("<d", number))
    assert [text for text in credentials if any(text in content for content in contents)] == []
    metadata = read(folder / "board")["metadata", "_hparams_/session_start_info"].plugin_data.content
    assert b"<redacted>" in metadata
    assert b"name" in metadata


@pytest.mark.parametrize("variant", VARIANTS)
def test_purge_step(folder, variant):
    """A writer that goes back goes on with the experiment, which it rewinds, and TensorBoard forgets the same."""
    for kind, where in ((original, "theirs"), (ours, "ours")):
        with kind(variant)(where, filename_suffix=".1") as writer:
            for step in range(10):
                writer.add_scalar("loss", 1.0, step)
                writer.add_text("at", str(step), step)
            writer.add_scalar("once", 1.0)
        wait_for_the_next_second()
        with kind(variant)(where, purge_step=5, filename_suffix=".2") as writer:
            for step in range(5, 8):
                writer.add_scalar("loss", 2.0, step)

    assert same(read(folder / "ours"), read(folder / "theirs"))
    assert sorted(path.suffix for path in (folder / "ours").glob("events*")) == [".1", ".2"]
    [exp] = mlv.find(folder)
    assert [event.step for event in exp.events("metrics") if "loss" in event.data] == [*range(10), 5, 6, 7]
    if find_spec("pandas"):
        history = exp.history(keys=["loss"])
        assert list(zip(history["step"], history["loss"], strict=True)) == [*((n, 1) for n in range(5)), (5, 2), (6, 2), (7, 2)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_purge_step_behind_files_of_the_original(folder, variant):
    """What the original wrote before the move is hidden as well, also where there is no experiment to go back in."""
    with original(variant)("board") as writer:
        for step in range(4):
            writer.add_scalar("loss", 1.0, step)
    wait_for_the_next_second()
    with ours(variant)("board", purge_step=0) as writer:
        writer.add_scalar("loss", 2.0, 3)

    assert read(folder / "board")["scalars", "loss"] == [(3, 2.0)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_walltime(folder, variant):
    """A time that the script chose is that of the value, in the event file and as a coordinate."""
    with ours(variant)("board") as writer:
        writer.add_scalar("loss", 1.0, 1, walltime=1.5e9 + 0.123456789)
        writer.add_scalars("both", {"a": 1.0}, 1, walltime=2)

    assert times(folder / "board", "loss") == [1.5e9 + 0.123456789]
    assert times(folder / "board", "both/a") == [2.0]
    [exp] = mlv.find(folder)
    assert [event.at["walltime"] for event in exp.events("metrics")] == [1.5e9 + 0.123456789, 2.0]


def test_a_form_ends(folder):
    """A scalar of the usual form after others of its tag is of the usual form."""
    with ours("X")("board") as writer:
        writer.add_scalar("a", 1.0, 1, summary_description="what it is")
        writer.add_scalar("a", 2.0, 2)
        writer.add_scalar("b", 3.0, 2)

    [exp] = mlv.find(folder)
    assert [event.data.get("form") for event in exp.events("event") if event.name == "tensorboard/form"] == [
        {"display_name": "", "summary_description": "what it is"},
        {},
    ]
    assert read(folder / "board")["scalars", "a"] == [(1, 1.0), (2, 2.0)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_life(folder, variant):
    """A writer that was closed begins another run and file with its next call."""
    writer = ours(variant)("board")
    first = writer.file_writer
    first.reopen()
    assert list(writer.all_writers) == [first.get_logdir()] == [writer.get_logdir()] == ["board"]
    writer.add_scalar("a", 1.0, 1)
    writer.close()
    writer.close()
    assert writer.file_writer is writer.all_writers is None
    writer.flush()
    wait_for_the_next_second()
    writer.add_scalar("a", 2.0, 2)
    writer.flush()
    assert read(folder / "board")["scalars", "a"] == [(1, 1.0), (2, 2.0)]
    writer.close()

    [exp] = mlv.find(folder)
    assert [run.status for run in exp.runs] == ["ok", "ok"]
    assert len(list((folder / "board").glob("events*"))) == 2


def test_the_default_log_dir(folder, monkeypatch):
    """Without a log_dir the run is `runs/<time>_<host><comment>`."""
    with ours("X")(comment="_lr") as writer:
        writer.add_scalar("a", 1.0, 1)

    [run] = (folder / "runs").iterdir()
    assert run.name.endswith(f"{os.uname().nodename}_lr")
    assert len(run.name.split("_")) >= 3


def test_an_exception_fails_the_run(folder):
    """A block that is left by an exception fails the run."""
    with pytest.raises(ZeroDivisionError), ours("X")("board") as writer:
        writer.add_scalar("a", 1 / 0, 1)

    [exp] = mlv.find(folder)
    assert exp.status == "failed"


def test_calls_never_end_a_run(folder):
    """A call that the original would refuse is left out, with one warning of its kind, and a message in the log for each."""
    with ours("X")("board") as writer:
        with pytest.warns(mlv.MlvWarning, match="add_histogram was left out: ValueError"):
            writer.add_histogram("h", np.zeros(0), 1)
        writer.add_histogram("h", np.zeros(0), 2)
        with pytest.warns(mlv.MlvWarning, match="add_hparams was left out: TypeError"):
            writer.add_hparams(["no"], {})
        with pytest.warns(mlv.MlvWarning, match="add_scalar was left out"):
            writer.add_scalar(["a"], 1.0, 1)
        writer.add_scalar("b", 1.0, 1)

    [exp] = mlv.find(folder)
    assert [event.data["level"] for event in exp.events("message")] == ["warning"] * 4
    assert read(folder / "board")["scalars", "b"] == [(1, 1.0)]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    "value", [None, "high", [1], np.zeros(2), {"b": 1}, object(), 1j], ids=lambda value: type(value).__name__
)
def test_a_value_that_is_no_number(folder, variant, value):
    """A scalar that is no number is left out with a warning, and the others of its call are kept."""
    with ours(variant)("board") as writer:
        for options in ({}, {"walltime": 1.0}):
            with pytest.warns(mlv.MlvWarning, match="add_scalar was left out: TypeError: a value of type .* is no number"):
                writer.add_scalar("a", value, 1, **options)
            writer._reporter._warned.clear()
        with pytest.warns(mlv.MlvWarning, match="'m/a' of add_scalars was left out: TypeError"):
            writer.add_scalars("m", {"a": value, "b": 1.0}, 1)

    [exp] = mlv.find(folder)
    assert [event.data for event in exp.events("metrics")] == [{"m/b": 1.0}]


def test_a_folder_elsewhere(folder):
    """A log_dir that is no local folder is refused, and nothing is made."""
    with pytest.raises(mlv.InvalidArgument, match="s3://bucket/runs' is no local folder"):
        ours("X")("s3://bucket/runs")

    assert list(folder.iterdir()) == []


def test_ranks_do_not_wait(folder, monkeypatch):
    """Each rank that makes a writer has one of its own, at once."""
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", "29500")):
        monkeypatch.setenv(name, value)
    with ours("X")("board") as writer:
        writer.add_scalar("a", 1.0, 3)
    wait_for_the_next_second()
    with ours("X")("board", purge_step=2) as writer:
        writer.add_scalar("a", 2.0, 2)

    assert read(folder / "board")["scalars", "a"] == [(2, 2.0)]


class TestX:
    """What only tensorboardX has."""

    def test_use_metadata(self, folder):
        """All that is added in the block has its step and its time."""
        with ours("X")("board") as writer:
            with writer.use_metadata(global_step=10, walltime=1.5e9):
                writer.add_scalar("a", 1.0)
                writer.add_scalars("b", {"c": 1.0})
                writer.add_text("t", "x")
            writer.add_scalar("a", 2.0, 11)

        board = read(folder / "board")
        assert board["scalars", "a"] == [(10, 1.0), (11, 2.0)]
        assert board["scalars", "b/c"][0][0] == board["tensors", "t/text_summary"][0][0] == 10
        assert times(folder / "board", "a")[0] == 1.5e9

    def test_export_scalars_to_json(self, folder):
        """The file holds what `add_scalars` added since the last export."""
        exports = []
        for kind in (original, ours):
            with kind("X")("board") as writer:
                writer.add_scalar("other", 1.0, 1)
                for path in ("first.json", "second.json"):
                    writer.add_scalars("a", {"b": 1.5, "c": 2}, 1, walltime=1.5e9)
                    writer.export_scalars_to_json(path)
                    exports.append(json.loads(Path(path).read_text()))
                assert writer.scalar_dict == {}

        assert exports[:2] == exports[2:]

    def test_nothing_on_the_disk(self, folder):
        """`write_to_disk=False` keeps nothing, and takes every call."""
        with ours("X")("board", write_to_disk=False) as writer:
            for name, call in writer_calls.X.items():
                if name not in ("add_embedding", "add_onnx_graph"):  # these have files of their own
                    call(writer)
            writer.add_hparams({"lr": 0.1}, {"acc": 1.0})
            assert writer.get_logdir() == "board"
            writer.flush()

        assert list(folder.iterdir()) == []

    def test_global_writer(self, folder):
        """The writer for all modules counts the steps itself, and is the drop-in."""
        from mlv.compat.tensorboardX import GlobalSummaryWriter

        writer = GlobalSummaryWriter("board")
        writer.add_scalar("a", 1.0)
        writer.add_scalar("a", 2.0)
        writer.close()

        assert read(folder / "board")["scalars", "a"] == [(0, 1.0), (1, 2.0)]
        assert len(mlv.find(folder)) == 1


@pytest.fixture
def installed() -> Iterator[None]:
    """The drop-in in the place of the originals."""
    before = import_module("tensorboardX").SummaryWriter
    install()
    install()
    yield
    uninstall()
    assert import_module("tensorboardX").SummaryWriter is import_module("tensorboardX.writer").SummaryWriter is before


@pytest.mark.parametrize("variant", VARIANTS)
def test_install(folder, variant, installed):
    """Whoever imports the class finds the drop-in, and a module that had it already has it as well."""
    module = import_module(MODULES[variant][0])
    assert module.SummaryWriter is module.writer.SummaryWriter is ours(variant)

    with module.SummaryWriter("board") as writer:
        writer.add_scalar("a", 1.0, 1)
        writer.add_histogram("h", np.arange(3.0), 1)  # by the original's method

    assert read(folder / "board").keys() >= {("scalars", "a"), ("histograms", "h")}


def test_install_before_the_import(python):
    """Installing imports neither package; a module that imports the class later finds the drop-in, and its own after all."""
    done = python(
        """
        import sys
        import mlv.compat.tensorboard as board
        from mlv.compat.tensorboardX import SummaryWriter
        class Old:  # from before Python 3.4: the import system passes it over
            def find_module(self, fullname, path=None): ...

        sys.meta_path.insert(0, Old())
        board.install()
        assert not {"torch", "tensorboard", "tensorboardX"} & {*sys.modules}, sys.modules
        import warnings
        warnings.simplefilter("ignore")
        from tensorboardX import SummaryWriter as Found
        import tensorboardX
        assert Found is SummaryWriter
        board.uninstall()
        assert tensorboardX.SummaryWriter.__module__ == "tensorboardX.writer"
        assert not [finder for finder in sys.meta_path if "mlv" in type(finder).__module__]
        """
    )

    assert done.returncode == 0, done.stderr


def test_scalars_import_nothing(python):
    """Neither torch nor tensorboard, nor tensorboardX, is imported for scalars."""
    done = python(
        """
        import sys
        from mlv.compat.tensorboard import SummaryWriter
        with SummaryWriter("board") as writer:
            writer.add_scalar("a", 1.0, 1)
            writer.add_scalars("a", {"b": 1.0}, 1)
        assert not {"torch", "tensorboard", "tensorboardX", "numpy"} & {*sys.modules}
        """
    )

    assert done.returncode == 0, done.stderr


KILLED = """
import os, sys
import numpy as np
from mlv.compat.tensorboardX import SummaryWriter
writer = SummaryWriter("board")
for step in range(500):
    writer.add_scalar("a", step, step)
writer.add_image("i", np.zeros((3, 4, 4)), 1)
writer.add_histogram("h", np.arange(100.0), 1)
writer.add_hparams({"lr": 0.1}, {"acc": 0.5})
os.kill(os.getpid(), 9)
"""


def test_kill(folder, ring):
    """After kill -9 the event file is completed, once, by whoever outlives the process."""
    subprocess.run([sys.executable, "-c", KILLED], timeout=60, capture_output=True, check=False)

    wait_until(lambda: {("scalars", "acc"), ("images", "i"), ("histograms", "h")} <= read(folder / "board").keys())
    assert read(folder / "board")["scalars", "a"] == [(step, float(step)) for step in range(500)]
    wait_until(lambda: [exp.status for exp in mlv.find(folder)] == ["killed"])


def add_from(writer: Any, step: int) -> None:
    writer.add_scalar("a", float(step), step)
    writer.exp.close()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children(folder, ring, method):
    """What a child adds is in the same event file, however it was started."""
    writer = ours("X")("board")
    writer.add_scalar("a", 0.0, 0)
    context = multiprocessing.get_context(method)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
        child = context.Process(target=add_from, args=(writer, 1))
        child.start()
    child.join(60)
    writer.close()

    assert child.exitcode == 0
    wait_until(lambda: sorted(read(folder / "board")["scalars", "a"]) == [(0, 0.0), (1, 1.0)])
    assert len(list((folder / "board").glob("events*"))) == 1


@pytest.mark.parametrize("change", [{}, {"made_by": "other options"}], ids=["goes on", "built again"])
def test_position_that_leads_out(folder, change):
    """A file outside of log_dir that the position file names, as one from elsewhere may, stays untouched."""
    with ours("X")("board") as writer:
        writer.add_scalar("a", 1.0, 1)
    (folder / "outside").write_bytes(b"x" * 100)
    [path] = (folder / "board").rglob("summary-writer.json")
    position = {**json.loads(path.read_text()), **change}
    position["resume"]["files"] = {"../outside": 5, **position["resume"]["files"]}
    path.write_text(json.dumps(position))
    with ours("X")("board", purge_step=2) as writer:
        writer.add_scalar("a", 2.0, 2)

    assert (folder / "outside").read_bytes() == b"x" * 100
    assert read(folder / "board")["scalars", "a"] == [(1, 1.0), (2, 2.0)]


def test_built_again(folder):
    """The event files are built again from the log, in place of those that are there."""
    with ours("X")("board") as writer:
        for step in range(5):
            writer.add_scalar("a", float(step), step)
        writer.add_text("t", "x", 1)
        path = writer.exp.path
    before = read(folder / "board")
    [file] = (folder / "board").glob("events*")
    file.unlink()
    (path / ".mlv" / "outputs" / "summary-writer.json").unlink()
    mlv.projections.replay(path, EventFiles(path=folder / "board"))

    assert same(read(folder / "board"), before)
    assert [one.name for one in (folder / "board").glob("events*")] == [file.name]


def test_killed_between_lines(written, folder):
    """A process of the output that dies anywhere leaves each record once, whatever it had written since its last commit."""
    [exp] = mlv.find(written["X"] / "ours")
    copy = Path(shutil.copytree(exp.path, folder / "copy"))
    (copy / ".mlv" / "outputs" / "summary-writer.json").unlink()
    lines = (copy / "log.jsonl").read_bytes().splitlines(keepends=True)
    (copy / "log.jsonl").write_bytes(b"")
    for number in range(0, len(lines), 5):
        with open(copy / "log.jsonl", "ab") as file:
            file.writelines(lines[number : number + 5])
        work = Replay(copy, EventFiles(path=folder / "board"))
        assert work.begin()
        work.catch_up()
        if number % 2:
            work.commit()
        work.close()
    mlv.projections.replay(copy, EventFiles(path=folder / "board"))

    assert same(read(folder / "board"), read(written["X"] / "ours"))


def test_lines_of_somebody_else(folder):
    """Lines that no writer wrote lead nowhere else, and cost the others nothing."""
    exp = mlv.Exp(folder, "exp", capture=())
    exp.close()
    good = {"file": "events.out.tfevents.1"}
    odd = [
        *(("tensorboard/file", {"file": name}) for name in ("../events.out.tfevents.2", "/events.out.tfevents.3", "x", 3)),
        ("tensorboard/file", {**good, "purge_step": "x"}),
        *(("tensorboard/summary", {"content": content}) for content in ("!", 3, None)),
        *(("tensorboard/form", {"tag": "a", "form": form}) for form in (3, {"x": 1}, {"display_name": 3})),
        *(
            ("hparams", {"summaries": summaries, "metrics": {"b": 1}, "folder": place})
            for summaries, place in (([], "../out"), ([], "/out"), (["!!!"], "in"), (3, "in"))
        ),
        ("hparams", {"summaries": [], "metrics": 3}),
    ]
    lines = [line("rrun", number, name=name, data=data) for number, (name, data) in enumerate(odd, 1)]
    write(
        exp.path,
        line("rrun", 90, name="tensorboard/file", data=good),
        *lines,
        line("rrun", 91, "array", name="tensorboard/summary", data={"file": {"_mlv": "file", "path": "../x"}}),
        line("rrun", 92, "metrics", step=1, data={"a": 1, "c": 2**70}),
    )
    mlv.projections.replay(exp, EventFiles(path=folder / "board"))

    assert files(folder / "board") == ["events"]
    assert sorted(path.name for path in folder.iterdir()) == ["board", "exp"]
    assert read(folder / "board") == {("scalars", "a"): [(1, 1.0)], ("scalars", "c"): [(1, 2.0**70)]}


def test_a_child_before_the_file(folder):
    """Lines of a child that come before the line that names the file wait for it, also over a kill."""
    exp = mlv.Exp(folder, "exp", capture=())
    exp.close()
    first, second = (line("rchild", n, "metrics", step=n, data={"a": n}) for n in (1, 2))
    write(exp.path, line("rchild", 9, "run_started", data={"exp": exp.id}), first)
    work = Replay(exp.path, EventFiles(path=folder / "board"))
    assert work.begin()
    work.catch_up()
    work.commit()
    work.close()
    with open(exp.path / "log.jsonl", "ab") as log:
        log.write(second + line("rmain", 1, name="tensorboard/file", data={"file": "events.out.tfevents.1"}))
    mlv.projections.replay(exp, EventFiles(path=folder / "board"))

    assert read(folder / "board")["scalars", "a"] == [(1, 1.0), (2, 2.0)]


def test_a_writer_travels(folder):
    """A writer is pickled with its experiment."""
    with ours("X")("board") as writer:
        pickle.loads(pickle.dumps(writer)).add_scalar("a", 1.0, 1)

    assert read(folder / "board")["scalars", "a"] == [(1, 1.0)]
