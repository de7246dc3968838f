"""Read-only containers: dicts and lists that remain dicts and lists to other code, and records."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Any:
        """Do nothing: type checkers alone need to know."""
        return lambda kind: kind


Self = TypeVar("Self", bound="FrozenRecord")


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
    """Return the same value, read-only all the way down."""
    if isinstance(value, dict):
        kind = FrozenReference if hasattr(type(value), "__mlv_reference__") else FrozenDict
        return kind({key: frozen(item) for key, item in value.items()})
    if isinstance(value, list):
        return FrozenList([frozen(item) for item in value])
    return value


def thawed(value: Any) -> Any:
    """Return a copy that may be changed, except for the references in it."""
    if isinstance(value, FrozenReference):
        return value
    if isinstance(value, dict):
        return {key: thawed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [thawed(item) for item in value]
    return value


@dataclass_transform(frozen_default=True)
class FrozenRecord:
    """A frozen dataclass that costs nothing to define: annotated names are its fields, their values in the class the defaults.

    For records that `import mlv` defines and that are made now and then. A frozen dataclass compiles six methods, which takes
    0.5 ms; 27 of them took 15 of the 70 ms that the import cost. Making one takes 1.5 us, where a dataclass takes 0.5.
    """

    FIELDS: ClassVar[tuple[str, ...]] = ()
    """Names of the fields, in the order of the arguments."""
    _required: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = (name for name, kind in cls.__annotations__.items() if not str(kind).startswith("ClassVar"))
        cls.FIELDS = (*cls.FIELDS, *own)
        cls._required = frozenset(name for name in cls.FIELDS if not hasattr(cls, name))

    def __init__(self, *args: Any, **values: Any) -> None:
        fields = self.__dict__
        fields.update(zip(self.FIELDS, args, strict=False))
        fields.update(values)
        is_each_named_once = len(fields) == len(args) + len(values) and fields.keys() <= {*self.FIELDS}
        if not is_each_named_once or not self._required <= fields.keys():
            raise TypeError(f"{type(self).__name__} has the fields {', '.join(self.FIELDS)}: {args!r}, {values!r} do not fit")

    def replace(self: Self, **values: Any) -> Self:
        """Return another record, in which some fields have other values."""
        return type(self)(**{**self.__dict__, **values})

    def to_dict(self) -> dict[str, Any]:
        """Return all fields by their names."""
        return {name: getattr(self, name) for name in self.FIELDS}

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in self.to_dict().items())})"

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.FIELDS)
