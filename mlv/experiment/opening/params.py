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

_PROBLEMS_SHOWN = 8  # the others tend to have the same cause


def plain_params(params: Any, *, strict: bool = False) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the JSON form of params, and its non-finite numbers by JSON pointer.

    Takes a mapping, a namespace, dataclass, attrs, pydantic, msgspec or OmegaConf object; None is no params. A value without a
    JSON form, such as a device, a function or a `???`, becomes a text that is the same in every run, and one warning names
    all of them. Files that are referred to are hashed now.

    Raises:
        InvalidParams: They are none of these; or, with `strict`, hold a value without a JSON form; or refer to a file that was
            changed since. The value is named by its path.
    """
    conversion, converted = _converted(params)
    if conversion.problems:
        if strict:
            _refuse(conversion.problems)
        warn(f"some params are stored as text (strict=True refuses them): {_named(conversion.problems)}", MlvWarning)
    for path, reference in _unusable(conversion, converted):
        text = f"{path} refers to {reference['path']}, which was {reference['problem']}: refer to it when it is finished"
        raise InvalidParams(text, path=path)
    return converted, conversion.nonfinite


def readable_params(params: Any) -> tuple[dict[str, Any], str]:
    """Return params as a reader gets them, and a remark on those that are stored as text, empty if there are none.

    Takes what `plain_params` takes, and any other value without an error: nothing can be read of it then.
    """
    try:
        conversion, converted = _converted(params)
    except InvalidParams as error:
        return {}, str(error)
    texts = f"some params are stored as text: {_named(conversion.problems)}" if conversion.problems else ""
    files = [f"{path} refers to {file['path']}, which was {file['problem']}" for path, file in _unusable(conversion, converted)]
    return restored_params(converted, conversion.nonfinite), "; ".join(filter(None, [texts, *files]))


def _converted(params: Any) -> tuple[Conversion, dict[str, Any]]:
    """Return the JSON form of params, the files that they refer to hashed, and the conversion with its problems.

    Raises:
        InvalidParams: They are not mapping-like.
    """
    conversion = Conversion(of_settings=True)
    converted = conversion.value(_as_mapping(params))
    return conversion, all_completed(converted) if conversion.pending else converted


def _refuse(problems: Sequence[tuple[str, str]]) -> NoReturn:
    path, reason = problems[0]
    name = f"params.{path}" if path else "params"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    text = f"{name} {reason}: pass text or numbers that describe it, or leave it out{more}"
    raise InvalidParams(text, path=name, problems=list(problems))


def _named(problems: Sequence[tuple[str, str]]) -> str:
    named = "; ".join(f"params.{path} {reason}" for path, reason in problems[:_PROBLEMS_SHOWN])
    more = f"; and {len(problems) - _PROBLEMS_SHOWN} more" if len(problems) > _PROBLEMS_SHOWN else ""
    return named + more


def _unusable(conversion: Conversion, converted: dict[str, Any]) -> list[tuple[str, Reference]]:
    """Return the references to files that were changed or removed since, each with its path in the params."""
    references = _references(converted, "params") if conversion.pending else ()
    return [(path, reference) for path, reference in references if "problem" in reference]


def _references(value: Any, path: str) -> Iterator[tuple[str, Reference]]:
    if isinstance(value, Reference):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _references(item, f"{path}.{key}")
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _references(item, f"{path}[{position}]")


def restored_params(plain: Mapping[str, Any], nonfinite: Mapping[str, str]) -> dict[str, Any]:
    """Return params with their non-finite numbers restored, as a reader gets them."""
    result: dict[str, Any] = restored(plain, nonfinite)
    return result


def params_id(params: Mapping[str, Any], nonfinite: Mapping[str, str]) -> str:
    """Return the SHA-256 of the canonical JSON of params: equal for equal settings."""
    return sha256(canonical(params, nonfinite)).hexdigest()


def added(recorded: Mapping[str, Any], requested: Mapping[str, Any]) -> dict[str, Any]:
    """Return the requested params that are not recorded yet."""
    return {key: value for key, value in requested.items() if key not in recorded}


def changed(recorded: Mapping[str, Any], requested: Mapping[str, Any]) -> dict[str, Any]:
    """Return the requested params that are recorded with another value."""
    return {key: value for key, value in requested.items() if key in recorded and not _equal(recorded[key], value)}


def rank_differences(main: Mapping[str, Any], own: Mapping[str, Any], numbers: Collection[int], above: str = "") -> list[str]:
    """Return the params of a rank that differ from the main rank's, in words; without those that only tell its rank.

    `numbers` are those of the rank in its launch. A param that is new counts, one that is missing does not: nothing is lost.
    """
    words = []
    for key, own_value in own.items():
        path, main_value = f"{above}{key}", main.get(key)
        if key not in main:
            words.append(f"params.{path}, which is new")
        elif isinstance(own_value, Mapping) and isinstance(main_value, Mapping):
            words += rank_differences(main_value, own_value, numbers, f"{path}.")
        elif not _equal(main_value, own_value) and not _tells_rank(key, main_value, own_value, numbers):
            words.append(f"params.{path} = {own_value!r:.60}, not {main_value!r:.60}")
    return words


def _tells_rank(key: str, main: Any, own: Any, numbers: Collection[int]) -> bool:
    """Return whether a param is the number of a rank, its device or its host: a `lora_rank` of 8 and 16 is not."""
    words = set(key.lower().replace("-", "_").split("_"))
    if isinstance(main, str) and isinstance(own, str):
        return bool(words & _OF_HOSTS or (re.fullmatch(_DEVICE, main) and re.fullmatch(_DEVICE, own)))
    if isinstance(main, bool) and isinstance(own, bool):
        return main and bool(words & {"main", "master"})
    return ("pid" in words) or (bool(words & _OF_RANKS) and main == 0 and own in numbers)


_OF_RANKS = frozenset(("rank", "procid", "process", "localid", "device", "gpu", "node"))
_OF_HOSTS = frozenset(("host", "hostname", "node"))
_DEVICE = r"[a-z]+(:\d+)?"  # compiled where it is needed: `import mlv` does without


def check_changes(
    recorded: Mapping[str, Any], requested: Mapping[str, Any], may_change: Collection[str], name: str
) -> dict[str, Any]:
    """Return the params of this run that differ from the experiment's, all of which may.

    Raises:
        ParamsConflict: One of them may not.
        InvalidArgument: `may_change` is one text.
    """
    if isinstance(may_change, str):
        raise InvalidArgument(f"may_change={may_change!r} is one text: give a list, [{may_change!r}]", may_change=may_change)
    differing = changed(recorded, requested)
    refused = [key for key in differing if key not in may_change]
    if refused:
        key = refused[0]
        raise ParamsConflict(
            f"params.{key} is {requested[key]!r}, but experiment {name!r} was made with {recorded[key]!r}: use that value, "
            f"another name, or may_change=[{key!r}] to keep it for this run only",
            keys=refused,
        )
    return differing


def _as_mapping(params: Any) -> Mapping[Any, Any]:
    if params is None:
        return {}
    if isinstance(params, type):
        raise InvalidParams(f"params are the class {params.__name__}: pass an object of it", params=params)
    try:
        mapping = as_mapping(params)
    except Exception as error:
        pass_on(error)
        text = f"params are {shown(params)}, which raised {shown(error)} when they were read: pass a mapping of plain values"
        raise InvalidParams(text, params=params) from error
    if mapping is None:
        text = (
            f"params are {shown(params)} of type {type(params).__name__}: pass a mapping, an argparse.Namespace, or an object "
            f"of dataclasses, attrs, pydantic or OmegaConf"
        )
        raise InvalidParams(text, params=params)
    return mapping


def _equal(a: Any, b: Any) -> bool:
    """Return whether JSON values are equal: NaN equals NaN, and so do references to the same content."""
    references = as_reference(a), as_reference(b)
    if references[0] is not None and references[1] is not None:
        return _content(references[0]) == _content(references[1])
    if isinstance(a, float) and isinstance(b, float) and a != a and b != b:
        return True
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_equal, a, b))
    return bool(a == b)


def _content(reference: Reference) -> tuple[Any, ...]:
    """Return the identity of a reference's target, wherever it lies."""
    return reference.get(TAG), reference.get("sha256"), reference.get("id")
