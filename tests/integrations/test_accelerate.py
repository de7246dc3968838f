"""Accelerate: one tracker, with which a loop's run is in the experiment."""

from __future__ import annotations

import pytest
from training import ONLY_OURS, done, experiments, kill, killed, library, steps, torch_of_one_thread

import mlv
import mlv.integrations
from mlv.integrations import accelerate as ours

torch = torch_of_one_thread()
accelerate = library("accelerate")
np = library("numpy")
pytestmark = ONLY_OURS


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in a folder of the test's own, with no Accelerator of another test, and with Accelerate's own trackers."""
    monkeypatch.chdir(tmp_path)
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    trackers = accelerate.tracking.LOGGER_TYPE_TO_CLASS
    before = {**trackers}
    yield tmp_path
    trackers.clear()
    trackers.update(before)


def accelerator_of(tracker, project="loop", config=None, **init_kwargs):
    accelerator = accelerate.Accelerator(cpu=True, log_with=tracker)
    accelerator.init_trackers(project, config, {"mlv": init_kwargs})
    return accelerator


def test_a_loop(folder):
    """Metrics and the configuration of a loop are in the experiment, which is over when training ends."""
    accelerator = accelerator_of(ours.Tracker("runs", "loop", {"seed": 1}), config={"lr": 0.1, "optimizer": torch.optim.SGD})
    for step in range(3):
        accelerator.log({"loss": torch.tensor(1.0 / (step + 1)), "lr": {"encoder": 0.1}}, step=step, log_kwargs=None)
    assert accelerator.get_tracker("mlv").tracker.name == "loop"
    accelerator.end_training()

    exp = mlv.Exp.open("runs/loop")
    assert exp.status == "ok"
    assert steps(exp.path, "loss") == steps(exp.path, "lr/encoder") == [0, 1, 2]
    assert (exp["seed"], exp["lr"]) == (1, 0.1)


def test_by_name(folder, monkeypatch):
    """After `register`, a project makes an experiment of its name where the variables say, with the options of the script."""
    mlv.integrations.register("accelerate")
    mlv.integrations.register("accelerate")
    monkeypatch.setenv("MLV_DIR", "here")
    accelerator = accelerator_of("mlv", tags=["paper"])
    accelerator.log({"loss": 1.0}, step=0)
    accelerator.end_training()

    assert steps("here/loop", "loss") == [0]
    assert mlv.Exp.open("here/loop").tags == ("paper",)


def test_a_variable_joins_an_experiment(folder, monkeypatch):
    """`MLV_EXP` has a script go on in an experiment, although it names a project."""
    mlv.integrations.register("accelerate")
    monkeypatch.setenv("MLV_EXP", "runs/shared")
    for step in range(2):
        accelerator = accelerator_of("mlv")
        accelerator.log({"loss": 1.0}, step=step)
        accelerator.end_training()
        accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)

    assert experiments(folder / "runs") == ["shared"]
    assert steps("runs/shared", "loss") == [0, 1]


def test_an_experiment_of_the_callers(folder):
    """An experiment that is passed goes on after the training."""
    with mlv.Exp("runs", "mine") as exp:
        accelerator = accelerator_of(ours.Tracker(exp=exp))
        accelerator.log({"loss": 1.0}, step=0)
        accelerator.end_training()
        exp.log({"after": 1.0}, step=1)

    assert (exp.status, len(exp.runs)) == ("ok", 1)


def test_images_of_diffusers(folder):
    """Scripts that log images to a tracker named tensorboard, by its writer, log them into the experiment."""
    library("tensorboard")
    ours.register("tensorboard")
    accelerator = accelerator_of("tensorboard")
    for tracker in accelerator.trackers:  # as the scripts of diffusers do
        if tracker.name == "tensorboard":
            images = np.stack([np.zeros((4, 6, 3), np.uint8), np.full((4, 6, 3), 255, np.uint8)])
            tracker.writer.add_images("validation", images, 5, dataformats="NHWC")
            tracker.writer.add_image("one", np.zeros((3, 4, 6)), 5)
            tracker.writer.add_text("prompt", "a cat", 5)
            tracker.writer.add_scalar("clip", 0.5, 5)
    accelerator.end_training()

    exp = mlv.Exp.open("runs/loop")
    images = list(exp.events("image"))
    assert [(event.name, event.step) for event in images] == [("validation", 5), ("one", 5)]
    assert len(images[0].data["files"]) == 2
    assert [event.data["text"] for event in exp.events("text")] == ["a cat"]
    assert steps(exp.path, "clip") == [5]


def test_images_and_tables(folder):
    """Images and tables are logged as to Accelerate's own trackers."""
    accelerator = accelerator_of(ours.Tracker("runs", "loop"))
    tracker = accelerator.get_tracker("mlv")
    tracker.log_images({"samples": [np.zeros((4, 4, 3), np.uint8)]}, step=1)
    tracker.log_table("rows", columns=["a", "b"], data=[[1, 2], [3, 4]], step=1)
    accelerator.end_training()

    assert sorted(event.type for event in mlv.Exp.open("runs/loop").events() if event.name) == ["image", "table"]


def test_a_kill(folder, command):
    """With the tracker registered for checkpointing, loading a state rewinds: no step is lost, doubled or out of order."""

    def train(kill_at=None):
        tracker = ours.Tracker("runs", "loop", on_exists="open")
        accelerator = accelerator_of(tracker)
        accelerator.register_for_checkpointing(tracker)
        model = accelerator.prepare(torch.nn.Linear(1, 1))
        begin = 0
        if (folder / "state").exists():
            accelerator.load_state("state")
            begin = tracker.state_dict()["step"] + 1
        for step in range(begin, 10):
            if step == kill_at:
                kill()
            accelerator.log({"loss": float(model(torch.ones(1)).detach())}, step=step)
            if step % 4 == 3:
                accelerator.save_state("state")
        accelerator.end_training()

    killed(lambda: train(kill_at=6))
    done(train)

    assert steps("runs/loop", "loss") == [*range(10)]
    assert [run.status for run in mlv.Exp.open("runs/loop").runs] == ["killed", "ok"]
    assert command("verify", "runs/loop").returncode == 0


def test_several_processes(folder):
    """A launch of several processes makes one experiment."""

    def train():
        accelerator = accelerate.Accelerator(cpu=True, log_with=ours.Tracker("runs", "loop"))
        accelerator.init_trackers("loop", {"lr": 0.1})
        accelerator.log({"loss": 1.0}, step=0)
        for tracker in accelerator.trackers:
            tracker.log({"own": accelerator.process_index}, step=0)
        accelerator.wait_for_everyone()
        accelerator.end_training()

    accelerate.debug_launcher(train, num_processes=2)

    exp = mlv.Exp.open("runs/loop")
    assert experiments(folder / "runs") == ["loop"]
    assert steps(exp.path, "loss") == [0]
    assert [event.data["own"] for event in exp.events("metrics") if "own" in event.data] == [0]


def test_before_the_accelerator(folder, monkeypatch):
    """A tracker that is made before the accelerator asks for no process group, and on other ranks makes nothing."""
    monkeypatch.setenv("RANK", "1")
    tracker = ours.Tracker("runs", "loop")
    tracker.log({"loss": 1.0}, step=0)
    tracker.finish()

    assert [*folder.iterdir()] == []
    assert not accelerate.state.is_initialized()


def test_values_of_all_sorts(folder):
    """Values that are strings, lists or None end nothing, and cost no number."""
    accelerator = accelerator_of(ours.Tracker("runs", "loop"))
    accelerator.log({"loss": 0.5, "text": "good", "list": [1, 2], "none": None}, step=0)
    with pytest.warns(mlv.MlvWarning, match="rejected"):
        accelerator.log({"loss": 0.25, "object": object()}, step=1)
    accelerator.end_training()

    assert steps("runs/loop", "loss") == [0, 1]


def test_accelerate_without_names(monkeypatch):
    """A version of Accelerate that takes no tracker by name is an error that says what to do."""
    monkeypatch.delattr(accelerate.tracking, "register_tracker_class")

    with pytest.raises(mlv.MissingExtra, match=r"pass log_with=Tracker\(...\)"):
        ours.register()
