"""What `mlv.compat.helios` costs, beside the `SummaryWriter` that helios wraps: torch's, or tensorboardX's without torch."""

from __future__ import annotations

from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.figures import Figure, ratio
from benchmarks.measuring import LOSS, folder, in_turn
from mlv.compat.helios.core.logging import TensorboardWriter


def helios(quick: bool) -> list[Figure]:
    """`add_scalar(tag, value, step)`."""
    count, repetitions = (1_000, 6) if quick else (5_000, 20)
    kind, options, library = _summary_writer()
    with folder() as place:
        theirs, ours = kind(str(place / "theirs"), flush_secs=20), TensorboardWriter()
        ours.setup(place / "ours")

        def spent(add_scalar: Any, **options: Any) -> float:
            ours.flush()  # what runs behind the other's back would be in the way
            theirs.flush()
            began = perf_counter()
            for i in range(count):
                add_scalar("train/loss", LOSS * i, i, **options)
            return (perf_counter() - began) / count * 1e6

        by_hand, mlv = in_turn(lambda: spent(theirs.add_scalar, **options), lambda: spent(ours.add_scalar), repetitions)
        theirs.close()
        ours.close()
    return [ratio(f"helios: add_scalar, beside {library}", "us", median(by_hand), median(mlv), 0.3)]


def _summary_writer() -> tuple[Any, dict[str, Any], str]:
    try:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter, {"new_style": True}, "torch's SummaryWriter"
    except ImportError:
        from tensorboardX import SummaryWriter as OfTensorboardX

        return OfTensorboardX, {}, "tensorboardX's SummaryWriter"
