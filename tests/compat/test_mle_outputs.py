"""What a logger shows elsewhere: the terminal, TensorBoard, Weights & Biases."""

from __future__ import annotations

import inspect
import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

import mlv
from compat.mle import fill, logger, module
from mlv.compat.mle_logging import MetaLog, MLELogger, load_log, merge
from mlv.compat.mle_logging import utils as mle_utils
from mlv.compat.room import REPLACED, ROOM

pytest.importorskip("h5py")
numpy = pytest.importorskip("numpy")
pytest.importorskip("yaml")
pytestmark = pytest.mark.usefixtures("inline")


def test_signatures():
    """Names and defaults are those of the original."""
    found = {name: one.default for name, one in inspect.signature(MLELogger).parameters.items()}

    assert found == {
        "experiment_dir": "/", "time_to_track": [], "what_to_track": [], "time_to_print": None, "what_to_print": None,
        "config_fname": None, "config_dict": None, "seed_id": "no_seed_provided", "overwrite": False, "use_tboard": False,
        "use_wandb": False, "wandb_config": None, "log_every_j_steps": None, "print_every_k_updates": 1,
        "model_type": "no-model-type", "ckpt_time_to_track": None, "save_every_k_ckpt": None, "save_top_k_ckpt": None,
        "top_k_metric_name": None, "top_k_minimize_metric": None, "reload": False, "verbose": False,
    }  # fmt: skip
    assert names(MLELogger.update) == "self clock_tick stats_tick model plot_fig extra_obj grads save"
    assert names(MetaLog.plot).split()[:4] == ["self", "target_to_plot", "iter_to_plot", "smooth_window"]
    assert names(merge.merge_seed_logs) == "merged_path experiment_dir num_logs delete_files"
    assert names(merge.merge_hdf5_files) == "new_filename log_paths file_ids delete_files"
    assert names(load_log) == "experiment_dir aggregate_seeds reload_log"
    assert names(mle_utils.write_to_hdf5) == "log_fname log_path data_to_log dtype"


def names(function: Any) -> str:
    return " ".join(inspect.signature(function).parameters)


def test_low_level_files(tmp_path):
    """Datasets are replaced one by one, and text is not cut; pickles come back."""
    path = str(tmp_path / "a.hdf5")
    for text in ("a", "ä" * 6000):
        mle_utils.write_to_hdf5(path, "x/meta/name", [text])
    mle_utils.write_to_hdf5(path, "x/stats/loss", [1.0, 2.0], dtype="float32")
    mle_utils.save_pkl_object({"a": 1}, str(tmp_path / "a.pkl"))

    import h5py

    with h5py.File(path) as file:
        assert file["x/meta/name"][0].decode() == "ä" * 6000
        assert file["x/stats/loss"].dtype == numpy.float32
    assert mle_utils.load_pkl_object(str(tmp_path / "a.pkl")) == {"a": 1}


def test_verbose(tmp_path, capsys):
    """Panels at the start, the head of the table once, and three digits; text in values cannot break it."""
    pytest.importorskip("rich")
    log = logger(tmp_path, verbose=True, model_type="numpy", time_to_print=["num_epochs"], what_to_print=["train_loss"])
    log.update({"num_epochs": 7}, {"train_loss": 0.123456, "test_loss": 0.9}, model=[1])
    log.update({"num_epochs": 8}, {"train_loss": "[/b]", "test_loss": 0.9}, extra_obj=[1])

    out = capsys.readouterr().out
    assert f"mlv v{mlv.__version__}" in out
    assert "Log Dir" in out
    assert out.count("num_epochs") == 2  # in the panel, and in the head
    assert "0.123" in out
    assert "0.1234" not in out
    assert "[/b]" in out
    assert "test_loss" not in out.rpartition("Seed ID")[2]
    assert "Model" in out
    assert "Extra" in out


def test_verbose_now_and_then(tmp_path, capsys):
    """The first update and each k-th are printed."""
    pytest.importorskip("rich")
    log = logger(tmp_path, verbose=True, print_every_k_updates=3, time_to_print=["num_epochs"], what_to_print=[])
    capsys.readouterr()
    for epoch in range(1001, 1008):
        log.update({"num_epochs": epoch}, {})

    out = capsys.readouterr().out
    assert [epoch for epoch in range(1001, 1008) if str(epoch) in out] == [1001, 1003, 1006]


def scalars(folder):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0, "images": 0})
    found.Reload()
    return found


class Parameter:
    """Stands for a parameter of torch."""

    def __init__(self, values, grad=None):
        self._values, self.grad = numpy.array(values), grad

    def detach(self):
        return self

    def cpu(self):
        return self

    def clone(self):
        return self._values


def test_tensorboard(tmp_path):
    """Statistics over the first time variable, means of vectors, weights, gradients and the figure; without torch."""
    pytest.importorskip("tensorboardX")
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    fig, _ = plt.subplots(figsize=(1, 1))
    log = logger(tmp_path, use_tboard=True, model_type="jax", time_to_track=["num_updates"])
    for step in (10, 20):
        stats = {"train_loss": step / 4, "v": numpy.arange(3.0)}
        log.update({"num_updates": step}, stats, {"layer": {"w": numpy.arange(4.0)}}, fig, grads={"b": numpy.ones(2)})
    log.save()
    plt.close(fig)

    found = scalars(tmp_path / "tboards/tboard_no_seed_provided")
    assert [(one.step, one.value) for one in found.Scalars("performance/train_loss")] == [(10, 2.5), (20, 5.0)]
    assert [one.value for one in found.Scalars("performance/v")] == [1.0, 1.0]
    assert sorted(found.Tags()["histograms"]) == ["gradients/b", "weights/layer/w"]
    assert found.Tags()["images"] == ["plot"]


def test_tensorboard_of_torch_models(tmp_path):
    """Parameters and their gradients are histograms; one without a gradient costs nothing."""
    pytest.importorskip("tensorboardX")
    parameters = [("w", Parameter([1.0, 2.0], Parameter([0.1, 0.2]))), ("b", Parameter([1.0]))]
    model = SimpleNamespace(named_parameters=lambda: iter(parameters), state_dict=dict)
    log = logger(tmp_path, use_tboard=True, model_type="torch", time_to_track=["num_updates"])
    log.model_log._write = lambda *_: None
    log.update({"num_updates": 1}, {"x": 1.0}, model, save=True)

    found = scalars(tmp_path / "tboards/tboard_no_seed_provided")
    assert sorted(found.Tags()["histograms"]) == ["gradients/w", "weights/b", "weights/w"]


def test_tensorboard_of_another_run(tmp_path, capsys):
    """The event files of an earlier run are moved, those of other seeds stay."""
    pytest.importorskip("tensorboardX")
    for seed_id in (1, 2, 1):
        fill(logger(tmp_path, use_tboard=True, seed_id=seed_id), 1)

    assert sorted(os.listdir(tmp_path / "tboards")) == ["tboard_seed_1", "tboard_seed_2"]
    assert len(os.listdir(tmp_path / "tboards/tboard_seed_1")) == 1
    assert "tboard_seed_1.1" in os.listdir(tmp_path / ROOM / REPLACED)


CONFIG = {"key": "sekrit", "entity": "me", "project": "p", "group": None}


def wandb(sent, failures=0):
    """What of wandb is used."""
    left = [failures]

    def init(**options):
        if left[0]:
            left[0] -= 1
            raise OSError("no network")
        sent.append(("init", os.environ.get("WANDB_API_KEY"), options))

    return {
        "init": init,
        "log": lambda data, step: sent.append((step, data)),
        "Image": lambda fig: ("image", fig),
        "Histogram": lambda np_histogram: ("histogram", len(np_histogram)),
        "Video": lambda path: ("video", path),
    }


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """What is set for wandb is gone after the test."""
    for name in ("ENTITY", "PROJECT", "NAME", "RUN_GROUP", "JOB_TYPE", "TAGS", "SILENT"):
        monkeypatch.setenv(f"WANDB_{name}", "")


def test_wandb(tmp_path, monkeypatch):
    """Rows, figures, norms and histograms are sent; wandb has the key while it begins, by its variable, and nobody later."""
    sent: list[Any] = []
    with module("wandb", monkeypatch, **wandb(sent)):
        log = logger(tmp_path, use_wandb=True, wandb_config=CONFIG, model_type="jax", seed_id=1, config_dict={"lr": 1})
        log.update({"num_epochs": 1}, {"x": 0.5}, {"w": [numpy.array([3.0, 4.0])]}, grads={"w": numpy.ones(1)})
        log.wandb_log.upload_gif("a.gif")

    assert sent[0] == ("init", "sekrit", {"config": {"lr": 1}, "group": None, "job_type": "seed_1"})
    assert sent[1][0] == 0
    assert (sent[1][1]["time/num_epochs"], sent[1][1]["stats/x"]) == (1, 0.5)
    assert sent[2][1]["params_norm/"] == {"w": [5.0]}
    assert sent[3][1]["grads_hist/"] == {"w": ("histogram", 2)}
    assert sent[4] == (1, {"video": ("video", "a.gif")})
    assert "sekrit" not in os.environ.values()
    assert os.environ["WANDB_NAME"] == "seed_1"
    assert set(CONFIG) == {"key", "entity", "project", "group"}


def test_wandb_that_cannot_be_reached(tmp_path, monkeypatch):
    """It is tried ten times, then said, and training goes on."""
    sent: list[Any] = []
    with module("wandb", monkeypatch, **wandb(sent, failures=10)):
        with pytest.warns(mlv.MlvWarning, match="failed 10 times"):
            log = logger(tmp_path, use_wandb=True, wandb_config=CONFIG)
        fill(log, 1)

    assert sent == []
    assert "WANDB_API_KEY" not in os.environ


def test_a_key_of_the_environment_stays(tmp_path, monkeypatch):
    """A key that was there before is there afterwards, also where the configuration has another."""
    monkeypatch.setenv("WANDB_API_KEY", "theirs")
    sent: list[Any] = []
    with module("wandb", monkeypatch, **wandb(sent)):
        logger(tmp_path, use_wandb=True, wandb_config=CONFIG)
        logger(tmp_path, use_wandb=True, wandb_config={**CONFIG, "key": None})

    assert [key for _, key, _ in sent] == ["sekrit", "theirs"]
    assert os.environ["WANDB_API_KEY"] == "theirs"


def test_wandb_says_what_it_needs(tmp_path, monkeypatch):
    """A key that is missing is named; and without the package, the package."""
    with module("wandb", monkeypatch, **wandb([])), pytest.raises(AssertionError, match="no 'entity'"):
        logger(tmp_path, use_wandb=True, wandb_config={"key": None})
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(mlv.MissingExtra, match="pip install wandb"):
        logger(tmp_path / "other", use_wandb=True, wandb_config=CONFIG)


def test_wandb_is_not_touched(tmp_path, python):
    """Nobody imports what was not asked for."""
    done = python(
        """
        import sys
        from mlv.compat.mle_logging import MLELogger
        assert not {"h5py", "numpy", "yaml", "rich", "matplotlib"} & set(sys.modules)
        MLELogger(experiment_dir="run").update({}, {"x": 1.0}, save=True)
        print({"wandb", "torch", "tensorboardX", "rich", "matplotlib"} & set(sys.modules))
        """
    )
    assert done.stdout == "set()\n", done.stderr


@pytest.mark.parametrize(("hidden", "named"), [("yaml", "PyYAML"), ("h5py", "h5py")])
def test_missing_packages_are_named(tmp_path, monkeypatch, hidden, named):
    """What is missing is said with the extra that brings it."""
    from mlv import optional

    optional.is_installed.cache_clear()
    monkeypatch.setitem(sys.modules, hidden, None)
    with pytest.raises(mlv.MissingExtra, match=rf"needs {named}.*mlvlogger\[compat\]"):
        logger(tmp_path).update({}, {"x": 1.0})
    optional.is_installed.cache_clear()
