"""Models, portfolios, figures and objects: written whole, at the places of the original, for every kind of model."""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys

import pytest

from compat.mle import logger
from mlv.compat.mle_logging import load_log, load_model
from mlv.compat.mle_logging.save.model_log import slot_for
from mlv.compat.mle_logging.storage import write_whole
from mlv.compat.room import ROOM

pytest.importorskip("hypothesis")
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("h5py")
numpy = pytest.importorskip("numpy")
pytest.importorskip("yaml")
pytestmark = pytest.mark.usefixtures("inline")


@pytest.mark.parametrize("model_type", ["jax", "sklearn", "numpy"])
def test_pickled_models(tmp_path, model_type):
    """Trees, estimators and arrays are pickles, and come back."""
    log = logger(tmp_path, model_type=model_type)
    model = {"layer": {"w": numpy.ones(3)}} if model_type != "numpy" else numpy.arange(3)
    log.save_model(model)
    log.save_init_model(model)

    found = load_model(str(tmp_path / "models/final/final_no_seed_provided.pkl"), model_type)
    assert str(found) == str(model)
    assert (tmp_path / "models/init/init_no_seed_provided.pkl").exists()


def test_sklearn(tmp_path):
    """An estimator that was loaded predicts as the one that was saved."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    model = linear_model.LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])
    logger(tmp_path, model_type="sklearn").save_model(model)

    found = load_model(str(tmp_path / "models/final/final_no_seed_provided.pkl"), "sklearn")
    assert found.predict([[2.0]]).tolist() == pytest.approx([4.0])


def test_torch(tmp_path):
    """The state of a torch model fills another one."""
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(2, 1)
    logger(tmp_path, model_type="torch").update({}, {"loss": torch.tensor(0.5)}, model, save=True)

    path = str(tmp_path / "models/final/final_no_seed_provided.pt")
    other = load_model(path, "torch", torch.nn.Linear(2, 1))
    assert torch.equal(other.weight, model.weight)
    assert sorted(load_model(path, "torch")) == ["bias", "weight"]
    assert load_log(str(tmp_path)).stats.loss.tolist() == [0.5]


class Keras2:
    """Saves at the path that it is given."""

    content = b"weights of keras 2"

    def save_weights(self, path):
        with open(path, "wb") as file:
            file.write(self.content)

    def load_weights(self, path):
        with open(path, "rb") as file:
            self.loaded = file.read()


class Keras3(Keras2):
    """Takes only files of one suffix."""

    content = b"\x89HDF\r\n\x1a\n and weights"

    def save_weights(self, path):
        if not path.endswith(".weights.h5"):
            raise ValueError(f"The filename must end in `.weights.h5`. Received: filepath={path}")
        super().save_weights(path)

    def load_weights(self, path):
        assert path.endswith(".weights.h5")
        super().load_weights(path)


@pytest.mark.parametrize("kind", [Keras2, Keras3])
def test_tensorflow(tmp_path, kind):
    """Weights are at the original's path, whatever Keras wants as suffix, and are loaded from there."""
    logger(tmp_path, model_type="tensorflow").save_model(kind())

    assert os.listdir(tmp_path / "models/final") == ["final_no_seed_provided.pt"]
    found = load_model(str(tmp_path / "models/final/final_no_seed_provided.pt"), "tensorflow", kind())
    assert found.loaded == kind.content


class Checkpoints(Keras2):
    """Makes several files, as tensorflow does."""

    def save_weights(self, path):
        for suffix in (".index", ".data-00000-of-00001"):
            super().save_weights(path + suffix)


def test_checkpoints_of_several_files(tmp_path):
    """All of them are put in place."""
    logger(tmp_path, model_type="tensorflow").save_model(Checkpoints())

    names = ["final_no_seed_provided.pt.data-00000-of-00001", "final_no_seed_provided.pt.index"]
    assert sorted(os.listdir(tmp_path / "models/final")) == names


class Broken:
    """Cannot be pickled to its end."""

    def __reduce__(self):
        raise RuntimeError("no")


def test_a_model_that_fails_leaves_the_old_one(tmp_path):
    """A model is there whole or not at all, and so are figures and objects."""
    log = logger(tmp_path, model_type="jax")
    log.save_model([1])
    log.save_extra([1], "own.pkl")
    with pytest.raises(RuntimeError):
        log.save_model(["x" * 10_000, Broken()])
    with pytest.raises(RuntimeError):
        log.save_extra(["x" * 10_000, Broken()], "own.pkl")

    assert load_model(str(tmp_path / "models/final/final_no_seed_provided.pkl"), "jax") == [1]
    assert pickle.loads((tmp_path / "extra/own.pkl").read_bytes()) == [1]
    assert os.listdir(tmp_path / "extra") == ["own.pkl"]
    assert log.model_log.model_save_counter == 1


def test_what_a_killed_process_left_goes_with_the_next(tmp_path):
    """D2: a half file of an earlier process lies in the hidden folder, where no pattern finds it, and does not stay."""
    room, target = tmp_path / ROOM, tmp_path / "models" / "a.pkl"
    code = "import os, sys; from mlv.compat.mle_logging.storage import write_whole\n" + (
        "write_whole(sys.argv[1], lambda path: (open(path, 'w').write('half'), os._exit(9)), sys.argv[2])"
    )
    assert subprocess.run([sys.executable, "-c", code, str(target), str(room)], timeout=60).returncode == 9
    assert os.listdir(target.parent) == []
    assert len(list(room.rglob("a.pkl"))) == 1
    write_whole(str(target), lambda path: open(path, "w").close(), room)

    assert os.listdir(target.parent) == ["a.pkl"]
    assert os.listdir(room) == []


def test_types_of_models(tmp_path):
    """An unknown type is refused at once, none when a model is saved."""
    with pytest.raises(AssertionError, match="model_type='keras'"):
        logger(tmp_path, model_type="keras")
    with pytest.raises(ValueError, match="Provide valid model_type"):
        logger(tmp_path).save_model([1])
    with pytest.raises(ValueError, match="Please provide a valid model type"):
        load_model("x", "keras")


@pytest.mark.parametrize(
    "options",
    [
        {"save_every_k_ckpt": 2},
        {"save_top_k_ckpt": 2},
        {"save_top_k_ckpt": 2, "ckpt_time_to_track": "num_epochs"},
        {"save_top_k_ckpt": 2, "ckpt_time_to_track": "num_epochs", "top_k_metric_name": "x"},
    ],
)
def test_portfolios_say_what_they_need(tmp_path, options):
    """What is missing for a portfolio is named."""
    with pytest.raises(AssertionError, match="needs"):
        logger(tmp_path, model_type="numpy", **options)


@given(st.lists(st.floats(), max_size=12), st.integers(1, 4), st.booleans())
def test_slots(scores, places, is_minimum_best):
    """The best k stay, whatever order they come in, and NaN gives way to any number."""
    kept: list[float] = []
    for score in scores:
        slot = slot_for(score, kept, places, is_minimum_best)
        if slot is not None:
            kept[slot : slot + 1] = [score]

    def goodness(score):
        return (math.isnan(score), 0.0 if math.isnan(score) else score if is_minimum_best else -score)

    assert sorted(map(goodness, kept)) == sorted(map(goodness, scores))[:places]


def test_references(tmp_path):
    """Each file is referred to in the experiment, with its SHA-256."""
    log = logger(tmp_path, model_type="numpy")
    log.update({}, {}, model=[1], extra_obj={"a": 1}, save=True)

    found = {event.data["path"]: event.data["file"] for event in log.exp.events("event", "mle_logging/file")}
    assert sorted(map(os.path.basename, found)) == ["extra_1_no_seed_provided.pkl", "final_no_seed_provided.pkl"]
    assert all(len(reference["sha256"]) == 64 for reference in found.values())


@pytest.mark.parametrize("name", ["own.png", "sub/own.svg", "own"])
def test_figures(tmp_path, name):
    """Figures have numbers, or names of their own, which do not count; missing folders are made."""
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    fig, _ = plt.subplots(figsize=(1, 1))
    log = logger(tmp_path)
    log.save_plot(fig)
    log.save_plot(fig, name)
    log.save_plot(fig)
    plt.close(fig)

    names = {path.relative_to(tmp_path / "figures").as_posix() for path in (tmp_path / "figures").rglob("*.*")}
    assert names == {"fig_1_no_seed_provided.png", "fig_2_no_seed_provided.png", name if "." in name else f"{name}.png"}
    assert log.figure_log.fig_save_counter == 2
