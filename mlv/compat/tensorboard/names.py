"""Names of the events that a writer logs beside those of its values."""

from __future__ import annotations

FILE = "tensorboard/file"
"""The run writes into an event file from here on: `file`, and `purge_step` where it goes back to a step."""
SUMMARY = "tensorboard/summary"
"""A summary without a form of its own among the events: serialized, as base64, or the bytes of an array."""
RECORD = "tensorboard/record"
"""A record that is no summary, such as a graph: as `SUMMARY`."""
FORM = "tensorboard/form"
"""The form of the scalars of a tag from here on, where it is not the usual one."""
HPARAMS = "hparams"
"""Hyperparameters and their metrics."""

WALLTIME = "walltime"
"""The coordinate of a value whose time the script chose: seconds since 1970."""
SIZES = ("width", "height", "channels")
"""Coordinates of a picture that is to be shown in another size than it has."""
