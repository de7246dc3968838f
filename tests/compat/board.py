"""Event files as TensorBoard reads them: everything that was written, without sampling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ALL = dict.fromkeys(("scalars", "images", "audio", "histograms", "compressedHistograms", "tensors"), 0)
Contents = dict[tuple[str, str], Any]


def read(folder: Path) -> Contents:
    """Everything in the event files of a folder, by kind and tag, without the times."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(folder), size_guidance=ALL).Reload()
    tags = board.Tags()
    contents: Contents = {
        **{("scalars", tag): [(e.step, e.value) for e in board.Scalars(tag)] for tag in tags["scalars"]},
        **{("histograms", tag): [(e.step, e.histogram_value) for e in board.Histograms(tag)] for tag in tags["histograms"]},
        **{("images", tag): [{**vars(e), "wall_time": 0} for e in board.Images(tag)] for tag in tags["images"]},
        **{("audio", tag): [{**vars(e), "wall_time": 0} for e in board.Audio(tag)] for tag in tags["audio"]},
        **{("tensors", tag): [(e.step, e.tensor_proto) for e in board.Tensors(tag)] for tag in tags["tensors"]},
        **{("metadata", tag): metadata for tag, metadata in board.summary_metadata.items()},
        **{("run_metadata", tag): board.RunMetadata(tag) for tag in tags["run_metadata"]},
    }
    return {**contents, ("graph", ""): board.Graph()} if tags["graph"] else contents


def times(folder: Path, tag: str) -> list[float]:
    """The times of a scalar."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return [event.wall_time for event in EventAccumulator(str(folder), size_guidance=ALL).Reload().Scalars(tag)]


def runs(folder: Path) -> list[str]:
    """The folders that TensorBoard shows as runs."""
    from tensorboard.backend.event_processing.io_wrapper import GetLogdirSubdirectories

    return sorted(str(Path(run).relative_to(folder)) for run in GetLogdirSubdirectories(str(folder)))
