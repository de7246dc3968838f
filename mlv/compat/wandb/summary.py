"""`run.summary`: the last values of all metrics, and values that a script puts there itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mlv.compat.wandb.values import plain_or_itself


class Summary:
    """Values by key, as items or attributes; a mapping among them is a summary of its own."""

    _values: dict[str, Any]
    _store: Callable[[dict[str, Any]], None]

    def __init__(self, values: dict[str, Any], store: Callable[[dict[str, Any]], None]) -> None:
        vars(self).update(_values=values, _store=store)

    def update(self, d: Mapping[str, Any]) -> None:
        """Put values there: each is stored as a value of `exp.summarize`."""
        new = {str(key): plain_or_itself(value) for key, value in dict(d).items()}
        self._store(new)
        self._values.update(new)

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value, or the default."""
        return self[key] if key in self._values else default

    def keys(self) -> list[str]:
        """Return the keys."""
        return list(self._values)

    def items(self) -> list[tuple[str, Any]]:
        """Return keys and values."""
        return [(key, self[key]) for key in self._values]

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        if isinstance(value, dict):
            return Summary(value, lambda new: self._store({key: new}))
        return value

    def __getattr__(self, key: str) -> Any:
        if key.startswith("__"):
            raise AttributeError(key)
        return self[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __setattr__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __delitem__(self, key: str) -> None:
        """Take a value away here; what the log has of it stays there."""
        self._values.pop(key, None)

    __delattr__ = __delitem__

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._values))

    def __repr__(self) -> str:
        return str(self._values)
