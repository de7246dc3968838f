"""The original package, where it is installed, reads what the drop-in wrote, and goes on with it; and the other way round."""

from __future__ import annotations

import importlib
import os

import pytest

from compat.mle import fill, logger
from mlv.compat.mle_logging import load_log, load_meta_log, merge_config_logs, merge_seed_logs

pytest.importorskip("h5py")
pytest.importorskip("yaml")
original = pytest.importorskip("mle_logging")
pytestmark = pytest.mark.filterwarnings("default")


def test_it_reads_one_run(tmp_path):
    """Rows, meta and the configuration are what they were, also those that are not ASCII."""
    log = logger(tmp_path, model_type="numpy", config_dict={"lr": 0.1, "name": "größe" * 2000})
    log.update({"num_updates": 16777217, "num_epochs": 1}, {"train_loss": 0.1}, model=[1], extra_obj=1, save=True)

    found = original.load_log(str(tmp_path))
    assert found.stats.train_loss.tolist() == [0.1]
    assert found.time.num_updates.tolist() == [16777217]
    assert found.meta.config_dict == {"lr": 0.1, "name": "größe" * 2000}
    assert found.meta.model_ckpt == log.model_log.final_model_save_fname


def test_it_merges_and_aggregates(tmp_path):
    """It merges seeds and configurations that the drop-in wrote."""
    for config in ("config_1", "config_2"):
        folder = tmp_path / config
        for seed_id in (1, 2):
            fill(logger(folder, seed_id=seed_id), 3)
        original.merge_seed_logs(str(folder / "logs/log.hdf5"), str(folder))
    original.merge_config_logs(str(tmp_path), ["config_1", "config_2"])

    found = importlib.import_module("mle_logging.load").load_meta_log(str(tmp_path / "meta_log.hdf5"))
    ours = load_meta_log(str(tmp_path / "meta_log.hdf5"))
    assert found.config_1.stats.test_loss["mean"].tolist() == ours.config_1.stats.test_loss["mean"].tolist() == [0, 1, 2]


def test_it_reads_what_was_merged(tmp_path):
    """Merged files of the drop-in are those of the original."""
    for config in ("config_1", "config_2"):
        for seed_id in (1, 2):
            fill(logger(tmp_path / config, seed_id=seed_id), 3)
        merge_seed_logs(str(tmp_path / config / "logs/log.hdf5"), str(tmp_path / config))
    merge_config_logs(str(tmp_path), ["config_1", "config_2"])

    found = importlib.import_module("mle_logging.load").load_meta_log(str(tmp_path / "meta_log.hdf5"))
    assert found.config_2.stats.train_loss.p50.tolist() == [0, 0.5, 1]


def test_it_goes_on_with_a_log(tmp_path):
    """The original reloads a run of the drop-in."""
    fill(logger(tmp_path), 2)
    log = original.MLELogger(experiment_dir=str(tmp_path), reload=True)
    log.update({"num_epochs": 2}, {"train_loss": 9.0, "test_loss": 9.0}, save=True)

    assert load_log(str(tmp_path / "logs/log_no_seed_provided.hdf5")).stats.test_loss.tolist() == [0, 1, 9]


def test_the_drop_in_goes_on_with_its_log(tmp_path):
    """The drop-in reloads a run of the original, with checkpoints, figures and objects."""
    options = {
        "experiment_dir": str(tmp_path), "time_to_track": ["num_epochs"], "what_to_track": ["loss"], "model_type": "numpy",
        "ckpt_time_to_track": "num_epochs", "save_every_k_ckpt": 2, "save_top_k_ckpt": 1, "top_k_metric_name": "loss",
        "top_k_minimize_metric": True, "seed_id": 4,
    }  # fmt: skip
    log = original.MLELogger(**options)
    for epoch in range(12):
        log.update({"num_epochs": epoch}, {"loss": 12.0 - epoch}, model=[epoch], extra_obj=epoch)
    log.save()
    log = logger(options.pop("experiment_dir"), **options, reload=True)
    for epoch in (12, 13):
        log.update({"num_epochs": epoch}, {"loss": 0.5}, model=[epoch], extra_obj=epoch)
    log.save()

    found = original.load_log(str(tmp_path)).seed_4
    assert found.time.num_epochs.tolist() == list(range(14))
    assert found.meta.top_k_performance == 0.5
    assert os.path.basename(found.meta.every_k_ckpt_list[-1]) == "every_k_seed_4_k_14.pkl"
    assert os.path.basename(found.meta.extra_storage_paths[-1]) == "extra_14_seed_4.pkl"


def test_the_same_script_leaves_the_same(tmp_path):
    """Both leave files of the same names, but for the experiment beneath."""
    trees = {}
    for kind, make in (("theirs", original.MLELogger), ("ours", importlib.import_module("mlv.compat.mle_logging").MLELogger)):
        folder = tmp_path / kind
        log = make(
            experiment_dir=str(folder), time_to_track=["num_epochs"], what_to_track=["loss"], model_type="numpy", seed_id=1,
            ckpt_time_to_track="num_epochs", save_every_k_ckpt=2, save_top_k_ckpt=2, top_k_metric_name="loss",
            top_k_minimize_metric=False, config_dict={"lr": 0.1},
        )  # fmt: skip
        log.save_init_model([0])
        for epoch in range(4):
            log.update({"num_epochs": epoch}, {"loss": float(epoch)}, model=[epoch], extra_obj=epoch)
        log.save_extra(1, "sub/own.pkl")
        log.save()
        trees[kind] = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}

    assert {name for name in trees["ours"] if not name.startswith("mlv/")} == trees["theirs"]
