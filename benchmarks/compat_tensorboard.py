"""What `mlv.compat.tensorboard` costs, beside the SummaryWriter of torch, or of tensorboardX without torch."""

from __future__ import annotations

from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.figures import Figure, ratio
from benchmarks.measuring import LOSS, folder, in_turn


def summary_writer(quick: bool) -> list[Figure]:
    """`add_scalar(tag, value, step)`: in the call, and to a complete event file."""
    count, repetitions = (1_000, 6) if quick else (5_000, 20)
    theirs, ours, library = _writers()
    with folder() as place:
        one, other = theirs(str(place / "theirs")), ours(str(place / "ours"))

        def call(writer: Any) -> float:
            for each in (one, other):  # what runs behind the other's back would be in the way
                each.flush()
            began = perf_counter()
            for i in range(count):
                writer.add_scalar("train/loss", LOSS * i, i)
            return (perf_counter() - began) / count * 1e6

        by_hand, mlv = in_turn(lambda: call(one), lambda: call(other), repetitions)

        def whole(writer: Any) -> float:
            began = perf_counter()
            for i in range(count):
                writer.add_scalar("train/loss", LOSS * i, i)
            writer.flush()
            return (perf_counter() - began) / count * 1e6

        to_the_file = in_turn(lambda: whole(one), lambda: whole(other), max(3, repetitions // 4))
        one.close()
        other.close()
    return [
        ratio(f"SummaryWriter: add_scalar, beside {library}", "us", median(by_hand), median(mlv), 0.3),
        ratio(f"SummaryWriter: the same until the event file holds it, beside {library}", "us", *map(median, to_the_file), 0.3),
    ]


def _writers() -> tuple[Any, Any, str]:
    try:
        from torch.utils.tensorboard import SummaryWriter as OfTorch

        from mlv.compat.tensorboard import SummaryWriter

        return OfTorch, SummaryWriter, "torch's"
    except ImportError:
        from tensorboardX import SummaryWriter as OfTensorboardX

        from mlv.compat.tensorboardX import SummaryWriter as ForTensorboardX

        return OfTensorboardX, ForTensorboardX, "tensorboardX's"
