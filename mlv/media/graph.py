"""The graph of a torch module: what it computes from an example input, and the modules it is made of."""

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

    Which modules are in training mode and the state of the random numbers are afterwards what they were. What `forward` itself
    changes, and what hooks do, stays.

    Args:
        module: A `torch.nn.Module`.
        example: What `forward` takes: a tensor, a tuple or list of arguments, or a mapping of keyword arguments.

    Raises:
        Unusable: It is no module, or cannot be traced.
    """
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(module, torch.nn.Module):
        raise Unusable(f"a graph is that of a torch module, not of a {type(module).__name__}")
    module = getattr(module, "_orig_mod", module)  # what torch.compile wraps
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
    """The graph of the trace, with those of all inner modules in it."""
    given: dict[str, Any]
    if isinstance(example, Mapping):
        given = {"example_kwarg_inputs": dict(example)}
    else:
        given = {"example_inputs": tuple(example) if isinstance(example, (tuple, list)) else (example,)}
    try:
        with _undisturbed(module, torch), torch.no_grad():
            return torch.jit.trace(module, check_trace=False, strict=False, **given).inlined_graph
    except Exception as error:  # forward is the user's, and the tracer refuses in many ways
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        raise Unusable(f"the module cannot be traced: {type(error).__name__}: {reason}") from None


@contextmanager
def _undisturbed(module: Any, torch: Any) -> Iterator[None]:
    """In evaluation mode, and silent; afterwards modes and random numbers are as before."""
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
    """Number of parameters, those of inner modules included, shared ones once."""
    return sum(tensor.numel() for tensor in module.parameters())


def _tensors(example: Any, torch: Any) -> Iterator[Any]:
    if isinstance(example, torch.Tensor):
        yield example
    elif isinstance(example, (tuple, list, Mapping)):
        for item in example.values() if isinstance(example, Mapping) else example:
            yield from _tensors(item, torch)


class _Nodes:
    """Nodes of a traced graph, joined by name: inputs, parameters, buffers, operations and the output.

    Constants are left out. So are containers: who takes one takes what was put in.
    """

    def __init__(self, module: Any) -> None:
        named = [("parameter", module.named_parameters), ("buffer", module.named_buffers)]
        self._state = {path: (op, tensor) for op, found in named for path, tensor in found(remove_duplicate=False)}
        self._found: dict[str, dict[str, Any]] = {}
        self._paths: dict[str, str] = {}
        """Dotted path of each value that is a module, or of it."""
        self._elements: dict[str, list[list[str]]] = {}
        """Of each value the nodes that it comes from, of a container those of each element."""
        self._attributes: dict[str, str] = {}
        """Node of each parameter and buffer, by its dotted path."""

    def of(self, graph: Any) -> list[dict[str, Any]]:
        """The nodes in the order in which they are computed."""
        itself, *inputs = graph.inputs()
        self._paths[itself.debugName()] = ""
        for value in inputs:
            name = value.debugName()
            self._elements[name] = [[self._add(f"input/{name}", "input", [], "", value)]]
        for node in graph.nodes():
            self._take(node)
        self._add("output", "output", [name for value in graph.outputs() for name in self._sources(value)], "")
        return list(self._found.values())

    def _take(self, node: Any) -> None:
        outputs = list(node.outputs())
        names = [value.debugName() for value in outputs]
        if node.kind() == "prim::GetAttr":
            self._take_attribute(node, outputs[0])
        elif node.kind() in _CONTAINERS:
            self._elements[names[0]] = [self._sources(value) for value in node.inputs()]
        elif node.kind() in _UNPACKING:
            known = self._elements.get(next(node.inputs()).debugName(), [])
            every = [name for element in known for name in element]
            elements = known if len(known) == len(names) else [every for _ in names]
            self._elements.update((name, [element]) for name, element in zip(names, elements, strict=True))
        elif node.kind() != "prim::Constant":
            scope = node.scopeName().rpartition("/")[2].removeprefix("__module").removeprefix(".")
            inputs = [name for value in node.inputs() for name in self._sources(value)]
            short = node.kind().rpartition("::")[2].strip("_")
            name = self._add("/".join([*scope.split("."), short]).lstrip("/"), node.kind(), inputs, scope, *outputs[:1])
            # As in TensorFlow: the second output of a node is `node:1`.
            self._elements.update((key, [[name if i == 0 else f"{name}:{i}"]]) for i, key in enumerate(names))

    def _take_attribute(self, node: Any, value: Any) -> None:
        """A module is a step on the path to a parameter or buffer, which is one node, however often it is used."""
        path = f"{self._paths.get(next(node.inputs()).debugName(), '')}.{node.s('name')}".lstrip(".")
        self._paths[value.debugName()] = path
        if value.type().kind() == "ClassType":
            return
        if path not in self._attributes:
            op, tensor = self._state.get(path, ("attribute", None))
            name = self._add(path.replace(".", "/"), op, [], path.rpartition(".")[0])
            if tensor is not None:
                self._found[name].update(shape=list(tensor.shape), dtype=_dtype(tensor.dtype))
            self._attributes[path] = name
        self._elements[value.debugName()] = [[self._attributes[path]]]

    def _sources(self, value: Any) -> list[str]:
        return [name for element in self._elements.get(value.debugName(), []) for name in element]

    def _add(self, name: str, op: str, inputs: list[str], scope: str, value: Any = None) -> str:
        """Add a node, under a name of its own."""
        number, base = 0, name
        while name in self._found:
            number += 1
            name = f"{base}_{number}"
        self._found[name] = {"name": name, "op": op, "inputs": inputs, "scope": scope}
        if value is not None and value.type().kind() == "TensorType" and value.type().sizes() is not None:
            self._found[name].update(shape=list(value.type().sizes()), dtype=_dtype(value.type().dtype()))
        return name


def _dtype(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def encode(options: Mapping[str, Any], parts: Sequence[Buffer], target: Target) -> dict[str, Any]:
    """Publish the `.json` file with `nodes` and `modules`: the event's data."""
    return {"file": target.file(".json", parts[0]), **options}
