"""Read-only dicts and lists, all the way down, that still are dicts and lists to the rest of the world."""

from __future__ import annotations

from typing import Any, NoReturn


def _refuse(_self: Any, *_: Any, **__: Any) -> NoReturn:
    raise TypeError("this belongs to an experiment and is read-only: change a copy, e.g. copy.deepcopy(...)")


class FrozenDict(dict[str, Any]):
    """A dict that refuses to be changed; a copy of it is an ordinary dict."""

    __slots__ = ()
    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenDict, (dict(self),)

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return {key: thawed(value) for key, value in self.items()}


class FrozenReference(FrozenDict):
    """A pointer to a file or to an experiment that refuses to be changed; logged or passed on, it still is one."""

    __slots__ = ()

    def __mlv_reference__(self) -> dict[str, Any]:
        return dict(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenReference, (dict(self),)

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenReference:
        return self  # a plain dict would not be known as a reference any more


class FrozenList(list[Any]):
    """A list that refuses to be changed; a copy of it is an ordinary list."""

    __slots__ = ()
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenList, (list(self),)

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        return [thawed(value) for value in self]


def frozen(value: Any) -> Any:
    """The same value, read-only all the way down."""
    if isinstance(value, dict):
        kind = FrozenReference if hasattr(type(value), "__mlv_reference__") else FrozenDict
        return kind({key: frozen(item) for key, item in value.items()})
    if isinstance(value, list):
        return FrozenList([frozen(item) for item in value])
    return value


def thawed(value: Any) -> Any:
    """A copy that may be changed, but for the references in it."""
    if isinstance(value, FrozenReference):
        return value
    if isinstance(value, dict):
        return {key: thawed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [thawed(item) for item in value]
    return value
