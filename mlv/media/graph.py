"""The graph of a torch module: its computation on an example input, and the modules it is made of."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from mlv.encoding import dumps
from mlv.media.jobs import Prepared, Target, Unusable
from mlv.protocols import Buffer

_CONTAINERS = ("prim::ListConstruct", "prim::TupleConstruct", "prim::DictConstruct")
_UNPACKING = ("prim::ListUnpack", "prim::TupleUnpack")


def prepare(module: Any, example: Any) -> Prepared:
    """Trace a module, for an event of type `graph`: its `forward` runs once, in evaluation mode and without gradients.

    Afterwards the same modules are in training mode, and the random numbers are in the same state. Changes by `forward`
    itself and by hooks stay.

    Args:
        module: A `torch.nn.Module`.
        example: The arguments of `forward`: a tensor, a tuple or list of arguments, or a mapping of keyword arguments.

    Raises:
        Unusable: It is no module, or cannot be traced.
    """
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(module, torch.nn.Module):
        raise Unusable(f"a graph is that of a torch module, not of a value of type {type(module).__name__}")
    module = getattr(module, "_orig_mod", module)  # the module inside of torch.compile
    if any(torch.nn.parameter.is_lazy(tensor) for tensor in _state(module)):
        raise Unusable("the module has parameters without a shape yet: call it once before its graph is logged")
    nodes = _Nodes(module).of(_traced(module, example, torch))
    summary = {
        "nodes": len(nodes),
        "parameters": _count(module),
        "inputs": [list(tensor.shape) for tensor in _tensors(example, torch)],
    }
    modules = [
        {"name": name, "type": type(inner).__name__, "parameters": _count(inner)} for name, inner in module.named_modules()
    ]
    return Prepared("graph", "graph", summary, [dumps({"nodes": nodes, "modules": modules})])


def _state(module: Any) -> Iterator[Any]:
    yield from module.parameters()
    yield from module.buffers()


def _traced(module: Any, example: Any, torch: Any) -> Any:
    """Return the graph of the trace, with those of all inner modules in it."""
    inputs: dict[str, Any]
    if isinstance(example, Mapping):
        inputs = {"example_kwarg_inputs": dict(example)}
    else:
        inputs = {"example_inputs": tuple(example) if isinstance(example, (tuple, list)) else (example,)}
    try:
        with _undisturbed(module, torch), torch.no_grad():
            return torch.jit.trace(module, check_trace=False, strict=False, **inputs).inlined_graph
    except Exception as error:  # forward is the user's, and the tracer refuses in many ways
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        raise Unusable(f"the module cannot be traced: {type(error).__name__}: {reason}") from None


@contextmanager
def _undisturbed(module: Any, torch: Any) -> Iterator[None]:
    """Set a module to evaluation mode and silence warnings; afterwards modes and random numbers are as before."""
    modes = {inner: inner.training for inner in module.modules()}
    devices = {tensor.device.index for tensor in _state(module) if tensor.is_cuda}
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(sorted(devices)):
            warnings.simplefilter("ignore")  # the tracer's remarks on loops and constants; a graph is a picture
            module.eval()
            yield
    finally:
        for inner, is_training in modes.items():
            inner.training = is_training


def _count(module: Any) -> int:
    """Return the number of parameters, those of inner modules included, shared ones once."""
    return sum(tensor.numel() for tensor in module.parameters())


def _tensors(example: Any, torch: Any) -> Iterator[Any]:
    if isinstance(example, torch.Tensor):
        yield example
    elif isinstance(example, (tuple, list, Mapping)):
        for item in example.values() if isinstance(example, Mapping) else example:
            yield from _tensors(item, torch)


class _Nodes:
    """Nodes of a traced graph, joined by name: inputs, parameters, buffers, operations and the output.

    Constants are left out. So are containers: a node that takes one is joined to the nodes that went into it.
    """

    def __init__(self, module: Any) -> None:
        named = [("parameter", module.named_parameters), ("buffer", module.named_buffers)]
        self._state = {path: (op, tensor) for op, members in named for path, tensor in members(remove_duplicate=False)}
        self._nodes: dict[str, dict[str, Any]] = {}
        self._paths: dict[str, str] = {}
        """Dotted path of each value that is a module, or of it."""
        self._elements: dict[str, list[list[str]]] = {}
        """Of each value the nodes that it comes from, of a container those of each element."""
        self._attributes: dict[str, str] = {}
        """Node of each parameter and buffer, by its dotted path."""

    def of(self, graph: Any) -> list[dict[str, Any]]:
        """Return the nodes in the order in which they are computed."""
        itself, *inputs = graph.inputs()
        self._paths[itself.debugName()] = ""
        for value in inputs:
            name = value.debugName()
            self._elements[name] = [[self._add(f"input/{name}", "input", [], "", value)]]
        for node in graph.nodes():
            self._take(node)
        self._add("output", "output", [name for value in graph.outputs() for name in self._sources(value)], "")
        return list(self._nodes.values())

    def _take(self, node: Any) -> None:
        outputs = list(node.outputs())
        names = [value.debugName() for value in outputs]
        if node.kind() == "prim::GetAttr":
            self._take_attribute(node, outputs[0])
        elif node.kind() in _CONTAINERS:
            self._elements[names[0]] = [self._sources(value) for value in node.inputs()]
        elif node.kind() in _UNPACKING:
            sources = self._elements.get(next(node.inputs()).debugName(), [])
            every = [name for element in sources for name in element]
            elements = sources if len(sources) == len(names) else [every for _ in names]
            self._elements.update((name, [element]) for name, element in zip(names, elements, strict=True))
        elif node.kind() != "prim::Constant":
            scope = node.scopeName().rpartition("/")[2].removeprefix("__module").removeprefix(".")
            inputs = [name for value in node.inputs() for name in self._sources(value)]
            short = node.kind().rpartition("::")[2].strip("_")
            name = self._add("/".join([*scope.split("."), short]).lstrip("/"), node.kind(), inputs, scope, *outputs[:1])
            # As in TensorFlow: the second output of a node is `node:1`.
            self._elements.update((key, [[name if i == 0 else f"{name}:{i}"]]) for i, key in enumerate(names))

    def _take_attribute(self, node: Any, value: Any) -> None:
        """Follow a module's attribute to a parameter or buffer, which is one node, however often it is used."""
        path = f"{self._paths.get(next(node.inputs()).debugName(), '')}.{node.s('name')}".lstrip(".")
        self._paths[value.debugName()] = path
        if value.type().kind() == "ClassType":
            return
        if path not in self._attributes:
            op, tensor = self._state.get(path, ("attribute", None))
            name = self._add(path.replace(".", "/"), op, [], path.rpartition(".")[0])
            if tensor is not None:
                self._nodes[name].update(shape=list(tensor.shape), dtype=_dtype(tensor.dtype))
            self._attributes[path] = name
        self._elements[value.debugName()] = [[self._attributes[path]]]

    def _sources(self, value: Any) -> list[str]:
        return [name for element in self._elements.get(value.debugName(), []) for name in element]

    def _add(self, name: str, op: str, inputs: list[str], scope: str, value: Any = None) -> str:
        """Add a node, under a name of its own."""
        number, base = 0, name
        while name in self._nodes:
            number += 1
            name = f"{base}_{number}"
        self._nodes[name] = {"name": name, "op": op, "inputs": inputs, "scope": scope}
        if value is not None and value.type().kind() == "TensorType" and value.type().sizes() is not None:
            self._nodes[name].update(shape=list(value.type().sizes()), dtype=_dtype(value.type().dtype()))
        return name


def _dtype(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def encode(options: Mapping[str, Any], buffers: Sequence[Buffer], target: Target) -> dict[str, Any]:
    """Publish the `.json` file with `nodes` and `modules`: the event's data."""
    return {"file": target.file(".json", buffers[0]), **options}
