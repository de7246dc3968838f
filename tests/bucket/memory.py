"""A bucket in memory, with faults: it keeps what the real ones promise, and fails where a test asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from mlv.bucket.store import Creation, StoredObject
from mlv.errors import NoSuchObject

PART_BYTES = 1 << 16


class MemoryStore:
    """The role ObjectStore over a dict; `before` and `after` are called around each request, and may raise.

    An error in `before` is a request that never arrived; one in `after` is an answer that was lost: the request took effect.
    """

    url = "memory://bucket"
    has_ranges = True

    def __init__(
        self, before: Callable[[str, str], None] | None = None, after: Callable[[str, str], None] | None = None
    ) -> None:
        self.content: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        """The name of each call and its key, in order."""
        self._before = before or (lambda call, key: None)
        self._after = after or (lambda call, key: None)

    def create(self, key: str, content: bytes | Path) -> Creation:
        self._begin("create", key)
        data = content.read_bytes() if isinstance(content, Path) else content
        outcome = Creation.MADE
        if key in self.content:
            outcome = Creation.SAME if self.content[key] == data else Creation.DIFFERENT
        else:
            self.content[key] = data
        self._after("create", key)
        return outcome

    def get(self, key: str) -> bytes:
        self._begin("get", key)
        data = self._content(key)
        self._after("get", key)
        return data

    def get_range(self, key: str, start: int, end: int) -> bytes:
        self._begin("get_range", key)
        data = self._content(key)[start:end]
        self._after("get_range", key)
        return data

    def chunks(self, key: str) -> Iterator[bytes]:
        data = self.get(key)
        for start in range(0, len(data), PART_BYTES):
            yield data[start : start + PART_BYTES]

    def objects(self, prefix: str = "", after: str = "") -> Iterator[StoredObject]:
        self._begin("objects", prefix)
        keys = sorted((key for key in self.content if _is_below(key, prefix)), key=str.encode)
        objects = [StoredObject(key, len(self.content[key]), 0.0) for key in keys if key.encode() > after.encode()]
        self._after("objects", prefix)
        return iter(objects)

    def folders(self, prefix: str = "") -> list[str]:
        self._begin("folders", prefix)
        base = f"{prefix}/" if prefix else ""
        names = {
            key[len(base) :].partition("/")[0] for key in self.content if _is_below(key, prefix) and "/" in key[len(base) :]
        }
        self._after("folders", prefix)
        return sorted(base + name for name in names)

    def head(self, key: str) -> StoredObject | None:
        self._begin("head", key)
        stored = StoredObject(key, len(self.content[key]), 0.0) if key in self.content else None
        self._after("head", key)
        return stored

    def delete(self, key: str) -> None:
        self._begin("delete", key)
        self.content.pop(key, None)
        self._after("delete", key)

    def _begin(self, call: str, key: str) -> None:
        self.requests.append((call, key))
        self._before(call, key)

    def _content(self, key: str) -> bytes:
        try:
            return self.content[key]
        except KeyError:
            raise NoSuchObject(f"{self.url}: there is no object {key!r}", key=key) from None


def _is_below(key: str, prefix: str) -> bool:
    return not prefix or key.startswith(f"{prefix}/")
