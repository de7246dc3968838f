"""The graph of a torch module is traced without leaving a trace in it."""

from __future__ import annotations

import json

import pytest

from media.places import Folder
from mlv.media import graph
from mlv.media.jobs import Unusable

torch = pytest.importorskip("torch")


class Net(torch.nn.Module):
    """Has inner modules, one of which is used twice, a buffer, containers, and an operation with two outputs."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Dropout(), torch.nn.ReLU())
        self.register_buffer("factor", torch.ones(3))

    def forward(self, x, more):
        both = torch.cat([self.layers(x), self.layers(more["y"])])
        return {"best": torch.max(both * self.factor, dim=1).indices}


EXAMPLE = torch.zeros(2, 4), {"y": torch.zeros(5, 4)}


def described(module, example):
    """The nodes by name, and the modules."""
    content = json.loads(bytes(graph.prepare(module, example).buffers[0]))
    return {node["name"]: node for node in content["nodes"]}, content["modules"]


def test_nodes():
    """Each node says what it does to which others, in which module, and what comes out."""
    nodes, _ = described(Net(), EXAMPLE)

    assert nodes["input/x"] == {
        "name": "input/x",
        "op": "input",
        "inputs": [],
        "scope": "",
        "shape": [2, 4],
        "dtype": "float32",
    }
    assert nodes["layers/0/weight"]["op"] == "parameter"
    assert (nodes["factor"]["op"], nodes["factor"]["shape"]) == ("buffer", [3])
    assert nodes["layers/0/linear"] == {
        "name": "layers/0/linear",
        "op": "aten::linear",
        "inputs": ["input/x", "layers/0/weight", "layers/0/bias"],
        "scope": "layers.0",
        "shape": [2, 3],
        "dtype": "float32",
    }
    assert nodes["layers/0/linear_1"]["shape"] == [5, 3]
    assert nodes["cat"]["inputs"] == ["layers/2/relu", "layers/2/relu_1"]
    assert nodes["output"]["inputs"] == ["max:1"]


def test_inputs_are_nodes():
    """Every input of a node is a node that came before it."""
    nodes, _ = described(Net(), EXAMPLE)
    known = set()

    for name, node in nodes.items():
        assert {source.partition(":")[0] for source in node["inputs"]} <= known
        known.add(name)


def test_modules():
    """Modules come with their types and their numbers of parameters, inner ones included."""
    _, modules = described(Net(), EXAMPLE)

    assert [(found["name"], found["type"], found["parameters"]) for found in modules] == [
        ("", "Net", 15), ("layers", "Sequential", 15), ("layers.0", "Linear", 15), ("layers.1", "Dropout", 0),
        ("layers.2", "ReLU", 0),
    ]  # fmt: skip


def test_a_name_that_an_operation_has_too():
    """A parameter that is named as an operation is a node of its own."""

    class Twins(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.relu = torch.nn.Parameter(torch.ones(2))

        def forward(self, x):
            return torch.relu(torch.relu(x) * self.relu)

    nodes, _ = described(Twins(), torch.zeros(2))

    assert sorted(node["op"] for node in nodes.values() if "relu" in node["name"]) == ["aten::relu", "aten::relu", "parameter"]


def test_the_event(tmp_path):
    """The event has the file, and what fits into a line."""
    folder = Folder(tmp_path)

    data = folder.data(graph.prepare(Net(), EXAMPLE))

    content = json.loads(folder.at(data["file"]).read_bytes())
    assert data == {"file": data["file"], "nodes": len(content["nodes"]), "parameters": 15, "inputs": [[2, 4], [5, 4]]}
    assert data["file"]["media_type"] == "application/json"


def test_nothing_is_changed():
    """Modes, random numbers, gradients and buffers are afterwards what they were."""
    module = torch.nn.Sequential(torch.nn.BatchNorm1d(4), torch.nn.Dropout(), torch.nn.Linear(4, 2))
    module[1].eval()
    random = torch.get_rng_state()

    graph.prepare(module, torch.randn(8, 4, generator=torch.Generator()))

    assert [inner.training for inner in module.modules()] == [True, True, False, True]
    assert torch.equal(torch.get_rng_state(), random)
    assert int(module[0].num_batches_tracked) == 0
    assert module[2].weight.grad is None


@pytest.mark.parametrize("form", [lambda x: x, lambda x: (x,), lambda x: [x], lambda x: {"input": x}])
def test_examples(form):
    """A tensor, arguments in order, or arguments by name."""
    assert graph.prepare(torch.nn.Linear(4, 2), form(torch.zeros(2, 4))).options["inputs"] == [[2, 4]]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # what torch.compile imports of torch is deprecated there
def test_compiled_modules():
    """What was given to `torch.compile` is seen as what it was."""
    module = torch.compile(torch.nn.Linear(4, 2))

    assert described(module, torch.zeros(2, 4))[1][0]["type"] == "Linear"


@pytest.mark.parametrize(
    ("module", "example", "reason"),
    [
        (3, torch.zeros(1), "not of a value of type int"),
        (torch.nn.Linear(4, 2), torch.zeros(2, 9), "cannot be traced: RuntimeError: mat1 and mat2 shapes"),
        (torch.nn.Linear(4, 2), (), "cannot be traced"),
        (torch.nn.Linear(4, 2), 3, "cannot be traced"),
        (torch.nn.LazyLinear(2), torch.zeros(2, 4), "call it once"),
    ],
)
def test_what_has_no_graph(module, example, reason):
    """What cannot be traced is refused with the reason, in one line; its mode is what it was."""
    with pytest.raises(Unusable, match=reason) as found:
        graph.prepare(module, example)

    assert "\n" not in str(found.value)
    assert module == 3 or module.training


def test_without_torch(python):
    """Where torch was never imported, nothing is a module."""
    done = python(
        """
        from mlv.media import graph
        try:
            graph.prepare(object(), 3)
        except graph.Unusable as error:
            print(error)
        """
    )

    assert done.stdout == "a graph is that of a torch module, not of a value of type object\n"
