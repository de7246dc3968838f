"""Sending updates of a logger to Weights & Biases, on request."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mlv import MissingExtra
from mlv.compat.telling import warn

_TRIES = 10
_KEY = "WANDB_API_KEY"
_NEEDED = ("key", "entity", "project", "group")


class WandbLog:
    """A run at Weights & Biases: `time/<name>`, `stats/<name>`, `img`, and norms and histograms of jax models."""

    def __init__(
        self,
        config_dict: Mapping[str, Any] | None,
        config_fname: str | None,
        seed_id: str,
        wandb_config: Mapping[str, Any] | None,
    ) -> None:
        """Begin the run. The key is in `WANDB_API_KEY` while it begins, and nowhere afterwards: wandb writes it into no file.

        Raises:
            MissingExtra: wandb is not installed.
            AssertionError: The configuration lacks key, entity, project or group.
        """
        self._wandb = _imported()
        settings = dict(wandb_config or {})
        for name in _NEEDED:
            assert name in settings, f"wandb_config has no {name!r}: it needs {', '.join(_NEEDED)}"
        config_name = os.path.splitext(os.path.basename(config_fname))[0] if config_fname else "pholder_config"
        name = settings.get("name") or seed_id
        self.wandb_config = {
            **settings,
            "name": seed_id if name == "seed0" else name,
            "job_type": seed_id if settings["group"] is None else config_name,
        }
        self.correct_setup = False
        self.step_counter = 0
        self._begin(dict(config_dict or {}))

    def _begin(self, config: dict[str, Any]) -> None:
        settings = self.wandb_config
        os.environ.update(_environment(settings))
        with _key_in_environment(settings["key"]):
            problem = self._problem_of_init(config)
        if problem is not None:
            warn(f"nothing goes to wandb: its init failed {_TRIES} times, at last with {problem!r}")

    def _problem_of_init(self, config: dict[str, Any]) -> Exception | None:
        """Begin the run, and return the error of the last try, None where one succeeded."""
        settings, problem = self.wandb_config, None
        for _ in range(_TRIES):
            try:
                self._wandb.init(config=config, group=settings["group"], job_type=settings["job_type"])
                self.correct_setup = True
                return None
            except Exception as error:  # of the network, or of the account: training goes on without it
                problem = error
        return problem

    def update(
        self,
        clock_tick: Mapping[str, Any],
        stats_tick: Mapping[str, Any],
        model_type: str | None = None,
        model: Any = None,
        grads: Any = None,
        plot_to_wandb: Any = None,
    ) -> None:
        """Send an update; an error becomes a warning, and training goes on."""
        if not self.correct_setup:
            return
        try:
            self._send(clock_tick, stats_tick, model_type, model, grads, plot_to_wandb)
        except Exception as error:
            warn(f"an update did not go to wandb: {error!r}; the log has it")
        self.step_counter += 1

    def _send(
        self, clock: Mapping[str, Any], stats: Mapping[str, Any], kind: str | None, model: Any, grads: Any, fig: Any
    ) -> None:
        values = {f"time/{name}": value for name, value in clock.items()}
        values |= {f"stats/{name}": value for name, value in stats.items()}
        if fig is not None:
            values["img"] = self._wandb.Image(fig)
        self._wandb.log(values, step=self.step_counter)
        for name, tree in (("params", model), ("grads", grads)):
            if kind == "jax" and tree is not None:
                values = {f"{name}_norm/": mapped(_norm, tree), f"{name}_hist/": mapped(self._histogram, tree)}
                self._wandb.log(values, step=self.step_counter)

    def upload_gif(self, gif_path: str, video_name: str | None = "video") -> None:
        """Send a gif file."""
        self._wandb.log({video_name: self._wandb.Video(gif_path)}, step=self.step_counter)

    def _histogram(self, leaf: Any) -> Any:
        import numpy

        return self._wandb.Histogram(np_histogram=numpy.histogram(numpy.asarray(leaf), density=True))


def mapped(change: Callable[[Any], Any], tree: Any) -> Any:
    """Return nested mappings and sequences with their leaves changed, without any package."""
    if isinstance(tree, Mapping):
        return {key: mapped(change, value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [mapped(change, value) for value in tree]
    return change(tree)


def _norm(leaf: Any) -> float:
    import numpy

    return float(numpy.linalg.norm(numpy.asarray(leaf)))


@contextmanager
def _key_in_environment(key: Any) -> Iterator[None]:
    """Set the key where `wandb.init` and its service look for it: `wandb.login` would write it into ~/.netrc."""
    before = os.environ.get(_KEY)
    if key is not None:
        os.environ[_KEY] = str(key)
    try:
        yield
    finally:
        if before is not None:
            os.environ[_KEY] = before
        elif key is not None:
            os.environ.pop(_KEY, None)


def _environment(settings: Mapping[str, Any]) -> dict[str, str]:
    variables = {
        "WANDB_ENTITY": settings["entity"],
        "WANDB_PROJECT": settings["project"] or "prototyping",
        "WANDB_NAME": settings["name"],
        "WANDB_RUN_GROUP": settings["group"],
        "WANDB_JOB_TYPE": settings["job_type"],
        "WANDB_TAGS": f"{settings['name']}, {settings['job_type']}",
        "WANDB_SILENT": "true",
    }
    return {name: str(value) for name, value in variables.items() if value is not None}


def _imported() -> Any:
    try:
        import wandb
    except ImportError as error:
        text = f"{error}. You need to install `wandb` if you want that MLELogger logs to Weights&Biases: pip install wandb"
        raise MissingExtra(text, package="wandb", extra="") from error
    return wandb
