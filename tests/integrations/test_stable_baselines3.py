"""Stable-Baselines3: what `learn` logs has the number of timesteps as its step, also over a kill; media are media."""

from __future__ import annotations

import pytest
from training import ONLY_OURS, die_and_go_on, is_intact, library, surviving, torch_of_one_thread

import mlv

pytestmark = ONLY_OURS
torch_of_one_thread()
sb3_logger = library("stable_baselines3.common.logger")
np = pytest.importorskip("numpy")

LEARN = """
import gymnasium
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from mlv.integrations.stable_baselines3 import Callback

class Last(BaseCallback):
    def _on_step(self):
        if self.num_timesteps == last:
            kill()
        return True

exp = Exp("runs", "pole", on_exists="open")
if "models" in os.listdir(exp.path):
    model = PPO.load(exp.latest.path, env=gymnasium.make("CartPole-v1"))
else:
    model = PPO("MlpPolicy", "CartPole-v1", n_steps=32, batch_size=32, n_epochs=1, seed=0)
callbacks = [Callback(exp=exp, save_every=64), Last()]
model.learn(160 - model.num_timesteps, callback=callbacks, reset_num_timesteps=False)
"""


@pytest.mark.crash
def test_learning_goes_on_after_a_kill(tmp_path, monkeypatch):
    """A model that is killed and loaded from its checkpoint learns on: each rollout is in the log once, in order."""
    monkeypatch.chdir(tmp_path)

    die_and_go_on(LEARN, last=110)

    path = tmp_path / "runs" / "pole"
    exp = mlv.Exp.open(path)
    assert surviving(path, "time/total_timesteps") == [32, 64, 96, 128, 160]
    assert exp.latest.step == 160
    assert (exp["algorithm"], exp["n_steps"], exp["gamma"]) == ("PPO", 32, 0.99)
    assert is_intact(path)


def test_what_the_logger_records(tmp_path):
    """Numbers, texts, arrays, images, figures and videos are what they are; what is excluded is left out."""
    torch, pyplot = pytest.importorskip("torch"), pytest.importorskip("matplotlib.pyplot")
    pyplot.close("all")  # those of other tests
    from mlv.integrations.stable_baselines3 import Writer

    exp = mlv.Exp(tmp_path, "logged")
    logger = sb3_logger.Logger(None, [Writer(exp=exp)])
    logger.record("train/loss", np.float32(0.5))
    logger.record("train/hidden", 1.0, exclude="mlv")
    logger.record("train/shown", 2, exclude=("tensorboard", "stdout"))
    logger.record("info/text", "hello")
    logger.record("train/weights", torch.arange(5.0))
    logger.record("view/frame", sb3_logger.Image(np.zeros((4, 5, 3), np.uint8), "HWC"))
    logger.record("view/figure", sb3_logger.Figure(pyplot.figure(), close=True))
    logger.record("view/video", sb3_logger.Video(torch.zeros((1, 4, 3, 16, 16), dtype=torch.uint8), fps=10))
    logger.record("hparams", sb3_logger.HParam({"lr": 0.1}, {"train/loss": 0}))
    logger.dump(step=7)
    exp.flush()

    events = [event for event in exp.events() if event.type not in ("run_started", "params")]
    assert {(event.type, event.name, event.step) for event in events} == {
        ("metrics", "", 7),
        ("text", "info/text", 7),
        ("histogram", "train/weights", 7),
        ("image", "view/frame", 7),
        ("figure", "view/figure", 7),
        ("video", "view/video", 7),
    }
    assert [event.data for event in events if event.type == "metrics"] == [{"train/loss": 0.5, "train/shown": 2}]
    assert (exp["lr"], pyplot.get_fignums()) == (0.1, [])
    exp.close()


def test_values_of_all_sorts(tmp_path):
    """A list, a text, arrays of any rank and numbers of numpy end nothing, and none takes the place of another."""
    torch = pytest.importorskip("torch")
    from mlv.integrations.stable_baselines3 import Writer

    values = {
        "number": 1,
        "list": [1, 2],
        "tuple": (3, 4),
        "scalar": np.array(1),
        "numpy": np.float32(0.5),
        "tensor": torch.tensor(2.0),
        "text": 'this ", ;is a \n tes:,t',
        "one": np.ones(1),
        "cube": np.ones((1, 1, 1), int),
        "ones": torch.ones(3),
    }
    exp = mlv.Exp(tmp_path, "logged")
    writer = Writer(exp=exp)
    writer.write(values, dict.fromkeys(values))
    writer.write({"hidden": 42}, {"hidden": "mlv"})
    exp.flush()

    events = [event for event in exp.events() if event.type != "run_started"]
    assert {event.name for event in events if event.type == "histogram"} == {"one", "cube", "ones"}
    assert [event.data["text"] for event in events if event.type == "text"] == [values["text"]]
    [metrics] = [event.data for event in events if event.type == "metrics"]
    assert metrics == {"number": 1, "list": [1, 2], "tuple": [3, 4], "scalar": 1, "numpy": 0.5, "tensor": 2.0}
    exp.close()


def test_learning_again_is_no_second_callback(tmp_path):
    """A callback that logs one `learn` after the other, by a logger of the user's own, warns of nothing and keeps both."""
    library("gymnasium")
    from stable_baselines3 import PPO

    from mlv.integrations.stable_baselines3 import Callback

    model = PPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8, n_epochs=1, seed=0)
    model.set_logger(sb3_logger.Logger(None, []))
    with mlv.Exp(tmp_path, "pole") as exp:
        for _ in range(2):
            model.learn(8, callback=Callback(exp=exp))

    assert exp.summary()["time/total_timesteps"].count == 2
    assert not list(exp.events("message"))
