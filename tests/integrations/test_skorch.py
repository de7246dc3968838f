"""skorch: the history of a net is in the experiment, epoch by epoch, also over a kill."""

from __future__ import annotations

import pytest
from training import ONLY_OURS, die_and_go_on, is_intact, library, surviving, torch_of_one_thread

import mlv

pytestmark = ONLY_OURS
torch_of_one_thread()
library("skorch")

NET = """
import numpy as np
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback as SkorchCallback
from mlv.integrations.skorch import Callback

X = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
y = (X[:, 0] > 0).astype("int64")

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)
    def forward(self, x):
        return torch.softmax(self.layer(x), dim=-1)

class Last(SkorchCallback):
    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == last:
            kill()
"""
FIT = """
exp = Exp("runs", "fit", on_exists="open")
net = NeuralNetClassifier(Net, verbose=0, callbacks=[("mlv", Callback(exp=exp, save_every=2)), ("last", Last())])
net.initialize()
if "models" in os.listdir(exp.path):
    start = exp.latest.path
    net.load_params(f_params=start / "params.pt", f_optimizer=start / "optimizer.pt", f_history=start / "history.json")
net.partial_fit(X, y, epochs=8 - len(net.history))
"""


@pytest.mark.crash
def test_a_net_goes_on_after_a_kill(tmp_path, monkeypatch):
    """A net that is killed and loaded from its checkpoint goes on: each epoch is in the log once, in order."""
    monkeypatch.chdir(tmp_path)

    die_and_go_on(NET + FIT, last=5)

    path = tmp_path / "runs" / "fit"
    exp = mlv.Exp.open(path)
    assert surviving(path, "valid_loss") == surviving(path, "train_loss") == [*range(1, 9)]
    assert {*exp.summary()} == {"train_loss", "valid_loss", "valid_acc", "dur"}
    assert (exp.latest.step, exp["net"]["module"], exp["net"]["lr"]) == (8, "Net", 0.01)
    assert is_intact(path)


def test_a_callback_is_copied_with_its_net(tmp_path):
    """A copy of a net, as a search makes it, logs into the same experiment; one that is made here is closed with the fit."""
    clone = pytest.importorskip("sklearn.base").clone
    scope: dict = {}
    exec(NET, scope)
    exp = mlv.Exp(tmp_path, "given")
    net = scope["NeuralNetClassifier"](scope["Net"], verbose=0, max_epochs=2, callbacks=[scope["Callback"](exp=exp)])
    clone(net).fit(scope["X"], scope["y"])
    assert surviving(exp.path, "dur") == [1, 2]
    exp.close()

    made = scope["Callback"](tmp_path, "made", options={"tags": ["skorch"]})
    clone(net).set_params(callbacks=[made]).fit(scope["X"], scope["y"])
    made_exp = mlv.Exp.open(tmp_path / "made")
    assert ([run.status for run in made_exp.runs], made_exp.tags) == (["ok"], ("skorch",))
