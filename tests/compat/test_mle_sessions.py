"""Sessions: reloading, running again, and several loggers at once."""

from __future__ import annotations

import os
import pickle
import shutil
import threading

import pytest
from conftest import fork

import mlv
from compat.mle import RECORDED, fill, logger
from mlv.compat.mle_logging import load_log
from mlv.compat.mle_logging.experiments import restored
from mlv.compat.mle_logging.seats import Seat
from mlv.compat.room import REPLACED, ROOM

h5py = pytest.importorskip("h5py")
pytest.importorskip("yaml")


def values(folder, name="test_loss"):
    return load_log(str(folder)).stats[name].tolist()


def test_reload_continues(tmp_path):
    """Rows, counters and the time that has passed go on."""
    first = fill(logger(tmp_path, time_to_track=["num_epochs"]), 3)
    elapsed_s = first.stats_log.clock_tracked["time_elapsed"][-1]

    log = logger(tmp_path, time_to_track=["num_epochs"], reload=True)
    assert log.stats_log.stats_tracked["test_loss"] == [0, 1, 2]
    log.update({"num_epochs": 3}, {"test_loss": 3.0}, save=True)

    time = load_log(str(tmp_path)).time
    assert values(tmp_path) == [0, 1, 2, 3]
    assert time.num_updates.tolist() == [0, 10, 20, 4]
    assert time.time_elapsed[-1] >= elapsed_s


def test_reload_where_there_is_nothing(tmp_path):
    """A folder without a log is begun."""
    fill(logger(tmp_path / "new", reload=True), 1)

    assert values(tmp_path / "new") == [0]


def test_reload_of_one_of_several_seeds(tmp_path):
    """Each seed goes on with its own rows."""
    for seed_id in (1, 2):
        fill(logger(tmp_path, seed_id=seed_id), seed_id)
    log = logger(tmp_path, seed_id=2, reload=True)

    assert log.stats_log.stats_tracked["test_loss"] == [0, 1]


def test_reload_with_a_configuration(tmp_path):
    """The folder of the configuration is found again."""
    config = tmp_path / "config_1.json"
    config.write_text('{"lr": 0.1}')
    fill(logger(tmp_path / "runs", config_fname=str(config)), 2)
    log = logger(tmp_path / "runs", config_fname=str(config), reload=True)

    assert log.experiment_dir == str(tmp_path / "runs" / "config_1")
    assert log.stats_log.stats_tracked["test_loss"] == [0, 1]


def portfolio(folder, **options):
    return logger(folder, model_type="numpy", ckpt_time_to_track="num_updates", **options)


def test_reload_counts_checkpoints_beyond_nine(tmp_path):
    """Each k-th goes on behind the twelfth, and overwrites none."""
    log = portfolio(tmp_path, save_every_k_ckpt=2)
    for step in range(12):
        log.update({"num_updates": step}, {"test_loss": 1.0}, model=[step])
    log = portfolio(tmp_path, save_every_k_ckpt=2, reload=True)
    for step in range(12, 14):
        log.update({"num_updates": step}, {"test_loss": 1.0}, model=[step])
    log.save()

    kept = load_log(str(tmp_path)).meta.every_k_ckpt_list
    assert [path.rpartition("_")[2] for path in kept] == [f"{k}.pkl" for k in (2, 4, 6, 8, 10, 12, 14)]


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_reload_with_a_top_one(tmp_path, rows):
    """The best one is known again, also where there was none yet."""
    options = {"save_top_k_ckpt": 1, "top_k_metric_name": "test_loss", "top_k_minimize_metric": True}
    log = portfolio(tmp_path, **options)
    for step in range(rows):
        log.update({"num_updates": step}, {"test_loss": 1.0 + step}, model=[step])
    log.save()
    log = portfolio(tmp_path, **options, reload=True)
    log.update({"num_updates": 9}, {"test_loss": 5.0}, model=[9], save=True)

    assert log.model_log.top_k_performance == [1.0 if rows else 5.0]


def test_reload_before_the_first_every_k(tmp_path):
    """Models that were saved count, also those that are not kept."""
    log = portfolio(tmp_path, save_every_k_ckpt=3)
    log.update({"num_updates": 1}, {}, model=[1])
    log = portfolio(tmp_path, save_every_k_ckpt=3, reload=True)
    for step in (2, 3):
        log.update({"num_updates": step}, {}, model=[step])

    assert log.model_log.every_k_ckpt_list[0].endswith("_k_3.pkl")


def test_reload_numbers_figures_and_objects(tmp_path):
    """The next object gets the next number; those with a name of their own do not count."""
    log = logger(tmp_path)
    log.save_extra({"a": 1})
    log.save_extra({"a": 2}, "own/name.pkl")
    log = logger(tmp_path, reload=True)
    log.save_extra({"a": 3})

    assert sorted(os.listdir(tmp_path / "extra")) == ["extra_1_no_seed_provided.pkl", "extra_2_no_seed_provided.pkl", "own"]
    assert len(log.extra_log.extra_storage_paths) == 3


def test_reload_of_what_the_original_wrote(tmp_path):
    """Its rows are taken over into an experiment, its file moves to the hidden folder."""
    shutil.copytree(RECORDED / "plain", tmp_path / "run")
    log = logger(tmp_path / "run", reload=True)
    log.update({"num_epochs": 3}, {"loss": 1.5, "late": 8.0}, save=True)

    found = load_log(str(tmp_path / "run"))
    assert found.stats.loss.tolist() == [0, 0.5, 1, 1.5]
    assert found.stats.late.tolist() == [7, 8]
    assert found.time.num_updates.tolist() == [1, 2, 3, 4]
    assert (
        found.meta.extra_storage_paths == "plain/extra/extra_3_no_seed_provided.pkl" or len(found.meta.extra_storage_paths) == 3
    )
    assert os.listdir(tmp_path / "run" / ROOM / REPLACED) == ["log_no_seed_provided.hdf5.1"]


def test_running_again_keeps_what_was(tmp_path):
    """The file is that of the new run, the earlier one is in the hidden folder, and both experiments are there."""
    fill(logger(tmp_path), 3)
    fill(logger(tmp_path), 1)

    assert values(tmp_path) == [0]
    assert os.listdir(tmp_path / ROOM / REPLACED) == ["log_no_seed_provided.hdf5.1"]
    with h5py.File(tmp_path / ROOM / REPLACED / "log_no_seed_provided.hdf5.1") as file:
        assert file["no_seed_provided/stats/test_loss"][:].tolist() == [0, 1, 2]
    assert (tmp_path / ROOM / "no_seed_provided/log.jsonl").exists()
    assert (tmp_path / ROOM / "no_seed_provided_1/log.jsonl").exists()


def test_a_logger_that_is_not_used_takes_nothing_away(tmp_path):
    """What is there stays until the first row comes."""
    fill(logger(tmp_path), 2)
    logger(tmp_path)

    assert values(tmp_path) == [0, 1]


def test_a_logger_that_was_replaced(tmp_path):
    """Where an earlier logger of the process goes on, the file stays that of the later one, and its rows are in its log."""
    first = fill(logger(tmp_path), 1)
    second = fill(logger(tmp_path), 2)
    with pytest.warns(mlv.OutputFailed) as said:
        fill(first, 1, first=1)

    assert any("a later logger" in str(one.message) for one in said)
    assert values(tmp_path) == [0, 1]
    assert restored(first.exp).stats["test_loss"] == restored(second.exp).stats["test_loss"] == [0, 1]


def test_disabled(tmp_path, monkeypatch):
    """Under MLV_DISABLED all calls are there, and no experiment is left."""
    monkeypatch.setenv("MLV_DISABLED", "1")
    log = fill(logger(tmp_path, model_type="numpy"), 1)
    log.save_model([1])

    assert not (tmp_path / ROOM / "no_seed_provided").exists()


def test_overwrite(tmp_path, capsys):
    """What is there of the seed is moved at once, and it says so."""
    fill(logger(tmp_path), 2)
    logger(tmp_path, overwrite=True)

    assert "Be careful - you are overwriting an existing log." in capsys.readouterr().out.replace("\n", " ")
    assert os.listdir(tmp_path / "logs") == []


def test_a_file_of_something_else_is_moved(tmp_path):
    """A file in the way that is none of ours, or cannot be read, is kept aside."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/log_no_seed_provided.hdf5").write_text("broken")
    fill(logger(tmp_path), 1)

    assert values(tmp_path) == [0]
    assert (tmp_path / ROOM / REPLACED / "log_no_seed_provided.hdf5.1").read_text() == "broken"


def test_a_broken_file_is_built_again(tmp_path):
    """Where the file was damaged after its run, the next run has all rows."""
    fill(logger(tmp_path), 3)
    path = tmp_path / "logs/log_no_seed_provided.hdf5"
    path.write_bytes(path.read_bytes()[:5000])
    log = logger(tmp_path, reload=True)
    fill(log, 1, first=3)

    assert values(tmp_path) == [0, 1, 2, 3]


def test_a_file_that_vanishes_is_built_again(tmp_path):
    """Where it was removed while the run goes on, it comes back whole with the next row."""
    log = fill(logger(tmp_path), 2)
    os.remove(tmp_path / "logs/log_no_seed_provided.hdf5")
    fill(log, 1, first=2)

    assert values(tmp_path) == [0, 1, 2]


def test_two_processes_of_one_seed(tmp_path, python):
    """The second one writes as another seed, and says so: neither overwrites the other's files."""
    fill(log := logger(tmp_path, model_type="numpy"), 1)
    log.save_model([1])
    done = python(
        """
        import sys, warnings
        warnings.simplefilter("always")
        from mlv.compat.mle_logging import MLELogger
        log = MLELogger(experiment_dir=sys.argv[1], model_type="numpy")
        log.update({}, {"test_loss": 7.0}, model=[7], save=True)
        print(log.seed_id)
        """,
        tmp_path,
    )

    assert done.stdout == "no_seed_provided_rank_1\n", done.stderr
    assert "another process logs seed 'no_seed_provided'" in done.stderr
    assert sorted(os.listdir(tmp_path / "models/final")) == ["final_no_seed_provided.pkl", "final_no_seed_provided_rank_1.pkl"]
    both = load_log(str(tmp_path))
    assert both.no_seed_provided.stats.test_loss.tolist() == [0]
    assert both.no_seed_provided_rank_1.stats.test_loss.tolist() == [7]


def test_seats_are_counted(tmp_path):
    """A seat of this process is free when its last holder leaves it."""
    seats = [Seat(tmp_path, "a") for _ in range(2)]
    assert [seat.seed_id for seat in seats] == ["a", "a"]
    for seat in seats:
        seat.release()
    assert Seat(tmp_path, "a").seed_id == "a"


def test_fork(tmp_path):
    """A forked child adds its rows, and those of the parent are there once."""
    log = fill(logger(tmp_path), 1)
    pid = fork(lambda: (log.update({"num_epochs": 1}, {"test_loss": 1.0}), log.exp.flush()))
    os.waitpid(pid, 0)
    log.update({"num_epochs": 2}, {"test_loss": 2.0}, save=True)

    assert sorted(values(tmp_path)) == [0, 1, 2]


def test_fork_while_a_thread_logs(tmp_path):
    """A child is not held up by what a thread of its parent was doing."""
    log = fill(logger(tmp_path), 1)
    with log._lock:
        pid = os.fork()
        if pid == 0:
            thread = threading.Thread(target=lambda: log.update({"num_epochs": 1}, {"test_loss": 1.0}))
            thread.start()
            thread.join(60)
            os._exit(thread.is_alive())
    assert os.waitpid(pid, 0)[1] == 0


def test_a_logger_travels(tmp_path):
    """A logger that was pickled goes on in the same log."""
    first = fill(logger(tmp_path), 1)
    log = pickle.loads(pickle.dumps(first))
    fill(log, 1, first=1)
    first.save()

    assert values(tmp_path) == [0, 1]


def test_the_root_is_not_a_folder_for_experiments(tmp_path, monkeypatch):
    """Without a folder everything goes to the current one."""
    from mlv.compat.mle_logging import MLELogger

    monkeypatch.chdir(tmp_path)
    MLELogger().update({}, {"x": 1.0}, save=True)

    assert (tmp_path / "logs/log_no_seed_provided.hdf5").exists()


def test_another_current_folder(tmp_path, monkeypatch):
    """A relative folder stays where it was when the logger was made."""
    monkeypatch.chdir(tmp_path)
    log = logger("run", model_type="numpy")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    log.update({}, {"x": 1.0}, model=[1], extra_obj={"a": 1}, save=True)

    assert sorted(os.listdir(tmp_path / "run")) == [ROOM, "config_dict.yaml", "extra", "logs", "models"]
    assert os.listdir(tmp_path / "elsewhere") == []
