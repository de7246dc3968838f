"""Families: experiments equal in kind, params and parents' family apart from nuisance keys; and the numbers over their members.

Pure: of digests and arrays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

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
    """Places of the members among the experiments given."""


def families(digests: Sequence[Digest], over: str | Iterable[str], parent_of: ParentOf) -> list[Family]:
    """The families of some experiments, in the order of their first members.

    Args:
        digests: The experiments.
        over: Nuisance keys: a bare name is a param (or all below it), `parent.NAME` one of the parent, and so on.
        parent_of: Finds the experiment that one began from. Of a parent that is not found the ID stands for the family, so that
            nothing is pooled by accident.

    Raises:
        InvalidArgument: No experiment has such a param, and it is not the usual `seed`.
    """
    nuisance = checked_over(over)
    lines = [_line(digest, parent_of) for digest in digests]
    _check_known(nuisance, lines)
    found: dict[bytes, Family] = {}
    for place, (identity, settings) in enumerate(lines):
        kept = {name: value for name, value in settings.items() if not _is_below(name, nuisance)}
        key = _canonical([identity, kept])
        found.setdefault(key, Family(digests[place].kind, kept)).members.append(place)
    return list(found.values())


RERUNS = ("latest", "all", "error")
"""What becomes of experiments that are equal in everything, the nuisance keys included."""


def without_reruns(digests: Sequence[Digest], over: str | Iterable[str], parent_of: ParentOf, reruns: str) -> list[Digest]:
    """Leave out experiments that were run again: equal in kind, params and parents, and in a nuisance key that they have.

    With `reruns="latest"` the one that was made last stands for all, and a warning counts the others. Experiments that
    record none of the nuisance keys are no reruns of one another: nothing tells.

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
        kinds, settings = _line(digest, parent_of)
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
    given = texts(over)
    if given is None:
        raise InvalidArgument(f"over={over!r}: give names of params, such as 'seed' or 'parent.seed'", over=over)
    for name in given:
        if not isinstance(name, str) or not name:
            raise InvalidArgument(f"over has {name!r}: give names of params, such as 'seed' or 'parent.seed'", over=over)
    return given


def texts(given: Any) -> tuple[Any, ...] | None:
    """One text, or several of something iterable; None for what is neither."""
    return (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Iterable) else None


def settings(digest: Digest, parent_of: ParentOf) -> dict[str, Any]:
    """Params of an experiment and its parents, by the names that `by` and `over` use."""
    return _line(digest, parent_of)[1]


def key_of(found: Mapping[str, Any], over: Sequence[str]) -> bytes:
    """What tells members of a family apart: the values of the nuisance keys."""
    return _canonical({name: value for name, value in found.items() if _is_below(name, over)})


def varying(found: Sequence[Family]) -> list[str]:
    """The settings in which families differ."""
    names = dict.fromkeys(name for family in found for name in family.settings)
    return [name for name in names if len({_canonical(family.settings.get(name, ...)) for family in found}) > 1]


def column_of(name: str) -> str:
    """The column of a setting: `params.lr`, `parent.params.lr`."""
    climbs = re.match(rf"(?:{re.escape(_CLIMB)})*", name)
    end = climbs.end() if climbs else 0
    return f"{name[:end]}params.{name[end:]}"


def _line(digest: Digest, parent_of: ParentOf) -> tuple[list[Any], dict[str, Any]]:
    """The kinds, and params, of an experiment and its parents."""
    kinds: list[Any] = []
    found: dict[str, Any] = {}
    prefix = ""
    current: Digest | None = digest
    seen: set[str] = set()
    while current is not None and current.id not in seen:
        seen.add(current.id)
        kinds.append(current.kind)
        found.update((prefix + name, value) for name, value in flat(current.params))
        prefix += _CLIMB
        parent = parent_of(current)
        if parent is None and current.parent_id is not None:
            kinds.append(current.parent_id)
        current = parent
    return kinds, found


def _check_known(nuisance: Sequence[str], lines: Sequence[tuple[Any, Mapping[str, Any]]]) -> None:
    names = list(dict.fromkeys(name for _, found in lines for name in found))
    nested = [name for name in names if name.endswith(".seed") and not name.startswith(_CLIMB)]
    if nuisance == ("seed",) and nested and not any(_is_below(name, nuisance) for name in names):
        text = f"no experiment has a param 'seed', so none are seeds of one family: give over={nested[0]!r}"
        warn(text, MlvWarning)
    for wanted in nuisance:
        if wanted != "seed" and names and not any(_is_below(name, (wanted,)) for name in names):
            check_setting(wanted, names, "over")


def check_setting(wanted: str, names: Sequence[str], what: str) -> None:
    """Refuse a name that no experiment has a param of.

    Raises:
        InvalidArgument: It is none of the names.
    """
    if wanted not in names:
        close = get_close_matches(str(wanted), names)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(names[:12]) or 'none'}"
        raise InvalidArgument(f"{what}={wanted!r}: no experiment has such a param; {hint}", name=wanted)


def _is_below(name: str, wanted: Iterable[str]) -> bool:
    return any(name == key or name.startswith(f"{key}.") for key in wanted)


def _canonical(value: Any) -> bytes:
    conversion = Conversion()
    return canonical(conversion.value(_numbers(value)), conversion.nonfinite)


def _numbers(value: Any) -> Any:
    """Whole floats as integers: a rate of 1 is that of 1.0."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _numbers(item) for key, item in value.items()}
    return [_numbers(item) for item in value] if isinstance(value, (list, tuple)) else value
