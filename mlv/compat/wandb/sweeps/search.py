"""The next point of a sweep: of a grid, at random, or the one that Optuna asks for."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from importlib import import_module
from random import Random
from typing import Any

from mlv import MissingExtra
from mlv.capture.redaction import Redactor
from mlv.compat.wandb.errors import UsageError
from mlv.compat.wandb.sweeps.command import without_variables
from mlv.compat.wandb.sweeps.folder import Point, SweepFolder
from mlv.compat.wandb.sweeps.parameters import Config, Parameter, Position, config_at, grid, parameters_of

METHODS = ("grid", "random", "bayes")
_GOALS = ("minimize", "maximize")
_KEYS = (
    "name", "description", "program", "command", "method", "metric", "parameters", "early_terminate", "project", "entity",
    "run_cap", "controller", "settings", "job", "image_uri", "imageuri", "launch",
)  # fmt: skip


def checked_config(config: Any) -> dict[str, Any]:
    """Return the config of a sweep, all of whose fields can be served here.

    Raises:
        UsageError: One cannot: the error names it and its value.
    """
    if not isinstance(config, Mapping):
        raise UsageError(f"the config of a sweep is a {type(config).__name__}: give a mapping with method and parameters")
    values = dict(config)
    if unknown := [key for key in values if key not in _KEYS]:
        raise UsageError(f"the config of a sweep has no field {unknown[0]!r}: give some of {', '.join(_KEYS)}")
    method = values.get("method")
    if method not in METHODS:
        raise UsageError(f"method={method!r}: give one of {', '.join(METHODS)}")
    if "parameters" not in values:
        raise UsageError("the config of a sweep needs parameters: give a mapping of names to parameters")
    parameters = parameters_of(values["parameters"])
    if method == "grid":
        for parameter in parameters:
            parameter.grid()
    _check_metric(values.get("metric"), method)
    cap = values.get("run_cap")
    if cap is not None and (isinstance(cap, bool) or not isinstance(cap, int) or cap < 1):
        raise UsageError(f"run_cap={cap!r}: give a number of runs")
    _check_command(values)
    try:
        json.dumps(values)
    except (TypeError, ValueError, RecursionError) as error:
        text = f"the config of a sweep has no form in JSON: {error}. Give numbers, texts, lists and mappings"
        raise UsageError(text) from error
    return values


def refuse_credentials(config: Mapping[str, Any]) -> None:
    """Refuse a config of which something would have to be kept off the disk, where its agents read it.

    Raises:
        UsageError: It holds what looks like a credential; the error names where.
    """
    redactor = Redactor()
    for parameter in parameters_of(config["parameters"]):
        above = ".".join(("parameters", *parameter.path[:-1]))
        for value in parameter.values:
            redactor.params({parameter.path[-1]: value}, above)
    redactor.params({key: value for key, value in config.items() if key not in ("parameters", "command")}, "config")
    redactor.argv(without_variables(config.get("command") or ()), "command")
    if redactor.redactions:
        raise UsageError(
            f"the config of a sweep is a plain file, and {', '.join(redactor.redactions)} looks like a credential: "
            "leave it to a variable of the environment, which command names as ${envvar:NAME}"
        )


def goal_of(config: Mapping[str, Any]) -> tuple[str | None, str]:
    """Return the name of the metric of a sweep, None without one, and its goal."""
    metric = config.get("metric") or {}
    return metric.get("name"), metric.get("goal") or "minimize"


class Search:
    """Proposes the points of a sweep."""

    def __init__(self, sweep: SweepFolder, *, is_asked: bool = True) -> None:
        """Read the config of a sweep.

        Args:
            sweep: The sweep.
            is_asked: Whether it shall propose points.

        Raises:
            UsageError: It was changed to one that cannot be read.
            MissingExtra: It needs Optuna, which is not installed.
        """
        config = checked_config(sweep.config)
        self._sweep_id, self._method, self._cap = sweep.id, config["method"], config.get("run_cap")
        self._parameters = parameters_of(config["parameters"])
        self._goal = goal_of(config)[1]
        if self._method == "bayes" and is_asked:
            _optuna()

    def propose(self, points: list[Point], numbers: set[int]) -> tuple[int, Config, Position] | None:
        """Return number, config and position of the next point; None when all of a grid, or `run_cap` of them, are claimed."""
        if self._cap is not None and len(numbers) >= self._cap:
            return None
        if self._method == "grid":
            # The number is that of the config: no two agents get the same one, whatever they know of each other.
            return next(((n, config, {}) for n, config in enumerate(grid(self._parameters)) if n not in numbers), None)
        number = max(numbers, default=-1) + 1
        random = Random(f"{self._sweep_id}/{number}")  # noqa: S311 - nothing is kept secret by it
        if self._method == "random":
            position = {parameter.name: parameter.draw(random) for parameter in self._parameters}
        else:
            position = _asked(self._parameters, points, self._goal, random.randrange(2**31))
        return number, config_at(self._parameters, position), position

    def is_exhausted(self, points: list[Point], numbers: set[int]) -> bool:
        """Return whether there is no next point."""
        is_capped = self._cap is not None and len(numbers) >= self._cap
        return is_capped or (self._method == "grid" and self.propose(points, numbers) is None)


def _asked(parameters: list[Parameter], points: list[Point], goal: str, seed: int) -> Position:
    """Return the position that Optuna asks for, behind those that were tried and beside those that are tried now."""
    optuna = _optuna()
    open_ones = [parameter for parameter in parameters if not (parameter.is_listed and len(parameter.values) == 1)]
    distributions = {
        parameter.name: optuna.distributions.CategoricalDistribution(list(range(len(parameter.values))))
        if parameter.is_listed
        else optuna.distributions.FloatDistribution(0, 1)
        for parameter in open_ones
    }
    states = optuna.trial.TrialState
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            # Points of other agents are taken into account by an option that Optuna calls experimental.
            warnings.simplefilter("ignore")
            sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
            study = optuna.create_study(direction=goal, sampler=sampler)
            for point in points:
                position = {name: point.position[name] for name in distributions if name in point.position}
                value = point.end.get("value")
                is_measured = isinstance(value, (int, float)) and math.isfinite(value)
                if len(position) == len(distributions) and (is_measured or not point.end):
                    study.add_trial(
                        optuna.trial.create_trial(
                            params=position,
                            distributions=distributions,
                            value=value if is_measured else None,
                            state=states.COMPLETE if is_measured else states.RUNNING,
                        )
                    )
            asked = study.ask(distributions).params
    finally:
        optuna.logging.set_verbosity(verbosity)
    return {parameter.name: asked.get(parameter.name, 0) for parameter in parameters}


def _check_metric(metric: Any, method: str) -> None:
    if metric is None:
        if method == "bayes":
            raise UsageError("method='bayes' needs metric: give {'name': 'loss', 'goal': 'minimize'}")
        return
    if not isinstance(metric, Mapping) or not isinstance(metric.get("name"), str) or not metric["name"]:
        raise UsageError(f"metric={metric!r}: give {{'name': 'loss', 'goal': 'minimize'}}")
    if metric.get("goal", "minimize") not in _GOALS:
        raise UsageError(f"metric.goal={metric['goal']!r}: give one of {', '.join(_GOALS)}")


def _check_command(config: Mapping[str, Any]) -> None:
    program, command = config.get("program"), config.get("command")
    if program is not None and not isinstance(program, str):
        raise UsageError(f"program={program!r}: give the path of a script")
    is_listed = isinstance(command, (list, tuple)) and all(isinstance(word, (str, int, float)) for word in command)
    if command is not None and not is_listed:
        raise UsageError(f"command={command!r}: give a list of words")


def _optuna() -> Any:
    try:
        return import_module("optuna")
    except ImportError as error:
        text = "method='bayes' asks Optuna for the next point: pip install optuna, or use method='random'"
        raise MissingExtra(text, package="optuna", extra=None) from error
