"""Calls of a SummaryWriter, one or several for each method: the same for the original and for the drop-in."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

try:
    import torch
    from torch import tensor
except ImportError:
    tensor = np.array  # the calls of tensorboardX need no torch

Call = Callable[[Any], object]


def pictures(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).random(shape)


def figure() -> Any:
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(1, 1))
    drawn.add_subplot().plot([1, 2])
    return drawn


def scalars(writer: Any) -> None:
    for step, value in enumerate([0.1, 2, True, np.float32(0.3), tensor(0.4), tensor([[0.5]]), math.nan, 1e40]):
        writer.add_scalar("scalar/values", value, step)
    writer.add_scalar("scalar/steps", 1.0)
    for step in (np.int64(3), tensor(4), 5.7, -6, 2**40):
        writer.add_scalar("scalar/steps", 2.0, step)


def raw_histogram(writer: Any) -> None:
    writer.add_histogram_raw("histogram_raw", 0.5, 2.5, 4, 6.0, 10.0, [1.0, 2.0, 3.0], [1, 2, 1], 3, 1.5e9)


def curves(writer: Any) -> None:
    labels, predictions = np.array([0, 1, 1, 0]), np.array([0.1, 0.9, 0.6, 0.4])
    writer.add_pr_curve("pr_curve", labels, predictions, 2, num_thresholds=20)
    writer.add_pr_curve("pr_curve_of_weights", tensor(labels), tensor(predictions), 2, 10, np.array([1, 2, 1, 1]))


def raw_curve(writer: Any) -> None:
    writer.add_pr_curve_raw("pr_curve_raw", [3, 1], [2, 0], [0, 2], [0, 2], [0.6, 1.0], [1.0, 0.3], 4, num_thresholds=2)


def mesh(writer: Any) -> None:
    vertices = tensor(pictures(6, 1, 4, 3))
    colors = tensor([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 0, 255]]])
    faces = tensor([[[0, 2, 3], [0, 3, 1], [0, 1, 2], [1, 3, 2]]])
    writer.add_mesh("mesh", vertices, colors, faces, {"camera": {"cls": "PerspectiveCamera"}}, 5)


def boxes(writer: Any) -> None:
    corners = np.array([[1, 1, 5, 5], [2, 2, 12, 8]])
    writer.add_image_with_boxes("image_with_boxes", pictures(3, 3, 12, 16), corners, 1, labels=["a", "b"])
    writer.add_image_with_boxes("image_in_another_size", pictures(3, 3, 12, 16), corners, 1, rescale=2)


def embedding(writer: Any) -> None:
    images = tensor(pictures(5, 4, 3, 8, 8))
    writer.add_embedding(pictures(4, 4, 5), ["a", "b", "c", "d"], images, 7, "points/x")
    writer.add_embedding(pictures(4, 4, 5), [["a", "1"], ["b", "2"], ["c", "3"], ["d", "4"]], None, 8, "y", ["name", "no"])


def charts(writer: Any) -> None:
    writer.add_custom_scalars({"all": {"both": ["Multiline", ["a", "b"]], "band": ["Margin", ["a", "b", "c"]]}})


def graph(writer: Any) -> None:
    writer.add_graph(torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU()), torch.zeros(1, 3))


def onnx_graph(writer: Any) -> None:
    from onnx import TensorProto, helper, save

    shape = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in "xy"]
    node = helper.make_node("Relu", ["x"], ["y"])
    save(helper.make_model(helper.make_graph([node], "net", shape[:1], shape[1:])), "net.onnx")
    writer.add_onnx_graph("net.onnx")


def video(writer: Any) -> None:
    writer.add_video("video", (pictures(7, 1, 3, 3, 8, 8) * 255).astype(np.uint8), 2, fps=5)


def own_summaries(writer: Any) -> None:
    """As Lightning does: summaries of the plugins, without `add_hparams`."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from torch.utils.tensorboard.summary import hparams, scalar, tensor_proto

    several = Summary(value=[*scalar("own/a", 1.0).value, *tensor_proto("own/b", torch.ones(2)).value])
    for summary in (*hparams({"lr": 0.1, "name": "x"}, {"own": 0}), scalar("own/scalar", 3.0), several):
        writer.file_writer.add_summary(summary, 6)


BOTH: dict[str, Call] = {
    "add_scalar": scalars,
    "add_histogram": lambda writer: writer.add_histogram("histogram", pictures(1, 50), 1, max_bins=20),
    "add_histogram of a kind": lambda writer: writer.add_histogram("histogram_auto", tensor(np.arange(9.0)), 2, bins="auto"),
    "add_histogram_raw": raw_histogram,
    "add_image": lambda writer: writer.add_image("image", pictures(2, 3, 12, 16), 1, 1.5e9),
    "add_image HW": lambda writer: writer.add_image("image_grey", np.ones((5, 4), np.uint8), 2, dataformats="HW"),
    "add_images": lambda writer: writer.add_images("images", tensor(pictures(3, 10, 3, 6, 6)), 3),
    "add_figure": lambda writer: writer.add_figure("figure", figure(), 4),
    "add_figure of several": lambda writer: writer.add_figure("figures", [figure(), figure()], 4, close=False),
    "add_text": lambda writer: writer.add_text("text", "# héllo\n\nworld", 5, 1.5e9),
    "add_text of many": lambda writer: writer.add_text("long", "many words " * 10_000, 5),
    "add_pr_curve": curves,
    "add_pr_curve_raw": raw_curve,
    "add_custom_scalars": charts,
    "add_mesh": mesh,
    "add_graph": graph,
    "add_embedding": embedding,
    **({"add_video": video} if find_spec("moviepy") else {}),
}
TORCH: dict[str, Call] = {
    **BOTH,
    "add_scalar of new style": lambda writer: writer.add_scalar("new_style", 0.1, 1, new_style=True),
    "add_scalar of doubles": lambda writer: writer.add_scalar("doubles", 0.1, 1, new_style=True, double_precision=True),
    "add_scalar of texts": lambda writer: writer.add_scalar("scalar/text", "0.6", 1),
    "add_tensor": lambda writer: writer.add_tensor("tensor", torch.arange(6, dtype=torch.bfloat16).reshape(2, 3), 1),
    "add_tensor of many": lambda writer: writer.add_tensor("large", torch.arange(50_000, dtype=torch.float64), 1),
    "add_image_with_boxes": boxes,
    "add_audio": lambda writer: writer.add_audio("audio", torch.sin(torch.arange(0, 800) / 10)[None], 6, 8000),
    "FileWriter": own_summaries,
}
X: dict[str, Call] = {
    **{name: call for name, call in BOTH.items() if name not in ("add_graph", "add_figure of several")},
    "add_scalar, named": lambda writer: writer.add_scalar("named", 0.1, 1, display_name="a", summary_description="b"),
    "add_scalar, odd tag": lambda writer: writer.add_scalar("/odd tag=2", 0.1, 1),
    **({"add_onnx_graph": onnx_graph} if find_spec("onnx") else {}),  # a run shows one graph only
}
if find_spec("soundfile"):
    X["add_audio"] = lambda writer: writer.add_audio("audio", np.sin(np.arange(800.0) / 10)[:, None].repeat(2, 1), 6, 8000)
