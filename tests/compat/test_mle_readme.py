"""Every example of the README of mle-logging runs with another import line, and leaves what it promises."""

from __future__ import annotations

import importlib
import os
import pickle
import sys

import pytest

from mlv.compat.mle_logging import MLELogger, load_log, load_meta_log, merge_config_logs, merge_seed_logs
from mlv.compat.room import ROOM

pytest.importorskip("h5py")
pytest.importorskip("yaml")
pytest.importorskip("matplotlib").use("Agg")
pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture(autouse=True)
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class Model:
    """Stands for a torch model: its state is what is saved."""

    def state_dict(self):
        return {"weight": [1.0, 2.0]}


@pytest.fixture
def torch(monkeypatch):
    """What of torch the examples need, where it is not installed."""
    from compat.mle import module

    def save(state, path):
        with open(path, "wb") as file:
            pickle.dump(state, file)

    with module("torch", monkeypatch, save=save):
        yield


def quick_start():
    # Instantiate logging to experiment_dir
    log = MLELogger(time_to_track=['num_updates', 'num_epochs'],
                    what_to_track=['train_loss', 'test_loss'],
                    experiment_dir="experiment_dir/",
                    model_type='torch')  # fmt: skip

    time_tic = {'num_updates': 10, 'num_epochs': 1}  # fmt: skip
    stats_tic = {'train_loss': 0.1234, 'test_loss': 0.1235}  # fmt: skip

    # Update the log with collected data & save it to .hdf5
    log.update(time_tic, stats_tic)
    log.save()
    return log, time_tic, stats_tic


def test_quick_start(torch):
    """Rows, a model, a figure and an object are stored at the places of the original."""
    import matplotlib.pyplot as plt

    log, time_tic, stats_tic = quick_start()
    model = Model()
    log.save_model(model)
    fig, _ = plt.subplots()
    log.save_plot(fig)
    some_dict = {"hi": "there"}
    log.save_extra(some_dict)
    extra = some_dict
    log.update(time_tic, stats_tic, model, fig, extra, save=True)
    plt.close(fig)

    log_out = load_log("experiment_dir/")

    assert sorted(log_out.meta.keys()) == [
        "config_dict", "config_fname", "eval_id", "experiment_dir", "extra_storage_paths", "fig_storage_paths", "log_paths",
        "model_ckpt", "model_type",
    ]  # fmt: skip
    assert sorted(log_out.stats.keys()) == ["test_loss", "train_loss"]
    assert sorted(log_out.time.keys()) == ["num_epochs", "num_updates", "time", "time_elapsed"]
    assert log_out.stats.train_loss.tolist() == [0.1234, 0.1234]
    assert log_out.time.num_updates.tolist() == [10, 10]
    assert sorted(os.listdir("experiment_dir")) == [ROOM, "config_dict.yaml", "extra", "figures", "logs", "models"]
    assert os.path.getsize("experiment_dir/figures/fig_2_no_seed_provided.png") > 1000
    with open("experiment_dir/extra/extra_1_no_seed_provided.pkl", "rb") as file:
        assert pickle.load(file) == some_dict
    assert os.path.exists("experiment_dir/models/final/final_no_seed_provided.pt")


def test_reload(torch):
    """An experiment that was aborted goes on."""
    quick_start()

    log = MLELogger(time_to_track=['num_updates', 'num_epochs'],
                    what_to_track=['train_loss', 'test_loss'],
                    experiment_dir="experiment_dir/",
                    model_type='torch',
                    reload=True)  # fmt: skip
    log.update({"num_updates": 20, "num_epochs": 2}, {"train_loss": 0.1, "test_loss": 0.2}, save=True)

    assert load_log("experiment_dir/").time.num_updates.tolist() == [10, 20]


def test_merging_seeds():
    """Seeds are merged, and the folder of the experiment can be loaded afterwards."""
    for seed_id in (1, 2):
        log = MLELogger(experiment_dir="experiment_dir/", seed_id=seed_id, time_to_track=["num_epochs"])
        log.update({"num_epochs": 1}, {"test_loss": seed_id}, save=True)

    merge_seed_logs("multi_seed.hdf", "experiment_dir/")
    log_out = load_log("experiment_dir/")

    assert log_out.eval_ids == ["seed_1", "seed_2"]


def test_merging_configurations():
    """Configurations are merged with their seeds, and loaded as statistics over these."""
    for config in ("config_1", "config_2"):
        with open(f"{config}.json", "w") as file:
            file.write('{"lr": 0.1}')
        for seed_id in (1, 2):
            log = MLELogger(experiment_dir="experiment_dir/", config_fname=f"{config}.json", seed_id=seed_id)
            log.update({"num_epochs": 1}, {"test_loss": seed_id}, save=True)
    os.symlink("experiment_dir", "multi_config_dir")

    merge_config_logs(experiment_dir="experiment_dir/",
                      all_run_ids=["config_1", "config_2"])  # fmt: skip
    meta_log = load_meta_log("multi_config_dir/meta_log.hdf5")

    assert sorted(meta_log.eval_ids) == ["config_1", "config_2"]
    assert sorted(meta_log.config_1.stats.test_loss.keys()) == ["mean", "p10", "p25", "p50", "p75", "p90", "std"]
    assert meta_log.config_1.stats.test_loss.mean.tolist() == [1.5]
    assert meta_log.config_1.meta.config_dict == {"lr": 0.1}


def test_every_k(torch):
    """Each second checkpoint that comes with an update is kept."""
    log = MLELogger(time_to_track=['num_updates', 'num_epochs'],
                    what_to_track=['train_loss', 'test_loss'],
                    experiment_dir='every_k_dir/',
                    model_type='torch',
                    ckpt_time_to_track='num_updates',
                    save_every_k_ckpt=2)  # fmt: skip
    for step in range(1, 6):
        log.update({"num_updates": 10 * step}, {"test_loss": 1.0}, Model())
    log.save()

    meta = load_log("every_k_dir/").meta
    assert sorted(os.listdir("every_k_dir/models/every_k")) == [f"every_k_no_seed_provided_k_{k}.pt" for k in (2, 4)]
    assert meta.every_k_storage_time == [20, 40]
    assert [os.path.exists(path) for path in meta.every_k_ckpt_list] == [True, True]


def test_top_k(torch):
    """The three best checkpoints are kept."""
    log = MLELogger(time_to_track=['num_updates', 'num_epochs'],
                    what_to_track=['train_loss', 'test_loss'],
                    experiment_dir="top_k_dir/",
                    model_type='torch',
                    ckpt_time_to_track='num_updates',
                    save_top_k_ckpt=3,
                    top_k_metric_name="test_loss",
                    top_k_minimize_metric=True)  # fmt: skip
    for step, loss in enumerate((0.5, 0.9, 0.4, 0.7, 0.1)):
        log.update({"num_updates": step}, {"test_loss": loss}, Model())
    log.save()

    meta = load_log("top_k_dir/").meta
    assert meta.top_k_performance == [0.5, 0.1, 0.4]
    assert meta.top_k_storage_time == [0, 4, 2]
    assert meta.top_k_metric_name == "test_loss"
    assert [os.path.exists(path) for path in meta.top_k_ckpt_list] == [True] * 3


MODULES = {
    "": "MLELogger load_log load_model load_config merge_config_logs merge_seed_logs __version__",
    ".mle_logger": "MLELogger",
    ".meta_log": "MetaLog",
    ".load": "load_log load_meta_log load_model",
    ".load.load_log": "load_log load_meta_log",
    ".load.load_model": "load_model",
    ".merge": "merge_hdf5_files merge_seed_logs merge_config_logs",
    ".merge.merge_logs": "merge_seed_logs merge_config_logs",
    ".merge.merge_hdf5": "merge_hdf5_files",
    ".merge.aggregate": "aggregate_over_seeds",
    ".save": "StatsLog WandbLog ModelLog ExtraLog FigureLog",
    ".save.stats_log": "StatsLog",
    ".save.model_log": "ModelLog",
    ".save.figure_log": "FigureLog",
    ".save.extra_log": "ExtraLog",
    ".save.wandb_log": "WandbLog",
    ".utils": "load_config write_to_hdf5 visualize_1D_lcurves load_pkl_object save_pkl_object print_welcome print_startup "
    "print_update print_reload print_storage",
    ".utils.helpers": "load_config write_to_hdf5 visualize_1D_lcurves load_pkl_object save_pkl_object",
    ".utils.comms": "print_welcome print_startup print_update print_reload print_storage",
}


@pytest.mark.parametrize("module", MODULES)
def test_modules(module):
    """D9: modules and names lie where mle-logging has them."""
    name = f"mlv.compat.mle_logging{module}"
    found = importlib.import_module(name)

    assert [name for name in MODULES[module].split() if not hasattr(sys.modules.get(name, found), name)] == []
