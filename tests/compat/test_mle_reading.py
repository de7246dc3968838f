"""Reading and merging: files of seeds and configurations, statistics over them, plots, damaged files."""

from __future__ import annotations

import math
import os
import pickle
import shutil

import pytest

import mlv
from compat.mle import RECORDED, fill, logger
from mlv.compat.mle_logging import MetaLog, load_config, load_log, load_meta_log, merge_config_logs, merge_seed_logs
from mlv.compat.mle_logging.dotmap import DotMap
from mlv.compat.mle_logging.merge import merge_hdf5_files
from mlv.compat.mle_logging.merge.aggregate import over_seeds
from mlv.compat.mle_logging.plotting import moving_mean
from mlv.compat.room import REPLACED, ROOM

pytest.importorskip("hypothesis")
from hypothesis import given, settings
from hypothesis import strategies as st

h5py = pytest.importorskip("h5py")
numpy = pytest.importorskip("numpy")
pytest.importorskip("yaml")
pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def seeds(tmp_path):
    """A folder with two seeds, of two and four rows."""
    for seed_id, rows in ((1, 2), (2, 4)):
        fill(logger(tmp_path / "run", seed_id=seed_id), rows)
    return str(tmp_path / "run")


def test_unequal_lengths(seeds):
    """At each place the statistics are over the seeds that reach it, and the time is that of the longest."""
    found = load_log(seeds, aggregate_seeds=True).eval

    assert found.stats.train_loss.mean.tolist() == [0, 0.5, 1, 1.5]
    assert found.stats.train_loss.p50.tolist() == [0, 0.5, 1, 1.5]
    assert found.stats.train_loss.std.tolist() == [0, 0, 0, 0]
    assert found.time.num_epochs.tolist() == [0, 1, 2, 3]
    assert found.meta.seeds == [1, 2]


def test_percentiles_as_by_hand():
    """The percentiles of the fault list: medians at places that not all seeds reach."""
    columns = [numpy.array([0.0, 2, 4, 6]), numpy.array([0.0, 2, 5]), numpy.array([0.0, 2, 6, 9])]

    assert over_seeds("percentile", columns, 50).tolist() == [0, 2, 5, 7.5]


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(-100, 100), max_size=6), min_size=1, max_size=4), st.sampled_from([10, 50, 90]))
def test_percentiles(columns, q):
    """A percentile at a place is that of the values that there are."""
    found = over_seeds("percentile", [numpy.array(column) for column in columns], q)

    rows = [[column[place] for column in columns if len(column) > place] for place in range(max(map(len, columns)))]
    assert found.tolist() == [numpy.percentile(row, q) for row in rows]


@pytest.mark.parametrize("seed_id", ["only", "a_b", 5])
def test_one_seed_with_a_name(tmp_path, seed_id):
    """One seed is an entry of its own, and can be aggregated."""
    log = fill(logger(tmp_path, seed_id=seed_id), 2)

    assert load_log(str(tmp_path)).eval_ids == [log.seed_id]
    assert load_log(str(tmp_path), aggregate_seeds=True).eval.stats.test_loss.mean.tolist() == [0, 1]


def test_seeds_with_different_variables(tmp_path):
    """Statistics are over the seeds that have them."""
    for seed_id, name in ((1, "a"), (2, "b")):
        logger(tmp_path, seed_id=seed_id).update({}, {name: 1.0, "both": seed_id}, save=True)

    found = load_log(str(tmp_path), aggregate_seeds=True).eval.stats
    assert (found.a.mean.tolist(), found.b.mean.tolist(), found.both.mean.tolist()) == ([1], [1], [1.5])


def test_the_originals_files():
    """Files of the original are read: rows, vectors, meta."""
    found = load_log(str(RECORDED / "seeds/logs/log_seed_2.hdf5"))

    assert found.seed_2.stats.loss.tolist() == [2, 2.5, 3, 3.5, 4]
    assert found.seed_2.stats.vec.shape == (5, 2)
    assert found.seed_2.meta.config_dict == {"lr": 1e-3, "name": "a"}
    assert load_log(str(RECORDED / "plain/logs/log_no_seed_provided.hdf5")).stats.late.tolist() == [7]


def test_merging_into_logs(seeds):
    """The files of the seeds go once the merged one holds them."""
    merge_seed_logs(f"{seeds}/logs/log.hdf5", seeds)

    assert os.listdir(f"{seeds}/logs") == ["log.hdf5"]
    assert load_log(seeds).seed_2.stats.test_loss.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("again", [1, 2])
def test_merging_again(seeds, again):
    """Merging twice destroys nothing."""
    for _ in range(again + 1):
        merge_seed_logs(f"{seeds}/logs/log.hdf5", seeds)

    assert load_log(seeds).eval_ids == ["seed_1", "seed_2"]


def test_merging_what_came_later(seeds):
    """A seed that comes after the first merge joins those that are merged."""
    merge_seed_logs(f"{seeds}/logs/log.hdf5", seeds)
    fill(logger(seeds, seed_id=3), 1)
    merge_seed_logs(f"{seeds}/logs/log.hdf5", seeds, num_logs=3)

    assert load_log(seeds).eval_ids == ["seed_1", "seed_2", "seed_3"]


def test_merging_elsewhere(seeds, tmp_path):
    """Outside of `logs` the seeds keep their files; a merged file of other seeds is set aside."""
    shutil.copy(RECORDED / "plain/logs/log_no_seed_provided.hdf5", tmp_path / "multi.hdf5")
    merge_seed_logs(str(tmp_path / "multi.hdf5"), seeds)

    assert load_log(str(tmp_path / "multi.hdf5")).eval_ids == ["seed_1", "seed_2"]
    assert len(os.listdir(f"{seeds}/logs")) == 2
    assert (tmp_path / ROOM / REPLACED / "multi.hdf5.1").exists()


def test_a_merge_that_fails_takes_nothing(seeds):
    """A source that cannot be read ends it: every file is as it was."""
    with open(f"{seeds}/logs/log_zzz.hdf5", "wb") as file:
        file.write(b"broken")
    with pytest.raises(OSError, match=r"."):
        merge_seed_logs(f"{seeds}/logs/log.hdf5", seeds)

    assert sorted(os.listdir(f"{seeds}/logs")) == ["log_seed_1.hdf5", "log_seed_2.hdf5", "log_zzz.hdf5"]


def test_waiting_for_seeds_has_an_end(seeds, monkeypatch):
    """What it waited for is said when the time is over."""
    monkeypatch.setattr("mlv.compat.mle_logging.merge.merge_logs.WAIT_S", 0.0)
    with pytest.raises(TimeoutError, match="of 2 seeds, and not of 5"):
        merge_seed_logs(f"{seeds}/logs/log.hdf5", seeds, num_logs=5)


def test_configurations(tmp_path):
    """Each configuration has its seeds below it, merged before or not."""
    for number in (1, 2):
        for seed_id in (1, 2):
            fill(logger(tmp_path / f"config_{number}", seed_id=seed_id), number)
    merge_seed_logs(str(tmp_path / "config_1/logs/log.hdf5"), str(tmp_path / "config_1"))
    for _ in range(2):
        merge_config_logs(str(tmp_path), ["config_1", "config_2"])

    found = load_meta_log(str(tmp_path / "meta_log.hdf5"), aggregate_seeds=False)
    assert found.eval_ids == ["config_1", "config_2"]
    assert list(found.config_2) == ["seed_1", "seed_2"]
    assert load_meta_log(str(tmp_path / "meta_log.hdf5")).config_2.stats.test_loss.mean.tolist() == [0, 1]


def test_a_configuration_without_logs(tmp_path):
    """It is named."""
    with pytest.raises(AssertionError, match="config_9"):
        merge_config_logs(str(tmp_path), ["config_9"])


def test_merging_files(tmp_path):
    """Files go below groups of their own, and are deleted when asked."""
    paths = [str(shutil.copy(RECORDED / f"seeds/logs/log_seed_{n}.hdf5", tmp_path)) for n in (1, 2)]
    merge_hdf5_files(str(tmp_path / "all.hdf5"), paths, ["a", "b"], delete_files=True)

    with h5py.File(tmp_path / "all.hdf5") as file:
        assert file["b/seed_2/stats/loss"][0] == 2
    assert os.listdir(tmp_path) == ["all.hdf5"]


@pytest.mark.parametrize("content", [b"", b"no hdf5", None])
def test_damaged_files(tmp_path, content):
    """A file that cannot be read is named, and stays as it is."""
    path = tmp_path / "damaged.hdf5"
    whole = (RECORDED / "plain/logs/log_no_seed_provided.hdf5").read_bytes()
    path.write_bytes(whole[:3000] if content is None else content)
    before = path.read_bytes()

    with pytest.raises(mlv.FileUnusable, match=r"damaged\.hdf5 cannot be read"):
        load_log(str(path))
    assert path.read_bytes() == before


def test_what_is_not_there(tmp_path):
    """A missing file or folder is said as the original says it."""
    with pytest.raises(AssertionError, match="does not exist"):
        load_meta_log(str(tmp_path / "none.hdf5"))
    (tmp_path / "logs").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no \.hdf5 file"):
        load_log(str(tmp_path))


def test_meta_log(seeds):
    """Runs are attributes and items, in the order of their names."""
    found = load_log(seeds)

    assert isinstance(found, MetaLog)
    assert (len(found), found.num_configs, found.eval_ids) == (2, 2, ["seed_1", "seed_2"])
    assert found["seed_1"] is found.seed_1
    assert found.stats_vars == ["test_loss", "train_loss"]
    assert found.filter(["seed_2"]).eval_ids == ["seed_2"]


@pytest.mark.parametrize("aggregate", [False, True])
def test_plot(seeds, tmp_path, aggregate):
    """A curve for each run and statistic; the log stays as it was, and a file is written when asked."""
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    found = load_log(seeds, aggregate_seeds=aggregate)
    _, ax = found.plot(["test_loss", "train_loss"], "num_epochs", smooth_window=2, plot_std_bar=True, legend_title="seeds")
    found.plot("test_loss", fname=str(tmp_path / "plot.png"), every_nth_tick=2, ax_lims=[0, 4])

    assert len(ax.lines) == (2 if aggregate else 4)
    assert ax.get_xlabel() == "num_epochs"
    assert (tmp_path / "plot.png").stat().st_size > 1000
    assert found.eval_ids == (["eval"] if aggregate else ["seed_1", "seed_2"])
    assert "ph_seed" not in found[found.eval_ids[0]]
    with pytest.raises(AssertionError, match="no time variable"):
        found.plot("test_loss", "nothing")
    plt.close("all")


def test_moving_mean():
    """Means over a window that ends at each place; what is NaN does not count."""
    assert moving_mean([1.0, 3.0, math.nan, 5.0], 2).tolist() == [1, 2, 3, 5]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.yaml", "lr: 3e-04\nname: a\n"),
        ("c.yml", "lr: 3e-04\nname: a\n"),
        ("c.json", '{"lr": 3e-4, // a rate\n "name": "a", # "no name"\n}'),
    ],
)
def test_configurations_as_files(tmp_path, name, text):
    """Numbers with an exponent are numbers, and JSON may have comments."""
    (tmp_path / name).write_text(text)

    assert load_config(str(tmp_path / name)) == {"lr": 0.0003, "name": "a"}
    assert load_config(str(tmp_path / name), return_dotmap=True).lr == 0.0003


def test_rules_of_yaml_stay(tmp_path):
    """Reading a configuration changes nothing for others that read YAML."""
    import yaml

    (tmp_path / "c.yaml").write_text("lr: 3e-04\n")
    load_config(str(tmp_path / "c.yaml"))

    assert yaml.safe_load("lr: 3e-04") == {"lr": "3e-04"}


@pytest.mark.parametrize(("name", "text"), [("c.toml", ""), ("c.json", "{"), ("c.yaml", "a: [")])
def test_configurations_that_cannot_be_read(tmp_path, name, text):
    """Other kinds, and what is broken, are refused."""
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=r"Only YAML|is no"):
        load_config(str(tmp_path / name))


def test_copies_of_configurations(tmp_path):
    """A file is copied beside the log; a mapping is written there, also an empty one; params are those of the experiment."""
    (tmp_path / "config_1.yaml").write_text("lr: 3e-04\n")
    log = fill(logger(tmp_path / "a", config_fname=str(tmp_path / "config_1.yaml")), 1)
    fill(logger(tmp_path / "b"), 1)
    other = fill(logger(tmp_path / "c", config_dict={"lr": 0.1, "what": math.sqrt}), 1)

    assert (tmp_path / "a/config_1/config_1.yaml").read_text() == "lr: 3e-04\n"
    assert (tmp_path / "b/config_dict.yaml").read_text() == "{}\n"
    assert log.exp["lr"] == 0.0003
    assert other.exp["what"] == str(math.sqrt)


def test_dotmap():
    """Keys are attributes, at any depth, and it travels."""
    found = pickle.loads(pickle.dumps(DotMap({"a": {"b": 1}})))

    assert found.a.b == 1
    assert found.toDict() == {"a": {"b": 1}}
    with pytest.raises(AttributeError, match="no 'c': there is a"):
        _ = found.c
