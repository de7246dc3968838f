"""What an experiment holds of a run of wandb: its config, its summary, the step to go on with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlv import Exp

_OF_MEDIA = ("audio", "event", "figure", "histogram", "image", "table", "video")
"""Types of the events that media leave; those of files are events of a name."""


def restored(exp: Exp) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """Return the step to go on with, the config and the summary of an experiment."""
    summary, step = {}, 0
    for name, metric in exp.summary().items():
        summary[name] = metric.value if metric.statistic == "summary" else metric.last
        if isinstance(metric.last_step, (int, float)):
            step = max(step, int(metric.last_step) + 1)
    return max(step, _step_behind_media(exp)), config_of(exp), summary


def config_of(exp: Exp) -> dict[str, Any]:
    """Return the config of an experiment: its params, as they were changed last."""
    config = {key: _thawed(value) for key, value in exp.params.items()}
    for event in exp.events("params_changed"):
        config.update(_thawed(event.data))
    return config


def _step_behind_media(exp: Exp) -> int:
    """Return the step behind the rows of an experiment that hold media: some hold nothing else."""
    step = 0
    for event in exp.events((*_OF_MEDIA, "rewound")):
        if event.type == "rewound":
            step = min(step, int(event.data["step"]) + 1)
        elif isinstance(event.step, (int, float)):
            step = max(step, int(event.step) + 1)
    return step


def _thawed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _thawed(item) for key, item in value.items()}
    return [_thawed(item) for item in value] if isinstance(value, (list, tuple)) else value
