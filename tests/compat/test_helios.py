"""`mlv.compat.helios`: messages, event files and states as helios keeps them, and as events."""

from __future__ import annotations

import importlib
import inspect
import logging as std
import re
import sys
import types
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import mlv
from mlv import projections

pytest.importorskip("tensorboardX")

from mlv.compat.helios.core import loggers, logging
from mlv.compat.helios.core.outputs import EventFiles, LogFile
from mlv.compat.room import ROOM

pytestmark = pytest.mark.usefixtures("inline")

NAME = r"[A-Z][a-z]{2}\d\d_\d\d-\d\d-\d\d"


@pytest.fixture(autouse=True)
def _as_a_process_begins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is left for the next test."""
    monkeypatch.delenv("RANK", raising=False)
    yield
    logging.close_default_loggers()
    loggers.close_loggers()
    for name in ("helios", "py.warnings"):
        assert [handler for handler in std.getLogger(name).handlers if type(handler).__module__.startswith("mlv")] == []


def begun(folder: Path, **options: Any) -> tuple[Any, Any]:
    """The loggers of helios up to 1.4, with files."""
    logging.create_default_loggers(**options)
    logging.setup_default_loggers("myrun", log_root=folder / "logs", runs_root=folder / "runs")
    return logging.get_root_logger(), logging.get_tensorboard_writer()


def messages(path: Path) -> list[str]:
    """Lines without their times."""
    return [re.sub(r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\] ", "", line) for line in path.read_text().splitlines()]


def shown(folder: Path) -> Any:
    """What TensorBoard reads of a folder."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    return found


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in shown(folder).Scalars(tag)]


def events(folder: Path) -> list[mlv.Event]:
    """Of the only experiment below a folder."""
    [exp] = mlv.find(folder)
    return list(exp.events())


# helios up to 1.4.


def test_files(tmp_path):
    """A run has a text file, a folder of event files of the same name, and an experiment beside it."""
    root, writer = begun(tmp_path)
    root.info("hello")
    writer.add_scalar("loss", 0.5, 3)
    logging.close_default_loggers()

    [log] = (tmp_path / "logs").iterdir()
    assert re.fullmatch(f"myrun_{NAME}.log", log.name)
    assert messages(log) == ["[INFO]: hello"]
    assert scalars(tmp_path / "runs" / log.stem, "loss") == [(3, 0.5)]
    assert (tmp_path / "runs" / log.stem / ROOM / log.stem / "meta.json").is_file()
    assert [event.type for event in events(tmp_path)][1:3] == ["message", "metrics"]


def test_line(tmp_path):
    """A line begins with the local time of the message, in milliseconds."""
    root, _ = begun(tmp_path)
    before = datetime.now()
    root.info("hello")
    root.flush()

    [line] = root.log_file.read_text().splitlines()
    time = datetime.strptime(line[1:24], "%Y-%m-%d %H:%M:%S,%f")
    assert abs((time - before).total_seconds()) < 10
    assert line[24:] == "] [INFO]: hello"


def test_traceback(tmp_path):
    """Keyword arguments of `logging` are heard: a traceback follows its message."""
    root, _ = begun(tmp_path)
    try:
        raise ValueError("no")
    except ValueError:
        root.warning("first", exc_info=True)
        root.error("second", exc_info=True)
        root.exception("third")
    root.flush()

    found = messages(root.log_file)
    assert [line for line in found if line.startswith("[")] == ["[WARNING]: first", "[ERROR]: second", "[ERROR]: third"]
    assert found.count("ValueError: no") == 3


def test_messages_before_setup(tmp_path):
    """What was said before there was a file is in it, with the time at which it was said."""
    logging.create_default_loggers(enable_tensorboard=False)
    logging.get_root_logger().info("early")
    logging.setup_default_loggers("myrun", log_root=tmp_path / "missing" / "logs")
    logging.get_root_logger().info("late")
    logging.flush_default_loggers()

    assert messages(logging.get_root_logger().log_file) == ["[INFO]: early", "[INFO]: late"]


def test_logger_of_the_standard_library(tmp_path):
    """`logging.getLogger("helios")` is what is wrapped; levels of one's own keep their names, debug is in the log only."""
    root, _ = begun(tmp_path)
    assert root.logger is std.getLogger("helios")
    root.logger.setLevel(std.DEBUG)
    root.logger.debug("fine")
    root.logger.critical("on %s", "fire")
    std.getLogger("helios.part").info("of a part")
    root.flush()

    assert messages(root.log_file) == ["[CRITICAL]: on fire", "[INFO]: of a part"]
    found = [event.data["message"] for event in events(tmp_path) if event.type == "message"]
    assert found == ["fine", "on fire", "of a part"]


def test_captured_warnings(python, tmp_path):
    """Captured warnings reach the console and the file, once; after `close` they are shown as ever."""
    done = python(
        """
        import pathlib, warnings
        warnings.simplefilter("always")
        from mlv.compat.helios.core import logging
        logging.create_default_loggers(enable_tensorboard=False)
        logging.setup_default_loggers("myrun", log_root=pathlib.Path("logs"))
        warnings.warn("careful")
        logging.close_default_loggers()
        warnings.warn("as ever")
        """
    )

    assert done.returncode == 0, done.stderr
    [log] = (tmp_path / "logs").glob("*.log")
    assert len(re.findall("UserWarning: careful", log.read_text())) == 1
    assert len(re.findall(r"\[WARNING\]: .*UserWarning: careful", done.stderr)) == 1
    assert "UserWarning: as ever" in done.stderr


def test_sessions(tmp_path, capsys):
    """Sessions one after the other have files of their own, and the console shows each line once."""
    for session in range(3):
        root, _ = begun(tmp_path)
        root.warning(f"session {session}")
        logging.close_default_loggers()

    files = sorted((tmp_path / "logs").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert [messages(path) for path in files] == [[f"[WARNING]: session {session}"] for session in range(3)]
    assert re.findall(r"session \d", capsys.readouterr().err) == ["session 0", "session 1", "session 2"]


def test_restore(tmp_path):
    """A restored run goes on with its file and folder."""
    root, writer = begun(tmp_path)
    log_path, run_path = root.log_file, writer.run_path
    root.info("first")
    writer.add_scalar("loss", 1.0, 1)
    logging.close_default_loggers()
    logging.create_default_loggers()
    logging.restore_default_loggers(log_path, run_path)
    logging.get_root_logger().info("second")
    logging.get_tensorboard_writer().add_scalar("loss", 2.0, 2)
    logging.close_default_loggers()

    assert messages(log_path) == ["[INFO]: first", "[INFO]: second"]
    assert scalars(run_path, "loss") == [(1, 1.0), (2, 2.0)]
    assert len(list(mlv.find(tmp_path))) == 1


@pytest.mark.parametrize("which", ["log_path", "run_path"])
def test_restore_of_one(tmp_path, which):
    """The file and the folder can be restored without each other, and together afterwards: nothing is lost or doubled."""
    root, writer = begun(tmp_path)
    paths = {"log_path": root.log_file, "run_path": writer.run_path}
    steps = [paths, {which: paths[which]}, paths]
    root.info("0")
    writer.add_scalar("loss", 0.0, 0)
    logging.close_default_loggers()
    for step, given in enumerate(steps[1:], 1):
        logging.create_default_loggers()
        logging.restore_default_loggers(**given)
        logging.get_root_logger().info(str(step))
        logging.get_tensorboard_writer().add_scalar("loss", float(step), step)
        logging.close_default_loggers()

    has_all = {name: [step for step, given in enumerate(steps) if name in given] for name in paths}
    assert messages(paths["log_path"]) == [f"[INFO]: {step}" for step in has_all["log_path"]]
    assert [step for step, _ in scalars(paths["run_path"], "loss")] == has_all["run_path"]


def test_file_of_helios(tmp_path):
    """A file that helios itself wrote is gone on with."""
    path = tmp_path / "old.log"
    path.write_text("[2025-01-01 00:00:00,000] [INFO]: of helios\n")
    logging.create_default_loggers(enable_tensorboard=False)
    logging.restore_default_loggers(log_path=path)
    logging.get_root_logger().info("of mlv")
    logging.close_default_loggers()

    assert messages(path) == ["[INFO]: of helios", "[INFO]: of mlv"]


def test_without_files(tmp_path, monkeypatch):
    """Without roots nothing is on the disk, and the writer does nothing."""
    monkeypatch.chdir(tmp_path)
    logging.create_default_loggers()
    logging.setup_default_loggers("myrun")
    logging.get_root_logger().info("hello")
    logging.get_tensorboard_writer().add_scalar("loss", 0.5)
    logging.flush_default_loggers()

    assert logging.get_root_logger().log_file is None
    with pytest.raises(AssertionError, match="no run_path"):
        _ = logging.get_tensorboard_writer().run_path
    assert list(tmp_path.iterdir()) == []


def test_loggers_of_their_own(tmp_path):
    """The classes serve without the functions."""
    root, writer = logging.RootLogger(), logging.TensorboardWriter()
    root.setup(tmp_path / "a" / "b.log")
    writer.setup(tmp_path / "run")
    root.info("hello")
    writer.add_scalar("loss", 0.5, 1)
    root.close()
    writer.close()

    assert messages(tmp_path / "a" / "b.log") == ["[INFO]: hello"]
    assert scalars(tmp_path / "run", "loss") == [(1, 0.5)]


def test_close(tmp_path):
    """After `close` the writer opens no stray file, and no handler is left."""
    root, writer = begun(tmp_path)
    logging.close_default_loggers()
    before = sorted(tmp_path.rglob("*"))
    writer.add_scalar("loss", 0.5, 1)
    root.info("late")

    assert sorted(tmp_path.rglob("*")) == before
    assert not logging.is_root_logger_active()
    assert logging.get_tensorboard_writer() is None


def test_before_create():
    """Before `create_default_loggers` the functions raise what they raise in helios."""
    text = "root logger has not been created. Did you forget to call create_default_loggers?"
    with pytest.raises(KeyError, match=re.escape(text)):
        logging.get_root_logger()
    with pytest.raises(RuntimeError, match=re.escape(text)):
        logging.setup_default_loggers("myrun")
    with pytest.raises(RuntimeError, match=re.escape(text)):
        logging.restore_default_loggers()
    with pytest.raises(KeyError, match="logger 'wandb' has not been created"):
        loggers.get_logger(loggers.LoggerType.WANDB)
    assert not logging.is_root_logger_active()


def test_create_twice():
    """Creating the loggers again leaves those that are there."""
    logging.create_default_loggers()
    root, writer = logging.get_root_logger(), logging.get_tensorboard_writer()
    logging.create_default_loggers()

    assert (logging.get_root_logger(), logging.get_tensorboard_writer()) == (root, writer)


# What the writer writes.


def test_scalars(tmp_path):
    """Values of `add_scalars` are series of one tag in folders of their own; scalars of libraries and NaN are numbers."""
    np = pytest.importorskip("numpy")
    _, writer = begun(tmp_path)
    for step in range(3):
        writer.add_scalars("m/n", {"a": step, "b/c": np.float32(-step)}, step)
    writer.add_scalar("m/n/a", float("nan"), np.int64(7))
    with pytest.warns(mlv.RejectedWarning):
        writer.add_scalar("unusable", print, 1)
    writer.add_scalar("loss", 1, 1)
    run = writer.run_path
    writer.close()

    assert scalars(run / "m_n_a", "m/n") == [(0, 0), (1, 1), (2, 2)]
    assert scalars(run / "m_n_b_c", "m/n") == [(0, 0), (1, -1), (2, -2)]
    [(step, value)] = scalars(run, "m/n/a")
    assert (step, value != value) == (7, True)
    assert scalars(run, "loss") == [(1, 1)]


def test_media(tmp_path):
    """Images in any order of axes, batches as a grid, figures, texts and curves are where TensorBoard's readers look."""
    np, plt = pytest.importorskip("numpy"), pytest.importorskip("matplotlib.pyplot")
    pytest.importorskip("PIL")
    plt.close("all")  # those of other tests
    _, writer = begun(tmp_path)
    pixels = np.arange(3 * 4 * 6, dtype=np.uint8).reshape(3, 4, 6)
    writer.add_image("chw", pixels, 1)
    writer.add_image("wh", pixels[0].T, 1, dataformats="WH")
    writer.add_images("batch", np.stack([pixels] * 10), 1)
    writer.add_figure("figure", plt.figure(figsize=(1, 1)), 1)
    writer.add_figure("figures", [plt.figure(figsize=(1, 1)) for _ in range(2)], 1)
    writer.add_text("note", "some *text*", 2)
    writer.add_pr_curve("pr", np.array([0, 1, 1, 0]), np.array([0.1, 0.9, 0.8, 0.3]), 1)
    run = writer.run_path
    writer.close()

    found = shown(run)
    sizes = {tag: (found.Images(tag)[0].width, found.Images(tag)[0].height) for tag in ("chw", "wh", "batch", "figures")}
    assert sizes == {"chw": (6, 4), "wh": (6, 4), "batch": (48, 8), "figures": (200, 100)}
    assert set(found.Tags()["images"]) == {"chw", "wh", "batch", "figure", "figures"}
    assert set(found.Tags()["tensors"]) == {"note/text_summary", "pr"}
    assert plt.get_fignums() == []


def test_hparams(tmp_path):
    """Hyperparameters are where TensorBoard's page looks for them, in the run's folder or in one below it."""
    _, writer = begun(tmp_path)
    writer.add_hparams({"lr": 0.1, "opt": "sgd", "nest": True, "none": None}, {"acc": 0.9}, {"opt": ["sgd", "adam"]})
    writer.add_hparams({"lr": 0.2}, {"acc": 0.8}, run_name="second", global_step=3)
    run = writer.run_path
    writer.close()

    assert scalars(run, "acc") == [(0, pytest.approx(0.9))]
    assert scalars(run / "second", "acc") == [(3, pytest.approx(0.8))]
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    plugins = shown(run).summary_metadata
    start = HParamsPluginData.FromString(plugins["_hparams_/session_start_info"].plugin_data.content)
    assert {name: value.WhichOneof("kind") for name, value in start.session_start_info.hparams.items()} == {
        "lr": "number_value", "opt": "string_value", "nest": "bool_value",
    }  # fmt: skip
    experiment = HParamsPluginData.FromString(plugins["_hparams_/experiment"].plugin_data.content).experiment
    assert [list(info.domain_discrete) for info in experiment.hparam_infos if info.name == "opt"] == [["sgd", "adam"]]


@pytest.mark.filterwarnings("ignore::mlv.RejectedWarning")
def test_unusable_hparams(tmp_path):
    """What cannot be stored among hyperparameters costs neither the others nor what is logged afterwards."""
    _, writer = begun(tmp_path)
    writer.add_hparams({"lr": 0.1, "fn": print}, {"acc": 0.9})
    writer.add_hparams(["lr"], {"acc": 0.5})
    writer.add_scalar("loss", 0.5, 1)
    run = writer.run_path
    writer.close()

    assert scalars(run, "acc") == [(0, pytest.approx(0.9))]
    assert scalars(run, "loss") == [(1, 0.5)]


def test_folder_around_others(tmp_path):
    """A writer whose folder holds those of other runs leaves their files alone."""
    for name in ("runs/a", "runs"):
        writer = logging.TensorboardWriter()
        writer.setup(tmp_path / name)
        writer.add_scalar("loss", 0.5, 1)
        writer.close()

    assert scalars(tmp_path / "runs/a", "loss") == scalars(tmp_path / "runs", "loss") == [(1, 0.5)]


def test_graph(tmp_path):
    """A graph is traced as a copy on the CPU."""
    torch = pytest.importorskip("torch")
    _, writer = begun(tmp_path)
    writer.add_graph(torch.nn.Linear(3, 2), torch.zeros(1, 3))
    run = writer.run_path
    writer.close()

    assert shown(run).Tags()["graph"]


def test_replay(tmp_path):
    """Files that are built from the log afterwards are those that grew with it, byte for byte."""
    root, writer = begun(tmp_path)
    root.info("hello")
    for step in range(5):
        writer.add_scalar("loss", step / 3, step)
        writer.add_scalars("m", {"a": step}, step)
    writer.add_hparams({"lr": 0.1}, {"acc": 0.9})
    log, run = root.log_file, writer.run_path
    logging.close_default_loggers()
    [exp] = mlv.find(tmp_path)
    (tmp_path / "again").mkdir()
    copy = tmp_path / "again" / "exp"
    copy.mkdir()
    for name in ("meta.json", "log.jsonl"):
        (copy / name).write_bytes((exp.path / name).read_bytes())
    projections.replay(copy, LogFile(path=tmp_path / "again", file="run.log"))
    projections.replay(copy, EventFiles(path=tmp_path / "again" / "run"))

    assert (tmp_path / "again" / "run.log").read_bytes() == log.read_bytes()
    assert content(tmp_path / "again" / "run") == content(run)


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and ROOM not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


# Ranks.


def test_ranks(tmp_path, monkeypatch, capsys):
    """Ranks above 0 say no info and write no event files; their warnings and errors are in files of their own."""
    monkeypatch.setenv("RANK", "1")
    root, writer = begun(tmp_path)
    root.info("info")
    root.warning("warning")
    root.error("error")
    writer.add_scalar("loss", 0.5, 1)
    log = root.log_file
    logging.close_default_loggers()

    assert re.fullmatch(f"myrun_{NAME}_rank1.log", log.name)
    assert messages(log) == ["[WARNING]: warning", "[ERROR]: error"]
    assert not (tmp_path / "runs").exists()
    assert re.findall("warning|error", capsys.readouterr().err.partition("mlv:")[2]) == ["error"]


@pytest.mark.parametrize(
    ("rank", "expected"), [("0", 0), ("3", 3), ("none", 0), ("", 0)], ids=["zero", "three", "text", "empty"]
)
def test_rank_of_the_environment(monkeypatch, rank, expected):
    """The rank is that of the variable RANK; what is no number is 0."""
    monkeypatch.setenv("RANK", rank)

    assert logging.global_rank() == expected


def test_rank_of_torch(monkeypatch):
    """Where torch.distributed is initialised, the rank is what it says."""
    monkeypatch.setenv("RANK", "3")
    distributed = types.SimpleNamespace(is_available=lambda: True, is_initialized=lambda: True, get_rank=lambda: 2)
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(distributed=distributed))

    assert logging.global_rank() == 2


# helios 2.


def test_second_version(tmp_path):
    """The loggers of helios 2 have one root, one experiment, and a state by which they go on, also as plain text."""
    loggers.create_loggers()
    loggers.setup_loggers("myrun", tmp_path)
    loggers.get_root_logger().info("first")
    loggers.get_tensorboard_writer().add_scalar("loss", 1.0, 1)
    state = loggers.get_logger_state_dicts()
    loggers.close_loggers()
    plain = {kind: {key: str(value) for key, value in one.items()} for kind, one in state.items()}
    for given in (state, plain):
        loggers.create_loggers()
        loggers.restore_loggers("other", tmp_path, given)
        loggers.get_root_logger().info("more")
        loggers.get_tensorboard_writer().add_scalar("loss", 2.0, 2)
        loggers.close_loggers()

    log, run = state["root"]["log_file"], state["tensorboard"]["run_path"]
    assert (log.parent, run.parent) == (tmp_path, tmp_path / "tensorboard")
    assert log.stem == run.name
    assert messages(log) == ["[INFO]: first", "[INFO]: more", "[INFO]: more"]
    assert scalars(run, "loss") == [(1, 1.0), (2, 2.0), (2, 2.0)]
    assert [exp.path for exp in mlv.find(tmp_path)] == [run / ROOM / run.name]


def test_state_that_names_one(tmp_path):
    """A logger that the state does not name begins anew."""
    loggers.create_loggers(enable_tensorboard=False)
    loggers.setup_loggers("myrun", tmp_path)
    state = loggers.get_logger_state_dicts()
    loggers.close_loggers()
    loggers.create_loggers()
    loggers.restore_loggers("myrun", tmp_path, state)
    loggers.get_root_logger().info("on")
    loggers.get_tensorboard_writer().add_scalar("loss", 1.0, 1)
    run = loggers.get_tensorboard_writer().run_path
    loggers.close_loggers()

    assert messages(state["root"]["log_file"]) == ["[INFO]: on"]
    assert scalars(run, "loss") == [(1, 1.0)]


def test_setup_of_one(tmp_path):
    """Loggers of helios 2 serve without the functions."""
    root, writer = loggers.RootLogger(), loggers.TensorboardWriter()
    for logger in (root, writer):
        logger.setup("myrun", tmp_path, is_resume=False)
    root.info("hello")
    writer.add_scalar("loss", 1.0, 1)
    log, run = root.log_file, writer.run_path
    for logger in (root, writer):
        logger.close()

    assert messages(log) == ["[INFO]: hello"]
    assert scalars(run, "loss") == [(1, 1.0)]


class Wandb(types.ModuleType):
    """What stands in for wandb: it notes what it is asked."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.calls: list[Any] = []

    def init(self, **options: Any) -> Any:
        self.calls.append(options)
        return types.SimpleNamespace(id="abc", finish=lambda: self.calls.append("finish"))


def test_wandb(tmp_path, monkeypatch):
    """Weights & Biases gets the run with its arguments, and the saved id where a run goes on."""
    wandb = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    arguments = loggers.WandbArgs(project="p", config={"lr": 0.1}, extra_args={"mode": "offline"})
    loggers.create_loggers(enable_tensorboard=False, wandb_args=arguments)
    loggers.setup_loggers("myrun", tmp_path)
    state = loggers.get_logger_state_dicts()
    loggers.close_loggers()
    loggers.create_loggers(enable_tensorboard=False, wandb_args=arguments)
    loggers.restore_loggers("myrun", tmp_path, state)

    asked = {"project": "p", "name": "myrun", "config": {"lr": 0.1}, "dir": str(tmp_path / "wandb"), "mode": "offline"}
    assert state["wandb"] == {"run_id": "abc"}
    assert wandb.calls == [{**asked, "id": None, "resume": None}, "finish", {**asked, "id": "abc", "resume": "allow"}]
    assert loggers.get_wandb_writer() is loggers.get_logger(loggers.LoggerType.WANDB)


def test_wandb_is_missing(monkeypatch):
    """wandb is imported only when it is asked for; where it is missing, that is said by name."""
    monkeypatch.setitem(sys.modules, "wandb", None)
    loggers.create_loggers()

    with pytest.raises(ImportError, match="pip install wandb"):
        loggers.WandbWriter("p")
    assert loggers.get_wandb_writer() is None


@pytest.mark.parametrize(
    ("call", "parameters"),
    [
        (logging.get_default_log_name, "run_name"),
        (logging.create_default_loggers, "enable_tensorboard=True, capture_warnings=True"),
        (logging.setup_default_loggers, "run_name, log_root=None, runs_root=None"),
        (logging.restore_default_loggers, "log_path=None, run_path=None"),
        (logging.RootLogger.setup, "self, log_file=None"),
        (logging.TensorboardWriter.setup, "self, run_path"),
        (logging.TensorboardWriter.add_scalar, "self, tag, scalar_value, global_step=None"),
        (logging.TensorboardWriter.add_image, "self, tag, img_tensor, global_step=None, dataformats='CHW'"),
        (logging.TensorboardWriter.add_images, "self, tag, img_tensor, global_step=None, dataformats='NCHW'"),
        (logging.TensorboardWriter.add_figure, "self, tag, figure, global_step=None, close=True"),
        (logging.TensorboardWriter.add_text, "self, tag, text_string, global_step=None"),
        (logging.TensorboardWriter.add_graph, "self, model, input_to_model=None, verbose=False, use_strict_trace=True"),
        (logging.TensorboardWriter.add_pr_curve, "self, tag, labels, predictions, global_step=None, num_thresholds=127"),
        (
            logging.TensorboardWriter.add_hparams,
            "self, hparam_dict, metric_dict, hparam_domain_discrete=None, run_name=None, global_step=None",
        ),
        (loggers.create_loggers, "enable_tensorboard=True, capture_warnings=True, wandb_args=None"),
        (loggers.setup_loggers, "run_name, log_root=None"),
        (loggers.restore_loggers, "run_name, log_root=None, loggers_state=None"),
        (loggers.RootLogger.setup, "self, run_name, log_root, is_resume"),
        (loggers.WandbWriter, "project, name=None, config=None, extra_args=None"),
    ],
)
def test_signatures(call, parameters):
    """Signatures and defaults are those of helios."""
    found = inspect.signature(call).parameters.values()

    assert ", ".join(str(one.replace(annotation=inspect.Parameter.empty)) for one in found) == parameters


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0.125", 0.125), (" 1e-1 ", 0.1), (0.5, 0.5), (True, 1.0), (2, 2.0)],
    ids=["text", "text-with-spaces", "float", "bool", "int"],
)
def test_scalars_of_any_type(tmp_path, value, expected):
    """D8: `add_scalar` and `add_scalars` take what helios documents, a number as text included, as scalars."""
    _, writer = begun(tmp_path)
    run = writer.run_path
    writer.add_scalar("s", value, 3)
    writer.add_scalars("m", {"a": value}, 3)
    logging.close_default_loggers()

    assert scalars(run, "s") == [(3, pytest.approx(expected))]
    assert scalars(run / "m_a", "m") == [(3, pytest.approx(expected))]


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_scalars_of_arrays(tmp_path, shape):
    """D8: an array of one element is the number in it, with whatever shape, in hyperparameters as well."""
    numpy = pytest.importorskip("numpy")
    value = numpy.full(shape, 0.25)
    _, writer = begun(tmp_path)
    run = writer.run_path
    writer.add_scalar("s", value, numpy.int64(3))
    writer.add_scalars("m", {"a": value}, 3)
    writer.add_hparams({"lr": value, "name": "1"}, {"acc": value})
    logging.close_default_loggers()

    assert scalars(run, "s") == [(3, 0.25)]
    assert scalars(run / "m_a", "m") == [(3, 0.25)]
    assert scalars(run, "acc") == [(0, 0.25)]


def test_tensors(tmp_path):
    """D8: so is a tensor, on a graph or not, of any precision."""
    torch = pytest.importorskip("torch")
    _, writer = begun(tmp_path)
    run = writer.run_path
    values = [torch.tensor(0.5, requires_grad=True), torch.tensor([0.5]), torch.tensor(0.5, dtype=torch.bfloat16)]
    for step, value in enumerate(values):
        writer.add_scalar("s", value, step)
        writer.add_scalars("m", {"a": value}, step)
    logging.close_default_loggers()

    assert scalars(run, "s") == scalars(run / "m_a", "m") == [(0, 0.5), (1, 0.5), (2, 0.5)]


MODULES = {
    "mlv.compat.helios.core.logging": "RootLogger TensorboardWriter get_default_log_name create_default_loggers "
    "restore_default_loggers setup_default_loggers flush_default_loggers close_default_loggers get_root_logger "
    "is_root_logger_active get_tensorboard_writer _ACTIVE_LOGGERS",
    "mlv.compat.helios.core.loggers": "Logger LoggerType RootLogger TensorboardWriter WandbArgs WandbWriter "
    "get_default_log_name create_loggers setup_loggers restore_loggers get_logger get_logger_state_dicts flush_loggers "
    "close_loggers "
    "is_root_logger_active get_root_logger get_tensorboard_writer get_wandb_writer _ACTIVE_LOGGERS",
    "mlv.compat.helios.core.loggers.base": "Logger get_default_log_name",
    "mlv.compat.helios.core.loggers.root": "RootLogger",
    "mlv.compat.helios.core.loggers.tensorboard": "TensorboardWriter",
    "mlv.compat.helios.core.loggers.wandb": "WandbArgs WandbWriter _WANDB_AVAILABLE wandb_sdk",
}


@pytest.mark.parametrize("module", MODULES)
def test_modules(module):
    """D9: modules and names lie where helios has them."""
    found = importlib.import_module(module)

    assert [name for name in MODULES[module].split() if not hasattr(found, name)] == []


def test_loggers_of_ones_own(tmp_path, monkeypatch):
    """D9: a logger of one's own, and one that adds to helios' `setup`, are set up as helios does it."""
    monkeypatch.chdir(tmp_path)
    seen: list[Any] = []

    class Mine(loggers.Logger):
        def setup(self, run_name, log_root, is_resume):
            seen.append((run_name, log_root, is_resume))

        flush = close = lambda self: None
        state_dict = lambda self: {}  # noqa: E731
        load_state_dict = lambda self, state_dict: None  # noqa: E731

    class Root(loggers.RootLogger):
        def setup(self, run_name, log_root, is_resume):
            super().setup(run_name, log_root, is_resume)
            seen.append(self.log_file)

    loggers._ACTIVE_LOGGERS[loggers.LoggerType.ROOT] = Root(capture_warnings=False)
    loggers._ACTIVE_LOGGERS[loggers.LoggerType.WANDB] = Mine()
    loggers.setup_loggers("myrun", tmp_path)
    loggers.get_root_logger().info("hello")
    loggers.close_loggers()

    [log] = tmp_path.glob("*.log")
    assert len(mlv.find(tmp_path)) == 1
    assert seen == [log, ("myrun", tmp_path, False)]
    assert messages(log) == ["[INFO]: hello"]
