"""The bridge from Stable-Baselines3: a callback for `learn`, and a writer for its logger."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlv.integrations.arguments import checked_interval
from mlv.integrations.connection import Connection
from mlv.integrations.derived import derived
from mlv.integrations.frameworks import framework

_NUMBERS = (float, int, bool)
_PROGRESS = ("num_timesteps", "start_time")
"""Numbers of a model that say how far it is, not how it is trained."""


def __getattr__(name: str) -> Any:
    if name == "Writer":
        made = derived(name, SB3Writer, _library("common.logger").KVWriter)
    elif name == "Callback":
        made = derived(name, SB3Callback, _library("common.callbacks").BaseCallback)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = made
    return made


class SB3Writer:
    """The methods of `Writer`, an output of the logger of Stable-Baselines3: `model.set_logger(Logger(None, [Writer(...)]))`.

    Numbers are metrics under their own names, such as `rollout/ep_rew_mean`, and the step is the number of timesteps. Figures,
    images, videos, texts and arrays (as histograms) are media. A key that is recorded with `exclude="mlv"` is left out.
    """

    def __init__(
        self, savedir: Any = None, name: str | None = None, params: Any = None, *, exp: Any = None, **options: Any
    ) -> None:
        """Log to an experiment, which is made at its first use, or to the one that is passed.

        Args:
            savedir: As in `mlv.Exp`.
            name: As in `mlv.Exp`.
            params: As in `mlv.Exp`.
            exp: An experiment in place of these three, which stays open; or its path.
            options: Other arguments of `mlv.Exp`.

        Raises:
            InvalidArgument: An argument cannot be used.
        """
        self.connection = Connection(exp, savedir, name, params, **options)

    def write(self, key_values: Mapping[str, Any], key_excluded: Mapping[str, Any], step: int = 0) -> None:
        """Log what was recorded since the last time."""
        if self.connection.is_row_repeated(key_values, step, self):
            return
        metrics, others, excluded = {}, [], key_excluded.get
        for key, value in key_values.items():
            outputs = excluded(key)
            if outputs and "mlv" in outputs:
                continue
            if type(value) in _NUMBERS or not self._is_media(value):
                metrics[key] = value
            else:
                others.append(key)
        if metrics:
            self.connection.log(metrics, step=step)
        for key in others:
            with self.connection.guard(key):
                self._write_media(key, key_values[key], step)

    def close(self) -> None:
        """Close an experiment that was made here."""
        self.connection.close()

    @staticmethod
    def _is_media(value: Any) -> bool:
        types = _library("common.logger")
        return isinstance(value, (types.Video, types.Figure, types.Image, types.HParam, str)) or bool(getattr(value, "ndim", 0))

    def _write_media(self, key: str, value: Any, step: int) -> None:
        log, types = self.connection.log, _library("common.logger")
        if isinstance(value, str):
            log.text(key, value, step=step)
        elif isinstance(value, types.HParam):
            self.connection.add_params(value.hparam_dict)
        elif isinstance(value, types.Figure):
            log.figure(key, value.figure, step=step)
            if value.close:
                framework("matplotlib.pyplot", least="3", below="4").close(value.figure)
        elif isinstance(value, types.Video):
            for number, frames in enumerate(value.frames):
                log.video(key if len(value.frames) == 1 else f"{key}/{number}", frames, step=step, fps=value.fps)
        elif isinstance(value, types.Image):
            _log_image(log, key, value, step)
        else:
            log.histogram(key, value, step=step)


class SB3Callback:
    """The methods of `Callback`: everything that `learn` logs, with the number of timesteps as the step.

    The settings of the model are params. With `save_every`, the model is a checkpoint each so many timesteps, and at the end.
    `learn(..., reset_num_timesteps=False)` goes on behind the timesteps of the model: what was logged after them is superseded.
    """

    if TYPE_CHECKING:  # attributes of the class of Stable-Baselines3
        model: Any
        logger: Any
        num_timesteps: int

    def __init__(
        self,
        savedir: Any = None,
        name: str | None = None,
        params: Any = None,
        *,
        exp: Any = None,
        save_every: int | None = None,
        **options: Any,
    ) -> None:
        """Log to an experiment, which is made at its first use, or to the one that is passed.

        Args:
            savedir: As in `mlv.Exp`.
            name: As in `mlv.Exp`.
            params: As in `mlv.Exp`.
            exp: An experiment in place of these three, which stays open; or its path.
            save_every: Timesteps between two checkpoints in `exp.checkpoints()`. None saves none.
            options: Other arguments of `mlv.Exp`.

        Raises:
            InvalidArgument: An argument cannot be used.
        """
        super().__init__()
        self._writer = __getattr__("Writer")(savedir, name, params, exp=exp, **options)
        self._save_every = checked_interval("save_every", save_every)
        self._saved = 0

    def _on_training_start(self) -> None:
        connection, steps = self._writer.connection, self.model.num_timesteps
        connection.log  # noqa: B018 - what is wrong with the experiment is said before anything is trained
        self._saved = steps
        if steps:
            connection.rewind(steps)
        else:
            connection.add_params({"algorithm": type(self.model).__name__, **_settings(self.model)})
        # Of the same callback, which has one writer, only a warning. A logger of the user's own is that of each `learn`.
        connection.is_repeated(self.logger, ("begun", steps, self.model.start_time))
        if self._writer not in self.logger.output_formats:
            self.logger.output_formats.append(self._writer)

    def _on_step(self) -> bool:
        if self._save_every is not None and self.num_timesteps - self._saved >= self._save_every:
            self._save()
        return True

    def _on_training_end(self) -> None:
        if self._save_every is not None and self.num_timesteps != self._saved:
            self._save()
        if self._writer in self.logger.output_formats:  # the next `learn` may be logged by another callback
            self.logger.output_formats.remove(self._writer)
        self._writer.close()

    def _save(self) -> None:
        self._saved = self.num_timesteps
        if self._writer.connection.is_repeated(self.logger, ("saved", self._saved)):
            return
        with self._writer.connection.guard("a checkpoint"):
            portfolio = self._writer.connection.exp.checkpoints()
            portfolio.save(self._write_model, step=self.num_timesteps, suffix=".zip")

    def _write_model(self, path: Path) -> None:
        self.model.save(path)


@cache
def _library(module: str) -> Any:
    return framework(f"stable_baselines3.{module}", least="2.0", below="3", install="stable-baselines3")


def _settings(model: Any) -> dict[str, Any]:
    """Return the public settings of a model that are plain values."""
    values = {name: value for name, value in vars(model).items() if not name.startswith("_") and name not in _PROGRESS}
    return {name: value for name, value in values.items() if isinstance(value, (bool, int, float, str))}


def _log_image(log: Any, key: str, value: Any, step: int) -> None:
    """Log an image; TensorBoard's letters for its axes are ours, but for several images, which begin with N."""
    layout, image = str(value.dataformats).upper(), value.image
    if layout.startswith("N"):
        log.images(key, [*image], step=step, layout=layout[1:])
    else:
        log.image(key, image, step=step, layout=None if isinstance(image, (str, Path)) else layout)
