"""Params: many kinds of mappings become one plain JSON object."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from mlv.digests import sha256
from mlv.encoding import TAG, Conversion, Reference, as_mapping, as_reference, canonical, restored, shown
from mlv.errors import InvalidArgument, InvalidParams, MlvWarning, ParamsConflict
from mlv.interrupts import pass_on
from mlv.notices import warn
from mlv.store.references import all_completed

_PROBLEMS_SHOWN = 8


def plain_params(params: Any, *, strict: bool = False) -> tuple[dict[str, Any], dict[str, str]]:
    """The JSON form of params, and its non-finite numbers by JSON pointer.

    Takes a mapping, a namespace, dataclass, attrs, pydantic, msgspec or OmegaConf object; None is no params. A value without a
    JSON form, such as a device, a function or a `???`, becomes a text that is the same in every run, and one warning names
    all of them. Files that are referred to are hashed now.

    Raises:
        InvalidParams: They are none of these; or, with `strict`, hold a value without a JSON form; or refer to a file that was
            changed since. The value is named by its path.
    """
    mapping = _as_mapping(params)
    conversion = Conversion(of_settings=True)
    converted = conversion.value(mapping)
    if conversion.problems:
        if strict:
            _refuse(conversion.problems)
        _tell(conversion.problems)
    return (_completed(converted) if conversion.pending else converted), conversion.nonfinite


def _refuse(problems: Sequence[tuple[str, str]]) -> NoReturn:
    path, reason = problems[0]
    place = f"params.{path}" if path else "params"
    others = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    text = f"{place} {reason}: pass text or numbers that describe it, or leave it out{others}"
    raise InvalidParams(text, path=place, problems=list(problems))


def _tell(problems: Sequence[tuple[str, str]]) -> None:
    named = "; ".join(f"params.{path} {reason}" for path, reason in problems[:_PROBLEMS_SHOWN])
    more = f"; and {len(problems) - _PROBLEMS_SHOWN} more" if len(problems) > _PROBLEMS_SHOWN else ""
    warn(f"some params are stored as text (strict=True refuses them): {named}{more}", MlvWarning)


def _completed(converted: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = all_completed(converted)
    for place, reference in _references(result, "params"):
        if "problem" in reference:
            text = f"{place} refers to {reference['path']}, which was {reference['problem']}: refer to it when it is finished"
            raise InvalidParams(text, path=place)
    return result


def _references(value: Any, place: str) -> Iterator[tuple[str, Reference]]:
    if isinstance(value, Reference):
        yield place, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _references(item, f"{place}.{key}")
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _references(item, f"{place}[{position}]")


def restored_params(plain: Mapping[str, Any], nonfinite: Mapping[str, str]) -> dict[str, Any]:
    """Params as a reader gets them back."""
    result: dict[str, Any] = restored(plain, nonfinite)
    return result


def params_id(params: Mapping[str, Any], nonfinite: Mapping[str, str]) -> str:
    """SHA-256 of the canonical JSON of params: equal for equal settings."""
    return sha256(canonical(params, nonfinite)).hexdigest()


def added(known: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The params given that are not known yet."""
    return {key: value for key, value in given.items() if key not in known}


def changed(known: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The params given that are known with another value."""
    return {key: value for key, value in given.items() if key in known and not _equal(known[key], value)}


def of_another(known: Mapping[str, Any], given: Mapping[str, Any], numbers: Collection[int], above: str = "") -> list[str]:
    """The params of a rank that are others than those of the main rank, in words; none that only say which rank it is.

    `numbers` are those of the rank in its launch. A param that is new counts, one that is missing does not: nothing is lost.
    """
    words = []
    for key, value in given.items():
        path, other = f"{above}{key}", known.get(key)
        if key not in known:
            words.append(f"params.{path}, which is new")
        elif isinstance(value, Mapping) and isinstance(other, Mapping):
            words += of_another(other, value, numbers, f"{path}.")
        elif not _equal(other, value) and not _tells_rank(key, other, value, numbers):
            words.append(f"params.{path} = {value!r:.60}, not {other!r:.60}")
    return words


def _tells_rank(key: str, main: Any, own: Any, numbers: Collection[int]) -> bool:
    """Whether a param is the number of a rank, its device or its host: a `lora_rank` of 8 and 16 is not."""
    words = set(key.lower().replace("-", "_").split("_"))
    if isinstance(main, str) and isinstance(own, str):
        return bool(words & _OF_HOSTS or (_DEVICE.fullmatch(main) and _DEVICE.fullmatch(own)))
    if isinstance(main, bool) and isinstance(own, bool):
        return main and bool(words & {"main", "master"})
    return ("pid" in words) or (bool(words & _OF_RANKS) and main == 0 and own in numbers)


_OF_RANKS = frozenset(("rank", "procid", "process", "localid", "device", "gpu", "node"))
_OF_HOSTS = frozenset(("host", "hostname", "node"))
_DEVICE = re.compile(r"[a-z]+(:\d+)?")


def check_changes(known: Mapping[str, Any], given: Mapping[str, Any], may_change: Collection[str], name: str) -> dict[str, Any]:
    """The params of this run that differ from the experiment's, all of which may.

    Raises:
        ParamsConflict: One of them may not.
        InvalidArgument: `may_change` is one text.
    """
    if isinstance(may_change, str):
        raise InvalidArgument(f"may_change={may_change!r} is one text: give a list, [{may_change!r}]", may_change=may_change)
    differing = changed(known, given)
    refused = [key for key in differing if key not in may_change]
    if refused:
        key = refused[0]
        raise ParamsConflict(
            f"params.{key} is {given[key]!r}, but experiment {name!r} was made with {known[key]!r}: use that value, another "
            f"name, or may_change=[{key!r}] to keep it for this run only",
            keys=refused,
        )
    return differing


def _as_mapping(params: Any) -> Mapping[Any, Any]:
    if params is None:
        return {}
    if isinstance(params, type):
        raise InvalidParams(f"params are the class {params.__name__}: pass an object of it", params=params)
    try:
        found = as_mapping(params)
    except Exception as error:
        pass_on(error)
        text = f"params are {shown(params)}, which raised {shown(error)} when they were read: pass a mapping of plain values"
        raise InvalidParams(text, params=params) from error
    if found is None:
        text = (
            f"params are {shown(params)} of type {type(params).__name__}: pass a mapping, an argparse.Namespace, or an object "
            f"of dataclasses, attrs, pydantic or OmegaConf"
        )
        raise InvalidParams(text, params=params)
    return found


def _equal(one: Any, other: Any) -> bool:
    """Equality of JSON values, in which NaN equals NaN, and references are equal that point to the same content."""
    references = as_reference(one), as_reference(other)
    if references[0] is not None and references[1] is not None:
        return _content(references[0]) == _content(references[1])
    if isinstance(one, float) and isinstance(other, float) and one != one and other != other:
        return True
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


def _content(reference: Reference) -> tuple[Any, ...]:
    """What a reference points to, wherever that lies."""
    return reference.get(TAG), reference.get("sha256"), reference.get("id")
