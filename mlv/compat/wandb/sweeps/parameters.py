"""Parameters of a sweep: the kinds that wandb's schema has, checked, and their values."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from random import Random
from statistics import NormalDist
from typing import Any

from mlv.compat.wandb.errors import UsageError

_BOUNDED = ("int_uniform", "uniform", "log_uniform", "log_uniform_values", "inv_log_uniform", "inv_log_uniform_values")
_NORMAL = ("normal", "log_normal")
DISTRIBUTIONS = (
    "constant", "categorical", "categorical_w_probabilities", *_BOUNDED, *_NORMAL, "beta",
    "q_uniform", "q_log_uniform", "q_log_uniform_values", "q_normal", "q_log_normal", "q_beta",
)  # fmt: skip
Config = dict[str, Any]
Position = dict[str, Any]
"""Where in its range each parameter is, by its path with dots: 0..1 of a distribution, or the number of one of its values."""
_MOST_STEPS = 1_000_000
_LEAST = 1e-12
"""Values of 0 and 1 are no quantiles of distributions without bounds."""


@dataclass(frozen=True)
class Parameter:
    """A parameter with one value, several, or a distribution of them."""

    path: tuple[str, ...]
    """The keys of the config that lead to it."""
    distribution: str
    values: tuple[Any, ...] = ()
    probabilities: tuple[float, ...] = ()
    low: float = 0.0
    high: float = 1.0
    """Bounds; of `normal` distributions mean and deviation, of `beta` its two shapes."""
    step: float | None = None

    @property
    def name(self) -> str:
        """The path with dots."""
        return ".".join(self.path)

    @property
    def is_listed(self) -> bool:
        """Whether its values are listed."""
        return bool(self.values)

    def grid(self) -> tuple[Any, ...]:
        """Return the values that a grid has.

        Raises:
            UsageError: There are infinitely many, or more than a million of a range.
        """
        if self.is_listed:
            return self.values
        if self.distribution == "int_uniform" and self.high - self.low < _MOST_STEPS:
            return tuple(range(int(self.low), int(self.high) + 1))
        if self.distribution == "q_uniform" and self.step and (self.high - self.low) / self.step < _MOST_STEPS:
            count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
            return tuple(self._rounded(self.low + number * self.step) for number in range(count))
        raise UsageError(f"parameters.{self.name} is {self.distribution}, which no grid can be made of: give values")

    def draw(self, random: Random) -> Any:
        """Return a position at random."""
        if self.is_listed:
            return random.choices(range(len(self.values)), self.probabilities or None)[0]
        if self.distribution.endswith("beta"):
            return random.betavariate(self.low, self.high)  # which is a position and the value
        return random.random()

    def at(self, position: Any) -> Any:
        """Return the value at a position."""
        if self.is_listed:
            return self.values[position]
        return self._rounded(self._quantile(min(max(position, _LEAST), 1 - _LEAST)))

    def _quantile(self, position: float) -> Any:
        kind, low, high = self.distribution.removeprefix("q_"), self.low, self.high
        if kind == "int_uniform":
            return min(int(low) + int(position * (high - low + 1)), int(high))
        if kind == "uniform":
            return low + position * (high - low)
        if kind == "log_uniform":
            return math.exp(low + position * (high - low))
        if kind == "inv_log_uniform":
            return math.exp(-high + position * (high - low))
        if kind.endswith("log_uniform_values"):
            return math.exp(math.log(low) + position * (math.log(high) - math.log(low)))
        if kind == "beta":
            return position
        number = NormalDist(low, high).inv_cdf(position)
        return math.exp(number) if kind == "log_normal" else number

    def _rounded(self, value: Any) -> Any:
        if self.step is None:
            return value
        rounded = round(value / self.step) * self.step
        return int(rounded) if float(self.step).is_integer() else float(f"{rounded:.12g}")


def parameters_of(config: Any, path: tuple[str, ...] = ()) -> list[Parameter]:
    """Return the parameters of a sweep's `parameters`, nested ones with the paths that lead to them.

    Raises:
        UsageError: One of them cannot be read: the error names it and its value.
    """
    if not isinstance(config, Mapping) or (not config and not path):
        raise UsageError(f"{_named(path)} is {config!r}: give a mapping of names to parameters")
    parameters = []
    for key, item in config.items():
        name = (*path, str(key))
        if not isinstance(item, Mapping):
            raise UsageError(
                f"{_named(name)} is {item!r}: give a mapping, such as {{'values': [...]}} or {{'min': 0, 'max': 1}}"
            )
        if "parameters" in item:
            parameters += parameters_of(item["parameters"], name)
        else:
            parameters.append(_parameter(name, item))
    return parameters


def config_at(parameters: list[Parameter], position: Mapping[str, Any]) -> Config:
    """Return the config at a position, nested as the parameters are."""
    return _nested((parameter, parameter.at(position[parameter.name])) for parameter in parameters)


def grid(parameters: list[Parameter]) -> Iterator[Config]:
    """Yield every config of a grid; the last parameter varies fastest, and equal configs come once.

    Raises:
        UsageError: A parameter has infinitely many values.
    """
    for values in product(*_distinct(parameters)):
        yield _nested(zip(parameters, values, strict=True))


def grid_size(parameters: list[Parameter]) -> int:
    """Return how many configs a grid has, which may be more than anybody can count up.

    Raises:
        UsageError: A parameter has infinitely many values.
    """
    return math.prod(map(len, _distinct(parameters)))


def _distinct(parameters: list[Parameter]) -> list[list[Any]]:
    return [list({repr(value): value for value in reversed(parameter.grid())}.values())[::-1] for parameter in parameters]


def _nested(values: Any) -> Config:
    config: Config = {}
    for parameter, value in values:
        inner = config
        for key in parameter.path[:-1]:
            inner = inner.setdefault(key, {})
        inner[parameter.path[-1]] = value
    return config


def _parameter(path: tuple[str, ...], item: Mapping[str, Any]) -> Parameter:
    distribution = item.get("distribution") or _distribution_of(path, item)
    if distribution not in DISTRIBUTIONS:
        raise UsageError(f"{_named(path)} has distribution={distribution!r}: give one of {', '.join(DISTRIBUTIONS)}")
    if distribution == "constant":
        return Parameter(path, distribution, (_required(path, item, "value"),))
    if distribution.startswith("categorical"):
        return _categorical(path, distribution, item)
    base = distribution.removeprefix("q_")
    first, second = ("mu", "sigma") if base in _NORMAL else ("a", "b") if base == "beta" else ("min", "max")
    if base in _NORMAL:
        item = {"mu": 0, "sigma": 1, **item}
    low, high = (_number(path, item, key) for key in (first, second))
    if base == "int_uniform" and not (float(low).is_integer() and float(high).is_integer()):
        raise UsageError(f"{_named(path)} is int_uniform between {low!r} and {high!r}: give integers")
    if base in _BOUNDED and low > high:
        raise UsageError(f"{_named(path)} has min={low!r} above max={high!r}: give the smaller one as min")
    if base.endswith("_values") and low <= 0:
        raise UsageError(f"{_named(path)} has min={low!r}, and {distribution} needs one above 0")
    if base in _NORMAL and high <= 0:
        raise UsageError(f"{_named(path)} has sigma={high!r}: give one above 0")
    if base == "beta" and (low <= 0 or high <= 0):
        raise UsageError(f"{_named(path)} has a={low!r}, b={high!r}: give two above 0")
    step = _number(path, {"q": 1, **item}, "q") if distribution.startswith("q_") else None
    if step is not None and step <= 0:
        raise UsageError(f"{_named(path)} has q={step!r}: give one above 0")
    parameter = Parameter(path, distribution, low=low, high=high, step=step)
    if not _is_finite(parameter):
        raise UsageError(f"{_named(path)} has {first}={low!r}, {second}={high!r}: its values are beyond what a number can be")
    return parameter


def _is_finite(parameter: Parameter) -> bool:
    try:
        return all(math.isfinite(parameter.at(position)) for position in (0, 1))
    except (OverflowError, ValueError):
        return False


def _distribution_of(path: tuple[str, ...], item: Mapping[str, Any]) -> str:
    """Return the distribution that a parameter has without a word about it."""
    if "value" in item:
        return "constant"
    if "values" in item:
        return "categorical"
    if "min" in item and "max" in item:
        both = (item["min"], item["max"])
        return "int_uniform" if all(isinstance(value, int) for value in both) else "uniform"
    if {"mu", "sigma"} & item.keys():
        return "normal"
    raise UsageError(f"{_named(path)} is {dict(item)!r}: give value, values, min and max, or a distribution")


def _categorical(path: tuple[str, ...], distribution: str, item: Mapping[str, Any]) -> Parameter:
    values = _required(path, item, "values")
    if not isinstance(values, (list, tuple)) or not values:
        raise UsageError(f"{_named(path)} has values={values!r}: give a list that is not empty")
    probabilities = item.get("probabilities")
    if probabilities is None:
        return Parameter(path, distribution, tuple(values))
    is_list = isinstance(probabilities, (list, tuple)) and len(probabilities) == len(values)
    if (
        not is_list
        or not all(isinstance(share, (int, float)) and share >= 0 for share in probabilities)
        or sum(probabilities) <= 0
    ):
        raise UsageError(f"{_named(path)} has probabilities={probabilities!r}: give a number of 0 or more for each value")
    return Parameter(path, distribution, tuple(values), tuple(float(share) for share in probabilities))


def _number(path: tuple[str, ...], item: Mapping[str, Any], key: str) -> Any:
    value = _required(path, item, key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= sys.float_info.max:
        raise UsageError(f"{_named(path)} has {key}={value!r}: give a number")
    return value


def _required(path: tuple[str, ...], item: Mapping[str, Any], key: str) -> Any:
    if key not in item:
        raise UsageError(f"{_named(path)} is {dict(item)!r}, and needs {key}")
    return item[key]


def _named(path: tuple[str, ...]) -> str:
    return ".".join(("parameters", *path))
