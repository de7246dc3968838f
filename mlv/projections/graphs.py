"""The graph of a module as TensorBoard draws it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlv.encoding import loads
from mlv.events import Event
from mlv.store import attached

_DTYPES = {
    "float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int16": 5, "int8": 6, "complex64": 8, "int64": 9, "bool": 10,
    "bfloat16": 14, "complex128": 18, "float16": 19,
}  # fmt: skip
"""Numbers of TensorFlow's types."""
_PRODUCER = 22  # the version that TensorFlow writes for graphs of this form


def graph_def(event: Event, folder: Path) -> bytes:
    """Return a GraphDef of the graph that an event of type `graph` refers to.

    Raises:
        FileUnusable: The file cannot be read, or is not the one that was recorded.
        ValueError, KeyError, TypeError: It holds no graph.
    """
    from tensorboardX.proto.graph_pb2 import GraphDef
    from tensorboardX.proto.versions_pb2 import VersionDef

    content = loads(attached.read(folder, event.data["file"]))
    graph = GraphDef(node=[_node(node) for node in content["nodes"]], versions=VersionDef(producer=_PRODUCER))
    serialized: bytes = graph.SerializeToString(deterministic=True)  # mappings have no order of their own there
    return serialized


def _node(node: dict[str, Any]) -> Any:
    from tensorboardX.proto.attr_value_pb2 import AttrValue
    from tensorboardX.proto.node_def_pb2 import NodeDef
    from tensorboardX.proto.tensor_shape_pb2 import TensorShapeProto

    definition = NodeDef(name=node["name"], op=node["op"], input=node["inputs"])
    if "shape" in node:
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in node["shape"]])
        definition.attr["_output_shapes"].MergeFrom(AttrValue(list=AttrValue.ListValue(shape=[shape])))
    if node.get("dtype") in _DTYPES:
        definition.attr["dtype"].MergeFrom(AttrValue(type=_DTYPES[node["dtype"]]))
    return definition
