"""A mapping whose keys are attributes as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class DotMap(dict[str, Any]):
    """A dict in which `found.stats.loss` is `found["stats"]["loss"]`; mappings within it are of this kind as well."""

    def __init__(self, content: Mapping[str, Any] | None = None) -> None:
        """Take over a mapping; its own dicts stay as they are."""
        super().__init__({key: _dotted(value) for key, value in (content or {}).items()})

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            names = ", ".join(map(str, self)) or "nothing"
            raise AttributeError(f"there is no {name!r}: there is {names}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        del self[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *map(str, self)]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)

    def toDict(self) -> dict[str, Any]:  # noqa: N802 - as in the package of that name
        """Return the same as plain dicts."""
        return {key: value.toDict() if isinstance(value, DotMap) else value for key, value in self.items()}


def _dotted(value: Any) -> Any:
    return DotMap(value) if isinstance(value, Mapping) and not isinstance(value, DotMap) else value
