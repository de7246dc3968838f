"""Families: experiments equal in kind, params and parents' family apart from nuisance keys; computed from digests alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from mlv import words
from mlv.encoding import Conversion, canonical
from mlv.errors import InvalidArgument, MlvWarning
from mlv.notices import warn
from mlv.query.digest import Digest
from mlv.query.many.table import flat

ParentOf = Callable[[Digest], "Digest | None"]
_CLIMB = "parent."


@dataclass
class Family:
    """Experiments that are equal apart from nuisance keys."""

    kind: str | None
    settings: Mapping[str, Any]
    """Params other than nuisance keys, by the names that `by` and `over` use: `lr`, `parent.lr`."""
    members: list[int] = field(default_factory=list)
    """Indices of the members among the experiments."""


def families(digests: Sequence[Digest], over: str | Iterable[str], parent_of: ParentOf) -> list[Family]:
    """Group experiments into families, in the order of their first members.

    Args:
        digests: The experiments.
        over: Nuisance keys: a bare name is a param (or all below it), `parent.NAME` one of the parent, and so on.
        parent_of: Returns the parent of an experiment. The ID of a parent that it does not find stands for the parent's family,
            so that nothing is pooled by accident.

    Raises:
        InvalidArgument: No experiment has such a param, and it is not the usual `seed`.
    """
    nuisance = checked_over(over)
    lineages = [_lineage(digest, parent_of) for digest in digests]
    _check_known(nuisance, lineages)
    by_key: dict[bytes, Family] = {}
    for number, (identity, settings) in enumerate(lineages):
        identifying = {name: value for name, value in settings.items() if not _is_below(name, nuisance)}
        key = _canonical([identity, identifying])
        by_key.setdefault(key, Family(digests[number].kind, identifying)).members.append(number)
    return list(by_key.values())


RERUNS = ("latest", "all", "error")
"""Ways to treat experiments that are equal in everything, the nuisance keys included."""


def without_reruns(digests: Sequence[Digest], over: str | Iterable[str], parent_of: ParentOf, reruns: str) -> list[Digest]:
    """Leave out experiments that were run again: equal in kind, params and parents, and in a nuisance key that they have.

    With `reruns="latest"` the one that was created last stands for all, and a warning counts the others. Experiments that
    record none of the nuisance keys are no reruns of one another: nothing shows that they are.

    Raises:
        InvalidArgument: `reruns` is unknown, or it is `error` and there are some.
    """
    if reruns not in RERUNS:
        raise InvalidArgument(f"reruns={reruns!r}: give one of {', '.join(RERUNS)}", reruns=reruns)
    nuisance = checked_over(over)
    if reruns == "all":
        return list(digests)
    equal: dict[bytes, list[int]] = {}
    for number, digest in enumerate(digests):
        kinds, settings = _lineage(digest, parent_of)
        # Without the key, its number in the list tells an experiment from all others.
        is_known = any(_is_below(name, nuisance) for name in settings)
        equal.setdefault(_canonical([kinds, settings, None if is_known else number]), []).append(number)
    latest = {max(numbers, key=lambda number: (digests[number].created, number)) for numbers in equal.values()}
    if len(latest) == len(digests):
        return list(digests)
    first = next([digests[number].path.name for number in numbers] for numbers in equal.values() if len(numbers) > 1)
    text = f"{' and '.join(first)} are equal in all params, {' and '.join(nuisance)} included"
    if reruns == "error":
        raise InvalidArgument(f"{text}: give reruns='latest' or 'all', or choose", names=first)
    warn(f"{text}: of such reruns the latest counts, {len(digests) - len(latest)} do not; reruns='all' counts all", MlvWarning)
    return [digests[number] for number in sorted(latest)]


def checked_over(over: str | Iterable[str]) -> tuple[str, ...]:
    """Accept nuisance keys.

    Raises:
        InvalidArgument: One is no text.
    """
    names = texts(over)
    if names is None:
        raise InvalidArgument(f"over={over!r}: give names of params, such as 'seed' or 'parent.seed'", over=over)
    for name in names:
        if not isinstance(name, str) or not name:
            raise InvalidArgument(f"over has {name!r}: give names of params, such as 'seed' or 'parent.seed'", over=over)
    return names


def texts(names: Any) -> tuple[Any, ...] | None:
    """Return a tuple of one text, or of the members of an iterable; None for anything else."""
    return (names,) if isinstance(names, str) else tuple(names) if isinstance(names, Iterable) else None


def settings(digest: Digest, parent_of: ParentOf) -> dict[str, Any]:
    """Return params of an experiment and its parents, by the names that `by` and `over` use."""
    return _lineage(digest, parent_of)[1]


def key_of(params: Mapping[str, Any], over: Sequence[str]) -> bytes:
    """Return the key of a member within its family: the values of its nuisance keys."""
    return _canonical({name: value for name, value in params.items() if _is_below(name, over)})


def varying(compared: Sequence[Family]) -> list[str]:
    """Return the settings in which families differ."""
    names = dict.fromkeys(name for family in compared for name in family.settings)
    return [name for name in names if len({_canonical(family.settings.get(name, ...)) for family in compared}) > 1]


def column_of(name: str) -> str:
    """Return the column of a setting: `params.lr`, `parent.params.lr`."""
    climbs = re.match(rf"(?:{re.escape(_CLIMB)})*", name)
    end = climbs.end() if climbs else 0
    return f"{name[:end]}params.{name[end:]}"


def _lineage(digest: Digest, parent_of: ParentOf) -> tuple[list[Any], dict[str, Any]]:
    """Return the kinds, and params, of an experiment and its parents."""
    kinds: list[Any] = []
    params: dict[str, Any] = {}
    prefix = ""
    current: Digest | None = digest
    visited: set[str] = set()
    while current is not None and current.id not in visited:
        visited.add(current.id)
        kinds.append(current.kind)
        params.update((prefix + name, value) for name, value in flat(current.params))
        prefix += _CLIMB
        parent = parent_of(current)
        if parent is None and current.parent_id is not None:
            kinds.append(current.parent_id)
        current = parent
    return kinds, params


def _check_known(nuisance: Sequence[str], lineages: Sequence[tuple[Any, Mapping[str, Any]]]) -> None:
    names = list(dict.fromkeys(name for _, params in lineages for name in params))
    nested = [name for name in names if name.endswith(".seed") and not name.startswith(_CLIMB)]
    if nuisance == ("seed",) and nested and not any(_is_below(name, nuisance) for name in names):
        text = f"no experiment has a param 'seed', so none are seeds of one family: give over={nested[0]!r}"
        warn(text, MlvWarning)
    for key in nuisance:
        if key != "seed" and names and not any(_is_below(name, (key,)) for name in names):
            check_setting(key, names, "over")


def check_setting(name: str, names: Sequence[str], argument: str) -> None:
    """Refuse a name that is no param of any experiment.

    Raises:
        InvalidArgument: It is none of `names`.
    """
    if name not in names:
        close = get_close_matches(str(name), names)
        hint = words.did_you_mean(close) if close else f"there are {', '.join(names[:12]) or 'none'}"
        raise InvalidArgument(f"{argument}={name!r}: no experiment has such a param; {hint}", name=name)


def _is_below(name: str, keys: Iterable[str]) -> bool:
    return any(name == key or name.startswith(f"{key}.") for key in keys)


def _canonical(value: Any) -> bytes:
    conversion = Conversion()
    return canonical(conversion.value(_numbers(value)), conversion.nonfinite)


def _numbers(value: Any) -> Any:
    """Return a value with whole floats as integers: a rate of 1 equals one of 1.0."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _numbers(item) for key, item in value.items()}
    return [_numbers(item) for item in value] if isinstance(value, (list, tuple)) else value
