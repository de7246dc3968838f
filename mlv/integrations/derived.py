"""Classes that derive from one of a library: made at their first use, so that their module is imported without the library."""

from __future__ import annotations

from typing import Any


def derived(name: str, own: type, *bases: Any) -> Any:
    """Return a class with the methods of one of ours and the bases of a library.

    It is pickled as the attribute `name` of the module that ours is in: that module gives it again.
    """
    return type(name, (own, *bases), {"__module__": own.__module__, "__qualname__": name, "__doc__": own.__doc__})
